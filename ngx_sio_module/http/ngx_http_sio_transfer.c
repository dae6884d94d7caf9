/*
 * A backlog moves with its socket, but for its call: that ends where it began,
 * and its response follows in a frame of its own.  It comes behind the state,
 * as they take the same way.
 */

#include "http/ngx_http_sio_transfer.h"
#include "http/ngx_http_sio_outcome.h"
#include "cluster/ngx_sio_handover.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_TRANSFER_POOL   1024
#define NGX_HTTP_SIO_TRANSFER_GRACE  5000    /* ms that a response may need */


static void ngx_http_sio_transfer_export_items(sio_out_t *o,
    ngx_queue_t *items);
static ngx_int_t ngx_http_sio_transfer_import_items(ngx_http_sio_backlog_t *b,
    ngx_queue_t *items, sio_in_t *in);
static ngx_int_t ngx_http_sio_transfer_response(ngx_sio_origin_t from,
    sio_in_t *in);
static void ngx_http_sio_transfer_gone(ngx_sio_origin_t origin);
static void ngx_http_sio_transfer_here(ngx_http_sio_backlog_t *b);


const ngx_sio_bus_backend_t  ngx_http_sio_transfer_bus = {
    ngx_http_sio_transfer_response,
    ngx_http_sio_transfer_gone
};


/* of a call whose worker died, or cannot pass on what came of it */

static ngx_http_sio_call_response_t  ngx_http_sio_transfer_gone_response = {
    NGX_HTTP_SIO_CALL_GONE, 0, { NULL, 0 }, ngx_null_string
};

/* backlogs whose call another worker has, by their id */

static ngx_rbtree_t        ngx_http_sio_transfer_waiting;
static ngx_rbtree_node_t   ngx_http_sio_transfer_sentinel;


void
ngx_http_sio_transfer_init(void)
{
    ngx_rbtree_init(&ngx_http_sio_transfer_waiting,
                    &ngx_http_sio_transfer_sentinel,
                    ngx_str_rbtree_insert_value);
}


/* sessions that move */

void
ngx_http_sio_transfer_export(ngx_sio_socket_t *sk, sio_out_t *o)
{
    ngx_http_sio_backlog_t  *b;

    b = sk->backlog;

    if (b == NULL) {
        sio_out_byte(o, 0);
        return;
    }

    sio_out_byte(o, 1);
    sio_out_u64(o, ngx_queue_empty(&b->flying) ? 0 : ngx_sio_bus_self());
    sio_out_u64(o, b->conf->handler_timeout);
    sio_out_byte(o, b->connected);

    ngx_http_sio_transfer_export_items(o, &b->flying);
    ngx_http_sio_transfer_export_items(o, &b->items);
}


static void
ngx_http_sio_transfer_export_items(sio_out_t *o, ngx_queue_t *items)
{
    uint32_t              n;
    ngx_queue_t          *q;
    ngx_http_sio_item_t  *item;

    n = 0;

    for (q = ngx_queue_head(items);
         q != ngx_queue_sentinel(items);
         q = ngx_queue_next(q))
    {
        n++;
    }

    sio_out_u32(o, n);

    for (q = ngx_queue_head(items);
         q != ngx_queue_sentinel(items);
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_http_sio_item_t, queue);

        sio_out_byte(o, item->type);
        sio_out_byte(o, item->has_ack | item->acked << 1);
        sio_out_u64(o, item->seq);
        sio_out_u64(o, item->ack);
        sio_out_string(o, ngx_sio_span(&item->handler->text));
        sio_out_string(o, item->name);
        sio_out_string(o, item->json);
    }
}


