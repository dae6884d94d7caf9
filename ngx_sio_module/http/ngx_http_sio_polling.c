/*
 * The polling transport.  At most one GET of a session waits for packets and
 * at most one POST is being read or worked off; requests that are answered
 * but not written to the end stay listed, so that a connection which fails
 * under the answer ends the session: what was in it is lost.
 *
 * A request may be here or with another worker (ngx_sio_relay.c): a poll
 * knows where its answer goes, and the rest makes no difference.  A poll and
 * its session let go of each other when the request ends or in
 * ngx_http_sio_polling_detach, whichever comes first.
 */

#include "http/ngx_http_sio_polling.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_utf8.h"


/* where an answer goes: one of the two */

typedef struct {
    ngx_http_request_t           *request;
    ngx_sio_remote_t             *remote;
} ngx_http_sio_poll_to_t;


typedef struct {
    ngx_http_sio_poll_to_t        to;
    ngx_sio_session_t            *session;   /* NULL: let go */
    ngx_queue_t                   queue;
    ngx_event_t                   next;      /* the next slice of a POST */
    u_char                       *body;      /* a remote one's, ours to free */
    sio_span_t                    rest;      /* of a POST's payload */
    unsigned                      stalled:1; /* until the session resumes */
    unsigned                      told:1;    /* the holder: it takes longer */
} ngx_http_sio_poll_t;


/* the transport's part of a session */

typedef struct {
    ngx_http_sio_poll_t          *get;
    ngx_http_sio_poll_t          *post;
    ngx_queue_t                   requests;  /* ngx_http_sio_poll_t: the two,
                                                and those being written */
} ngx_http_sio_polling_t;


