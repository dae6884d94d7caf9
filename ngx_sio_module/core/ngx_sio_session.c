/*
 * Sessions: opening, heartbeat, the queue towards the client and its flush
 * once per turn of the event loop, closing.
 *
 * Each session that has something to send, or ends, is put in one queue;
 * one posted event works it off after the turn's events were handled, so
 * that all that a turn produced for a client leaves with one write and a
 * session is never freed under the feet of the code that handles it.
 */

#include "core/ngx_sio_session.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_ws.h"


#define NGX_SIO_TURN_SESSIONS   1000
#define NGX_SIO_TURN_BYTES      (1024 * 1024)
#define NGX_SIO_TURN_WORK       10000
#define NGX_SIO_LINGER          30000


static uint64_t ngx_sio_session_work(void);
static void ngx_sio_session_turn(ngx_event_t *ev);
static void ngx_sio_session_finish(ngx_sio_session_t *s);
static void ngx_sio_session_forget(ngx_sio_session_t *s);
static void ngx_sio_session_timeout(ngx_event_t *ev);
static void ngx_sio_session_set_timer(ngx_sio_session_t *s);
static void ngx_sio_session_set_state(ngx_sio_session_t *s,
    ngx_sio_session_state_e state);


#define NGX_SIO_REASON_TEXT(name, text)  ngx_string(text),

ngx_str_t        ngx_sio_reasons[] = { NGX_SIO_REASONS(NGX_SIO_REASON_TEXT) };
uint64_t         ngx_sio_closed[NGX_SIO_REASON_N];
ngx_sio_stats_t  ngx_sio_stats;

static ngx_queue_t  ngx_sio_turn;
static ngx_event_t  ngx_sio_turn_event;
static uint64_t     ngx_sio_turn_work;        /* done when it ended last */


void
ngx_sio_session_init(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_sio_turn);

    ngx_sio_turn_event.handler = ngx_sio_session_turn;
    ngx_sio_turn_event.log = cycle->log;
}


ngx_sio_session_t *
ngx_sio_session_create(const ngx_sio_conf_t *conf,
    const ngx_sio_transport_t *transport, void *carrier, ngx_str_t *addr,
    ngx_str_t *data, ngx_uint_t n)
{
    size_t              size;
    u_char             *p;
    ngx_uint_t          i;
    ngx_sio_session_t  *s;

    if (ngx_sio_stats.sessions >= ngx_cycle->connection_n) {
        ngx_sio_count(limit_sessions);
        ngx_log_error(NGX_LOG_WARN, conf->log, 0,
                      "sio: session refused: %ui sessions are open, as many "
                      "as \"worker_connections\", client: %V",
                      (ngx_uint_t) ngx_sio_stats.sessions, addr);
        return NULL;
    }

    size = sizeof(ngx_sio_session_t) + n * sizeof(ngx_str_t) + addr->len;

    for (i = 0; i < n; i++) {
        size += data[i].len;
    }

    s = ngx_alloc(size, conf->log);
    if (s == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    ngx_memzero(s, sizeof(ngx_sio_session_t));

    if (ngx_sio_registry_new_sid(s->sid) != NGX_OK) {
        ngx_free(s);
        return NULL;
    }

    s->conf = conf;
    s->transport = transport;
    s->carrier = carrier;

    s->data = (ngx_str_t *) (s + 1);
    s->ndata = n;

    p = (u_char *) (s->data + n);

    s->addr.data = p;
    s->addr.len = addr->len;
    p = ngx_cpymem(p, addr->data, addr->len);

    for (i = 0; i < n; i++) {
        s->data[i].data = p;
        s->data[i].len = data[i].len;
        p = ngx_cpymem(p, data[i].data, data[i].len);
    }

    s->ping_due = ngx_current_msec + conf->ping_interval;
    s->connect_due = ngx_current_msec + conf->connect_timeout;

    s->timer.handler = ngx_sio_session_timeout;
    s->timer.data = s;
    s->timer.log = conf->log;

    ngx_sio_registry_add_session(s);
    ngx_sio_count(sessions);
    ngx_sio_count(handshakes);

    conf->user->open(s);

    ngx_sio_session_set_timer(s);

    return s;
}


void
ngx_sio_session_encode_open(ngx_sio_session_t *s, ngx_uint_t upgrade,
    sio_out_t *o)
{
    sio_eio_open_t  open;

    open.sid = (sio_span_t) { s->sid, NGX_SIO_SID_LEN };
    open.upgrade = upgrade;
    open.ping_interval = s->conf->ping_interval;
    open.ping_timeout = s->conf->ping_timeout;
    open.max_payload = s->conf->max_payload;

    sio_eio_encode_open(o, &open);
}


ngx_int_t
ngx_sio_session_packet(ngx_sio_session_t *s, sio_eio_packet_t *p)
{
    ngx_sio_count(packets_in);

    if (s->state == NGX_SIO_SESSION_CLOSING) {
        return NGX_ABORT;
    }

    /* of one that has ended nothing matters but that its client knows */

    if (s->state == NGX_SIO_SESSION_LINGERING && p->type != SIO_EIO_CLOSE) {
        return NGX_OK;
    }

    switch (p->type) {

    case SIO_EIO_MESSAGE:
        return s->conf->user->message(s, p->data, 0);

    case SIO_EIO_BINARY:
        return s->conf->user->message(s, p->data, 1);

    case SIO_EIO_PONG:
        ngx_sio_count(heartbeats);

        s->awaiting_pong = 0;
        s->ping_due = ngx_current_msec + s->conf->ping_interval;
        ngx_sio_session_set_timer(s);

        return NGX_OK;

    case SIO_EIO_PING:
        ngx_sio_session_log(NGX_LOG_INFO, s,
                            "client sent a ping, which only a server may");
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);
        return NGX_ABORT;

    case SIO_EIO_CLOSE:
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_CLOSE);
        return NGX_ABORT;

    default: /* open, upgrade, noop */
        return NGX_OK;
    }
}


