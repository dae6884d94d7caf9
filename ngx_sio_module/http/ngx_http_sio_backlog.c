/*
 * A socket for which there is something to be told has a backlog: a queue of
 * items, of which one (or a batch) is under way.  It exists while it has
 * items, also when the socket has left.
 *
 *   idle -> waiting -> calling -> applying -> idle
 *
 * It waits for its turn among those of the location (sio_handler_inflight),
 * or for a server that can be reached.  If the session moves to another
 * worker, the call stays and its response follows: there the backlog is
 * elsewhere until it comes.
 *
 *   idle, waiting, calling, applying  -  export, import  ->  elsewhere, idle
 */

#include "http/ngx_http_sio_backlog.h"
#include "core/ngx_sio_data.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_room.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_BACKLOG_DELAY      50       /* ms, doubled up to */
#define NGX_HTTP_SIO_BACKLOG_MAX_DELAY  1000
#define NGX_HTTP_SIO_BACKLOG_ORPHANS    (16 * 1024 * 1024)
#define NGX_HTTP_SIO_BACKLOG_EVENT      1024     /* of a batch, besides */


static void ngx_http_sio_backlog_next(ngx_event_t *ev);
static void ngx_http_sio_backlog_start(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_expire(ngx_http_sio_backlog_t *b,
    ngx_http_sio_handler_t *h);
static void ngx_http_sio_backlog_encode(sio_out_t *o,
    ngx_http_sio_backlog_t *b, ngx_http_sio_call_vars_t *vars);
static void ngx_http_sio_backlog_encode_item(sio_out_t *o,
    ngx_http_sio_backlog_t *b, ngx_http_sio_item_t *item,
    ngx_http_sio_call_vars_t *vars);
static void ngx_http_sio_backlog_encode_rooms(sio_out_t *o,
    ngx_sio_socket_t *sk);


const ngx_http_sio_backlog_user_t  *ngx_http_sio_backlog_user;

ngx_http_sio_call_response_t  ngx_http_sio_backlog_no_response = {
    NGX_HTTP_SIO_CALL_FAILED, 0, { NULL, 0 }, ngx_null_string
};

size_t  ngx_http_sio_backlog_orphans;

static ngx_str_t  ngx_http_sio_item_names[NGX_HTTP_SIO_ITEM_N] = {
    ngx_string("connect"),
    ngx_string("event"),
    ngx_string("ack"),
    ngx_string("ack"),
    ngx_string("disconnect")
};


/* backlogs */

ngx_http_sio_backlog_t *
ngx_http_sio_backlog_get(ngx_sio_socket_t *sk)
{
    ngx_http_sio_backlog_t  *b;

    if (sk->backlog) {
        return sk->backlog;
    }

    /* the location's configuration begins with that of its sessions */

    b = ngx_http_sio_backlog_create((ngx_http_sio_loc_conf_t *)
                                        sk->session->conf,
                                    &sk->nsp->sn.str, &sk->session->addr);
    if (b == NULL) {
        return NULL;
    }

    b->socket = sk;
    b->has_id = 1;
    ngx_memcpy(b->id, sk->id, NGX_SIO_ID_LEN);

    sk->backlog = b;

    return b;
}


ngx_http_sio_backlog_t *
ngx_http_sio_backlog_create(ngx_http_sio_loc_conf_t *conf, ngx_str_t *nsp,
    ngx_str_t *addr)
{
    u_char                  *p;
    ngx_http_sio_backlog_t  *b;

    b = ngx_alloc(sizeof(ngx_http_sio_backlog_t) + nsp->len + addr->len,
                  conf->core.log);
    if (b == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    ngx_memzero(b, sizeof(ngx_http_sio_backlog_t));

    b->conf = conf;

    p = (u_char *) (b + 1);

    b->nsp.data = p;
    b->nsp.len = nsp->len;
    p = ngx_cpymem(p, nsp->data, nsp->len);

    b->addr.data = p;
    b->addr.len = addr->len;
    ngx_memcpy(p, addr->data, addr->len);

    ngx_queue_init(&b->items);
    ngx_queue_init(&b->flying);

    b->next.handler = ngx_http_sio_backlog_next;
    b->next.data = b;
    b->next.log = conf->core.log;

    return b;
}


/* an item with room for its texts */

ngx_http_sio_item_t *
ngx_http_sio_backlog_item(ngx_http_sio_handler_t *handler,
    ngx_http_sio_item_type_e type, size_t name, size_t json)
{
    size_t                size;
    ngx_http_sio_item_t  *item;

    size = sizeof(ngx_http_sio_item_t) + name + json;

    item = ngx_alloc(size, ngx_cycle->log);
    if (item == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    ngx_memzero(item, sizeof(ngx_http_sio_item_t));

    item->type = type;
    item->handler = handler;
    item->size = size;
    item->since = ngx_current_msec;

    item->name.p = (u_char *) (item + 1);
    item->name.n = name;
    item->json.p = item->name.p + name;
    item->json.n = json;

    return item;
}


void
ngx_http_sio_backlog_push(ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item)
{
    ngx_queue_insert_tail(&b->items, &item->queue);
    b->size += item->size;

    ngx_sio_count(handler_queued);

    ngx_http_sio_backlog_pause(b);
    ngx_http_sio_backlog_post(b);
}


/*
 * All that came is read before anything of it is started: one piece of code
 * after the other stays in the processor's caches, rather than all of it.
 * Those that a busy turn has put off are not overtaken.
 */

void
ngx_http_sio_backlog_post(ngx_http_sio_backlog_t *b)
{
    if (b->state != NGX_HTTP_SIO_BACKLOG_IDLE || b->next.posted) {
        return;
    }

    if (ngx_sio_session_busy()) {
        ngx_post_event(&b->next, &ngx_posted_next_events);

    } else {
        ngx_post_event(&b->next, &ngx_posted_events);
    }
}


/* an idle backlog goes on, or goes */

void
ngx_http_sio_backlog_run(ngx_http_sio_backlog_t *b)
{
    ngx_sio_socket_t        *sk;
    ngx_http_sio_item_t     *item;
    ngx_http_sio_handler_t  *h;

    if (b->state != NGX_HTTP_SIO_BACKLOG_IDLE || b->next.posted) {
        return;
    }

    if (ngx_queue_empty(&b->items)) {
        sk = b->socket;

        ngx_http_sio_backlog_free(b);

        /* it moved to where nobody can decide on it */

        if (sk && sk->held) {
            ngx_sio_socket_refuse(sk, sio_span(NGX_HTTP_SIO_SERVER_ERROR));
        }

        return;
    }

    item = ngx_queue_data(ngx_queue_head(&b->items), ngx_http_sio_item_t,
                          queue);
    h = item->handler;

    /* a client that connects does not wait for what cannot be reached */

    if (h->down && item->type != NGX_HTTP_SIO_ITEM_CONNECT) {

        if (h->probing || !ngx_queue_empty(&h->waiting)) {

            ngx_http_sio_backlog_down(h);
            ngx_http_sio_backlog_wait(b, &h->waiting);
            return;
        }

        b->probe = 1;
        h->probing = 1;

    } else if (b->conf->handler_running >= b->conf->handler_inflight) {
        ngx_http_sio_backlog_wait(b, &b->conf->handler_waiting);
        return;

    } else if (ngx_sio_session_busy()) {
        ngx_post_event(&b->next, &ngx_posted_next_events);
        return;
    }

    ngx_http_sio_backlog_start(b);
}


void
ngx_http_sio_backlog_wait(ngx_http_sio_backlog_t *b, ngx_queue_t *queue)
{
    b->state = NGX_HTTP_SIO_BACKLOG_WAITING;
    ngx_queue_insert_tail(queue, &b->link);
}


static void
ngx_http_sio_backlog_next(ngx_event_t *ev)
{
    ngx_http_sio_backlog_t  *b;

    b = ev->data;

    if (b->state == NGX_HTTP_SIO_BACKLOG_APPLYING
        || b->state == NGX_HTTP_SIO_BACKLOG_ELSEWHERE)
    {
        ngx_http_sio_backlog_user->resume(b);

    } else {
        ngx_http_sio_backlog_run(b);
    }
}


static void
ngx_http_sio_backlog_start(ngx_http_sio_backlog_t *b)
{
    size_t                        size;
    sio_out_t                     o;
    ngx_uint_t                    n;
    ngx_queue_t                  *q;
    ngx_http_sio_call_t          *call;
    ngx_http_sio_item_t          *item, *first;
    ngx_http_sio_call_request_t  *request;

    first = NULL;
    size = 0;

    for (n = 0; n < b->conf->handler_batch && !ngx_queue_empty(&b->items);
         n++)
    {
        q = ngx_queue_head(&b->items);
        item = ngx_queue_data(q, ngx_http_sio_item_t, queue);

        /* each has the rooms and the data, too */

        size += item->size + NGX_HTTP_SIO_BACKLOG_EVENT;

        if (first && (item->type != NGX_HTTP_SIO_ITEM_EVENT
                      || item->handler != first->handler
                      || size > b->conf->handler_queue))
        {
            break;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&b->flying, q);

        if (first == NULL) {
            first = item;

            if (first->type != NGX_HTTP_SIO_ITEM_EVENT) {
                break;
            }
        }
    }

    b->handler = first->handler;
    b->state = NGX_HTTP_SIO_BACKLOG_CALLING;
    b->conf->handler_running++;

    ngx_sio_count(handler_running);
    ngx_sio_count(handler_requests);

    o.p = NULL;
    o.n = 0;

    ngx_http_sio_backlog_encode(&o, b, NULL);

    call = ngx_http_sio_call_create(o.n);

    if (call == NULL) {
        b->conf->handler_running--;
        ngx_sio_uncount(handler_running);

        if (b->probe) {
            b->probe = 0;
            b->handler->probing = 0;
        }

        b->response = &ngx_http_sio_backlog_no_response;
        b->state = NGX_HTTP_SIO_BACKLOG_APPLYING;

        ngx_post_event(&b->next, &ngx_posted_events);
        return;
    }

    b->call = call;

    request = ngx_http_sio_call_request(call);

    request->handler = b->handler;
    request->conf = b->conf;
    request->addr = b->addr;
    request->done = ngx_http_sio_backlog_user->done;
    request->data = b;

    o.p = request->body.p;
    o.n = 0;

    ngx_http_sio_backlog_encode(&o, b, &request->vars);

    ngx_http_sio_call_start(call);
}


/* a place is free for those that wait */

void
ngx_http_sio_backlog_release(ngx_http_sio_loc_conf_t *conf)
{
    ngx_queue_t             *q;
    ngx_http_sio_backlog_t  *b;

    while (conf->handler_running < conf->handler_inflight
           && !ngx_queue_empty(&conf->handler_waiting))
    {
        q = ngx_queue_head(&conf->handler_waiting);
        ngx_queue_remove(q);

        b = ngx_queue_data(q, ngx_http_sio_backlog_t, link);
        b->state = NGX_HTTP_SIO_BACKLOG_IDLE;

        ngx_http_sio_backlog_run(b);
    }
}


ngx_uint_t
ngx_http_sio_backlog_due(ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item)
{
    ngx_msec_t  since;

    since = item->since;

    if (!item->tried
        && (ngx_msec_int_t) (item->handler->since - since) > 0)
    {
        since = item->handler->since;
    }

    return ngx_current_msec - since >= b->conf->handler_retry;
}


/* one that waits for a server gives up what has waited for too long */

static void
ngx_http_sio_backlog_expire(ngx_http_sio_backlog_t *b,
    ngx_http_sio_handler_t *h)
{
    ngx_queue_t          *q, first;
    ngx_http_sio_item_t  *item;

    while (!ngx_queue_empty(&b->items)) {
        q = ngx_queue_head(&b->items);
        item = ngx_queue_data(q, ngx_http_sio_item_t, queue);

        if (item->handler == h && !ngx_http_sio_backlog_due(b, item)) {
            ngx_http_sio_backlog_pause(b);
            return;
        }

        if (item->handler != h) {
            break;
        }

        ngx_http_sio_backlog_lost(b);

        ngx_queue_remove(q);
        ngx_queue_init(&first);
        ngx_queue_insert_tail(&first, q);
        ngx_http_sio_backlog_drop_items(b, &first);
    }

    /* nothing of it waits for this handler any more */

    ngx_queue_remove(&b->link);
    b->state = NGX_HTTP_SIO_BACKLOG_IDLE;

    ngx_http_sio_backlog_pause(b);
    ngx_post_event(&b->next, &ngx_posted_events);
}


void
ngx_http_sio_backlog_lost(ngx_http_sio_backlog_t *b)
{
    ngx_sio_count(handler_lost);
    ngx_http_sio_backlog_log(NGX_LOG_ERR, b,
                             b->response ? &b->response->peer : NULL,
                             "event lost: no server could be reached for %M "
                             "ms, limited by \"sio_handler_retry\"",
                             b->conf->handler_retry);
}


void
ngx_http_sio_backlog_give_up(ngx_http_sio_backlog_t *b)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&b->items);
         q != ngx_queue_sentinel(&b->items);
         q = ngx_queue_next(q))
    {
        ngx_sio_count(handler_lost);
    }

    ngx_http_sio_backlog_drop_items(b, &b->items);

    if (b->state == NGX_HTTP_SIO_BACKLOG_WAITING) {
        ngx_queue_remove(&b->link);
        b->state = NGX_HTTP_SIO_BACKLOG_IDLE;
    }
}


