/*
 * The HTTP API.  A request's operations are carried out one after the other,
 * as much in a turn of the event loop as it bears; questions go out among
 * them, in their order, and the answer waits for theirs.  What it takes lies
 * in the request's pool.
 */

#include "http/ngx_http_sio_api.h"
#include "cluster/ngx_sio_ask.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_query.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_op_json.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_json.h"


#define NGX_HTTP_SIO_API_QUESTIONS  16      /* under way at a time */


typedef struct ngx_http_sio_api_s  ngx_http_sio_api_t;


/* an operation and its result */

typedef struct {
    ngx_http_sio_api_t   *api;
    sio_op_type_t         type;
    ngx_sio_query_t      *query;            /* under way, */
    ngx_sio_ask_t        *ask;              /* one of the two */
    sio_span_t            result;           /* JSON */
} ngx_http_sio_api_op_t;


struct ngx_http_sio_api_s {
    ngx_http_request_t   *request;
    ngx_sio_app_t        *app;
    sio_span_t            body;
    size_t                at;               /* where the next one begins */
    ngx_array_t           ops;              /* ngx_http_sio_api_op_t * */
    ngx_uint_t            waiting;          /* for questions */
    ngx_event_t           next;
    unsigned              read:1;           /* all operations were */
};


static ngx_uint_t ngx_http_sio_api_is_json(ngx_http_request_t *r);
static void ngx_http_sio_api_read(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_api_begin(ngx_http_request_t *r);
static void ngx_http_sio_api_next(ngx_event_t *ev);
static ngx_int_t ngx_http_sio_api_run(ngx_http_sio_api_t *api);
static ngx_int_t ngx_http_sio_api_one(ngx_http_sio_api_t *api);
static sio_span_t ngx_http_sio_api_error(ngx_pool_t *pool, const char *error,
    sio_span_t what);
static void ngx_http_sio_api_answered(ngx_sio_query_t *q);
static void ngx_http_sio_api_acked(ngx_sio_ask_t *ask);
static void ngx_http_sio_api_settled(ngx_http_sio_api_op_t *aop);
static sio_span_t ngx_http_sio_api_result(ngx_http_sio_api_op_t *aop,
    ngx_sio_query_t *q);
static void ngx_http_sio_api_put_sockets(sio_out_t *o, ngx_sio_query_t *q);
static void ngx_http_sio_api_put_rooms(sio_out_t *o, ngx_rbtree_t *rooms);
static ngx_int_t ngx_http_sio_api_sum_rooms(ngx_pool_t *pool,
    ngx_sio_query_t *q, ngx_rbtree_t *rooms);
static ngx_int_t ngx_http_sio_api_send(ngx_http_sio_api_t *api);
static ngx_int_t ngx_http_sio_api_refuse(ngx_http_request_t *r,
    ngx_uint_t status, const char *error);
static void ngx_http_sio_api_cleanup(void *data);


typedef struct {
    ngx_str_node_t   sn;
    uint64_t         sockets;
} ngx_http_sio_api_room_t;


static ngx_str_t    ngx_http_sio_api_json = ngx_string("application/json");
static ngx_str_t    ngx_http_sio_api_post = ngx_string("POST");


ngx_int_t
ngx_http_sio_api_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    if (!ngx_sio_bus_ready()) {
        return ngx_http_sio_park(r, ngx_http_sio_api_handler);
    }

    if (r->method != NGX_HTTP_POST) {
        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }

        if (ngx_http_sio_add_header(r, "Allow", &ngx_http_sio_api_post)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_sio_api_refuse(r, NGX_HTTP_NOT_ALLOWED,
                                       "the method must be POST");
    }

    /* what a page of any site can have a browser send is not enough */

    if (!ngx_http_sio_api_is_json(r)) {
        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK
               ? ngx_http_sio_api_refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                         "the Content-Type must be "
                                         "application/json")
               : rc;
    }

    rc = ngx_http_read_client_request_body(r, ngx_http_sio_api_read);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


static ngx_uint_t
ngx_http_sio_api_is_json(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    return type->len >= ngx_http_sio_api_json.len
           && ngx_strncasecmp(type->data, ngx_http_sio_api_json.data,
                              ngx_http_sio_api_json.len) == 0
           && (type->len == ngx_http_sio_api_json.len
               || ngx_strchr("; \t", type->data[ngx_http_sio_api_json.len]));
}


