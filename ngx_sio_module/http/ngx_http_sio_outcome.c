/*
 * What comes of a call: the operations of the response are carried out, all
 * of them or none, as many in a turn of the event loop as it bears; or it is
 * tried again, or given up.
 */

#include "http/ngx_http_sio_outcome.h"
#include "http/ngx_http_sio_transfer.h"
#include "cluster/ngx_sio_ask.h"
#include "core/ngx_sio_op.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_json.h"


#define NGX_HTTP_SIO_OUTCOME_MAX_OPS  10000


/* an emit that asked for acknowledgements */

typedef struct {
    ngx_http_sio_loc_conf_t       *conf;
    ngx_http_sio_handler_t        *handler;
    ngx_str_t                      nsp;
    ngx_str_t                      token;
    ngx_str_t                      addr;
} ngx_http_sio_asked_t;


static void ngx_http_sio_outcome_done(ngx_http_sio_call_t *call);
static void ngx_http_sio_outcome_resume(ngx_http_sio_backlog_t *b);
static ngx_int_t ngx_http_sio_outcome_retry(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_outcome_failed(ngx_http_sio_backlog_t *b);
static ngx_int_t ngx_http_sio_outcome_parse(ngx_http_sio_backlog_t *b);
static const char *ngx_http_sio_outcome_check_ack(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p);
static ngx_http_sio_item_t *ngx_http_sio_outcome_acked(
    ngx_http_sio_backlog_t *b, uint64_t seq);
static void ngx_http_sio_outcome_admit(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_outcome_refuse(ngx_http_sio_backlog_t *b);
static sio_span_t ngx_http_sio_outcome_reason(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_outcome_apply(ngx_http_sio_backlog_t *b);
static void ngx_http_sio_outcome_apply_one(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p);
static void ngx_http_sio_outcome_ask(ngx_http_sio_backlog_t *b,
    ngx_sio_op_json_t *p);
static void ngx_http_sio_outcome_asked(ngx_sio_ask_t *ask);
static ngx_pool_t *ngx_http_sio_outcome_pool(ngx_http_sio_backlog_t *b);


static const ngx_http_sio_backlog_user_t  ngx_http_sio_outcome_user = {
    ngx_http_sio_outcome_done,
    ngx_http_sio_outcome_resume
};

static void  (*ngx_http_sio_outcome_admitted)(ngx_sio_socket_t *sk);


void
ngx_http_sio_outcome_init(void (*admitted)(ngx_sio_socket_t *sk))
{
    ngx_http_sio_outcome_admitted = admitted;
    ngx_http_sio_backlog_user = &ngx_http_sio_outcome_user;
}


static void
ngx_http_sio_outcome_resume(ngx_http_sio_backlog_t *b)
{
    if (b->state == NGX_HTTP_SIO_BACKLOG_ELSEWHERE) {
        ngx_http_sio_transfer_expire(b);

    } else if (b->response == &ngx_http_sio_backlog_no_response) {
        ngx_http_sio_outcome(b);

    } else {
        ngx_http_sio_outcome_apply(b);
    }
}


/* responses */

static void
ngx_http_sio_outcome_done(ngx_http_sio_call_t *call)
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
        ngx_http_sio_backlog_down(h);

    } else {
        ngx_http_sio_backlog_up(h);
    }

    if (b->moved) {

        if (b->origin) {
            ngx_http_sio_transfer_forward(b);
        }

        ngx_http_sio_backlog_free(b);

    } else {
        ngx_http_sio_outcome(b);
    }

    ngx_http_sio_backlog_release(conf);
}


/* b->response is what came */

void
ngx_http_sio_outcome(ngx_http_sio_backlog_t *b)
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
        if (ngx_http_sio_outcome_retry(b) == NGX_OK) {
            return;
        }

        ngx_http_sio_backlog_lost(b);
        ngx_http_sio_outcome_finish(b);
        return;
    }

    if (item->type == NGX_HTTP_SIO_ITEM_CONNECT) {

        if (response->result == NGX_HTTP_SIO_CALL_ANSWERED
            && response->status / 100 == 2
            && ngx_http_sio_outcome_parse(b) == NGX_OK)
        {
            ngx_http_sio_outcome_admit(b);
            return;
        }

        ngx_http_sio_outcome_refuse(b);
        return;
    }

    if (response->result != NGX_HTTP_SIO_CALL_ANSWERED
        || response->status / 100 != 2)
    {
        ngx_http_sio_outcome_failed(b);
        ngx_http_sio_outcome_finish(b);
        return;
    }

    if (ngx_http_sio_outcome_parse(b) != NGX_OK) {
        ngx_http_sio_outcome_finish(b);
        return;
    }

    ngx_http_sio_outcome_apply(b);
}


/* what no server was sent is tried again, for a while */

static ngx_int_t
ngx_http_sio_outcome_retry(ngx_http_sio_backlog_t *b)
{
    ngx_queue_t             *q;
    ngx_http_sio_item_t     *item;
    ngx_http_sio_handler_t  *h;

    item = ngx_queue_data(ngx_queue_head(&b->flying), ngx_http_sio_item_t,
                          queue);
    h = item->handler;

    if (!item->tried) {
        item->tried = 1;
        item->since = ngx_current_msec;
    }

    if (ngx_http_sio_backlog_due(b, item)) {
        return NGX_DECLINED;
    }

    ngx_sio_count(handler_retries);

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

    ngx_http_sio_backlog_down(h);
    ngx_http_sio_backlog_wait(b, &h->waiting);

    return NGX_OK;
}


