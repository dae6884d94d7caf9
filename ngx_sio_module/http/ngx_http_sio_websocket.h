/*
 * The WebSocket transport (RFC 6455).
 */

#ifndef NGX_HTTP_SIO_WEBSOCKET_H
#define NGX_HTTP_SIO_WEBSOCKET_H

#include "http/ngx_http_sio.h"


extern const ngx_sio_transport_t  ngx_http_sio_websocket_transport;


typedef enum {
    NGX_HTTP_SIO_WS_OPEN = 0,        /* a session of its own */
    NGX_HTTP_SIO_WS_PROBE,           /* an upgrade of s */
    NGX_HTTP_SIO_WS_REFUSE           /* 101, then close */
} ngx_http_sio_ws_purpose_e;


/*
 * Answers 101, has the request logged and freed, and keeps the connection.
 *
 * takes    s: the session to upgrade, for PROBE only
 *          data: n evaluated values of sio_data, for OPEN only
 * returns  what a content handler returns
 * may      open a session
 */
ngx_int_t ngx_http_sio_websocket_accept(ngx_http_request_t *r,
    ngx_http_sio_ws_purpose_e purpose, ngx_sio_session_t *s, ngx_str_t *data,
    ngx_uint_t n);


#endif /* NGX_HTTP_SIO_WEBSOCKET_H */
