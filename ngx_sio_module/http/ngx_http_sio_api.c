/*
 * The HTTP API.  A request's operations are carried out one after the other,
 * as much in a turn of the event loop as it bears; questions go out among
 * them, in their order, and the answer waits for theirs.  What it takes lies
 * in the request's pool.
 */

#include "http/ngx_http_sio_api.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_query.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_op.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_json.h"
#include "proto/sio_packet.h"
#include "proto/sio_utf8.h"


#define NGX_HTTP_SIO_API_DEPTH      64
#define NGX_HTTP_SIO_API_QUESTIONS  16      /* under way at a time */
#define NGX_HTTP_SIO_API_SHOWN      100     /* bytes of what is wrong */


/* the members that an operation may have */

#define NGX_HTTP_SIO_API_TO         0x0001  /* one of to and sockets */
#define NGX_HTTP_SIO_API_EVENT      0x0002
#define NGX_HTTP_SIO_API_ROOMS      0x0004
#define NGX_HTTP_SIO_API_CLOSE      0x0008
#define NGX_HTTP_SIO_API_ANY        0x0010  /* no aim is everybody */


typedef struct {
    ngx_str_t             name;
    sio_op_type_t         type;
    ngx_uint_t            members;
} ngx_http_sio_api_type_t;


typedef struct ngx_http_sio_api_s  ngx_http_sio_api_t;


/* an operation and its result */

