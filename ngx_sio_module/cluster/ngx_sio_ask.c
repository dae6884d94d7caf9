/*
 * An emit that asks is a question too: each worker answers to how many of its
 * sockets it went.  When all of these have acknowledged, nobody is waited for
 * any more.
 */

#include "cluster/ngx_sio_ask.h"
#include "core/ngx_sio_op_json.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_ASK_SLACK  200    /* ms: what comes late from other workers */


static void ngx_sio_ask_counted(ngx_sio_query_t *q);
static ngx_sio_ask_t *ngx_sio_ask_find(uint64_t id);
static void ngx_sio_ask_receive(ngx_sio_ask_t *ask, sio_span_t id,
    sio_span_t args);
static void ngx_sio_ask_check(ngx_sio_ask_t *ask);
static void ngx_sio_ask_timeout(ngx_event_t *ev);
static void ngx_sio_ask_finish(ngx_event_t *ev);
static void ngx_sio_ask_destroy(ngx_sio_ask_t *ask);


static ngx_rbtree_t        ngx_sio_asks;
static ngx_rbtree_node_t   ngx_sio_asks_sentinel;


void
ngx_sio_ask_init(void)
{
    ngx_rbtree_init(&ngx_sio_asks, &ngx_sio_asks_sentinel,
                    ngx_rbtree_insert_value);
}


void
ngx_sio_ask_done(void)
{
    while (ngx_sio_asks.root != ngx_sio_asks.sentinel) {
        ngx_sio_ask_destroy(ngx_rbtree_data(ngx_sio_asks.root, ngx_sio_ask_t,
                                            node));
    }
}


