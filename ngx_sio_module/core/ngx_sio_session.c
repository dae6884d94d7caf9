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
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_ws.h"


#define NGX_SIO_TURN_SESSIONS   1000
#define NGX_SIO_TURN_BYTES      (1024 * 1024)
#define NGX_SIO_TURN_WORK       10000
#define NGX_SIO_LINGER          30000

#define NGX_SIO_AWAITING_PONG      0x01
#define NGX_SIO_CONNECTED          0x02
#define NGX_SIO_WARNED_ROOMS       0x04
#define NGX_SIO_WARNED_NAMESPACES  0x08
#define NGX_SIO_WARNED_AUTH        0x10
#define NGX_SIO_WARNED_ACKS        0x20


static ngx_sio_session_t *ngx_sio_session_alloc(const ngx_sio_conf_t *conf,
    const ngx_sio_transport_t *transport, void *carrier, ngx_str_t *addr,
    ngx_str_t *data, ngx_uint_t n, ngx_str_t *handshake);
static void ngx_sio_session_export_data(ngx_sio_session_t *s, sio_out_t *o);
static ngx_uint_t ngx_sio_session_import_data(const ngx_sio_conf_t *conf,
    sio_in_t *in, ngx_str_t *data);
static void ngx_sio_session_export_queue(ngx_sio_session_t *s, sio_out_t *o);
static ngx_int_t ngx_sio_session_import_queue(ngx_sio_session_t *s,
    sio_in_t *in);
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
ngx_uint_t       ngx_sio_session_reserve;
uint64_t         ngx_sio_session_effort;
void           (*ngx_sio_session_on_end)(ngx_sio_session_t *s);
ngx_uint_t     (*ngx_sio_session_congested)(void);

static ngx_sio_stats_t  ngx_sio_own_stats;
ngx_sio_stats_t        *ngx_sio_stats = &ngx_sio_own_stats;

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


ngx_uint_t
ngx_sio_session_full(const ngx_sio_conf_t *conf, ngx_str_t *addr)
{
    if (ngx_sio_stats->sessions >= ngx_cycle->connection_n) {
        ngx_sio_count(limit_sessions);
        ngx_log_error(NGX_LOG_WARN, conf->log, 0,
                      "sio: session refused: %ui sessions are open, as many "
                      "as \"worker_connections\", client: %V",
                      (ngx_uint_t) ngx_sio_stats->sessions, addr);
        return 1;
    }

    if (ngx_cycle->free_connection_n < ngx_sio_session_reserve) {
        ngx_sio_count(limit_sessions);
        ngx_log_error(NGX_LOG_WARN, conf->log, 0,
                      "sio: session refused: %ui of \"worker_connections\" "
                      "are left, %ui are kept for the other workers, "
                      "client: %V", ngx_cycle->free_connection_n,
                      ngx_sio_session_reserve, addr);
        return 1;
    }

    return 0;
}


ngx_sio_session_t *
ngx_sio_session_create(const ngx_sio_conf_t *conf,
    const ngx_sio_transport_t *transport, void *carrier, ngx_str_t *addr,
    ngx_str_t *data, ngx_uint_t n, ngx_str_t *handshake)
{
    ngx_sio_session_t  *s;

    if (ngx_sio_session_full(conf, addr)) {
        return NULL;
    }

    s = ngx_sio_session_alloc(conf, transport, carrier, addr, data, n,
                              handshake);
    if (s == NULL) {
        return NULL;
    }

    if (ngx_sio_registry_new_sid(s->sid) != NGX_OK) {
        ngx_free(s);
        return NULL;
    }

    s->ping_due = ngx_current_msec + conf->ping_interval;
    s->connect_due = ngx_current_msec + conf->connect_timeout;

    ngx_sio_registry_add_session(s);
    ngx_sio_count(sessions);
    ngx_sio_count(handshakes);

    conf->user->open(s);

    ngx_sio_session_set_timer(s);

    return s;
}


