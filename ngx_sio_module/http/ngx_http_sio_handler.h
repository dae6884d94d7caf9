/*
 * The entry of each request to a sio location.
 */

#ifndef NGX_HTTP_SIO_HANDLER_H
#define NGX_HTTP_SIO_HANDLER_H

#include "http/ngx_http_sio.h"


/*
 * Checks a request in the order of Node.js and gives it to its transport.
 *
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_handler(ngx_http_request_t *r);


#endif /* NGX_HTTP_SIO_HANDLER_H */
