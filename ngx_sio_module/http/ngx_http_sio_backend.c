/*
 * What clients do becomes items of the backlogs of their sockets; the rest is
 * in ngx_http_sio_backlog.c, which has them told, ngx_http_sio_outcome.c, what
 * comes of that, and ngx_http_sio_transfer.c, for sockets that move.
 */

#include "http/ngx_http_sio_backend.h"
#include "http/ngx_http_sio_backlog.h"
#include "http/ngx_http_sio_outcome.h"
#include "http/ngx_http_sio_transfer.h"
#include "core/ngx_sio_op_json.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_base64.h"


void
ngx_http_sio_backend_init(void (*admitted)(ngx_sio_socket_t *sk))
{
    ngx_http_sio_outcome_init(admitted);
    ngx_http_sio_transfer_init();
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

    h->timer.handler = ngx_http_sio_backlog_timer;
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

    handler = ngx_http_sio_backlog_handler((ngx_http_sio_loc_conf_t *)
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
    ngx_http_sio_backlog_orphans += b->size;

    ngx_http_sio_backlog_free(b);
}
