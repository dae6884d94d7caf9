/*
 * Each operation is an object; a table says which members each may have, so
 * that a misspelt one is an error and not an emit to the wrong clients.
 * Binary values stand in JSON as {"_base64":"..."}; on their way to clients
 * they become attachments.
 */

#include "core/ngx_sio_op_json.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_base64.h"
#include "proto/sio_json.h"
#include "proto/sio_packet.h"
#include "proto/sio_utf8.h"


#define NGX_SIO_JSON_ATTACHMENTS  255
#define NGX_SIO_JSON_MAX_TOKEN    256

#define NGX_SIO_JSON_BASE64       "{\"_base64\":\""
#define NGX_SIO_JSON_PLACEHOLDER  "{\"_placeholder\":true,\"num\":"


/* the members that operations may have */

#define NGX_SIO_MEMBERS(X)                                                    \
    X(OP, "op")                                                               \
    X(EVENT, "event")                                                         \
    X(ARGS, "args")                                                           \
    X(TO, "to")                                                               \
    X(SOCKETS, "sockets")                                                     \
    X(EXCEPT, "except")                                                       \
    X(NAMESPACE, "namespace")                                                 \
    X(ROOMS, "rooms")                                                         \
    X(SET, "set")                                                             \
    X(CLOSE, "close")                                                         \
    X(VOLATILE, "volatile")                                                   \
    X(LOCAL, "local")                                                         \
    X(ACK, "ack")                                                             \
    X(TIMEOUT, "timeout")                                                     \
    X(SEQ, "seq")

#define NGX_SIO_MEMBER_ENUM(name, text)  NGX_SIO_MEMBER_##name,
#define NGX_SIO_MEMBER_TEXT(name, text)                                       \
    { (uint8_t *) text, sizeof(text) - 1 },

typedef enum {
    NGX_SIO_MEMBERS(NGX_SIO_MEMBER_ENUM)
    NGX_SIO_MEMBER_N
} ngx_sio_op_json_member_e;


/* what an operation takes: members, who may send it, and more */

#define NGX_SIO_JSON_HAS(name)    (1 << NGX_SIO_MEMBER_##name)

#define NGX_SIO_JSON_TO                                                       \
    (NGX_SIO_JSON_HAS(TO)|NGX_SIO_JSON_HAS(SOCKETS)|NGX_SIO_JSON_HAS(EXCEPT)  \
     |NGX_SIO_JSON_HAS(NAMESPACE))

#define NGX_SIO_JSON_API          0x10000
#define NGX_SIO_JSON_ANSWER       0x20000
#define NGX_SIO_JSON_BOTH         (NGX_SIO_JSON_API|NGX_SIO_JSON_ANSWER)
#define NGX_SIO_JSON_ANY          0x40000  /* no aim is everybody */


typedef struct {
    sio_span_t            name;
    sio_op_type_t         type;
    ngx_uint_t            takes;
} ngx_sio_op_json_type_t;


static size_t ngx_sio_op_json_parse(ngx_sio_op_json_t *p, sio_span_t object);
static ngx_uint_t ngx_sio_op_json_name(sio_span_t key);
static const ngx_sio_op_json_type_t *ngx_sio_op_json_type(
    ngx_sio_op_json_t *p, sio_span_t op);
static void ngx_sio_op_json_member(ngx_sio_op_json_t *p, ngx_uint_t name,
    sio_span_t value);
static void ngx_sio_op_json_check(ngx_sio_op_json_t *p,
    const ngx_sio_op_json_type_t *type);
static void ngx_sio_op_json_aim(ngx_sio_op_json_t *p, sio_span_t value,
    ngx_uint_t all);
static void ngx_sio_op_json_list(ngx_sio_op_json_t *p, sio_span_t value,
    sio_span_t **list, ngx_uint_t *n);
static ngx_int_t ngx_sio_op_json_text(ngx_sio_op_json_t *p, sio_span_t token,
    size_t max, sio_span_t *text);
