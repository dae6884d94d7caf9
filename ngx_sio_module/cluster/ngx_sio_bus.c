/*
 * A worker opens a stream to each other one for what it sends (a peer's out)
 * and reads from the stream that the other one opened (its in).  Frames are
 * written from messages that may be shared by all streams, at the end of the
 * turn.
 *
 *   - A stream begins with HELLO.  From there on all operations follow on
 *     it, so that a stream has no gap.
 *   - A stream at its bound is cut.  Who finds the end of a stream from a
 *     worker that lives on closes its sessions: they missed something.
 *     Whether it lives on is asked with AGAIN; death closes the other
 *     direction too.
 *
 * Origin and number of each operation applied here go to the mover, which
 * knows what must wait for what.
 */

#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_ask.h"
#include "cluster/ngx_sio_directory.h"
#include "cluster/ngx_sio_exit.h"
#include "cluster/ngx_sio_frame.h"
#include "cluster/ngx_sio_handover.h"
#include "cluster/ngx_sio_move.h"
#include "cluster/ngx_sio_query.h"
#include "cluster/ngx_sio_relay.h"
#include "cluster/ngx_sio_stream.h"
#include "cluster/ngx_sio_zone.h"
#include "core/ngx_sio_registry.h"
#include "core/ngx_sio_session.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_BUS_VERSION    3
#define NGX_SIO_BUS_GREETING   1000            /* ms */
#define NGX_SIO_BUS_RETRY      20
#define NGX_SIO_BUS_LATER      1000
#define NGX_SIO_BUS_UNDECIDED  1000
#define NGX_SIO_BUS_RESERVE    64              /* connections */

/* with one that takes nothing: it may hold our stream for another one */

#define NGX_SIO_BUS_PATIENCE   (2 * NGX_SIO_STREAM_HOLD)


struct ngx_sio_peer_s {
    ngx_queue_t            queue;
    ngx_sio_origin_t       origin;
    ngx_sio_source_t      *source;       /* NULL before its HELLO */

    ngx_sio_stream_in_t   *in;
    uint32_t               in_stream;    /* which of its streams, from 1 */
    ngx_sio_stream_out_t   out;
    uint32_t               out_stream;   /* which of ours was the last */

    ngx_event_t            timer;        /* to connect again, to decide */
    ngx_msec_t             decide_at;
    ngx_uint_t             tries;

    unsigned               greeted:1;    /* it has read our HELLO */
    unsigned               exiting:1;
    unsigned               ended:1;      /* its stream has */
    unsigned               lost:1;       /* and it may be alive */
    unsigned               cut:1;        /* we cut ours */
    unsigned               broken:1;     /* it has closed ours, if it lives */
    unsigned               refused:1;    /* of another version */
};


typedef struct {
    ngx_sio_origin_t       self;
    ngx_sio_source_t      *source;
    uint64_t               number;       /* of the last operation sent */
    size_t                 pushed;       /* bytes in this turn, for all */

    ngx_connection_t      *listening;
    int                    nobody[2];    /* in its place, without directory */
    ngx_queue_t            peers;
    ngx_queue_t            waiters;

    ngx_event_t            flush;        /* posted */
    ngx_event_t            greeting;     /* timer */

    unsigned               listed:1;     /* all who were there are known */
    unsigned               ready:1;
    unsigned               leaving:1;
} ngx_sio_bus_t;


static ngx_int_t ngx_sio_bus_init_alone(ngx_cycle_t *cycle,
    ngx_shm_zone_t *zone);
static void ngx_sio_bus_accept(ngx_event_t *rev);
static ngx_int_t ngx_sio_bus_op(ngx_sio_peer_t *peer, u_char *frame,
    size_t n);

static ngx_sio_peer_t *ngx_sio_bus_find(ngx_sio_origin_t origin);
static void ngx_sio_bus_found(ngx_sio_origin_t origin);
static ngx_sio_peer_t *ngx_sio_bus_peer(ngx_sio_origin_t origin);
static ngx_int_t ngx_sio_bus_hello(ngx_sio_stream_in_t *in, sio_in_t *f);
static void ngx_sio_bus_connect(ngx_sio_peer_t *peer);
static void ngx_sio_bus_retry(ngx_sio_peer_t *peer);
static void ngx_sio_bus_peer_timer(ngx_event_t *ev);
static void ngx_sio_bus_missed(ngx_sio_peer_t *peer);
static void ngx_sio_bus_close_session(ngx_sio_session_t *s);
static void ngx_sio_bus_dead(ngx_sio_peer_t *peer);
static void ngx_sio_bus_cut(ngx_sio_peer_t *peer);
static void ngx_sio_bus_break(ngx_sio_peer_t *peer);
static void ngx_sio_bus_give_up(ngx_sio_peer_t *peer);
static void ngx_sio_bus_reserve(void);