/* the socket leaves: what it was is kept for what is still to be told */

void
ngx_http_sio_backlog_detach(ngx_http_sio_backlog_t *b)
{
    sio_out_t          o;
    ngx_sio_socket_t  *sk;

    sk = b->socket;

    if (!ngx_queue_empty(&b->items) || !ngx_queue_empty(&b->flying)) {
        o.p = NULL;
        o.n = 0;

        ngx_http_sio_backlog_encode_rooms(&o, sk);
        b->nrooms = o.n;
        ngx_sio_data_encode(&o, sk);
        b->ndata = o.n - b->nrooms;

        o.p = ngx_alloc(o.n, b->conf->core.log);
        b->rooms = o.p;

        if (o.p) {
            ngx_http_sio_backlog_encode_rooms(&o, sk);
            ngx_sio_data_encode(&o, sk);
            b->size += b->nrooms + b->ndata;

        } else {
            ngx_sio_count(memory_errors);
        }
    }

    if (b->paused) {
        b->paused = 0;
        ngx_sio_session_resume(sk->session);
    }

    sk->backlog = NULL;
    b->socket = NULL;

    ngx_http_sio_backlog_orphans += b->size;

    if (ngx_http_sio_backlog_orphans > NGX_HTTP_SIO_BACKLOG_ORPHANS
        && !ngx_queue_empty(&b->items))
    {
        ngx_http_sio_backlog_log(NGX_LOG_ERR, b, NULL,
                                 "events of a client that has left are lost: "
                                 "%uz bytes wait for handlers, as much as is "
                                 "kept", ngx_http_sio_backlog_orphans);

        ngx_http_sio_backlog_give_up(b);
    }
}


