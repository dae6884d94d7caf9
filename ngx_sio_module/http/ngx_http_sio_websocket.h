/*
 * The WebSocket transport (RFC 6455).
 */

#ifndef NGX_HTTP_SIO_WEBSOCKET_H
#define NGX_HTTP_SIO_WEBSOCKET_H

#include "http/ngx_http_sio.h"
#include "cluster/ngx_sio_handover.h"


extern const ngx_sio_transport_t  ngx_http_sio_websocket_transport;


typedef enum {
    NGX_HTTP_SIO_WS_OPEN = 0,        /* a session of its own */
    NGX_HTTP_SIO_WS_PROBE,           /* an upgrade of s */
    NGX_HTTP_SIO_WS_TAKE,            /* an upgrade of a session elsewhere */
    NGX_HTTP_SIO_WS_REFUSE           /* 101, then close */
} ngx_http_sio_ws_purpose_e;


/*
 * Answers 101, has the request logged and freed, and keeps the connection.
 *
 * takes    s: the session to upgrade, for PROBE only
 *          h: on which its owner has consented, for TAKE only; passed on
 *          client: what the handshake tells, for OPEN only
 * returns  what a content handler returns
 * may      open a session
 */
ngx_int_t ngx_http_sio_websocket_accept(ngx_http_request_t *r,
    ngx_http_sio_ws_purpose_e purpose, ngx_sio_session_t *s,
    ngx_sio_handover_t *h, ngx_http_sio_client_t *client);


#endif /* NGX_HTTP_SIO_WEBSOCKET_H */