static unsigned ngx_sio_op_json_flag(ngx_sio_op_json_t *p, sio_span_t value);
static uint64_t ngx_sio_op_json_number(sio_span_t value, uint64_t max);
static void ngx_sio_op_json_emit(ngx_sio_op_json_t *p);
static void ngx_sio_op_json_plain(ngx_sio_op_json_t *p);
static void ngx_sio_op_json_attach(ngx_sio_op_json_t *p);
static ngx_int_t ngx_sio_op_json_find(sio_span_t json, size_t *at,
    sio_span_t *object, sio_span_t *string);
static ngx_int_t ngx_sio_op_json_decode(ngx_sio_op_json_t *p,
    sio_span_t string, sio_span_t *data);


static const sio_span_t  ngx_sio_op_json_names[] = {
    NGX_SIO_MEMBERS(NGX_SIO_MEMBER_TEXT)
};


static const ngx_sio_op_json_type_t  ngx_sio_op_json_types[] = {

    { { (u_char *) "emit", 4 }, SIO_OP_EMIT,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_HAS(EVENT)|NGX_SIO_JSON_HAS(ARGS)
      |NGX_SIO_JSON_HAS(VOLATILE)|NGX_SIO_JSON_HAS(LOCAL)
      |NGX_SIO_JSON_HAS(ACK)|NGX_SIO_JSON_HAS(TIMEOUT)|NGX_SIO_JSON_BOTH },

    { { (u_char *) "ack", 3 }, SIO_OP_ACK,
      NGX_SIO_JSON_HAS(ARGS)|NGX_SIO_JSON_HAS(SEQ)|NGX_SIO_JSON_ANSWER },

    { { (u_char *) "join", 4 }, SIO_OP_JOIN,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_HAS(ROOMS)|NGX_SIO_JSON_BOTH },

    { { (u_char *) "leave", 5 }, SIO_OP_LEAVE,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_HAS(ROOMS)|NGX_SIO_JSON_BOTH },

    { { (u_char *) "data", 4 }, SIO_OP_DATA,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_HAS(SET)|NGX_SIO_JSON_BOTH },

    { { (u_char *) "disconnect", 10 }, SIO_OP_DISCONNECT,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_HAS(CLOSE)|NGX_SIO_JSON_BOTH },

    { { (u_char *) "fetch", 5 }, SIO_OP_FETCH,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_ANY|NGX_SIO_JSON_API },

    { { (u_char *) "rooms", 5 }, SIO_OP_ROOMS,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_ANY|NGX_SIO_JSON_API },

    { { (u_char *) "count", 5 }, SIO_OP_COUNT,
      NGX_SIO_JSON_TO|NGX_SIO_JSON_ANY|NGX_SIO_JSON_API }
};


static sio_json_t              *ngx_sio_op_json;
static sio_json_placeholder_t
                  ngx_sio_op_json_placeholders[NGX_SIO_JSON_ATTACHMENTS + 1];


ngx_int_t
ngx_sio_op_json_init(ngx_cycle_t *cycle)
{
    ngx_sio_op_json = ngx_sio_socket_create_json(cycle->log);

    return ngx_sio_op_json ? NGX_OK : NGX_ERROR;
}


void
ngx_sio_op_json_done(void)
{
    sio_json_destroy(ngx_sio_op_json);
    ngx_sio_op_json = NULL;
}


const char *
ngx_sio_op_json_validate(sio_span_t text)
{
    sio_json_type_t   type;
    sio_json_check_t  check;

    ngx_memzero(&check, sizeof(sio_json_check_t));
    check.max_depth = NGX_SIO_JSON_DEPTH;

    if (!sio_utf8_valid(text.p, text.n)) {
        return "the body is not UTF-8";
    }

    switch (sio_json_validate(ngx_sio_op_json, text, &check, &type)) {

    case SIO_OK:
        break;

    case SIO_ELIMIT:
        return "the JSON is nested too deep";

    case SIO_ENOMEM:
        return "no memory";

    default:
        return "the body is not a valid JSON array";
    }

    return (type == SIO_JSON_ARRAY)
           ? NULL : "the body must be an array of operations";
}


