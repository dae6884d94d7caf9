/*
 * Requests for sessions of other workers: held until the owner answers, or
 * agrees to an upgrade.
 */

#ifndef NGX_HTTP_SIO_RELAY_H
#define NGX_HTTP_SIO_RELAY_H

#include "http/ngx_http_sio.h"
#include "cluster/ngx_sio_handover.h"
#include "cluster/ngx_sio_relay.h"


extern const ngx_sio_holder_t  ngx_http_sio_relay_holder;


/*
 * Passes a polling request to the worker that has its session, and the
 * answer back.
 *
 * takes    request: length, octets and too_large are set here
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_relay_request(ngx_http_request_t *r,
    ngx_sio_origin_t owner, ngx_sio_poll_request_t *request);

/*
 * Asks the worker that has the session whether an upgrade may go on here.
 *
 * takes    accept: answers 101, as ngx_http_sio_websocket_accept does; with
 *          h NULL the WebSocket is to be closed at once
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_relay_upgrade(ngx_http_request_t *r,
    ngx_sio_origin_t owner, ngx_sio_probe_t *probe,
    ngx_int_t (*accept)(ngx_http_request_t *r, ngx_sio_handover_t *h));


#endif /* NGX_HTTP_SIO_RELAY_H */