static void ngx_sio_bus_push(ngx_sio_peer_t *peer, ngx_sio_msg_t *m);
static void ngx_sio_bus_push_all(ngx_sio_msg_t *m, ngx_sio_origin_t but);
static void ngx_sio_bus_push_simple(ngx_sio_peer_t *peer,
    ngx_sio_frame_e type);
static void ngx_sio_bus_flush_handler(ngx_event_t *ev);
static ngx_uint_t ngx_sio_bus_congested(void);

static void ngx_sio_bus_greeting_handler(ngx_event_t *ev);
static void ngx_sio_bus_check_ready(void);
static void ngx_sio_bus_call_waiters(void);


const ngx_sio_bus_backend_t  *ngx_sio_bus_backend;

static ngx_sio_bus_t  ngx_sio_bus;


ngx_int_t
ngx_sio_bus_init(ngx_cycle_t *cycle, ngx_shm_zone_t *zone, size_t buffer)
{
    ngx_socket_t    fd;
    ngx_sio_bus_t  *bus;

    bus = &ngx_sio_bus;

    ngx_memzero(bus, sizeof(ngx_sio_bus_t));

    ngx_queue_init(&bus->peers);
    ngx_queue_init(&bus->waiters);

    bus->flush.handler = ngx_sio_bus_flush_handler;
    bus->flush.log = cycle->log;

    /* nginx's debug log looks for a descriptor in what a timer is for */

    bus->greeting.handler = ngx_sio_bus_greeting_handler;
    bus->greeting.data = bus;
    bus->greeting.log = cycle->log;
    bus->greeting.cancelable = 1;

    ngx_sio_frame_set_limit(buffer);
    ngx_sio_stream_init(cycle);
    ngx_sio_exit_init(cycle);

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
    ngx_sio_ask_init();

    bus->source = ngx_sio_move_hello(ngx_sio_handover_mover(), bus->self, 0);

    bus->listening = ngx_sio_stream_connection(fd, bus, ngx_sio_bus_accept,
                                               ngx_sio_bus_accept);

    if (bus->source == NULL || bus->listening == NULL) {
        return NGX_ERROR;
    }

    /* nginx tells its idle connections when the worker begins to exit */

    bus->listening->idle = 1;
    bus->listening->read->channel = 0;

    ngx_sio_directory_each(ngx_sio_bus_found);

    bus->listed = 1;

    /* nginx handles what is posted after the first event, which may not come */

    if (bus->flush.posted) {
        ngx_delete_posted_event(&bus->flush);
        ngx_sio_bus_flush_handler(&bus->flush);
    }

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

    bus->listening = ngx_sio_stream_connection(bus->nobody[0], bus,
                                               ngx_sio_bus_accept,
                                               ngx_sio_bus_accept);
    if (bus->listening == NULL) {
        return NGX_ERROR;
    }

    bus->listening->idle = 1;
    bus->listening->read->channel = 0;

    ngx_sio_handover_init(ngx_sio_frame_limit());
    ngx_sio_relay_init();
    ngx_sio_query_init();
    ngx_sio_ask_init();

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

    ngx_sio_stream_done();

    while (!ngx_queue_empty(&bus->peers)) {
        q = ngx_queue_head(&bus->peers);
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->out.connection) {
            ngx_sio_stream_flush(&peer->out);
        }

        ngx_sio_stream_close_out(&peer->out);

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
    ngx_sio_ask_done();
    ngx_sio_frame_done();
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


ngx_uint_t
ngx_sio_bus_alive(ngx_sio_origin_t origin)
{
    ngx_sio_peer_t  *peer;

    peer = ngx_sio_bus_find(origin);

    return peer && peer->out.connection && peer->source && !peer->ended;
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
    ngx_sio_stream_accept(ngx_sio_bus.listening);
    ngx_sio_stream_drain(but, data);
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
            ngx_sio_exit_goodbye();

        } else {
            ngx_sio_exit_begin();
        }

        /* nginx handles posted events after the next others only */

        ngx_event_process_posted((ngx_cycle_t *) ngx_cycle,
                                 &ngx_posted_events);
        return;
    }

    if (!ev->write && ngx_sio_directory_exists()) {
        ngx_sio_stream_accept(lc);
    }
}


