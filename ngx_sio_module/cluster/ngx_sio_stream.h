/*
 * Streams of frames between two workers.  Nothing is sent against their
 * direction, so a worker has two with each other one: in, which the other has
 * opened and which is read, and out, which it has opened itself.
 */

#ifndef NGX_SIO_STREAM_H
#define NGX_SIO_STREAM_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_msg.h"
#include "proto/sio_wire.h"


#define NGX_SIO_STREAM_HOLD  50    /* ms that one is held for another */


typedef struct ngx_sio_peer_s  ngx_sio_peer_t;


typedef struct {
    ngx_queue_t          queue;
    ngx_connection_t    *connection;
    ngx_sio_origin_t     origin;         /* 0 before its HELLO */
    ngx_sio_peer_t      *peer;           /* NULL: none, or not any more */

    u_char              *partial;        /* what is read and not handled yet */
    size_t               have;
    size_t               size;           /* bound: NGX_SIO_FRAME_MAX */
    ngx_uint_t           drained;        /* the last drain that met it */

    ngx_sio_origin_t     after;          /* it is held until this one's */
    uint64_t             number;         /* operation is applied; 0: it isn't */
    ngx_event_t          hold;           /* timer */
} ngx_sio_stream_in_t;


typedef struct {
    ngx_connection_t    *connection;     /* NULL: none, or not yet */
    ngx_sio_peer_t      *peer;
    ngx_sio_queue_t      waiting;        /* bound: sio_bus_buffer */
    size_t               sent;           /* of its first message */
    ngx_msec_t           progress;       /* when it last took something */
} ngx_sio_stream_out_t;


/* Prepares the reading of streams, in a worker. */
void ngx_sio_stream_init(ngx_cycle_t *cycle);

/* Closes all that are read. */
void ngx_sio_stream_done(void);

/*
 * Makes a connection of a socket, with nginx's events.
 *
 * owns     fd is passed on
 * returns  NULL if there is none free (fd is closed)
 */
ngx_connection_t *ngx_sio_stream_connection(ngx_socket_t fd, void *data,
    ngx_event_handler_pt read, ngx_event_handler_pt write);

/* Accepts the streams that wait at a listening connection. */
void ngx_sio_stream_accept(ngx_connection_t *lc);

/*
 * Reads to their end all streams but those of origins for which but returns
 * 1, and those of nobody yet.
 *
 * may      as ngx_sio_bus_handle; close streams
 */
void ngx_sio_stream_drain(ngx_uint_t (*but)(ngx_sio_origin_t origin,
    void *data), void *data);

/*
 * A frame AFTER has come: what follows it in this stream waits until more is
 * applied here.
 *
 * takes    f: borrowed, behind the frame's header
 * returns  NGX_ERROR if it is not valid
 */
ngx_int_t ngx_sio_stream_hold(ngx_sio_stream_in_t *in, sio_in_t *f);

/* An origin has come further, or has ended: what waited for it is read on. */
void ngx_sio_stream_progress(void);

/*
 * Closes a stream that is read.
 *
 * owns     in is freed
 * may      as ngx_sio_bus_in_ended, if it has a peer
 */
void ngx_sio_stream_close_in(ngx_sio_stream_in_t *in);

/*
 * Opens a stream on a connected socket.
 *
 * owns     fd is passed on; out is borrowed until it is closed
 * returns  NGX_ERROR if there is no connection free
 */
ngx_int_t ngx_sio_stream_open_out(ngx_sio_stream_out_t *out, ngx_socket_t fd,
    ngx_sio_peer_t *peer);

/* Writes what waits, as far as it is taken. */
void ngx_sio_stream_flush(ngx_sio_stream_out_t *out);

/* Closes a stream, with all that waits; idempotent. */
void ngx_sio_stream_close_out(ngx_sio_stream_out_t *out);


#endif /* NGX_SIO_STREAM_H */
