/*
 * A worker opens a stream to each other one for what it sends (a peer's out)
 * and reads from the stream that the other one opened (its in).  Frames are
 * a length of 4 bytes, a type and a body; they are written from messages
 * that may be shared by all streams, at the end of the turn.
 *
 *   - A stream begins with HELLO.  From there on all operations follow on
 *     it, so that a stream has no gap.
 *   - A stream at its bound is cut.  Who finds the end of a stream from a
 *     worker that lives on closes its sessions: they missed something.
 *     Whether it lives on is asked with AGAIN; death closes the other
 *     direction too.
 *   - Frames are handled while a stream is read, and nothing that a handler
 *     does reads another one: what needs that is posted.
 *   - A session that moves sends through two streams.  AFTER holds the second
 *     until the first is read as far as it was written when the session left.
 *     What holds a stream was sent before, so that no two hold each other.
 *
 * Origin and number of each operation applied here go to the mover, which
 * knows what must wait for what.
 */

#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_directory.h"
#include "cluster/ngx_sio_handover.h"
#include "cluster/ngx_sio_move.h"
#include "cluster/ngx_sio_query.h"
#include "cluster/ngx_sio_relay.h"
#include "cluster/ngx_sio_zone.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_registry.h"
#include "core/ngx_sio_session.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_BUS_VERSION    1
#define NGX_SIO_BUS_HEADER     5               /* length, type */
#define NGX_SIO_BUS_BUFFER     65536
#define NGX_SIO_BUS_MAX_FRAME  (256 * 1024 * 1024)
#define NGX_SIO_BUS_READS      16              /* of a stream, in one turn */
#define NGX_SIO_BUS_MAX_READS  4096            /* to its end */
#define NGX_SIO_BUS_IOVS       64
#define NGX_SIO_BUS_GREETING   1000            /* ms */
#define NGX_SIO_BUS_RETRY      20
#define NGX_SIO_BUS_LATER      1000
#define NGX_SIO_BUS_UNDECIDED  1000
#define NGX_SIO_BUS_PATIENCE   100             /* with one that takes nothing */
#define NGX_SIO_BUS_HOLD       200             /* of a stream, for another */
#define NGX_SIO_BUS_FLUSH      5000            /* of one that is exiting */
#define NGX_SIO_BUS_FAREWELL   5
#define NGX_SIO_BUS_GRACE      10000           /* for new workers to come */
#define NGX_SIO_BUS_RESERVE    64              /* connections */


typedef struct ngx_sio_peer_s  ngx_sio_peer_t;


/* a stream from another worker */

typedef struct {
    ngx_queue_t          queue;
    ngx_connection_t    *connection;
    ngx_sio_peer_t      *peer;           /* NULL before its HELLO */
    u_char              *partial;        /* a frame that is cut */
    size_t               have;
    size_t               size;           /* bound: MAX_FRAME */
    ngx_uint_t           drained;        /* the last drain that met it */

    ngx_sio_origin_t     after;          /* it is held until this one's */
    uint64_t             number;         /* operation is applied; 0: it isn't */
    ngx_sio_origin_t     late;           /* for this one it was, in vain */
    ngx_event_t          hold;           /* timer */
} ngx_sio_bus_in_t;


struct ngx_sio_peer_s {
    ngx_queue_t          queue;
    ngx_sio_origin_t     origin;
    ngx_sio_source_t    *source;         /* NULL before its HELLO */
    ngx_sio_bus_in_t    *in;

    ngx_connection_t    *out;            /* NULL: none, or not yet */
    ngx_sio_queue_t      waiting;        /* bound: buffer */
    size_t               sent;           /* of its first message */
    ngx_msec_t           progress;       /* when it last took something */

    ngx_event_t          timer;          /* to connect again, to decide */
    ngx_msec_t           decide_at;
    ngx_uint_t           tries;

    unsigned             greeted:1;      /* it has read our HELLO */
    unsigned             exiting:1;
    unsigned             ended:1;        /* its stream has */
    unsigned             lost:1;         /* and it may be alive */
    unsigned             cut:1;          /* we cut ours */
    unsigned             broken:1;       /* it has closed ours, if it lives */
    unsigned             refused:1;      /* of another version */
};


typedef struct {
    ngx_sio_origin_t     self;
    ngx_sio_source_t    *source;
    uint64_t             number;         /* of the last operation sent */
    size_t               pushed;         /* bytes in this turn, for all */
    size_t               buffer;

    ngx_connection_t    *listening;
    int                  nobody[2];      /* in its place, without directory */
    ngx_queue_t          peers;
    ngx_queue_t          ins;
    ngx_uint_t           held;           /* of them */
    ngx_uint_t           drains;
    ngx_queue_t          waiters;

    ngx_event_t          flush;
    ngx_event_t          release;        /* posted: what is held */
    ngx_event_t          later;          /* timer: to accept */
    ngx_event_t          greeting;       /* timer */
    ngx_event_t          exit;           /* timer: bytes that must leave */
    ngx_event_t          grace;          /* timer: who comes */
    ngx_event_t          farewell;       /* timer: sessions that end */
    ngx_msec_t           farewell_until;

    ngx_msec_t           grace_until;

    unsigned             draining:1;
    unsigned             listed:1;       /* all who were there are known */
    unsigned             ready:1;
    unsigned             exiting:1;
    unsigned             goodbye:1;
    unsigned             leaving:1;
} ngx_sio_bus_t;


static ngx_int_t ngx_sio_bus_init_alone(ngx_cycle_t *cycle,
    ngx_shm_zone_t *zone);
static ngx_connection_t *ngx_sio_bus_connection(ngx_socket_t fd, void *data,
    ngx_event_handler_pt read, ngx_event_handler_pt write);
static void ngx_sio_bus_accept(ngx_event_t *rev);
static void ngx_sio_bus_accept_all(ngx_connection_t *lc);
static void ngx_sio_bus_accept_later(ngx_event_t *ev);
static void ngx_sio_bus_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_sio_bus_read(ngx_sio_bus_in_t *in, ngx_uint_t all);
static ngx_int_t ngx_sio_bus_frames(ngx_sio_bus_in_t *in, u_char *p,
    u_char *last);
static ngx_int_t ngx_sio_bus_keep(ngx_sio_bus_in_t *in, u_char *p,
    size_t have);
static ngx_int_t ngx_sio_bus_dispatch(ngx_sio_bus_in_t *in, u_char *p,
    size_t n);
static ngx_int_t ngx_sio_bus_op(ngx_sio_peer_t *peer, u_char *frame,
    size_t n);
static void ngx_sio_bus_not_valid(ngx_sio_bus_in_t *in);
static void ngx_sio_bus_close_in(ngx_sio_bus_in_t *in);

static ngx_int_t ngx_sio_bus_hold(ngx_sio_bus_in_t *in, sio_in_t *f);
static ngx_uint_t ngx_sio_bus_lags(ngx_sio_origin_t origin, uint64_t number);
static void ngx_sio_bus_progress(void);
static void ngx_sio_bus_release_handler(ngx_event_t *ev);
static void ngx_sio_bus_hold_timeout(ngx_event_t *ev);
static ngx_int_t ngx_sio_bus_resume(ngx_sio_bus_in_t *in);
static void ngx_sio_bus_unhold(ngx_sio_bus_in_t *in);