static ngx_int_t ngx_http_sio_polling_get(ngx_http_sio_poll_to_t *to,
    ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_polling_overlap(ngx_http_sio_poll_to_t *to,
    ngx_sio_session_t *s, ngx_uint_t post);
static ngx_int_t ngx_http_sio_polling_post(ngx_http_request_t *r,
    ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_polling_announce(ngx_http_sio_poll_to_t *to,
    ngx_sio_session_t *s, ngx_uint_t octets, off_t length,
    ngx_http_sio_poll_t **poll);
static ngx_int_t ngx_http_sio_polling_too_large(ngx_http_sio_poll_t *poll,
    off_t size);
static void ngx_http_sio_polling_read(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_polling_payload_in(ngx_http_sio_poll_t *poll);
static void ngx_http_sio_polling_next(ngx_event_t *ev);
static void ngx_http_sio_polling_stall(ngx_http_sio_poll_t *poll);
static void ngx_http_sio_polling_go_on(ngx_http_sio_poll_t *poll);
static ngx_int_t ngx_http_sio_polling_packets(ngx_http_sio_poll_t *poll);
static ngx_int_t ngx_http_sio_polling_posted(ngx_http_sio_poll_t *poll,
    ngx_uint_t status);

static ngx_http_sio_poll_t *ngx_http_sio_polling_attach(
    ngx_http_sio_poll_to_t *to, ngx_sio_session_t *s);
static void ngx_http_sio_polling_let_go(ngx_http_sio_poll_t *poll);
static void ngx_http_sio_polling_detach(ngx_sio_session_t *s);
static void ngx_http_sio_polling_cleanup(void *data);
static void ngx_http_sio_polling_ended(ngx_http_sio_poll_t *poll,
    ngx_uint_t aborted, ngx_uint_t status);

static ngx_int_t ngx_http_sio_polling_say(ngx_http_sio_poll_to_t *to,
    ngx_sio_answer_e answer, ngx_uint_t value);
static void ngx_http_sio_polling_finalize(ngx_http_sio_poll_to_t *to,
    ngx_int_t rc);
static void ngx_http_sio_polling_answer_get(ngx_sio_session_t *s,
    const char *last);
static ngx_int_t ngx_http_sio_polling_send_queue(ngx_sio_session_t *s,
    ngx_http_sio_poll_to_t *to, const char *last);
static u_char *ngx_http_sio_polling_write_queue(ngx_sio_session_t *s,
    const char *last, u_char *p);

static void ngx_http_sio_polling_flush(ngx_sio_session_t *s);
static ngx_uint_t ngx_http_sio_polling_writable(ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_polling_close(ngx_sio_session_t *s);
static void ngx_http_sio_polling_release(ngx_sio_session_t *s);
static void ngx_http_sio_polling_resume(ngx_sio_session_t *s);


const ngx_sio_transport_t  ngx_http_sio_polling_transport = {
    "polling",
    ngx_http_sio_polling_flush,
    ngx_http_sio_polling_writable,
    ngx_http_sio_polling_close,
    ngx_http_sio_polling_release,
    NULL,                              /* nothing upgrades to polling */
    ngx_http_sio_polling_resume
};


ngx_int_t
ngx_http_sio_polling_open(ngx_http_request_t *r,
    ngx_http_sio_client_t *client)
{
    sio_out_t                 o;
    ngx_str_t                 body;
    ngx_uint_t                upgrade;
    ngx_sio_session_t        *s;
    ngx_http_sio_poll_to_t    to;
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
                               polling, &r->connection->addr_text,
                               client->data, client->n, &client->handshake);
    if (s == NULL) {
        ngx_free(polling);
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    to.request = r;
    to.remote = NULL;

    if (ngx_http_sio_polling_attach(&to, s) == NULL
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

    ngx_sio_add(bytes_out, body.len);

    return ngx_http_sio_send_payload(r, &body);

failed:

    ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);

    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


ngx_int_t
ngx_http_sio_polling_request(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    ngx_int_t               rc;
    ngx_http_sio_poll_to_t  to;

    if (r->method == NGX_HTTP_POST) {
        return ngx_http_sio_polling_post(r, s);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    to.request = r;
    to.remote = NULL;

    if (r->method == NGX_HTTP_GET) {
        return ngx_http_sio_polling_get(&to, s);
    }

    return ngx_http_sio_polling_say(&to, NGX_SIO_ANSWER_EMPTY,
                                    NGX_HTTP_INTERNAL_SERVER_ERROR);
}


void
ngx_http_sio_polling_remote(ngx_sio_remote_t *remote,
    ngx_sio_poll_request_t *request, ngx_sio_session_t *s)
{
    ngx_int_t                rc;
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_poll_to_t   to;

    to.request = NULL;
    to.remote = remote;

    switch (request->method) {

    case NGX_SIO_METHOD_GET:
        rc = ngx_http_sio_polling_get(&to, s);

        if (rc == NGX_ERROR) {
            rc = NGX_HTTP_SERVICE_UNAVAILABLE;       /* too large for the bus */
        }

        break;

    case NGX_SIO_METHOD_POST:
        rc = ngx_http_sio_polling_announce(&to, s, request->octets,
                                           request->too_large
                                           ? NGX_MAX_OFF_T_VALUE
                                           : (off_t) request->length, &poll);
        if (rc == NGX_DECLINED) {
            rc = ngx_http_sio_polling_too_large(poll, request->length);
        }

        break;

    default:
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        break;
    }

    ngx_http_sio_polling_finalize(&to, rc);
}


static ngx_int_t
ngx_http_sio_polling_get(ngx_http_sio_poll_to_t *to, ngx_sio_session_t *s)
{
    ngx_int_t                rc;
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    if (s->state == NGX_SIO_SESSION_LINGERING) {

        /* what is queued first: a close in the same payload overtakes it */

        if (s->out.head) {
            return ngx_http_sio_polling_send_queue(s, to, NULL);
        }

        ngx_http_sio_polling_detach(s);
        rc = ngx_http_sio_polling_send_queue(s, to, "6\x1e" "1");
        ngx_sio_session_destroy(s);

        return rc;
    }

    if (polling->get) {
        return ngx_http_sio_polling_overlap(to, s, 0);
    }

    poll = ngx_http_sio_polling_attach(to, s);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    polling->get = poll;

    if (to->request) {

        if (ngx_http_sio_watch(to->request) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        to->request->main->count++;
    }

    if (s->out.head) {
        ngx_sio_session_post(s);
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_sio_polling_overlap(ngx_http_sio_poll_to_t *to,
    ngx_sio_session_t *s, ngx_uint_t post)
{
    ngx_sio_session_log(NGX_LOG_INFO, s,
                        "client sent a second %s while one is under way",
                        post ? "POST" : "GET");

    ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);

    return ngx_http_sio_polling_say(to, NGX_SIO_ANSWER_EMPTY,
                                    NGX_HTTP_BAD_REQUEST);
}


static ngx_int_t
ngx_http_sio_polling_post(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    off_t                    length;
    ngx_int_t                rc;
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_poll_to_t   to;

    to.request = r;
    to.remote = NULL;
    length = r->headers_in.content_length_n;

    /* what is refused is answered when nginx reads the body no more */

    if (((ngx_http_sio_polling_t *) s->carrier)->post
        || ngx_http_sio_octet_stream(r)
        || length > (off_t) s->conf->max_payload)
    {
        /* who asked whether to go on is told not to, by the answer */

        r->expect_tested = 1;

        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_sio_polling_announce(&to, s, ngx_http_sio_octet_stream(r),
                                       length, &poll);

    if (rc == NGX_DECLINED) {
        return ngx_http_sio_polling_too_large(poll, length);
    }

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_http_set_ctx(r, poll, ngx_http_sio_module);

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_sio_polling_read);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/*
 * A POST whose headers have come.  NGX_AGAIN: its body may follow;
 * NGX_DECLINED: it would be too large; else it was answered with this.
 */

static ngx_int_t
ngx_http_sio_polling_announce(ngx_http_sio_poll_to_t *to,
    ngx_sio_session_t *s, ngx_uint_t octets, off_t length,
    ngx_http_sio_poll_t **poll)
{
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    if (polling->post) {
        return ngx_http_sio_polling_overlap(to, s, 1);
    }

    *poll = ngx_http_sio_polling_attach(to, s);

    if (*poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    polling->post = *poll;

    if (octets) {
        ngx_sio_session_log(NGX_LOG_INFO, s,
                            "client sent a POST of type "
                            "\"application/octet-stream\"");
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);

        return ngx_http_sio_polling_posted(*poll, NGX_HTTP_BAD_REQUEST);
    }

    return length > (off_t) s->conf->max_payload ? NGX_DECLINED : NGX_AGAIN;
}


static ngx_int_t
ngx_http_sio_polling_too_large(ngx_http_sio_poll_t *poll, off_t size)
{
    ngx_sio_count(limit_payload);
    ngx_sio_session_log(NGX_LOG_WARN, poll->session,
                        "client sent a POST of %O bytes, limited by "
                        "\"sio_max_payload\"", size);

    return ngx_http_sio_polling_posted(poll,
                                       NGX_HTTP_REQUEST_ENTITY_TOO_LARGE);
}


static void
ngx_http_sio_polling_read(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_http_sio_poll_t  *poll;

    poll = ngx_http_get_module_ctx(r, ngx_http_sio_module);

    if (poll->session == NULL) {
        rc = ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST);
        goto done;
    }

    rc = ngx_http_sio_gather_body(r, poll->session->conf->max_payload,
                                  &poll->rest);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_sio_polling_too_large(poll, poll->rest.n);
        goto done;
    }

    if (rc != NGX_OK) {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        goto done;
    }

    rc = ngx_http_sio_polling_payload_in(poll);

    if (rc == NGX_AGAIN) {
        if (ngx_http_sio_watch(r) == NGX_OK) {
            return;
        }

        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

done:

    ngx_http_finalize_request(r, rc);
}


void
ngx_http_sio_polling_remote_body(void *data, sio_span_t body)
{
    ngx_http_sio_poll_t *poll = data;

    if (poll->session == NULL || poll->body
        || ((ngx_http_sio_polling_t *) poll->session->carrier)->post != poll)
    {
        if (body.p) {
            ngx_free(body.p);
        }

        if (poll->session == NULL) {
            (void) ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST);
        }

        return;
    }

    poll->body = body.p;
    poll->rest = body;

    if (body.p == NULL || body.n > poll->session->conf->max_payload) {
        (void) ngx_http_sio_polling_too_large(poll, body.n);
        return;
    }

    (void) ngx_http_sio_polling_payload_in(poll);
}


/* a payload is here, in poll->rest; returns as polling_packets */

static ngx_int_t
ngx_http_sio_polling_payload_in(ngx_http_sio_poll_t *poll)
{
    ngx_sio_add(bytes_in, poll->rest.n);

    if (!sio_utf8_valid(poll->rest.p, poll->rest.n)) {
        ngx_sio_count(parse_errors);
        ngx_sio_session_log(NGX_LOG_INFO, poll->session,
                            "client sent a POST that is not UTF-8");
        ngx_sio_session_close(poll->session, NGX_SIO_PARSE_ERROR);

        return ngx_http_sio_polling_posted(poll, NGX_HTTP_BAD_REQUEST);
    }

    poll->next.handler = ngx_http_sio_polling_next;
    poll->next.data = poll;
    poll->next.log = poll->session->conf->log;

    return ngx_http_sio_polling_packets(poll);
}


static void
ngx_http_sio_polling_next(ngx_event_t *ev)
{
    ngx_int_t             rc;
    ngx_http_sio_poll_t  *poll;

    poll = ev->data;

    rc = ngx_http_sio_polling_packets(poll);

    if (rc != NGX_AGAIN) {
        ngx_http_sio_polling_finalize(&poll->to, rc);
    }
}


/*
 * The POST is answered when the session has resumed: until then its client
 * sends no other one.
 */

static void
ngx_http_sio_polling_stall(ngx_http_sio_poll_t *poll)
{
    poll->stalled = 1;

    if (poll->to.remote && !poll->told) {
        poll->told = 1;
        (void) ngx_http_sio_polling_say(&poll->to, NGX_SIO_ANSWER_LATER, 0);
    }
}


static void
ngx_http_sio_polling_go_on(ngx_http_sio_poll_t *poll)
{
    if (poll->stalled) {
        poll->stalled = 0;
        ngx_post_event(&poll->next, &ngx_posted_events);
    }
}


/* NGX_AGAIN: not now; else what finalizes the request */

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

        if (s->paused) {
            ngx_http_sio_polling_stall(poll);
            return NGX_AGAIN;
        }

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
    ngx_http_sio_polling_t  *polling;

    if (poll->session) {
        polling = poll->session->carrier;
        polling->post = NULL;

        /* too large: whether the rest comes is not the session's matter */

        if (status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
            ngx_http_sio_polling_let_go(poll);
        }
    }

    return ngx_http_sio_polling_say(&poll->to,
                                    status == NGX_HTTP_OK
                                    ? NGX_SIO_ANSWER_OK
                                    : NGX_SIO_ANSWER_EMPTY, status);
}


static ngx_http_sio_poll_t *
ngx_http_sio_polling_attach(ngx_http_sio_poll_to_t *to, ngx_sio_session_t *s)
{
    ngx_http_cleanup_t      *cln;
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_polling_t  *polling;

    cln = NULL;

    if (to->request) {
        cln = ngx_http_cleanup_add(to->request, sizeof(ngx_http_sio_poll_t));
        poll = cln ? cln->data : NULL;

    } else {
        poll = ngx_alloc(sizeof(ngx_http_sio_poll_t), s->conf->log);
    }

    if (poll == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    ngx_memzero(poll, sizeof(ngx_http_sio_poll_t));

    poll->to = *to;
    poll->session = s;

    polling = s->carrier;

    ngx_queue_insert_tail(&polling->requests, &poll->queue);
    ngx_sio_count(requests);

    if (cln) {
        cln->handler = ngx_http_sio_polling_cleanup;

    } else {
        to->remote->poll = poll;
    }

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
    ngx_http_sio_poll_t     *poll;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    while (!ngx_queue_empty(&polling->requests)) {
        q = ngx_queue_head(&polling->requests);
        poll = ngx_queue_data(q, ngx_http_sio_poll_t, queue);

        ngx_http_sio_polling_let_go(poll);
        ngx_http_sio_polling_go_on(poll);
    }

    ngx_free(polling);
    s->carrier = NULL;
}


/* the request ends, by its answer, the client or an error */

static void
ngx_http_sio_polling_cleanup(void *data)
{
    ngx_http_sio_poll_t *poll = data;

    ngx_http_request_t  *r;

    r = poll->to.request;

    ngx_http_sio_polling_ended(poll, ngx_http_sio_broken(r),
                               r->headers_out.status);
}


void
ngx_http_sio_polling_remote_finished(void *data, ngx_uint_t aborted,
    ngx_uint_t status)
{
    ngx_http_sio_poll_t *poll = data;

    ngx_http_sio_polling_ended(poll, aborted, status);

    if (poll->body) {
        ngx_free(poll->body);
    }

    ngx_free(poll);
}


static void
ngx_http_sio_polling_ended(ngx_http_sio_poll_t *poll, ngx_uint_t aborted,
    ngx_uint_t status)
{
    ngx_sio_session_t       *s;
    ngx_http_sio_polling_t  *polling;

    if (poll->next.posted) {
        ngx_delete_posted_event(&poll->next);
    }

    s = poll->session;

    if (s == NULL) {
        return;
    }

    polling = s->carrier;

    if (polling->get == poll) {
        polling->get = NULL;
        aborted = 1;
    }

    if (polling->post == poll) {
        polling->post = NULL;

        /* a body that outgrew client_max_body_size costs no session */

        aborted |= (status != NGX_HTTP_REQUEST_ENTITY_TOO_LARGE);
    }

    ngx_http_sio_polling_let_go(poll);

    if (aborted) {
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);
    }
}


/* the holder of a GET wants it back */

void
ngx_http_sio_polling_remote_release(void *data)
{
    ngx_http_sio_poll_t *poll = data;

    ngx_sio_session_t  *s;

    s = poll->session;

    if (s && ((ngx_http_sio_polling_t *) s->carrier)->get == poll
        && s->out.head == NULL)
    {
        ngx_sio_session_send(s, &ngx_sio_msg_noop, 0);
    }
}


/* an answer without packets */

static ngx_int_t
ngx_http_sio_polling_say(ngx_http_sio_poll_to_t *to, ngx_sio_answer_e answer,
    ngx_uint_t value)
{
    if (to->remote) {
        ngx_sio_relay_send_answer(to->remote,
                                  ngx_sio_relay_answer(to->remote, answer,
                                                       value, 0, NULL));
        return NGX_OK;
    }

    return (answer == NGX_SIO_ANSWER_OK)
           ? ngx_http_sio_send_ok(to->request)
           : ngx_http_sio_send_empty(to->request, value);
}


/* the end of a request that was held; a remote one ends elsewhere */

static void
ngx_http_sio_polling_finalize(ngx_http_sio_poll_to_t *to, ngx_int_t rc)
{
    ngx_connection_t  *c;

    if (to->remote) {

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            (void) ngx_http_sio_polling_say(to, NGX_SIO_ANSWER_EMPTY, rc);
        }

        return;
    }

    c = to->request->connection;

    ngx_http_finalize_request(to->request, rc);
    ngx_http_run_posted_requests(c);
}


/* gives the waiting GET what is queued and, if not NULL, one packet */

static void
ngx_http_sio_polling_answer_get(ngx_sio_session_t *s, const char *last)
{
    ngx_int_t                rc;
    ngx_http_sio_poll_to_t   to;
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;
    to = polling->get->to;

    rc = ngx_http_sio_polling_send_queue(s, &to, last);

    /* one that can't be sent over the bus ends the session, and is told so */

    if (rc == NGX_ERROR && to.remote) {
        return;
    }

    polling->get = NULL;

    ngx_http_sio_polling_finalize(&to, rc);
}


static ngx_int_t
ngx_http_sio_polling_send_queue(ngx_sio_session_t *s,
    ngx_http_sio_poll_to_t *to, const char *last)
{
    size_t           size;
    u_char          *p;
    ngx_str_t        body;
    sio_span_t       text;
    ngx_sio_msg_t   *m;
    ngx_sio_link_t  *link;

    size = last ? ngx_strlen(last) + 1 : 0;

    for (link = s->out.head; link; link = link->next) {
        text = ngx_sio_msg_text(link->msg);

        if (text.p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        size += text.n + 1;
    }

    size--;                                     /* there is always one */

    ngx_sio_add(bytes_out, size);

    if (to->remote) {
        m = ngx_sio_relay_answer(to->remote, NGX_SIO_ANSWER_PAYLOAD, 0, size,
                                 &p);

        if (m == NULL) {
            s->silent = 1;
            ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);
            return NGX_ERROR;
        }

        (void) ngx_http_sio_polling_write_queue(s, last, p);
        ngx_sio_relay_send_answer(to->remote, m);

        return NGX_OK;
    }

    p = ngx_pnalloc(to->request->pool, size);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.data = p;
    body.len = ngx_http_sio_polling_write_queue(s, last, p) - p;

    return ngx_http_sio_send_payload(to->request, &body);
}


static u_char *
ngx_http_sio_polling_write_queue(ngx_sio_session_t *s, const char *last,
    u_char *p)
{
    u_char      *start;
    sio_span_t   text;

    start = p;

    while (s->out.head) {
        text = ngx_sio_msg_text(s->out.head->msg);

        if (p != start) {
            *p++ = SIO_EIO_SEPARATOR;
        }

        p = ngx_cpymem(p, text.p, text.n);

        ngx_sio_queue_pop(&s->out);
    }

    if (last) {
        if (p != start) {
            *p++ = SIO_EIO_SEPARATOR;
        }

        p = ngx_cpymem(p, last, ngx_strlen(last));
    }

    return p;
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


static void
ngx_http_sio_polling_resume(ngx_sio_session_t *s)
{
    ngx_http_sio_polling_t  *polling;

    polling = s->carrier;

    if (polling->post) {
        ngx_http_sio_polling_go_on(polling->post);
    }
}