typedef struct {
    ngx_http_sio_api_t   *api;
    sio_op_type_t         type;
    ngx_sio_query_t      *query;            /* under way */
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


/* an operation as it is read */

typedef struct {
    ngx_pool_t           *pool;
    ngx_sio_op_t          op;
    sio_span_t            event;            /* tokens */
    sio_span_t            args;
    ngx_uint_t            aimed;
    const char           *error;
    sio_span_t            what;             /* it is about */
} ngx_http_sio_api_parse_t;


static ngx_uint_t ngx_http_sio_api_is_json(ngx_http_request_t *r);
static void ngx_http_sio_api_read(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_api_begin(ngx_http_request_t *r);
static void ngx_http_sio_api_next(ngx_event_t *ev);
static ngx_int_t ngx_http_sio_api_run(ngx_http_sio_api_t *api);
static ngx_int_t ngx_http_sio_api_one(ngx_http_sio_api_t *api,
    sio_span_t item);
static ngx_http_sio_api_type_t *ngx_http_sio_api_type(sio_span_t item,
    ngx_http_sio_api_parse_t *p);
static void ngx_http_sio_api_parse(ngx_http_sio_api_parse_t *p,
    ngx_http_sio_api_type_t *type, sio_span_t item);
static void ngx_http_sio_api_member(ngx_http_sio_api_parse_t *p,
    ngx_http_sio_api_type_t *type, sio_span_t key, sio_span_t value);
static void ngx_http_sio_api_aim(ngx_http_sio_api_parse_t *p,
    sio_span_t value, ngx_uint_t all);
static void ngx_http_sio_api_list(ngx_http_sio_api_parse_t *p,
    sio_span_t value, sio_span_t **list, ngx_uint_t *n);
static ngx_int_t ngx_http_sio_api_text(ngx_http_sio_api_parse_t *p,
    sio_span_t token, sio_span_t *text);
static unsigned ngx_http_sio_api_flag(ngx_http_sio_api_parse_t *p,
    sio_span_t value);
static void ngx_http_sio_api_emit(ngx_http_sio_api_parse_t *p);
static sio_span_t ngx_http_sio_api_error(ngx_pool_t *pool, const char *error,
    sio_span_t what);
static void ngx_http_sio_api_answered(ngx_sio_query_t *q);
static sio_span_t ngx_http_sio_api_result(ngx_http_sio_api_op_t *aop,
    ngx_sio_query_t *q);
static void ngx_http_sio_api_put_sockets(sio_out_t *o, ngx_sio_query_t *q);
static void ngx_http_sio_api_put_rooms(sio_out_t *o, ngx_rbtree_t *rooms);
static ngx_int_t ngx_http_sio_api_sum_rooms(ngx_pool_t *pool,
    ngx_sio_query_t *q, ngx_rbtree_t *rooms);
static void ngx_http_sio_api_put_string(sio_out_t *o, sio_span_t s);
static ngx_int_t ngx_http_sio_api_send(ngx_http_sio_api_t *api);
static ngx_int_t ngx_http_sio_api_refuse(ngx_http_request_t *r,
    ngx_uint_t status, const char *error);
static void ngx_http_sio_api_cleanup(void *data);


static ngx_http_sio_api_type_t  ngx_http_sio_api_types[] = {
    { ngx_string("emit"), SIO_OP_EMIT,
      NGX_HTTP_SIO_API_TO|NGX_HTTP_SIO_API_EVENT },
    { ngx_string("join"), SIO_OP_JOIN,
      NGX_HTTP_SIO_API_TO|NGX_HTTP_SIO_API_ROOMS },
    { ngx_string("leave"), SIO_OP_LEAVE,
      NGX_HTTP_SIO_API_TO|NGX_HTTP_SIO_API_ROOMS },
    { ngx_string("disconnect"), SIO_OP_DISCONNECT,
      NGX_HTTP_SIO_API_TO|NGX_HTTP_SIO_API_CLOSE },
    { ngx_string("fetch"), SIO_OP_FETCH,
      NGX_HTTP_SIO_API_TO|NGX_HTTP_SIO_API_ANY },
    { ngx_string("rooms"), SIO_OP_ROOMS,
      NGX_HTTP_SIO_API_TO|NGX_HTTP_SIO_API_ANY },
    { ngx_string("count"), SIO_OP_COUNT,
      NGX_HTTP_SIO_API_TO|NGX_HTTP_SIO_API_ANY }
};


typedef struct {
    ngx_str_node_t   sn;
    uint64_t         sockets;
} ngx_http_sio_api_room_t;


static ngx_str_t    ngx_http_sio_api_json = ngx_string("application/json");
static ngx_str_t    ngx_http_sio_api_post = ngx_string("POST");

static sio_json_t  *ngx_http_sio_api_validator;


ngx_int_t
ngx_http_sio_api_init(ngx_cycle_t *cycle)
{
    ngx_http_sio_api_validator = ngx_sio_socket_create_json(cycle->log);

    return ngx_http_sio_api_validator ? NGX_OK : NGX_ERROR;
}


void
ngx_http_sio_api_done(void)
{
    sio_json_destroy(ngx_http_sio_api_validator);
    ngx_http_sio_api_validator = NULL;
}


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
    sio_json_type_t           type;
    sio_json_check_t          check;
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

    ngx_memzero(&check, sizeof(sio_json_check_t));
    check.max_depth = NGX_HTTP_SIO_API_DEPTH;

    if (!sio_utf8_valid(api->body.p, api->body.n)) {
        return ngx_http_sio_api_refuse(r, NGX_HTTP_BAD_REQUEST,
                                       "the body is not UTF-8");
    }

    switch (sio_json_validate(ngx_http_sio_api_validator, api->body, &check,
                              &type))
    {
    case SIO_OK:
        break;

    case SIO_ELIMIT:
        return ngx_http_sio_api_refuse(r, NGX_HTTP_BAD_REQUEST,
                                       "the JSON is nested too deep");
    case SIO_ENOMEM:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    default:
        return ngx_http_sio_api_refuse(r, NGX_HTTP_BAD_REQUEST,
                                       "the body is not a valid JSON array");
    }

    if (type != SIO_JSON_ARRAY) {
        return ngx_http_sio_api_refuse(r, NGX_HTTP_BAD_REQUEST,
                                       "the body must be an array of "
                                       "operations");
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
    sio_span_t  item;

    while (!api->read) {

        if (api->waiting == NGX_HTTP_SIO_API_QUESTIONS) {
            return NGX_AGAIN;
        }

        if (ngx_sio_session_busy()) {
            ngx_post_event(&api->next, &ngx_posted_next_events);
            return NGX_AGAIN;
        }

        if (sio_json_next(api->body, &api->at, &item) != SIO_OK) {
            api->read = 1;
            break;
        }

        if (ngx_http_sio_api_one(api, item) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return api->waiting ? NGX_AGAIN : ngx_http_sio_api_send(api);
}


static ngx_int_t
ngx_http_sio_api_one(ngx_http_sio_api_t *api, sio_span_t item)
{
    ngx_pool_t                 *pool;
    ngx_http_sio_api_op_t      *aop, **slot;
    ngx_http_sio_api_type_t    *type;
    ngx_http_sio_api_parse_t    p;

    pool = api->request->pool;

    aop = ngx_pcalloc(pool, sizeof(ngx_http_sio_api_op_t));
    slot = ngx_array_push(&api->ops);

    if (aop == NULL || slot == NULL) {
        return NGX_ERROR;
    }

    *slot = aop;
    aop->api = api;

    ngx_memzero(&p, sizeof(ngx_http_sio_api_parse_t));

    p.pool = pool;
    p.op.app = api->app;
    ngx_str_set(&p.op.nsp, "/");

    type = ngx_http_sio_api_type(item, &p);

    if (type) {
        p.op.type = type->type;
        ngx_http_sio_api_parse(&p, type, item);
    }

    if (p.error) {
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

    aop->query = ngx_sio_query_ask(&p.op, NGX_SIO_QUERY_TIMEOUT,
                                   ngx_http_sio_api_answered, aop);
    if (aop->query) {
        api->waiting++;
    }

    return NGX_OK;
}


static ngx_http_sio_api_type_t *
ngx_http_sio_api_type(sio_span_t item, ngx_http_sio_api_parse_t *p)
{
    size_t       at;
    ngx_uint_t   i;
    sio_span_t   key, value;

    if (sio_json_type(item) != SIO_JSON_OBJECT) {
        p->error = "an operation must be an object";
        return NULL;
    }

    at = 0;

    while (sio_json_next_member(item, &at, &key, &value) == SIO_OK) {

        if (!sio_json_string_eq(key, sio_span("op"))) {
            continue;
        }

        for (i = 0; i < sio_countof(ngx_http_sio_api_types); i++) {
            if (sio_json_type(value) == SIO_JSON_STRING
                && sio_json_string_eq(value,
                             ngx_sio_span(&ngx_http_sio_api_types[i].name)))
            {
                return &ngx_http_sio_api_types[i];
            }
        }

        p->error = "unknown \"op\": ";
        p->what = value;
        return NULL;
    }

    p->error = "\"op\" is missing";

    return NULL;
}


static void
ngx_http_sio_api_parse(ngx_http_sio_api_parse_t *p,
    ngx_http_sio_api_type_t *type, sio_span_t item)
{
    size_t      at;
    sio_span_t  key, value;

    at = 0;

    while (p->error == NULL
           && sio_json_next_member(item, &at, &key, &value) == SIO_OK)
    {
        ngx_http_sio_api_member(p, type, key, value);
    }

    if (p->error) {
        return;
    }

    if (!p->aimed) {
        if (!(type->members & NGX_HTTP_SIO_API_ANY)) {
            p->error = "\"to\" or \"sockets\" is missing";
            return;
        }

        p->op.target = SIO_TO_ALL;
    }

    if ((type->members & NGX_HTTP_SIO_API_ROOMS) && p->op.nnames == 0) {
        p->error = "\"rooms\" is missing";
        return;
    }

    if (type->members & NGX_HTTP_SIO_API_EVENT) {

        if (p->op.app->user == &ngx_sio_plain_user) {
            p->error = "the app has \"sio_parser none\": it knows no events";
            return;
        }

        ngx_http_sio_api_emit(p);
    }
}


static void
ngx_http_sio_api_member(ngx_http_sio_api_parse_t *p,
    ngx_http_sio_api_type_t *type, sio_span_t key, sio_span_t value)
{
    sio_span_t  text;

    if (sio_json_string_eq(key, sio_span("op"))) {
        return;
    }

    if (sio_json_string_eq(key, sio_span("namespace"))) {

        if (ngx_http_sio_api_text(p, value, &text) != NGX_OK || text.n == 0
            || text.p[0] != '/')
        {
            p->error = "invalid \"namespace\": ";
            p->what = value;
            return;
        }

        p->op.nsp = ngx_sio_str(text);
        return;
    }

    if (sio_json_string_eq(key, sio_span("to"))) {
        ngx_http_sio_api_aim(p, value, 1);
        return;
    }

    if (sio_json_string_eq(key, sio_span("sockets"))) {
        ngx_http_sio_api_aim(p, value, 0);
        return;
    }

    if (sio_json_string_eq(key, sio_span("except"))) {
        ngx_http_sio_api_list(p, value, &p->op.except, &p->op.nexcept);
        return;
    }

    if (type->members & NGX_HTTP_SIO_API_EVENT) {

        if (sio_json_string_eq(key, sio_span("event"))) {
            p->event = value;
            return;
        }

        if (sio_json_string_eq(key, sio_span("args"))) {
            p->args = value;
            return;
        }

        if (sio_json_string_eq(key, sio_span("volatile"))) {
            p->op.volatil = ngx_http_sio_api_flag(p, value);
            return;
        }

        if (sio_json_string_eq(key, sio_span("local"))) {
            p->op.local = ngx_http_sio_api_flag(p, value);
            return;
        }
    }

    if ((type->members & NGX_HTTP_SIO_API_ROOMS)
        && sio_json_string_eq(key, sio_span("rooms")))
    {
        ngx_http_sio_api_list(p, value, &p->op.names, &p->op.nnames);
        return;
    }

    if ((type->members & NGX_HTTP_SIO_API_CLOSE)
        && sio_json_string_eq(key, sio_span("close")))
    {
        p->op.close = ngx_http_sio_api_flag(p, value);
        return;
    }

    p->error = "unknown member ";
    p->what = key;
}


/* rooms, or ids of sockets: a socket is in the room of its id */

static void
ngx_http_sio_api_aim(ngx_http_sio_api_parse_t *p, sio_span_t value,
    ngx_uint_t all)
{
    if (p->aimed) {
        p->error = "only one of \"to\" and \"sockets\" may be there, once";
        return;
    }

    p->aimed = 1;

    if (all && sio_json_type(value) == SIO_JSON_STRING
        && sio_json_string_eq(value, sio_span("*")))
    {
        p->op.target = SIO_TO_ALL;
        return;
    }

    p->op.target = SIO_TO_ROOMS;

    ngx_http_sio_api_list(p, value, &p->op.rooms, &p->op.nrooms);
}


/* a name, or an array of names */

static void
ngx_http_sio_api_list(ngx_http_sio_api_parse_t *p, sio_span_t value,
    sio_span_t **list, ngx_uint_t *n)
{
    size_t       at;
    ngx_uint_t   i;
    sio_span_t   item;

    if (sio_json_type(value) == SIO_JSON_STRING) {
        *n = 1;

    } else if (sio_json_type(value) == SIO_JSON_ARRAY) {
        for (*n = 0, at = 0; sio_json_next(value, &at, &item) == SIO_OK; ) {
            (*n)++;
        }

    } else {
        goto invalid;
    }

    *list = ngx_palloc(p->pool, (*n + 1) * sizeof(sio_span_t));

    if (*list == NULL) {
        p->error = "no memory";
        return;
    }

    if (sio_json_type(value) == SIO_JSON_STRING) {

        if (ngx_http_sio_api_text(p, value, *list) != NGX_OK) {
            goto invalid;
        }

        return;
    }

    for (i = 0, at = 0; sio_json_next(value, &at, &item) == SIO_OK; i++) {

        if (sio_json_type(item) != SIO_JSON_STRING
            || ngx_http_sio_api_text(p, item, &(*list)[i]) != NGX_OK)
        {
            goto invalid;
        }
    }

    return;

invalid:

    p->error = "not a name or an array of names: ";
    p->what = value;
}


/* a name: text of 1 to 256 bytes */

static ngx_int_t
ngx_http_sio_api_text(ngx_http_sio_api_parse_t *p, sio_span_t token,
    sio_span_t *text)
{
    sio_out_t  o;

    if (sio_json_type(token) != SIO_JSON_STRING) {
        return NGX_ERROR;
    }

    o.p = ngx_pnalloc(p->pool, token.n);
    if (o.p == NULL) {
        return NGX_ERROR;
    }

    text->p = o.p;
    o.n = 0;

    sio_json_unescape(&o, token);

    text->n = o.n;

    return (text->n && text->n <= NGX_SIO_MAX_NAME_LEN) ? NGX_OK : NGX_ERROR;
}


static unsigned
ngx_http_sio_api_flag(ngx_http_sio_api_parse_t *p, sio_span_t value)
{
    switch (sio_json_type(value)) {

    case SIO_JSON_TRUE:
        return 1;

    case SIO_JSON_FALSE:
        return 0;

    default:
        p->error = "not true or false: ";
        p->what = value;
        return 0;
    }
}


/* ["event",args...] */

static void
ngx_http_sio_api_emit(ngx_http_sio_api_parse_t *p)
{
    size_t       at;
    sio_out_t    o;
    sio_span_t   name, item;

    if (p->event.p == NULL) {
        p->error = "\"event\" is missing";
        return;
    }

    if (sio_json_type(p->event) != SIO_JSON_STRING) {
        p->error = "not a string: ";
        p->what = p->event;
        return;
    }

    o.p = ngx_pnalloc(p->pool, p->event.n);
    if (o.p == NULL) {
        p->error = "no memory";
        return;
    }

    name.p = o.p;
    o.n = 0;
    sio_json_unescape(&o, p->event);
    name.n = o.n;

    if (sio_packet_reserved(name)) {
        p->error = "reserved \"event\": ";
        p->what = p->event;
        return;
    }

    if (p->args.p == NULL) {
        p->args = sio_span("[]");
    }

    if (sio_json_type(p->args) != SIO_JSON_ARRAY) {
        p->error = "\"args\" must be an array";
        return;
    }

    o.p = ngx_pnalloc(p->pool, p->event.n + p->args.n + 2);
    if (o.p == NULL) {
        p->error = "no memory";
        return;
    }

    p->op.json.p = o.p;
    o.n = 0;

    sio_out_byte(&o, '[');
    sio_out_span(&o, p->event);

    at = 0;

    if (sio_json_next(p->args, &at, &item) == SIO_OK) {
        sio_out_byte(&o, ',');
        sio_out_bytes(&o, item.p, p->args.p + p->args.n - item.p);

    } else {
        sio_out_byte(&o, ']');
    }

    p->op.json.n = o.n;
}


/* what is a JSON token, or empty */

static sio_span_t
ngx_http_sio_api_error(ngx_pool_t *pool, const char *error, sio_span_t what)
{
    sio_out_t   o;
    sio_span_t  text, out;

    text.p = (u_char *) error;
    text.n = ngx_strlen(error);

    if (what.n > NGX_HTTP_SIO_API_SHOWN) {
        what.n = NGX_HTTP_SIO_API_SHOWN;

        while (what.n && (what.p[what.n] & 0xc0) == 0x80) {
            what.n--;
        }
    }

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
    ngx_http_sio_api_t     *api;
    ngx_http_sio_api_op_t  *aop;

    aop = q->data;
    api = aop->api;

    aop->query = NULL;
    aop->result = ngx_http_sio_api_result(aop, q);

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
            ngx_http_sio_api_put_string(o, sk.id);
            sio_out_str(o, ",\"rooms\":[");
            ngx_http_sio_api_put_string(o, sk.id);

            for (i = 0; i < sk.nrooms; i++) {
                sio_out_byte(o, ',');
                ngx_http_sio_api_put_string(o, sio_in_string(&sk.rooms));
            }

            sio_out_str(o, "],\"data\":{");

            for (i = 0; i < sk.ndata; i++) {
                if (i) {
                    sio_out_byte(o, ',');
                }

                ngx_http_sio_api_put_string(o, sio_in_string(&sk.data));
                sio_out_byte(o, ':');
                ngx_http_sio_api_put_string(o, sio_in_string(&sk.data));
            }

            sio_out_str(o, "}}");
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

        ngx_http_sio_api_put_string(o, ngx_sio_span(&room->sn.str));
        sio_out_byte(o, ':');
        sio_out_uint(o, room->sockets);
    }

    sio_out_byte(o, '}');
}


static void
ngx_http_sio_api_put_string(sio_out_t *o, sio_span_t s)
{
    sio_out_byte(o, '"');
    sio_json_escape(o, s);
    sio_out_byte(o, '"');
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
    }
}