ngx_uint_t
ngx_sio_op_json_is_object(sio_span_t text)
{
    sio_json_type_t   type;
    sio_json_check_t  check;

    ngx_memzero(&check, sizeof(sio_json_check_t));
    check.max_depth = NGX_SIO_JSON_DEPTH;

    return sio_utf8_valid(text.p, text.n)
           && sio_json_validate(ngx_sio_op_json, text, &check, &type) == SIO_OK
           && type == SIO_JSON_OBJECT;
}


ngx_int_t
ngx_sio_op_json_next(ngx_sio_op_json_t *p, sio_span_t array, size_t *at)
{
    size_t      n;
    sio_span_t  rest;

    if (sio_json_peek(array, *at, &rest) != SIO_OK) {
        return NGX_DONE;
    }

    if (*rest.p != '{') {
        p->error = "an operation must be an object";

    } else {
        n = ngx_sio_op_json_parse(p, rest);

        if (p->error == NULL) {
            sio_json_pass(array, at, rest, n);
            return NGX_OK;
        }
    }

    (void) sio_json_next(array, at, &rest);

    return NGX_ERROR;
}


/* reads the object at the beginning; returns its length, or sets p->error */

static size_t
ngx_sio_op_json_parse(ngx_sio_op_json_t *p, sio_span_t object)
{
    size_t                         at;
    ngx_uint_t                     i, name;
    sio_span_t                     key, value, unknown;
    sio_span_t                     keys[NGX_SIO_MEMBER_N];
    sio_span_t                     members[NGX_SIO_MEMBER_N];
    const ngx_sio_op_json_type_t  *type;

    ngx_memzero(members, sizeof(members));

    unknown = sio_span_null;
    at = 0;

    while (sio_json_next_member(object, &at, &key, &value) == SIO_OK) {

        name = ngx_sio_op_json_name(key);

        if (name == NGX_SIO_MEMBER_N) {
            unknown = key;
            continue;
        }

        if (members[name].p && (name == NGX_SIO_MEMBER_TO
                                || name == NGX_SIO_MEMBER_SOCKETS))
        {
            p->error = "only one of \"to\" and \"sockets\" may be there, once";
            return 0;
        }

        keys[name] = key;
        members[name] = value;
    }

    type = ngx_sio_op_json_type(p, members[NGX_SIO_MEMBER_OP]);

    if (type == NULL) {
        return 0;
    }

    p->op.type = type->type;

    for (i = 0; i < NGX_SIO_MEMBER_N && p->error == NULL; i++) {

        if (members[i].p == NULL || i == NGX_SIO_MEMBER_OP) {
            continue;
        }

        if (!(type->takes & (1 << i))) {
            p->error = "unknown member ";
            p->what = keys[i];
            break;
        }

        ngx_sio_op_json_member(p, i, members[i]);
    }

    if (p->error == NULL && unknown.p) {
        p->error = "unknown member ";
        p->what = unknown;
    }

    if (p->error == NULL) {
        ngx_sio_op_json_check(p, type);
    }

    return at + 1;
}


static ngx_uint_t
ngx_sio_op_json_name(sio_span_t key)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_SIO_MEMBER_N; i++) {
        if (sio_json_string_eq(key, ngx_sio_op_json_names[i])) {
            break;
        }
    }

    return i;
}


static const ngx_sio_op_json_type_t *
ngx_sio_op_json_type(ngx_sio_op_json_t *p, sio_span_t op)
{
    ngx_uint_t                     i, sender;
    const ngx_sio_op_json_type_t  *type;

    if (op.p == NULL) {
        p->error = "\"op\" is missing";
        return NULL;
    }

    sender = p->answer ? NGX_SIO_JSON_ANSWER : NGX_SIO_JSON_API;

    for (i = 0; i < sio_countof(ngx_sio_op_json_types); i++) {
        type = &ngx_sio_op_json_types[i];

        if ((type->takes & sender) && sio_json_type(op) == SIO_JSON_STRING
            && sio_json_string_eq(op, type->name))
        {
            return type;
        }
    }

    p->error = "unknown \"op\": ";
    p->what = op;

    return NULL;
}