ngx_int_t
ngx_http_sio_transfer_import(ngx_sio_socket_t *sk, sio_in_t *in)
{
    uint8_t                  connected;
    uint64_t                 timeout;
    ngx_sio_origin_t         origin;
    ngx_http_sio_backlog_t  *b;

    if (sio_in_u8(in) == 0) {
        return in->bad ? NGX_ERROR : NGX_OK;
    }

    origin = sio_in_u64(in);
    timeout = sio_in_u64(in);
    connected = sio_in_u8(in);

    b = in->bad ? NULL : ngx_http_sio_backlog_get(sk);

    if (b == NULL
        || ngx_http_sio_transfer_import_items(b, &b->flying, in) != NGX_OK
        || ngx_http_sio_transfer_import_items(b, &b->items, in) != NGX_OK)
    {
        return NGX_ERROR;
    }

    b->connected = connected;

    if (origin && !ngx_queue_empty(&b->flying)) {
        b->state = NGX_HTTP_SIO_BACKLOG_ELSEWHERE;
        b->origin = origin;

        b->sn.str.data = b->id;
        b->sn.str.len = NGX_SIO_ID_LEN;
        b->sn.node.key = ngx_crc32_short(b->id, NGX_SIO_ID_LEN);

        ngx_rbtree_insert(&ngx_http_sio_transfer_waiting, &b->sn.node);

        /* it also keeps a worker that exits until all is told */

        ngx_add_timer(&b->next, timeout + NGX_HTTP_SIO_TRANSFER_GRACE);

    } else {
        ngx_post_event(&b->next, &ngx_posted_events);
    }

    ngx_http_sio_backlog_pause(b);

    return NGX_OK;
}


/* a handler that this configuration does not have is told nothing */

static ngx_int_t
ngx_http_sio_transfer_import_items(ngx_http_sio_backlog_t *b,
    ngx_queue_t *items, sio_in_t *in)
{
    uint8_t                  type, flags;
    uint32_t                 n;
    uint64_t                 seq, ack;
    sio_span_t               text, name, json;
    ngx_http_sio_item_t     *item;
    ngx_http_sio_handler_t  *handler;

    for (n = sio_in_u32(in); n > 0; n--) {
        type = sio_in_u8(in);
        flags = sio_in_u8(in);
        seq = sio_in_u64(in);
        ack = sio_in_u64(in);
        text = sio_in_string(in);
        name = sio_in_string(in);
        json = sio_in_string(in);

        if (in->bad || type >= NGX_HTTP_SIO_ITEM_N) {
            return NGX_ERROR;
        }

        handler = ngx_http_sio_backlog_handler(b->conf, text);

        if (handler == NULL) {
            ngx_sio_count(handler_lost);
            ngx_log_error(NGX_LOG_ERR, b->conf->core.log, 0,
                          "sio: event lost: the present configuration has no "
                          "handler \"%*s\", client: %V", text.n, text.p,
                          &b->addr);
            continue;
        }

        item = ngx_http_sio_backlog_item(handler, type, name.n, json.n);
        if (item == NULL) {
            return NGX_ERROR;
        }

        if (name.n) {
            ngx_memcpy(item->name.p, name.p, name.n);
        }

        if (json.n) {
            ngx_memcpy(item->json.p, json.p, json.n);
        }

        item->seq = seq;
        item->ack = ack;
        item->has_ack = flags & 1;
        item->acked = (flags >> 1) & 1;

        ngx_queue_insert_tail(items, &item->queue);
        b->size += item->size;
        ngx_sio_count(handler_queued);
    }

    return NGX_OK;
}


/* what is under way follows when it comes */

void
ngx_http_sio_transfer_drop(ngx_sio_socket_t *sk)
{
    sio_span_t               sid;
    ngx_http_sio_backlog_t  *b;

    b = sk->backlog;

    if (b == NULL) {
        return;
    }

    sid.p = sk->session->sid;
    sid.n = NGX_SIO_SID_LEN;

    sk->backlog = NULL;
    b->socket = NULL;
    b->paused = 0;

    ngx_http_sio_backlog_orphans += b->size;

    if (b->state == NGX_HTTP_SIO_BACKLOG_ELSEWHERE) {
        ngx_http_sio_transfer_here(b);
        ngx_http_sio_backlog_free(b);
        return;
    }

    b->moved = 1;
    b->origin = ngx_sio_handover_where(sid);

    if (b->state == NGX_HTTP_SIO_BACKLOG_CALLING) {
        ngx_http_sio_backlog_drop_items(b, &b->flying);
        ngx_http_sio_backlog_drop_items(b, &b->items);
        return;
    }

    if (b->state == NGX_HTTP_SIO_BACKLOG_APPLYING && b->origin) {
        ngx_http_sio_transfer_forward(b);
    }

    ngx_http_sio_backlog_free(b);
}


