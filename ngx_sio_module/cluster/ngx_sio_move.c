/*
 * The move.  B takes a session from A:
 *
 *   TAKE(V)       B -> A   V: what B has applied, per origin.  From here on B
 *                          logs what it applies.
 *   STATE(VA, s)  A -> B   sent when s was given, of each origin in V that A
 *                          knows and that has not ended, as much as V says;
 *                          VA: what s was given, per origin.
 *
 * B then gives s what the log has beyond VA, and later what it applies, but
 * for what VA says s had already: the floors of s.  Nothing is forwarded and
 * nobody waits for B: an operation is in the state, or in the log, or still
 * to come.
 *
 * Each rule that makes this work is marked with its name; a test takes them
 * out one by one and must fail.
 */

#include "cluster/ngx_sio_move.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_MOVE_RECENT  10000    /* ms */


static void ngx_sio_move_answer(ngx_sio_mover_t *mv);
static ngx_sio_give_t *ngx_sio_move_find_in(ngx_queue_t *gives,
    ngx_sio_origin_t to, uint64_t id);
static void ngx_sio_move_desert(ngx_sio_mover_t *mv, ngx_queue_t *gives,
    ngx_sio_origin_t origin);
static ngx_uint_t ngx_sio_move_reached(ngx_sio_give_t *g);
static ngx_uint_t ngx_sio_move_lags(ngx_sio_give_t *g,
    ngx_sio_origin_t origin, uint64_t number);
static uint64_t ngx_sio_move_given(ngx_sio_give_t *g,
    ngx_sio_origin_t origin, uint64_t applied);
static ngx_int_t ngx_sio_move_send_state(ngx_sio_give_t *g);
static void ngx_sio_move_encode_state(ngx_sio_give_t *g, sio_out_t *o);
static ngx_int_t ngx_sio_move_handle_take(ngx_sio_mover_t *mv,
    ngx_sio_origin_t from, sio_in_t *in);
static ngx_int_t ngx_sio_move_handle_state(ngx_sio_mover_t *mv,
    ngx_sio_origin_t from, sio_in_t *in);
static void ngx_sio_move_settle(ngx_sio_take_t *t, void *session,
    sio_span_t given, ngx_uint_t replayed);
static ngx_uint_t ngx_sio_move_replay(ngx_sio_take_t *t, void *session,
    sio_span_t given);
static uint64_t ngx_sio_move_find(sio_span_t given, ngx_sio_origin_t origin);
static void ngx_sio_move_log(ngx_sio_mover_t *mv, ngx_sio_origin_t origin,
    uint64_t number, ngx_sio_msg_t *m);
static void ngx_sio_move_stop_log(ngx_sio_take_t *t);
static void ngx_sio_move_trim(ngx_sio_mover_t *mv);


/* an entry of V: origin, number; of VA: whether it ended some time ago too */

#define NGX_SIO_MOVE_V_ENTRY   16
#define NGX_SIO_MOVE_VA_ENTRY  17

#define ngx_sio_move_key(origin)  ((ngx_rbtree_key_t) (origin))

#if (NGX_PTR_SIZE < 8)
#error an origin is a key of the trees, which need 64 bits for it
#endif


void
ngx_sio_move_init(ngx_sio_mover_t *mv, const ngx_sio_mover_io_t *io,
    void *ctx, size_t limit)
{
    ngx_memzero(mv, sizeof(ngx_sio_mover_t));

    mv->io = io;
    mv->ctx = ctx;
    mv->limit = limit;

    ngx_rbtree_init(&mv->sources, &mv->sentinel, ngx_rbtree_insert_value);
    ngx_queue_init(&mv->ended);
    ngx_queue_init(&mv->gives);
    ngx_queue_init(&mv->asked);
    ngx_queue_init(&mv->takes);
}


void
ngx_sio_move_done(ngx_sio_mover_t *mv)
{
    ngx_rbtree_node_t  *node;

    mv->logging = 0;
    ngx_sio_move_trim(mv);

    while (mv->sources.root != mv->sources.sentinel) {
        node = mv->sources.root;
        ngx_rbtree_delete(&mv->sources, node);
        ngx_free(ngx_rbtree_data(node, ngx_sio_source_t, node));
    }
}