static void
ngx_sio_op_json_member(ngx_sio_op_json_t *p, ngx_uint_t name,
    sio_span_t value)
{
    sio_span_t  text;

    switch (name) {

    case NGX_SIO_MEMBER_EVENT:
        p->event = value;
        return;

    case NGX_SIO_MEMBER_ARGS:
        p->args = value;
        return;

    case NGX_SIO_MEMBER_TO:
        ngx_sio_op_json_aim(p, value, 1);
        return;

    case NGX_SIO_MEMBER_SOCKETS:
        ngx_sio_op_json_aim(p, value, 0);
        return;

    case NGX_SIO_MEMBER_EXCEPT:
        ngx_sio_op_json_list(p, value, &p->op.except, &p->op.nexcept);
        return;

    case NGX_SIO_MEMBER_NAMESPACE:

        if (ngx_sio_op_json_text(p, value, NGX_SIO_MAX_NAME_LEN, &text)
            != NGX_OK || text.p[0] != '/')
        {
            p->error = "invalid \"namespace\": ";
            p->what = value;
            return;
        }

        p->named = !sio_span_eq(text, ngx_sio_span(&p->op.nsp));
        p->op.nsp = ngx_sio_str(text);
        return;

    case NGX_SIO_MEMBER_ROOMS:
        ngx_sio_op_json_list(p, value, &p->op.names, &p->op.nnames);
        return;

    case NGX_SIO_MEMBER_SET:
        p->op.json = value;
        return;

    case NGX_SIO_MEMBER_CLOSE:
        p->op.close = ngx_sio_op_json_flag(p, value);
        return;

    case NGX_SIO_MEMBER_VOLATILE:
        p->op.volatil = ngx_sio_op_json_flag(p, value);
        return;

    case NGX_SIO_MEMBER_LOCAL:
        p->op.local = ngx_sio_op_json_flag(p, value);
        return;

    case NGX_SIO_MEMBER_SEQ:
        p->seq = ngx_sio_op_json_number(value, SIO_MAX_SAFE_INTEGER);

        if (p->seq == 0) {
            p->error = "\"seq\" must be a whole number, not ";
            p->what = value;
        }

        return;

    case NGX_SIO_MEMBER_TIMEOUT:
        p->op.timeout = ngx_sio_op_json_number(value,
                                               NGX_SIO_MAX_ACK_TIMEOUT);
        p->timed = 1;

        if (p->op.timeout == 0) {
            p->error = "\"timeout\" must be a whole number from 1 to 600000, "
                       "not ";
            p->what = value;
        }

        return;

    default: /* NGX_SIO_MEMBER_ACK */

        /* who gets the answers in the result needs no token */

        if (!p->answer && sio_json_type(value) == SIO_JSON_TRUE) {
            p->token = sio_span("true");

        } else if (ngx_sio_op_json_text(p, value, NGX_SIO_JSON_MAX_TOKEN,
                                        &p->token) != NGX_OK)
        {
            p->error = "invalid \"ack\": ";
            p->what = value;
        }

        return;
    }
}


/* what only all members together tell */

