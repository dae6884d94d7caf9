/*
 * Emits that ask for acknowledgements, at who asks: how many clients there
 * are, of whatever worker, and who of them has acknowledged.
 */

#ifndef NGX_SIO_ASK_H
#define NGX_SIO_ASK_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_ack.h"
#include "core/ngx_sio_op.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_query.h"


typedef struct ngx_sio_ask_s  ngx_sio_ask_t;

/* a client's acknowledgement */

typedef struct ngx_sio_ask_answer_s  ngx_sio_ask_answer_t;

struct ngx_sio_ask_answer_s {
    ngx_sio_ask_answer_t   *next;
    sio_span_t              id;        /* of the socket */
    sio_span_t              args;      /* JSON array, binary values in it */
};

struct ngx_sio_ask_s {
    ngx_rbtree_node_t       node;      /* key: id */
    uint64_t                id;
    void                  (*handler)(ngx_sio_ask_t *ask);
    void                   *data;

    ngx_sio_query_t        *query;     /* NULL: how many is known */
    ngx_uint_t              partial;   /* but not by all workers */
    uint64_t                expected;
    uint64_t                received;

    ngx_sio_ask_answer_t   *answers;   /* in their order, if they come here */
    ngx_sio_ask_answer_t  **last;
    size_t                  size;      /* of them; bound: the largest frame */

    ngx_event_t             timer;
    ngx_event_t             done;      /* posted */
};


/* Prepares questions in a worker; drops those that are open as it ends. */
void ngx_sio_ask_init(void);
void ngx_sio_ask_done(void);

/*
 * Emits and awaits the acknowledgements.
 *
 * takes    op: ASK with its aim, borrowed.  If its names are set, the
 *          answers go to that handler, at the workers of the sockets, and are
 *          only counted here
 *          handler: called once, when all have acknowledged or at op's
 *          timeout, in an event of its own; ask is freed after it
 * returns  NULL if there is no memory (counted) or op is too large for the
 *          bus (logged)
 * may      as ngx_sio_op_apply
 */
ngx_sio_ask_t *ngx_sio_ask(ngx_sio_op_t *op,
    void (*handler)(ngx_sio_ask_t *ask), void *data);

/* Nobody wants to know any more: the handler will not be called. */
void ngx_sio_ask_cancel(ngx_sio_ask_t *ask);

/*
 * Tells who asked that sk has acknowledged.
 *
 * takes    ev: its arguments, borrowed
 */
void ngx_sio_ask_tell(ngx_sio_socket_t *sk, ngx_sio_awaited_t *awaited,
    ngx_sio_event_t *ev);

/*
 * The bus: an ACKED.
 *
 * takes    in: borrowed, behind the frame's header
 * returns  NGX_ERROR if it is not valid: its stream is to be closed
 */
ngx_int_t ngx_sio_ask_handle(sio_in_t *in);


#endif /* NGX_SIO_ASK_H */
