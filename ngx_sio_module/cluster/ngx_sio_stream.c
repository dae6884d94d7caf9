/*
 * Frames are handled while a stream is read, and nothing that a handler does
 * reads another one: what needs that is posted.
 *
 * A session that moves sends through two streams.  AFTER holds the second
 * until the first is read as far as it was written when the session left.
 * What holds a stream was sent before, so that no two hold each other.  While
 * a stream is held nothing is read of it, and partial has the frames that were.
 */

#include "cluster/ngx_sio_stream.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_directory.h"
#include "cluster/ngx_sio_exit.h"
#include "cluster/ngx_sio_handover.h"
#include "cluster/ngx_sio_move.h"
#include "core/ngx_sio_session.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_STREAM_BUFFER     65536
#define NGX_SIO_STREAM_READS      16           /* of a stream, in one turn */
#define NGX_SIO_STREAM_MAX_READS  4096         /* to its end */
#define NGX_SIO_STREAM_IOVS       64
#define NGX_SIO_STREAM_LATER      1000         /* ms */


typedef struct {
    ngx_queue_t          ins;
    ngx_uint_t           held;           /* of them */
    ngx_uint_t           drains;

    ngx_event_t          release;        /* posted: what is held */
    ngx_event_t          later;          /* timer: to accept */

    unsigned             draining:1;
} ngx_sio_streams_t;


static void ngx_sio_stream_accept_later(ngx_event_t *ev);
static void ngx_sio_stream_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_sio_stream_read(ngx_sio_stream_in_t *in, ngx_uint_t all);
static ngx_int_t ngx_sio_stream_frames(ngx_sio_stream_in_t *in, u_char *p,
    u_char *last);
static ngx_int_t ngx_sio_stream_keep(ngx_sio_stream_in_t *in, u_char *p,
    size_t have);
static void ngx_sio_stream_not_valid(ngx_sio_stream_in_t *in);

static ngx_uint_t ngx_sio_stream_lags(ngx_sio_source_t *source,
    uint64_t number);
static void ngx_sio_stream_release_handler(ngx_event_t *ev);
static void ngx_sio_stream_hold_timeout(ngx_event_t *ev);
static ngx_int_t ngx_sio_stream_resume(ngx_sio_stream_in_t *in);
static void ngx_sio_stream_unhold(ngx_sio_stream_in_t *in);

static void ngx_sio_stream_out_read_handler(ngx_event_t *rev);
static void ngx_sio_stream_out_write_handler(ngx_event_t *wev);


static ngx_sio_streams_t  ngx_sio_streams;
static u_char             ngx_sio_stream_buffer[NGX_SIO_STREAM_BUFFER];


void
ngx_sio_stream_init(ngx_cycle_t *cycle)
{
    ngx_memzero(&ngx_sio_streams, sizeof(ngx_sio_streams_t));

    ngx_queue_init(&ngx_sio_streams.ins);

    ngx_sio_streams.release.handler = ngx_sio_stream_release_handler;
    ngx_sio_streams.release.log = cycle->log;

    ngx_sio_streams.later.handler = ngx_sio_stream_accept_later;
    ngx_sio_streams.later.log = cycle->log;
    ngx_sio_streams.later.cancelable = 1;
}


void
ngx_sio_stream_done(void)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&ngx_sio_streams.ins)) {
        q = ngx_queue_head(&ngx_sio_streams.ins);
        ngx_sio_stream_close_in(ngx_queue_data(q, ngx_sio_stream_in_t, queue));
    }
}


ngx_connection_t *
ngx_sio_stream_connection(ngx_socket_t fd, void *data,
    ngx_event_handler_pt read, ngx_event_handler_pt write)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(fd, ngx_cycle->log);

    if (c == NULL) {
        (void) ngx_close_socket(fd);
        return NULL;
    }

    c->data = data;
    c->recv = ngx_recv;
    c->log = ngx_cycle->log;

    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = read;
    c->write->handler = write;

    /* ours to close, whatever nginx does to those of clients */

    c->read->channel = 1;

    /* for writing only once there is something to wait for */

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_close_connection(c);
        return NULL;
    }

    return c;
}


