/*
 * Ids: where they come from, and how to find what they name in this worker.
 */

#ifndef NGX_SIO_REGISTRY_H
#define NGX_SIO_REGISTRY_H

#include "core/ngx_sio.h"


/*
 * A sid: 12 random bytes, the epoch and the slot of the worker that opened
 * the session, the node; 21 bytes in base64url.
 */

#define NGX_SIO_SID_LEN   28


/*
 * Prepares the ids of a worker; called once, in the worker.
 *
 * returns  NGX_ERROR if the kernel gives no random bytes (logged)
 */
ngx_int_t ngx_sio_registry_init(ngx_cycle_t *cycle);

/* From here on sids name the worker origin as their first owner. */
void ngx_sio_registry_set_origin(ngx_sio_origin_t origin);

/*
 * Fills buf with n random bytes, at most 255.
 *
 * returns  NGX_ERROR if the kernel gives no random bytes (logged)
 */
ngx_int_t ngx_sio_registry_random(u_char *buf, size_t n);

/*
 * Tells which worker opened the session of a sid.
 *
 * returns  0 if it is no sid
 */
ngx_sio_origin_t ngx_sio_registry_owner(sio_span_t sid);

/*
 * Tells if name has the form of a socket's id, of any worker: one in 2^24
 * names of that length, that are none, has it too.
 */
ngx_uint_t ngx_sio_registry_is_id(sio_span_t name);

/*
 * Writes a new secret sid, NGX_SIO_SID_LEN characters, or a new public
 * socket id, NGX_SIO_ID_LEN characters.
 *
 * returns  NGX_ERROR if the kernel gives no random bytes (logged)
 */
ngx_int_t ngx_sio_registry_new_sid(u_char *sid);
ngx_int_t ngx_sio_registry_new_id(u_char *id);

/* Makes s or sk known by its id, until the matching remove. */
void ngx_sio_registry_add_session(ngx_sio_session_t *s);
void ngx_sio_registry_remove_session(ngx_sio_session_t *s);
void ngx_sio_registry_add_socket(ngx_sio_socket_t *sk);
void ngx_sio_registry_remove_socket(ngx_sio_socket_t *sk);

/*
 * Finds a session by the text of its sid, within one app.
 *
 * returns  NULL if there is none; one that is closing is found too
 */
ngx_sio_session_t *ngx_sio_registry_session(ngx_sio_app_t *app,
    sio_span_t sid);

/* Calls f for each session of this worker, which may close it. */
void ngx_sio_registry_each_session(void (*f)(ngx_sio_session_t *s));

/* Finds a socket of nsp by its id; NULL if there is none. */
ngx_sio_socket_t *ngx_sio_registry_socket(ngx_sio_nsp_t *nsp, sio_span_t id);


#endif /* NGX_SIO_REGISTRY_H */
