/*
 * A worker collects its answer while it applies the question.  If sessions
 * are on their way to it, their owners may have let go of them before they
 * applied it: then they get it from the log, and what they add still belongs
 * to the answer, which waits for them.
 */

#include "cluster/ngx_sio_query.h"
#include "cluster/ngx_sio_directory.h"
#include "cluster/ngx_sio_handover.h"
#include "core/ngx_sio_data.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_room.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_QUERY_OVERHEAD    64         /* of a reply's frame */

/* some clients have 31 bits for the id of a packet */

#define NGX_SIO_QUERY_IDS         (0x7fffffff / NGX_SIO_MAX_SLOTS + 1)


/* the answer of this worker while it is collected */

typedef struct {
    ngx_queue_t           queue;
    ngx_sio_origin_t      asker;
    uint64_t              id;
    uint64_t              mark;        /* takes before it are waited for */
    sio_op_type_t         type;

    u_char               *buf;
    size_t                len;
    size_t                size;        /* bound: the largest frame */
    uint64_t              count;

    ngx_rbtree_t          rooms;       /* ngx_sio_query_room_t */
    ngx_rbtree_node_t     sentinel;

    ngx_uint_t            applied;     /* the question was, here */
    ngx_uint_t            failed;      /* too large, or no memory */
} ngx_sio_collector_t;

typedef struct {
    ngx_str_node_t        sn;
    uint64_t              sockets;
} ngx_sio_query_room_t;


static ngx_sio_collector_t *ngx_sio_query_collector(ngx_sio_origin_t asker,
    uint64_t id);
static void ngx_sio_query_collect(void *ctx, ngx_sio_socket_t *sk);
static void ngx_sio_query_collect_socket(ngx_sio_collector_t *c,
    ngx_sio_socket_t *sk);
static void ngx_sio_query_encode_socket(sio_out_t *o, ngx_sio_socket_t *sk);
static void ngx_sio_query_collect_rooms(ngx_sio_collector_t *c,
    ngx_sio_socket_t *sk);
static u_char *ngx_sio_query_grow(ngx_sio_collector_t *c, size_t n);
static ngx_uint_t ngx_sio_query_waits(ngx_sio_collector_t *c);
static void ngx_sio_query_reply(ngx_sio_collector_t *c);
static void ngx_sio_query_free(ngx_sio_collector_t *c);
static ngx_sio_query_t *ngx_sio_query_find(uint64_t id);
static void ngx_sio_query_part(ngx_sio_query_t *q, ngx_sio_origin_t from,
    sio_span_t body);
static void ngx_sio_query_answered(ngx_sio_query_t *q,
    ngx_sio_origin_t origin);
static void ngx_sio_query_failed(ngx_sio_query_t *q, ngx_sio_origin_t origin);
static void ngx_sio_query_expect(ngx_sio_origin_t origin, void *data);
static void ngx_sio_query_check(ngx_sio_query_t *q);
static void ngx_sio_query_timeout(ngx_event_t *ev);
static void ngx_sio_query_done(ngx_event_t *ev);
static void ngx_sio_query_destroy(ngx_sio_query_t *q);


static ngx_queue_t  ngx_sio_queries;
static ngx_queue_t  ngx_sio_collectors;
static uint64_t     ngx_sio_query_last_id;


/*
 * What clients still hold of a worker that died is not to be taken for what
 * the next one in its slot asks: each begins somewhere else.
 */

void
ngx_sio_query_init(void)
{
    ngx_queue_init(&ngx_sio_queries);
    ngx_queue_init(&ngx_sio_collectors);

    ngx_sio_query_last_id = ngx_random();
}


uint64_t
ngx_sio_query_new_id(void)
{
    return ++ngx_sio_query_last_id % NGX_SIO_QUERY_IDS * NGX_SIO_MAX_SLOTS
           + (ngx_sio_bus_self() >> 32);
}


