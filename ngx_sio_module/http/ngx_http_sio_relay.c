/*
 * A held request is watched for its client's end and bounded by a timer; its
 * cleanup handler tells whoever is asked that it has ended.  An answer that
 * comes while nginx still reads the body waits for the end of that.
 */

#include "http/ngx_http_sio_relay.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_RELAY_SLACK  5000    /* ms beyond what a GET may wait */


typedef struct {
    ngx_http_request_t       *request;
    ngx_sio_relay_t           relay;
    ngx_event_t               timer;

    ngx_sio_answer_e          answer;
    ngx_uint_t                value;

    unsigned                  reading:1;    /* nginx reads the body */
    unsigned                  later:1;      /* there will be an answer */
    unsigned                  answered:1;
} ngx_http_sio_relayed_t;


typedef struct {
    ngx_http_request_t       *request;
    ngx_sio_handover_t       *handover;     /* NULL: not, or not any more */
    ngx_event_t               timer;
    ngx_int_t               (*accept)(ngx_http_request_t *r,
                                      ngx_sio_handover_t *h);
} ngx_http_sio_upgrade_t;


static void ngx_http_sio_relay_read(ngx_http_request_t *r);
static void ngx_http_sio_relay_answer(void *data, ngx_sio_answer_e answer,
    ngx_uint_t value, sio_span_t body);
static void ngx_http_sio_relay_refuse(ngx_http_sio_relayed_t *ctx,
    ngx_uint_t status);
static ngx_int_t ngx_http_sio_relay_send(ngx_http_sio_relayed_t *ctx,
    sio_span_t body);
static void ngx_http_sio_relay_timeout(ngx_event_t *ev);
static void ngx_http_sio_relay_cleanup(void *data);
static void ngx_http_sio_relay_finalize(ngx_http_request_t *r, ngx_int_t rc);
static void ngx_http_sio_relay_consent(void *data, ngx_sio_consent_e consent,
    sio_eio_error_t error);
static void ngx_http_sio_relay_upgrade_gone(void *data);
static void ngx_http_sio_relay_upgrade_timeout(ngx_event_t *ev);
static void ngx_http_sio_relay_upgrade_cleanup(void *data);


const ngx_sio_holder_t  ngx_http_sio_relay_holder = {
    ngx_http_sio_relay_answer
};

/* before its WebSocket is accepted no session can come */

static const ngx_sio_taker_t  ngx_http_sio_relay_taker = {
    ngx_http_sio_relay_consent,
    NULL,
    NULL,
    ngx_http_sio_relay_upgrade_gone
};


