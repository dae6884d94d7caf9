/*
 * Rules at event time: they make operations of the event's own bytes where
 * they can, of templates where they must.
 * What templates and renumbered attachments need lies in one pool of the
 * worker's, which is reset after each event.  Rules of one event never run
 * within those of another: whatever closes a socket is posted by the core.
 */

#include "http/ngx_http_sio_rules.h"
#include "core/ngx_sio_data.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_op.h"
#include "core/ngx_sio_room.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"
#include "cluster/ngx_sio_bus.h"


#define NGX_HTTP_SIO_RULES_POOL       4096
#define NGX_HTTP_SIO_MAX_ATTACHMENTS  255


/* an event while its rules run */

typedef struct {
    ngx_sio_socket_t            *socket;
    ngx_sio_event_t             *event;       /* NULL: connection, disconnect */
    ngx_str_t                    name;        /* decoded */
    sio_span_t                   args;        /* a JSON array; p NULL: not
                                                 made yet */
    ngx_str_t                   *reason;
    ngx_uint_t                   dirty;       /* the pool was used */
    ngx_uint_t                   acked;
} ngx_http_sio_rules_run_t;


static void ngx_http_sio_rules_run(ngx_http_sio_rules_run_t *run,
    ngx_array_t *rules);
static void ngx_http_sio_rules_send(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule);
static void ngx_http_sio_rules_ack(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule);
static void ngx_http_sio_rules_room(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule);
static ngx_int_t ngx_http_sio_rules_target(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule, ngx_sio_op_t *op);
static ngx_int_t ngx_http_sio_rules_names(ngx_http_sio_rules_run_t *run,
    ngx_array_t *templates, sio_span_t **names, ngx_uint_t *n);
static ngx_int_t ngx_http_sio_rules_name(ngx_http_sio_rules_run_t *run,
    sio_template_t *t, sio_span_t *name);
static ngx_int_t ngx_http_sio_rules_json(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule, ngx_sio_op_t *op);
static ngx_int_t ngx_http_sio_rules_array(ngx_http_sio_rules_run_t *run,
    sio_span_t *event, sio_span_t args, sio_span_t *json);
static ngx_int_t ngx_http_sio_rules_attach(ngx_http_sio_rules_run_t *run,
    ngx_sio_op_t *op);
static ngx_int_t ngx_http_sio_rules_eval_args(ngx_http_sio_rules_run_t *run,
    sio_template_t *t, sio_span_t *args);
static sio_span_t ngx_http_sio_rules_args(ngx_http_sio_rules_run_t *run);
static ngx_int_t ngx_http_sio_rules_decode(ngx_http_sio_rules_run_t *run);
static sio_span_t ngx_http_sio_rules_get(void *ctx,
    const sio_template_part_t *part);


static ngx_str_t     ngx_http_sio_rules_message = ngx_string("message");
static ngx_pool_t   *ngx_http_sio_rules_pool;
static sio_span_t    ngx_http_sio_rules_picked[NGX_HTTP_SIO_MAX_ATTACHMENTS];


ngx_int_t
ngx_http_sio_rules_init(ngx_cycle_t *cycle)
{
    ngx_http_sio_rules_pool = ngx_create_pool(NGX_HTTP_SIO_RULES_POOL,
                                              cycle->log);

    return ngx_http_sio_rules_pool ? NGX_OK : NGX_ERROR;
}


void
ngx_http_sio_rules_done(void)
{
    if (ngx_http_sio_rules_pool) {
        ngx_destroy_pool(ngx_http_sio_rules_pool);
        ngx_http_sio_rules_pool = NULL;
    }
}


void
ngx_http_sio_rules_connection(ngx_sio_socket_t *sk)
{
    ngx_http_sio_rules_t      *rules;
    ngx_http_sio_rules_run_t   run;

    ngx_memzero(&run, sizeof(ngx_http_sio_rules_run_t));

    run.socket = sk;
    run.args = sio_span("[]");
    ngx_str_set(&run.name, "connection");

    rules = sk->conf->application;

    ngx_http_sio_rules_run(&run, &rules->connection.rules);
}


