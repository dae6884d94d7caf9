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

#include "http/ngx_http_sio_backend.h"
#include "http/ngx_http_sio_call.h"
#include "cluster/ngx_sio_ask.h"
#include "cluster/ngx_sio_handover.h"
#include "core/ngx_sio_data.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_op.h"
#include "core/ngx_sio_op_json.h"
#include "core/ngx_sio_room.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_base64.h"


#define NGX_HTTP_SIO_BACKEND_MAX_OPS   10000
#define NGX_HTTP_SIO_BACKEND_DELAY     50        /* ms, doubled up to */
#define NGX_HTTP_SIO_BACKEND_MAX_DELAY 1000
#define NGX_HTTP_SIO_BACKEND_ORPHANS   (16 * 1024 * 1024)
#define NGX_HTTP_SIO_BACKEND_POOL      1024

#define NGX_HTTP_SIO_SERVER_ERROR      "{\"message\":\"Server error\"}"


typedef enum {
    NGX_HTTP_SIO_ITEM_CONNECT = 0,
    NGX_HTTP_SIO_ITEM_EVENT,
    NGX_HTTP_SIO_ITEM_ACK,
    NGX_HTTP_SIO_ITEM_MISSING,
    NGX_HTTP_SIO_ITEM_DISCONNECT,
    NGX_HTTP_SIO_ITEM_N
} ngx_http_sio_item_type_e;


/* what a handler is told */

typedef struct {
    ngx_queue_t                    queue;
    ngx_http_sio_handler_t        *handler;
    uint64_t                       seq;
    uint64_t                       ack;         /* of the client; MISSING: how
                                                   many */
    size_t                         size;        /* what it costs */
    sio_span_t                     name;        /* EVENT: a JSON token; ACK,
                                                   MISSING: the token's text;
                                                   DISCONNECT: the reason */
    sio_span_t                     json;        /* EVENT, ACK: arguments;
                                                   CONNECT: auth */
    unsigned                       type:3;
    unsigned                       has_ack:1;
    unsigned                       acked:1;
} ngx_http_sio_item_t;


typedef enum {
    NGX_HTTP_SIO_BACKLOG_IDLE = 0,
    NGX_HTTP_SIO_BACKLOG_WAITING,
    NGX_HTTP_SIO_BACKLOG_CALLING,
    NGX_HTTP_SIO_BACKLOG_APPLYING,
    NGX_HTTP_SIO_BACKLOG_ELSEWHERE
} ngx_http_sio_backlog_state_e;


typedef struct {
    ngx_str_node_t                 sn;          /* ELSEWHERE: the id */
    ngx_queue_t                    link;        /* WAITING */
    ngx_http_sio_loc_conf_t       *conf;
    ngx_http_sio_handler_t        *handler;     /* of those under way */
    ngx_sio_socket_t              *socket;      /* NULL: it has left */
    ngx_str_t                      nsp;
    ngx_str_t                      addr;

    ngx_queue_t                    items;       /* bound: handler_queue, and
                                                   what one read brings */
    ngx_queue_t                    flying;      /* those under way */
    size_t                         size;        /* of both */

    ngx_http_sio_call_t           *call;
    ngx_pool_t                    *pool;        /* of a response that came
                                                   from another worker */
    ngx_sio_origin_t               origin;      /* ELSEWHERE: who has the call;
                                                   CALLING: where the session
                                                   is now, 0: here */
    ngx_msec_t                     since;       /* the first item could not be
                                                   sent, 0: it can */

    ngx_http_sio_call_response_t  *response;    /* APPLYING */
    ngx_array_t                    ops;         /* ngx_sio_op_json_t */
    ngx_uint_t                     at;          /* the next one */

    ngx_event_t                    next;

    u_char                        *rooms;       /* JSON, when it left, and */
    size_t                         nrooms;
    size_t                         ndata;       /* behind it the data */

    u_char                         id[NGX_SIO_ID_LEN];

    unsigned                       state:3;
    unsigned                       has_id:1;
    unsigned                       paused:1;
    unsigned                       probe:1;     /* the handler's */
    unsigned                       connected:1; /* rules are still to run */
} ngx_http_sio_backlog_t;


/* an emit that asked for acknowledgements */

typedef struct {
    ngx_http_sio_loc_conf_t       *conf;
    ngx_http_sio_handler_t        *handler;
    ngx_str_t                      nsp;
    ngx_str_t                      token;
    ngx_str_t                      addr;
} ngx_http_sio_asked_t;


static ngx_http_sio_backlog_t *ngx_http_sio_backlog_get(ngx_sio_socket_t *sk);
static ngx_http_sio_backlog_t *ngx_http_sio_backlog_create(
    ngx_http_sio_loc_conf_t *conf, ngx_str_t *nsp, ngx_str_t *addr);
static ngx_http_sio_item_t *ngx_http_sio_backlog_item(
    ngx_http_sio_handler_t *handler, ngx_http_sio_item_type_e type,
    size_t name, size_t json);