static void
ngx_http_sio_api_read(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_http_sio_api_begin(r);

    if (rc == NGX_AGAIN) {

        if (ngx_http_sio_watch(r) == NGX_OK) {
            return;
        }

        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_finalize_request(r, rc);
}


/* NGX_AGAIN: the answer comes later */

static ngx_int_t
ngx_http_sio_api_begin(ngx_http_request_t *r)
{
    const char               *error;
    ngx_http_cleanup_t       *cln;
    ngx_http_sio_api_t       *api;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_sio_api_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api = cln->data;
    ngx_memzero(api, sizeof(ngx_http_sio_api_t));

    api->request = r;
    api->app = slcf->api_app;

    api->next.handler = ngx_http_sio_api_next;
    api->next.data = api;
    api->next.log = r->connection->log;

    if (ngx_array_init(&api->ops, r->pool, 16,
                       sizeof(ngx_http_sio_api_op_t *)) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_sio_api_cleanup;

    if (ngx_http_sio_gather_body(r, NGX_MAX_SIZE_T_VALUE, &api->body)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    error = ngx_sio_op_json_validate(api->body);

    if (error) {
        return ngx_http_sio_api_refuse(r, NGX_HTTP_BAD_REQUEST, error);
    }

    return ngx_http_sio_api_run(api);
}


static void
ngx_http_sio_api_next(ngx_event_t *ev)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;
    ngx_http_sio_api_t  *api;

    api = ev->data;
    r = api->request;
    c = r->connection;

    rc = ngx_http_sio_api_run(api);

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
        ngx_http_run_posted_requests(c);
    }
}


static ngx_int_t
ngx_http_sio_api_run(ngx_http_sio_api_t *api)
{
    while (!api->read) {

        if (api->waiting == NGX_HTTP_SIO_API_QUESTIONS) {
            return NGX_AGAIN;
        }

        if (ngx_sio_session_busy()) {
            ngx_post_event(&api->next, &ngx_posted_next_events);
            return NGX_AGAIN;
        }

        if (ngx_http_sio_api_one(api) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return api->waiting ? NGX_AGAIN : ngx_http_sio_api_send(api);
}


static ngx_int_t
ngx_http_sio_api_one(ngx_http_sio_api_t *api)
{
    ngx_int_t                   rc;
    ngx_pool_t                 *pool;
    ngx_sio_op_json_t           p;
    ngx_http_sio_api_op_t      *aop, **slot;

    pool = api->request->pool;

    ngx_memzero(&p, sizeof(ngx_sio_op_json_t));

    p.pool = pool;
    p.op.app = api->app;
    ngx_str_set(&p.op.nsp, "/");

    rc = ngx_sio_op_json_next(&p, api->body, &api->at);

    if (rc == NGX_DONE) {
        api->read = 1;
        return NGX_OK;
    }

    aop = ngx_pcalloc(pool, sizeof(ngx_http_sio_api_op_t));
    slot = ngx_array_push(&api->ops);

    if (aop == NULL || slot == NULL) {
        return NGX_ERROR;
    }

    *slot = aop;
    aop->api = api;

    if (rc != NGX_OK) {
        aop->result = ngx_http_sio_api_error(pool, p.error, p.what);
        return aop->result.p ? NGX_OK : NGX_ERROR;
    }

    aop->type = p.op.type;
    aop->result = sio_span("{\"error\":\"too large for "
                           "\\\"sio_bus_buffer\\\"\"}");

    if (p.op.type < SIO_OP_FETCH) {

        if (ngx_sio_bus_publish(&p.op) != NGX_ERROR) {
            aop->result = sio_span("{\"ok\":true}");
        }

        return NGX_OK;
    }

    if (p.op.type == SIO_OP_ASK) {
        aop->ask = ngx_sio_ask(&p.op, ngx_http_sio_api_acked, aop);

    } else {
        aop->query = ngx_sio_query_ask(&p.op, NGX_SIO_QUERY_TIMEOUT,
                                       ngx_http_sio_api_answered, aop);
    }

    if (aop->query || aop->ask) {
        api->waiting++;
    }

    return NGX_OK;
}


/* what is a JSON token, or empty */

static sio_span_t
ngx_http_sio_api_error(ngx_pool_t *pool, const char *error, sio_span_t what)
{
    sio_out_t   o;
    sio_span_t  text, out;

    text.p = (u_char *) error;
    text.n = ngx_strlen(error);

    what = ngx_sio_op_json_shown(what);
    o.p = NULL;

    for ( ;; ) {
        o.n = 0;

        sio_out_str(&o, "{\"error\":\"");
        sio_json_escape(&o, text);
        sio_json_escape(&o, what);
        sio_out_str(&o, "\"}");

        if (o.p) {
            out.n = o.n;
            return out;
        }

        o.p = ngx_pnalloc(pool, o.n);
        if (o.p == NULL) {
            return sio_span_null;
        }

        out.p = o.p;
    }
}


static void
ngx_http_sio_api_answered(ngx_sio_query_t *q)
{
    ngx_http_sio_api_op_t  *aop;

    aop = q->data;

    aop->query = NULL;
    aop->result = ngx_http_sio_api_result(aop, q);

    ngx_http_sio_api_settled(aop);
}


static void
ngx_http_sio_api_acked(ngx_sio_ask_t *ask)
{
    sio_out_t               o;
    ngx_uint_t              pass;
    ngx_http_sio_api_op_t  *aop;
    ngx_sio_ask_answer_t   *answer;

    aop = ask->data;

    aop->ask = NULL;
    aop->result = sio_span_null;

    o.p = NULL;

    for (pass = 0; pass < 2; pass++) {
        o.n = 0;

        sio_out_str(&o, "{\"ok\":true,\"answers\":[");

        for (answer = ask->answers; answer; answer = answer->next) {
            if (answer != ask->answers) {
                sio_out_byte(&o, ',');
            }

            sio_out_str(&o, "{\"id\":");
            ngx_sio_op_json_string(&o, answer->id);
            sio_out_str(&o, ",\"args\":");
            sio_out_span(&o, answer->args);
            sio_out_byte(&o, '}');
        }

        sio_out_str(&o, "],\"missing\":");
        sio_out_uint(&o, ask->expected > ask->received
                         ? ask->expected - ask->received : 0);

        if (ask->partial) {
            sio_out_str(&o, ",\"partial\":true");
        }

        sio_out_byte(&o, '}');

        if (pass == 0) {
            o.p = ngx_pnalloc(aop->api->request->pool, o.n);
            if (o.p == NULL) {
                break;
            }

            aop->result.p = o.p;
            aop->result.n = o.n;
        }
    }

    ngx_http_sio_api_settled(aop);
}


static void
ngx_http_sio_api_settled(ngx_http_sio_api_op_t *aop)
{
    ngx_http_sio_api_t  *api;

    api = aop->api;

    if (aop->result.p == NULL) {
        aop->result = sio_span("{\"error\":\"no memory\"}");
    }

    api->waiting--;

    /* the request may go with its answer, but not under the query's feet */

    if ((api->waiting == 0 || !api->read) && !api->next.posted) {
        ngx_post_event(&api->next, &ngx_posted_events);
    }
}


static sio_span_t
ngx_http_sio_api_result(ngx_http_sio_api_op_t *aop, ngx_sio_query_t *q)
{
    uint64_t               n;
    sio_in_t               in;
    sio_out_t              o;
    ngx_uint_t             i;
    sio_span_t             out;
    ngx_pool_t            *pool;
    ngx_rbtree_t           rooms;
    ngx_rbtree_node_t      sentinel;
    ngx_sio_query_part_t  *part;

    pool = aop->api->request->pool;

    ngx_rbtree_init(&rooms, &sentinel, ngx_str_rbtree_insert_value);

    if (aop->type == SIO_OP_ROOMS
        && ngx_http_sio_api_sum_rooms(pool, q, &rooms) != NGX_OK)
    {
        return sio_span_null;
    }

    o.p = NULL;

    for ( ;; ) {
        o.n = 0;

        switch (aop->type) {

        case SIO_OP_FETCH:
            sio_out_str(&o, "{\"sockets\":");
            ngx_http_sio_api_put_sockets(&o, q);
            break;

        case SIO_OP_ROOMS:
            sio_out_str(&o, "{\"rooms\":");
            ngx_http_sio_api_put_rooms(&o, &rooms);
            break;

        default: /* SIO_OP_COUNT */
            for (n = 0, part = q->parts; part; part = part->next) {
                in = sio_in(part->body);
                n += sio_in_u64(&in);
            }

            sio_out_str(&o, "{\"count\":");
            sio_out_uint(&o, n);
            break;
        }

        if (q->nmissing) {
            sio_out_str(&o, ",\"partial\":true,\"missing\":[");

            for (i = 0; i < q->nmissing; i++) {
                if (i) {
                    sio_out_byte(&o, ',');
                }

                sio_out_uint(&o, q->missing[i] >> 32);
            }

            sio_out_byte(&o, ']');
        }

        sio_out_byte(&o, '}');

        if (o.p) {
            out.n = o.n;
            return out;
        }

        o.p = ngx_pnalloc(pool, o.n);
        if (o.p == NULL) {
            return sio_span_null;
        }

        out.p = o.p;
    }
}


static void
ngx_http_sio_api_put_sockets(sio_out_t *o, ngx_sio_query_t *q)
{
    uint32_t                i;
    sio_in_t                in;
    ngx_uint_t              n;
    ngx_sio_query_part_t   *part;
    ngx_sio_query_socket_t  sk;

    sio_out_byte(o, '[');
    n = 0;

    for (part = q->parts; part; part = part->next) {
        in = sio_in(part->body);

        while (ngx_sio_query_next_socket(&in, &sk) == SIO_OK) {

            if (n++) {
                sio_out_byte(o, ',');
            }

            sio_out_str(o, "{\"id\":");
            ngx_sio_op_json_string(o, sk.id);
            sio_out_str(o, ",\"rooms\":[");
            ngx_sio_op_json_string(o, sk.id);

            for (i = 0; i < sk.nrooms; i++) {
                sio_out_byte(o, ',');
                ngx_sio_op_json_string(o, sio_in_string(&sk.rooms));
            }

            sio_out_str(o, "],\"data\":");
            sio_out_span(o, sk.data);
            sio_out_byte(o, '}');
        }
    }

    sio_out_byte(o, ']');
}


/* the same room may have sockets with several workers */

static ngx_int_t
ngx_http_sio_api_sum_rooms(ngx_pool_t *pool, ngx_sio_query_t *q,
    ngx_rbtree_t *rooms)
{
    uint32_t                  hash;
    uint64_t                  sockets;
    sio_in_t                  in;
    ngx_str_t                 s;
    sio_span_t                name;
    ngx_sio_query_part_t     *part;
    ngx_http_sio_api_room_t  *room;

    for (part = q->parts; part; part = part->next) {
        in = sio_in(part->body);

        while (ngx_sio_query_next_room(&in, &name, &sockets) == SIO_OK) {
            s = ngx_sio_str(name);
            hash = ngx_crc32_short(s.data, s.len);

            room = (ngx_http_sio_api_room_t *)
                       ngx_str_rbtree_lookup(rooms, &s, hash);

            if (room == NULL) {
                room = ngx_pcalloc(pool, sizeof(ngx_http_sio_api_room_t));
                if (room == NULL) {
                    return NGX_ERROR;
                }

                room->sn.node.key = hash;
                room->sn.str.len = s.len;
                room->sn.str.data = ngx_pstrdup(pool, &s);

                if (room->sn.str.data == NULL) {
                    return NGX_ERROR;
                }

                ngx_rbtree_insert(rooms, &room->sn.node);
            }

            room->sockets += sockets;
        }
    }

    return NGX_OK;
}


static void
ngx_http_sio_api_put_rooms(sio_out_t *o, ngx_rbtree_t *rooms)
{
    ngx_uint_t                n;
    ngx_rbtree_node_t        *node;
    ngx_http_sio_api_room_t  *room;

    sio_out_byte(o, '{');

    if (rooms->root == rooms->sentinel) {
        sio_out_byte(o, '}');
        return;
    }

    for (n = 0, node = ngx_rbtree_min(rooms->root, rooms->sentinel);
         node;
         n++, node = ngx_rbtree_next(rooms, node))
    {
        room = (ngx_http_sio_api_room_t *) node;

        if (n) {
            sio_out_byte(o, ',');
        }

        ngx_sio_op_json_string(o, ngx_sio_span(&room->sn.str));
        sio_out_byte(o, ':');
        sio_out_uint(o, room->sockets);
    }

    sio_out_byte(o, '}');
}


static ngx_int_t
ngx_http_sio_api_send(ngx_http_sio_api_t *api)
{
    sio_out_t                o;
    ngx_str_t                body;
    ngx_uint_t               i;
    ngx_http_sio_api_op_t  **aop;

    aop = api->ops.elts;
    o.p = NULL;

    for ( ;; ) {
        o.n = 0;

        sio_out_byte(&o, '[');

        for (i = 0; i < api->ops.nelts; i++) {
            if (i) {
                sio_out_byte(&o, ',');
            }

            sio_out_span(&o, aop[i]->result);
        }

        sio_out_str(&o, "]\n");

        if (o.p) {
            break;
        }

        o.p = ngx_pnalloc(api->request->pool, o.n);
        if (o.p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        body.data = o.p;
    }

    body.len = o.n;

    return ngx_http_sio_send(api->request, NGX_HTTP_OK,
                             &ngx_http_sio_api_json, &body);
}


static ngx_int_t
ngx_http_sio_api_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *error)
{
    ngx_str_t   body;
    sio_span_t  text;

    text = ngx_http_sio_api_error(r->pool, error, sio_span_null);

    if (text.p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body = ngx_sio_str(text);

    return ngx_http_sio_send(r, status, &ngx_http_sio_api_json, &body);
}


static void
ngx_http_sio_api_cleanup(void *data)
{
    ngx_http_sio_api_t *api = data;

    ngx_uint_t               i;
    ngx_http_sio_api_op_t  **aop;

    if (api->next.posted) {
        ngx_delete_posted_event(&api->next);
    }

    aop = api->ops.elts;

    for (i = 0; i < api->ops.nelts; i++) {
        if (aop[i]->query) {
            ngx_sio_query_cancel(aop[i]->query);
        }

        if (aop[i]->ask) {
            ngx_sio_ask_cancel(aop[i]->ask);
        }
    }
}
