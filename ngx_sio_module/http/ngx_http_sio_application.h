/*
 * The application of the core: what rules and backends do together.
 */

#ifndef NGX_HTTP_SIO_APPLICATION_H
#define NGX_HTTP_SIO_APPLICATION_H

#include "http/ngx_http_sio.h"
#include "core/ngx_sio_socket.h"


extern const ngx_sio_application_t  ngx_http_sio_application;


/*
 * Prepares it in a worker; called once, in the worker.
 *
 * returns  NGX_ERROR if there is no memory
 */
ngx_int_t ngx_http_sio_application_init(ngx_cycle_t *cycle);

/* Gives back what ngx_http_sio_application_init took. */
void ngx_http_sio_application_done(void);


#endif /* NGX_HTTP_SIO_APPLICATION_H */
