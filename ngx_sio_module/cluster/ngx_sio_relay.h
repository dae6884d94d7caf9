/*
 * Polling requests that landed on another worker than their session.  The
 * request stays with its holder, the session with its owner; between them go
 * the request's parts one way and one answer the other.
 */

#ifndef NGX_SIO_RELAY_H
#define NGX_SIO_RELAY_H

#include "core/ngx_sio.h"
#include "cluster/ngx_sio_bus.h"
#include "proto/sio_eio.h"
#include "proto/sio_wire.h"


typedef enum {
    NGX_SIO_METHOD_GET = 0,
    NGX_SIO_METHOD_POST,
    NGX_SIO_METHOD_OTHER
} ngx_sio_method_e;


/* what the owner must know of a request */

typedef struct {
    ngx_sio_app_t        *app;
    sio_span_t            app_name;
    sio_span_t            sid;
    ngx_sio_method_e      method;
    uint64_t              length;         /* of the body, as announced */

    unsigned              polling:1;      /* the transport asked for */
    unsigned              version:1;      /* of Engine.IO, is ours */
    unsigned              origin:1;       /* its Origin may pass */
    unsigned              octets:1;       /* application/octet-stream */
    unsigned              too_large:1;    /* for the holder */
} ngx_sio_poll_request_t;


typedef enum {
    NGX_SIO_ANSWER_ERROR = 0,             /* value: an Engine.IO code */
    NGX_SIO_ANSWER_EMPTY,                 /* value: the status */
    NGX_SIO_ANSWER_OK,                    /* to a POST */
    NGX_SIO_ANSWER_PAYLOAD,               /* to a GET: body */
    NGX_SIO_ANSWER_LATER                  /* none yet: it waits, in order */
} ngx_sio_answer_e;


/* a request, at its holder */

typedef struct {
    ngx_rbtree_node_t     node;           /* key: id */
    ngx_sio_origin_t      owner;
    void                 *data;
    unsigned              get:1;
} ngx_sio_relay_t;

/* a request, at the owner */

typedef struct {
    ngx_rbtree_node_t     node;           /* key: id and holder, mixed */
    ngx_sio_origin_t      holder;
    uint64_t              id;
    void                 *poll;           /* NULL: answered, or let go */
} ngx_sio_remote_t;


/* the seam to who holds requests */

typedef struct {
    /*
     * The owner's answer, or that it is gone: an error; body borrowed.  After
     * LATER there is another one, at any time.
     */
    void   (*answer)(void *data, ngx_sio_answer_e answer, ngx_uint_t value,
        sio_span_t body);
} ngx_sio_holder_t;

/* the seam to the polling of sessions here */

typedef struct {
    /* a request has come; it may answer at once; remote->poll is its */
    void   (*request)(ngx_sio_remote_t *remote,
        ngx_sio_poll_request_t *request);

    /*
     * Its body has: writable memory of ngx_alloc, passed on.  With p NULL it
     * is n bytes, which are too many.
     */
    void   (*body)(void *poll, sio_span_t body);

    /* it has ended; the remote goes with return */
    void   (*finished)(void *poll, ngx_uint_t aborted, ngx_uint_t status);

    /* it is to be answered now if it waits */
    void   (*release)(void *poll);
} ngx_sio_poller_t;


/* Begins with the bus. */
void ngx_sio_relay_init(void);

/*
 * The bus: a worker is gone.  Its requests here have ended, those held for
 * it are answered "Session ID unknown".
 *
 * may      close sessions
 */
void ngx_sio_relay_gone(ngx_sio_origin_t origin);

/*
 * The bus: a frame from REQUEST to ANSWER.
 *
 * takes    in: borrowed, behind the frame's header
 * returns  NGX_ERROR if it is not valid: its stream is to be closed
 * may      call what holder and poller have, so also close the session that it
 *          is about
 */
ngx_int_t ngx_sio_relay_handle(ngx_sio_origin_t from, ngx_sio_frame_e type,
    sio_in_t *in);

/* Has all GETs held here answered, as far as nothing is due to them. */
void ngx_sio_relay_release(void);

/* Plugs in both ends. */
void ngx_sio_relay_set(const ngx_sio_holder_t *holder,
    const ngx_sio_poller_t *poller);

/*
 * Passes a request on.
 *
 * takes    relay: the caller's, until ngx_sio_relay_finish
 * returns  NGX_ERROR if there is no memory (counted); relay is not in use
 */
ngx_int_t ngx_sio_relay_open(ngx_sio_relay_t *relay, ngx_sio_origin_t owner,
    ngx_sio_poll_request_t *request, void *data);

/*
 * Passes the body of a POST on.
 *
 * takes    body: borrowed; with p NULL: its length only, it is too large
 * returns  NGX_ERROR if it is too large for the bus (logged) or there is no
 *          memory (counted): nothing was sent
 */
ngx_int_t ngx_sio_relay_body(ngx_sio_relay_t *relay, sio_span_t body);

/* The request has ended; status is that of its answer. */
void ngx_sio_relay_finish(ngx_sio_relay_t *relay, ngx_uint_t aborted,
    ngx_uint_t status);

/*
 * The owner's answer.
 *
 * takes    n: room for a body, for PAYLOAD; body: may be NULL without
 * returns  the caller's reference, *body is where to write the body; NULL if
 *          there is no memory (counted)
 */
ngx_sio_msg_t *ngx_sio_relay_answer(ngx_sio_remote_t *remote,
    ngx_sio_answer_e answer, ngx_uint_t value, size_t n, u_char **body);

/* Sends it; m is passed on. */
void ngx_sio_relay_send_answer(ngx_sio_remote_t *remote, ngx_sio_msg_t *m);


#endif /* NGX_SIO_RELAY_H */