static void
ngx_sio_op_json_check(ngx_sio_op_json_t *p,
    const ngx_sio_op_json_type_t *type)
{
    if (!p->aimed) {

        if (type->takes & NGX_SIO_JSON_ANY) {
            p->op.target = SIO_TO_ALL;

        } else if (p->answer && !p->named) {
            p->op.target = SIO_TO_SENDER;

        } else {
            p->error = "\"to\" or \"sockets\" is missing";
            return;
        }

        if (p->op.target == SIO_TO_SENDER && p->op.nexcept) {
            p->error = "\"except\" needs \"to\" or \"sockets\"";
            return;
        }
    }

    if ((type->takes & NGX_SIO_JSON_HAS(ROOMS)) && p->op.nnames == 0) {
        p->error = "\"rooms\" is missing";
        return;
    }

    if ((type->takes & NGX_SIO_JSON_HAS(SET))
        && sio_json_type(p->op.json) != SIO_JSON_OBJECT)
    {
        p->error = p->op.json.p ? "\"set\" must be an object"
                                : "\"set\" is missing";
        return;
    }

    if (type->takes & NGX_SIO_JSON_HAS(ARGS)) {

        if (p->args.p == NULL) {
            p->args = sio_span("[]");
        }

        if (sio_json_type(p->args) != SIO_JSON_ARRAY) {
            p->error = "\"args\" must be an array";
            return;
        }
    }

    if (type->type == SIO_OP_EMIT) {

        if (p->op.app->user == &ngx_sio_plain_user) {
            ngx_sio_op_json_plain(p);

        } else {
            ngx_sio_op_json_emit(p);
        }

    } else if (type->type == SIO_OP_ACK) {
        p->op.json = p->args;
        ngx_sio_op_json_attach(p);
    }
}


/* rooms, or ids of sockets */

static void
ngx_sio_op_json_aim(ngx_sio_op_json_t *p, sio_span_t value, ngx_uint_t all)
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

    p->op.target = all ? SIO_TO_ROOMS : SIO_TO_SOCKETS;

    ngx_sio_op_json_list(p, value, &p->op.rooms, &p->op.nrooms);
}


/* a name, or an array of names */

static void
ngx_sio_op_json_list(ngx_sio_op_json_t *p, sio_span_t value,
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

        if (ngx_sio_op_json_text(p, value, NGX_SIO_MAX_NAME_LEN, *list)
            != NGX_OK)
        {
            goto invalid;
        }

        return;
    }

    for (i = 0, at = 0; sio_json_next(value, &at, &item) == SIO_OK; i++) {

        if (ngx_sio_op_json_text(p, item, NGX_SIO_MAX_NAME_LEN, &(*list)[i])
            != NGX_OK)
        {
            goto invalid;
        }
    }

    return;

invalid:

    p->error = "not a name or an array of names: ";
    p->what = value;
}


/* a string of 1 to max bytes */

static ngx_int_t
ngx_sio_op_json_text(ngx_sio_op_json_t *p, sio_span_t token, size_t max,
    sio_span_t *text)
{
    sio_out_t  o;

    if (sio_json_type(token) != SIO_JSON_STRING) {
        return NGX_ERROR;
    }

    if (ngx_strlchr(token.p, token.p + token.n, '\\') == NULL) {
        text->p = token.p + 1;
        text->n = token.n - 2;

    } else {
        o.p = ngx_pnalloc(p->pool, token.n);
        if (o.p == NULL) {
            return NGX_ERROR;
        }

        text->p = o.p;
        o.n = 0;

        sio_json_unescape(&o, token);

        text->n = o.n;
    }

    return (text->n && text->n <= max) ? NGX_OK : NGX_ERROR;
}


static unsigned
ngx_sio_op_json_flag(ngx_sio_op_json_t *p, sio_span_t value)
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


/* a whole number from 1 to max, or 0 */

static uint64_t
ngx_sio_op_json_number(sio_span_t value, uint64_t max)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < value.n && n <= max; i++) {

        if (value.p[i] < '0' || value.p[i] > '9') {
            return 0;
        }

        n = n * 10 + (value.p[i] - '0');
    }

    return (n > max) ? 0 : n;
}


/* ["event",args...] */

static void
ngx_sio_op_json_emit(ngx_sio_op_json_t *p)
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

    o.p = ngx_pnalloc(p->pool, 2 * p->event.n + p->args.n + 2);
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

    ngx_sio_op_json_attach(p);

    if (p->error) {
        return;
    }

    if (p->token.p) {
        p->op.type = SIO_OP_ASK;

        if (!p->timed) {
            p->op.timeout = NGX_SIO_ACK_TIMEOUT;
        }

    } else if (p->timed) {
        p->error = "\"timeout\" needs \"ack\"";
    }
}