/* the client is read from no more while too much of it waits */

void
ngx_http_sio_backlog_pause(ngx_http_sio_backlog_t *b)
{
    if (b->socket == NULL || b->socket->held) {
        return;
    }

    if (!b->paused && b->size > b->conf->handler_queue) {
        b->paused = 1;
        ngx_sio_count(limit_handler_queue);
        ngx_sio_session_pause(b->socket->session);

    } else if (b->paused && b->size <= b->conf->handler_queue / 2) {
        b->paused = 0;
        ngx_sio_session_resume(b->socket->session);
    }
}


void
ngx_http_sio_backlog_drop_items(ngx_http_sio_backlog_t *b,
    ngx_queue_t *items)
{
    ngx_queue_t          *q;
    ngx_http_sio_item_t  *item;

    while (!ngx_queue_empty(items)) {
        q = ngx_queue_head(items);
        item = ngx_queue_data(q, ngx_http_sio_item_t, queue);

        ngx_queue_remove(q);
        ngx_sio_uncount(handler_queued);

        b->size -= item->size;

        if (b->socket == NULL) {
            ngx_http_sio_backlog_orphans -= item->size;
        }

        ngx_free(item);
    }
}


void
ngx_http_sio_backlog_free(ngx_http_sio_backlog_t *b)
{
    ngx_http_sio_backlog_drop_items(b, &b->flying);
    ngx_http_sio_backlog_drop_items(b, &b->items);

    if (b->state == NGX_HTTP_SIO_BACKLOG_WAITING) {
        ngx_queue_remove(&b->link);
    }

    if (b->next.posted) {
        ngx_delete_posted_event(&b->next);
    }

    if (b->pool) {
        ngx_destroy_pool(b->pool);
    }

    if (b->call) {
        ngx_http_sio_call_destroy(b->call);
    }

    if (b->socket) {
        b->socket->backlog = NULL;

        if (b->paused) {
            b->paused = 0;
            ngx_sio_session_resume(b->socket->session);
        }

    } else {
        ngx_http_sio_backlog_orphans -= b->size;
    }

    if (b->rooms) {
        ngx_free(b->rooms);
    }

    ngx_free(b);
}


