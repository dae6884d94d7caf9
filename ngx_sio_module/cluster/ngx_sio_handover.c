/*
 * From the request to the arrival:
 *
 *   PROBE     taker -> owner    the request; held until CONSENT
 *   CONSENT   owner -> taker    from now on the session has a probe
 *   PROBED    taker -> owner    the client waits: GETs are released so that
 *                               it can stop polling
 *   TAKE, STATE                 ngx_sio_move.c
 *   ABANDON   taker -> owner    no upgrade: the session polls on
 *   GONE      owner -> taker    no session any more
 *   ENDED     taker -> owner    much later: the session that moved has ended
 *
 * What has left is remembered here while it lives, for requests that come
 * too late.
 */

#include "cluster/ngx_sio_handover.h"
#include "cluster/ngx_sio_query.h"
#include "core/ngx_sio_op.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_HANDOVER_CHECK      100    /* ms, as Node.js does */

#define NGX_SIO_PROBE_WEBSOCKET     0x01
#define NGX_SIO_PROBE_VERSION       0x02
#define NGX_SIO_PROBE_VALID         0x04
#define NGX_SIO_PROBE_ORIGIN        0x08


/* a session's probe, at its owner */

typedef struct {
    ngx_sio_give_t        give;
    ngx_event_t           check;
} ngx_sio_offer_t;


/* names one, which may be gone */

typedef struct {
    ngx_sio_origin_t      to;
    uint64_t              id;
} ngx_sio_offer_name_t;


/* a session that has moved */

typedef struct {
    ngx_rbtree_node_t     node;            /* key: the sid's beginning */
    ngx_queue_t           queue;
    ngx_sio_app_t        *app;
    ngx_sio_origin_t      to;
    u_char                sid[NGX_SIO_SID_LEN];
} ngx_sio_moved_t;


static void ngx_sio_handover_send(ngx_sio_origin_t to, ngx_sio_frame_e type,
    uint64_t id);
static ngx_int_t ngx_sio_handover_asked(ngx_sio_origin_t from, sio_in_t *in);
static ngx_int_t ngx_sio_handover_offer(ngx_sio_origin_t from, uint64_t id,
    ngx_sio_session_t *s);
static void ngx_sio_handover_check(ngx_event_t *ev);
static void ngx_sio_handover_withdraw(ngx_sio_give_t *g);
static ngx_int_t ngx_sio_handover_taken(ngx_sio_origin_t from, sio_in_t *in);
static ngx_int_t ngx_sio_handover_consented(ngx_sio_origin_t from,
    sio_in_t *in);
static void ngx_sio_handover_free(ngx_sio_handover_t *h);

static ngx_sio_moved_t *ngx_sio_handover_find(sio_span_t sid);
static void ngx_sio_handover_remember(ngx_sio_session_t *s,
    ngx_sio_origin_t to);
static void ngx_sio_handover_forget(ngx_sio_moved_t *moved);
static void ngx_sio_handover_session_ended(ngx_sio_session_t *s);
static void ngx_sio_handover_tell_end(sio_span_t sid);
static void ngx_sio_handover_tell_lost(sio_in_t state);

static ngx_sio_msg_t *ngx_sio_handover_io_frame(void *ctx,
    ngx_sio_move_frame_e type, size_t n, sio_out_t *o);
static void ngx_sio_handover_io_send(void *ctx, ngx_sio_origin_t to,
    ngx_sio_msg_t *m);
static void ngx_sio_handover_io_drain(void *ctx, ngx_sio_give_t *g);
static void ngx_sio_handover_drain(ngx_event_t *ev);
static ngx_uint_t ngx_sio_handover_named(ngx_sio_origin_t origin, void *data);
static ngx_sio_floor_t *ngx_sio_handover_io_floors(void *session,
    ngx_uint_t *n);
static ngx_int_t ngx_sio_handover_io_prepare(void *session);
static void ngx_sio_handover_io_export(void *session, sio_out_t *o);
static void ngx_sio_handover_io_left(ngx_sio_give_t *g);
static void ngx_sio_handover_io_deserted(ngx_sio_give_t *g);
static void *ngx_sio_handover_io_install(ngx_sio_take_t *t, sio_in_t *in);
static void ngx_sio_handover_io_stray(void *ctx, sio_in_t *in);
static void ngx_sio_handover_io_replay(void *session, ngx_sio_origin_t origin,
    uint64_t number, ngx_sio_msg_t *m);