static ngx_sio_peer_t *ngx_sio_bus_find(ngx_sio_origin_t origin);
static void ngx_sio_bus_found(ngx_sio_origin_t origin);
static ngx_sio_peer_t *ngx_sio_bus_peer(ngx_sio_origin_t origin);
static ngx_int_t ngx_sio_bus_hello(ngx_sio_bus_in_t *in, sio_in_t *f);
static void ngx_sio_bus_connect(ngx_sio_peer_t *peer);
static void ngx_sio_bus_retry(ngx_sio_peer_t *peer);
static void ngx_sio_bus_close_out(ngx_sio_peer_t *peer);
static void ngx_sio_bus_check_flushed(void);
static void ngx_sio_bus_out_read_handler(ngx_event_t *rev);
static void ngx_sio_bus_out_write_handler(ngx_event_t *wev);
static void ngx_sio_bus_peer_timer(ngx_event_t *ev);
static void ngx_sio_bus_stream_ended(ngx_sio_peer_t *peer);
static void ngx_sio_bus_missed(ngx_sio_peer_t *peer);
static void ngx_sio_bus_dead(ngx_sio_peer_t *peer);
static void ngx_sio_bus_cut(ngx_sio_peer_t *peer);
static void ngx_sio_bus_break(ngx_sio_peer_t *peer);
static void ngx_sio_bus_give_up(ngx_sio_peer_t *peer);
static void ngx_sio_bus_close_session(ngx_sio_session_t *s);
static void ngx_sio_bus_reserve(void);

static void ngx_sio_bus_push(ngx_sio_peer_t *peer, ngx_sio_msg_t *m);
static void ngx_sio_bus_push_simple(ngx_sio_peer_t *peer,
    ngx_sio_frame_e type);
static void ngx_sio_bus_tell(ngx_sio_frame_e type);
static void ngx_sio_bus_flush_handler(ngx_event_t *ev);
static ngx_uint_t ngx_sio_bus_congested(void);
static void ngx_sio_bus_flush(ngx_sio_peer_t *peer);
static ngx_sio_msg_t *ngx_sio_bus_encode(ngx_sio_op_t *op, uint64_t number);

static void ngx_sio_bus_greeting_handler(ngx_event_t *ev);
static void ngx_sio_bus_check_ready(void);
static void ngx_sio_bus_set_ready(void);
static void ngx_sio_bus_call_waiters(void);

static void ngx_sio_bus_start_exit(void);
static void ngx_sio_bus_release_get(ngx_sio_session_t *s);
static void ngx_sio_bus_check_exit(void);
static void ngx_sio_bus_grace_handler(ngx_event_t *ev);
static void ngx_sio_bus_goodbye(void);
static void ngx_sio_bus_farewell_handler(ngx_event_t *ev);
static void ngx_sio_bus_goodbye_session(ngx_sio_session_t *s);
static void ngx_sio_bus_exit_handler(ngx_event_t *ev);


static ngx_sio_bus_t  ngx_sio_bus;
static u_char         ngx_sio_bus_buffer[NGX_SIO_BUS_BUFFER];

/* what one operation's lists need, kept from one to the next */

static sio_span_t    *ngx_sio_bus_items;
static size_t         ngx_sio_bus_items_n;


ngx_int_t
ngx_sio_bus_init(ngx_cycle_t *cycle, ngx_shm_zone_t *zone, size_t buffer)
{
    ngx_socket_t    fd;
    ngx_sio_bus_t  *bus;

    bus = &ngx_sio_bus;

    ngx_memzero(bus, sizeof(ngx_sio_bus_t));

    bus->buffer = buffer;

    ngx_queue_init(&bus->peers);
    ngx_queue_init(&bus->ins);
    ngx_queue_init(&bus->waiters);

    bus->flush.handler = ngx_sio_bus_flush_handler;
    bus->flush.log = cycle->log;

    bus->release.handler = ngx_sio_bus_release_handler;
    bus->release.log = cycle->log;

    bus->later.handler = ngx_sio_bus_accept_later;
    bus->later.log = cycle->log;
    bus->later.cancelable = 1;

    bus->greeting.handler = ngx_sio_bus_greeting_handler;
    bus->greeting.log = cycle->log;
    bus->greeting.cancelable = 1;

    bus->exit.handler = ngx_sio_bus_exit_handler;
    bus->exit.log = cycle->log;

    bus->farewell.handler = ngx_sio_bus_farewell_handler;
    bus->farewell.log = cycle->log;

    bus->grace.handler = ngx_sio_bus_grace_handler;
    bus->grace.log = cycle->log;
    bus->grace.cancelable = 1;

    if (!ngx_sio_directory_exists()) {
        return ngx_sio_bus_init_alone(cycle, zone);
    }

    fd = ngx_sio_directory_claim(cycle, &bus->self);

    if (fd == (ngx_socket_t) -1) {
        return NGX_ERROR;
    }

    ngx_sio_session_congested = ngx_sio_bus_congested;

    ngx_sio_zone_attach(zone, bus->self);
    ngx_sio_registry_set_origin(bus->self);
    ngx_sio_handover_init(buffer);
    ngx_sio_relay_init();
    ngx_sio_query_init();

    bus->source = ngx_sio_move_hello(ngx_sio_handover_mover(), bus->self, 0);

    bus->listening = ngx_sio_bus_connection(fd, bus, ngx_sio_bus_accept,
                                            ngx_sio_bus_accept);

    if (bus->source == NULL || bus->listening == NULL) {
        return NGX_ERROR;
    }

    /* nginx tells its idle connections when the worker begins to exit */

    bus->listening->idle = 1;

    ngx_sio_directory_each(ngx_sio_bus_found);

    bus->listed = 1;

    ngx_add_timer(&bus->greeting, NGX_SIO_BUS_GREETING);
    ngx_sio_bus_check_ready();

    return NGX_OK;
}


/*
 * A reload brought the first "sio", and no directory could be made.  nginx
 * has said so; its workers serve what they can.
 */

static ngx_int_t
ngx_sio_bus_init_alone(ngx_cycle_t *cycle, ngx_shm_zone_t *zone)
{
    uint32_t        epoch;
    ngx_sio_bus_t  *bus;

    bus = &ngx_sio_bus;

    if (ngx_sio_registry_random((u_char *) &epoch, sizeof(epoch)) != NGX_OK
        || socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0,
                      bus->nobody) == -1)
    {
        return NGX_ERROR;
    }

    bus->self = ngx_sio_origin(ngx_worker, epoch | 1);

    ngx_sio_zone_attach(zone, bus->self);
    ngx_sio_registry_set_origin(bus->self);

    /* a connection on which nothing comes but the news of the exit */

    bus->listening = ngx_sio_bus_connection(bus->nobody[0], bus,
                                            ngx_sio_bus_accept,
                                            ngx_sio_bus_accept);
    if (bus->listening == NULL) {
        return NGX_ERROR;
    }

    bus->listening->idle = 1;

    ngx_sio_handover_init(bus->buffer);
    ngx_sio_relay_init();
    ngx_sio_query_init();

    bus->source = ngx_sio_move_hello(ngx_sio_handover_mover(), bus->self, 0);
    bus->ready = 1;

    ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                  "sio: without a directory for their sockets the workers do "
                  "not share their sessions, see \"sio_bus_path\"");

    return bus->source ? NGX_OK : NGX_ERROR;
}


void
ngx_sio_bus_done(void)
{
    ngx_queue_t     *q;
    ngx_sio_bus_t   *bus;
    ngx_sio_peer_t  *peer;

    bus = &ngx_sio_bus;

    if (bus->self == 0) {
        return;
    }

    bus->leaving = 1;

    while (!ngx_queue_empty(&bus->ins)) {
        q = ngx_queue_head(&bus->ins);
        ngx_sio_bus_close_in(ngx_queue_data(q, ngx_sio_bus_in_t, queue));
    }

    while (!ngx_queue_empty(&bus->peers)) {
        q = ngx_queue_head(&bus->peers);
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->out) {
            ngx_sio_bus_flush(peer);
        }

        ngx_sio_bus_close_out(peer);

        if (peer->timer.timer_set) {
            ngx_del_timer(&peer->timer);
        }

        ngx_queue_remove(q);
        ngx_free(peer);
    }

    if (bus->listening) {
        ngx_close_connection(bus->listening);
    }

    ngx_sio_handover_done();

    if (ngx_sio_bus_items) {
        ngx_free(ngx_sio_bus_items);
        ngx_sio_bus_items = NULL;
        ngx_sio_bus_items_n = 0;
    }

    ngx_sio_directory_release();

    bus->self = 0;
}


