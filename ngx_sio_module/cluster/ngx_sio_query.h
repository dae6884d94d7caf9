/*
 * Questions that all workers answer: which sockets there are, which rooms,
 * how many.  A question is a numbered operation, so that a session that
 * changes its worker meanwhile is counted once.
 */

#ifndef NGX_SIO_QUERY_H
#define NGX_SIO_QUERY_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_op.h"
#include "cluster/ngx_sio_bus.h"
#include "proto/sio_wire.h"


#define NGX_SIO_QUERY_TIMEOUT  1000    /* ms */


typedef struct ngx_sio_query_s  ngx_sio_query_t;

/* what one worker answered */

typedef struct ngx_sio_query_part_s  ngx_sio_query_part_t;

struct ngx_sio_query_part_s {
    ngx_sio_query_part_t   *next;
    sio_span_t              body;
};

struct ngx_sio_query_s {
    ngx_queue_t             queue;
    uint64_t                id;
    void                  (*handler)(ngx_sio_query_t *q);
    void                   *data;

    ngx_sio_query_part_t   *parts;

    ngx_sio_origin_t       *missing;      /* who has not answered; first of
                                             all, who will not */
    ngx_uint_t              nmissing;     /* bound: live workers */
    ngx_uint_t              nfailed;
    ngx_uint_t              own;          /* this worker has not yet */

    ngx_event_t             timer;
    ngx_event_t             done;         /* posted */
};


/*
 * A part is a sequence:
 *
 *   FETCH   a socket: id, rooms (its own id not among them), data as a JSON
 *           object; rooms is a reader of nrooms strings
 *   ROOMS   a room with the number of its sockets
 *   COUNT   one number; ASK the same
 */

typedef struct {
    sio_span_t              id;
    uint32_t                nrooms;
    sio_in_t                rooms;
    sio_span_t              data;
} ngx_sio_query_socket_t;

/*
 * Reads the next one of a part.
 *
 * takes    in: at its beginning what the part's body is; moved on
 * owns     what is read borrows the part
 * returns  SIO_OK, SIO_DONE behind the last one, SIO_EINVAL
 */
sio_rc_t ngx_sio_query_next_socket(sio_in_t *in, ngx_sio_query_socket_t *sk);

/* The same of a part of ROOMS. */
sio_rc_t ngx_sio_query_next_room(sio_in_t *in, sio_span_t *name,
    uint64_t *sockets);


/*
 * Asks.
 *
 * takes    op: FETCH, ROOMS, COUNT or ASK with its aim; borrowed
 *          handler: called once, when all have answered or at the timeout
 *          (then q->nmissing is not 0), in an event of its own; q is freed
 *          after it
 * returns  NULL if there is no memory (counted) or op is too large for the bus
 *          (logged)
 */
ngx_sio_query_t *ngx_sio_query_ask(ngx_sio_op_t *op, ngx_msec_t timeout,
    void (*handler)(ngx_sio_query_t *q), void *data);

/* Nobody wants to know any more: the handler will not be called. */
void ngx_sio_query_cancel(ngx_sio_query_t *q);


/* Begins with the bus. */
void ngx_sio_query_init(void);

/* A new id of a question, unique among the workers and below 2^31. */
uint64_t ngx_sio_query_new_id(void);

/*
 * The bus: a worker is gone: it has nothing to answer.  One that was only cut
 * off (dead is 0) has, and is missing.
 */
void ngx_sio_query_gone(ngx_sio_origin_t origin, ngx_uint_t dead);

/*
 * The bus: a REPLY.
 *
 * takes    in: borrowed, behind the frame's header
 * returns  NGX_ERROR if it is not valid: its stream is to be closed
 */
ngx_int_t ngx_sio_query_handle(ngx_sio_origin_t from, sio_in_t *in);

/*
 * Around the application of an operation that may be a question: sets where
 * it collects; sends what was collected, or waits with it for sessions that
 * are on their way here.
 *
 * takes    replay: the question was applied here before, and op is for a
 *          session that came since: what was answered already stays so
 */
void ngx_sio_query_prepare(ngx_sio_op_t *op, ngx_uint_t replay);
void ngx_sio_query_applied(ngx_sio_op_t *op);

/* A session that was on its way is here, or will not come. */
void ngx_sio_query_settled(void);


#endif /* NGX_SIO_QUERY_H */