void
ngx_http_sio_rules_disconnect(ngx_sio_socket_t *sk)
{
    u_char                    *p;
    ngx_http_sio_rules_t      *rules;
    ngx_http_sio_rules_run_t   run;
    u_char                     args[64];

    rules = sk->conf->application;

    if (rules->disconnect.rules.nelts == 0) {
        return;
    }

    ngx_memzero(&run, sizeof(ngx_http_sio_rules_run_t));

    run.socket = sk;
    run.reason = &ngx_sio_reasons[sk->reason];
    ngx_str_set(&run.name, "disconnect");

    p = ngx_snprintf(args, sizeof(args), "[\"%V\"]", run.reason);

    run.args.p = args;
    run.args.n = p - args;

    ngx_http_sio_rules_run(&run, &rules->disconnect.rules);
}


ngx_http_sio_handler_t *
ngx_http_sio_rules_event(ngx_sio_socket_t *sk, ngx_sio_event_t *ev)
{
    ngx_http_sio_rules_t        *rules;
    ngx_http_sio_handler_t      *handler;
    ngx_http_sio_rules_list_t   *list;
    ngx_http_sio_rules_run_t     run;
    ngx_http_sio_rules_event_t  *e;

    ngx_memzero(&run, sizeof(ngx_http_sio_rules_run_t));

    run.socket = sk;
    run.event = ev;

    if (ngx_http_sio_rules_decode(&run) != NGX_OK) {
        return NULL;
    }

    rules = sk->conf->application;

    e = (ngx_http_sio_rules_event_t *)
            ngx_str_rbtree_lookup(&rules->events, &run.name,
                                  ngx_crc32_short(run.name.data,
                                                  run.name.len));

    list = e ? &e->list : &rules->any;
    handler = list->handler;

    if (list->rules.nelts == 0 && handler == NULL) {
        handler = rules->handler;

        if (handler == NULL) {
            ngx_sio_count(events_unhandled);
        }
    }

    ngx_http_sio_rules_run(&run, &list->rules);

    return handler;
}


static ngx_int_t
ngx_http_sio_rules_decode(ngx_http_sio_rules_run_t *run)
{
    sio_out_t    o;
    sio_span_t   token;

    if (run->event->opaque) {
        run->name = ngx_http_sio_rules_message;
        return NGX_OK;
    }

    token = run->event->token;

    if (sio_json_type(token) == SIO_JSON_NUMBER) {
        run->name = ngx_sio_str(token);
        return NGX_OK;
    }

    run->name.data = token.p + 1;
    run->name.len = token.n - 2;

    if (ngx_strlchr(token.p, token.p + token.n, '\\') == NULL) {
        return NGX_OK;
    }

    o.p = ngx_pnalloc(ngx_http_sio_rules_pool, token.n);
    if (o.p == NULL) {
        return NGX_ERROR;
    }

    run->dirty = 1;
    run->name.data = o.p;

    o.n = 0;
    sio_json_unescape(&o, token);

    run->name.len = o.n;

    return NGX_OK;
}


static void
ngx_http_sio_rules_run(ngx_http_sio_rules_run_t *run, ngx_array_t *rules)
{
    ngx_uint_t            i;
    ngx_sio_op_t          op;
    ngx_http_sio_rule_t  *rule;

    rule = rules->elts;

    for (i = 0; i < rules->nelts; i++) {

        switch (rule[i].type->action) {

        case NGX_HTTP_SIO_RULE_EMIT:
        case NGX_HTTP_SIO_RULE_BROADCAST:
        case NGX_HTTP_SIO_RULE_REPLY:
            ngx_http_sio_rules_send(run, &rule[i]);
            break;

        case NGX_HTTP_SIO_RULE_ACK:
            ngx_http_sio_rules_ack(run, &rule[i]);
            break;

        case NGX_HTTP_SIO_RULE_JOIN:
        case NGX_HTTP_SIO_RULE_LEAVE:
            ngx_http_sio_rules_room(run, &rule[i]);
            break;

        case NGX_HTTP_SIO_RULE_DISCONNECT:
            ngx_memzero(&op, sizeof(ngx_sio_op_t));

            op.type = SIO_OP_DISCONNECT;
            op.target = SIO_TO_SENDER;
            op.sender = run->socket;
            op.close = rule[i].close;

            (void) ngx_sio_op_apply(&op);
            break;
        }
    }

    if (run->dirty) {
        ngx_reset_pool(ngx_http_sio_rules_pool);
    }
}