ngx_sio_query_t *
ngx_sio_query_ask(ngx_sio_op_t *op, ngx_msec_t timeout,
    void (*handler)(ngx_sio_query_t *q), void *data)
{
    ngx_sio_query_t  *q;

    q = ngx_calloc(sizeof(ngx_sio_query_t)
                   + NGX_SIO_MAX_SLOTS * sizeof(ngx_sio_origin_t),
                   ngx_cycle->log);
    if (q == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    q->id = ngx_sio_query_new_id();
    q->handler = handler;
    q->data = data;
    q->missing = (ngx_sio_origin_t *) (q + 1);
    q->own = 1;

    q->timer.handler = ngx_sio_query_timeout;
    q->timer.data = q;
    q->timer.log = ngx_cycle->log;

    q->done.handler = ngx_sio_query_done;
    q->done.data = q;
    q->done.log = ngx_cycle->log;

    ngx_sio_bus_each(ngx_sio_query_expect, q);

    ngx_queue_insert_tail(&ngx_sio_queries, &q->queue);
    ngx_add_timer(&q->timer, timeout);

    ngx_sio_count(questions);

    op->id = q->id;
    op->origin = ngx_sio_bus_self();

    ngx_sio_query_prepare(op, 0);

    if (ngx_sio_bus_publish(op) == NGX_ERROR) {

        if (op->ctx) {
            ngx_sio_query_free(op->ctx);
        }

        ngx_sio_query_destroy(q);
        return NULL;
    }

    ngx_sio_query_applied(op);

    return q;
}


static void
ngx_sio_query_expect(ngx_sio_origin_t origin, void *data)
{
    ngx_sio_query_t *q = data;

    if (q->nmissing < NGX_SIO_MAX_SLOTS) {
        q->missing[q->nmissing++] = origin;
    }
}


void
ngx_sio_query_cancel(ngx_sio_query_t *q)
{
    ngx_sio_query_destroy(q);
}


static void
ngx_sio_query_destroy(ngx_sio_query_t *q)
{
    ngx_sio_query_part_t  *part;

    ngx_queue_remove(&q->queue);

    if (q->timer.timer_set) {
        ngx_del_timer(&q->timer);
    }

    if (q->done.posted) {
        ngx_delete_posted_event(&q->done);
    }

    while (q->parts) {
        part = q->parts;
        q->parts = part->next;
        ngx_free(part);
    }

    ngx_free(q);
}


/* the dead have no sockets; who was only cut off has */

void
ngx_sio_query_gone(ngx_sio_origin_t origin, ngx_uint_t dead)
{
    ngx_queue_t      *link;
    ngx_sio_query_t  *q;

    for (link = ngx_queue_head(&ngx_sio_queries);
         dead && link != ngx_queue_sentinel(&ngx_sio_queries);
         link = ngx_queue_next(link))
    {
        q = ngx_queue_data(link, ngx_sio_query_t, queue);
        ngx_sio_query_answered(q, origin);
    }
}


ngx_int_t
ngx_sio_query_handle(ngx_sio_origin_t from, sio_in_t *in)
{
    uint8_t           failed;
    uint64_t          id;
    ngx_sio_query_t  *q;

    id = sio_in_u64(in);
    failed = sio_in_u8(in);

    if (in->bad) {
        return NGX_ERROR;
    }

    q = ngx_sio_query_find(id);

    if (q == NULL) {
        return NGX_OK;
    }

    if (failed) {
        ngx_sio_query_failed(q, from);

    } else {
        ngx_sio_query_part(q, from, (sio_span_t) { in->p, in->n });
    }

    return NGX_OK;
}


static ngx_sio_query_t *
ngx_sio_query_find(uint64_t id)
{
    ngx_queue_t      *link;
    ngx_sio_query_t  *q;

    for (link = ngx_queue_head(&ngx_sio_queries);
         link != ngx_queue_sentinel(&ngx_sio_queries);
         link = ngx_queue_next(link))
    {
        q = ngx_queue_data(link, ngx_sio_query_t, queue);

        if (q->id == id) {
            return q;
        }
    }

    return NULL;
}


static void
ngx_sio_query_part(ngx_sio_query_t *q, ngx_sio_origin_t from, sio_span_t body)
{
    ngx_sio_query_part_t  *part;

    part = ngx_alloc(sizeof(ngx_sio_query_part_t) + body.n, ngx_cycle->log);

    if (part == NULL) {
        ngx_sio_count(memory_errors);
        return;
    }

    part->body.p = (u_char *) (part + 1);
    part->body.n = body.n;

    if (body.n) {
        ngx_memcpy(part->body.p, body.p, body.n);
    }

    part->next = q->parts;
    q->parts = part;

    ngx_sio_query_answered(q, from);
}


static void
ngx_sio_query_answered(ngx_sio_query_t *q, ngx_sio_origin_t origin)
{
    ngx_uint_t  i;

    if (origin == ngx_sio_bus_self()) {
        q->own = 0;
    }

    for (i = q->nfailed; i < q->nmissing; i++) {
        if (q->missing[i] == origin) {
            q->missing[i] = q->missing[--q->nmissing];
            break;
        }
    }

    ngx_sio_query_check(q);
}


/* its answer was too large, or it had no memory */

static void
ngx_sio_query_failed(ngx_sio_query_t *q, ngx_sio_origin_t origin)
{
    ngx_uint_t  i;

    if (origin == ngx_sio_bus_self()) {
        q->own = 0;
        ngx_sio_query_expect(origin, q);
    }

    for (i = q->nfailed; i < q->nmissing; i++) {
        if (q->missing[i] == origin) {
            q->missing[i] = q->missing[q->nfailed];
            q->missing[q->nfailed++] = origin;
            break;
        }
    }

    ngx_sio_query_check(q);
}


static void
ngx_sio_query_check(ngx_sio_query_t *q)
{
    if (q->nmissing == q->nfailed && !q->own && !q->done.posted) {
        ngx_post_event(&q->done, &ngx_posted_events);
    }
}


static void
ngx_sio_query_timeout(ngx_event_t *ev)
{
    ngx_sio_query_t  *q;

    q = ev->data;

    if (q->own) {
        q->own = 0;
        ngx_sio_query_expect(ngx_sio_bus_self(), q);
    }

    ngx_sio_query_done(&q->done);
}


static void
ngx_sio_query_done(ngx_event_t *ev)
{
    ngx_sio_query_t  *q;

    q = ev->data;

    ngx_sio_add(questions_partial, q->nmissing != 0);

    q->handler(q);

    ngx_sio_query_destroy(q);
}


/* this worker's part */

static ngx_sio_collector_t *
ngx_sio_query_collector(ngx_sio_origin_t asker, uint64_t id)
{
    ngx_queue_t          *link;
    ngx_sio_collector_t  *c;

    for (link = ngx_queue_head(&ngx_sio_collectors);
         link != ngx_queue_sentinel(&ngx_sio_collectors);
         link = ngx_queue_next(link))
    {
        c = ngx_queue_data(link, ngx_sio_collector_t, queue);

        if (c->id == id && c->asker == asker) {
            return c;
        }
    }

    return NULL;
}


void
ngx_sio_query_prepare(ngx_sio_op_t *op, ngx_uint_t replay)
{
    ngx_sio_collector_t  *c;

    if (op->type < SIO_OP_FETCH) {
        return;
    }

    c = ngx_sio_query_collector(op->origin, op->id);

    if (c == NULL && !replay) {
        c = ngx_calloc(sizeof(ngx_sio_collector_t), ngx_cycle->log);

        if (c) {
            c->asker = op->origin;
            c->id = op->id;
            c->type = op->type;

            ngx_rbtree_init(&c->rooms, &c->sentinel,
                            ngx_str_rbtree_insert_value);
            ngx_queue_insert_tail(&ngx_sio_collectors, &c->queue);

        } else {
            ngx_sio_count(memory_errors);
        }
    }

    op->collect = ngx_sio_query_collect;
    op->ctx = c;
}


void
ngx_sio_query_applied(ngx_sio_op_t *op)
{
    ngx_sio_collector_t  *c;

    if (op->type < SIO_OP_FETCH || op->ctx == NULL) {
        return;
    }

    c = op->ctx;
    c->applied = 1;
    c->mark = ngx_sio_handover_mover()->log_next;

    if (!ngx_sio_query_waits(c)) {
        ngx_sio_query_reply(c);
    }
}


/* the marks of takes are in the order of their queue */

static ngx_uint_t
ngx_sio_query_waits(ngx_sio_collector_t *c)
{
    ngx_queue_t      *link;
    ngx_sio_take_t   *t;
    ngx_sio_mover_t  *mv;

    mv = ngx_sio_handover_mover();

    if (mv->logging == 0) {
        return 0;
    }

    for (link = ngx_queue_head(&mv->takes);
         link != ngx_queue_sentinel(&mv->takes);
         link = ngx_queue_next(link))
    {
        t = ngx_queue_data(link, ngx_sio_take_t, queue);

        if (t->logging) {
            return t->mark <= c->mark;
        }
    }

    return 0;
}


void
ngx_sio_query_settled(void)
{
    ngx_queue_t          *link, *next;
    ngx_sio_collector_t  *c;

    for (link = ngx_queue_head(&ngx_sio_collectors);
         link != ngx_queue_sentinel(&ngx_sio_collectors);
         link = next)
    {
        next = ngx_queue_next(link);
        c = ngx_queue_data(link, ngx_sio_collector_t, queue);

        if (c->applied && !ngx_sio_query_waits(c)) {
            ngx_sio_query_reply(c);
        }
    }
}


static void
ngx_sio_query_collect(void *ctx, ngx_sio_socket_t *sk)
{
    ngx_sio_collector_t *c = ctx;

    if (c == NULL || c->failed) {
        return;
    }

    switch (c->type) {

    case SIO_OP_FETCH:
        ngx_sio_query_collect_socket(c, sk);
        return;

    case SIO_OP_ROOMS:
        ngx_sio_query_collect_rooms(c, sk);
        return;

    default: /* SIO_OP_COUNT, SIO_OP_ASK */
        c->count++;
        return;
    }
}


static void
ngx_sio_query_collect_socket(ngx_sio_collector_t *c, ngx_sio_socket_t *sk)
{
    sio_out_t  o;

    o.p = NULL;
    o.n = 0;

    ngx_sio_query_encode_socket(&o, sk);

    o.p = ngx_sio_query_grow(c, o.n);

    if (o.p) {
        o.n = 0;
        ngx_sio_query_encode_socket(&o, sk);
    }
}


static void
ngx_sio_query_encode_socket(sio_out_t *o, ngx_sio_socket_t *sk)
{
    sio_out_t              data;
    ngx_rbtree_node_t     *node;
    ngx_sio_membership_t  *m;

    sio_out_bytes(o, sk->id, NGX_SIO_ID_LEN);
    sio_out_u32(o, sk->rooms ? sk->rooms->n : 0);

    if (sk->rooms && sk->rooms->n) {

        for (node = ngx_rbtree_min(sk->rooms->tree.root,
                                   sk->rooms->tree.sentinel);
             node;
             node = ngx_rbtree_next(&sk->rooms->tree, node))
        {
            m = (ngx_sio_membership_t *) node;
            sio_out_string(o, ngx_sio_span(&m->room->sn.str));
        }
    }

    data.p = NULL;
    data.n = 0;
    ngx_sio_data_encode(&data, sk);

    sio_out_u32(o, data.n);
    ngx_sio_data_encode(o, sk);
}


static void
ngx_sio_query_collect_rooms(ngx_sio_collector_t *c, ngx_sio_socket_t *sk)
{
    ngx_str_t             *name;
    ngx_rbtree_node_t     *node;
    ngx_sio_membership_t  *m;
    ngx_sio_query_room_t  *room;

    if (sk->rooms == NULL || sk->rooms->n == 0) {
        return;
    }

    for (node = ngx_rbtree_min(sk->rooms->tree.root,
                               sk->rooms->tree.sentinel);
         node;
         node = ngx_rbtree_next(&sk->rooms->tree, node))
    {
        m = (ngx_sio_membership_t *) node;
        name = &m->room->sn.str;

        room = (ngx_sio_query_room_t *)
                   ngx_str_rbtree_lookup(&c->rooms, name,
                                         m->room->sn.node.key);

        if (room == NULL) {
            room = ngx_calloc(sizeof(ngx_sio_query_room_t) + name->len,
                              ngx_cycle->log);
            if (room == NULL) {
                ngx_sio_count(memory_errors);
                c->failed = 1;
                return;
            }

            room->sn.node.key = m->room->sn.node.key;
            room->sn.str.data = (u_char *) (room + 1);
            room->sn.str.len = name->len;
            ngx_memcpy(room->sn.str.data, name->data, name->len);

            ngx_rbtree_insert(&c->rooms, &room->sn.node);
        }

        room->sockets++;
    }
}


/* room for n bytes more; NULL beyond the largest frame */

static u_char *
ngx_sio_query_grow(ngx_sio_collector_t *c, size_t n)
{
    size_t   size;
    u_char  *p;

    if (c->len + n + NGX_SIO_QUERY_OVERHEAD > ngx_sio_frame_limit()) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sio: the answer to a question has more than %uz "
                      "bytes, limited by \"sio_bus_buffer\"", c->len);
        c->failed = 1;
        return NULL;
    }

    if (c->len + n > c->size) {
        size = ngx_max(2 * c->size, c->len + n);
        size = ngx_max(size, 4096);

        p = realloc(c->buf, size);

        if (p == NULL) {
            ngx_sio_count(memory_errors);
            c->failed = 1;
            return NULL;
        }

        c->buf = p;
        c->size = size;
    }

    p = c->buf + c->len;
    c->len += n;

    return p;
}