ngx_sio_origin_t
ngx_sio_bus_self(void)
{
    return ngx_sio_bus.self;
}


ngx_uint_t
ngx_sio_bus_ready(void)
{
    return ngx_sio_bus.ready;
}


ngx_uint_t
ngx_sio_bus_ended(void)
{
    return ngx_sio_bus.goodbye;
}


void
ngx_sio_bus_wait(ngx_sio_bus_waiter_t *w)
{
    ngx_queue_insert_tail(&ngx_sio_bus.waiters, &w->queue);
}


void
ngx_sio_bus_forget(ngx_sio_bus_waiter_t *w)
{
    ngx_queue_remove(&w->queue);
}


size_t
ngx_sio_bus_limit(void)
{
    return ngx_sio_bus.buffer;
}


ngx_uint_t
ngx_sio_bus_alive(ngx_sio_origin_t origin)
{
    ngx_sio_peer_t  *peer;

    peer = ngx_sio_bus_find(origin);

    return peer && peer->out && peer->source && !peer->ended;
}


ngx_uint_t
ngx_sio_bus_expects(ngx_sio_origin_t origin)
{
    ngx_sio_peer_t  *peer;

    if (origin == 0 || origin == ngx_sio_bus.self) {
        return 0;
    }

    peer = ngx_sio_bus_find(origin);

    return peer && peer->source == NULL && !peer->refused && !peer->ended;
}


void
ngx_sio_bus_each(void (*f)(ngx_sio_origin_t origin, void *data), void *data)
{
    ngx_queue_t     *q, *next;
    ngx_sio_peer_t  *peer;

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = next)
    {
        next = ngx_queue_next(q);
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (!peer->refused) {
            f(peer->origin, data);
        }
    }
}


void
ngx_sio_bus_drain(ngx_uint_t (*but)(ngx_sio_origin_t origin, void *data),
    void *data)
{
    ngx_queue_t       *q;
    ngx_sio_bus_in_t  *in;

    ngx_sio_bus_accept_all(ngx_sio_bus.listening);

    ngx_sio_bus.drains++;
    ngx_sio_bus.draining = 1;

    /* reading one may close others; what the dead sent holds nobody up */

again:

    for (q = ngx_queue_head(&ngx_sio_bus.ins);
         q != ngx_queue_sentinel(&ngx_sio_bus.ins);
         q = ngx_queue_next(q))
    {
        in = ngx_queue_data(q, ngx_sio_bus_in_t, queue);

        if (in->drained == ngx_sio_bus.drains) {
            continue;
        }

        in->drained = ngx_sio_bus.drains;

        if (in->peer == NULL || !but(in->peer->origin, data)) {

            if (in->after == 0 || ngx_sio_bus_resume(in) == NGX_OK) {
                (void) ngx_sio_bus_read(in, 1);
            }

            goto again;
        }
    }

    ngx_sio_bus.draining = 0;
}


static ngx_connection_t *
ngx_sio_bus_connection(ngx_socket_t fd, void *data,
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

    c->read->channel = (data != &ngx_sio_bus);

    /* for writing only once there is something to wait for */

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_close_connection(c);
        return NULL;
    }

    return c;
}


static void
ngx_sio_bus_accept(ngx_event_t *ev)
{
    ngx_connection_t  *lc;

    lc = ev->data;

    if (lc->close) {
        lc->close = 0;

        if (lc->error) {

            /* worker_shutdown_timeout: polls are about to be broken off */

            lc->error = 0;
            ngx_sio_bus_goodbye();

        } else {
            ngx_sio_bus_start_exit();
        }

        /* nginx handles posted events after the next others only */

        ngx_event_process_posted((ngx_cycle_t *) ngx_cycle,
                                 &ngx_posted_events);
        return;
    }

    if (!ev->write && ngx_sio_directory_exists()) {
        ngx_sio_bus_accept_all(lc);
    }
}


static void
ngx_sio_bus_accept_all(ngx_connection_t *lc)
{
    ngx_socket_t       fd;
    ngx_sio_bus_in_t  *in;

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
                ngx_add_timer(&ngx_sio_bus.later, NGX_SIO_BUS_LATER);
            }

            break;
        }

        if (!ngx_sio_directory_trusts(fd)) {
            (void) ngx_close_socket(fd);
            continue;
        }

        in = ngx_calloc(sizeof(ngx_sio_bus_in_t), lc->log);
        if (in == NULL) {
            (void) ngx_close_socket(fd);
            continue;
        }

        in->connection = ngx_sio_bus_connection(fd, in,
                                                ngx_sio_bus_read_handler,
                                                ngx_sio_bus_read_handler);
        if (in->connection == NULL) {
            ngx_free(in);
            continue;
        }

        ngx_queue_insert_tail(&ngx_sio_bus.ins, &in->queue);

        /* what was sent before there was an event to tell */

        in->connection->read->ready = 1;
        ngx_post_event(in->connection->read, &ngx_posted_events);
    }

    lc->read->ready = 0;
    (void) ngx_handle_read_event(lc->read, 0);
}


static void
ngx_sio_bus_accept_later(ngx_event_t *ev)
{
    ngx_sio_bus_accept_all(ngx_sio_bus.listening);
}


static void
ngx_sio_bus_read_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;
    ngx_sio_bus_in_t  *in;

    c = rev->data;
    in = c->data;

    if (rev->write) {
        return;
    }

    if (ngx_sio_bus_read(in, 0) == NGX_AGAIN
        && ngx_handle_read_event(rev, 0) != NGX_OK)
    {
        ngx_sio_bus_close_in(in);
    }
}


/* NGX_DONE: in is gone, NGX_OK: there may be more, NGX_AGAIN: there is none */