static void ngx_sio_handover_io_settled(ngx_sio_take_t *t, void *session,
    ngx_sio_floor_t *floors, ngx_uint_t n, ngx_uint_t replayed);
static void ngx_sio_handover_io_gone(ngx_sio_take_t *t);
static void ngx_sio_handover_io_fail(ngx_sio_take_t *t);
static void ngx_sio_handover_transport_abandon(ngx_sio_session_t *s);


static const ngx_sio_mover_io_t  ngx_sio_handover_io = {
    ngx_sio_handover_io_frame,
    ngx_sio_handover_io_send,
    ngx_sio_handover_io_drain,
    ngx_sio_handover_io_floors,
    ngx_sio_handover_io_prepare,
    ngx_sio_handover_io_export,
    ngx_sio_handover_io_left,
    ngx_sio_handover_io_deserted,
    ngx_sio_handover_io_install,
    ngx_sio_handover_io_stray,
    ngx_sio_handover_io_replay,
    ngx_sio_handover_io_settled,
    ngx_sio_handover_io_gone,
    ngx_sio_handover_io_fail
};


/* a probe that another worker holds: it never becomes a transport here */

static const ngx_sio_transport_t  ngx_sio_handover_transport = {
    "websocket",
    NULL,
    NULL,
    NULL,
    NULL,
    ngx_sio_handover_transport_abandon,
    NULL
};


ngx_sio_handover_judge_pt  ngx_sio_handover_judge;

static ngx_sio_mover_t     ngx_sio_mover;
static ngx_event_t         ngx_sio_handover_drain_event;

static ngx_rbtree_t        ngx_sio_moved;
static ngx_rbtree_node_t   ngx_sio_moved_sentinel;
static ngx_queue_t         ngx_sio_moved_queue;


void
ngx_sio_handover_init(size_t limit)
{
    ngx_sio_move_init(&ngx_sio_mover, &ngx_sio_handover_io, NULL, limit);

    ngx_rbtree_init(&ngx_sio_moved, &ngx_sio_moved_sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&ngx_sio_moved_queue);

    ngx_sio_handover_drain_event.handler = ngx_sio_handover_drain;
    ngx_sio_handover_drain_event.log = ngx_cycle->log;

    ngx_sio_session_on_end = ngx_sio_handover_session_ended;
}


void
ngx_sio_handover_done(void)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&ngx_sio_moved_queue)) {
        q = ngx_queue_head(&ngx_sio_moved_queue);
        ngx_sio_handover_forget(ngx_queue_data(q, ngx_sio_moved_t, queue));
    }

    ngx_sio_move_done(&ngx_sio_mover);
}


ngx_sio_mover_t *
ngx_sio_handover_mover(void)
{
    return &ngx_sio_mover;
}


void
ngx_sio_handover_gone(ngx_sio_origin_t origin, ngx_uint_t dead)
{
    ngx_queue_t      *q, *next;
    ngx_sio_moved_t  *moved;

    ngx_sio_move_gone(&ngx_sio_mover, origin, dead);

    for (q = ngx_queue_head(&ngx_sio_moved_queue);
         q != ngx_queue_sentinel(&ngx_sio_moved_queue);
         q = next)
    {
        next = ngx_queue_next(q);
        moved = ngx_queue_data(q, ngx_sio_moved_t, queue);

        if (moved->to == origin) {
            ngx_sio_handover_forget(moved);
        }
    }
}


