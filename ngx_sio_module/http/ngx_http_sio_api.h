/*
 * The HTTP API: operations from whoever may reach the location.
 */

#ifndef NGX_HTTP_SIO_API_H
#define NGX_HTTP_SIO_API_H

#include "http/ngx_http_sio.h"


/*
 * Carries out a JSON array of operations and answers with the array of their
 * results.
 *
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_api_handler(ngx_http_request_t *r);


#endif /* NGX_HTTP_SIO_API_H */