/* sio_parser none: a message is one text, or one binary value */

static void
ngx_sio_op_json_plain(ngx_sio_op_json_t *p)
{
    size_t      at;
    sio_out_t   o;
    sio_span_t  item, next, object, string;

    if (p->event.p
        && (sio_json_type(p->event) != SIO_JSON_STRING
            || !sio_json_string_eq(p->event, sio_span("message"))))
    {
        p->error = "the app has \"sio_parser none\": its only event is "
                   "\"message\", not ";
        p->what = p->event;
        return;
    }

    if (p->token.p || p->timed) {
        p->error = "the app has \"sio_parser none\": it knows no "
                   "acknowledgements";
        return;
    }

    at = 0;

    if (sio_json_next(p->args, &at, &item) == SIO_OK
        && sio_json_next(p->args, &at, &next) != SIO_OK)
    {
        p->op.opaque = 1;
        at = 0;

        if (sio_json_type(item) == SIO_JSON_STRING) {
            o.p = ngx_pnalloc(p->pool, item.n);
            if (o.p == NULL) {
                p->error = "no memory";
                return;
            }

            p->op.json.p = o.p;
            o.n = 0;
            sio_json_unescape(&o, item);
            p->op.json.n = o.n;
            return;
        }

        if (ngx_sio_op_json_find(item, &at, &object, &string) == NGX_OK
            && object.p == item.p && object.n == item.n)
        {
            p->op.binary = 1;
            (void) ngx_sio_op_json_decode(p, string, &p->op.json);
            return;
        }
    }

    p->error = "the app has \"sio_parser none\": \"args\" must be one string "
               "or binary value";
}


/* binary values become attachments, in their order */

static void
ngx_sio_op_json_attach(ngx_sio_op_json_t *p)
{
    size_t             at, from;
    sio_out_t          o;
    ngx_uint_t         n;
    sio_span_t         json, object, string;
    sio_json_check_t   check;

    json = p->op.json;
    at = 0;

    for (n = 0;
         ngx_sio_op_json_find(json, &at, &object, &string) == NGX_OK;
         n++)
    {
        if (n == NGX_SIO_JSON_ATTACHMENTS) {
            p->error = "too many binary values";
            return;
        }
    }

    if (n == 0) {
        return;
    }

    p->op.attachments = ngx_palloc(p->pool, n * sizeof(sio_span_t));
    o.p = ngx_pnalloc(p->pool, json.n + n * (sizeof(NGX_SIO_JSON_PLACEHOLDER)
                                             + NGX_INT_T_LEN));
    if (p->op.attachments == NULL || o.p == NULL) {
        p->error = "no memory";
        return;
    }

    p->op.nattachments = n;
    p->op.json.p = o.p;

    o.n = 0;
    at = 0;
    from = 0;

    for (n = 0;
         ngx_sio_op_json_find(json, &at, &object, &string) == NGX_OK;
         n++)
    {
        if (ngx_sio_op_json_decode(p, string, &p->op.attachments[n])
            != NGX_OK)
        {
            return;
        }

        sio_out_bytes(&o, json.p + from, object.p - json.p - from);
        sio_out_str(&o, NGX_SIO_JSON_PLACEHOLDER);
        sio_out_uint(&o, n);
        sio_out_byte(&o, '}');

        from = object.p - json.p + object.n;
    }

    sio_out_bytes(&o, json.p + from, json.n - from);

    p->op.json.n = o.n;

    /* one that was there before would have clients drop their connection */

    ngx_memzero(&check, sizeof(sio_json_check_t));

    check.max_depth = NGX_SIO_JSON_DEPTH;
    check.attachments = n;
    check.placeholders = ngx_sio_op_json_placeholders;
    check.max_placeholders = NGX_SIO_JSON_ATTACHMENTS + 1;

    if (sio_json_validate(ngx_sio_op_json, p->op.json, &check, NULL) != SIO_OK
        || check.n_placeholders != n)
    {
        p->error = "\"_placeholder\" next to binary values";
    }
}