/* requests */

static void
ngx_http_sio_backlog_encode(sio_out_t *o, ngx_http_sio_backlog_t *b,
    ngx_http_sio_call_vars_t *vars)
{
    ngx_uint_t    array;
    ngx_queue_t  *q;

    array = (b->conf->handler_batch > 1);

    if (array) {
        sio_out_byte(o, '[');
    }

    for (q = ngx_queue_head(&b->flying);
         q != ngx_queue_sentinel(&b->flying);
         q = ngx_queue_next(q))
    {
        if (q != ngx_queue_head(&b->flying)) {
            sio_out_byte(o, ',');
            vars = NULL;
        }

        ngx_http_sio_backlog_encode_item(o, b,
                        ngx_queue_data(q, ngx_http_sio_item_t, queue), vars);
    }

    if (array) {
        sio_out_byte(o, ']');
    }
}


static void
ngx_http_sio_backlog_encode_item(sio_out_t *o, ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item, ngx_http_sio_call_vars_t *vars)
{
    u_char              *data, *event;
    sio_span_t           type;
    ngx_sio_socket_t    *sk;

    sk = b->socket;
    type = ngx_sio_span(&ngx_http_sio_item_names[item->type]);

    sio_out_str(o, "{\"type\":\"");
    sio_out_span(o, type);
    sio_out_str(o, "\",\"namespace\":");
    ngx_sio_op_json_string(o, ngx_sio_span(&b->nsp));

    if (b->has_id) {
        sio_out_str(o, ",\"id\":\"");
        sio_out_bytes(o, b->id, NGX_SIO_ID_LEN);
        sio_out_str(o, "\",\"seq\":");
        sio_out_uint(o, item->seq);
    }

    switch (item->type) {

    case NGX_HTTP_SIO_ITEM_CONNECT:
        sio_out_str(o, ",\"auth\":");
        sio_out_span(o, item->json.n ? item->json : sio_span("{}"));

        sio_out_str(o, ",\"handshake\":");
        sio_out_span(o, sk && sk->session->handshake.len
                        ? ngx_sio_span(&sk->session->handshake)
                        : sio_span("{}"));
        break;

    case NGX_HTTP_SIO_ITEM_EVENT:
        sio_out_str(o, ",\"event\":");
        event = o->p;

        if (item->name.p[0] == '"') {
            sio_out_span(o, item->name);

        } else {
            ngx_sio_op_json_string(o, item->name);
        }

        if (vars) {
            vars->event = (sio_span_t) { event, o->p - event };
        }

        sio_out_str(o, ",\"args\":");
        sio_out_span(o, item->json);

        if (item->has_ack) {
            sio_out_str(o, ",\"ack\":");
            sio_out_uint(o, item->ack);
        }

        break;

    case NGX_HTTP_SIO_ITEM_ACK:
        sio_out_str(o, ",\"token\":");
        ngx_sio_op_json_string(o, item->name);
        sio_out_str(o, ",\"args\":");
        sio_out_span(o, item->json);
        break;

    case NGX_HTTP_SIO_ITEM_MISSING:
        sio_out_str(o, ",\"token\":");
        ngx_sio_op_json_string(o, item->name);
        sio_out_str(o, ",\"missing\":");
        sio_out_uint(o, item->ack);
        break;

    default: /* DISCONNECT */
        sio_out_str(o, ",\"reason\":");
        ngx_sio_op_json_string(o, item->name);
        break;
    }

    data = NULL;

    if (sk || b->rooms) {

        if (item->type != NGX_HTTP_SIO_ITEM_CONNECT) {
            sio_out_str(o, ",\"rooms\":");

            if (sk) {
                ngx_http_sio_backlog_encode_rooms(o, sk);

            } else {
                sio_out_bytes(o, b->rooms, b->nrooms);
            }
        }

        sio_out_str(o, ",\"data\":");
        data = o->p;

        if (sk) {
            ngx_sio_data_encode(o, sk);

        } else {
            sio_out_bytes(o, b->rooms + b->nrooms, b->ndata);
        }
    }

    if (vars) {
        vars->nsp = ngx_sio_span(&b->nsp);

        if (item->type != NGX_HTTP_SIO_ITEM_EVENT) {
            vars->event = type;
        }

        if (b->has_id) {
            vars->id = (sio_span_t) { b->id, NGX_SIO_ID_LEN };
        }

        if (data) {
            vars->data = (sio_span_t) { data, o->p - data };
        }
    }

    sio_out_byte(o, '}');
}