ngx_int_t
ngx_sio_bus_handle(ngx_sio_stream_in_t *in, u_char *p, size_t n)
{
    sio_in_t          f;
    uint32_t          stream;
    ngx_sio_peer_t   *peer;
    ngx_sio_frame_e   type;

    f = sio_in((sio_span_t) { p + NGX_SIO_FRAME_HEADER,
                              n - NGX_SIO_FRAME_HEADER });
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
        if (sio_in_u32(&f) != peer->out_stream) {
            return f.bad ? NGX_ERROR : NGX_OK;
        }

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
        stream = sio_in_u32(&f);

        /* there may be another one, on its way there */

        if (f.bad || (peer->out.connection && stream != peer->out_stream)) {
            return f.bad ? NGX_ERROR : NGX_OK;
        }

        ngx_sio_bus_break(peer);
        ngx_sio_bus_connect(peer);
        return NGX_OK;

    case NGX_SIO_FRAME_EXITING:
        peer->exiting = 1;
        ngx_sio_exit_expect(sio_in_u8(&f));
        ngx_sio_exit_check();
        return f.bad ? NGX_ERROR : NGX_OK;

    case NGX_SIO_FRAME_GOODBYE:
        if (ngx_sio_exit_begun()) {
            ngx_sio_exit_goodbye();
        }

        return NGX_OK;

    case NGX_SIO_FRAME_OP:
        return ngx_sio_bus_op(peer, p, n);

    case NGX_SIO_FRAME_AFTER:
        return ngx_sio_stream_hold(in, &f);

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

    case NGX_SIO_FRAME_ACKED:
        return ngx_sio_ask_handle(&f);

    case NGX_SIO_FRAME_RESPONSE:
        return ngx_sio_bus_backend->response(peer->origin, &f);

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

    rc = ngx_sio_frame_decode_op(&view, &op);

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
    ngx_sio_stream_progress();

    if (m) {
        ngx_sio_msg_unref(m);
    }

    return NGX_OK;
}