void
ngx_sio_session_send(ngx_sio_session_t *s, ngx_sio_msg_t *m,
    ngx_uint_t volatil)
{
    if (s->state != NGX_SIO_SESSION_OPEN) {
        return;
    }

    if (volatil && !s->transport->writable(s)) {
        ngx_sio_count(volatile_dropped);
        return;
    }

    if (s->out.head
        && s->out.size + ngx_sio_msg_cost(m) > s->conf->max_queue)
    {
        ngx_sio_count(limit_queue);
        ngx_sio_session_log(NGX_LOG_WARN, s,
                            "client does not read: %uz bytes wait for it, "
                            "limited by \"sio_max_queue\"", s->out.size);
        s->silent = 1;
        ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
        return;
    }

    if (ngx_sio_queue_push(&s->out, m) != NGX_OK) {
        s->silent = 1;
        ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
        return;
    }

    ngx_sio_count(deliveries);
    ngx_sio_session_post(s);
}


void
ngx_sio_session_post(ngx_sio_session_t *s)
{
    if (s->posted) {
        return;
    }

    s->posted = 1;
    ngx_queue_insert_tail(&ngx_sio_turn, &s->turn);

    if (!ngx_sio_turn_event.posted) {
        ngx_post_event(&ngx_sio_turn_event, &ngx_posted_events);
    }
}


void
ngx_sio_session_close(ngx_sio_session_t *s, ngx_sio_reason_t reason)
{
    if (s->state != NGX_SIO_SESSION_OPEN) {

        /* the client will not fetch its close packet any more */

        if (s->state == NGX_SIO_SESSION_LINGERING) {
            ngx_sio_session_post(s);
        }

        return;
    }

    ngx_sio_session_set_state(s, NGX_SIO_SESSION_CLOSING);
    s->reason = reason;

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }

    ngx_sio_session_post(s);
}


/* a packet, a delivery and 64 bytes to be parsed cost about the same */

static uint64_t
ngx_sio_session_work(void)
{
    return ngx_sio_stats.packets_in + ngx_sio_stats.deliveries
           + ngx_sio_stats.bytes_in / 64;
}


ngx_uint_t
ngx_sio_session_busy(void)
{
    if (ngx_sio_session_work() - ngx_sio_turn_work < NGX_SIO_TURN_WORK) {
        return 0;
    }

    if (!ngx_sio_turn_event.posted) {
        ngx_post_event(&ngx_sio_turn_event, &ngx_posted_events);
    }

    return 1;
}


static void
ngx_sio_session_turn(ngx_event_t *ev)
{
    uint64_t            bytes, work;
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_sio_session_t  *s, *next;

    bytes = ngx_sio_stats.bytes_out + NGX_SIO_TURN_BYTES;
    work = ngx_sio_session_work() + NGX_SIO_TURN_WORK;

    for (n = 0; !ngx_queue_empty(&ngx_sio_turn); n++) {

        if (n == NGX_SIO_TURN_SESSIONS || ngx_sio_stats.bytes_out > bytes
            || ngx_sio_session_work() > work)
        {
            ngx_post_event(ev, &ngx_posted_next_events);
            break;
        }

        q = ngx_queue_head(&ngx_sio_turn);
        s = ngx_queue_data(q, ngx_sio_session_t, turn);

        /* the next ones come from memory while this one is sent */

        next = ngx_queue_data(ngx_queue_next(q), ngx_sio_session_t, turn);

        if (&next->turn != &ngx_sio_turn) {
            __builtin_prefetch(ngx_queue_next(&next->turn));
            __builtin_prefetch(next->carrier);
        }

        ngx_queue_remove(q);
        s->posted = 0;

        if (s->state == NGX_SIO_SESSION_CLOSING) {
            ngx_sio_session_finish(s);
            continue;
        }

        if (s->state == NGX_SIO_SESSION_LINGERING) {
            ngx_sio_session_forget(s);
            continue;
        }

        if (s->sweep) {
            s->sweep = 0;
            s->conf->user->sweep(s);
        }

        s->transport->flush(s);
    }

    ngx_sio_turn_work = ngx_sio_session_work();
}