ngx_int_t
ngx_sio_handover_handle(ngx_sio_origin_t from, ngx_sio_frame_e type,
    sio_in_t *in)
{
    uint64_t            id;
    sio_span_t          sid;
    ngx_sio_give_t     *g;
    ngx_sio_take_t     *t;
    ngx_sio_moved_t    *moved;
    ngx_sio_session_t  *s;

    switch (type) {

    case NGX_SIO_FRAME_PROBE:
        return ngx_sio_handover_asked(from, in);

    case NGX_SIO_FRAME_CONSENT:
        return ngx_sio_handover_consented(from, in);

    case NGX_SIO_FRAME_TAKE:
        return ngx_sio_handover_taken(from, in);

    case NGX_SIO_FRAME_STATE:
        return ngx_sio_move_handle(&ngx_sio_mover, from, NGX_SIO_MOVE_STATE,
                                   in);

    case NGX_SIO_FRAME_ENDED:
        sid = sio_in_bytes(in, NGX_SIO_SID_LEN);

        if (in->bad) {
            return NGX_ERROR;
        }

        moved = ngx_sio_handover_find(sid);

        if (moved && moved->to == from) {
            ngx_sio_handover_forget(moved);
        }

        return NGX_OK;

    default:
        break;
    }

    id = sio_in_u64(in);

    if (in->bad) {
        return NGX_ERROR;
    }

    if (type == NGX_SIO_FRAME_PROBED) {
        g = ngx_sio_move_find_give(&ngx_sio_mover, from, id);

        if (g && !((ngx_sio_offer_t *) g)->check.timer_set) {
            ngx_add_timer(&((ngx_sio_offer_t *) g)->check,
                          NGX_SIO_HANDOVER_CHECK);
        }

        return NGX_OK;
    }

    if (type == NGX_SIO_FRAME_ABANDON) {
        g = ngx_sio_move_find_give(&ngx_sio_mover, from, id);

        if (g) {
            s = g->session;

            ngx_sio_move_forget_give(g);
            ngx_sio_handover_withdraw(g);
            ngx_sio_count(upgrades_abandoned);

            /* its client has stopped polling, and is gone */

            if (s->taken) {
                ngx_sio_session_close(s, NGX_SIO_TRANSPORT_CLOSE);
            }
        }

        return NGX_OK;
    }

    /* GONE */

    t = ngx_sio_move_find_take(&ngx_sio_mover, from, id);

    if (t) {
        ngx_sio_move_forget_take(t);
        ngx_sio_handover_io_gone(t);
    }

    return NGX_OK;
}


static void
ngx_sio_handover_send(ngx_sio_origin_t to, ngx_sio_frame_e type, uint64_t id)
{
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    m = ngx_sio_frame(type, sizeof(uint64_t), &o);

    if (m) {
        sio_out_u64(&o, id);
        ngx_sio_bus_send(to, m);
    }
}


/* the taker's side */

ngx_sio_handover_t *
ngx_sio_handover_probe(ngx_sio_origin_t owner, ngx_sio_probe_t *probe,
    const ngx_sio_taker_t *taker, void *data)
{
    size_t               n;
    sio_out_t            o;
    ngx_sio_msg_t       *m;
    ngx_sio_handover_t  *h;

    n = sizeof(uint64_t) + 1 + 4 + probe->app_name.n + 4 + probe->sid.n;

    m = ngx_sio_frame(NGX_SIO_FRAME_PROBE, n, &o);
    if (m == NULL) {
        return NULL;
    }

    h = ngx_calloc(sizeof(ngx_sio_handover_t), ngx_cycle->log);
    if (h == NULL) {
        ngx_sio_count(memory_errors);
        ngx_sio_msg_unref(m);
        return NULL;
    }

    h->taker = taker;
    h->data = data;
    h->take.owner = owner;
    h->take.data = h;

    ngx_sio_move_expect(&ngx_sio_mover, &h->take);
    ngx_sio_count(moves_pending);

    sio_out_u64(&o, h->take.id);
    sio_out_byte(&o, (probe->websocket ? NGX_SIO_PROBE_WEBSOCKET : 0)
                     | (probe->version ? NGX_SIO_PROBE_VERSION : 0)
                     | (probe->valid ? NGX_SIO_PROBE_VALID : 0)
                     | (probe->origin ? NGX_SIO_PROBE_ORIGIN : 0));
    sio_out_string(&o, probe->app_name);
    sio_out_string(&o, probe->sid);

    ngx_sio_bus_send(owner, m);

    return h;
}


void
ngx_sio_handover_attach(ngx_sio_handover_t *h, const ngx_sio_taker_t *taker,
    void *data)
{
    h->taker = taker;
    h->data = data;
}


void
ngx_sio_handover_probed(ngx_sio_handover_t *h)
{
    ngx_sio_handover_send(h->take.owner, NGX_SIO_FRAME_PROBED, h->take.id);
}


