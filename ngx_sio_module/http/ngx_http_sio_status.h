/*
 * The status page (sio_status): all counters as JSON.
 */

#ifndef NGX_HTTP_SIO_STATUS_H
#define NGX_HTTP_SIO_STATUS_H

#include "http/ngx_http_sio.h"


/* Answers GET and HEAD; returns what a content handler returns. */
ngx_int_t ngx_http_sio_status_handler(ngx_http_request_t *r);


#endif /* NGX_HTTP_SIO_STATUS_H */
