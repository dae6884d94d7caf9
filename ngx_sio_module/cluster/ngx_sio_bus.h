/*
 * The bus: streams of frames between the workers of one machine, operations
 * numbered by their origin, and who is there.
 */

#ifndef NGX_SIO_BUS_H
#define NGX_SIO_BUS_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_msg.h"
#include "core/ngx_sio_op.h"
#include "proto/sio_wire.h"


typedef enum {
    NGX_SIO_FRAME_HELLO = 0,       /* first one: version, origin, number */
    NGX_SIO_FRAME_GREETED,         /* your HELLO was read */
    NGX_SIO_FRAME_AGAIN,           /* your stream broke off: begin another */
    NGX_SIO_FRAME_EXITING,         /* no new session will be here */
    NGX_SIO_FRAME_GOODBYE,         /* all are exiting: sessions end now */
    NGX_SIO_FRAME_OP,              /* a numbered operation */
    NGX_SIO_FRAME_AFTER,           /* read on when that of another is applied */

    NGX_SIO_FRAME_PROBE,           /* an upgrade: of the taker */
    NGX_SIO_FRAME_PROBED,
    NGX_SIO_FRAME_ABANDON,
    NGX_SIO_FRAME_TAKE,
    NGX_SIO_FRAME_CONSENT,         /* of the owner */
    NGX_SIO_FRAME_STATE,
    NGX_SIO_FRAME_GONE,
    NGX_SIO_FRAME_ENDED,           /* a session that had moved has ended */

    NGX_SIO_FRAME_REQUEST,         /* a polling request: of who holds it */
    NGX_SIO_FRAME_BODY,
    NGX_SIO_FRAME_FINISHED,
    NGX_SIO_FRAME_RELEASE,
    NGX_SIO_FRAME_ANSWER,          /* of the session's owner */

    NGX_SIO_FRAME_REPLY,           /* to a question */

    NGX_SIO_FRAME_N
} ngx_sio_frame_e;


/* what waits until the bus is ready, or for who knows what */

typedef struct {
    ngx_queue_t      queue;
    void           (*handler)(void *data);
    void            *data;
} ngx_sio_bus_waiter_t;


/*
 * Joins the bus, in a worker.
 *
 * takes    zone: for the counters
 *          buffer: bytes that may wait for one other worker
 * returns  NGX_ERROR: the worker can't work (logged)
 */
ngx_int_t ngx_sio_bus_init(ngx_cycle_t *cycle, ngx_shm_zone_t *zone,
    size_t buffer);

/* Leaves the bus; closes all that it has. */
void ngx_sio_bus_done(void);

/* This worker's origin. */
ngx_sio_origin_t ngx_sio_bus_self(void);

/* Tells if all workers know this one: until then it accepts no session. */
ngx_uint_t ngx_sio_bus_ready(void);

/*
 * Calls w->handler once: when this worker is ready, at most a second later;
 * if it is, when another worker greets or is gone.
 *
 * owns     w is borrowed until its handler is called or it is forgotten
 */
void ngx_sio_bus_wait(ngx_sio_bus_waiter_t *w);

/* Takes back a waiter whose handler has not been called. */
void ngx_sio_bus_forget(ngx_sio_bus_waiter_t *w);

/* Tells if this worker knows another one that can be sent to. */
ngx_uint_t ngx_sio_bus_alive(ngx_sio_origin_t origin);

/* Tells if another worker is there that has not greeted this one yet. */
ngx_uint_t ngx_sio_bus_expects(ngx_sio_origin_t origin);

/* Calls f for each other worker that is known. */
void ngx_sio_bus_each(void (*f)(ngx_sio_origin_t origin, void *data),
    void *data);

/*
 * Reads to their end all streams but those of origins for which but returns
 * 1, and first those that were opened and not seen yet.
 */
void ngx_sio_bus_drain(ngx_uint_t (*but)(ngx_sio_origin_t origin, void *data),
    void *data);

/* The largest frame that can be sent. */
size_t ngx_sio_bus_limit(void);

/*
 * Makes a frame with room for n bytes, which the caller writes to o.
 *
 * owns     the result carries one reference, the caller's
 * returns  NULL if it is too large (logged) or there is no memory (counted)
 */
ngx_sio_msg_t *ngx_sio_bus_frame(ngx_sio_frame_e type, size_t n,
    sio_out_t *o);

/*
 * Sends a frame to one worker; it leaves at the end of the turn.  To one that
 * is gone nothing is sent: whoever waits for an answer hears of that by
 * other means.
 *
 * takes    m: may be NULL
 * owns     m is passed on
 * may      cut the link at its bound, with all that follows, in a posted
 *          event
 */
void ngx_sio_bus_send(ngx_sio_origin_t to, ngx_sio_msg_t *m);

/*
 * Numbers an operation, sends it to all workers and applies it here.
 *
 * takes    op: borrowed; for the SENDER it is only applied
 * returns  the number of sockets of this worker that it was for; NGX_ERROR if
 *          it is too large for the bus (logged) or there is no memory: then
 *          nothing was done
 * may      as ngx_sio_op_apply; let sessions leave this worker
 */
ngx_int_t ngx_sio_bus_publish(ngx_sio_op_t *op);

/*
 * A session comes from another worker: what it sends from here on is not to
 * overtake, on its way to a third one, what it sent from there.
 */
void ngx_sio_bus_after(ngx_sio_origin_t origin);

/*
 * Decodes a numbered operation's frame, as the move's log keeps it.
 *
 * takes    m: borrowed by op
 * returns  NGX_DECLINED if it is of an app that is not known here; NGX_ERROR
 *          if it is not valid or there is no memory (counted); op borrows
 *          memory that the next call uses again
 */
ngx_int_t ngx_sio_bus_decode(ngx_sio_msg_t *m, ngx_sio_op_t *op);

/*
 * Tells if this worker has said goodbye: its sessions have ended, and there
 * are to be no others.
 */
ngx_uint_t ngx_sio_bus_ended(void);


#endif /* NGX_SIO_BUS_H */