/*
 * Finds the next object that is a binary value from at on, which is moved
 * behind it.
 */

static ngx_int_t
ngx_sio_op_json_find(sio_span_t json, size_t *at, sio_span_t *object,
    sio_span_t *string)
{
    size_t       n;
    u_char      *p, *last;
    sio_span_t   name, key, value, rest;

    name = sio_span("\"_base64\"");
    last = json.p + json.n;

    if (memmem(json.p + *at, json.n - *at, name.p, name.n) == NULL) {
        return NGX_DECLINED;
    }

    for (p = json.p + *at; p < last; /* void */ ) {

        if (*p == '"') {
            for (p++; *p != '"'; p++) {
                if (*p == '\\') {
                    p++;
                }
            }

            p++;
            continue;
        }

        if (*p++ != '{') {
            continue;
        }

        rest.p = p - 1;
        rest.n = last - rest.p;
        n = 0;

        while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') {
            p++;
        }

        if ((size_t) (last - p) < name.n
            || ngx_memcmp(p, name.p, name.n) != 0)
        {
            continue;
        }

        /* one member only: what follows it is the end of the object */

        if (sio_json_next_member(rest, &n, &key, &value) == SIO_OK
            && rest.p[n] == '}' && sio_json_type(value) == SIO_JSON_STRING)
        {
            object->p = rest.p;
            object->n = n + 1;
            *string = value;
            *at = object->p + object->n - json.p;

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_sio_op_json_decode(ngx_sio_op_json_t *p, sio_span_t string,
    sio_span_t *data)
{
    sio_out_t  o;

    o.p = ngx_pnalloc(p->pool, string.n);
    if (o.p == NULL) {
        p->error = "no memory";
        return NGX_ERROR;
    }

    data->p = o.p;
    o.n = 0;
    sio_json_unescape(&o, string);
    data->n = o.n;

    if (sio_base64_decode(data) != SIO_OK) {
        p->error = "not base64: ";
        p->what = string;
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_sio_op_json_inline(sio_out_t *o, sio_span_t json, size_t from,
    sio_span_t *attachments, ngx_uint_t n)
{
    ngx_uint_t               i;
    sio_json_check_t         check;
    sio_json_placeholder_t  *found;

    if (n == 0) {
        sio_out_bytes(o, json.p + from, json.n - from);
        return NGX_OK;
    }

    found = ngx_sio_op_json_placeholders;

    ngx_memzero(&check, sizeof(sio_json_check_t));

    check.max_depth = UINT32_MAX;
    check.attachments = n;
    check.placeholders = found;
    check.max_placeholders = NGX_SIO_JSON_ATTACHMENTS;

    if (sio_json_validate(ngx_sio_op_json, json, &check, NULL) != SIO_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < check.n_placeholders; i++) {
        sio_out_bytes(o, json.p + from, found[i].object.p - json.p - from);
        sio_out_str(o, NGX_SIO_JSON_BASE64);
        sio_base64_encode(o, attachments[found[i].num]);
        sio_out_str(o, "\"}");

        from = found[i].object.p - json.p + found[i].object.n;
    }

    sio_out_bytes(o, json.p + from, json.n - from);

    return NGX_OK;
}


void
ngx_sio_op_json_string(sio_out_t *o, sio_span_t text)
{
    sio_out_byte(o, '"');
    sio_json_escape(o, text);
    sio_out_byte(o, '"');
}


sio_span_t
ngx_sio_op_json_shown(sio_span_t token)
{
    if (token.n > NGX_SIO_JSON_SHOWN) {
        token.n = NGX_SIO_JSON_SHOWN;

        while (token.n && (token.p[token.n] & 0xc0) == 0x80) {
            token.n--;
        }
    }

    return token;
}