static void
ngx_http_sio_rules_send(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule)
{
    ngx_sio_op_t  op;

    ngx_memzero(&op, sizeof(ngx_sio_op_t));

    op.type = SIO_OP_EMIT;
    op.sender = run->socket;
    op.app = run->socket->session->conf->app;
    op.nsp = run->socket->nsp->sn.str;
    op.volatil = rule->volatil;
    op.local = rule->local;
    op.except_sender = (rule->type->action == NGX_HTTP_SIO_RULE_BROADCAST);

    if (rule->type->action == NGX_HTTP_SIO_RULE_REPLY) {
        op.target = SIO_TO_SENDER;

    } else if (ngx_http_sio_rules_target(run, rule, &op) != NGX_OK) {
        return;
    }

    if (ngx_http_sio_rules_json(run, rule, &op) != NGX_OK) {
        return;
    }

    (void) ngx_sio_bus_publish(&op);
}


static void
ngx_http_sio_rules_ack(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule)
{
    ngx_sio_op_t  op;

    if (run->event == NULL || !run->event->has_ack || run->acked) {
        return;
    }

    ngx_memzero(&op, sizeof(ngx_sio_op_t));

    op.type = SIO_OP_ACK;
    op.target = SIO_TO_SENDER;
    op.sender = run->socket;
    op.nsp = run->socket->nsp->sn.str;
    op.ack = run->event->ack;

    if (rule->args) {
        if (ngx_http_sio_rules_eval_args(run, rule->args, &op.json)
            != NGX_OK)
        {
            return;
        }

    } else {
        op.json = ngx_http_sio_rules_args(run);
    }

    if (op.json.p == NULL
        || ngx_http_sio_rules_attach(run, &op) != NGX_OK)
    {
        return;
    }

    run->acked = 1;
    ngx_sio_count(acks_sent);

    (void) ngx_sio_op_apply(&op);
}


/*
 * A room that a variable names must not be another socket's: who joined it
 * would read what is meant for that socket.
 */

static void
ngx_http_sio_rules_room(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule)
{
    sio_span_t         name;
    ngx_uint_t         i, variable;
    ngx_sio_op_t       op;

    if (ngx_http_sio_rules_name(run, rule->room, &name) != NGX_OK) {
        return;
    }

    variable = 0;

    for (i = 0; i < rule->room->n; i++) {
        variable |= (rule->room->parts[i].var != SIO_VAR_LITERAL);
    }

    if (name.n == 0 || name.n > NGX_SIO_MAX_NAME_LEN
        || (variable && ngx_sio_registry_is_id(name)
            && !ngx_sio_socket_is(run->socket, name)))
    {
        ngx_sio_count(names_invalid);
        return;
    }

    ngx_memzero(&op, sizeof(ngx_sio_op_t));

    op.type = (rule->type->action == NGX_HTTP_SIO_RULE_JOIN)
              ? SIO_OP_JOIN : SIO_OP_LEAVE;
    op.target = SIO_TO_SENDER;
    op.sender = run->socket;
    op.names = &name;
    op.nnames = 1;
    op.max_rooms = run->socket->session->conf->max_rooms;

    (void) ngx_sio_op_apply(&op);
}


/* NGX_DECLINED: it is for nobody */

static ngx_int_t
ngx_http_sio_rules_target(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule, ngx_sio_op_t *op)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    /* an exception that is no name must not make it an emit to all */

    if (ngx_http_sio_rules_names(run, &rule->except, &op->except,
                                 &op->nexcept) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (rule->to.nelts == 0) {
        op->target = SIO_TO_ALL;
        return NGX_OK;
    }

    op->target = SIO_TO_ROOMS;

    rc = ngx_http_sio_rules_names(run, &rule->to, &op->rooms, &op->nrooms);

    if (rc == NGX_ERROR || op->nrooms == 0) {
        return NGX_DECLINED;
    }

    if (rule->member) {
        if (rc != NGX_OK) {
            return NGX_DECLINED;
        }

        for (i = 0; i < op->nrooms; i++) {
            if (!ngx_sio_room_has(run->socket, op->rooms[i])) {
                ngx_sio_count(members_refused);
                return NGX_DECLINED;
            }
        }
    }

    return NGX_OK;
}


/* NGX_DECLINED: some are no names and were left out */

