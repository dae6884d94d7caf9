/*
 * The entry of each request to a sio location.
 */

#ifndef NGX_HTTP_SIO_HANDLER_H
#define NGX_HTTP_SIO_HANDLER_H

#include "http/ngx_http_sio.h"
#include "cluster/ngx_sio_handover.h"
#include "cluster/ngx_sio_relay.h"


/*
 * Checks a request in the order of Node.js and gives it to its transport.
 *
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_handler(ngx_http_request_t *r);

/* Polling requests from other workers for sessions here. */

extern const ngx_sio_poller_t  ngx_http_sio_poller;

/* Judges an upgrade elsewhere of a session here: ngx_sio_handover_judge_pt. */
ngx_sio_consent_e ngx_http_sio_judge(ngx_sio_probe_t *probe,
    ngx_sio_session_t **s, sio_eio_error_t *error);


#endif /* NGX_HTTP_SIO_HANDLER_H */
