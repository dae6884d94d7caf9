/*
 * How a session changes its worker while numbered operations flow: each of
 * them reaches it exactly once, in the order of its origin.
 *
 * A mover is one worker's part in this.  It knows nothing of connections or
 * of what a session is: what it needs from around stands in
 * ngx_sio_mover_io_t, so that a test can run many movers in one process.
 */

#ifndef NGX_SIO_MOVE_H
#define NGX_SIO_MOVE_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_msg.h"
#include "core/ngx_sio_session.h"
#include "proto/sio_wire.h"


#define NGX_SIO_MAX_ENDED  1024    /* origins remembered after their end */


typedef enum {
    NGX_SIO_SOURCE_ALIVE = 0,
    NGX_SIO_SOURCE_LOST,          /* its stream ended, it may be alive */
    NGX_SIO_SOURCE_ENDED
} ngx_sio_source_state_e;


/* an origin of operations, as far as this worker has read it */

typedef struct {
    ngx_rbtree_node_t          node;          /* key: the origin */
    ngx_queue_t                queue;         /* of those that ended */
    uint64_t                   applied;       /* the last number */
    ngx_sio_source_state_e     state;
    ngx_msec_t                 ended;         /* when */
    unsigned                   late:1;        /* was waited for in vain */
} ngx_sio_source_t;


typedef struct ngx_sio_mover_s  ngx_sio_mover_t;


/* a session that is to leave, at its owner */

typedef struct {
    ngx_queue_t                queue;
    ngx_sio_mover_t           *mover;
    ngx_sio_origin_t           to;
    uint64_t                   id;            /* that the taker gave it */
    void                      *session;

    u_char                    *vector;        /* of the TAKE; NULL: it did not
                                                 come yet */
    size_t                     len;
    unsigned                   drained:1;

    ngx_sio_origin_t           lag;           /* what was waited for last */
    uint64_t                   number;
} ngx_sio_give_t;


/* a session that is to come */

typedef struct {
    ngx_queue_t                queue;
    ngx_sio_mover_t           *mover;
    ngx_sio_origin_t           owner;
    uint64_t                   id;
    uint64_t                   mark;          /* the log's length at TAKE */
    void                      *data;          /* of whom it comes to */
    unsigned                   asked:1;       /* TAKE was sent */
    unsigned                   logging:1;
    unsigned                   failed:1;      /* it comes only to end */
} ngx_sio_take_t;


typedef enum {
    NGX_SIO_MOVE_TAKE = 0,
    NGX_SIO_MOVE_STATE
} ngx_sio_move_frame_e;


/* what a mover needs; ctx is the mover's */

typedef struct {
    /* makes a frame with room for n bytes, to be written to o */
    ngx_sio_msg_t   *(*frame)(void *ctx, ngx_sio_move_frame_e type, size_t n,
        sio_out_t *o);

    /* sends it; m is passed on */
    void             (*send)(void *ctx, ngx_sio_origin_t to,
        ngx_sio_msg_t *m);

    /*
     * Has what dead workers left read, that is all streams but those of
     * origins that ngx_sio_move_named, to their end; then g->drained is set
     * and ngx_sio_move_drained called, at once or later.
     */
    void             (*drain)(void *ctx, ngx_sio_give_t *g);

    /*
     * The owner's side: what was given before; about to leave, NGX_DECLINED:
     * it may not, NGX_AGAIN: something was applied; its bytes.
     */
    ngx_sio_floor_t *(*floors)(void *session, ngx_uint_t *n);
    ngx_int_t        (*prepare)(void *session);
    void             (*export_)(void *session, sio_out_t *o);

    /* the session is with the taker; g is freed by the callee */
    void             (*left)(ngx_sio_give_t *g);

    /* the taker is gone, or can't be given it; g is freed by the callee */
    void             (*deserted)(ngx_sio_give_t *g);

    /* the taker's side: makes the session, NULL if that fails */
    void            *(*install)(ngx_sio_take_t *t, sio_in_t *in);

    /* a session has come that is not expected any more: its bytes */
    void             (*stray)(void *ctx, sio_in_t *in);

    /* gives it an operation of the log */
    void             (*replay)(void *session, ngx_sio_origin_t origin,
        uint64_t number, ngx_sio_msg_t *m);

    /* it has all; t is freed by the callee; n floors, borrowed */
    void             (*settled)(ngx_sio_take_t *t, void *session,
        ngx_sio_floor_t *floors, ngx_uint_t n, ngx_uint_t replayed);

    /* no session will come; t is freed by the callee */
    void             (*gone)(ngx_sio_take_t *t);

    /* the log is too large: t->failed is set, the session comes to end */
    void             (*fail)(ngx_sio_take_t *t);
} ngx_sio_mover_io_t;


typedef struct ngx_sio_move_log_s  ngx_sio_move_log_t;

struct ngx_sio_move_log_s {
    ngx_sio_msg_t             *msg;
    ngx_sio_origin_t           origin;
    uint64_t                   number;
    ngx_sio_move_log_t        *next;
};


