/*
 * Backends: what clients do becomes requests to locations, in the order of
 * each socket, and the operations of the responses are carried out.
 */

#ifndef NGX_HTTP_SIO_BACKEND_H
#define NGX_HTTP_SIO_BACKEND_H

#include "http/ngx_http_sio.h"
#include "core/ngx_sio_ack.h"
#include "core/ngx_sio_socket.h"


/*
 * Prepares backends in a worker; called once, in the worker.
 *
 * takes    admitted: is called for each socket that a backend has admitted,
 *          when the operations of its response were carried out; it may
 *          close the socket
 */
void ngx_http_sio_backend_init(void (*admitted)(ngx_sio_socket_t *sk));

/* Makes the handler of a directive; NULL if its URI is none (logged). */
ngx_http_sio_handler_t *ngx_http_sio_backend_handler(ngx_conf_t *cf,
    ngx_http_sio_loc_conf_t *conf, ngx_str_t *text);

/*
 * Has a handler decide on a socket, which is held meanwhile.
 *
 * takes    auth: JSON object or empty, copied
 * may      refuse and free sk
 */
void ngx_http_sio_backend_connect(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler, sio_span_t auth);

/*
 * Passes an event on; if there is no memory it is lost (counted).
 *
 * takes    ev: borrowed
 * may      pause the session
 */
void ngx_http_sio_backend_event(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler, ngx_sio_event_t *ev);

/* Passes an acknowledgement on, to the handler that asked for it. */
void ngx_http_sio_backend_ack(ngx_sio_socket_t *sk,
    ngx_sio_awaited_t *awaited, ngx_sio_event_t *ev);

/*
 * A socket leaves for sk->reason; what waits goes on without it.
 *
 * takes    handler: is told, behind all else; NULL: nobody
 */
void ngx_http_sio_backend_disconnect(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler);

/* A held socket goes; a handler that admits it hears so. */
void ngx_http_sio_backend_abandon(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler);


#endif /* NGX_HTTP_SIO_BACKEND_H */