static void
ngx_http_sio_backlog_encode_rooms(sio_out_t *o, ngx_sio_socket_t *sk)
{
    ngx_uint_t             n;
    ngx_rbtree_node_t     *node;
    ngx_sio_membership_t  *m;

    sio_out_byte(o, '[');

    if (sk->rooms && sk->rooms->n) {
        n = 0;

        for (node = ngx_rbtree_min(sk->rooms->tree.root,
                                   sk->rooms->tree.sentinel);
             node;
             node = ngx_rbtree_next(&sk->rooms->tree, node))
        {
            if (n++) {
                sio_out_byte(o, ',');
            }

            m = (ngx_sio_membership_t *) node;
            ngx_sio_op_json_string(o, ngx_sio_span(&m->room->sn.str));
        }
    }

    sio_out_byte(o, ']');
}


/* handlers */

ngx_http_sio_handler_t *
ngx_http_sio_backlog_handler(ngx_http_sio_loc_conf_t *conf, sio_span_t text)
{
    ngx_uint_t                i;
    ngx_http_sio_handler_t  **handlers;

    if (conf->handlers == NULL) {
        return NULL;
    }

    handlers = conf->handlers->elts;

    for (i = 0; i < conf->handlers->nelts; i++) {
        if (sio_span_eq(ngx_sio_span(&handlers[i]->text), text)) {
            return handlers[i];
        }
    }

    return NULL;
}