ngx_int_t
ngx_http_sio_relay_request(ngx_http_request_t *r, ngx_sio_origin_t owner,
    ngx_sio_poll_request_t *request)
{
    off_t                     length;
    ngx_int_t                 rc;
    ngx_uint_t                reading;
    ngx_http_cleanup_t       *cln;
    ngx_http_sio_relayed_t   *ctx;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    length = r->headers_in.content_length_n;

    request->length = ngx_max(length, 0);
    request->octets = ngx_http_sio_octet_stream(r);
    request->too_large = (length > (off_t) slcf->core.max_payload);

    reading = (request->method == NGX_SIO_METHOD_POST && !request->octets
               && !request->too_large);

    /* a request that nginx refuses for its body does not reach the owner */

    if (!reading) {
        r->expect_tested = 1;

        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_sio_relayed_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_sio_relayed_t));

    ctx->request = r;

    ctx->timer.handler = ngx_http_sio_relay_timeout;
    ctx->timer.data = ctx;
    ctx->timer.log = r->connection->log;

    if (ngx_sio_relay_open(&ctx->relay, owner, request, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_sio_relay_cleanup;

    ngx_add_timer(&ctx->timer, slcf->core.ping_interval
                               + slcf->core.ping_timeout
                               + NGX_HTTP_SIO_RELAY_SLACK);

    ngx_http_set_ctx(r, ctx, ngx_http_sio_module);

    if (reading) {
        ctx->reading = 1;
        r->request_body_in_single_buf = 1;

        rc = ngx_http_read_client_request_body(r, ngx_http_sio_relay_read);

        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    }

    if (ngx_http_sio_watch(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_sio_relay_read(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    sio_span_t                body;
    ngx_http_sio_relayed_t   *ctx;
    ngx_http_sio_loc_conf_t  *slcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_sio_module);
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    ctx->reading = 0;

    if (ctx->answered) {
        ngx_http_finalize_request(r, ngx_http_sio_relay_send(ctx,
                                                             sio_span_null));
        return;
    }

    rc = ngx_http_sio_gather_body(r, slcf->core.max_payload, &body);

    if (rc == NGX_ERROR || ngx_http_sio_watch(r) != NGX_OK) {
        ngx_http_sio_relay_refuse(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (rc == NGX_DECLINED) {
        body.p = NULL;

    } else if (body.p == NULL) {
        body.p = (u_char *) "";
    }

    if (ngx_sio_relay_body(&ctx->relay, body) != NGX_OK) {
        ngx_http_sio_relay_refuse(ctx, NGX_HTTP_SERVICE_UNAVAILABLE);
    }
}


/* the owner's answer will come too late, or not at all */

static void
ngx_http_sio_relay_refuse(ngx_http_sio_relayed_t *ctx, ngx_uint_t status)
{
    ctx->answered = 1;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    ngx_http_finalize_request(ctx->request, status);
}


/* the owner's answer; one without a body may have to wait */

static void
ngx_http_sio_relay_answer(void *data, ngx_sio_answer_e answer,
    ngx_uint_t value, sio_span_t body)
{
    ngx_http_sio_relayed_t *ctx = data;

    if (ctx->answered) {
        return;
    }

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    /* the owner lives; the timer keeps a worker that exits */

    if (answer == NGX_SIO_ANSWER_LATER) {
        ctx->later = 1;
        ngx_add_timer(&ctx->timer, NGX_HTTP_SIO_RELAY_SLACK);
        return;
    }

    ctx->answered = 1;
    ctx->answer = answer;
    ctx->value = value;

    if (ctx->reading) {
        return;
    }

    ngx_http_sio_relay_finalize(ctx->request,
                                ngx_http_sio_relay_send(ctx, body));
}


static ngx_int_t
ngx_http_sio_relay_send(ngx_http_sio_relayed_t *ctx, sio_span_t body)
{
    ngx_str_t            text;
    ngx_http_request_t  *r;

    r = ctx->request;

    switch (ctx->answer) {

    case NGX_SIO_ANSWER_ERROR:

        if (ctx->value == SIO_EIO_FORBIDDEN) {
            ngx_http_sio_log_origin(r);
        }

        return ngx_http_sio_send_error(r, ctx->value, 0);

    case NGX_SIO_ANSWER_EMPTY:
        return ngx_http_sio_send_empty(r, ctx->value);

    case NGX_SIO_ANSWER_OK:
        return ngx_http_sio_send_ok(r);

    default: /* NGX_SIO_ANSWER_PAYLOAD */
        break;
    }

    text.len = body.n;
    text.data = ngx_pnalloc(r->pool, body.n + 1);

    if (text.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(text.data, body.p, body.n);

    return ngx_http_sio_send_payload(r, &text);
}


static void
ngx_http_sio_relay_timeout(ngx_event_t *ev)
{
    ngx_http_sio_relayed_t  *ctx;

    ctx = ev->data;

    /* nginx has its own limits for a body */

    if (ctx->reading || ctx->later) {
        ngx_add_timer(ev, NGX_HTTP_SIO_RELAY_SLACK);
        return;
    }

    ctx->answered = 1;

    ngx_http_sio_log(NGX_LOG_ERR, ctx->request,
                     "the worker that has the session does not answer");
    ngx_http_sio_relay_finalize(ctx->request, NGX_HTTP_GATEWAY_TIME_OUT);
}


static void
ngx_http_sio_relay_cleanup(void *data)
{
    ngx_http_sio_relayed_t *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    ngx_sio_relay_finish(&ctx->relay, ngx_http_sio_broken(ctx->request),
                         ctx->request->headers_out.status);
}


static void
ngx_http_sio_relay_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


ngx_int_t
ngx_http_sio_relay_upgrade(ngx_http_request_t *r, ngx_sio_origin_t owner,
    ngx_sio_probe_t *probe,
    ngx_int_t (*accept)(ngx_http_request_t *r, ngx_sio_handover_t *h))
{
    ngx_int_t                 rc;
    ngx_http_cleanup_t       *cln;
    ngx_http_sio_upgrade_t   *ctx;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    if (ngx_sio_session_full(&slcf->core, &r->connection->addr_text)) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_sio_upgrade_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_sio_upgrade_t));

    if (ngx_http_sio_watch(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->accept = accept;

    ctx->handover = ngx_sio_handover_probe(owner, probe,
                                           &ngx_http_sio_relay_taker, ctx);
    if (ctx->handover == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    cln->handler = ngx_http_sio_relay_upgrade_cleanup;

    ctx->timer.handler = ngx_http_sio_relay_upgrade_timeout;
    ctx->timer.data = ctx;
    ctx->timer.log = r->connection->log;

    ngx_add_timer(&ctx->timer, slcf->core.upgrade_timeout);

    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_sio_relay_consent(void *data, ngx_sio_consent_e consent,
    sio_eio_error_t error)
{
    ngx_http_sio_upgrade_t *ctx = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;
    ngx_sio_handover_t  *h;

    r = ctx->request;
    h = ctx->handover;

    ctx->handover = NULL;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    if (consent == NGX_SIO_CONSENT_ERROR) {

        if (error == SIO_EIO_FORBIDDEN) {
            ngx_http_sio_log_origin(r);
        }

        rc = ngx_http_sio_send_error(r, error, 1);

    } else {
        rc = ctx->accept(r, consent == NGX_SIO_CONSENT_GO ? h : NULL);
    }

    ngx_http_sio_relay_finalize(r, rc);
}


static void
ngx_http_sio_relay_upgrade_gone(void *data)
{
    ngx_http_sio_upgrade_t *ctx = data;

    ctx->handover = NULL;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    ngx_http_sio_relay_finalize(ctx->request,
                                ngx_http_sio_send_error(ctx->request,
                                                        SIO_EIO_UNKNOWN_SID,
                                                        1));
}


static void
ngx_http_sio_relay_upgrade_timeout(ngx_event_t *ev)
{
    ngx_http_sio_upgrade_t  *ctx;

    ctx = ev->data;

    ngx_sio_handover_abandon(ctx->handover);
    ctx->handover = NULL;

    ngx_sio_count(upgrade_timeouts);
    ngx_http_sio_log(NGX_LOG_ERR, ctx->request,
                     "the worker that has the session does not answer");
    ngx_http_sio_relay_finalize(ctx->request, NGX_HTTP_GATEWAY_TIME_OUT);
}


static void
ngx_http_sio_relay_upgrade_cleanup(void *data)
{
    ngx_http_sio_upgrade_t *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    if (ctx->handover) {
        ngx_sio_handover_abandon(ctx->handover);
    }
}