void
ngx_sio_stream_accept(ngx_connection_t *lc)
{
    ngx_socket_t          fd;
    ngx_sio_stream_in_t  *in;

    for ( ;; ) {
        fd = accept4(lc->fd, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (fd == (ngx_socket_t) -1) {

            if (ngx_socket_errno == NGX_ECONNABORTED
                || ngx_socket_errno == NGX_EINTR)
            {
                continue;
            }

            if (ngx_socket_errno != NGX_EAGAIN) {
                ngx_log_error(NGX_LOG_CRIT, lc->log, ngx_socket_errno,
                              "sio: accept() of another worker failed");
                ngx_sio_streams.later.data = lc;
                ngx_add_timer(&ngx_sio_streams.later, NGX_SIO_STREAM_LATER);
            }

            break;
        }

        if (!ngx_sio_directory_trusts(fd)) {
            (void) ngx_close_socket(fd);
            continue;
        }

        in = ngx_calloc(sizeof(ngx_sio_stream_in_t), lc->log);
        if (in == NULL) {
            (void) ngx_close_socket(fd);
            continue;
        }

        in->connection = ngx_sio_stream_connection(fd, in,
                                                   ngx_sio_stream_read_handler,
                                                   ngx_sio_stream_read_handler);
        if (in->connection == NULL) {
            ngx_free(in);
            continue;
        }

        ngx_queue_insert_tail(&ngx_sio_streams.ins, &in->queue);

        /* what was sent before there was an event to tell */

        in->connection->read->ready = 1;
        ngx_post_event(in->connection->read, &ngx_posted_events);
    }

    lc->read->ready = 0;
    (void) ngx_handle_read_event(lc->read, 0);
}


static void
ngx_sio_stream_accept_later(ngx_event_t *ev)
{
    ngx_sio_stream_accept(ev->data);
}


void
ngx_sio_stream_drain(ngx_uint_t (*but)(ngx_sio_origin_t origin, void *data),
    void *data)
{
    ngx_queue_t          *q;
    ngx_sio_stream_in_t  *in;

    ngx_sio_streams.drains++;
    ngx_sio_streams.draining = 1;

    /* reading one may close others; what the dead sent holds nobody up */

again:

    for (q = ngx_queue_head(&ngx_sio_streams.ins);
         q != ngx_queue_sentinel(&ngx_sio_streams.ins);
         q = ngx_queue_next(q))
    {
        in = ngx_queue_data(q, ngx_sio_stream_in_t, queue);

        if (in->drained == ngx_sio_streams.drains) {
            continue;
        }

        in->drained = ngx_sio_streams.drains;

        if (in->origin == 0 || !but(in->origin, data)) {

            if (in->after == 0 || ngx_sio_stream_resume(in) == NGX_OK) {
                (void) ngx_sio_stream_read(in, 1);
            }

            goto again;
        }
    }

    ngx_sio_streams.draining = 0;
}


static void
ngx_sio_stream_read_handler(ngx_event_t *rev)
{
    ngx_connection_t     *c;
    ngx_sio_stream_in_t  *in;

    c = rev->data;
    in = c->data;

    if (rev->write) {
        return;
    }

    if (ngx_sio_stream_read(in, 0) == NGX_AGAIN
        && ngx_handle_read_event(rev, 0) != NGX_OK)
    {
        ngx_sio_stream_close_in(in);
    }
}


/* NGX_DONE: in is gone, NGX_OK: there may be more, NGX_AGAIN: there is none */

static ngx_int_t
ngx_sio_stream_read(ngx_sio_stream_in_t *in, ngx_uint_t all)
{
    size_t             size;
    u_char            *p;
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = in->connection;

    for (i = 0; /* void */ ; i++) {

        if (in->after) {
            return NGX_AGAIN;
        }

        if (i && (all ? i == NGX_SIO_STREAM_MAX_READS
                      : (i == NGX_SIO_STREAM_READS
                         || ngx_sio_session_worked())))
        {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return NGX_OK;
        }

        if (in->partial) {
            p = in->partial + in->have;
            size = in->size - in->have;

        } else {
            p = ngx_sio_stream_buffer;
            size = NGX_SIO_STREAM_BUFFER;
        }

        n = recv(c->fd, p, size, 0);

        if (n == -1 && ngx_socket_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
            c->read->ready = 0;
            return NGX_AGAIN;
        }

        if (n <= 0) {
            ngx_sio_stream_close_in(in);
            return NGX_DONE;
        }

        ngx_sio_add(bus_bytes_in, n);

        if (in->partial) {
            in->have += n;

            if (in->have < in->size) {
                continue;
            }

            p = in->partial;
            in->partial = NULL;

            rc = ngx_sio_stream_frames(in, p, p + in->have);

            ngx_free(p);

        } else {
            rc = ngx_sio_stream_frames(in, p, p + n);
        }

        if (rc != NGX_OK) {
            ngx_sio_stream_not_valid(in);
            return NGX_DONE;
        }

        if (!all && in->after == 0 && (size_t) n < size
            && !c->read->pending_eof)
        {
            /* there was no more; what comes now is another event */

            c->read->ready = 0;
            return NGX_AGAIN;
        }
    }
}


static void
ngx_sio_stream_not_valid(ngx_sio_stream_in_t *in)
{
    ngx_sio_count(bus_errors);
    ngx_log_error(NGX_LOG_ERR, in->connection->log, 0,
                  "sio: another worker sent a frame that is not valid: its "
                  "stream is closed");

    ngx_sio_stream_close_in(in);
}


/* handles whole frames, as far as it may, and keeps what is left */

static ngx_int_t
ngx_sio_stream_frames(ngx_sio_stream_in_t *in, u_char *p, u_char *last)
{
    size_t    n;
    sio_in_t  f;

    while ((size_t) (last - p) >= NGX_SIO_FRAME_HEADER && in->after == 0) {

        f = sio_in((sio_span_t) { p, 4 });
        n = sio_in_u32(&f);

        if (n == 0 || n > NGX_SIO_FRAME_MAX) {
            return NGX_ERROR;
        }

        if ((size_t) (last - p) < 4 + n) {
            break;
        }

        if (ngx_sio_bus_handle(in, p, 4 + n) != NGX_OK) {
            return NGX_ERROR;
        }

        p += 4 + n;
    }

    return (p < last) ? ngx_sio_stream_keep(in, p, last - p) : NGX_OK;
}


/* the rest of a frame is read behind its beginning; nothing, while held */

static ngx_int_t
ngx_sio_stream_keep(ngx_sio_stream_in_t *in, u_char *p, size_t have)
{
    sio_in_t  f;

    in->size = NGX_SIO_FRAME_HEADER;

    if (in->after) {
        in->size = have;

    } else if (have >= NGX_SIO_FRAME_HEADER) {
        f = sio_in((sio_span_t) { p, 4 });
        in->size = 4 + sio_in_u32(&f);
    }

    in->partial = ngx_alloc(in->size, in->connection->log);

    if (in->partial == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_ERROR;
    }

    ngx_memcpy(in->partial, p, have);
    in->have = have;

    return NGX_OK;
}


/* one that was waited for in vain is not again, until it has caught up */

ngx_int_t
ngx_sio_stream_hold(ngx_sio_stream_in_t *in, sio_in_t *f)
{
    uint64_t           number;
    ngx_sio_source_t  *source;
    ngx_sio_origin_t   origin;

    origin = sio_in_u64(f);
    number = sio_in_u64(f);

    if (f->bad || origin == 0) {
        return NGX_ERROR;
    }

    source = ngx_sio_move_source(ngx_sio_handover_mover(), origin);

    if (!ngx_sio_stream_lags(source, number)) {

        if (source) {
            source->late = 0;
        }

        return NGX_OK;
    }

    if (source->late || ngx_sio_streams.draining) {
        return NGX_OK;
    }

    in->after = origin;
    in->number = number;

    in->hold.handler = ngx_sio_stream_hold_timeout;
    in->hold.data = in;
    in->hold.log = in->connection->log;
    in->hold.cancelable = 1;

    ngx_add_timer(&in->hold, NGX_SIO_STREAM_HOLD);

    ngx_sio_streams.held++;

    return NGX_OK;
}


/* of an origin that is unknown or has ended nothing more will come */

static ngx_uint_t
ngx_sio_stream_lags(ngx_sio_source_t *source, uint64_t number)
{
    return source && source->state != NGX_SIO_SOURCE_ENDED
           && source->applied < number;
}


void
ngx_sio_stream_progress(void)
{
    if (ngx_sio_streams.held && !ngx_sio_streams.release.posted) {
        ngx_post_event(&ngx_sio_streams.release, &ngx_posted_events);
    }
}


static void
ngx_sio_stream_release_handler(ngx_event_t *ev)
{
    ngx_queue_t          *q;
    ngx_sio_source_t     *source;
    ngx_sio_stream_in_t  *in;

    /* reading one may close others */

again:

    for (q = ngx_queue_head(&ngx_sio_streams.ins);
         q != ngx_queue_sentinel(&ngx_sio_streams.ins);
         q = ngx_queue_next(q))
    {
        in = ngx_queue_data(q, ngx_sio_stream_in_t, queue);

        if (in->after == 0) {
            continue;
        }

        source = ngx_sio_move_source(ngx_sio_handover_mover(), in->after);

        if (!ngx_sio_stream_lags(source, in->number)) {
            (void) ngx_sio_stream_resume(in);
            goto again;
        }
    }
}


static void
ngx_sio_stream_hold_timeout(ngx_event_t *ev)
{
    ngx_sio_source_t     *source;
    ngx_sio_stream_in_t  *in;

    in = ev->data;
    source = ngx_sio_move_source(ngx_sio_handover_mover(), in->after);

    if (source) {
        source->late = 1;
    }

    ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                  "sio: what sessions send that came from worker %ui waits no "
                  "longer for what they sent from there",
                  ngx_sio_origin_slot(in->after));

    (void) ngx_sio_stream_resume(in);
}


