/*
 * What comes of the calls of backlogs.
 */

#ifndef NGX_HTTP_SIO_OUTCOME_H
#define NGX_HTTP_SIO_OUTCOME_H

#include "http/ngx_http_sio.h"
#include "http/ngx_http_sio_backlog.h"


/*
 * Prepares it in a worker; called once, in the worker.
 *
 * takes    admitted: as ngx_http_sio_backend_init
 */
void ngx_http_sio_outcome_init(void (*admitted)(ngx_sio_socket_t *sk));

/*
 * Makes something of b->response.
 *
 * takes    b: APPLYING; b->at operations were carried out before
 * may      all that operations and rules may; refuse and free the socket;
 *          free b
 */
void ngx_http_sio_outcome(ngx_http_sio_backlog_t *b);

/* What was under way is done with: b goes on, or goes; may as run. */
void ngx_http_sio_outcome_finish(ngx_http_sio_backlog_t *b);


#endif /* NGX_HTTP_SIO_OUTCOME_H */