void
ngx_sio_bus_after(ngx_sio_origin_t origin)
{
    sio_out_t          o;
    ngx_sio_msg_t     *m;
    ngx_sio_source_t  *source;

    source = ngx_sio_move_source(ngx_sio_handover_mover(), origin);

    if (source == NULL || source->applied == 0) {
        return;
    }

    m = ngx_sio_frame(NGX_SIO_FRAME_AFTER, 2 * sizeof(uint64_t), &o);

    if (m == NULL) {
        return;
    }

    sio_out_u64(&o, origin);
    sio_out_u64(&o, source->applied);

    ngx_sio_bus_push_all(m, origin);
    ngx_sio_msg_unref(m);
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
ngx_sio_bus_hello(ngx_sio_stream_in_t *in, sio_in_t *f)
{
    uint32_t           version, stream;
    uint64_t           number;
    ngx_sio_peer_t    *peer;
    ngx_sio_origin_t   origin;

    number = 0;
    stream = 0;
    version = sio_in_u32(f);
    origin = sio_in_u64(f);

    if (version == NGX_SIO_BUS_VERSION) {
        number = sio_in_u64(f);
        stream = sio_in_u32(f);
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
        ngx_sio_stream_close_in(peer->in);

        peer->in = NULL;
        peer->ended = 1;
    }

    if (version != NGX_SIO_BUS_VERSION) {
        in->origin = origin;
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
        ngx_sio_bus_call_waiters();
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

    ngx_sio_stream_progress();

    in->origin = origin;
    in->peer = peer;
    peer->in = in;
    peer->in_stream = stream;

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    if (peer->out.connection == NULL) {
        ngx_sio_bus_connect(peer);

    } else {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_GREETED);
    }

    ngx_sio_bus_check_ready();
    ngx_sio_exit_check();
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

    if (ngx_sio_stream_open_out(&peer->out, fd, peer) != NGX_OK) {
        ngx_sio_bus_retry(peer);
        return;
    }

    peer->greeted = 0;
    peer->out_stream++;

    m = ngx_sio_frame(NGX_SIO_FRAME_HELLO, 24, &o);

    if (m == NULL) {
        ngx_sio_stream_close_out(&peer->out);
        ngx_sio_bus_retry(peer);
        return;
    }

    sio_out_u32(&o, NGX_SIO_BUS_VERSION);
    sio_out_u64(&o, ngx_sio_bus.self);
    sio_out_u64(&o, ngx_sio_bus.number);
    sio_out_u32(&o, peer->out_stream);

    ngx_sio_bus_push(peer, m);
    ngx_sio_msg_unref(m);

    if (peer->in) {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_GREETED);
    }

    if (peer->lost) {
        ngx_sio_bus_push_simple(peer, NGX_SIO_FRAME_AGAIN);
    }

    if (ngx_sio_exit_begun()) {
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


/*
 * Its death, or it has closed what it could not keep: the next connection
 * tells.  One that it has never answered may meet the same again.
 */

void
ngx_sio_bus_out_ended(ngx_sio_peer_t *peer)
{
    if (!peer->greeted) {
        ngx_sio_bus_retry(peer);
        return;
    }

    peer->broken = 1;

    ngx_sio_bus_connect(peer);
}


static void
ngx_sio_bus_peer_timer(ngx_event_t *ev)
{
    ngx_msec_int_t    left;
    ngx_sio_peer_t   *peer;
    ngx_sio_origin_t  origin;

    peer = ev->data;

    if (peer->out.connection == NULL && (!peer->cut || peer->in == NULL)) {
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
    ngx_sio_stream_progress();
    peer->source = NULL;
}


/*
 * The stream from a peer was read to its end: either it is dead, then our
 * stream to it ends too, or it has cut us off and hears us.
 */

void
ngx_sio_bus_in_ended(ngx_sio_peer_t *peer)
{
    ngx_sio_origin_t  origin;

    peer->in = NULL;

    if (ngx_sio_bus.leaving) {
        return;
    }

    if (peer->refused) {
        if (peer->out.connection == NULL) {
            ngx_sio_bus_dead(peer);
        }

        return;
    }

    origin = peer->origin;

    peer->ended = 1;
    peer->lost = 1;

    peer->decide_at = ngx_current_msec + NGX_SIO_BUS_UNDECIDED;

    ngx_sio_move_lost(ngx_sio_handover_mover(), peer->source);

    if (peer->out.connection == NULL) {
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
    ngx_sio_bus_backend->gone(peer->origin);

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
    ngx_sio_origin_t  origin;

    origin = peer->origin;
    exiting = peer->exiting;

    ngx_log_debug1(NGX_LOG_DEBUG_CORE, ngx_cycle->log, 0,
                   "sio worker %ui is gone", ngx_sio_origin_slot(origin));

    ngx_sio_stream_close_out(&peer->out);

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    if (peer->source) {
        ngx_sio_move_end(ngx_sio_handover_mover(), peer->source);
        ngx_sio_stream_progress();
    }

    ngx_queue_remove(&peer->queue);
    ngx_free(peer);

    ngx_sio_uncount(links);
    ngx_sio_bus_reserve();

    ngx_sio_handover_gone(origin, 1);
    ngx_sio_relay_gone(origin);
    ngx_sio_query_gone(origin, 1);
    ngx_sio_bus_backend->gone(origin);

    /* one that did not say that it exits is replaced */

    if (!exiting) {
        ngx_sio_exit_expect(1);
    }

    ngx_sio_bus_check_ready();
    ngx_sio_exit_check();
    ngx_sio_bus_call_waiters();
}


static void
ngx_sio_bus_cut(ngx_sio_peer_t *peer)
{
    ngx_sio_count(bus_cuts);
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "sio: worker %ui does not read: %uz bytes wait for it, "
                  "limited by \"sio_bus_buffer\", it is cut off",
                  ngx_sio_origin_slot(peer->origin), peer->out.waiting.size);

    ngx_sio_bus_break(peer);
}


/* what a peer was told is not all that it was to hear */

static void
ngx_sio_bus_break(ngx_sio_peer_t *peer)
{
    ngx_sio_stream_close_out(&peer->out);

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
    ngx_sio_bus_backend->gone(origin);
}


/* a full worker could not greet a new one */

static void
ngx_sio_bus_reserve(void)
{
    ngx_uint_t  n;

    n = ngx_sio_stats->links + 1 + NGX_SIO_BUS_RESERVE;

    ngx_sio_session_reserve = ngx_min(n, ngx_cycle->connection_n / 8);
}


ngx_uint_t
ngx_sio_bus_stays(void)
{
    ngx_queue_t     *q;
    ngx_sio_peer_t  *peer;

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (!peer->exiting && peer->source && !peer->ended) {
            return 1;
        }
    }

    return 0;
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
    ngx_sio_stream_out_t  *out;

    out = &peer->out;

    if (out->connection == NULL
        || ngx_sio_queue_push(&out->waiting, m) != NGX_OK)
    {
        return;
    }

    if (out->waiting.head->next == NULL) {
        out->progress = ngx_current_msec;
    }

    ngx_sio_bus.pushed += m->len;

    ngx_sio_add(bus_unsent, m->len);
    ngx_sio_count(bus_messages_out);

    if (!ngx_sio_bus.flush.posted) {
        ngx_post_event(&ngx_sio_bus.flush, &ngx_posted_events);
    }
}


static void
ngx_sio_bus_push_all(ngx_sio_msg_t *m, ngx_sio_origin_t but)
{
    ngx_queue_t     *q;
    ngx_sio_peer_t  *peer;

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->origin != but && !peer->refused) {
            ngx_sio_bus_push(peer, m);
        }
    }
}