/* NGX_OK, or NGX_DONE: in is gone */

static ngx_int_t
ngx_sio_stream_resume(ngx_sio_stream_in_t *in)
{
    u_char     *p;
    ngx_int_t   rc;

    ngx_sio_stream_unhold(in);

    p = in->partial;

    if (p) {
        in->partial = NULL;

        rc = ngx_sio_stream_frames(in, p, p + in->have);

        ngx_free(p);

        if (rc != NGX_OK) {
            ngx_sio_stream_not_valid(in);
            return NGX_DONE;
        }
    }

    if (in->after == 0) {
        in->connection->read->ready = 1;
        ngx_post_event(in->connection->read, &ngx_posted_events);
    }

    return NGX_OK;
}


static void
ngx_sio_stream_unhold(ngx_sio_stream_in_t *in)
{
    if (in->after == 0) {
        return;
    }

    in->after = 0;
    ngx_sio_streams.held--;

    if (in->hold.timer_set) {
        ngx_del_timer(&in->hold);
    }
}


void
ngx_sio_stream_close_in(ngx_sio_stream_in_t *in)
{
    ngx_sio_peer_t  *peer;

    peer = in->peer;

    ngx_sio_stream_unhold(in);
    ngx_queue_remove(&in->queue);
    ngx_close_connection(in->connection);

    if (in->partial) {
        ngx_free(in->partial);
    }

    ngx_free(in);

    if (peer) {
        ngx_sio_bus_in_ended(peer);
    }
}