static ngx_int_t
ngx_sio_bus_read(ngx_sio_bus_in_t *in, ngx_uint_t all)
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

        if (i && (all ? i == NGX_SIO_BUS_MAX_READS
                      : (i == NGX_SIO_BUS_READS || ngx_sio_session_worked())))
        {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return NGX_OK;
        }

        if (in->partial) {
            p = in->partial + in->have;
            size = in->size - in->have;

        } else {
            p = ngx_sio_bus_buffer;
            size = NGX_SIO_BUS_BUFFER;
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
            ngx_sio_bus_close_in(in);
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

            rc = ngx_sio_bus_frames(in, p, p + in->have);

            ngx_free(p);

        } else {
            rc = ngx_sio_bus_frames(in, p, p + n);
        }

        if (rc != NGX_OK) {
            ngx_sio_bus_not_valid(in);
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
ngx_sio_bus_not_valid(ngx_sio_bus_in_t *in)
{
    ngx_sio_count(bus_errors);
    ngx_log_error(NGX_LOG_ERR, in->connection->log, 0,
                  "sio: another worker sent a frame that is not valid: its "
                  "stream is closed");

    ngx_sio_bus_close_in(in);
}


/* handles whole frames, as far as it may, and keeps what is left */

static ngx_int_t
ngx_sio_bus_frames(ngx_sio_bus_in_t *in, u_char *p, u_char *last)
{
    size_t    n;
    sio_in_t  f;

    while ((size_t) (last - p) >= NGX_SIO_BUS_HEADER && in->after == 0) {

        f = sio_in((sio_span_t) { p, 4 });
        n = sio_in_u32(&f);

        if (n == 0 || n > NGX_SIO_BUS_MAX_FRAME) {
            return NGX_ERROR;
        }

        if ((size_t) (last - p) < 4 + n) {
            break;
        }

        if (ngx_sio_bus_dispatch(in, p, 4 + n) != NGX_OK) {
            return NGX_ERROR;
        }

        p += 4 + n;
    }

    return (p < last) ? ngx_sio_bus_keep(in, p, last - p) : NGX_OK;
}


/* the rest of a frame is read behind its beginning; nothing, while held */

static ngx_int_t
ngx_sio_bus_keep(ngx_sio_bus_in_t *in, u_char *p, size_t have)
{
    sio_in_t  f;

    in->size = NGX_SIO_BUS_HEADER;

    if (in->after) {
        in->size = have;

    } else if (have >= NGX_SIO_BUS_HEADER) {
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


static ngx_int_t
ngx_sio_bus_dispatch(ngx_sio_bus_in_t *in, u_char *p, size_t n)
{
    sio_in_t          f;
    ngx_sio_peer_t   *peer;
    ngx_sio_frame_e   type;

    f = sio_in((sio_span_t) { p + NGX_SIO_BUS_HEADER,
                              n - NGX_SIO_BUS_HEADER });
    type = p[4];
    peer = in->peer;

    ngx_sio_count(bus_messages_in);

    if (type == NGX_SIO_FRAME_HELLO) {
        return ngx_sio_bus_hello(in, &f);
    }

    if (peer == NULL) {
        return NGX_ERROR;
    }

    if (peer->refused) {
        return NGX_OK;
    }

    switch (type) {

    case NGX_SIO_FRAME_GREETED:
        peer->greeted = 1;
        peer->tries = 0;

        if (peer->broken) {

            /* it lives, but had no use for what was sent it */

            peer->broken = 0;
            ngx_sio_bus_give_up(peer);
        }

        ngx_sio_bus_check_ready();
        return NGX_OK;

    case NGX_SIO_FRAME_AGAIN:
        ngx_sio_bus_break(peer);
        ngx_sio_bus_connect(peer);
        return NGX_OK;

    case NGX_SIO_FRAME_EXITING:
        peer->exiting = 1;
        ngx_sio_bus.grace_until = ngx_current_msec
                                  + (sio_in_u8(&f) ? NGX_SIO_BUS_GRACE : 0);

        ngx_sio_bus_check_exit();
        return f.bad ? NGX_ERROR : NGX_OK;

    case NGX_SIO_FRAME_GOODBYE:
        if (ngx_sio_bus.exiting) {
            ngx_sio_bus_goodbye();
        }

        return NGX_OK;

    case NGX_SIO_FRAME_OP:
        return ngx_sio_bus_op(peer, p, n);

    case NGX_SIO_FRAME_AFTER:
        return ngx_sio_bus_hold(in, &f);

    case NGX_SIO_FRAME_PROBE:
    case NGX_SIO_FRAME_PROBED:
    case NGX_SIO_FRAME_ABANDON:
    case NGX_SIO_FRAME_TAKE:
    case NGX_SIO_FRAME_CONSENT:
    case NGX_SIO_FRAME_STATE:
    case NGX_SIO_FRAME_GONE:
    case NGX_SIO_FRAME_ENDED:
        return ngx_sio_handover_handle(peer->origin, type, &f);

    case NGX_SIO_FRAME_REQUEST:
    case NGX_SIO_FRAME_BODY:
    case NGX_SIO_FRAME_FINISHED:
    case NGX_SIO_FRAME_RELEASE:
    case NGX_SIO_FRAME_ANSWER:
        return ngx_sio_relay_handle(peer->origin, type, &f);

    case NGX_SIO_FRAME_REPLY:
        return ngx_sio_query_handle(peer->origin, &f);

    default:
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_sio_bus_op(ngx_sio_peer_t *peer, u_char *frame, size_t n)
{
    ngx_int_t         rc;
    ngx_sio_op_t      op;
    ngx_sio_msg_t     view, *m;
    ngx_sio_mover_t  *mv;

    mv = ngx_sio_handover_mover();
    m = NULL;

    if (mv->logging) {
        m = ngx_sio_msg_alloc(n);

        if (m) {
            ngx_memcpy(m->data, frame, n);
        }
    }

    view.data = frame;
    view.len = n;

    rc = ngx_sio_bus_decode(&view, &op);

    if (rc == NGX_ERROR || op.number != peer->source->applied + 1) {
        if (m) {
            ngx_sio_msg_unref(m);
        }

        return NGX_ERROR;
    }

    op.origin = peer->origin;

    /* a question about an app that is not known here has an answer: nothing */

    ngx_sio_query_prepare(&op, 0);

    if (rc == NGX_OK) {
        (void) ngx_sio_op_apply(&op);
    }

    ngx_sio_query_applied(&op);

    ngx_sio_move_applied(mv, peer->source, op.number, m);
    ngx_sio_bus_progress();

    if (m) {
        ngx_sio_msg_unref(m);
    }

    return NGX_OK;
}


void
ngx_sio_bus_after(ngx_sio_origin_t origin)
{
    sio_out_t          o;
    ngx_queue_t       *q;
    ngx_sio_msg_t     *m;
    ngx_sio_peer_t    *peer;
    ngx_sio_source_t  *source;

    source = ngx_sio_move_source(ngx_sio_handover_mover(), origin);

    if (source == NULL || source->applied == 0) {
        return;
    }

    m = ngx_sio_bus_frame(NGX_SIO_FRAME_AFTER, 2 * sizeof(uint64_t), &o);

    if (m == NULL) {
        return;
    }

    sio_out_u64(&o, origin);
    sio_out_u64(&o, source->applied);

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->origin != origin && !peer->refused) {
            ngx_sio_bus_push(peer, m);
        }
    }

    ngx_sio_msg_unref(m);
}


/* one that was waited for in vain is not again, until it has caught up */

static ngx_int_t
ngx_sio_bus_hold(ngx_sio_bus_in_t *in, sio_in_t *f)
{
    uint64_t          number;
    ngx_sio_origin_t  origin;

    origin = sio_in_u64(f);
    number = sio_in_u64(f);

    if (f->bad || origin == 0) {
        return NGX_ERROR;
    }

    if (!ngx_sio_bus_lags(origin, number)) {

        if (in->late == origin) {
            in->late = 0;
        }

        return NGX_OK;
    }

    if (in->late == origin || ngx_sio_bus.draining) {
        return NGX_OK;
    }

    in->after = origin;
    in->number = number;

    in->hold.handler = ngx_sio_bus_hold_timeout;
    in->hold.data = in;
    in->hold.log = in->connection->log;
    in->hold.cancelable = 1;

    ngx_add_timer(&in->hold, NGX_SIO_BUS_HOLD);

    ngx_sio_bus.held++;

    return NGX_OK;
}


/* of an origin that is unknown or has ended nothing more will come */

static ngx_uint_t
ngx_sio_bus_lags(ngx_sio_origin_t origin, uint64_t number)
{
    ngx_sio_source_t  *source;

    source = ngx_sio_move_source(ngx_sio_handover_mover(), origin);

    return source && source->state != NGX_SIO_SOURCE_ENDED
           && source->applied < number;
}


/* an origin has come further, or has ended */

static void
ngx_sio_bus_progress(void)
{
    if (ngx_sio_bus.held && !ngx_sio_bus.release.posted) {
        ngx_post_event(&ngx_sio_bus.release, &ngx_posted_events);
    }
}


static void
ngx_sio_bus_release_handler(ngx_event_t *ev)
{
    ngx_queue_t       *q;
    ngx_sio_bus_in_t  *in;

    /* reading one may close others */

again:

    for (q = ngx_queue_head(&ngx_sio_bus.ins);
         q != ngx_queue_sentinel(&ngx_sio_bus.ins);
         q = ngx_queue_next(q))
    {
        in = ngx_queue_data(q, ngx_sio_bus_in_t, queue);

        if (in->after && !ngx_sio_bus_lags(in->after, in->number)) {
            (void) ngx_sio_bus_resume(in);
            goto again;
        }
    }
}


static void
ngx_sio_bus_hold_timeout(ngx_event_t *ev)
{
    ngx_sio_bus_in_t  *in;

    in = ev->data;

    ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                  "sio: what sessions send that came from worker %ui waits no "
                  "longer for what they sent from there",
                  ngx_sio_origin_slot(in->after));

    in->late = in->after;

    (void) ngx_sio_bus_resume(in);
}


/* NGX_OK, or NGX_DONE: in is gone */

static ngx_int_t
ngx_sio_bus_resume(ngx_sio_bus_in_t *in)
{
    u_char     *p;
    ngx_int_t   rc;

    ngx_sio_bus_unhold(in);

    p = in->partial;

    if (p) {
        in->partial = NULL;

        rc = ngx_sio_bus_frames(in, p, p + in->have);

        ngx_free(p);

        if (rc != NGX_OK) {
            ngx_sio_bus_not_valid(in);
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
ngx_sio_bus_unhold(ngx_sio_bus_in_t *in)
{
    if (in->after == 0) {
        return;
    }

    in->after = 0;
    ngx_sio_bus.held--;

    if (in->hold.timer_set) {
        ngx_del_timer(&in->hold);
    }
}


static void
ngx_sio_bus_close_in(ngx_sio_bus_in_t *in)
{
    ngx_sio_peer_t  *peer;

    peer = in->peer;

    ngx_sio_bus_unhold(in);
    ngx_queue_remove(&in->queue);
    ngx_close_connection(in->connection);

    if (in->partial) {
        ngx_free(in->partial);
    }

    ngx_free(in);

    if (peer) {
        peer->in = NULL;
        ngx_sio_bus_stream_ended(peer);
    }
}


static ngx_sio_peer_t *
ngx_sio_bus_find(ngx_sio_origin_t origin)
{
    ngx_queue_t     *q;
    ngx_sio_peer_t  *peer;

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->origin == origin) {
            return peer;
        }
    }

    return NULL;
}


static void
ngx_sio_bus_found(ngx_sio_origin_t origin)
{
    ngx_sio_peer_t  *peer;

    peer = ngx_sio_bus_peer(origin);

    if (peer) {
        ngx_sio_bus_connect(peer);
    }
}


/* finds a peer or makes it known */

static ngx_sio_peer_t *
ngx_sio_bus_peer(ngx_sio_origin_t origin)
{
    ngx_sio_peer_t  *peer;

    peer = ngx_sio_bus_find(origin);

    if (peer) {
        return peer;
    }

    peer = ngx_calloc(sizeof(ngx_sio_peer_t), ngx_cycle->log);
    if (peer == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    peer->origin = origin;

    peer->timer.handler = ngx_sio_bus_peer_timer;
    peer->timer.data = peer;
    peer->timer.log = ngx_cycle->log;
    peer->timer.cancelable = 1;

    ngx_queue_insert_tail(&ngx_sio_bus.peers, &peer->queue);
    ngx_sio_count(links);

    return peer;
}


static ngx_int_t
ngx_sio_bus_hello(ngx_sio_bus_in_t *in, sio_in_t *f)
{
    uint32_t           version;
    uint64_t           number;
    ngx_sio_peer_t    *peer;
    ngx_sio_origin_t   origin;

    number = 0;
    version = sio_in_u32(f);
    origin = sio_in_u64(f);

    if (version == NGX_SIO_BUS_VERSION) {
        number = sio_in_u64(f);
        f->bad |= (f->n != 0);
    }

    /* a peer is made only if it can be kept */

    if (f->bad || origin == 0 || origin == ngx_sio_bus.self || in->peer) {
        return NGX_ERROR;
    }

    peer = ngx_sio_bus_peer(origin);

    if (peer == NULL) {
        return NGX_ERROR;
    }

    if (peer->in) {

        /* it began anew: what is left of the former stream has a gap behind */

        peer->in->peer = NULL;
        ngx_sio_bus_close_in(peer->in);

        peer->in = NULL;
        peer->ended = 1;
    }

    if (version != NGX_SIO_BUS_VERSION) {
        in->peer = peer;
        peer->in = in;

        if (!peer->refused) {
            ngx_log_error(NGX_LOG_WARN, in->connection->log, 0,
                          "sio: worker %ui has version %uD of the bus, this "
                          "one %d: they share no session and no event",
                          ngx_sio_origin_slot(origin), version,
                          NGX_SIO_BUS_VERSION);
        }

        peer->refused = 1;
        ngx_sio_bus_check_ready();
        return NGX_OK;
    }

    if (peer->ended) {
        ngx_sio_bus_missed(peer);
        peer->ended = 0;
        peer->lost = 0;
    }

    peer->source = ngx_sio_move_hello(ngx_sio_handover_mover(), origin,
                                      number);
    if (peer->source == NULL) {

        /* whether it is there is then seen by connecting to it */

        ngx_add_timer(&peer->timer, NGX_SIO_BUS_LATER);
        return NGX_ERROR;
    }

    ngx_sio_bus_progress();

    in->peer = peer;
    peer->in = in;

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    if (peer->out == NULL) {
        ngx_sio_bus_connect(peer);

    } else {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_GREETED);
    }

    ngx_sio_bus_check_ready();
    ngx_sio_bus_check_exit();
    ngx_sio_bus_call_waiters();

    return NGX_OK;
}


/*
 * Opens our stream to a peer; it begins with HELLO.  One that is not there
 * any more is forgotten, unless what it sent is still to be read.
 */

static void
ngx_sio_bus_connect(ngx_sio_peer_t *peer)
{
    sio_out_t       o;
    ngx_socket_t    fd;
    ngx_sio_msg_t  *m;

    peer->cut = 0;

    switch (ngx_sio_directory_connect(peer->origin, &fd)) {

    case NGX_OK:
        break;

    case NGX_AGAIN:
        ngx_add_timer(&peer->timer, NGX_SIO_BUS_RETRY);
        return;

    case NGX_DECLINED:
        if (peer->in == NULL) {
            ngx_sio_bus_dead(peer);
        }

        return;

    default:
        ngx_sio_bus_retry(peer);
        return;
    }

    peer->out = ngx_sio_bus_connection(fd, peer, ngx_sio_bus_out_read_handler,
                                       ngx_sio_bus_out_write_handler);

    if (peer->out == NULL) {
        ngx_sio_bus_retry(peer);
        return;
    }

    peer->out->write->ready = 1;
    peer->greeted = 0;

    m = ngx_sio_bus_frame(NGX_SIO_FRAME_HELLO, 20, &o);
    if (m == NULL) {
        return;
    }

    sio_out_u32(&o, NGX_SIO_BUS_VERSION);
    sio_out_u64(&o, ngx_sio_bus.self);
    sio_out_u64(&o, ngx_sio_bus.number);

    ngx_sio_bus_push(peer, m);
    ngx_sio_msg_unref(m);

    if (peer->in) {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_GREETED);
    }

    if (peer->lost) {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_AGAIN);
    }

    if (ngx_sio_bus.exiting) {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_EXITING);
    }
}


