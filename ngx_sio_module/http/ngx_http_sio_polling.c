/*
 * The polling transport.  At most one GET of a session waits for packets and
 * at most one POST is being read or worked off; requests that are answered
 * but not written to the end stay listed, so that a connection which fails
 * under the answer ends the session: what was in it is lost.
 *
 * A request and its session know each other only through ngx_http_sio_poll_t
 * and let go of each other in the request's cleanup handler or in
 * ngx_http_sio_polling_detach, whichever comes first.
 */

#include "http/ngx_http_sio_polling.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_utf8.h"


typedef struct {
    ngx_http_request_t           *request;
    ngx_sio_session_t            *session;   /* NULL: let go */
    ngx_queue_t                   queue;
    ngx_event_t                   next;      /* the next slice of a POST */
    sio_span_t                    rest;      /* of a POST's payload */
} ngx_http_sio_poll_t;


/* the transport's part of a session */

typedef struct {
    ngx_http_sio_poll_t          *get;
    ngx_http_sio_poll_t          *post;
    ngx_queue_t                   requests;  /* ngx_http_sio_poll_t: the two,
                                                and those being written */
} ngx_http_sio_polling_t;


static ngx_int_t ngx_http_sio_polling_get(ngx_http_request_t *r,
    ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_polling_post(ngx_http_request_t *r,
    ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_polling_watch(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_polling_overlap(ngx_http_request_t *r,
    ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_polling_too_large(ngx_http_request_t *r,
    ngx_http_sio_poll_t *poll, off_t size);
static void ngx_http_sio_polling_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_polling_gather(ngx_http_request_t *r,
    sio_span_t *body);
static void ngx_http_sio_polling_next(ngx_event_t *ev);
static ngx_int_t ngx_http_sio_polling_packets(ngx_http_sio_poll_t *poll);
static ngx_int_t ngx_http_sio_polling_posted(ngx_http_sio_poll_t *poll,
    ngx_uint_t status);

static ngx_http_sio_poll_t *ngx_http_sio_polling_attach(
    ngx_http_request_t *r, ngx_sio_session_t *s);
static void ngx_http_sio_polling_let_go(ngx_http_sio_poll_t *poll);
static void ngx_http_sio_polling_detach(ngx_sio_session_t *s);
static void ngx_http_sio_polling_cleanup(void *data);

static ngx_int_t ngx_http_sio_polling_answer(ngx_http_request_t *r,
    ngx_str_t *body);
static void ngx_http_sio_polling_answer_get(ngx_sio_session_t *s,
    const char *packet);
static ngx_int_t ngx_http_sio_polling_payload(ngx_sio_session_t *s,
    ngx_pool_t *pool, const char *last, ngx_str_t *body);

static void ngx_http_sio_polling_flush(ngx_sio_session_t *s);
static ngx_uint_t ngx_http_sio_polling_writable(ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_polling_close(ngx_sio_session_t *s);
static void ngx_http_sio_polling_release(ngx_sio_session_t *s);


const ngx_sio_transport_t  ngx_http_sio_polling_transport = {
    "polling",
    ngx_http_sio_polling_flush,
    ngx_http_sio_polling_writable,
    ngx_http_sio_polling_close,
    ngx_http_sio_polling_release,
    NULL                               /* nothing upgrades to polling */
};


static ngx_str_t  ngx_http_sio_no_store = ngx_string("no-store");
static ngx_str_t  ngx_http_sio_text = ngx_string("text/plain; charset=UTF-8");
static ngx_str_t  ngx_http_sio_html = ngx_string("text/html");
static ngx_str_t  ngx_http_sio_empty = ngx_null_string;
static ngx_str_t  ngx_http_sio_ok = ngx_string("ok");
static ngx_str_t  ngx_http_sio_bye = ngx_string("6\x1e" "1");


ngx_int_t
ngx_http_sio_polling_open(ngx_http_request_t *r, ngx_str_t *data,
    ngx_uint_t n)
{
    sio_out_t                 o;
    ngx_str_t                 body;
    ngx_uint_t                upgrade;
    ngx_sio_session_t        *s;
    ngx_http_sio_polling_t   *polling;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    polling = ngx_alloc(sizeof(ngx_http_sio_polling_t), slcf->core.log);
    if (polling == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    polling->get = NULL;
    polling->post = NULL;
    ngx_queue_init(&polling->requests);

    s = ngx_sio_session_create(&slcf->core, &ngx_http_sio_polling_transport,
                               polling, &r->connection->addr_text, data, n);
    if (s == NULL) {
        ngx_free(polling);
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (ngx_http_sio_polling_attach(r, s) == NULL
        || ngx_http_sio_add_cookie(r, s) != NGX_OK)
    {
        goto failed;
    }

    upgrade = (slcf->transports & NGX_HTTP_SIO_WEBSOCKET) ? 1 : 0;

    o.p = NULL;
    o.n = 0;

    ngx_sio_session_encode_open(s, upgrade, &o);

    body.len = o.n;
    body.data = ngx_pnalloc(r->pool, o.n);
    if (body.data == NULL) {
        goto failed;
    }

    o.p = body.data;

    ngx_sio_session_encode_open(s, upgrade, &o);

    return ngx_http_sio_polling_answer(r, &body);

failed:

    ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);

    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


ngx_int_t
ngx_http_sio_polling_request(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    ngx_int_t  rc;

    if (r->method == NGX_HTTP_POST) {
        return ngx_http_sio_polling_post(r, s);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (r->method == NGX_HTTP_GET) {
        return ngx_http_sio_polling_get(r, s);
    }

    return ngx_http_sio_send(r, NGX_HTTP_INTERNAL_SERVER_ERROR, NULL,
                             &ngx_http_sio_empty);
}


static ngx_int_t
ngx_http_sio_polling_get(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    ngx_int_t                rc;
    ngx_str_t                body;
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    if (s->state == NGX_SIO_SESSION_LINGERING) {

        /* what is queued first: a close in the same payload overtakes it */

        if (s->out.head) {
            rc = ngx_http_sio_polling_payload(s, r->pool, NULL, &body);

            return rc == NGX_OK ? ngx_http_sio_polling_answer(r, &body)
                                : NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_sio_polling_detach(s);
        ngx_sio_session_destroy(s);

        return ngx_http_sio_polling_answer(r, &ngx_http_sio_bye);
    }

    if (polling->get) {
        return ngx_http_sio_polling_overlap(r, s);
    }

    poll = ngx_http_sio_polling_attach(r, s);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    polling->get = poll;

    if (ngx_http_sio_polling_watch(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    if (s->out.head) {
        ngx_sio_session_post(s);
    }

    return NGX_DONE;
}


/* a client that goes while its request is held is seen at once */

static ngx_int_t
ngx_http_sio_polling_watch(ngx_http_request_t *r)
{
    ngx_event_t  *rev;

    r->read_event_handler = ngx_http_test_reading;

    if (r->stream) {
        return NGX_OK;
    }

    rev = r->connection->read;

    /* its end may have come with the request: no event will tell */

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0);
}


static ngx_int_t
ngx_http_sio_polling_overlap(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    ngx_sio_session_log(NGX_LOG_INFO, s,
                        "client sent a second %V while one is under way",
                        &r->method_name);

    ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);

    return ngx_http_sio_send(r, NGX_HTTP_BAD_REQUEST, NULL,
                             &ngx_http_sio_empty);
}


static ngx_int_t
ngx_http_sio_polling_post(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    ngx_int_t                rc;
    ngx_str_t               *type;
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    if (polling->post) {
        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK ? ngx_http_sio_polling_overlap(r, s) : rc;
    }

    poll = ngx_http_sio_polling_attach(r, s);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    polling->post = poll;
    type = r->headers_in.content_type ? &r->headers_in.content_type->value
                                      : &ngx_http_sio_empty;

    if (type->len == sizeof("application/octet-stream") - 1
        && ngx_strncasecmp(type->data, (u_char *) "application/octet-stream",
                           type->len) == 0)
    {
        ngx_sio_session_log(NGX_LOG_INFO, s,
                            "client sent a POST of type "
                            "\"application/octet-stream\"");
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);

        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK
               ? ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST) : rc;
    }

    if (r->headers_in.content_length_n > (off_t) s->conf->max_payload) {
        return ngx_http_sio_polling_too_large(r, poll,
                                              r->headers_in.content_length_n);
    }

    ngx_http_set_ctx(r, poll, ngx_http_sio_module);

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_sio_polling_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


static ngx_int_t
ngx_http_sio_polling_too_large(ngx_http_request_t *r,
    ngx_http_sio_poll_t *poll, off_t size)
{
    ngx_int_t  rc;

    ngx_sio_count(limit_payload);
    ngx_sio_session_log(NGX_LOG_WARN, poll->session,
                        "client sent a POST of %O bytes, limited by "
                        "\"sio_max_payload\"", size);

    /* who asked whether to go on is told not to, by the answer */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);

    return rc == NGX_OK
           ? ngx_http_sio_polling_posted(poll,
                                         NGX_HTTP_REQUEST_ENTITY_TOO_LARGE)
           : rc;
}


static void
ngx_http_sio_polling_body(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_http_sio_poll_t  *poll;

    poll = ngx_http_get_module_ctx(r, ngx_http_sio_module);

    if (poll->session == NULL) {
        rc = ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST);
        goto done;
    }

    rc = ngx_http_sio_polling_gather(r, &poll->rest);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_sio_polling_too_large(r, poll, poll->rest.n);
        goto done;
    }

    if (rc != NGX_OK) {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        goto done;
    }

    ngx_sio_add(bytes_in, poll->rest.n);

    if (!sio_utf8_valid(poll->rest.p, poll->rest.n)) {
        ngx_sio_count(parse_errors);
        ngx_sio_session_log(NGX_LOG_INFO, poll->session,
                            "client sent a POST that is not UTF-8");
        ngx_sio_session_close(poll->session, NGX_SIO_PARSE_ERROR);

        rc = ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST);
        goto done;
    }

    poll->next.handler = ngx_http_sio_polling_next;
    poll->next.data = poll;
    poll->next.log = r->connection->log;

    rc = ngx_http_sio_polling_packets(poll);

    if (rc == NGX_AGAIN) {
        if (ngx_http_sio_polling_watch(r) == NGX_OK) {
            return;
        }

        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

done:

    ngx_http_finalize_request(r, rc);
}


/* the body in one piece, writable; NGX_DECLINED if it is too large */

static ngx_int_t
ngx_http_sio_polling_gather(ngx_http_request_t *r, sio_span_t *body)
{
    off_t                     size;
    u_char                   *p;
    ssize_t                   n;
    ngx_buf_t                *b;
    ngx_chain_t              *cl, *bufs;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    bufs = r->request_body ? r->request_body->bufs : NULL;
    size = 0;

    for (cl = bufs; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    body->n = size;

    if (size > (off_t) slcf->core.max_payload) {
        return NGX_DECLINED;
    }

    if (bufs && bufs->next == NULL && ngx_buf_in_memory(bufs->buf)) {
        body->p = bufs->buf->pos;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, size + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->p = p;

    for (cl = bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);
            continue;
        }

        /* the last one of a chunked body may hold nothing at all */

        if (!b->in_file) {
            continue;
        }

        n = ngx_read_file(b->file, p, b->file_last - b->file_pos,
                          b->file_pos);

        if (n != b->file_last - b->file_pos) {
            return NGX_ERROR;
        }

        p += n;
    }

    return NGX_OK;
}


static void
ngx_http_sio_polling_next(ngx_event_t *ev)
{
    ngx_int_t             rc;
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_sio_poll_t  *poll;

    poll = ev->data;
    r = poll->request;
    c = r->connection;

    rc = ngx_http_sio_polling_packets(poll);

    if (rc == NGX_AGAIN) {
        return;
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


/* NGX_AGAIN: enough for this turn; else what finalizes the request */

static ngx_int_t
ngx_http_sio_polling_packets(ngx_http_sio_poll_t *poll)
{
    sio_rc_t            rc;
    sio_eio_packet_t    p;
    ngx_sio_session_t  *s;

    s = poll->session;

    if (s == NULL) {
        return ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST);
    }

    while (!ngx_sio_session_busy()) {

        rc = sio_eio_decode_payload(&poll->rest, &p);

        if (rc == SIO_DONE) {
            return ngx_http_sio_polling_posted(poll, NGX_HTTP_OK);
        }

        if (rc != SIO_OK) {
            ngx_sio_count(parse_errors);
            ngx_sio_session_log(NGX_LOG_INFO, s,
                                "client sent an invalid payload");
            ngx_sio_session_close(s, NGX_SIO_PARSE_ERROR);

            return ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST);
        }

        if (ngx_sio_session_packet(s, &p) != NGX_OK) {
            return ngx_http_sio_polling_posted(poll, NGX_HTTP_OK);
        }
    }

    ngx_post_event(&poll->next, &ngx_posted_next_events);

    return NGX_AGAIN;
}


/* answers a POST: it is not under way any more */

static ngx_int_t
ngx_http_sio_polling_posted(ngx_http_sio_poll_t *poll, ngx_uint_t status)
{
    ngx_http_request_t      *r;
    ngx_http_sio_polling_t  *polling;

    r = poll->request;

    if (poll->session) {
        polling = poll->session->carrier;
        polling->post = NULL;

        /* too large: whether the rest comes is not the session's matter */

        if (status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
            ngx_http_sio_polling_let_go(poll);
        }
    }

    if (status != NGX_HTTP_OK) {
        return ngx_http_sio_send(r, status, NULL, &ngx_http_sio_empty);
    }

    if (ngx_http_sio_add_header(r, "Cache-Control", &ngx_http_sio_no_store)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_sio_send(r, NGX_HTTP_OK, &ngx_http_sio_html,
                             &ngx_http_sio_ok);
}


static ngx_http_sio_poll_t *
ngx_http_sio_polling_attach(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    ngx_http_cleanup_t      *cln;
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_polling_t  *polling;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_sio_poll_t));
    if (cln == NULL) {
        return NULL;
    }

    polling = s->carrier;

    poll = cln->data;
    ngx_memzero(poll, sizeof(ngx_http_sio_poll_t));

    poll->request = r;
    poll->session = s;

    ngx_queue_insert_tail(&polling->requests, &poll->queue);
    ngx_sio_count(requests);

    cln->handler = ngx_http_sio_polling_cleanup;

    return poll;
}


static void
ngx_http_sio_polling_let_go(ngx_http_sio_poll_t *poll)
{
    ngx_queue_remove(&poll->queue);
    ngx_sio_uncount(requests);

    poll->session = NULL;
}


/* a POST under way goes on without its session and is answered 400 */

static void
ngx_http_sio_polling_detach(ngx_sio_session_t *s)
{
    ngx_queue_t             *q;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    while (!ngx_queue_empty(&polling->requests)) {
        q = ngx_queue_head(&polling->requests);
        ngx_http_sio_polling_let_go(ngx_queue_data(q, ngx_http_sio_poll_t,
                                                   queue));
    }

    ngx_free(polling);
    s->carrier = NULL;
}


/* the request ends, by its answer, the client or an error */

static void
ngx_http_sio_polling_cleanup(void *data)
{
    ngx_http_sio_poll_t *poll = data;

    ngx_uint_t               aborted;
    ngx_connection_t        *c;
    ngx_sio_session_t       *s;
    ngx_http_request_t      *r;
    ngx_http_sio_polling_t  *polling;

    if (poll->next.posted) {
        ngx_delete_posted_event(&poll->next);
    }

    s = poll->session;

    if (s == NULL) {
        return;
    }

    r = poll->request;
    c = r->connection;
    polling = s->carrier;

    aborted = (c->error || c->timedout || c->read->error);

    if (polling->get == poll) {
        polling->get = NULL;
        aborted = 1;
    }

    if (polling->post == poll) {
        polling->post = NULL;

        /* a body that outgrew client_max_body_size costs no session */

        aborted |= (r->headers_out.status
                    != NGX_HTTP_REQUEST_ENTITY_TOO_LARGE);
    }

    ngx_http_sio_polling_let_go(poll);

    if (aborted) {
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);
    }
}


static ngx_int_t
ngx_http_sio_polling_answer(ngx_http_request_t *r, ngx_str_t *body)
{
    if (ngx_http_sio_add_header(r, "Cache-Control", &ngx_http_sio_no_store)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_sio_add(bytes_out, body->len);

    return ngx_http_sio_send(r, NGX_HTTP_OK, &ngx_http_sio_text, body);
}


/* gives the waiting GET what is queued or, if not NULL, one packet */

static void
ngx_http_sio_polling_answer_get(ngx_sio_session_t *s, const char *last)
{
    ngx_int_t                rc;
    ngx_str_t                body;
    ngx_connection_t        *c;
    ngx_http_request_t      *r;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    r = polling->get->request;
    c = r->connection;

    rc = ngx_http_sio_polling_payload(s, r->pool, last, &body);

    polling->get = NULL;

    rc = (rc == NGX_OK) ? ngx_http_sio_polling_answer(r, &body)
                        : NGX_HTTP_INTERNAL_SERVER_ERROR;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_sio_polling_payload(ngx_sio_session_t *s, ngx_pool_t *pool,
    const char *last, ngx_str_t *body)
{
    size_t           size;
    u_char          *p;
    sio_span_t       text;
    ngx_sio_link_t  *link;

    size = last ? ngx_strlen(last) : 0;

    for (link = s->out.head; link; link = link->next) {
        text = ngx_sio_msg_text(link->msg);

        if (text.p == NULL) {
            return NGX_ERROR;
        }

        size += text.n + 1;
    }

    p = ngx_pnalloc(pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    while (s->out.head) {
        text = ngx_sio_msg_text(s->out.head->msg);

        if (p != body->data) {
            *p++ = SIO_EIO_SEPARATOR;
        }

        p = ngx_cpymem(p, text.p, text.n);

        ngx_sio_queue_pop(&s->out);
    }

    if (last) {
        if (p != body->data) {
            *p++ = SIO_EIO_SEPARATOR;
        }

        p = ngx_cpymem(p, last, ngx_strlen(last));
    }

    body->len = p - body->data;

    return NGX_OK;
}


static void
ngx_http_sio_polling_flush(ngx_sio_session_t *s)
{
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    if (polling->get && s->out.head) {
        ngx_http_sio_polling_answer_get(s, NULL);
    }
}


static ngx_uint_t
ngx_http_sio_polling_writable(ngx_sio_session_t *s)
{
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    return polling->get != NULL;
}


/*
 * Node.js sends what is queued before an orderly close only, and the close
 * packet in an answer of its own: a client works off the packets of a
 * payload later than a close in it.  With no GET waiting, the next one gets
 * it.
 */

static ngx_int_t
ngx_http_sio_polling_close(ngx_sio_session_t *s)
{
    ngx_uint_t               orderly;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    orderly = !s->silent
              && (s->reason == NGX_SIO_FORCED_CLOSE
                  || s->reason == NGX_SIO_FORCED_SERVER_CLOSE
                  || s->reason == NGX_SIO_SHUTTING_DOWN);

    if (!orderly) {
        ngx_sio_queue_clear(&s->out);
    }

    if (polling->get && s->out.head == NULL) {
        ngx_http_sio_polling_answer_get(s,
                               s->reason == NGX_SIO_TRANSPORT_CLOSE ? "6"
                                                                    : "1");

    } else if (orderly && s->state != NGX_SIO_SESSION_LINGERING) {

        if (polling->get) {
            ngx_http_sio_polling_answer_get(s, NULL);
        }

        return NGX_AGAIN;
    }

    ngx_http_sio_polling_detach(s);

    return NGX_OK;
}


static void
ngx_http_sio_polling_release(ngx_sio_session_t *s)
{
    ngx_http_sio_polling_t  *polling;
    ngx_sio_queue_t          out;

    polling = s->carrier;

    if (polling->get) {

        /* what is queued belongs to the new transport */

        out = s->out;
        ngx_memzero(&s->out, sizeof(ngx_sio_queue_t));

        ngx_http_sio_polling_answer_get(s, "6");

        s->out = out;
    }

    ngx_http_sio_polling_detach(s);
}