static ngx_sio_session_t *
ngx_sio_session_alloc(const ngx_sio_conf_t *conf,
    const ngx_sio_transport_t *transport, void *carrier, ngx_str_t *addr,
    ngx_str_t *data, ngx_uint_t n, ngx_str_t *handshake)
{
    size_t              size;
    u_char             *p;
    ngx_uint_t          i;
    ngx_sio_session_t  *s;

    size = sizeof(ngx_sio_session_t) + n * sizeof(ngx_str_t) + addr->len
           + handshake->len;

    for (i = 0; i < n; i++) {
        size += data[i].len;
    }

    s = ngx_alloc(size, conf->log);
    if (s == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    ngx_memzero(s, sizeof(ngx_sio_session_t));

    s->conf = conf;
    s->transport = transport;
    s->carrier = carrier;

    s->data = (ngx_str_t *) (s + 1);
    s->ndata = n;

    p = (u_char *) (s->data + n);

    s->addr.data = p;
    s->addr.len = addr->len;
    p = ngx_cpymem(p, addr->data, addr->len);

    s->handshake.data = p;
    s->handshake.len = handshake->len;

    if (handshake->len) {
        p = ngx_cpymem(p, handshake->data, handshake->len);
    }

    for (i = 0; i < n; i++) {

        if (data[i].data == NULL) {
            ngx_str_null(&s->data[i]);
            continue;
        }

        s->data[i].data = p;
        s->data[i].len = data[i].len;
        p = ngx_cpymem(p, data[i].data, data[i].len);
    }

    s->timer.handler = ngx_sio_session_timeout;
    s->timer.data = s;
    s->timer.log = conf->log;

    return s;
}


void
ngx_sio_session_export(ngx_sio_session_t *s, sio_out_t *o)
{
    ngx_msec_int_t  ping, connect;

    ping = s->ping_due - ngx_current_msec;
    connect = s->connect_due - ngx_current_msec;

    sio_out_string(o, ngx_sio_span((ngx_str_t *) &s->conf->place));
    sio_out_bytes(o, s->sid, NGX_SIO_SID_LEN);
    sio_out_byte(o, (s->awaiting_pong ? NGX_SIO_AWAITING_PONG : 0)
                    | (s->connected ? NGX_SIO_CONNECTED : 0)
                    | (s->warned_rooms ? NGX_SIO_WARNED_ROOMS : 0)
                    | (s->warned_namespaces ? NGX_SIO_WARNED_NAMESPACES : 0)
                    | (s->warned_auth ? NGX_SIO_WARNED_AUTH : 0)
                    | (s->warned_acks ? NGX_SIO_WARNED_ACKS : 0));
    sio_out_u64(o, ngx_max(ping, 0));
    sio_out_u64(o, ngx_max(connect, 0));
    sio_out_string(o, ngx_sio_span(&s->addr));
    sio_out_string(o, ngx_sio_span(&s->handshake));

    ngx_sio_session_export_data(s, o);
    ngx_sio_session_export_queue(s, o);

    s->conf->user->export_(s, o);
}


ngx_sio_session_t *
ngx_sio_session_import(ngx_sio_app_t *app,
    const ngx_sio_transport_t *transport, void *carrier, sio_in_t *in)
{
    uint8_t                flags;
    uint64_t               ping, connect;
    ngx_str_t              addr, handshake, data[NGX_SIO_MAX_DATA];
    sio_span_t             sid, place;
    ngx_sio_session_t     *s;
    const ngx_sio_conf_t  *conf;

    place = sio_in_string(in);
    conf = ngx_sio_app_conf(app, place);

    if (conf == NULL) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "sio: session ended: the present configuration has no "
                      "location \"%*s\"", place.n, place.p);
        return NULL;
    }

    sid = sio_in_bytes(in, NGX_SIO_SID_LEN);
    flags = sio_in_u8(in);
    ping = sio_in_u64(in);
    connect = sio_in_u64(in);
    addr = ngx_sio_str(sio_in_string(in));
    handshake = ngx_sio_str(sio_in_string(in));

    if (ngx_sio_session_import_data(conf, in, data) != NGX_OK) {
        return NULL;
    }

    s = ngx_sio_session_alloc(conf, transport, carrier, &addr, data,
                              conf->ndata, &handshake);
    if (s == NULL) {
        return NULL;
    }

    ngx_memcpy(s->sid, sid.p, NGX_SIO_SID_LEN);

    s->awaiting_pong = (flags & NGX_SIO_AWAITING_PONG) != 0;
    s->connected = (flags & NGX_SIO_CONNECTED) != 0;
    s->warned_rooms = (flags & NGX_SIO_WARNED_ROOMS) != 0;
    s->warned_namespaces = (flags & NGX_SIO_WARNED_NAMESPACES) != 0;
    s->warned_auth = (flags & NGX_SIO_WARNED_AUTH) != 0;
    s->warned_acks = (flags & NGX_SIO_WARNED_ACKS) != 0;

    s->ping_due = ngx_current_msec + (ngx_msec_t) ping;
    s->connect_due = ngx_current_msec + (ngx_msec_t) connect;

    ngx_sio_registry_add_session(s);
    ngx_sio_count(sessions);

    if (ngx_sio_session_import_queue(s, in) != NGX_OK
        || conf->user->import_(s, in) != NGX_OK
        || in->bad)
    {
        conf->user->drop(s);
        ngx_sio_session_destroy(s);
        return NULL;
    }

    ngx_sio_session_set_timer(s);

    return s;
}