/* it is about to die, or one of us is short of connections */

static void
ngx_sio_bus_retry(ngx_sio_peer_t *peer)
{
    ngx_msec_t  delay;

    delay = (ngx_msec_t) NGX_SIO_BUS_RETRY << peer->tries;

    if (delay < NGX_SIO_BUS_LATER) {
        peer->tries++;
    }

    ngx_add_timer(&peer->timer, ngx_min(delay, NGX_SIO_BUS_LATER));
}


static void
ngx_sio_bus_close_out(ngx_sio_peer_t *peer)
{
    ngx_sio_link_t  *link;

    if (peer->out == NULL) {
        return;
    }

    ngx_close_connection(peer->out);
    peer->out = NULL;

    for (link = peer->waiting.head; link; link = link->next) {
        ngx_sio_sub(bus_unsent, link->msg->len);
    }

    ngx_sio_add(bus_unsent, peer->sent);

    ngx_sio_queue_clear(&peer->waiting);
    peer->sent = 0;

    ngx_sio_bus_check_flushed();
}


/* bytes that wait keep a worker that is exiting */

static void
ngx_sio_bus_check_flushed(void)
{
    if (ngx_sio_bus.exit.timer_set && ngx_sio_stats->bus_unsent == 0) {
        ngx_del_timer(&ngx_sio_bus.exit);
    }
}