/* a frame without a body; EXITING tells if others are to come */

static void
ngx_sio_bus_push_simple(ngx_sio_peer_t *peer, ngx_sio_frame_e type)
{
    size_t          n;
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    n = (type == NGX_SIO_FRAME_GOODBYE) ? 0
        : (type == NGX_SIO_FRAME_EXITING) ? 1 : sizeof(uint32_t);

    m = ngx_sio_frame(type, n, &o);
    if (m == NULL) {
        return;
    }

    switch (type) {

    case NGX_SIO_FRAME_GOODBYE:
        break;

    case NGX_SIO_FRAME_EXITING:
        sio_out_byte(&o, ngx_sio_directory_renewed());
        break;

    default: /* NGX_SIO_FRAME_GREETED, NGX_SIO_FRAME_AGAIN */
        sio_out_u32(&o, peer->in_stream);
        break;
    }

    ngx_sio_bus_push(peer, m);
    ngx_sio_msg_unref(m);
}


void
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
    size_t                 limit;
    ngx_queue_t           *q, *next;
    ngx_sio_peer_t        *peer;
    ngx_sio_stream_out_t  *out;

    limit = ngx_sio_frame_limit();
    ngx_sio_bus.pushed = 0;

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = next)
    {
        next = ngx_queue_next(q);
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);
        out = &peer->out;

        if (out->connection && out->waiting.head) {
            ngx_sio_stream_flush(out);
        }

        if (out->waiting.size > limit && out->waiting.head->next) {
            ngx_sio_bus_cut(peer);
        }
    }

    ngx_sio_exit_flushing();
}


/*
 * Who takes what it is sent, but more slowly than it comes, is waited for: by
 * not reading from clients.  Who takes nothing is not, or one worker that
 * hangs would stop all.
 */

static ngx_uint_t
ngx_sio_bus_congested(void)
{
    size_t           limit;
    ngx_queue_t     *q;
    ngx_sio_peer_t  *peer;

    limit = ngx_sio_frame_limit();

    if (ngx_sio_bus.pushed > limit / 8) {
        return 1;
    }

    if (ngx_sio_stats->bus_unsent < limit / 4) {
        return 0;
    }

    for (q = ngx_queue_head(&ngx_sio_bus.peers);
         q != ngx_queue_sentinel(&ngx_sio_bus.peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_sio_peer_t, queue);

        if (peer->out.waiting.size > limit / 4
            && ngx_current_msec - peer->out.progress < NGX_SIO_BUS_PATIENCE)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_sio_bus_publish(ngx_sio_op_t *op)
{
    ngx_int_t         n;
    ngx_sio_bus_t    *bus;
    ngx_sio_msg_t    *m;
    ngx_sio_mover_t  *mv;

    if (op->type == SIO_OP_EMIT || op->type == SIO_OP_ASK) {
        ngx_sio_count(emits);
    }

    if (op->target == SIO_TO_SENDER) {
        return ngx_sio_op_apply(op);
    }

    bus = &ngx_sio_bus;
    mv = ngx_sio_handover_mover();
    m = NULL;

    if (!ngx_queue_empty(&bus->peers) || mv->logging) {
        m = ngx_sio_frame_encode_op(op, bus->number + 1);

        if (m == NULL) {
            return NGX_ERROR;
        }
    }

    op->origin = bus->self;
    op->number = ++bus->number;

    ngx_sio_count(ops_published);

    ngx_sio_bus_push_all(m, 0);

    n = ngx_sio_op_apply(op);

    ngx_sio_move_applied(mv, bus->source, op->number, m);

    if (m) {
        ngx_sio_msg_unref(m);
    }

    return n;
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


void
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