void
ngx_sio_handover_abandon(ngx_sio_handover_t *h)
{
    ngx_sio_handover_send(h->take.owner, NGX_SIO_FRAME_ABANDON, h->take.id);

    ngx_sio_move_forget_take(&h->take);
    ngx_sio_handover_free(h);

    ngx_sio_query_settled();
}


ngx_int_t
ngx_sio_handover_take(ngx_sio_handover_t *h)
{
    return ngx_sio_move_take(&h->take);
}


static void
ngx_sio_handover_free(ngx_sio_handover_t *h)
{
    ngx_sio_uncount(moves_pending);
    ngx_free(h);
}


static ngx_int_t
ngx_sio_handover_consented(ngx_sio_origin_t from, sio_in_t *in)
{
    uint8_t                 error;
    uint64_t                id;
    ngx_sio_take_t         *t;
    ngx_sio_consent_e       consent;
    ngx_sio_handover_t     *h;
    const ngx_sio_taker_t  *taker;
    void                   *data;

    id = sio_in_u64(in);
    consent = sio_in_u8(in);
    error = sio_in_u8(in);

    if (in->bad) {
        return NGX_ERROR;
    }

    t = ngx_sio_move_find_take(&ngx_sio_mover, from, id);

    if (t == NULL) {
        return NGX_OK;
    }

    h = t->data;
    taker = h->taker;
    data = h->data;

    if (taker->consent == NULL) {
        return NGX_ERROR;
    }

    if (consent != NGX_SIO_CONSENT_GO) {
        ngx_sio_move_forget_take(t);
        ngx_sio_handover_free(h);
    }

    taker->consent(data, consent, error);

    return NGX_OK;
}


/* the owner's side */