/*
 * While no server of a handler can be reached, one backlog tries at a time,
 * and the others wait for what becomes of it.
 */

void
ngx_http_sio_backlog_down(ngx_http_sio_handler_t *h)
{
    if (!h->down) {
        h->down = 1;
        h->since = ngx_current_msec;
        h->delay = NGX_HTTP_SIO_BACKLOG_DELAY;
    }

    if (!h->timer.timer_set) {
        h->timer.log = ngx_cycle->log;
        ngx_add_timer(&h->timer, h->delay);
    }
}


void
ngx_http_sio_backlog_up(ngx_http_sio_handler_t *h)
{
    ngx_queue_t             *q, waiting;
    ngx_http_sio_backlog_t  *b;

    if (!h->down) {
        return;
    }

    h->down = 0;

    if (h->timer.timer_set) {
        ngx_del_timer(&h->timer);
    }

    ngx_queue_init(&waiting);

    if (!ngx_queue_empty(&h->waiting)) {
        ngx_queue_add(&waiting, &h->waiting);
        ngx_queue_init(&h->waiting);
    }

    while (!ngx_queue_empty(&waiting)) {
        q = ngx_queue_head(&waiting);
        ngx_queue_remove(q);

        b = ngx_queue_data(q, ngx_http_sio_backlog_t, link);
        b->state = NGX_HTTP_SIO_BACKLOG_IDLE;

        ngx_http_sio_backlog_run(b);
    }
}


