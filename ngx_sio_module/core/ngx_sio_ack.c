/*
 * What is awaited hangs in two containers: a queue of the emit's, which goes
 * as a whole at its timeout, and a list of the socket's, which is short: an
 * acknowledgement is looked up there, so that it can only be the socket's
 * own.
 */

#include "core/ngx_sio_ack.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_MAX_ACKS  1000              /* awaited of one socket */


static ngx_int_t ngx_sio_ack_add(ngx_sio_socket_t *sk, uint64_t id,
    ngx_sio_origin_t asker, sio_span_t token, sio_span_t handler,
    ngx_msec_t timeout);
static ngx_sio_awaited_t *ngx_sio_ack_find(uint64_t id,
    ngx_sio_origin_t asker);
static ngx_sio_awaited_t *ngx_sio_ack_create(uint64_t id,
    ngx_sio_origin_t asker, sio_span_t token, sio_span_t handler,
    ngx_msec_t timeout);
static void ngx_sio_ack_remove(ngx_sio_ack_t *ack);
static void ngx_sio_ack_timeout(ngx_event_t *ev);
static void ngx_sio_ack_free(ngx_sio_awaited_t *awaited);


void  (*ngx_sio_ack_handler)(ngx_sio_socket_t *sk, ngx_sio_awaited_t *awaited,
    ngx_sio_event_t *ev);

static ngx_rbtree_t        ngx_sio_awaited;
static ngx_rbtree_node_t   ngx_sio_awaited_sentinel;


void
ngx_sio_ack_init(void)
{
    ngx_rbtree_init(&ngx_sio_awaited, &ngx_sio_awaited_sentinel,
                    ngx_rbtree_insert_value);
}


void
ngx_sio_ack_done(void)
{
    while (ngx_sio_awaited.root != ngx_sio_awaited.sentinel) {
        ngx_sio_ack_free(ngx_rbtree_data(ngx_sio_awaited.root,
                                         ngx_sio_awaited_t, node));
    }
}


void
ngx_sio_ack_expect(ngx_sio_socket_t *sk, ngx_sio_op_t *op)
{
    ngx_uint_t  told;

    told = (op->nnames == 2);

    (void) ngx_sio_ack_add(sk, op->id, op->origin,
                           told ? op->names[0] : sio_span_null,
                           told ? op->names[1] : sio_span_null, op->timeout);
}


static ngx_int_t
ngx_sio_ack_add(ngx_sio_socket_t *sk, uint64_t id, ngx_sio_origin_t asker,
    sio_span_t token, sio_span_t handler, ngx_msec_t timeout)
{
    ngx_sio_ack_t      *ack;
    ngx_sio_awaited_t  *awaited;

    if (sk->nacks >= NGX_SIO_MAX_ACKS) {
        ngx_sio_count(limit_acks);

        if (!sk->session->warned_acks) {
            sk->session->warned_acks = 1;
            ngx_sio_session_log(NGX_LOG_WARN, sk->session,
                                "the client has not acknowledged %ui events: "
                                "no more acknowledgements are awaited of it",
                                (ngx_uint_t) sk->nacks);
        }

        return NGX_OK;
    }

    ack = ngx_alloc(sizeof(ngx_sio_ack_t), ngx_cycle->log);

    if (ack == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_ERROR;
    }

    awaited = ngx_sio_ack_find(id, asker);

    if (awaited == NULL) {
        awaited = ngx_sio_ack_create(id, asker, token, handler, timeout);

        if (awaited == NULL) {
            ngx_free(ack);
            return NGX_ERROR;
        }
    }

    ack->socket = sk;
    ack->awaited = awaited;
    ngx_queue_insert_tail(&awaited->acks, &ack->queue);

    ack->next = sk->acks;
    sk->acks = ack;
    sk->nacks++;

    return NGX_OK;
}


static ngx_sio_awaited_t *
ngx_sio_ack_find(uint64_t id, ngx_sio_origin_t asker)
{
    ngx_rbtree_node_t  *node;
    ngx_sio_awaited_t  *awaited;

    node = ngx_sio_awaited.root;

    while (node != ngx_sio_awaited.sentinel) {

        if ((ngx_rbtree_key_t) id != node->key) {
            node = ((ngx_rbtree_key_t) id < node->key) ? node->left
                                                       : node->right;
            continue;
        }

        awaited = ngx_rbtree_data(node, ngx_sio_awaited_t, node);

        if (awaited->asker == asker) {
            return awaited;
        }

        node = node->right;
    }

    return NULL;
}


