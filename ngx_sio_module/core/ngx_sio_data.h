/*
 * What a socket has as its data: the values of sio_data, which are the
 * session's and text, and what backends and the API have set, which is the
 * socket's own and JSON.  The latter hides the former.
 */

#ifndef NGX_SIO_DATA_H
#define NGX_SIO_DATA_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_socket.h"


#define NGX_SIO_MAX_DATA_SIZE  4096    /* of a socket's own, as JSON */


/*
 * Sets members; those that are null are removed.  At the limit nothing is
 * set (logged, counted).
 *
 * takes    object: valid JSON, copied
 */
void ngx_sio_data_set(ngx_sio_socket_t *sk, sio_span_t object);

/* Restores a socket's own data; NGX_ERROR if there is no memory (counted). */
ngx_int_t ngx_sio_data_restore(ngx_sio_socket_t *sk, sio_span_t object);

/* Appends all data of sk as a JSON object. */
void ngx_sio_data_encode(sio_out_t *o, ngx_sio_socket_t *sk);

/*
 * Gives a value as text: a string decoded, another one as its JSON.
 *
 * takes    pool: for a string with escapes
 * returns  borrowed or of pool; p NULL if there is none
 */
sio_span_t ngx_sio_data_get(ngx_sio_socket_t *sk, sio_span_t name,
    ngx_pool_t *pool);

/*
 * The same of an object of data, as ngx_sio_data_encode wrote it.
 */
sio_span_t ngx_sio_data_member(sio_span_t object, sio_span_t name,
    ngx_pool_t *pool);


#endif /* NGX_SIO_DATA_H */
