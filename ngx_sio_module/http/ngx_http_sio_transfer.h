/*
 * Backlogs of sockets that change their worker.
 */

#ifndef NGX_HTTP_SIO_TRANSFER_H
#define NGX_HTTP_SIO_TRANSFER_H

#include "http/ngx_http_sio.h"
#include "http/ngx_http_sio_backlog.h"
#include "cluster/ngx_sio_bus.h"


extern const ngx_sio_bus_backend_t  ngx_http_sio_transfer_bus;


/* Prepares it in a worker; called once, in the worker. */
void ngx_http_sio_transfer_init(void);

/* Those of ngx_sio_application_t. */
void ngx_http_sio_transfer_export(ngx_sio_socket_t *sk, sio_out_t *o);
ngx_int_t ngx_http_sio_transfer_import(ngx_sio_socket_t *sk, sio_in_t *in);
void ngx_http_sio_transfer_drop(ngx_sio_socket_t *sk);

/*
 * Sends b->response to the worker that has the socket now, b->origin.
 */
void ngx_http_sio_transfer_forward(ngx_http_sio_backlog_t *b);

/*
 * The response that b, which is ELSEWHERE, waits for will not come.
 *
 * may      as ngx_http_sio_outcome
 */
void ngx_http_sio_transfer_expire(ngx_http_sio_backlog_t *b);


#endif /* NGX_HTTP_SIO_TRANSFER_H */