static void
ngx_sio_session_export_data(ngx_sio_session_t *s, sio_out_t *o)
{
    ngx_uint_t  i;

    sio_out_byte(o, s->ndata);

    for (i = 0; i < s->ndata; i++) {
        sio_out_string(o, ngx_sio_span(&s->conf->data_names[i]));
        sio_out_byte(o, s->data[i].data != NULL);
        sio_out_string(o, ngx_sio_span(&s->data[i]));
    }
}


/* the configuration that wrote the values may have had others, by name */

static ngx_uint_t
ngx_sio_session_import_data(const ngx_sio_conf_t *conf, sio_in_t *in,
    ngx_str_t *data)
{
    uint8_t     set;
    ngx_uint_t  i, n;
    sio_span_t  name, value;

    ngx_memzero(data, conf->ndata * sizeof(ngx_str_t));

    for (n = sio_in_u8(in); n > 0 && !in->bad; n--) {
        name = sio_in_string(in);
        set = sio_in_u8(in);
        value = sio_in_string(in);

        for (i = 0; i < conf->ndata && set; i++) {
            if (sio_span_eq(name, ngx_sio_span(&conf->data_names[i]))) {
                data[i] = ngx_sio_str(value);
            }
        }
    }

    return in->bad ? NGX_ERROR : NGX_OK;
}


static void
ngx_sio_session_export_queue(ngx_sio_session_t *s, sio_out_t *o)
{
    uint32_t         n;
    ngx_sio_link_t  *link;

    for (n = 0, link = s->out.head; link; link = link->next) {
        n++;
    }

    sio_out_u32(o, n);

    for (link = s->out.head; link; link = link->next) {
        sio_out_u32(o, link->msg->header);
        sio_out_u32(o, link->msg->frames);
        sio_out_string(o, (sio_span_t) { link->msg->data, link->msg->len });
    }
}