static void
ngx_sio_session_finish(ngx_sio_session_t *s)
{
    ngx_int_t  rc;

    s->conf->user->close(s);

    ngx_sio_closed[s->reason]++;

    ngx_sio_session_log(NGX_LOG_INFO, s, "session ended: %V, %s",
                        &ngx_sio_reasons[s->reason], s->transport->name);

    rc = s->transport->close(s);

    if (rc == NGX_AGAIN) {
        ngx_sio_session_set_state(s, NGX_SIO_SESSION_LINGERING);
        ngx_add_timer(&s->timer, NGX_SIO_LINGER);
        return;
    }

    ngx_sio_session_destroy(s);
}


static void
ngx_sio_session_forget(ngx_sio_session_t *s)
{
    (void) s->transport->close(s);

    ngx_sio_session_destroy(s);
}


void
ngx_sio_session_destroy(ngx_sio_session_t *s)
{
    if (s->probe) {
        s->probe_transport->abandon(s);
    }

    if (s->posted) {
        ngx_queue_remove(&s->turn);
    }

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }

    ngx_sio_queue_clear(&s->out);
    ngx_sio_registry_remove_session(s);
    ngx_sio_uncount(sessions);

    ngx_free(s);
}


void
ngx_sio_session_upgrade(ngx_sio_session_t *s)
{
    s->transport->release(s);

    s->transport = s->probe_transport;
    s->carrier = s->probe;
    s->probe = NULL;

    ngx_sio_count(upgrades);
    ngx_sio_session_post(s);
}


void
ngx_sio_session_connected(ngx_sio_session_t *s)
{
    s->connected = 1;
}


/* the timer may stand earlier than what is due: it is not moved for less */

static void
ngx_sio_session_set_timer(ngx_sio_session_t *s)
{
    ngx_msec_int_t  left, connect;

    if (s->state != NGX_SIO_SESSION_OPEN) {
        return;
    }

    left = s->ping_due - ngx_current_msec;

    if (!s->connected) {
        connect = s->connect_due - ngx_current_msec;
        left = ngx_min(left, connect);
    }

    ngx_add_timer(&s->timer, (ngx_msec_t) ngx_max(left, 0));
}


static void
ngx_sio_session_timeout(ngx_event_t *ev)
{
    ngx_sio_session_t  *s;

    s = ev->data;

    if (s->state == NGX_SIO_SESSION_LINGERING) {
        ngx_sio_session_forget(s);
        return;
    }

    if (!s->connected
        && (ngx_msec_int_t) (s->connect_due - ngx_current_msec) <= 0)
    {
        ngx_sio_count(connect_timeouts);
        ngx_sio_session_log(NGX_LOG_WARN, s,
                            "client joined no namespace in %M ms, limited by "
                            "\"sio_connect_timeout\"",
                            s->conf->connect_timeout);
        ngx_sio_session_close(s, NGX_SIO_FORCED_SERVER_CLOSE);
        return;
    }

    if ((ngx_msec_int_t) (s->ping_due - ngx_current_msec) <= 0) {

        if (s->awaiting_pong) {
            ngx_sio_session_close(s, NGX_SIO_PING_TIMEOUT);
            return;
        }

        s->awaiting_pong = 1;
        s->ping_due = ngx_current_msec + s->conf->ping_timeout;

        ngx_sio_session_send(s, &ngx_sio_msg_ping, 0);
    }

    ngx_sio_session_set_timer(s);
}


/* open -> closing -> lingering, and no other way */

static void
ngx_sio_session_set_state(ngx_sio_session_t *s, ngx_sio_session_state_e state)
{
    if (state != s->state + 1u) {
        ngx_sio_session_log(NGX_LOG_ALERT, s,
                            "session changed its state from %ui to %ui",
                            (ngx_uint_t) s->state, (ngx_uint_t) state);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, s->conf->log, 0,
                   "sio session %p state: %ui -> %ui",
                   s, (ngx_uint_t) s->state, (ngx_uint_t) state);

    s->state = state;
}


void
ngx_sio_session_log(ngx_uint_t level, ngx_sio_session_t *s, const char *fmt,
    ...)
{
    u_char   *p;
    va_list   args;
    u_char    buf[NGX_MAX_ERROR_STR];

    if (s->conf->log->log_level < level) {
        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + NGX_MAX_ERROR_STR, fmt, args);
    va_end(args);

    ngx_log_error(level, s->conf->log, 0, "sio: %*s, client: %V",
                  (size_t) (p - buf), buf, &s->addr);
}