ngx_sio_source_t *
ngx_sio_move_source(ngx_sio_mover_t *mv, ngx_sio_origin_t origin)
{
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    key = ngx_sio_move_key(origin);
    node = mv->sources.root;

    while (node != mv->sources.sentinel) {

        if (node->key == key) {
            return ngx_rbtree_data(node, ngx_sio_source_t, node);
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


ngx_sio_source_t *
ngx_sio_move_hello(ngx_sio_mover_t *mv, ngx_sio_origin_t origin,
    uint64_t number)
{
    ngx_sio_source_t  *source;

    source = ngx_sio_move_source(mv, origin);

    if (source == NULL) {
        source = ngx_calloc(sizeof(ngx_sio_source_t), ngx_cycle->log);
        if (source == NULL) {
            ngx_sio_count(memory_errors);
            return NULL;
        }

        source->node.key = ngx_sio_move_key(origin);
        ngx_rbtree_insert(&mv->sources, &source->node);

    } else if (source->state == NGX_SIO_SOURCE_ENDED) {
        ngx_queue_remove(&source->queue);
        mv->nended--;
    }

    source->applied = number;                               /* rule: hello */
    source->state = NGX_SIO_SOURCE_ALIVE;

    ngx_sio_move_answer(mv);

    return source;
}


void
ngx_sio_move_lost(ngx_sio_mover_t *mv, ngx_sio_source_t *source)
{
    if (source->state == NGX_SIO_SOURCE_ALIVE) {
        source->state = NGX_SIO_SOURCE_LOST;
    }
}


void
ngx_sio_move_end(ngx_sio_mover_t *mv, ngx_sio_source_t *source)
{
    ngx_queue_t       *q;
    ngx_sio_source_t  *oldest;

    if (source->state == NGX_SIO_SOURCE_ENDED) {
        return;
    }

    source->state = NGX_SIO_SOURCE_ENDED;
    source->ended = ngx_current_msec;

    ngx_queue_insert_tail(&mv->ended, &source->queue);

    if (++mv->nended > NGX_SIO_MAX_ENDED) {
        q = ngx_queue_head(&mv->ended);
        oldest = ngx_queue_data(q, ngx_sio_source_t, queue);

        ngx_queue_remove(q);
        mv->nended--;

        ngx_rbtree_delete(&mv->sources, &oldest->node);
        ngx_free(oldest);
    }

    ngx_sio_move_answer(mv);
}


void
ngx_sio_move_applied(ngx_sio_mover_t *mv, ngx_sio_source_t *source,
    uint64_t number, ngx_sio_msg_t *m)
{
    source->applied = number;

    if (mv->logging) {
        ngx_sio_move_log(mv, source->node.key, number, m);
    }

    ngx_sio_move_answer(mv);
}


/* a session that leaves may end sockets, whose rules apply operations */

static void
ngx_sio_move_answer(ngx_sio_mover_t *mv)
{
    ngx_queue_t     *q, *next;
    ngx_sio_give_t  *g;

    if (mv->answering) {
        mv->again = 1;
        return;
    }

    mv->answering = 1;

    do {
        mv->again = 0;

        for (q = ngx_queue_head(&mv->asked);
             q != ngx_queue_sentinel(&mv->asked);
             q = next)
        {
            next = ngx_queue_next(q);
            g = ngx_queue_data(q, ngx_sio_give_t, queue);

            if (!ngx_sio_move_reached(g)) {
                continue;
            }

            switch (mv->io->prepare(g->session)) {

            case NGX_OK:
                break;

            case NGX_AGAIN:
                mv->again = 1;
                /* fall through */

            default:
                continue;
            }

            ngx_queue_remove(q);

            if (ngx_sio_move_send_state(g) == NGX_OK) {
                ngx_free(g->vector);
                mv->io->left(g);

            } else {
                mv->io->deserted(g);
            }
        }

    } while (mv->again);

    mv->answering = 0;
}


static ngx_uint_t
ngx_sio_move_reached(ngx_sio_give_t *g)
{
    sio_in_t          in;
    uint64_t          number;
    ngx_sio_origin_t  origin;

    if (!g->drained) {
        return 0;
    }

    if (g->lag && ngx_sio_move_lags(g, g->lag, g->number)) {
        return 0;
    }

    in = sio_in((sio_span_t) { g->vector, g->len });

    while (in.n) {
        origin = sio_in_u64(&in);
        number = sio_in_u64(&in);

        if (ngx_sio_move_lags(g, origin, number)) {
            g->lag = origin;
            g->number = number;
            return 0;
        }
    }

    return 1;
}


/* of an origin that is unknown or has ended nothing more will come */

static ngx_uint_t
ngx_sio_move_lags(ngx_sio_give_t *g, ngx_sio_origin_t origin,
    uint64_t number)
{
    ngx_sio_source_t  *source;

    source = ngx_sio_move_source(g->mover, origin);

    if (source == NULL || source->state == NGX_SIO_SOURCE_ENDED) {
        return 0;
    }

    if (source->state == NGX_SIO_SOURCE_LOST) {
        return 1;
    }

    return ngx_sio_move_given(g, origin, source->applied)
           < number;                                        /* rule: wait */
}


static uint64_t
ngx_sio_move_given(ngx_sio_give_t *g, ngx_sio_origin_t origin,
    uint64_t applied)
{
    ngx_uint_t        i, n;
    ngx_sio_floor_t  *floors;

    floors = g->mover->io->floors(g->session, &n);          /* rule: floor */

    for (i = 0; i < n; i++) {
        if (floors[i].origin == origin) {
            return ngx_max(applied, floors[i].number);
        }
    }

    return applied;
}


static ngx_int_t
ngx_sio_move_send_state(ngx_sio_give_t *g)
{
    sio_out_t         o;
    ngx_sio_msg_t    *m;
    ngx_sio_mover_t  *mv;

    mv = g->mover;

    o.p = NULL;
    o.n = 0;

    ngx_sio_move_encode_state(g, &o);

    m = mv->io->frame(mv->ctx, NGX_SIO_MOVE_STATE, o.n, &o);
    if (m == NULL) {
        return NGX_ERROR;
    }

    ngx_sio_move_encode_state(g, &o);

    mv->io->send(mv->ctx, g->to, m);

    return NGX_OK;
}


static void
ngx_sio_move_encode_state(ngx_sio_give_t *g, sio_out_t *o)
{
    ngx_uint_t          i, n, m;
    ngx_sio_floor_t    *floors;
    ngx_sio_mover_t    *mv;
    ngx_rbtree_node_t  *node;
    ngx_sio_source_t   *source;

    mv = g->mover;

    sio_out_u64(o, g->id);

    for (n = 0, node = ngx_rbtree_min(mv->sources.root, mv->sources.sentinel);
         node;
         node = ngx_rbtree_next(&mv->sources, node))
    {
        n++;
    }

    floors = mv->io->floors(g->session, &m);

    for (i = 0; i < m; i++) {
        n += (ngx_sio_move_source(mv, floors[i].origin) == NULL);
    }

    sio_out_u32(o, n);

    for (node = ngx_rbtree_min(mv->sources.root, mv->sources.sentinel);
         node;
         node = ngx_rbtree_next(&mv->sources, node))
    {
        source = ngx_rbtree_data(node, ngx_sio_source_t, node);

        sio_out_u64(o, node->key);
        sio_out_u64(o, ngx_sio_move_given(g, node->key, source->applied));
        sio_out_byte(o, source->state == NGX_SIO_SOURCE_ENDED
                        && ngx_current_msec - source->ended
                           > NGX_SIO_MOVE_RECENT);
    }

    for (i = 0; i < m; i++) {
        if (ngx_sio_move_source(mv, floors[i].origin) == NULL) {
            sio_out_u64(o, floors[i].origin);
            sio_out_u64(o, floors[i].number);
            sio_out_byte(o, 0);
        }
    }

    mv->io->export_(g->session, o);
}


void
ngx_sio_move_expect(ngx_sio_mover_t *mv, ngx_sio_take_t *t)
{
    t->mover = mv;
    t->id = ++mv->last_id;
    t->asked = 0;
    t->logging = 0;
    t->failed = 0;

    ngx_queue_insert_tail(&mv->takes, &t->queue);
}


ngx_int_t
ngx_sio_move_take(ngx_sio_take_t *t)
{
    size_t              n;
    sio_out_t           o;
    ngx_sio_msg_t      *m;
    ngx_sio_mover_t    *mv;
    ngx_rbtree_node_t  *node;
    ngx_sio_source_t   *source;

    mv = t->mover;

    /* who has ended is left out: A reads what it left to the end first */

    n = sizeof(uint64_t);

    for (node = ngx_rbtree_min(mv->sources.root, mv->sources.sentinel);
         node;
         node = ngx_rbtree_next(&mv->sources, node))
    {
        source = ngx_rbtree_data(node, ngx_sio_source_t, node);
        n += (source->state != NGX_SIO_SOURCE_ENDED) * NGX_SIO_MOVE_V_ENTRY;
    }

    m = mv->io->frame(mv->ctx, NGX_SIO_MOVE_TAKE, n, &o);
    if (m == NULL) {
        return NGX_ERROR;
    }

    sio_out_u64(&o, t->id);

    for (node = ngx_rbtree_min(mv->sources.root, mv->sources.sentinel);
         node;
         node = ngx_rbtree_next(&mv->sources, node))
    {
        source = ngx_rbtree_data(node, ngx_sio_source_t, node);

        if (source->state != NGX_SIO_SOURCE_ENDED) {
            sio_out_u64(&o, node->key);
            sio_out_u64(&o, source->applied);
        }
    }

    /* the queue's order is that of the marks */

    ngx_queue_remove(&t->queue);
    ngx_queue_insert_tail(&mv->takes, &t->queue);

    t->asked = 1;
    t->mark = mv->log_next;

    if (!t->failed) {
        t->logging = 1;
        mv->logging++;
    }

    mv->io->send(mv->ctx, t->owner, m);

    return NGX_OK;
}


ngx_sio_take_t *
ngx_sio_move_find_take(ngx_sio_mover_t *mv, ngx_sio_origin_t owner,
    uint64_t id)
{
    ngx_queue_t     *q;
    ngx_sio_take_t  *t;

    for (q = ngx_queue_head(&mv->takes);
         q != ngx_queue_sentinel(&mv->takes);
         q = ngx_queue_next(q))
    {
        t = ngx_queue_data(q, ngx_sio_take_t, queue);

        if (t->id == id && t->owner == owner) {
            return t;
        }
    }

    return NULL;
}


void
ngx_sio_move_forget_take(ngx_sio_take_t *t)
{
    ngx_sio_move_stop_log(t);
    ngx_queue_remove(&t->queue);
    ngx_sio_move_trim(t->mover);
}


void
ngx_sio_move_fail_take(ngx_sio_take_t *t)
{
    if (t->failed) {
        return;
    }

    t->failed = 1;

    ngx_sio_move_stop_log(t);
    ngx_sio_move_trim(t->mover);

    t->mover->io->fail(t);
}


void
ngx_sio_move_offer(ngx_sio_mover_t *mv, ngx_sio_give_t *g)
{
    g->mover = mv;
    g->vector = NULL;
    g->drained = 0;
    g->lag = 0;

    ngx_queue_insert_tail(&mv->gives, &g->queue);
}


ngx_sio_give_t *
ngx_sio_move_find_give(ngx_sio_mover_t *mv, ngx_sio_origin_t to, uint64_t id)
{
    ngx_sio_give_t  *g;

    g = ngx_sio_move_find_in(&mv->asked, to, id);

    return g ? g : ngx_sio_move_find_in(&mv->gives, to, id);
}


static ngx_sio_give_t *
ngx_sio_move_find_in(ngx_queue_t *gives, ngx_sio_origin_t to, uint64_t id)
{
    ngx_queue_t     *q;
    ngx_sio_give_t  *g;

    for (q = ngx_queue_head(gives);
         q != ngx_queue_sentinel(gives);
         q = ngx_queue_next(q))
    {
        g = ngx_queue_data(q, ngx_sio_give_t, queue);

        if (g->id == id && g->to == to) {
            return g;
        }
    }

    return NULL;
}


void
ngx_sio_move_forget_give(ngx_sio_give_t *g)
{
    ngx_queue_remove(&g->queue);

    if (g->vector) {
        ngx_free(g->vector);
    }
}


ngx_int_t
ngx_sio_move_handle(ngx_sio_mover_t *mv, ngx_sio_origin_t from,
    ngx_sio_move_frame_e type, sio_in_t *in)
{
    return (type == NGX_SIO_MOVE_TAKE)
           ? ngx_sio_move_handle_take(mv, from, in)
           : ngx_sio_move_handle_state(mv, from, in);
}


/* an offer that was withdrawn meanwhile was answered when it was */

static ngx_int_t
ngx_sio_move_handle_take(ngx_sio_mover_t *mv, ngx_sio_origin_t from,
    sio_in_t *in)
{
    uint64_t         id;
    ngx_sio_give_t  *g;

    id = sio_in_u64(in);

    if (in->bad || in->n % NGX_SIO_MOVE_V_ENTRY) {
        return NGX_ERROR;
    }

    g = ngx_sio_move_find_give(mv, from, id);

    if (g == NULL || g->vector) {
        return NGX_OK;
    }

    g->vector = ngx_alloc(in->n + 1, ngx_cycle->log);

    if (g->vector == NULL) {
        ngx_sio_count(memory_errors);
        ngx_queue_remove(&g->queue);
        mv->io->deserted(g);
        return NGX_OK;
    }

    ngx_memcpy(g->vector, in->p, in->n);
    g->len = in->n;

    ngx_queue_remove(&g->queue);
    ngx_queue_insert_tail(&mv->asked, &g->queue);

    mv->io->drain(mv->ctx, g);

    return NGX_OK;
}


void
ngx_sio_move_drained(ngx_sio_mover_t *mv)
{
    ngx_sio_move_answer(mv);
}


ngx_uint_t
ngx_sio_move_named(ngx_sio_give_t *g, ngx_sio_origin_t origin)
{
    sio_in_t  in;

    in = sio_in((sio_span_t) { g->vector, g->len });

    while (in.n) {
        if (sio_in_u64(&in) == origin) {
            return 1;
        }

        (void) sio_in_u64(&in);
    }

    return 0;
}


static ngx_int_t
ngx_sio_move_handle_state(ngx_sio_mover_t *mv, ngx_sio_origin_t from,
    sio_in_t *in)
{
    void            *session;
    uint64_t         id;
    uint32_t         n;
    ngx_uint_t       replayed;
    sio_span_t       given;
    ngx_sio_take_t  *t;

    id = sio_in_u64(in);
    n = sio_in_u32(in);
    given = sio_in_bytes(in, (size_t) n * NGX_SIO_MOVE_VA_ENTRY);

    if (in->bad) {
        return NGX_ERROR;
    }

    t = ngx_sio_move_find_take(mv, from, id);

    if (t == NULL) {
        mv->io->stray(mv->ctx, in);
        return NGX_OK;
    }

    if (!t->asked) {
        return NGX_ERROR;
    }

    session = mv->io->install(t, in);

    if (session == NULL) {
        ngx_sio_move_forget_take(t);
        mv->io->gone(t);
        return NGX_OK;
    }

    replayed = 0;

    if (t->logging) {
        replayed = ngx_sio_move_replay(t, session, given);  /* rule: log */
    }

    ngx_sio_move_forget_take(t);
    ngx_sio_move_settle(t, session, given, replayed);

    return NGX_OK;
}


/* what this worker will still apply although the session had it */

static void
ngx_sio_move_settle(ngx_sio_take_t *t, void *session, sio_span_t given,
    ngx_uint_t replayed)
{
    uint8_t            ended;
    sio_in_t           in;
    uint64_t           number;
    ngx_uint_t         n;
    ngx_sio_floor_t   *floors;
    ngx_sio_origin_t   origin;
    ngx_sio_mover_t   *mv;
    ngx_sio_source_t  *source;

    mv = t->mover;
    in = sio_in(given);
    n = 0;

    floors = ngx_alloc(given.n / NGX_SIO_MOVE_VA_ENTRY
                       * sizeof(ngx_sio_floor_t) + 1, ngx_cycle->log);

    if (floors == NULL) {
        ngx_sio_count(memory_errors);
        t->failed = 1;
    }

    while (floors && in.n) {
        origin = sio_in_u64(&in);
        number = sio_in_u64(&in);
        ended = sio_in_u8(&in);

        source = ngx_sio_move_source(mv, origin);

        /* an ended one's too: it may go on to a worker that reads it yet */

        if (source && source->state != NGX_SIO_SOURCE_ENDED) {
            ended = 0;
        }

        if (!ended && (source == NULL || source->applied < number)) {
            floors[n].origin = origin;
            floors[n].number = number;
            n++;                                            /* rule: skip */
        }
    }

    mv->io->settled(t, session, floors, n, replayed);

    if (floors) {
        ngx_free(floors);
    }
}


static ngx_uint_t
ngx_sio_move_replay(ngx_sio_take_t *t, void *session, sio_span_t given)
{
    uint64_t             i;
    ngx_uint_t           n;
    ngx_sio_mover_t     *mv;
    ngx_sio_move_log_t  *entry;

    mv = t->mover;
    n = 0;

    for (i = mv->log_first, entry = mv->log; entry; entry = entry->next, i++) {

        if (i < t->mark
            || entry->number <= ngx_sio_move_find(given, entry->origin))
        {
            continue;
        }

        mv->io->replay(session, entry->origin, entry->number, entry->msg);
        n++;
    }

    return n;
}


/* what VA has of an origin; none is nothing */

static uint64_t
ngx_sio_move_find(sio_span_t given, ngx_sio_origin_t origin)
{
    sio_in_t          in;
    uint64_t          number;
    ngx_sio_origin_t  o;

    in = sio_in(given);

    while (in.n) {
        o = sio_in_u64(&in);
        number = sio_in_u64(&in);
        (void) sio_in_u8(&in);

        if (o == origin) {
            return number;
        }
    }

    return 0;
}


static void
ngx_sio_move_log(ngx_sio_mover_t *mv, ngx_sio_origin_t origin,
    uint64_t number, ngx_sio_msg_t *m)
{
    ngx_queue_t         *q, *next;
    ngx_sio_take_t      *t;
    ngx_sio_move_log_t  *entry;

    entry = NULL;

    if (m && mv->log_size + m->len + sizeof(ngx_sio_move_log_t) <= mv->limit)
    {
        entry = ngx_alloc(sizeof(ngx_sio_move_log_t), ngx_cycle->log);
    }

    if (entry) {
        entry->msg = ngx_sio_msg_ref(m);
        entry->origin = origin;
        entry->number = number;
        entry->next = NULL;

        if (mv->log) {
            mv->log_last->next = entry;

        } else {
            mv->log = entry;
        }

        mv->log_last = entry;
        mv->log_next++;
        mv->log_size += m->len + sizeof(ngx_sio_move_log_t);

        return;
    }

    /* a log with a hole is of no use to anybody */

    for (q = ngx_queue_head(&mv->takes);
         q != ngx_queue_sentinel(&mv->takes);
         q = next)
    {
        next = ngx_queue_next(q);
        t = ngx_queue_data(q, ngx_sio_take_t, queue);

        if (t->logging) {
            ngx_sio_move_fail_take(t);
        }
    }
}


static void
ngx_sio_move_stop_log(ngx_sio_take_t *t)
{
    if (t->logging) {
        t->logging = 0;
        t->mover->logging--;
    }
}


/* drops what no take needs */

static void
ngx_sio_move_trim(ngx_sio_mover_t *mv)
{
    uint64_t             mark;
    ngx_queue_t         *q;
    ngx_sio_take_t      *t;
    ngx_sio_move_log_t  *entry;

    mark = mv->log_next;

    for (q = ngx_queue_head(&mv->takes);
         mv->logging && q != ngx_queue_sentinel(&mv->takes);
         q = ngx_queue_next(q))
    {
        t = ngx_queue_data(q, ngx_sio_take_t, queue);

        if (t->logging) {
            mark = t->mark;
            break;
        }
    }

    while (mv->log && mv->log_first < mark) {
        entry = mv->log;
        mv->log = entry->next;
        mv->log_first++;
        mv->log_size -= entry->msg->len + sizeof(ngx_sio_move_log_t);

        ngx_sio_msg_unref(entry->msg);
        ngx_free(entry);
    }
}


void
ngx_sio_move_gone(ngx_sio_mover_t *mv, ngx_sio_origin_t origin,
    ngx_uint_t dead)
{
    ngx_queue_t     *q, *next;
    ngx_sio_take_t  *t;

again:

    for (q = ngx_queue_head(&mv->takes);
         q != ngx_queue_sentinel(&mv->takes);
         q = next)
    {
        next = ngx_queue_next(q);
        t = ngx_queue_data(q, ngx_sio_take_t, queue);

        if (t->owner != origin) {
            continue;
        }

        if (dead || !t->asked) {
            ngx_sio_move_forget_take(t);
            mv->io->gone(t);

            /* with its connection others may have gone */

            goto again;
        }

        ngx_sio_move_fail_take(t);
    }

    ngx_sio_move_desert(mv, &mv->asked, origin);
    ngx_sio_move_desert(mv, &mv->gives, origin);
}


static void
ngx_sio_move_desert(ngx_sio_mover_t *mv, ngx_queue_t *gives,
    ngx_sio_origin_t origin)
{
    ngx_queue_t     *q, *next;
    ngx_sio_give_t  *g;

    for (q = ngx_queue_head(gives);
         q != ngx_queue_sentinel(gives);
         q = next)
    {
        next = ngx_queue_next(q);
        g = ngx_queue_data(q, ngx_sio_give_t, queue);

        if (g->to == origin) {
            ngx_queue_remove(q);
            mv->io->deserted(g);
        }
    }
}
