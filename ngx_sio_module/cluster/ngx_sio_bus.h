/*
 * The bus: streams of frames between the workers of one machine, operations
 * numbered by their origin, and who is there.
 */

#ifndef NGX_SIO_BUS_H
#define NGX_SIO_BUS_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_msg.h"
#include "core/ngx_sio_op.h"
#include "cluster/ngx_sio_frame.h"
#include "cluster/ngx_sio_stream.h"


/* what waits until the bus is ready, or for who knows what */

typedef struct {
    ngx_queue_t      queue;
    void           (*handler)(void *data);
    void            *data;
} ngx_sio_bus_waiter_t;


/* the seam to who awaits, at other workers, responses of backends */

typedef struct {
    /* a RESPONSE, behind the frame's header; NGX_ERROR if it is not valid */
    ngx_int_t   (*response)(ngx_sio_origin_t from, sio_in_t *in);

    /* a worker is gone, or what it sent has a gap */
    void        (*gone)(ngx_sio_origin_t origin);
} ngx_sio_bus_backend_t;

extern const ngx_sio_bus_backend_t  *ngx_sio_bus_backend;


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

/* Sends EXITING or GOODBYE to all. */
void ngx_sio_bus_tell(ngx_sio_frame_e type);

/* Requests wait no longer: this worker is as ready as it will be. */
void ngx_sio_bus_set_ready(void);

/* Tells if there is another worker that is not exiting. */
ngx_uint_t ngx_sio_bus_stays(void);


/*
 * The streams: a whole frame has come.
 *
 * takes    frame: n bytes with its header, borrowed
 * returns  NGX_ERROR if it is not valid: its stream is to be closed
 * may      all that an operation or a frame of the move, the relay or a
 *          question may; close other streams
 */
ngx_int_t ngx_sio_bus_handle(ngx_sio_stream_in_t *in, u_char *frame,
    size_t n);

/*
 * The streams: what a peer sends has ended, or what it is sent.
 *
 * may      free the peer; close all sessions
 */
void ngx_sio_bus_in_ended(ngx_sio_peer_t *peer);
void ngx_sio_bus_out_ended(ngx_sio_peer_t *peer);


#endif /* NGX_SIO_BUS_H */