/* nothing is ever sent this way: it is the end */

static void
ngx_sio_bus_out_read_handler(ngx_event_t *rev)
{
    u_char             c;
    ssize_t            n;
    ngx_sio_peer_t    *peer;
    ngx_connection_t  *out;

    out = rev->data;
    peer = out->data;

    n = recv(out->fd, &c, 1, 0);

    if (n == -1 && (ngx_socket_errno == NGX_EAGAIN
                    || ngx_socket_errno == NGX_EINTR))
    {
        rev->ready = 0;
        (void) ngx_handle_read_event(rev, 0);
        return;
    }

    /*
     * Its death, or it has closed what it could not keep: the next connection
     * tells.  One that it has never answered may meet the same again.
     */

    ngx_sio_bus_close_out(peer);

    if (!peer->greeted) {
        ngx_sio_bus_retry(peer);
        return;
    }

    peer->broken = 1;

    ngx_sio_bus_connect(peer);
}


static void
ngx_sio_bus_out_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *out;

    out = wev->data;

    ngx_sio_bus_flush(out->data);
}


static void
ngx_sio_bus_peer_timer(ngx_event_t *ev)
{
    ngx_msec_int_t    left;
    ngx_sio_peer_t   *peer;
    ngx_sio_origin_t  origin;

    peer = ev->data;

    if (peer->out == NULL && (!peer->cut || peer->in == NULL)) {
        origin = peer->origin;

        ngx_sio_bus_connect(peer);

        peer = ngx_sio_bus_find(origin);
        if (peer == NULL) {
            return;
        }
    }

    if (!peer->lost) {
        return;
    }

    left = peer->decide_at - ngx_current_msec;

    if (left > 0) {
        if (!peer->timer.timer_set) {
            ngx_add_timer(&peer->timer, (ngx_msec_t) left);
        }

        return;
    }

    /* it neither died nor began anew: what it sent meanwhile is missed */

    peer->lost = 0;
    ngx_sio_bus_missed(peer);
    ngx_sio_move_end(ngx_sio_handover_mover(), peer->source);
    ngx_sio_bus_progress();
    peer->source = NULL;
}


/*
 * The stream from a peer was read to its end: either it is dead, then our
 * stream to it ends too, or it has cut us off and hears us.
 */

static void
ngx_sio_bus_stream_ended(ngx_sio_peer_t *peer)
{
    ngx_sio_origin_t  origin;

    if (ngx_sio_bus.leaving) {
        return;
    }

    if (peer->refused) {
        if (peer->out == NULL) {
            ngx_sio_bus_dead(peer);
        }

        return;
    }

    origin = peer->origin;

    peer->ended = 1;
    peer->lost = 1;

    peer->decide_at = ngx_current_msec + NGX_SIO_BUS_UNDECIDED;

    ngx_sio_move_lost(ngx_sio_handover_mover(), peer->source);

    if (peer->out == NULL) {
        ngx_sio_bus_connect(peer);

        peer = ngx_sio_bus_find(origin);
        if (peer == NULL) {
            return;
        }

    } else {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_AGAIN);
    }

    if (!peer->timer.timer_set) {
        ngx_add_timer(&peer->timer, NGX_SIO_BUS_UNDECIDED);
    }
}


/* a peer that lives has sent operations that we did not get */

static void
ngx_sio_bus_missed(ngx_sio_peer_t *peer)
{
    ngx_queue_t      *q;
    ngx_sio_mover_t  *mv;

    mv = ngx_sio_handover_mover();

    /* of what it was to answer, nothing comes any more */

    ngx_sio_handover_gone(peer->origin, 1);
    ngx_sio_relay_gone(peer->origin);
    ngx_sio_query_gone(peer->origin, 0);

    ngx_sio_count(bus_lags);
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "sio: this worker did not read what worker %ui sent and was "
                  "cut off: its %uL sessions are closed",
                  ngx_sio_origin_slot(peer->origin), ngx_sio_stats->sessions);

    ngx_sio_registry_each_session(ngx_sio_bus_close_session);

    for (q = ngx_queue_head(&mv->takes);
         q != ngx_queue_sentinel(&mv->takes);
         q = ngx_queue_next(q))
    {
        ngx_sio_move_fail_take(ngx_queue_data(q, ngx_sio_take_t, queue));
    }
}


static void
ngx_sio_bus_close_session(ngx_sio_session_t *s)
{
    ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);
}


static void
ngx_sio_bus_dead(ngx_sio_peer_t *peer)
{
    ngx_uint_t        exiting;
    ngx_sio_bus_t    *bus;
    ngx_sio_origin_t  origin;

    bus = &ngx_sio_bus;
    origin = peer->origin;
    exiting = peer->exiting;

    ngx_log_debug1(NGX_LOG_DEBUG_CORE, ngx_cycle->log, 0,
                   "sio worker %ui is gone", ngx_sio_origin_slot(origin));

    ngx_sio_bus_close_out(peer);

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    if (peer->source) {
        ngx_sio_move_end(ngx_sio_handover_mover(), peer->source);
        ngx_sio_bus_progress();
    }

    ngx_queue_remove(&peer->queue);
    ngx_free(peer);

    ngx_sio_uncount(links);
    ngx_sio_bus_reserve();

    ngx_sio_handover_gone(origin, 1);
    ngx_sio_relay_gone(origin);
    ngx_sio_query_gone(origin, 1);

    /* one that did not say that it exits is replaced */

    if (bus->exiting && !exiting) {
        bus->grace_until = ngx_current_msec + NGX_SIO_BUS_GRACE;
    }

    ngx_sio_bus_check_ready();
    ngx_sio_bus_check_exit();
    ngx_sio_bus_call_waiters();
}


static void
ngx_sio_bus_cut(ngx_sio_peer_t *peer)
{
    ngx_sio_count(bus_cuts);
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "sio: worker %ui does not read: %uz bytes wait for it, "
                  "limited by \"sio_bus_buffer\", it is cut off",
                  ngx_sio_origin_slot(peer->origin), peer->waiting.size);

    ngx_sio_bus_break(peer);
}


/* what a peer was told is not all that it was to hear */

static void
ngx_sio_bus_break(ngx_sio_peer_t *peer)
{
    ngx_sio_bus_close_out(peer);

    peer->cut = 1;

    /* one that has never greeted can't ask for another stream */

    if (peer->in == NULL && !peer->timer.timer_set) {
        ngx_add_timer(&peer->timer, NGX_SIO_BUS_LATER);
    }

    ngx_sio_bus_give_up(peer);
}


static void
ngx_sio_bus_give_up(ngx_sio_peer_t *peer)
{
    ngx_sio_origin_t  origin;

    origin = peer->origin;

    ngx_sio_handover_gone(origin, 0);
    ngx_sio_relay_gone(origin);
    ngx_sio_query_gone(origin, 0);
}


/* a full worker could not greet a new one */

static void
ngx_sio_bus_reserve(void)
{
    ngx_uint_t  n;

    n = ngx_sio_stats->links + 1 + NGX_SIO_BUS_RESERVE;

    ngx_sio_session_reserve = ngx_min(n, ngx_cycle->connection_n / 8);
}