static void
ngx_sio_query_reply(ngx_sio_collector_t *c)
{
    sio_out_t              o;
    sio_span_t             name;
    ngx_sio_msg_t         *m;
    ngx_sio_query_t       *q;
    ngx_rbtree_node_t     *node;
    ngx_sio_query_room_t  *room;

    while (c->rooms.root != c->rooms.sentinel) {
        node = c->rooms.root;
        room = (ngx_sio_query_room_t *) node;
        name = ngx_sio_span(&room->sn.str);

        o.p = c->failed ? NULL : ngx_sio_query_grow(c, 4 + name.n + 8);
        o.n = 0;

        if (o.p) {
            sio_out_string(&o, name);
            sio_out_u64(&o, room->sockets);
        }

        ngx_rbtree_delete(&c->rooms, node);
        ngx_free(room);
    }

    if (c->type == SIO_OP_COUNT || c->type == SIO_OP_ASK) {
        o.p = ngx_sio_query_grow(c, 8);
        o.n = 0;

        if (o.p) {
            sio_out_u64(&o, c->count);
        }
    }

    if (c->asker == ngx_sio_bus_self()) {
        q = ngx_sio_query_find(c->id);

        if (q && c->failed) {
            ngx_sio_query_failed(q, c->asker);

        } else if (q) {
            ngx_sio_query_part(q, c->asker, (sio_span_t) { c->buf, c->len });
        }

        ngx_sio_query_free(c);
        return;
    }

    if (c->failed) {
        c->len = 0;
    }

    m = ngx_sio_frame(NGX_SIO_FRAME_REPLY, 8 + 1 + c->len, &o);

    if (m) {
        sio_out_u64(&o, c->id);
        sio_out_byte(&o, c->failed);
        sio_out_bytes(&o, c->buf, c->len);

        ngx_sio_bus_send(c->asker, m);
    }

    ngx_sio_query_free(c);
}


static void
ngx_sio_query_free(ngx_sio_collector_t *c)
{
    ngx_queue_remove(&c->queue);

    if (c->buf) {
        free(c->buf);
    }

    ngx_free(c);
}


sio_rc_t
ngx_sio_query_next_socket(sio_in_t *in, ngx_sio_query_socket_t *sk)
{
    uint32_t  i;

    if (in->n == 0) {
        return SIO_DONE;
    }

    sk->id = sio_in_bytes(in, NGX_SIO_ID_LEN);

    sk->nrooms = sio_in_u32(in);
    sk->rooms = *in;

    for (i = 0; i < sk->nrooms && !in->bad; i++) {
        (void) sio_in_string(in);
    }

    sk->data = sio_in_string(in);

    return in->bad ? SIO_EINVAL : SIO_OK;
}


sio_rc_t
ngx_sio_query_next_room(sio_in_t *in, sio_span_t *name, uint64_t *sockets)
{
    if (in->n == 0) {
        return SIO_DONE;
    }

    *name = sio_in_string(in);
    *sockets = sio_in_u64(in);

    return in->bad ? SIO_EINVAL : SIO_OK;
}