void
ngx_http_sio_transfer_forward(ngx_http_sio_backlog_t *b)
{
    size_t                         n;
    sio_out_t                      o;
    sio_span_t                     body;
    ngx_sio_msg_t                 *m;
    ngx_http_sio_call_result_e     result;
    ngx_http_sio_call_response_t  *response;

    response = b->response;
    result = response->result;
    body = response->body;

    n = NGX_SIO_ID_LEN + 1 + 2 + 4 + 4 + response->peer.len + 4;

    m = ngx_sio_frame(NGX_SIO_FRAME_RESPONSE, n + body.n, &o);

    if (m == NULL) {
        result = NGX_HTTP_SIO_CALL_UNFIT;
        body = sio_span_null;

        m = ngx_sio_frame(NGX_SIO_FRAME_RESPONSE, n, &o);

        if (m == NULL) {
            return;
        }
    }

    sio_out_bytes(&o, b->id, NGX_SIO_ID_LEN);
    sio_out_byte(&o, result);
    sio_out_u16(&o, response->status);
    sio_out_u32(&o, b->at);
    sio_out_string(&o, ngx_sio_span(&response->peer));
    sio_out_string(&o, body);

    ngx_sio_bus_send(b->origin, m);
}


static ngx_int_t
ngx_http_sio_transfer_response(ngx_sio_origin_t from, sio_in_t *in)
{
    uint8_t                        result;
    uint16_t                       status;
    uint32_t                       at;
    ngx_str_t                      id;
    sio_span_t                     peer, body;
    ngx_pool_t                    *pool;
    ngx_http_sio_backlog_t        *b;
    ngx_http_sio_call_response_t  *response;

    id = ngx_sio_str(sio_in_bytes(in, NGX_SIO_ID_LEN));
    result = sio_in_u8(in);
    status = sio_in_u16(in);
    at = sio_in_u32(in);
    peer = sio_in_string(in);
    body = sio_in_string(in);

    if (in->bad || result > NGX_HTTP_SIO_CALL_UNFIT) {
        return NGX_ERROR;
    }

    b = (ngx_http_sio_backlog_t *)
            ngx_str_rbtree_lookup(&ngx_http_sio_transfer_waiting, &id,
                                  ngx_crc32_short(id.data, id.len));

    if (b == NULL || b->origin != from) {
        return NGX_OK;
    }

    ngx_http_sio_transfer_here(b);

    pool = ngx_create_pool(NGX_HTTP_SIO_TRANSFER_POOL, b->conf->core.log);
    response = pool ? ngx_pcalloc(pool, sizeof(ngx_http_sio_call_response_t))
                    : NULL;

    if (response) {
        response->result = result;
        response->status = status;

        response->peer.len = peer.n;
        response->peer.data = ngx_pnalloc(pool, peer.n + body.n + 1);

        response->body.n = body.n;
        response->body.p = response->peer.data + peer.n;
    }

    if (response == NULL || response->peer.data == NULL) {
        ngx_sio_count(memory_errors);
        ngx_sio_count(handler_lost);

        if (pool) {
            ngx_destroy_pool(pool);
        }

        ngx_http_sio_outcome_finish(b);
        return NGX_OK;
    }

    ngx_memcpy(response->peer.data, peer.p, peer.n);
    ngx_memcpy(response->body.p, body.p, body.n);

    b->pool = pool;
    b->response = response;
    b->at = at;

    ngx_http_sio_outcome(b);

    return NGX_OK;
}


static void
ngx_http_sio_transfer_here(ngx_http_sio_backlog_t *b)
{
    ngx_rbtree_delete(&ngx_http_sio_transfer_waiting, &b->sn.node);

    if (b->next.timer_set) {
        ngx_del_timer(&b->next);
    }

    b->origin = 0;
    b->state = NGX_HTTP_SIO_BACKLOG_APPLYING;
}


/* the worker that had the call has not answered, and will not */

static void
ngx_http_sio_transfer_gone(ngx_sio_origin_t origin)
{
    ngx_rbtree_t            *tree;
    ngx_rbtree_node_t       *node, *next;
    ngx_http_sio_backlog_t  *b;

    tree = &ngx_http_sio_transfer_waiting;

    if (tree->root == tree->sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(tree->root, tree->sentinel);
         node;
         node = next)
    {
        next = ngx_rbtree_next(tree, node);
        b = (ngx_http_sio_backlog_t *) node;

        if (b->origin == origin) {
            ngx_http_sio_transfer_expire(b);
        }
    }
}


void
ngx_http_sio_transfer_expire(ngx_http_sio_backlog_t *b)
{
    ngx_http_sio_transfer_here(b);

    b->response = &ngx_http_sio_transfer_gone_response;
    ngx_http_sio_outcome(b);
}