static ngx_sio_awaited_t *
ngx_sio_ack_create(uint64_t id, ngx_sio_origin_t asker, sio_span_t token,
    sio_span_t handler, ngx_msec_t timeout)
{
    u_char             *p;
    ngx_sio_awaited_t  *awaited;

    awaited = ngx_calloc(sizeof(ngx_sio_awaited_t) + token.n + handler.n,
                         ngx_cycle->log);
    if (awaited == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    p = (u_char *) (awaited + 1);

    awaited->token.data = p;
    awaited->token.len = token.n;

    if (token.n) {
        p = ngx_cpymem(p, token.p, token.n);
    }

    awaited->handler.data = p;
    awaited->handler.len = handler.n;

    if (handler.n) {
        ngx_memcpy(p, handler.p, handler.n);
    }

    awaited->id = id;
    awaited->asker = asker;
    awaited->node.key = (ngx_rbtree_key_t) id;

    ngx_queue_init(&awaited->acks);
    ngx_rbtree_insert(&ngx_sio_awaited, &awaited->node);

    awaited->timer.handler = ngx_sio_ack_timeout;
    awaited->timer.data = awaited;
    awaited->timer.log = ngx_cycle->log;
    awaited->timer.cancelable = 1;

    ngx_add_timer(&awaited->timer, timeout);

    return awaited;
}


void
ngx_sio_ack_receive(ngx_sio_socket_t *sk, uint64_t id, ngx_sio_event_t *ev)
{
    ngx_sio_ack_t      *ack;
    ngx_sio_awaited_t  *awaited;

    for (ack = sk->acks; ack; ack = ack->next) {
        if (ack->awaited->id == id) {
            break;
        }
    }

    if (ack == NULL) {
        ngx_sio_count(acks_unknown);
        return;
    }

    ngx_sio_count(acks_received);

    awaited = ack->awaited;

    ngx_sio_ack_handler(sk, awaited, ev);

    ngx_sio_ack_remove(ack);

    if (ngx_queue_empty(&awaited->acks)) {
        ngx_sio_ack_free(awaited);
    }
}


void
ngx_sio_ack_forget(ngx_sio_socket_t *sk)
{
    ngx_sio_ack_t      *ack;
    ngx_sio_awaited_t  *awaited;

    while (sk->acks) {
        ack = sk->acks;
        awaited = ack->awaited;

        ngx_sio_ack_remove(ack);

        if (ngx_queue_empty(&awaited->acks)) {
            ngx_sio_ack_free(awaited);
        }
    }
}


static void
ngx_sio_ack_remove(ngx_sio_ack_t *ack)
{
    ngx_sio_ack_t     **last;
    ngx_sio_socket_t   *sk;

    sk = ack->socket;

    for (last = &sk->acks; *last != ack; last = &(*last)->next) {
        /* void */
    }

    *last = ack->next;
    sk->nacks--;

    ngx_queue_remove(&ack->queue);
    ngx_free(ack);
}


static void
ngx_sio_ack_timeout(ngx_event_t *ev)
{
    ngx_sio_ack_free(ev->data);
}


static void
ngx_sio_ack_free(ngx_sio_awaited_t *awaited)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&awaited->acks)) {
        q = ngx_queue_head(&awaited->acks);
        ngx_sio_ack_remove(ngx_queue_data(q, ngx_sio_ack_t, queue));
    }

    if (awaited->timer.timer_set) {
        ngx_del_timer(&awaited->timer);
    }

    ngx_rbtree_delete(&ngx_sio_awaited, &awaited->node);
    ngx_free(awaited);
}


void
ngx_sio_ack_export(ngx_sio_socket_t *sk, sio_out_t *o)
{
    ngx_msec_int_t   left;
    ngx_sio_ack_t   *ack;

    sio_out_u32(o, sk->nacks);

    for (ack = sk->acks; ack; ack = ack->next) {
        left = ack->awaited->timer.timer.key - ngx_current_msec;

        sio_out_u64(o, ack->awaited->id);
        sio_out_u64(o, ack->awaited->asker);
        sio_out_u64(o, ngx_max(left, 0));
        sio_out_string(o, ngx_sio_span(&ack->awaited->token));
        sio_out_string(o, ngx_sio_span(&ack->awaited->handler));
    }
}


ngx_int_t
ngx_sio_ack_import(ngx_sio_socket_t *sk, sio_in_t *in)
{
    uint32_t          n;
    uint64_t          id, left;
    sio_span_t        token, handler;
    ngx_sio_origin_t  asker;

    for (n = sio_in_u32(in); n > 0; n--) {
        id = sio_in_u64(in);
        asker = sio_in_u64(in);
        left = sio_in_u64(in);
        token = sio_in_string(in);
        handler = sio_in_string(in);

        if (in->bad
            || ngx_sio_ack_add(sk, id, asker, token, handler,
                               (ngx_msec_t) left) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