static void ngx_http_sio_backlog_push(ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item);
static void ngx_http_sio_backlog_run(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_start(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_wait(ngx_http_sio_backlog_t *b,
    ngx_queue_t *queue);
static void ngx_http_sio_backlog_next(ngx_event_t *ev);
static void ngx_http_sio_backlog_expire(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_here(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_detach(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_pause(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_drop_items(ngx_http_sio_backlog_t *b,
    ngx_queue_t *items);
static void ngx_http_sio_backlog_free(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backlog_log(ngx_uint_t level,
    ngx_http_sio_backlog_t *b, ngx_str_t *peer, const char *fmt, ...);

static void ngx_http_sio_backend_encode(sio_out_t *o,
    ngx_http_sio_backlog_t *b, ngx_http_sio_call_vars_t *vars);
static void ngx_http_sio_backend_encode_item(sio_out_t *o,
    ngx_http_sio_backlog_t *b, ngx_http_sio_item_t *item,
    ngx_http_sio_call_vars_t *vars);
static void ngx_http_sio_backend_encode_rooms(sio_out_t *o,
    ngx_sio_socket_t *sk);

static void ngx_http_sio_backend_done(ngx_http_sio_call_t *call);
static void ngx_http_sio_backend_release(ngx_http_sio_loc_conf_t *conf);
static void ngx_http_sio_backend_outcome(ngx_http_sio_backlog_t *b);
static ngx_int_t ngx_http_sio_backend_retry(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backend_lost(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backend_failed(ngx_http_sio_backlog_t *b);
static ngx_int_t ngx_http_sio_backend_parse(ngx_http_sio_backlog_t *b);
static const char *ngx_http_sio_backend_check_ack(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p);
static ngx_http_sio_item_t *ngx_http_sio_backend_acked(
    ngx_http_sio_backlog_t *b, uint64_t seq);
static void ngx_http_sio_backend_admit(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backend_refuse(ngx_http_sio_backlog_t *b);
static sio_span_t ngx_http_sio_backend_reason(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backend_apply(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_backend_apply_one(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p);
static void ngx_http_sio_backend_ask(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p);
static void ngx_http_sio_backend_asked(ngx_sio_ask_t *ask);
static void ngx_http_sio_backend_finish(ngx_http_sio_backlog_t *b);
static ngx_pool_t *ngx_http_sio_backend_pool(ngx_http_sio_backlog_t *b);

static ngx_http_sio_handler_t *ngx_http_sio_backend_find(
    ngx_http_sio_loc_conf_t *conf, sio_span_t text);
static void ngx_http_sio_handler_down(ngx_http_sio_handler_t *h);
static void ngx_http_sio_handler_up(ngx_http_sio_handler_t *h);
static void ngx_http_sio_handler_timer(ngx_event_t *ev);

static void ngx_http_sio_backend_export_items(sio_out_t *o,
    ngx_queue_t *items);
static ngx_int_t ngx_http_sio_backend_import_items(ngx_http_sio_backlog_t *b,
    ngx_queue_t *items, sio_in_t *in);
static void ngx_http_sio_backend_forward(ngx_http_sio_backlog_t *b);
static ngx_int_t ngx_http_sio_backend_response(ngx_sio_origin_t from,
    sio_in_t *in);
static void ngx_http_sio_backend_gone(ngx_sio_origin_t origin);


const ngx_sio_bus_backend_t  ngx_http_sio_backend_bus = {
    ngx_http_sio_backend_response,
    ngx_http_sio_backend_gone
};


static ngx_str_t  ngx_http_sio_item_names[NGX_HTTP_SIO_ITEM_N] = {
    ngx_string("connect"),
    ngx_string("event"),
    ngx_string("ack"),
    ngx_string("ack"),
    ngx_string("disconnect")
};

/* what stands for a response if there is none */

static ngx_http_sio_call_response_t  ngx_http_sio_response_failed = {
    NGX_HTTP_SIO_CALL_FAILED, 0, { NULL, 0 }, ngx_null_string
};

static ngx_http_sio_call_response_t  ngx_http_sio_response_gone = {
    NGX_HTTP_SIO_CALL_GONE, 0, { NULL, 0 }, ngx_null_string
};

static void              (*ngx_http_sio_backend_admitted)(
    ngx_sio_socket_t *sk);
static size_t              ngx_http_sio_backend_orphans;     /* bytes */
static ngx_rbtree_t        ngx_http_sio_elsewhere;
static ngx_rbtree_node_t   ngx_http_sio_elsewhere_sentinel;


void
ngx_http_sio_backend_init(void (*admitted)(ngx_sio_socket_t *sk))
{
    ngx_http_sio_backend_admitted = admitted;

    ngx_rbtree_init(&ngx_http_sio_elsewhere, &ngx_http_sio_elsewhere_sentinel,
                    ngx_str_rbtree_insert_value);
}


ngx_http_sio_handler_t *
ngx_http_sio_backend_handler(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf,
    ngx_str_t *text)
{
    u_char                   *p;
    ngx_uint_t                i;
    ngx_http_sio_handler_t   *h, **handlers;

    if (text->len == 0 || text->data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid handler \"%V\", it must be a URI of this "
                           "server that begins with \"/\"", text);
        return NULL;
    }

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= ' ' || text->data[i] == 0x7f
            || text->data[i] == '#' || text->data[i] == '$')
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid handler \"%V\": \"%c\" cannot stand "
                               "in it", text, text->data[i]);
            return NULL;
        }
    }

    if (conf->handlers == NULL) {
        conf->handlers = ngx_array_create(cf->pool, 2,
                                          sizeof(ngx_http_sio_handler_t *));
        if (conf->handlers == NULL) {
            return NULL;
        }
    }

    handlers = conf->handlers->elts;

    for (i = 0; i < conf->handlers->nelts; i++) {
        if (sio_span_eq(ngx_sio_span(&handlers[i]->text),
                        ngx_sio_span(text)))
        {
            return handlers[i];
        }
    }

    h = ngx_pcalloc(cf->pool, sizeof(ngx_http_sio_handler_t));
    handlers = ngx_array_push(conf->handlers);

    if (h == NULL || handlers == NULL) {
        return NULL;
    }

    *handlers = h;

    h->text = *text;
    h->uri = *text;

    p = ngx_strlchr(text->data, text->data + text->len, '?');

    if (p) {
        h->uri.len = p - text->data;
        h->args.data = p + 1;
        h->args.len = text->data + text->len - h->args.data;
    }

    h->line.len = sizeof("POST  HTTP/1.1") - 1 + text->len;
    h->line.data = ngx_pnalloc(cf->pool, h->line.len);

    if (h->line.data == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(h->line.data, "POST %V HTTP/1.1", text);

    ngx_queue_init(&h->waiting);

    h->timer.handler = ngx_http_sio_handler_timer;
    h->timer.data = h;

    return h;
}


/* what is told */

void
ngx_http_sio_backend_connect(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler, sio_span_t auth)
{
    ngx_http_sio_item_t     *item;
    ngx_http_sio_backlog_t  *b;

    item = ngx_http_sio_backlog_item(handler, NGX_HTTP_SIO_ITEM_CONNECT, 0,
                                     auth.n);
    b = item ? ngx_http_sio_backlog_get(sk) : NULL;

    if (b == NULL) {
        if (item) {
            ngx_free(item);
        }

        ngx_sio_socket_refuse(sk, sio_span(NGX_HTTP_SIO_SERVER_ERROR));
        return;
    }

    if (auth.n) {
        ngx_memcpy(item->json.p, auth.p, auth.n);
    }

    item->seq = ++sk->seq;

    ngx_sio_socket_hold(sk);

    ngx_http_sio_backlog_push(b, item);
}


void
ngx_http_sio_backend_event(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler, ngx_sio_event_t *ev)
{
    size_t                   from;
    sio_out_t                o;
    ngx_uint_t               pass;
    sio_span_t               name;
    ngx_http_sio_item_t     *item;
    ngx_http_sio_backlog_t  *b;

    b = ngx_http_sio_backlog_get(sk);

    if (b == NULL) {
        return;
    }

    name = ev->opaque ? sio_span("\"message\"") : ev->token;
    from = 0;

    if (!ev->opaque) {

        /* what stands behind the name, to the bracket at the end */

        from = ev->token.p + ev->token.n - ev->json.p;

        while (ev->json.p[from] != ',' && ev->json.p[from] != ']') {
            from++;
        }

        from += (ev->json.p[from] == ',');
    }

    item = NULL;
    o.p = NULL;

    for (pass = 0; pass < 2; pass++) {
        o.n = 0;

        sio_out_byte(&o, '[');

        if (!ev->opaque) {
            if (ngx_sio_op_json_inline(&o, ev->json, from, ev->attachments,
                                       ev->n) != NGX_OK)
            {
                goto failed;
            }

        } else if (ev->binary) {
            sio_out_str(&o, "{\"_base64\":\"");
            sio_base64_encode(&o, ev->data);
            sio_out_str(&o, "\"}]");

        } else {
            ngx_sio_op_json_string(&o, ev->data);
            sio_out_byte(&o, ']');
        }

        if (pass == 0) {
            item = ngx_http_sio_backlog_item(handler,
                                             NGX_HTTP_SIO_ITEM_EVENT, name.n,
                                             o.n);
            if (item == NULL) {
                goto failed;
            }

            o.p = item->json.p;
        }
    }

    ngx_memcpy(item->name.p, name.p, name.n);

    item->seq = ++sk->seq;
    item->has_ack = ev->has_ack;
    item->ack = ev->ack;

    ngx_http_sio_backlog_push(b, item);

    return;

failed:

    if (item) {
        ngx_free(item);
    }

    ngx_sio_count(memory_errors);
    ngx_http_sio_backlog_run(b);
}


void
ngx_http_sio_backend_ack(ngx_sio_socket_t *sk, ngx_sio_awaited_t *awaited,
    ngx_sio_event_t *ev)
{
    sio_out_t                o;
    ngx_http_sio_item_t     *item;
    ngx_http_sio_handler_t  *handler;
    ngx_http_sio_backlog_t  *b;

    handler = ngx_http_sio_backend_find((ngx_http_sio_loc_conf_t *)
                                            sk->session->conf,
                                        ngx_sio_span(&awaited->handler));

    /* its place may be another one now */

    if (handler == NULL) {
        ngx_sio_count(handler_lost);
        ngx_sio_session_log(NGX_LOG_ERR, sk->session,
                            "acknowledgement lost: the location has no "
                            "handler \"%V\"", &awaited->handler);
        return;
    }

    o.p = NULL;
    o.n = 0;

    if (ngx_sio_op_json_inline(&o, ev->json, 0, ev->attachments, ev->n)
        != NGX_OK)
    {
        return;
    }

    item = ngx_http_sio_backlog_item(handler, NGX_HTTP_SIO_ITEM_ACK,
                                     awaited->token.len, o.n);
    b = item ? ngx_http_sio_backlog_get(sk) : NULL;

    if (b == NULL) {
        if (item) {
            ngx_free(item);
        }

        return;
    }

    o.p = item->json.p;
    (void) ngx_sio_op_json_inline(&o, ev->json, 0, ev->attachments, ev->n);

    ngx_memcpy(item->name.p, awaited->token.data, awaited->token.len);

    item->seq = ++sk->seq;

    ngx_http_sio_backlog_push(b, item);
}


void
ngx_http_sio_backend_disconnect(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler)
{
    ngx_str_t               *reason;
    ngx_http_sio_item_t     *item;
    ngx_http_sio_backlog_t  *b;

    b = sk->backlog;

    if (handler) {
        reason = &ngx_sio_reasons[sk->reason];

        item = ngx_http_sio_backlog_item(handler,
                                         NGX_HTTP_SIO_ITEM_DISCONNECT,
                                         reason->len, 0);
        b = item ? ngx_http_sio_backlog_get(sk) : b;

        if (b && item) {
            ngx_memcpy(item->name.p, reason->data, reason->len);
            item->seq = ++sk->seq;

            ngx_queue_insert_tail(&b->items, &item->queue);
            b->size += item->size;
            ngx_sio_count(handler_queued);

        } else if (item) {
            ngx_free(item);
        }
    }

    if (b) {
        ngx_http_sio_backlog_detach(b);
        ngx_http_sio_backlog_run(b);
    }
}


void
ngx_http_sio_backend_abandon(ngx_sio_socket_t *sk,
    ngx_http_sio_handler_t *handler)
{
    ngx_http_sio_backlog_t  *b;

    b = sk->backlog;

    if (b == NULL) {
        return;
    }

    if (b->state == NGX_HTTP_SIO_BACKLOG_CALLING
        || b->state == NGX_HTTP_SIO_BACKLOG_ELSEWHERE)
    {
        ngx_http_sio_backend_disconnect(sk, handler);
        return;
    }

    b->socket = NULL;
    sk->backlog = NULL;
    ngx_http_sio_backend_orphans += b->size;

    ngx_http_sio_backlog_free(b);
}


/* backlogs */

static ngx_http_sio_backlog_t *
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


static ngx_http_sio_backlog_t *
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

static ngx_http_sio_item_t *
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

    item->name.p = (u_char *) (item + 1);
    item->name.n = name;
    item->json.p = item->name.p + name;
    item->json.n = json;

    return item;
}


static void
ngx_http_sio_backlog_push(ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item)
{
    ngx_queue_insert_tail(&b->items, &item->queue);
    b->size += item->size;

    ngx_sio_count(handler_queued);

    ngx_http_sio_backlog_pause(b);
    ngx_http_sio_backlog_run(b);
}


/* an idle backlog goes on, or goes */

static void
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

            if (b->since == 0) {
                b->since = ngx_current_msec;
            }

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


static void
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

    if (b->response == &ngx_http_sio_response_failed) {
        ngx_http_sio_backend_outcome(b);

    } else if (b->state == NGX_HTTP_SIO_BACKLOG_APPLYING) {
        ngx_http_sio_backend_apply(b);

    } else {
        ngx_http_sio_backlog_run(b);
    }
}


static void
ngx_http_sio_backlog_start(ngx_http_sio_backlog_t *b)
{
    sio_out_t                     o;
    ngx_uint_t                    n;
    ngx_queue_t                  *q;
    ngx_http_sio_call_t          *call;
    ngx_http_sio_item_t          *item, *first;
    ngx_http_sio_call_request_t  *request;

    first = NULL;

    for (n = 0; n < b->conf->handler_batch && !ngx_queue_empty(&b->items);
         n++)
    {
        q = ngx_queue_head(&b->items);
        item = ngx_queue_data(q, ngx_http_sio_item_t, queue);

        if (first && (item->type != NGX_HTTP_SIO_ITEM_EVENT
                      || item->handler != first->handler))
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

    ngx_http_sio_backend_encode(&o, b, NULL);

    call = ngx_http_sio_call_create(o.n);

    if (call == NULL) {
        b->conf->handler_running--;
        ngx_sio_uncount(handler_running);

        if (b->probe) {
            b->probe = 0;
            b->handler->probing = 0;
        }

        b->response = &ngx_http_sio_response_failed;
        b->state = NGX_HTTP_SIO_BACKLOG_APPLYING;

        ngx_post_event(&b->next, &ngx_posted_events);
        return;
    }

    b->call = call;

    request = ngx_http_sio_call_request(call);

    request->handler = b->handler;
    request->conf = b->conf;
    request->addr = b->addr;
    request->done = ngx_http_sio_backend_done;
    request->data = b;

    o.p = request->body.p;
    o.n = 0;

    ngx_http_sio_backend_encode(&o, b, &request->vars);

    ngx_http_sio_call_start(call);
}


/* the time of its first item is over */

static void
ngx_http_sio_backlog_expire(ngx_http_sio_backlog_t *b)
{
    ngx_queue_t  *q, first;

    ngx_http_sio_backend_lost(b);

    q = ngx_queue_head(&b->items);
    ngx_queue_remove(q);

    ngx_queue_init(&first);
    ngx_queue_insert_tail(&first, q);
    ngx_http_sio_backlog_drop_items(b, &first);

    if (ngx_queue_empty(&b->items)) {
        ngx_http_sio_backlog_free(b);
        return;
    }

    b->since = ngx_current_msec;

    ngx_http_sio_backlog_pause(b);
}


/* the socket leaves: what it was is kept for what is still to be told */

static void
ngx_http_sio_backlog_detach(ngx_http_sio_backlog_t *b)
{
    sio_out_t          o;
    ngx_queue_t       *q;
    ngx_sio_socket_t  *sk;

    sk = b->socket;

    if (!ngx_queue_empty(&b->items) || !ngx_queue_empty(&b->flying)) {
        o.p = NULL;
        o.n = 0;

        ngx_http_sio_backend_encode_rooms(&o, sk);
        b->nrooms = o.n;
        ngx_sio_data_encode(&o, sk);
        b->ndata = o.n - b->nrooms;

        o.p = ngx_alloc(o.n, b->conf->core.log);
        b->rooms = o.p;

        if (o.p) {
            ngx_http_sio_backend_encode_rooms(&o, sk);
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

    ngx_http_sio_backend_orphans += b->size;

    if (ngx_http_sio_backend_orphans > NGX_HTTP_SIO_BACKEND_ORPHANS
        && !ngx_queue_empty(&b->items))
    {
        ngx_http_sio_backlog_log(NGX_LOG_ERR, b, NULL,
                                 "events of a client that has left are lost: "
                                 "%uz bytes wait for handlers, as much as is "
                                 "kept", ngx_http_sio_backend_orphans);

        for (q = ngx_queue_head(&b->items);
             q != ngx_queue_sentinel(&b->items);
             q = ngx_queue_next(q))
        {
            ngx_sio_count(handler_lost);
        }

        ngx_http_sio_backlog_drop_items(b, &b->items);
    }
}


/* the client is read from no more while too much of it waits */

static void
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


static void
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
            ngx_http_sio_backend_orphans -= item->size;
        }

        ngx_free(item);
    }
}


static void
ngx_http_sio_backlog_free(ngx_http_sio_backlog_t *b)
{
    ngx_http_sio_backlog_drop_items(b, &b->flying);
    ngx_http_sio_backlog_drop_items(b, &b->items);

    if (b->state == NGX_HTTP_SIO_BACKLOG_WAITING) {
        ngx_queue_remove(&b->link);
    }

    if (b->state == NGX_HTTP_SIO_BACKLOG_ELSEWHERE) {
        ngx_rbtree_delete(&ngx_http_sio_elsewhere, &b->sn.node);
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
        ngx_http_sio_backend_orphans -= b->size;
    }

    if (b->rooms) {
        ngx_free(b->rooms);
    }

    ngx_free(b);
}


static void
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


/* requests */

static void
ngx_http_sio_backend_encode(sio_out_t *o, ngx_http_sio_backlog_t *b,
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

        ngx_http_sio_backend_encode_item(o, b,
                        ngx_queue_data(q, ngx_http_sio_item_t, queue), vars);
    }

    if (array) {
        sio_out_byte(o, ']');
    }
}


static void
ngx_http_sio_backend_encode_item(sio_out_t *o, ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item, ngx_http_sio_call_vars_t *vars)
{
    u_char              *data;
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

        if (item->name.p[0] == '"') {
            sio_out_span(o, item->name);

        } else {
            ngx_sio_op_json_string(o, item->name);
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
                ngx_http_sio_backend_encode_rooms(o, sk);

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
        vars->event = (item->type == NGX_HTTP_SIO_ITEM_EVENT) ? item->name
                                                              : type;
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
ngx_http_sio_backend_encode_rooms(sio_out_t *o, ngx_sio_socket_t *sk)
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


/* responses */

static void
ngx_http_sio_backend_done(ngx_http_sio_call_t *call)
{
    ngx_http_sio_backlog_t   *b;
    ngx_http_sio_handler_t   *h;
    ngx_http_sio_loc_conf_t  *conf;

    b = ngx_http_sio_call_request(call)->data;
    h = b->handler;
    conf = b->conf;

    conf->handler_running--;
    ngx_sio_uncount(handler_running);

    b->response = ngx_http_sio_call_response(call);

    if (b->probe) {
        b->probe = 0;
        h->probing = 0;
    }

    if (b->response->result == NGX_HTTP_SIO_CALL_UNREACHABLE) {
        ngx_http_sio_handler_down(h);

    } else {
        ngx_http_sio_handler_up(h);
    }

    if (b->origin) {
        ngx_http_sio_backend_forward(b);
        ngx_http_sio_backlog_free(b);

    } else {
        ngx_http_sio_backend_outcome(b);
    }

    ngx_http_sio_backend_release(conf);
}


/* a place is free for those that wait */

static void
ngx_http_sio_backend_release(ngx_http_sio_loc_conf_t *conf)
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


/* b->response is what came */

static void
ngx_http_sio_backend_outcome(ngx_http_sio_backlog_t *b)
{
    ngx_http_sio_item_t           *item;
    ngx_http_sio_call_response_t  *response;

    response = b->response;

    item = ngx_queue_data(ngx_queue_head(&b->flying), ngx_http_sio_item_t,
                          queue);

    b->state = NGX_HTTP_SIO_BACKLOG_APPLYING;

    if (response->result == NGX_HTTP_SIO_CALL_UNREACHABLE
        && item->type != NGX_HTTP_SIO_ITEM_CONNECT)
    {
        if (ngx_http_sio_backend_retry(b) == NGX_OK) {
            return;
        }

        ngx_http_sio_backend_lost(b);
        ngx_http_sio_backend_finish(b);
        return;
    }

    b->since = 0;

    if (item->type == NGX_HTTP_SIO_ITEM_CONNECT) {

        if (response->result == NGX_HTTP_SIO_CALL_ANSWERED
            && response->status / 100 == 2
            && ngx_http_sio_backend_parse(b) == NGX_OK)
        {
            ngx_http_sio_backend_admit(b);
            return;
        }

        ngx_http_sio_backend_refuse(b);
        return;
    }

    if (response->result != NGX_HTTP_SIO_CALL_ANSWERED
        || response->status / 100 != 2)
    {
        ngx_http_sio_backend_failed(b);
        ngx_http_sio_backend_finish(b);
        return;
    }

    if (ngx_http_sio_backend_parse(b) != NGX_OK) {
        ngx_http_sio_backend_finish(b);
        return;
    }

    ngx_http_sio_backend_apply(b);
}


/* what no server was sent is tried again, for a while */

static ngx_int_t
ngx_http_sio_backend_retry(ngx_http_sio_backlog_t *b)
{
    ngx_queue_t             *q;
    ngx_http_sio_item_t     *item;
    ngx_http_sio_handler_t  *h;

    if (b->since == 0) {
        b->since = ngx_current_msec;
    }

    if (ngx_current_msec - b->since >= b->conf->handler_retry) {
        return NGX_DECLINED;
    }

    ngx_sio_count(handler_retries);

    item = ngx_queue_data(ngx_queue_head(&b->flying), ngx_http_sio_item_t,
                          queue);
    h = item->handler;

    while (!ngx_queue_empty(&b->flying)) {
        q = ngx_queue_last(&b->flying);
        ngx_queue_remove(q);
        ngx_queue_insert_head(&b->items, q);
    }

    if (b->call) {
        ngx_http_sio_call_destroy(b->call);
        b->call = NULL;
    }

    if (b->pool) {
        ngx_destroy_pool(b->pool);
        b->pool = NULL;
    }

    b->response = NULL;
    b->state = NGX_HTTP_SIO_BACKLOG_IDLE;

    ngx_http_sio_handler_down(h);
    ngx_http_sio_backlog_wait(b, &h->waiting);

    return NGX_OK;
}


static void
ngx_http_sio_backend_lost(ngx_http_sio_backlog_t *b)
{
    b->since = 0;

    ngx_sio_count(handler_lost);
    ngx_http_sio_backlog_log(NGX_LOG_ERR, b,
                             b->response ? &b->response->peer : NULL,
                             "event lost: no server could be reached for %M "
                             "ms, limited by \"sio_handler_retry\"",
                             b->conf->handler_retry);
}


static void
ngx_http_sio_backend_failed(ngx_http_sio_backlog_t *b)
{
    const char                    *why;
    ngx_http_sio_call_response_t  *response;

    response = b->response;

    switch (response->result) {

    case NGX_HTTP_SIO_CALL_ANSWERED:
        ngx_sio_count(handler_errors);
        ngx_http_sio_backlog_log(NGX_LOG_ERR, b, &response->peer,
                                 "the handler's response has status %ui",
                                 response->status);
        return;

    case NGX_HTTP_SIO_CALL_UNREACHABLE:
        why = "the handler could not be reached";
        break;

    case NGX_HTTP_SIO_CALL_CUT:
        why = "the handler's response was cut short";
        break;

    case NGX_HTTP_SIO_CALL_TOO_LARGE:
        why = "the handler's response is too large, limited by "
              "\"sio_handler_max_response\"";
        break;

    case NGX_HTTP_SIO_CALL_GONE:
        why = "the worker that called the handler is gone";
        break;

    case NGX_HTTP_SIO_CALL_UNFIT:
        why = "the handler's response is too large for the worker that has "
              "the session now, limited by \"sio_bus_buffer\"";
        break;

    case NGX_HTTP_SIO_CALL_TIMEOUT:
        ngx_sio_count(handler_timeouts);
        why = "the handler did not respond in time, limited by "
              "\"sio_handler_timeout\"";
        break;

    default:
        why = "the handler did not respond";
        break;
    }

    ngx_sio_count(handler_errors);
    ngx_http_sio_backlog_log(NGX_LOG_ERR, b, &response->peer, "%s", why);
}


/* all operations are valid, or none is carried out */

static ngx_int_t
ngx_http_sio_backend_parse(ngx_http_sio_backlog_t *b)
{
    size_t              at;
    u_char             *p;
    const char         *error;
    ngx_uint_t          i;
    sio_span_t          body, shown;
    ngx_sio_op_json_t  *op;
    u_char              text[NGX_SIO_JSON_SHOWN];

    b->ops.nelts = 0;
    shown = sio_span_null;
    body = b->response->body;

    for (i = 0; i < body.n; i++) {
        if (!ngx_strchr(" \t\r\n", body.p[i]) || body.p[i] == '\0') {
            break;
        }
    }

    if (i == body.n) {
        return NGX_OK;
    }

    error = ngx_sio_op_json_validate(body);

    if (error) {
        goto invalid;
    }

    if (ngx_array_init(&b->ops, ngx_http_sio_backend_pool(b), 2,
                       sizeof(ngx_sio_op_json_t)) != NGX_OK)
    {
        error = "no memory";
        goto invalid;
    }

    at = 0;

    for ( ;; ) {
        if (b->ops.nelts > NGX_HTTP_SIO_BACKEND_MAX_OPS) {
            error = "more than 10000 operations";
            goto invalid;
        }

        op = ngx_array_push(&b->ops);
        if (op == NULL) {
            error = "no memory";
            goto invalid;
        }

        ngx_memzero(op, sizeof(ngx_sio_op_json_t));

        op->pool = ngx_http_sio_backend_pool(b);
        op->answer = 1;
        op->op.app = b->conf->core.app;
        op->op.nsp = b->nsp;

        if (ngx_sio_op_json_next(op, body, &at) == NGX_DONE) {
            b->ops.nelts--;
            break;
        }

        error = op->error;
        shown = op->what;

        if (error == NULL && op->op.type == SIO_OP_ACK) {
            error = ngx_http_sio_backend_check_ack(b, op);
        }

        if (error) {
            goto invalid;
        }
    }

    return NGX_OK;

invalid:

    b->ops.nelts = 0;

    /* what is shown is the backend's: nothing of it may look like a line */

    shown = ngx_sio_op_json_shown(shown);

    for (i = 0, p = text; i < shown.n; i++) {
        *p++ = (shown.p[i] < ' ' || shown.p[i] >= 0x7f) ? '.' : shown.p[i];
    }

    ngx_sio_count(handler_errors);
    ngx_http_sio_backlog_log(NGX_LOG_ERR, b, &b->response->peer,
                             "the handler's response is not valid, nothing "
                             "of it is carried out: %s%*s",
                             error, (size_t) (p - text), text);

    return NGX_ERROR;
}


/* which event is meant must be clear */

static const char *
ngx_http_sio_backend_check_ack(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p)
{
    ngx_uint_t            n, found;
    ngx_queue_t          *q;
    ngx_http_sio_item_t  *item;

    n = 0;
    found = 0;

    for (q = ngx_queue_head(&b->flying);
         q != ngx_queue_sentinel(&b->flying);
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_http_sio_item_t, queue);

        n += item->has_ack;
        found |= (item->seq == p->seq);
    }

    if (p->seq && !found) {
        return "\"seq\" is not of this request";
    }

    if (p->seq == 0 && n > 1) {
        return "\"seq\" is missing: more than one event is to be acknowledged";
    }

    return NULL;
}


static ngx_http_sio_item_t *
ngx_http_sio_backend_acked(ngx_http_sio_backlog_t *b, uint64_t seq)
{
    ngx_queue_t          *q;
    ngx_http_sio_item_t  *item;

    for (q = ngx_queue_head(&b->flying);
         q != ngx_queue_sentinel(&b->flying);
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_http_sio_item_t, queue);

        if (item->has_ack && (seq == 0 || item->seq == seq)) {
            return item;
        }
    }

    return NULL;
}


/* one whose client has gone meanwhile is told so by what is queued */

static void
ngx_http_sio_backend_admit(ngx_http_sio_backlog_t *b)
{
    if (b->socket == NULL) {
        ngx_http_sio_backend_finish(b);
        return;
    }

    if (b->socket->held) {
        b->connected = 1;
        ngx_sio_socket_admit(b->socket);
    }

    ngx_http_sio_backend_apply(b);
}


static void
ngx_http_sio_backend_refuse(ngx_http_sio_backlog_t *b)
{
    sio_span_t         json;
    ngx_sio_socket_t  *sk;

    json = ngx_http_sio_backend_reason(b);
    sk = b->socket;

    if (sk) {
        sk->backlog = NULL;
        b->socket = NULL;
        ngx_http_sio_backend_orphans += b->size;

        ngx_sio_socket_refuse(sk, json);
    }

    /* no disconnect for who was never there */

    ngx_http_sio_backlog_drop_items(b, &b->items);
    ngx_http_sio_backend_finish(b);
}


/* the CONNECT_ERROR's object: what the backend says, if it refuses */

static sio_span_t
ngx_http_sio_backend_reason(ngx_http_sio_backlog_t *b)
{
    size_t                         at;
    sio_out_t                      o;
    ngx_str_t                      text;
    ngx_uint_t                     pass;
    sio_span_t                     body, key, value, message, data, json;
    ngx_http_sio_call_response_t  *response;

    response = b->response;

    if (response->result != NGX_HTTP_SIO_CALL_ANSWERED
        || response->status / 100 != 4)
    {
        if (response->result != NGX_HTTP_SIO_CALL_ANSWERED
            || response->status / 100 != 2)
        {
            ngx_http_sio_backend_failed(b);
        }

        return sio_span(NGX_HTTP_SIO_SERVER_ERROR);
    }

    ngx_http_sio_backlog_log(NGX_LOG_INFO, b, &response->peer,
                             "connect refused: the handler's response has "
                             "status %ui", response->status);

    message = sio_span_null;
    data = sio_span_null;
    body = response->body;

    if (ngx_sio_op_json_is_object(body)) {
        at = 0;

        while (sio_json_next_member(body, &at, &key, &value) == SIO_OK) {

            if (sio_json_string_eq(key, sio_span("message"))
                && sio_json_type(value) == SIO_JSON_STRING)
            {
                message = value;

            } else if (sio_json_string_eq(key, sio_span("data"))) {
                data = value;
            }
        }
    }

    text = ngx_http_sio_status_text(response->status);
    json = sio_span_null;
    o.p = NULL;

    for (pass = 0; pass < 2; pass++) {
        o.n = 0;

        sio_out_str(&o, "{\"message\":");

        if (message.p) {
            sio_out_span(&o, message);

        } else {
            ngx_sio_op_json_string(&o, ngx_sio_span(&text));
        }

        if (data.p) {
            sio_out_str(&o, ",\"data\":");
            sio_out_span(&o, data);
        }

        sio_out_byte(&o, '}');

        if (pass == 0) {
            o.p = ngx_pnalloc(ngx_http_sio_backend_pool(b), o.n);
            if (o.p == NULL) {
                return sio_span(NGX_HTTP_SIO_SERVER_ERROR);
            }

            json.p = o.p;
        }
    }

    json.n = o.n;

    return json;
}


/* as much in a turn of the event loop as it bears */

static void
ngx_http_sio_backend_apply(ngx_http_sio_backlog_t *b)
{
    ngx_sio_socket_t   *sk;
    ngx_sio_op_json_t  *ops;

    ops = b->ops.elts;

    while (b->at < b->ops.nelts) {

        if (ngx_sio_session_busy()) {
            ngx_post_event(&b->next, &ngx_posted_next_events);
            return;
        }

        ngx_http_sio_backend_apply_one(b, &ops[b->at++]);
    }

    sk = b->socket;

    if (b->connected && sk && sk->reason == NGX_SIO_NONE
        && sk->session->state == NGX_SIO_SESSION_OPEN)
    {
        b->connected = 0;
        ngx_http_sio_backend_admitted(sk);
    }

    ngx_http_sio_backend_finish(b);
}


static void
ngx_http_sio_backend_apply_one(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p)
{
    ngx_sio_op_t         *op;
    ngx_http_sio_item_t  *item;

    op = &p->op;

    if (op->target == SIO_TO_SENDER) {

        if (b->socket == NULL || b->socket->held) {
            return;
        }

        op->sender = b->socket;
    }

    if (op->type == SIO_OP_ACK) {
        item = ngx_http_sio_backend_acked(b, p->seq);

        if (item == NULL || item->acked) {
            return;
        }

        item->acked = 1;
        op->ack = item->ack;

        ngx_sio_count(acks_sent);

        (void) ngx_sio_op_apply(op);
        return;
    }

    if (op->type == SIO_OP_ASK) {
        ngx_http_sio_backend_ask(b, p);
        return;
    }

    if (op->target == SIO_TO_SENDER && op->type != SIO_OP_EMIT) {
        (void) ngx_sio_op_apply(op);
        return;
    }

    if (ngx_sio_bus_publish(op) == NGX_ERROR) {
        ngx_http_sio_backlog_log(NGX_LOG_ERR, b, &b->response->peer,
                                 "an operation of the handler's response was "
                                 "not carried out");
    }
}


static void
ngx_http_sio_backend_ask(ngx_http_sio_backlog_t *b, ngx_sio_op_json_t *p)
{
    u_char                *d;
    sio_span_t             names[2];
    ngx_http_sio_item_t   *item;
    ngx_http_sio_asked_t  *asked;

    item = ngx_queue_data(ngx_queue_head(&b->flying), ngx_http_sio_item_t,
                          queue);

    asked = ngx_alloc(sizeof(ngx_http_sio_asked_t) + p->op.nsp.len
                      + p->token.n + b->addr.len, b->conf->core.log);
    if (asked == NULL) {
        ngx_sio_count(memory_errors);
        return;
    }

    asked->conf = b->conf;
    asked->handler = item->handler;

    d = (u_char *) (asked + 1);

    asked->nsp.data = d;
    asked->nsp.len = p->op.nsp.len;
    d = ngx_cpymem(d, p->op.nsp.data, p->op.nsp.len);

    asked->token.data = d;
    asked->token.len = p->token.n;
    d = ngx_cpymem(d, p->token.p, p->token.n);

    asked->addr.data = d;
    asked->addr.len = b->addr.len;
    ngx_memcpy(d, b->addr.data, b->addr.len);

    names[0] = p->token;
    names[1] = ngx_sio_span(&item->handler->text);

    p->op.names = names;
    p->op.nnames = 2;

    if (ngx_sio_ask(&p->op, ngx_http_sio_backend_asked, asked) == NULL) {
        ngx_free(asked);
    }
}


/* those who acknowledged were told by their own worker */

static void
ngx_http_sio_backend_asked(ngx_sio_ask_t *ask)
{
    ngx_http_sio_item_t     *item;
    ngx_http_sio_asked_t    *asked;
    ngx_http_sio_backlog_t  *b;

    asked = ask->data;

    if (ask->expected > ask->received) {

        item = ngx_http_sio_backlog_item(asked->handler,
                                         NGX_HTTP_SIO_ITEM_MISSING,
                                         asked->token.len, 0);
        b = item ? ngx_http_sio_backlog_create(asked->conf, &asked->nsp,
                                               &asked->addr)
                 : NULL;

        if (b) {
            ngx_memcpy(item->name.p, asked->token.data, asked->token.len);
            item->ack = ask->expected - ask->received;

            ngx_http_sio_backend_orphans += item->size;
            ngx_http_sio_backlog_push(b, item);

        } else if (item) {
            ngx_free(item);
        }
    }

    ngx_free(asked);
}


/* what was under way is done with */

static void
ngx_http_sio_backend_finish(ngx_http_sio_backlog_t *b)
{
    ngx_http_sio_backlog_drop_items(b, &b->flying);

    if (b->call) {
        ngx_http_sio_call_destroy(b->call);
        b->call = NULL;
    }

    if (b->pool) {
        ngx_destroy_pool(b->pool);
        b->pool = NULL;
    }

    b->response = NULL;
    b->ops.nelts = 0;
    b->at = 0;
    b->connected = 0;
    b->state = NGX_HTTP_SIO_BACKLOG_IDLE;

    ngx_http_sio_backlog_pause(b);

    /* those that wait for a place come first */

    ngx_http_sio_backend_release(b->conf);
    ngx_http_sio_backlog_run(b);
}


static ngx_pool_t *
ngx_http_sio_backend_pool(ngx_http_sio_backlog_t *b)
{
    return b->call ? ngx_http_sio_call_pool(b->call) : b->pool;
}


/* handlers */

static ngx_http_sio_handler_t *
ngx_http_sio_backend_find(ngx_http_sio_loc_conf_t *conf, sio_span_t text)
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

static void
ngx_http_sio_handler_down(ngx_http_sio_handler_t *h)
{
    if (!h->down) {
        h->down = 1;
        h->delay = NGX_HTTP_SIO_BACKEND_DELAY;
    }

    if (!h->timer.timer_set) {
        h->timer.log = ngx_cycle->log;
        ngx_add_timer(&h->timer, h->delay);
    }
}


static void
ngx_http_sio_handler_up(ngx_http_sio_handler_t *h)
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


static void
ngx_http_sio_handler_timer(ngx_event_t *ev)
{
    ngx_queue_t             *q, *next;
    ngx_http_sio_backlog_t  *b;
    ngx_http_sio_handler_t  *h;

    h = ev->data;

    h->delay = ngx_min(2 * h->delay, NGX_HTTP_SIO_BACKEND_MAX_DELAY);

    /* those whose time is over need not be tried */

    for (q = ngx_queue_head(&h->waiting);
         q != ngx_queue_sentinel(&h->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        b = ngx_queue_data(q, ngx_http_sio_backlog_t, link);

        if (b->since
            && ngx_current_msec - b->since >= b->conf->handler_retry)
        {
            ngx_http_sio_backlog_expire(b);
        }
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


/* sessions that move */

void
ngx_http_sio_backend_export(ngx_sio_socket_t *sk, sio_out_t *o)
{
    ngx_http_sio_backlog_t  *b;

    b = sk->backlog;

    if (b == NULL) {
        sio_out_byte(o, 0);
        return;
    }

    sio_out_byte(o, 1);
    sio_out_u64(o, ngx_queue_empty(&b->flying) ? 0 : ngx_sio_bus_self());
    sio_out_byte(o, b->connected);
    sio_out_u64(o, b->since ? ngx_current_msec - b->since + 1 : 0);

    ngx_http_sio_backend_export_items(o, &b->flying);
    ngx_http_sio_backend_export_items(o, &b->items);
}


static void
ngx_http_sio_backend_export_items(sio_out_t *o, ngx_queue_t *items)
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
ngx_http_sio_backend_import(ngx_sio_socket_t *sk, sio_in_t *in)
{
    uint8_t                  connected;
    uint64_t                 waited;
    ngx_sio_origin_t         origin;
    ngx_http_sio_backlog_t  *b;

    if (sio_in_u8(in) == 0) {
        return in->bad ? NGX_ERROR : NGX_OK;
    }

    origin = sio_in_u64(in);
    connected = sio_in_u8(in);
    waited = sio_in_u64(in);

    b = in->bad ? NULL : ngx_http_sio_backlog_get(sk);

    if (b == NULL
        || ngx_http_sio_backend_import_items(b, &b->flying, in) != NGX_OK
        || ngx_http_sio_backend_import_items(b, &b->items, in) != NGX_OK)
    {
        return NGX_ERROR;
    }

    b->connected = connected;

    if (waited) {
        b->since = ngx_current_msec - waited + 1;
    }

    if (origin && !ngx_queue_empty(&b->flying)) {
        b->state = NGX_HTTP_SIO_BACKLOG_ELSEWHERE;
        b->origin = origin;

        b->sn.str.data = b->id;
        b->sn.str.len = NGX_SIO_ID_LEN;
        b->sn.node.key = ngx_crc32_short(b->id, NGX_SIO_ID_LEN);

        ngx_rbtree_insert(&ngx_http_sio_elsewhere, &b->sn.node);

    } else {
        ngx_post_event(&b->next, &ngx_posted_events);
    }

    ngx_http_sio_backlog_pause(b);

    return NGX_OK;
}


/* a handler that this configuration does not have is told nothing */

static ngx_int_t
ngx_http_sio_backend_import_items(ngx_http_sio_backlog_t *b,
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

        handler = ngx_http_sio_backend_find(b->conf, text);

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
ngx_http_sio_backend_drop(ngx_sio_socket_t *sk)
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

    ngx_http_sio_backend_orphans += b->size;

    b->origin = ngx_sio_handover_where(sid);

    if (b->state == NGX_HTTP_SIO_BACKLOG_CALLING) {
        ngx_http_sio_backlog_drop_items(b, &b->flying);
        ngx_http_sio_backlog_drop_items(b, &b->items);
        return;
    }

    if (b->state == NGX_HTTP_SIO_BACKLOG_APPLYING) {
        ngx_http_sio_backend_forward(b);
    }

    ngx_http_sio_backlog_free(b);
}


static void
ngx_http_sio_backend_forward(ngx_http_sio_backlog_t *b)
{
    size_t                         n;
    sio_out_t                      o;
    ngx_sio_msg_t                 *m;
    ngx_http_sio_call_response_t  *response;

    response = b->response;

    n = NGX_SIO_ID_LEN + 1 + 2 + 4 + 4 + response->peer.len + 4;

    m = ngx_sio_frame(NGX_SIO_FRAME_RESPONSE, n + response->body.n, &o);

    if (m == NULL) {
        response->result = NGX_HTTP_SIO_CALL_UNFIT;
        response->body.n = 0;

        m = ngx_sio_frame(NGX_SIO_FRAME_RESPONSE, n, &o);

        if (m == NULL) {
            return;
        }
    }

    sio_out_bytes(&o, b->id, NGX_SIO_ID_LEN);
    sio_out_byte(&o, response->result);
    sio_out_u16(&o, response->status);
    sio_out_u32(&o, b->at);
    sio_out_string(&o, ngx_sio_span(&response->peer));
    sio_out_string(&o, response->body);

    ngx_sio_bus_send(b->origin, m);
}


static ngx_int_t
ngx_http_sio_backend_response(ngx_sio_origin_t from, sio_in_t *in)
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
            ngx_str_rbtree_lookup(&ngx_http_sio_elsewhere, &id,
                                  ngx_crc32_short(id.data, id.len));

    if (b == NULL || b->origin != from) {
        return NGX_OK;
    }

    ngx_http_sio_backlog_here(b);

    pool = ngx_create_pool(NGX_HTTP_SIO_BACKEND_POOL, b->conf->core.log);
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

        ngx_http_sio_backend_finish(b);
        return NGX_OK;
    }

    ngx_memcpy(response->peer.data, peer.p, peer.n);
    ngx_memcpy(response->body.p, body.p, body.n);

    b->pool = pool;
    b->response = response;
    b->at = at;

    ngx_http_sio_backend_outcome(b);

    return NGX_OK;
}


static void
ngx_http_sio_backlog_here(ngx_http_sio_backlog_t *b)
{
    ngx_rbtree_delete(&ngx_http_sio_elsewhere, &b->sn.node);

    b->origin = 0;
    b->state = NGX_HTTP_SIO_BACKLOG_APPLYING;
}


/* the worker that had the call has not answered, and will not */

static void
ngx_http_sio_backend_gone(ngx_sio_origin_t origin)
{
    ngx_rbtree_node_t       *node, *next;
    ngx_http_sio_backlog_t  *b;

    if (ngx_http_sio_elsewhere.root == NULL
        || ngx_http_sio_elsewhere.root == ngx_http_sio_elsewhere.sentinel)
    {
        return;
    }

    for (node = ngx_rbtree_min(ngx_http_sio_elsewhere.root,
                               ngx_http_sio_elsewhere.sentinel);
         node;
         node = next)
    {
        next = ngx_rbtree_next(&ngx_http_sio_elsewhere, node);
        b = (ngx_http_sio_backlog_t *) node;

        if (b->origin == origin) {
            ngx_http_sio_backlog_here(b);

            b->response = &ngx_http_sio_response_gone;
            ngx_http_sio_backend_outcome(b);
        }
    }
}