static ngx_int_t
ngx_http_sio_rules_names(ngx_http_sio_rules_run_t *run,
    ngx_array_t *templates, sio_span_t **names, ngx_uint_t *n)
{
    ngx_int_t        rc;
    ngx_uint_t       i;
    sio_template_t  *t;

    *n = 0;

    if (templates->nelts == 0) {
        return NGX_OK;
    }

    *names = ngx_palloc(ngx_http_sio_rules_pool,
                        templates->nelts * sizeof(sio_span_t));
    if (*names == NULL) {
        return NGX_ERROR;
    }

    run->dirty = 1;

    rc = NGX_OK;
    t = templates->elts;

    for (i = 0; i < templates->nelts; i++) {

        if (ngx_http_sio_rules_name(run, &t[i], &(*names)[*n]) != NGX_OK) {
            rc = NGX_DECLINED;

        } else if ((*names)[*n].n == 0) {
            ngx_sio_count(names_invalid);
            rc = NGX_DECLINED;

        } else {
            (*n)++;
        }
    }

    return rc;
}


static ngx_int_t
ngx_http_sio_rules_name(ngx_http_sio_rules_run_t *run, sio_template_t *t,
    sio_span_t *name)
{
    sio_out_t  o;

    if (t->n == 0) {
        *name = sio_span_null;
        return NGX_OK;
    }

    if (t->n == 1 && t->parts[0].var == SIO_VAR_LITERAL) {
        *name = t->parts[0].text;
        return NGX_OK;
    }

    o.p = NULL;
    o.n = 0;

    if (sio_template_name(t, ngx_http_sio_rules_get, run, &o) != SIO_OK) {
        ngx_sio_count(names_invalid);
        return NGX_DECLINED;
    }

    o.p = ngx_pnalloc(ngx_http_sio_rules_pool, o.n + 1);
    if (o.p == NULL) {
        return NGX_DECLINED;
    }

    run->dirty = 1;
    name->p = o.p;

    o.n = 0;
    (void) sio_template_name(t, ngx_http_sio_rules_get, run, &o);

    name->n = o.n;

    return NGX_OK;
}


/* what is sent: the incoming bytes where no parameter says otherwise */

