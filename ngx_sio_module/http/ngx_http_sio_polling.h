/*
 * The polling transport: GETs that wait for packets and POSTs that bring
 * them.
 */

#ifndef NGX_HTTP_SIO_POLLING_H
#define NGX_HTTP_SIO_POLLING_H

#include "http/ngx_http_sio.h"
#include "cluster/ngx_sio_relay.h"


extern const ngx_sio_transport_t  ngx_http_sio_polling_transport;


/*
 * Opens a session and answers with the open packet.
 *
 * takes    client: what the handshake tells
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_polling_open(ngx_http_request_t *r,
    ngx_http_sio_client_t *client);

/*
 * Handles a GET, POST or any other method of a session that polls.
 *
 * returns  what a content handler returns
 * may      close s; answers r at once or keeps it
 */
ngx_int_t ngx_http_sio_polling_request(ngx_http_request_t *r,
    ngx_sio_session_t *s);

/*
 * Handles a request that another worker holds, for a session here.
 *
 * takes    remote: its poll is set if the request is to be told of the rest
 * may      close s; answer at once
 */
void ngx_http_sio_polling_remote(ngx_sio_remote_t *remote,
    ngx_sio_poll_request_t *request, ngx_sio_session_t *s);

/* The rest of it: functions of ngx_sio_poller_t. */
void ngx_http_sio_polling_remote_body(void *poll, sio_span_t body);
void ngx_http_sio_polling_remote_finished(void *poll, ngx_uint_t aborted,
    ngx_uint_t status);
void ngx_http_sio_polling_remote_release(void *poll);


#endif /* NGX_HTTP_SIO_POLLING_H */