ngx_sio_msg_t *
ngx_sio_bus_frame(ngx_sio_frame_e type, size_t n, sio_out_t *o)
{
    ngx_sio_msg_t  *m;

    if (n + NGX_SIO_BUS_HEADER > ngx_sio_bus.buffer) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sio: %uz bytes for another worker, limited by "
                      "\"sio_bus_buffer\"", n);
        return NULL;
    }

    m = ngx_sio_msg_alloc(NGX_SIO_BUS_HEADER + n);
    if (m == NULL) {
        return NULL;
    }

    o->p = m->data;
    o->n = 0;

    sio_out_u32(o, 1 + n);
    sio_out_byte(o, type);

    return m;
}


void
ngx_sio_bus_send(ngx_sio_origin_t to, ngx_sio_msg_t *m)
{
    ngx_sio_peer_t  *peer;

    if (m == NULL) {
        return;
    }

    peer = ngx_sio_bus_find(to);

    if (peer) {
        ngx_sio_bus_push(peer, m);
    }

    ngx_sio_msg_unref(m);
}


static void
ngx_sio_bus_push(ngx_sio_peer_t *peer, ngx_sio_msg_t *m)
{
    if (peer->out == NULL
        || ngx_sio_queue_push(&peer->waiting, m) != NGX_OK)
    {
        return;
    }

    if (peer->waiting.head->next == NULL) {
        peer->progress = ngx_current_msec;
    }

    ngx_sio_bus.pushed += m->len;

    ngx_sio_add(bus_unsent, m->len);
    ngx_sio_count(bus_messages_out);

    if (!ngx_sio_bus.flush.posted) {
        ngx_post_event(&ngx_sio_bus.flush, &ngx_posted_events);
    }
}


/* a frame without a body; EXITING tells if others are to come */

static void
ngx_sio_bus_push_simple(ngx_sio_peer_t *peer, ngx_sio_frame_e type)
{
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    m = ngx_sio_bus_frame(type, type == NGX_SIO_FRAME_EXITING, &o);

    if (m) {
        if (type == NGX_SIO_FRAME_EXITING) {
            sio_out_byte(&o, ngx_sio_directory_renewed());
        }

        ngx_sio_bus_push(peer, m);
        ngx_sio_msg_unref(m);
    }
}


static void
ngx_sio_bus_tell(ngx_sio_frame_e type)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        ngx_sio_bus_push_simple(ngx_queue_data(q, ngx_sio_peer_t, queue),
                                type);
    }
}


static void
ngx_sio_bus_flush_handler(ngx_event_t *ev)
{
    ngx_queue_t     *q, *next;
    ngx_sio_bus_t   *bus;
    ngx_sio_peer_t  *peer;

    bus = &ngx_sio_bus;
    bus->pushed = 0;

    for (q = ngx_queue_head(&bus->peers);
         q != ngx_queue_sentinel(&bus->peers);
         q = next)
    {
        next = ngx_queue_next(q);
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->out && peer->waiting.head) {
            ngx_sio_bus_flush(peer);
        }

        if (peer->waiting.size > bus->buffer && peer->waiting.head->next) {
            ngx_sio_bus_cut(peer);
        }
    }

    if (bus->exiting && ngx_sio_stats->bus_unsent && !bus->exit.timer_set) {
        ngx_add_timer(&bus->exit, NGX_SIO_BUS_FLUSH);
    }
}


/*
 * Who takes what it is sent, but more slowly than it comes, is waited for: by
 * not reading from clients.  Who takes nothing is not, or one worker that
 * hangs would stop all.
 */

static ngx_uint_t
ngx_sio_bus_congested(void)
{
    ngx_queue_t     *q;
    ngx_sio_bus_t   *bus;
    ngx_sio_peer_t  *peer;

    bus = &ngx_sio_bus;

    if (bus->pushed > bus->buffer / 8) {
        return 1;
    }

    if (ngx_sio_stats->bus_unsent < bus->buffer / 4) {
        return 0;
    }

    for (q = ngx_queue_head(&bus->peers);
         q != ngx_queue_sentinel(&bus->peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->waiting.size > bus->buffer / 4
            && ngx_current_msec - peer->progress < NGX_SIO_BUS_PATIENCE)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_sio_bus_flush(ngx_sio_peer_t *peer)
{
    size_t             from;
    ssize_t            n;
    ngx_uint_t         i;
    ngx_sio_link_t    *link;
    ngx_connection_t  *c;
    struct iovec       iovs[NGX_SIO_BUS_IOVS];

    c = peer->out;

    while (peer->waiting.head && c->write->ready) {

        from = peer->sent;

        for (i = 0, link = peer->waiting.head;
             link && i < NGX_SIO_BUS_IOVS;
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

        peer->progress = ngx_current_msec;

        ngx_sio_add(bus_bytes_out, n);
        ngx_sio_sub(bus_unsent, n);

        peer->sent += n;

        while (peer->waiting.head
               && peer->sent >= peer->waiting.head->msg->len)
        {
            peer->sent -= peer->waiting.head->msg->len;
            ngx_sio_queue_pop(&peer->waiting);
        }
    }

    ngx_sio_bus_check_flushed();
}


/* bytes that a worker which is exiting could not get rid of */

static void
ngx_sio_bus_exit_handler(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                  "sio: exiting, %uL bytes for other workers were not taken "
                  "in %d ms", ngx_sio_stats->bus_unsent, NGX_SIO_BUS_FLUSH);
}


ngx_int_t
ngx_sio_bus_publish(ngx_sio_op_t *op)
{
    ngx_int_t         n;
    ngx_queue_t      *q;
    ngx_sio_bus_t    *bus;
    ngx_sio_msg_t    *m;
    ngx_sio_peer_t   *peer;
    ngx_sio_mover_t  *mv;

    if (op->type == SIO_OP_EMIT) {
        ngx_sio_count(emits);
    }

    if (op->target == SIO_TO_SENDER) {
        return ngx_sio_op_apply(op);
    }

    bus = &ngx_sio_bus;
    mv = ngx_sio_handover_mover();
    m = NULL;

    if (!ngx_queue_empty(&bus->peers) || mv->logging) {
        m = ngx_sio_bus_encode(op, bus->number + 1);

        if (m == NULL) {
            return NGX_ERROR;
        }
    }

    op->origin = bus->self;
    op->number = ++bus->number;

    ngx_sio_count(ops_published);

    for (q = ngx_queue_head(&bus->peers);
         q != ngx_queue_sentinel(&bus->peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (!peer->refused) {
            ngx_sio_bus_push(peer, m);
        }
    }

    n = ngx_sio_op_apply(op);

    ngx_sio_move_applied(mv, bus->source, op->number, m);

    if (m) {
        ngx_sio_msg_unref(m);
    }

    return n;
}


/* the sender is known here only: elsewhere its id stands for it */

static ngx_sio_msg_t *
ngx_sio_bus_encode(ngx_sio_op_t *op, uint64_t number)
{
    size_t          n;
    sio_op_t        w;
    sio_out_t       o;
    sio_span_t     *except;
    ngx_sio_msg_t  *m;

    ngx_memzero(&w, sizeof(sio_op_t));

    w.type = op->type;
    w.target = op->target;
    w.volatil = op->volatil;
    w.local = op->local;
    w.close = op->close;
    w.opaque = op->opaque;
    w.binary = op->binary;
    w.id = op->id;
    w.app = ngx_sio_span(&op->app->name);
    w.nsp = ngx_sio_span(&op->nsp);
    w.json = op->json;
    w.rooms = op->rooms;
    w.nrooms = op->nrooms;
    w.except = op->except;
    w.nexcept = op->nexcept;
    w.names = op->names;
    w.nnames = op->nnames;
    w.attachments = op->attachments;
    w.nattachments = op->nattachments;

    except = NULL;

    if (op->except_sender) {
        except = ngx_alloc((op->nexcept + 1) * sizeof(sio_span_t),
                           ngx_cycle->log);
        if (except == NULL) {
            ngx_sio_count(memory_errors);
            return NULL;
        }

        if (op->nexcept) {
            ngx_memcpy(except, op->except, op->nexcept * sizeof(sio_span_t));
        }

        except[op->nexcept].p = op->sender->id;
        except[op->nexcept].n = NGX_SIO_ID_LEN;

        w.except = except;
        w.nexcept = op->nexcept + 1;
    }

    o.p = NULL;
    o.n = 0;

    sio_op_encode(&o, &w);
    n = o.n;

    m = ngx_sio_bus_frame(NGX_SIO_FRAME_OP, sizeof(uint64_t) + n, &o);

    if (m) {
        sio_out_u64(&o, number);
        sio_op_encode(&o, &w);
    }

    if (except) {
        ngx_free(except);
    }

    return m;
}


/* NGX_DECLINED: its app is not known here, its number is */

ngx_int_t
ngx_sio_bus_decode(ngx_sio_msg_t *m, ngx_sio_op_t *op)
{
    size_t       n;
    sio_in_t     in;
    sio_op_t     w;
    sio_span_t   rest, *items;

    ngx_memzero(op, sizeof(ngx_sio_op_t));

    in = sio_in((sio_span_t) { m->data + NGX_SIO_BUS_HEADER,
                               m->len - NGX_SIO_BUS_HEADER });
    op->number = sio_in_u64(&in);
    rest = sio_in_bytes(&in, in.n);

    if (in.bad || sio_op_count(rest, &n) != SIO_OK) {
        return NGX_ERROR;
    }

    if (n > ngx_sio_bus_items_n) {
        items = ngx_alloc(n * sizeof(sio_span_t), ngx_cycle->log);
        if (items == NULL) {
            ngx_sio_count(memory_errors);
            return NGX_ERROR;
        }

        if (ngx_sio_bus_items) {
            ngx_free(ngx_sio_bus_items);
        }

        ngx_sio_bus_items = items;
        ngx_sio_bus_items_n = n;
    }

    if (sio_op_decode(rest, &w, ngx_sio_bus_items) != SIO_OK) {
        return NGX_ERROR;
    }

    op->type = w.type;
    op->target = w.target;
    op->volatil = w.volatil;
    op->local = w.local;
    op->close = w.close;
    op->opaque = w.opaque;
    op->binary = w.binary;
    op->id = w.id;
    op->nsp = ngx_sio_str(w.nsp);
    op->json = w.json;
    op->rooms = w.rooms;
    op->nrooms = w.nrooms;
    op->except = w.except;
    op->nexcept = w.nexcept;
    op->names = w.names;
    op->nnames = w.nnames;
    op->attachments = w.attachments;
    op->nattachments = w.nattachments;

    op->app = ngx_sio_app_find(w.app);

    return op->app ? NGX_OK : NGX_DECLINED;
}


static void
ngx_sio_bus_greeting_handler(ngx_event_t *ev)
{
    ngx_queue_t     *q;
    ngx_sio_peer_t  *peer;

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (!peer->refused && (!peer->greeted || peer->source == NULL)) {
            ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                          "sio: worker %ui did not answer in %d ms, starting "
                          "without it", ngx_sio_origin_slot(peer->origin),
                          NGX_SIO_BUS_GREETING);
        }
    }

    ngx_sio_bus_set_ready();
}


static void
ngx_sio_bus_check_ready(void)
{
    ngx_queue_t     *q;
    ngx_sio_peer_t  *peer;

    ngx_sio_bus_reserve();

    if (ngx_sio_bus.ready || !ngx_sio_bus.listed) {
        return;
    }

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (!peer->refused && (!peer->greeted || peer->source == NULL)) {
            return;
        }
    }

    ngx_sio_bus_set_ready();
}