struct ngx_sio_mover_s {
    const ngx_sio_mover_io_t  *io;
    void                      *ctx;

    ngx_rbtree_t               sources;
    ngx_rbtree_node_t          sentinel;
    ngx_queue_t                ended;
    ngx_uint_t                 nended;

    ngx_queue_t                gives;         /* offers, */
    ngx_queue_t                asked;         /* those with a TAKE */
    ngx_queue_t                takes;         /* in the order of their marks */
    ngx_uint_t                 logging;       /* takes that need the log */
    uint64_t                   last_id;

    ngx_sio_move_log_t        *log;           /* bound: limit */
    ngx_sio_move_log_t        *log_last;
    uint64_t                   log_first;     /* number of its first entry */
    uint64_t                   log_next;
    size_t                     log_size;
    size_t                     limit;

    unsigned                   answering:1;
    unsigned                   again:1;
};


/*
 * Prepares a mover.
 *
 * takes    limit: bytes that its log may have
 */
void ngx_sio_move_init(ngx_sio_mover_t *mv, const ngx_sio_mover_io_t *io,
    void *ctx, size_t limit);

/* Frees all that a mover has; neither session nor callback is touched. */
void ngx_sio_move_done(ngx_sio_mover_t *mv);

/*
 * An origin greets: its operations after number will come.
 *
 * returns  the source, for the calls below, until its end; NULL if there is
 *          no memory
 */
ngx_sio_source_t *ngx_sio_move_hello(ngx_sio_mover_t *mv,
    ngx_sio_origin_t origin, uint64_t number);

/* Finds an origin, ended ones too; NULL if it is not known. */
ngx_sio_source_t *ngx_sio_move_source(ngx_sio_mover_t *mv,
    ngx_sio_origin_t origin);

/* The stream of an origin broke off: nobody may leave until more is known. */
void ngx_sio_move_lost(ngx_sio_mover_t *mv, ngx_sio_source_t *source);

/* The stream of an origin was read to its end. */
void ngx_sio_move_end(ngx_sio_mover_t *mv, ngx_sio_source_t *source);

/*
 * This worker has applied an operation.
 *
 * takes    m: its frame, a reference is taken; NULL if mv->logging is 0
 * may      let sessions leave
 */
void ngx_sio_move_applied(ngx_sio_mover_t *mv, ngx_sio_source_t *source,
    uint64_t number, ngx_sio_msg_t *m);

/*
 * Begins to take a session.  ngx_sio_move_take asks for it for good: from
 * then on what is applied here is logged for it.
 *
 * takes    t: the caller's, until gone or settled; owner and data are set
 * returns  NGX_ERROR if there is no memory: nothing has changed
 */
void ngx_sio_move_expect(ngx_sio_mover_t *mv, ngx_sio_take_t *t);
ngx_int_t ngx_sio_move_take(ngx_sio_take_t *t);

/* Finds a take by its owner and id; NULL if there is none. */
ngx_sio_take_t *ngx_sio_move_find_take(ngx_sio_mover_t *mv,
    ngx_sio_origin_t owner, uint64_t id);

/* Forgets t, which the caller frees. */
void ngx_sio_move_forget_take(ngx_sio_take_t *t);

/* The session of t is to end as soon as it comes; idempotent. */
void ngx_sio_move_fail_take(ngx_sio_take_t *t);

/*
 * Offers a session to another worker.
 *
 * takes    g: the caller's, until left or deserted; to, id and session are
 *          set
 */
void ngx_sio_move_offer(ngx_sio_mover_t *mv, ngx_sio_give_t *g);

/* Finds an offer by the taker and its id; NULL if there is none. */
ngx_sio_give_t *ngx_sio_move_find_give(ngx_sio_mover_t *mv,
    ngx_sio_origin_t to, uint64_t id);

/* Forgets g, which the caller frees. */
void ngx_sio_move_forget_give(ngx_sio_give_t *g);

/*
 * Handles a TAKE or STATE frame, behind its type.
 *
 * returns  NGX_OK, or NGX_ERROR if it is not valid
 * may      have the session leave; install a session
 */
ngx_int_t ngx_sio_move_handle(ngx_sio_mover_t *mv, ngx_sio_origin_t from,
    ngx_sio_move_frame_e type, sio_in_t *in);

/*
 * What io->drain was called for is done.
 *
 * may      have sessions leave
 */
void ngx_sio_move_drained(ngx_sio_mover_t *mv);

/* Tells if g's TAKE names an origin. */
ngx_uint_t ngx_sio_move_named(ngx_sio_give_t *g, ngx_sio_origin_t origin);

/*
 * A worker is gone, and with it the sessions that were to come from it or
 * that it was to take.
 *
 * takes    dead: 0 if only our link to it was cut: sessions that were to
 *          come from it may still come, to end
 */
void ngx_sio_move_gone(ngx_sio_mover_t *mv, ngx_sio_origin_t origin,
    ngx_uint_t dead);


#endif /* NGX_SIO_MOVE_H */