ngx_sio_ask_t *
ngx_sio_ask(ngx_sio_op_t *op, void (*handler)(ngx_sio_ask_t *ask),
    void *data)
{
    ngx_int_t       n;
    ngx_sio_ask_t  *ask;

    ask = ngx_calloc(sizeof(ngx_sio_ask_t), ngx_cycle->log);
    if (ask == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    ask->handler = handler;
    ask->data = data;
    ask->last = &ask->answers;

    ask->timer.handler = ngx_sio_ask_timeout;
    ask->timer.data = ask;
    ask->timer.log = ngx_cycle->log;

    /* a handler need not be told who is missing by a worker that has gone */

    ask->timer.cancelable = (op->nnames != 0);

    ask->done.handler = ngx_sio_ask_finish;
    ask->done.data = ask;
    ask->done.log = ngx_cycle->log;

    if (op->target == SIO_TO_SENDER) {
        ask->id = ngx_sio_query_new_id();

        op->id = ask->id;
        op->origin = ngx_sio_bus_self();

        n = ngx_sio_bus_publish(op);
        ask->expected = ngx_max(n, 0);

    } else {
        ask->query = ngx_sio_query_ask(op, NGX_SIO_QUERY_TIMEOUT,
                                       ngx_sio_ask_counted, ask);
        if (ask->query == NULL) {
            ngx_free(ask);
            return NULL;
        }

        ask->id = op->id;
    }

    ngx_sio_count(acks_asked);

    ask->node.key = (ngx_rbtree_key_t) ask->id;
    ngx_rbtree_insert(&ngx_sio_asks, &ask->node);

    ngx_add_timer(&ask->timer, op->timeout + (ask->query ? NGX_SIO_ASK_SLACK
                                                         : 0));
    ngx_sio_ask_check(ask);

    return ask;
}


static void
ngx_sio_ask_counted(ngx_sio_query_t *q)
{
    sio_in_t               in;
    ngx_sio_ask_t         *ask;
    ngx_sio_query_part_t  *part;

    ask = q->data;
    ask->query = NULL;
    ask->partial = (q->nmissing != 0);

    for (part = q->parts; part; part = part->next) {
        in = sio_in(part->body);
        ask->expected += sio_in_u64(&in);
    }

    ngx_sio_ask_check(ask);
}


void
ngx_sio_ask_tell(ngx_sio_socket_t *sk, ngx_sio_awaited_t *awaited,
    ngx_sio_event_t *ev)
{
    sio_out_t        o;
    ngx_str_t        args;
    sio_span_t       id;
    ngx_sio_ask_t   *ask;
    ngx_sio_msg_t   *m;

    id.p = sk->id;
    id.n = NGX_SIO_ID_LEN;

    ngx_str_null(&args);

    if (awaited->handler.len == 0) {
        o.p = NULL;
        o.n = 0;

        if (ngx_sio_op_json_inline(&o, ev->json, 0, ev->attachments, ev->n)
            != NGX_OK)
        {
            return;
        }

        args.data = ngx_alloc(o.n, ngx_cycle->log);
        if (args.data == NULL) {
            ngx_sio_count(memory_errors);
            return;
        }

        args.len = o.n;
        o.p = args.data;
        (void) ngx_sio_op_json_inline(&o, ev->json, 0, ev->attachments, ev->n);
    }

    if (awaited->asker == ngx_sio_bus_self()) {
        ask = ngx_sio_ask_find(awaited->id);

        if (ask) {
            ngx_sio_ask_receive(ask, id, ngx_sio_span(&args));
        }

    } else {
        m = ngx_sio_frame(NGX_SIO_FRAME_ACKED,
                          8 + NGX_SIO_ID_LEN + 4 + args.len, &o);
        if (m) {
            sio_out_u64(&o, awaited->id);
            sio_out_span(&o, id);
            sio_out_string(&o, ngx_sio_span(&args));

            ngx_sio_bus_send(awaited->asker, m);
        }
    }

    if (args.data) {
        ngx_free(args.data);
    }
}


ngx_int_t
ngx_sio_ask_handle(sio_in_t *in)
{
    uint64_t        id;
    sio_span_t      socket, args;
    ngx_sio_ask_t  *ask;

    id = sio_in_u64(in);
    socket = sio_in_bytes(in, NGX_SIO_ID_LEN);
    args = sio_in_string(in);

    if (in->bad) {
        return NGX_ERROR;
    }

    ask = ngx_sio_ask_find(id);

    if (ask) {
        ngx_sio_ask_receive(ask, socket, args);
    }

    return NGX_OK;
}


static ngx_sio_ask_t *
ngx_sio_ask_find(uint64_t id)
{
    ngx_rbtree_node_t  *node;

    node = ngx_sio_asks.root;

    while (node != ngx_sio_asks.sentinel) {

        if ((ngx_rbtree_key_t) id == node->key) {
            return ngx_rbtree_data(node, ngx_sio_ask_t, node);
        }

        node = ((ngx_rbtree_key_t) id < node->key) ? node->left : node->right;
    }

    return NULL;
}


/* what does not fit counts as missing */

static void
ngx_sio_ask_receive(ngx_sio_ask_t *ask, sio_span_t id, sio_span_t args)
{
    ngx_sio_ask_answer_t  *answer;

    if (args.n) {

        if (ask->size + args.n > ngx_sio_frame_limit()) {
            return;
        }

        answer = ngx_alloc(sizeof(ngx_sio_ask_answer_t) + id.n + args.n,
                           ngx_cycle->log);
        if (answer == NULL) {
            ngx_sio_count(memory_errors);
            return;
        }

        answer->next = NULL;
        answer->id.p = (u_char *) (answer + 1);
        answer->id.n = id.n;
        answer->args.p = ngx_cpymem(answer->id.p, id.p, id.n);
        answer->args.n = args.n;
        ngx_memcpy(answer->args.p, args.p, args.n);

        *ask->last = answer;
        ask->last = &answer->next;
        ask->size += sizeof(ngx_sio_ask_answer_t) + id.n + args.n;
    }

    ask->received++;

    ngx_sio_ask_check(ask);
}


static void
ngx_sio_ask_check(ngx_sio_ask_t *ask)
{
    if (ask->query == NULL && !ask->done.posted
        && (ask->received >= ask->expected || !ask->timer.timer_set))
    {
        ngx_post_event(&ask->done, &ngx_posted_events);
    }
}


/* a worker that has not even said how many it has is waited for */

static void
ngx_sio_ask_timeout(ngx_event_t *ev)
{
    ngx_sio_ask_check(ev->data);
}


static void
ngx_sio_ask_finish(ngx_event_t *ev)
{
    ngx_sio_ask_t  *ask;

    ask = ev->data;

    if (ask->expected > ask->received) {
        ngx_sio_add(acks_missing, ask->expected - ask->received);
    }

    ask->handler(ask);

    ngx_sio_ask_destroy(ask);
}


void
ngx_sio_ask_cancel(ngx_sio_ask_t *ask)
{
    ngx_sio_ask_destroy(ask);
}


static void
ngx_sio_ask_destroy(ngx_sio_ask_t *ask)
{
    ngx_sio_ask_answer_t  *answer;

    if (ask->query) {
        ngx_sio_query_cancel(ask->query);
    }

    if (ask->timer.timer_set) {
        ngx_del_timer(&ask->timer);
    }

    if (ask->done.posted) {
        ngx_delete_posted_event(&ask->done);
    }

    while (ask->answers) {
        answer = ask->answers;
        ask->answers = answer->next;
        ngx_free(answer);
    }

    ngx_rbtree_delete(&ngx_sio_asks, &ask->node);
    ngx_free(ask);
}