void
ngx_http_sio_backlog_timer(ngx_event_t *ev)
{
    ngx_queue_t             *q, *next;
    ngx_http_sio_backlog_t  *b;
    ngx_http_sio_handler_t  *h;

    h = ev->data;

    h->delay = ngx_min(2 * h->delay, NGX_HTTP_SIO_BACKLOG_MAX_DELAY);

    /* those whose time is over need not be tried */

    for (q = ngx_queue_head(&h->waiting);
         q != ngx_queue_sentinel(&h->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        b = ngx_queue_data(q, ngx_http_sio_backlog_t, link);

        ngx_http_sio_backlog_expire(b, h);
    }

    if (ngx_queue_empty(&h->waiting)) {
        return;
    }

    ngx_add_timer(ev, h->delay);

    if (!h->probing) {
        q = ngx_queue_head(&h->waiting);
        ngx_queue_remove(q);

        b = ngx_queue_data(q, ngx_http_sio_backlog_t, link);

        b->probe = 1;
        h->probing = 1;

        ngx_http_sio_backlog_start(b);
    }
}


void
ngx_http_sio_backlog_log(ngx_uint_t level, ngx_http_sio_backlog_t *b,
    ngx_str_t *peer, const char *fmt, ...)
{
    u_char               *p, *last;
    va_list               args;
    ngx_queue_t          *items;
    ngx_http_sio_item_t  *item;
    u_char                buf[NGX_MAX_ERROR_STR];

    if (b->conf->core.log->log_level < level) {
        return;
    }

    last = buf + NGX_MAX_ERROR_STR;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, last, fmt, args);
    va_end(args);

    items = ngx_queue_empty(&b->flying) ? &b->items : &b->flying;

    if (!ngx_queue_empty(items)) {
        item = ngx_queue_data(ngx_queue_head(items), ngx_http_sio_item_t,
                              queue);
        p = ngx_slprintf(p, last, ", handler: \"%V\"", &item->handler->text);
    }

    if (peer && peer->len) {
        p = ngx_slprintf(p, last, ", backend: %V", peer);
    }

    ngx_log_error(level, b->conf->core.log, 0, "sio: %*s, client: %V",
                  (size_t) (p - buf), buf, &b->addr);
}