static void
ngx_sio_bus_set_ready(void)
{
    ngx_sio_bus.ready = 1;

    if (ngx_sio_bus.greeting.timer_set) {
        ngx_del_timer(&ngx_sio_bus.greeting);
    }

    ngx_sio_bus_call_waiters();
}


/* who is called may wait again, or have others forgotten */

static void
ngx_sio_bus_call_waiters(void)
{
    ngx_queue_t           *q, waiters;
    ngx_sio_bus_waiter_t  *w;

    if (!ngx_sio_bus.ready || ngx_queue_empty(&ngx_sio_bus.waiters)) {
        return;
    }

    ngx_queue_init(&waiters);
    ngx_queue_add(&waiters, &ngx_sio_bus.waiters);
    ngx_queue_init(&ngx_sio_bus.waiters);

    while (!ngx_queue_empty(&waiters)) {
        q = ngx_queue_head(&waiters);
        ngx_queue_remove(q);

        w = ngx_queue_data(q, ngx_sio_bus_waiter_t, queue);
        w->handler(w->data);
    }
}


/*
 * A reload and an orderly end begin alike.  If there is a newer configuration
 * others take over: sessions stay, but no GET is held where no later one can
 * come.
 */

static void
ngx_sio_bus_start_exit(void)
{
    ngx_sio_bus_t  *bus;

    bus = &ngx_sio_bus;

    if (bus->exiting) {
        return;
    }

    bus->exiting = 1;

    ngx_sio_bus_tell(NGX_SIO_FRAME_EXITING);
    ngx_sio_bus_set_ready();

    if (ngx_sio_directory_renewed()) {
        bus->grace_until = ngx_current_msec + NGX_SIO_BUS_GRACE;

        ngx_sio_registry_each_session(ngx_sio_bus_release_get);
        ngx_sio_relay_release();

    } else {
        bus->grace_until = ngx_current_msec;
    }

    ngx_sio_bus_check_exit();
}


static void
ngx_sio_bus_release_get(ngx_sio_session_t *s)
{
    if (s->transport->release && s->transport->writable(s)) {
        ngx_sio_session_send(s, &ngx_sio_msg_noop, 0);
    }
}


static void
ngx_sio_bus_check_exit(void)
{
    ngx_queue_t     *q;
    ngx_sio_bus_t   *bus;
    ngx_msec_int_t   left;
    ngx_sio_peer_t  *peer;

    bus = &ngx_sio_bus;

    if (!bus->exiting || bus->goodbye) {
        return;
    }

    for (q = ngx_queue_head(&bus->peers);
         q != ngx_queue_sentinel(&bus->peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (!peer->exiting && peer->source && !peer->ended) {
            return;
        }
    }

    left = bus->grace_until - ngx_current_msec;

    if (left > 0) {
        ngx_add_timer(&bus->grace, (ngx_msec_t) left);
        return;
    }

    /*
     * Who has not heard yet that all are exiting hears it before what our
     * disconnect rules send: a GET that was answered with that would have no
     * answer left for the end.
     */

    ngx_sio_bus_tell(NGX_SIO_FRAME_GOODBYE);
    ngx_sio_bus_goodbye();
}


static void
ngx_sio_bus_grace_handler(ngx_event_t *ev)
{
    ngx_sio_bus_check_exit();
}


static void
ngx_sio_bus_goodbye(void)
{
    if (ngx_sio_bus.goodbye) {
        return;
    }

    ngx_sio_bus.goodbye = 1;

    ngx_sio_registry_each_session(ngx_sio_bus_goodbye_session);

    /* sessions that end have no timer that would keep the worker */

    ngx_sio_bus.farewell_until = ngx_current_msec + NGX_SIO_BUS_FLUSH;

    ngx_sio_bus_farewell_handler(&ngx_sio_bus.farewell);
}


static void
ngx_sio_bus_farewell_handler(ngx_event_t *ev)
{
    if (ngx_sio_stats->sessions
        && (ngx_msec_int_t) (ngx_sio_bus.farewell_until - ngx_current_msec)
           > 0)
    {
        ngx_add_timer(ev, NGX_SIO_BUS_FAREWELL);
    }
}


static void
ngx_sio_bus_goodbye_session(ngx_sio_session_t *s)
{
    ngx_sio_session_close(s, NGX_SIO_SHUTTING_DOWN);
}