static ngx_int_t
ngx_sio_handover_asked(ngx_sio_origin_t from, sio_in_t *in)
{
    uint8_t             flags;
    uint64_t            id;
    sio_out_t           o;
    ngx_sio_msg_t      *m;
    sio_eio_error_t     error;
    ngx_sio_probe_t     probe;
    ngx_sio_session_t  *s;
    ngx_sio_consent_e   consent;

    id = sio_in_u64(in);
    flags = sio_in_u8(in);
    probe.app_name = sio_in_string(in);
    probe.sid = sio_in_string(in);

    if (in->bad) {
        return NGX_ERROR;
    }

    probe.app = ngx_sio_app_find(probe.app_name);
    probe.websocket = (flags & NGX_SIO_PROBE_WEBSOCKET) != 0;
    probe.version = (flags & NGX_SIO_PROBE_VERSION) != 0;
    probe.valid = (flags & NGX_SIO_PROBE_VALID) != 0;
    probe.origin = (flags & NGX_SIO_PROBE_ORIGIN) != 0;

    s = NULL;
    error = SIO_EIO_UNKNOWN_SID;

    consent = probe.app ? ngx_sio_handover_judge(&probe, &s, &error)
                        : NGX_SIO_CONSENT_ERROR;

    if (consent == NGX_SIO_CONSENT_GO
        && ngx_sio_handover_offer(from, id, s) != NGX_OK)
    {
        consent = NGX_SIO_CONSENT_REFUSE;
    }

    m = ngx_sio_frame(NGX_SIO_FRAME_CONSENT, sizeof(uint64_t) + 2, &o);

    if (m) {
        sio_out_u64(&o, id);
        sio_out_byte(&o, consent);
        sio_out_byte(&o, error);
        ngx_sio_bus_send(from, m);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_handover_offer(ngx_sio_origin_t from, uint64_t id,
    ngx_sio_session_t *s)
{
    ngx_sio_offer_t  *offer;

    offer = ngx_calloc(sizeof(ngx_sio_offer_t), s->conf->log);
    if (offer == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_ERROR;
    }

    offer->give.to = from;
    offer->give.id = id;
    offer->give.session = s;

    offer->check.handler = ngx_sio_handover_check;
    offer->check.data = offer;
    offer->check.log = s->conf->log;
    offer->check.cancelable = 1;

    s->probe = offer;
    s->probe_transport = &ngx_sio_handover_transport;

    ngx_sio_move_offer(&ngx_sio_mover, &offer->give);

    return NGX_OK;
}


/* has a poll that waits return, so that the client can stop polling */

static void
ngx_sio_handover_check(ngx_event_t *ev)
{
    ngx_sio_offer_t    *offer;
    ngx_sio_session_t  *s;

    offer = ev->data;
    s = offer->give.session;

    if (s->state != NGX_SIO_SESSION_OPEN) {
        return;
    }

    if (s->transport->writable(s)) {
        ngx_sio_session_send(s, &ngx_sio_msg_noop, 0);
    }

    ngx_add_timer(ev, NGX_SIO_HANDOVER_CHECK);
}


/* the session has no probe any more; the mover has let go of it */

static void
ngx_sio_handover_withdraw(ngx_sio_give_t *g)
{
    ngx_sio_offer_t    *offer;
    ngx_sio_session_t  *s;

    offer = (ngx_sio_offer_t *) g;
    s = g->session;

    s->probe = NULL;

    if (offer->check.timer_set) {
        ngx_del_timer(&offer->check);
    }

    ngx_free(offer);
}


/* an offered session that has ended is not worth the way */

static ngx_int_t
ngx_sio_handover_taken(ngx_sio_origin_t from, sio_in_t *in)
{
    sio_in_t            peek;
    uint64_t            id;
    ngx_sio_give_t     *g;
    ngx_sio_offer_t    *offer;
    ngx_sio_session_t  *s;

    peek = *in;
    id = sio_in_u64(&peek);

    g = ngx_sio_move_find_give(&ngx_sio_mover, from, id);

    if (g) {
        s = g->session;

        if (s->state != NGX_SIO_SESSION_OPEN) {
            ngx_sio_move_forget_give(g);
            ngx_sio_handover_withdraw(g);
            ngx_sio_handover_send(from, NGX_SIO_FRAME_GONE, id);
            ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
            return NGX_OK;
        }

        s->taken = 1;
        offer = (ngx_sio_offer_t *) g;

        if (offer->check.timer_set) {
            ngx_del_timer(&offer->check);
        }
    }

    return ngx_sio_move_handle(&ngx_sio_mover, from, NGX_SIO_MOVE_TAKE, in);
}


static void
ngx_sio_handover_transport_abandon(ngx_sio_session_t *s)
{
    ngx_sio_give_t   *g;
    uint64_t          id;
    ngx_sio_origin_t  to;

    g = s->probe;
    to = g->to;
    id = g->id;

    ngx_sio_move_forget_give(g);
    ngx_sio_handover_withdraw(g);
    ngx_sio_handover_send(to, NGX_SIO_FRAME_GONE, id);

    ngx_sio_count(upgrades_abandoned);
}


/* sessions that have moved */

static ngx_sio_moved_t *
ngx_sio_handover_find(sio_span_t sid)
{
    ngx_rbtree_key_t    key;
    ngx_sio_moved_t    *moved;
    ngx_rbtree_node_t  *node;

    if (sid.n != NGX_SIO_SID_LEN) {
        return NULL;
    }

    ngx_memcpy(&key, sid.p, sizeof(key));
    node = ngx_sio_moved.root;

    while (node != ngx_sio_moved.sentinel) {

        if (key != node->key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        moved = ngx_rbtree_data(node, ngx_sio_moved_t, node);

        if (ngx_memcmp(moved->sid, sid.p, NGX_SIO_SID_LEN) == 0) {
            return moved;
        }

        node = node->right;
    }

    return NULL;
}


ngx_uint_t
ngx_sio_handover_moved(ngx_sio_app_t *app, sio_span_t sid)
{
    ngx_sio_moved_t  *moved;

    moved = ngx_sio_handover_find(sid);

    return moved && moved->app == app;
}


ngx_sio_origin_t
ngx_sio_handover_where(sio_span_t sid)
{
    ngx_sio_moved_t  *moved;

    moved = ngx_sio_handover_find(sid);

    return moved ? moved->to : 0;
}


static void
ngx_sio_handover_remember(ngx_sio_session_t *s, ngx_sio_origin_t to)
{
    ngx_sio_moved_t  *moved;

    moved = ngx_alloc(sizeof(ngx_sio_moved_t), s->conf->log);

    if (moved == NULL) {
        ngx_sio_count(memory_errors);
        return;
    }

    moved->app = s->conf->app;
    moved->to = to;
    ngx_memcpy(moved->sid, s->sid, NGX_SIO_SID_LEN);
    ngx_memcpy(&moved->node.key, s->sid, sizeof(ngx_rbtree_key_t));

    ngx_rbtree_insert(&ngx_sio_moved, &moved->node);
    ngx_queue_insert_tail(&ngx_sio_moved_queue, &moved->queue);
}


static void
ngx_sio_handover_forget(ngx_sio_moved_t *moved)
{
    ngx_rbtree_delete(&ngx_sio_moved, &moved->node);
    ngx_queue_remove(&moved->queue);
    ngx_free(moved);
}


/* one that came from another worker, which remembers it */

static void
ngx_sio_handover_session_ended(ngx_sio_session_t *s)
{
    ngx_sio_handover_tell_end((sio_span_t) { s->sid, NGX_SIO_SID_LEN });
}


static void
ngx_sio_handover_tell_end(sio_span_t sid)
{
    sio_out_t         o;
    ngx_sio_msg_t    *m;
    ngx_sio_origin_t  owner;

    owner = ngx_sio_registry_owner(sid);

    if (owner == ngx_sio_bus_self() || !ngx_sio_bus_alive(owner)) {
        return;
    }

    m = ngx_sio_frame(NGX_SIO_FRAME_ENDED, NGX_SIO_SID_LEN, &o);

    if (m) {
        sio_out_bytes(&o, sid.p, NGX_SIO_SID_LEN);
        ngx_sio_bus_send(owner, m);
    }
}


/* a session that came, and could not stay: its state */

static void
ngx_sio_handover_tell_lost(sio_in_t state)
{
    sio_span_t  sid;

    (void) sio_in_string(&state);
    sid = sio_in_bytes(&state, NGX_SIO_SID_LEN);

    if (!state.bad) {
        ngx_sio_handover_tell_end(sid);
    }
}


/* what the mover needs */

static ngx_sio_msg_t *
ngx_sio_handover_io_frame(void *ctx, ngx_sio_move_frame_e type, size_t n,
    sio_out_t *o)
{
    return ngx_sio_frame(type == NGX_SIO_MOVE_TAKE ? NGX_SIO_FRAME_TAKE
                                                   : NGX_SIO_FRAME_STATE,
                         n, o);
}


static void
ngx_sio_handover_io_send(void *ctx, ngx_sio_origin_t to, ngx_sio_msg_t *m)
{
    ngx_sio_bus_send(to, m);
}


/* streams are read by an event of its own: this one reads one already */

static void
ngx_sio_handover_io_drain(void *ctx, ngx_sio_give_t *g)
{
    if (!ngx_sio_handover_drain_event.posted) {
        ngx_post_event(&ngx_sio_handover_drain_event, &ngx_posted_events);
    }
}


static void
ngx_sio_handover_drain(ngx_event_t *ev)
{
    ngx_queue_t           *q;
    ngx_sio_give_t        *g;
    ngx_sio_offer_name_t   name;

again:

    for (q = ngx_queue_head(&ngx_sio_mover.asked);
         q != ngx_queue_sentinel(&ngx_sio_mover.asked);
         q = ngx_queue_next(q))
    {
        g = ngx_queue_data(q, ngx_sio_give_t, queue);

        if (g->drained) {
            continue;
        }

        /* what is read may change all: g is found anew, or is gone */

        name.to = g->to;
        name.id = g->id;

        ngx_sio_bus_drain(ngx_sio_handover_named, &name);

        g = ngx_sio_move_find_give(&ngx_sio_mover, name.to, name.id);

        if (g) {
            g->drained = 1;
            ngx_sio_move_drained(&ngx_sio_mover);
        }

        goto again;
    }
}


static ngx_uint_t
ngx_sio_handover_named(ngx_sio_origin_t origin, void *data)
{
    ngx_sio_offer_name_t *name = data;

    ngx_sio_give_t  *g;

    g = ngx_sio_move_find_give(&ngx_sio_mover, name->to, name->id);

    return g == NULL || ngx_sio_move_named(g, origin);
}


static ngx_sio_floor_t *
ngx_sio_handover_io_floors(void *session, ngx_uint_t *n)
{
    ngx_sio_session_t *s = session;

    *n = s->nfloors;

    return s->floors;
}


/* its sockets that have left tell so from here */

static ngx_int_t
ngx_sio_handover_io_prepare(void *session)
{
    ngx_sio_session_t *s = session;

    if (s->state != NGX_SIO_SESSION_OPEN) {
        return NGX_DECLINED;
    }

    if (s->sweep) {
        s->sweep = 0;
        s->conf->user->sweep(s);
        return NGX_AGAIN;
    }

    return NGX_OK;
}


static void
ngx_sio_handover_io_export(void *session, sio_out_t *o)
{
    ngx_sio_session_export(session, o);
}


static void
ngx_sio_handover_io_left(ngx_sio_give_t *g)
{
    ngx_sio_session_t  *s;

    s = g->session;

    ngx_sio_handover_remember(s, g->to);
    ngx_sio_handover_withdraw(g);
    ngx_sio_session_leave(s);
}


static void
ngx_sio_handover_io_deserted(ngx_sio_give_t *g)
{
    ngx_uint_t          taken;
    ngx_sio_session_t  *s;

    s = g->session;
    taken = s->taken;

    if (g->vector) {
        ngx_free(g->vector);
    }

    ngx_sio_handover_send(g->to, NGX_SIO_FRAME_GONE, g->id);
    ngx_sio_handover_withdraw(g);
    ngx_sio_count(upgrades_abandoned);

    if (taken) {
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_CLOSE);
    }
}


static void *
ngx_sio_handover_io_install(ngx_sio_take_t *t, sio_in_t *in)
{
    sio_in_t             state;
    ngx_sio_handover_t  *h;

    state = *in;
    h = t->data;

    ngx_sio_bus_after(t->owner);

    h->session = h->taker->install(h->data, in);

    if (h->session) {
        h->session->foreign = 1;

    } else {
        ngx_sio_handover_tell_lost(state);
    }

    return h->session;
}


/* its WebSocket did not wait for it to the end */

static void
ngx_sio_handover_io_stray(void *ctx, sio_in_t *in)
{
    ngx_sio_count(moves_failed);
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "sio: a session from another worker is lost: it came when "
                  "its WebSocket had been given up");

    ngx_sio_handover_tell_lost(*in);
}


static void
ngx_sio_handover_io_replay(void *session, ngx_sio_origin_t origin,
    uint64_t number, ngx_sio_msg_t *m)
{
    ngx_sio_op_t  op;

    if (ngx_sio_frame_decode_op(m, &op) != NGX_OK) {
        return;
    }

    op.origin = origin;
    op.number = number;

    ngx_sio_query_prepare(&op, 1);
    (void) ngx_sio_op_apply_to(&op, session);
}


static void
ngx_sio_handover_io_settled(ngx_sio_take_t *t, void *session,
    ngx_sio_floor_t *floors, ngx_uint_t n, ngx_uint_t replayed)
{
    ngx_uint_t              failed;
    ngx_sio_handover_t     *h;
    const ngx_sio_taker_t  *taker;
    void                   *data;

    h = t->data;
    taker = h->taker;
    data = h->data;

    failed = t->failed
             || ngx_sio_session_set_floors(session, floors, n) != NGX_OK;

    ngx_sio_count(moves);
    ngx_sio_add(moves_replayed, replayed != 0);
    ngx_sio_add(moves_failed, failed);

    ngx_sio_handover_free(h);
    taker->settled(data, session, failed);

    ngx_sio_query_settled();
}


static void
ngx_sio_handover_io_gone(ngx_sio_take_t *t)
{
    ngx_sio_handover_t     *h;
    const ngx_sio_taker_t  *taker;
    void                   *data;

    h = t->data;
    taker = h->taker;
    data = h->data;

    ngx_sio_count(moves_failed);

    ngx_sio_handover_free(h);
    taker->gone(data);

    ngx_sio_query_settled();
}


static void
ngx_sio_handover_io_fail(ngx_sio_take_t *t)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "sio: a session that is to come from worker %ui will be "
                  "closed: what happened meanwhile is not known to its end",
                  (ngx_uint_t) (t->owner >> 32));

    ngx_sio_query_settled();
}