static ngx_int_t
ngx_sio_session_import_queue(ngx_sio_session_t *s, sio_in_t *in)
{
    uint32_t        n, header, frames;
    ngx_int_t       rc;
    sio_span_t      data;
    ngx_sio_msg_t  *m;

    for (n = sio_in_u32(in); n > 0; n--) {
        header = sio_in_u32(in);
        frames = sio_in_u32(in);
        data = sio_in_string(in);

        if (in->bad) {
            return NGX_ERROR;
        }

        m = ngx_sio_msg_alloc(data.n);
        if (m == NULL) {
            return NGX_ERROR;
        }

        m->header = header;
        m->frames = frames;
        ngx_memcpy(m->data, data.p, data.n);

        rc = ngx_sio_queue_push(&s->out, m);
        ngx_sio_msg_unref(m);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_sio_session_leave(ngx_sio_session_t *s)
{
    s->conf->user->drop(s);
    s->transport->release(s);

    ngx_sio_session_destroy(s);
}


ngx_int_t
ngx_sio_session_set_floors(ngx_sio_session_t *s, ngx_sio_floor_t *floors,
    ngx_uint_t n)
{
    if (n == 0) {
        return NGX_OK;
    }

    s->floors = ngx_alloc(n * sizeof(ngx_sio_floor_t), s->conf->log);
    if (s->floors == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_ERROR;
    }

    ngx_memcpy(s->floors, floors, n * sizeof(ngx_sio_floor_t));

    s->nfloors = n;
    s->floored = 1;

    return NGX_OK;
}


ngx_uint_t
ngx_sio_session_due(ngx_sio_session_t *s, ngx_sio_origin_t origin,
    uint64_t number)
{
    ngx_uint_t  i;

    for (i = 0; i < s->nfloors; i++) {

        if (s->floors[i].origin != origin) {
            continue;
        }

        if (number <= s->floors[i].number) {
            return 0;
        }

        s->floors[i] = s->floors[--s->nfloors];

        if (s->nfloors == 0) {
            ngx_free(s->floors);
            s->floors = NULL;
            s->floored = 0;
        }

        return 1;
    }

    return 1;
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


/*
 * A packet, a delivery, an op and 64 bytes to be parsed cost about the same, a
 * request to a handler ten times that.
 */

static uint64_t
ngx_sio_session_work(void)
{
    return ngx_sio_stats->packets_in + ngx_sio_stats->deliveries
           + ngx_sio_stats->ops_published + ngx_sio_stats->bytes_in / 64
           + 10 * ngx_sio_stats->handler_requests + ngx_sio_session_effort;
}


ngx_uint_t
ngx_sio_session_busy(void)
{
    return ngx_sio_session_worked()
           || (ngx_sio_session_congested && ngx_sio_session_congested());
}


ngx_uint_t
ngx_sio_session_worked(void)
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

    bytes = ngx_sio_stats->bytes_out + NGX_SIO_TURN_BYTES;
    work = ngx_sio_session_work() + NGX_SIO_TURN_WORK;

    for (n = 0; !ngx_queue_empty(&ngx_sio_turn); n++) {

        if (n == NGX_SIO_TURN_SESSIONS || ngx_sio_stats->bytes_out > bytes
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

    ngx_sio_stats->closed[s->reason]++;

    ngx_sio_session_log(NGX_LOG_INFO, s, "session ended: %V, %s",
                        &ngx_sio_reasons[s->reason], s->transport->name);

    rc = s->transport->close(s);

    if (rc == NGX_AGAIN) {
        ngx_sio_session_set_state(s, NGX_SIO_SESSION_LINGERING);

        /* unless the client has stopped polling, or no request can come */

        if (s->taken || s->reason == NGX_SIO_SHUTTING_DOWN) {
            ngx_sio_session_forget(s);
            return;
        }

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

    if (s->floors) {
        ngx_free(s->floors);
    }

    if (s->foreign) {
        ngx_sio_session_on_end(s);
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
ngx_sio_session_pause(ngx_sio_session_t *s)
{
    s->paused++;
    s->throttled = 1;
}


void
ngx_sio_session_resume(ngx_sio_session_t *s)
{
    if (--s->paused || s->state != NGX_SIO_SESSION_OPEN) {
        return;
    }

    s->transport->resume(s);
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

        /* a pong may wait in what was not read: another ping, another time */

        if (s->awaiting_pong && !s->throttled) {
            ngx_sio_session_close(s, NGX_SIO_PING_TIMEOUT);
            return;
        }

        s->throttled = (s->paused != 0);

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
