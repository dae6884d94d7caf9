/*
 * The polling transport: GETs that wait for packets and POSTs that bring
 * them.
 */

#ifndef NGX_HTTP_SIO_POLLING_H
#define NGX_HTTP_SIO_POLLING_H

#include "http/ngx_http_sio.h"


extern const ngx_sio_transport_t  ngx_http_sio_polling_transport;


/*
 * Opens a session and answers with the open packet.
 *
 * takes    data: n evaluated values of sio_data
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_polling_open(ngx_http_request_t *r, ngx_str_t *data,
    ngx_uint_t n);

/*
 * Handles a GET, POST or any other method of a session that polls.
 *
 * returns  what a content handler returns
 * may      close s; answers r at once or keeps it
 */
ngx_int_t ngx_http_sio_polling_request(ngx_http_request_t *r,
    ngx_sio_session_t *s);


#endif /* NGX_HTTP_SIO_POLLING_H */