static ngx_int_t
ngx_http_sio_rules_json(ngx_http_sio_rules_run_t *run,
    ngx_http_sio_rule_t *rule, ngx_sio_op_t *op)
{
    sio_span_t        name, *event, args;
    ngx_sio_event_t  *ev;

    ev = run->event;

    if (ev && ev->opaque) {
        op->opaque = 1;
        op->binary = ev->binary;
        op->json = ev->data;
        return NGX_OK;
    }

    if (rule->event == NULL && rule->args == NULL) {
        op->json = ev->json;
        return ngx_http_sio_rules_attach(run, op);
    }

    event = NULL;

    if (rule->event) {
        if (ngx_http_sio_rules_name(run, rule->event, &name) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (sio_packet_reserved(name)) {
            ngx_sio_count(names_reserved);
            return NGX_DECLINED;
        }

        event = &name;
    }

    if (rule->args) {
        if (ngx_http_sio_rules_eval_args(run, rule->args, &args) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        args = ngx_http_sio_rules_args(run);

        if (args.p == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_http_sio_rules_array(run, event, args, &op->json) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_sio_rules_attach(run, op);
}


/* ["event",args...]; without event the name stays as it came */

static ngx_int_t
ngx_http_sio_rules_array(ngx_http_sio_rules_run_t *run, sio_span_t *event,
    sio_span_t args, sio_span_t *json)
{
    size_t       at;
    sio_out_t    o;
    ngx_uint_t   pass;
    sio_span_t   item;

    at = 0;
    item = sio_span_null;
    (void) sio_json_next(args, &at, &item);

    o.p = NULL;

    for (pass = 0; pass < 2; pass++) {
        o.n = 0;

        sio_out_byte(&o, '[');

        if (event) {
            sio_out_byte(&o, '"');
            sio_json_escape(&o, *event);
            sio_out_byte(&o, '"');

        } else {
            sio_out_span(&o, run->event->token);
        }

        if (item.n) {
            sio_out_byte(&o, ',');
            sio_out_bytes(&o, item.p, args.p + args.n - item.p);

        } else {
            sio_out_byte(&o, ']');
        }

        if (pass == 0) {
            o.p = ngx_pnalloc(ngx_http_sio_rules_pool, o.n);
            if (o.p == NULL) {
                return NGX_ERROR;
            }

            run->dirty = 1;
            json->p = o.p;
        }
    }

    json->n = o.n;

    return NGX_OK;
}


/* the attachments that op->json names, in its order */

static ngx_int_t
ngx_http_sio_rules_attach(ngx_http_sio_rules_run_t *run, ngx_sio_op_t *op)
{
    ngx_int_t         rc;
    ngx_sio_event_t  *ev;

    ev = run->event;

    if (ev == NULL || ev->n == 0) {
        return NGX_OK;
    }

    op->attachments = ev->attachments;
    op->nattachments = ev->n;

    if (ev->in_order && op->json.p == ev->json.p) {
        return NGX_OK;
    }

    run->dirty = 1;

    rc = ngx_sio_socket_renumber(op->json, ev->attachments, ev->n,
                                 ngx_http_sio_rules_pool, &op->json,
                                 ngx_http_sio_rules_picked,
                                 run->socket->session->conf->max_attachments,
                                 &op->nattachments);

    op->attachments = ngx_http_sio_rules_picked;

    if (rc == NGX_DECLINED) {
        ngx_sio_count(args_refused);
    }

    return rc;
}


static ngx_int_t
ngx_http_sio_rules_eval_args(ngx_http_sio_rules_run_t *run,
    sio_template_t *t, sio_span_t *args)
{
    sio_out_t  o;

    o.p = NULL;
    o.n = 0;

    sio_template_args(t, ngx_http_sio_rules_get, run, &o);

    args->p = ngx_pnalloc(ngx_http_sio_rules_pool, o.n);
    if (args->p == NULL) {
        return NGX_ERROR;
    }

    run->dirty = 1;

    o.p = args->p;
    o.n = 0;

    sio_template_args(t, ngx_http_sio_rules_get, run, &o);

    args->n = o.n;

    return NGX_OK;
}


/* the event's arguments without its name, as an array of their own */

static sio_span_t
ngx_http_sio_rules_args(ngx_http_sio_rules_run_t *run)
{
    u_char      *p, *last;
    sio_out_t    o;

    if (run->args.p || run->event->opaque) {
        return run->args;
    }

    p = run->event->token.p + run->event->token.n;
    last = run->event->json.p + run->event->json.n;

    while (*p != ',' && *p != ']') {
        p++;
    }

    o.p = ngx_pnalloc(ngx_http_sio_rules_pool, last - p + 1);
    if (o.p == NULL) {
        return sio_span_null;
    }

    run->dirty = 1;
    run->args.p = o.p;

    o.n = 0;

    sio_out_byte(&o, '[');

    if (*p == ',') {
        p++;
    }

    sio_out_bytes(&o, p, last - p);

    run->args.n = o.n;

    return run->args;
}


static sio_span_t
ngx_http_sio_rules_get(void *ctx, const sio_template_part_t *part)
{
    ngx_http_sio_rules_run_t *run = ctx;

    size_t       at;
    unsigned     i;
    sio_span_t   args, item;

    switch (part->var) {

    case SIO_VAR_ID:
        return (sio_span_t) { run->socket->id, NGX_SIO_ID_LEN };

    case SIO_VAR_NAMESPACE:
        return ngx_sio_span(&run->socket->nsp->sn.str);

    case SIO_VAR_EVENT:
        return ngx_sio_span(&run->name);

    case SIO_VAR_ARGS:
        return ngx_http_sio_rules_args(run);

    case SIO_VAR_ARG:
        args = ngx_http_sio_rules_args(run);

        if (args.p == NULL) {
            return args;
        }

        at = 0;

        for (i = 0; i < part->arg; i++) {
            if (sio_json_next(args, &at, &item) != SIO_OK) {
                return sio_span_null;
            }
        }

        return item;

    case SIO_VAR_AUTH:
        return run->socket->auth ? ngx_sio_span(run->socket->auth)
                                 : sio_span("{}");

    case SIO_VAR_REASON:
        return run->reason ? ngx_sio_span(run->reason) : sio_span_null;

    case SIO_VAR_DATA:
        run->dirty = 1;
        return ngx_sio_data_get(run->socket, part->text,
                                ngx_http_sio_rules_pool);

    default:
        return sio_span_null;
    }
}