ngx_int_t
ngx_sio_stream_open_out(ngx_sio_stream_out_t *out, ngx_socket_t fd,
    ngx_sio_peer_t *peer)
{
    out->connection = ngx_sio_stream_connection(fd, out,
                                            ngx_sio_stream_out_read_handler,
                                            ngx_sio_stream_out_write_handler);
    if (out->connection == NULL) {
        return NGX_ERROR;
    }

    out->connection->write->ready = 1;
    out->peer = peer;

    return NGX_OK;
}


/* nothing is ever sent this way: it is the end */

static void
ngx_sio_stream_out_read_handler(ngx_event_t *rev)
{
    u_char                 byte;
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_sio_stream_out_t  *out;

    c = rev->data;
    out = c->data;

    n = recv(c->fd, &byte, 1, 0);

    if (n == -1 && (ngx_socket_errno == NGX_EAGAIN
                    || ngx_socket_errno == NGX_EINTR))
    {
        rev->ready = 0;
        (void) ngx_handle_read_event(rev, 0);
        return;
    }

    ngx_sio_stream_close_out(out);
    ngx_sio_bus_out_ended(out->peer);
}


static void
ngx_sio_stream_out_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_sio_stream_flush(c->data);
}


void
ngx_sio_stream_flush(ngx_sio_stream_out_t *out)
{
    size_t             from;
    ssize_t            n;
    ngx_uint_t         i;
    ngx_sio_link_t    *link;
    ngx_connection_t  *c;
    struct iovec       iovs[NGX_SIO_STREAM_IOVS];

    c = out->connection;

    while (out->waiting.head && c->write->ready) {

        from = out->sent;

        for (i = 0, link = out->waiting.head;
             link && i < NGX_SIO_STREAM_IOVS;
             link = link->next, i++)
        {
            iovs[i].iov_base = link->msg->data + from;
            iovs[i].iov_len = link->msg->len - from;
            from = 0;
        }

        n = writev(c->fd, iovs, i);

        if (n == -1) {

            if (ngx_errno == NGX_EINTR) {
                continue;
            }

            /* the read event tells what has become of it */

            c->write->ready = 0;

            if (ngx_errno == NGX_EAGAIN) {
                (void) ngx_handle_write_event(c->write, 0);
            }

            return;
        }

        out->progress = ngx_current_msec;

        ngx_sio_add(bus_bytes_out, n);
        ngx_sio_sub(bus_unsent, n);

        out->sent += n;

        while (out->waiting.head && out->sent >= out->waiting.head->msg->len) {
            out->sent -= out->waiting.head->msg->len;
            ngx_sio_queue_pop(&out->waiting);
        }
    }

    ngx_sio_exit_flushed();
}


void
ngx_sio_stream_close_out(ngx_sio_stream_out_t *out)
{
    ngx_sio_link_t  *link;

    if (out->connection == NULL) {
        return;
    }

    ngx_close_connection(out->connection);
    out->connection = NULL;

    for (link = out->waiting.head; link; link = link->next) {
        ngx_sio_sub(bus_unsent, link->msg->len);
    }

    ngx_sio_add(bus_unsent, out->sent);

    ngx_sio_queue_clear(&out->waiting);
    out->sent = 0;

    ngx_sio_exit_flushed();
}