static void
ngx_http_sio_outcome_failed(ngx_http_sio_backlog_t *b)
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
        why = "the worker that called the handler has not passed on its "
              "response";
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
ngx_http_sio_outcome_parse(ngx_http_sio_backlog_t *b)
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

    if (ngx_array_init(&b->ops, ngx_http_sio_outcome_pool(b), 2,
                       sizeof(ngx_sio_op_json_t)) != NGX_OK)
    {
        error = "no memory";
        goto invalid;
    }

    at = 0;

    for ( ;; ) {
        if (b->ops.nelts > NGX_HTTP_SIO_OUTCOME_MAX_OPS) {
            error = "more than 10000 operations";
            goto invalid;
        }

        op = ngx_array_push(&b->ops);
        if (op == NULL) {
            error = "no memory";
            goto invalid;
        }

        ngx_memzero(op, sizeof(ngx_sio_op_json_t));

        op->pool = ngx_http_sio_outcome_pool(b);
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
            error = ngx_http_sio_outcome_check_ack(b, op);
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
ngx_http_sio_outcome_check_ack(ngx_http_sio_backlog_t *b,
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
ngx_http_sio_outcome_acked(ngx_http_sio_backlog_t *b, uint64_t seq)
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
ngx_http_sio_outcome_admit(ngx_http_sio_backlog_t *b)
{
    if (b->socket == NULL) {
        ngx_http_sio_outcome_finish(b);
        return;
    }

    if (b->socket->held) {
        b->connected = 1;
        ngx_sio_socket_admit(b->socket);
    }

    ngx_http_sio_outcome_apply(b);
}


static void
ngx_http_sio_outcome_refuse(ngx_http_sio_backlog_t *b)
{
    sio_span_t         json;
    ngx_sio_socket_t  *sk;

    json = ngx_http_sio_outcome_reason(b);
    sk = b->socket;

    /* one that moved had been admitted where this began */

    if (sk && !sk->held) {
        ngx_http_sio_outcome_finish(b);
        return;
    }

    if (sk) {
        sk->backlog = NULL;
        b->socket = NULL;
        ngx_http_sio_backlog_orphans += b->size;

        ngx_sio_socket_refuse(sk, json);
    }

    /* no disconnect for who was never there */

    ngx_http_sio_backlog_drop_items(b, &b->items);
    ngx_http_sio_outcome_finish(b);
}


/* the CONNECT_ERROR's object: what the backend says, if it refuses */

static sio_span_t
ngx_http_sio_outcome_reason(ngx_http_sio_backlog_t *b)
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
            ngx_http_sio_outcome_failed(b);
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
            o.p = ngx_pnalloc(ngx_http_sio_outcome_pool(b), o.n);
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
ngx_http_sio_outcome_apply(ngx_http_sio_backlog_t *b)
{
    ngx_sio_socket_t   *sk;
    ngx_sio_op_json_t  *ops;

    ops = b->ops.elts;

    while (b->at < b->ops.nelts) {

        if (ngx_sio_session_busy()) {
            ngx_post_event(&b->next, &ngx_posted_next_events);
            return;
        }

        ngx_http_sio_outcome_apply_one(b, &ops[b->at++]);
    }

    sk = b->socket;

    if (b->connected && sk && sk->reason == NGX_SIO_NONE
        && sk->session->state == NGX_SIO_SESSION_OPEN)
    {
        b->connected = 0;
        ngx_http_sio_outcome_admitted(sk);
    }

    ngx_http_sio_outcome_finish(b);
}


static void
ngx_http_sio_outcome_apply_one(ngx_http_sio_backlog_t *b,
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
        item = ngx_http_sio_outcome_acked(b, p->seq);

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
        ngx_http_sio_outcome_ask(b, p);
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
ngx_http_sio_outcome_ask(ngx_http_sio_backlog_t *b, ngx_sio_op_json_t *p)
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

    if (ngx_sio_ask(&p->op, ngx_http_sio_outcome_asked, asked) == NULL) {
        ngx_free(asked);
    }
}


/* those who acknowledged were told by their own worker */

static void
ngx_http_sio_outcome_asked(ngx_sio_ask_t *ask)
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

            ngx_http_sio_backlog_orphans += item->size;
            ngx_http_sio_backlog_push(b, item);

        } else if (item) {
            ngx_free(item);
        }
    }

    ngx_free(asked);
}


/* what was under way is done with */

void
ngx_http_sio_outcome_finish(ngx_http_sio_backlog_t *b)
{
    ngx_uint_t  failed;

    failed = (b->response && b->response->result
                             != NGX_HTTP_SIO_CALL_ANSWERED);

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

    /* nobody waits long for a worker that exits, nor does it */

    if (failed && b->socket == NULL && ngx_exiting) {
        ngx_http_sio_backlog_give_up(b);
    }

    ngx_http_sio_backlog_pause(b);

    /* those that wait for a place come first */

    ngx_http_sio_backlog_release(b->conf);

    if (ngx_queue_empty(&b->items)) {
        ngx_http_sio_backlog_run(b);

    } else {
        ngx_http_sio_backlog_post(b);
    }
}


static ngx_pool_t *
ngx_http_sio_outcome_pool(ngx_http_sio_backlog_t *b)
{
    return b->call ? ngx_http_sio_call_pool(b->call) : b->pool;
}
