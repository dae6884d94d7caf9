/*
 * The Socket.IO layer: a session's messages become packets, packets become
 * sockets and events.  Data comes from a transport's buffer as spans and
 * goes to the application as spans; only a binary packet whose attachments
 * are still to come, and a kept auth payload, are copied.
 *
 * A packet that Node.js would not accept ends the session with the reason
 * that Node.js gives.
 */

#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_ack.h"
#include "core/ngx_sio_data.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_room.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_ws.h"


#define NGX_SIO_MAX_ATTACHMENTS  255
#define NGX_SIO_MAX_AUTH         8192
#define NGX_SIO_RESERVED_MAX     (sizeof("removeListener") * 6)

#define NGX_SIO_PLACEHOLDER      "{\"_placeholder\":true,\"num\":"

#define NGX_SIO_INVALID_NSP      "{\"message\":\"Invalid namespace\"}"
#define NGX_SIO_TOO_MANY_NSPS    "{\"message\":\"Too many namespaces\"}"
#define NGX_SIO_AUTH_TOO_LARGE   "{\"message\":\"Auth payload too large\"}"
#define NGX_SIO_NO_MEMORY        "{\"message\":\"Server error\"}"


struct ngx_sio_partial_s {
    sio_packet_t     packet;             /* nsp and json are copies */
    ngx_uint_t       in_order;
    ngx_uint_t       got;
    size_t           size;               /* of the attachments */
    sio_span_t      *attachments;
};


static void *ngx_sio_socket_json_alloc(void *ctx, size_t n);
static void ngx_sio_socket_json_free(void *ctx, void *p);

static ngx_int_t ngx_sio_socket_message(ngx_sio_session_t *s, sio_span_t data,
    ngx_uint_t binary);
static ngx_int_t ngx_sio_socket_packet(ngx_sio_session_t *s, sio_packet_t *p);
static ngx_int_t ngx_sio_socket_connect(ngx_sio_session_t *s,
    sio_packet_t *p);
static void ngx_sio_socket_connect_error(ngx_sio_session_t *s, sio_span_t nsp,
    sio_span_t json);
static ngx_int_t ngx_sio_socket_validate(ngx_sio_session_t *s,
    sio_packet_t *p, sio_json_type_t type, ngx_uint_t *in_order);
static ngx_int_t ngx_sio_socket_event(ngx_sio_session_t *s, sio_packet_t *p,
    sio_span_t *attachments, ngx_uint_t in_order);
static ngx_int_t ngx_sio_socket_partial(ngx_sio_session_t *s,
    sio_packet_t *p, ngx_uint_t in_order);
static ngx_int_t ngx_sio_socket_attachment(ngx_sio_session_t *s,
    sio_span_t data);
static ngx_int_t ngx_sio_socket_too_many(ngx_sio_session_t *s);
static ngx_int_t ngx_sio_socket_too_big(ngx_sio_session_t *s, size_t size);
static void ngx_sio_socket_free_partial(ngx_sio_session_t *s);
static ngx_int_t ngx_sio_socket_invalid(ngx_sio_session_t *s,
    const char *what);
static ngx_int_t ngx_sio_socket_bad_state(ngx_sio_session_t *s,
    const char *what);
static ngx_uint_t ngx_sio_socket_reserved(sio_span_t token);

static ngx_sio_socket_t *ngx_sio_socket_create(ngx_sio_session_t *s,
    ngx_sio_nsp_conf_t *conf, ngx_str_t *name, sio_span_t auth);
static void ngx_sio_socket_free(ngx_sio_socket_t *sk);
static void ngx_sio_socket_unhold(ngx_sio_socket_t *sk);
static void ngx_sio_socket_add(ngx_sio_socket_t *sk);
static ngx_sio_socket_t *ngx_sio_socket_find(ngx_sio_socket_t *sk,
    sio_span_t nsp);
static void ngx_sio_socket_send_disconnect(ngx_sio_session_t *s,
    sio_span_t nsp);
static void ngx_sio_socket_open(ngx_sio_session_t *s);
static void ngx_sio_socket_sweep(ngx_sio_session_t *s);
static void ngx_sio_socket_end(ngx_sio_session_t *s);
static void ngx_sio_socket_destroy(ngx_sio_socket_t *sk);
static void ngx_sio_socket_remove(ngx_sio_socket_t *sk);

static void ngx_sio_socket_export(ngx_sio_session_t *s, sio_out_t *o);
static void ngx_sio_socket_export_list(ngx_sio_socket_t *first, sio_out_t *o);
static void ngx_sio_socket_export_one(ngx_sio_socket_t *sk, sio_out_t *o);
static void ngx_sio_socket_export_partial(ngx_sio_partial_t *partial,
    sio_out_t *o);
static ngx_int_t ngx_sio_socket_import(ngx_sio_session_t *s, sio_in_t *in);
static ngx_int_t ngx_sio_socket_import_partial(ngx_sio_session_t *s,
    sio_in_t *in);
static ngx_int_t ngx_sio_socket_import_list(ngx_sio_session_t *s,
    ngx_uint_t held, sio_in_t *in);
static ngx_int_t ngx_sio_socket_import_one(ngx_sio_session_t *s,
    ngx_sio_nsp_conf_t *nc, sio_span_t nsp, ngx_uint_t held, sio_in_t *in);
static void ngx_sio_socket_drop(ngx_sio_session_t *s);

static void ngx_sio_plain_open(ngx_sio_session_t *s);
static ngx_int_t ngx_sio_plain_message(ngx_sio_session_t *s, sio_span_t data,
    ngx_uint_t binary);


const ngx_sio_user_t  ngx_sio_socket_user = {
    ngx_sio_socket_message,
    ngx_sio_socket_open,
    ngx_sio_socket_sweep,
    ngx_sio_socket_export,
    ngx_sio_socket_import,
    ngx_sio_socket_drop,
    ngx_sio_socket_end
};

const ngx_sio_user_t  ngx_sio_plain_user = {
    ngx_sio_plain_message,
    ngx_sio_plain_open,
    ngx_sio_socket_sweep,
    ngx_sio_socket_export,
    ngx_sio_socket_import,
    ngx_sio_socket_drop,
    ngx_sio_socket_end
};


static sio_json_t              *ngx_sio_json;
static sio_json_placeholder_t   ngx_sio_placeholders[NGX_SIO_MAX_ATTACHMENTS];


ngx_int_t
ngx_sio_socket_init(ngx_cycle_t *cycle)
{
    ngx_sio_json = ngx_sio_socket_create_json(cycle->log);

    return ngx_sio_json ? NGX_OK : NGX_ERROR;
}


sio_json_t *
ngx_sio_socket_create_json(ngx_log_t *log)
{
    sio_json_mem_t  mem;

    mem.alloc = ngx_sio_socket_json_alloc;
    mem.free = ngx_sio_socket_json_free;
    mem.ctx = log;

    return sio_json_create(&mem);
}


void
ngx_sio_socket_done(void)
{
    sio_json_destroy(ngx_sio_json);
    ngx_sio_json = NULL;
}


static void *
ngx_sio_socket_json_alloc(void *ctx, size_t n)
{
    return ngx_alloc(n, ctx);
}


static void
ngx_sio_socket_json_free(void *ctx, void *p)
{
    ngx_free(p);
}


static void
ngx_sio_socket_open(ngx_sio_session_t *s)
{
    /* EIO 4 clients ask for each namespace, "/" too */
}


static ngx_int_t
ngx_sio_socket_message(ngx_sio_session_t *s, sio_span_t data,
    ngx_uint_t binary)
{
    sio_packet_t  p;

    if (binary) {
        return ngx_sio_socket_attachment(s, data);
    }

    if (s->partial) {
        return ngx_sio_socket_invalid(s, "text while attachments are due");
    }

    switch (sio_packet_decode(data, s->conf->max_attachments, &p)) {

    case SIO_OK:
        return ngx_sio_socket_packet(s, &p);

    case SIO_ELIMIT:
        return ngx_sio_socket_too_many(s);

    default:
        return ngx_sio_socket_invalid(s, "packet");
    }
}


static ngx_int_t
ngx_sio_socket_too_many(ngx_sio_session_t *s)
{
    ngx_sio_count(limit_attachments);
    ngx_sio_session_log(NGX_LOG_WARN, s,
                        "packet with too many attachments, limited by "
                        "\"sio_max_attachments\"");
    ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);

    return NGX_ABORT;
}


static ngx_int_t
ngx_sio_socket_packet(ngx_sio_session_t *s, sio_packet_t *p)
{
    ngx_uint_t         in_order;
    ngx_sio_socket_t  *sk;

    switch (p->type) {

    case SIO_CONNECT:
        return ngx_sio_socket_connect(s, p);

    case SIO_DISCONNECT:
        sk = ngx_sio_socket_find(s->sockets, p->nsp);

        if (sk == NULL) {
            return ngx_sio_socket_bad_state(s, "disconnect");
        }

        ngx_sio_socket_close(sk, NGX_SIO_CLIENT_DISCONNECT);
        return NGX_OK;

    case SIO_CONNECT_ERROR:
        return ngx_sio_socket_bad_state(s, "connect error");

    default:
        break;
    }

    in_order = 1;

    if (p->json.n
        && ngx_sio_socket_validate(s, p, SIO_JSON_ARRAY, &in_order) != NGX_OK)
    {
        return NGX_ABORT;
    }

    if (p->attachments) {
        return ngx_sio_socket_partial(s, p, in_order);
    }

    return ngx_sio_socket_event(s, p, NULL, in_order);
}


/* the JSON of any packet, and how its placeholders stand */

static ngx_int_t
ngx_sio_socket_validate(ngx_sio_session_t *s, sio_packet_t *p,
    sio_json_type_t type, ngx_uint_t *in_order)
{
    sio_rc_t          rc;
    ngx_uint_t        i;
    sio_json_type_t   found;
    sio_json_check_t  check;

    check.max_depth = s->conf->max_depth;
    check.attachments = p->attachments;
    check.placeholders = ngx_sio_placeholders;
    check.max_placeholders = s->conf->max_attachments;
    check.n_placeholders = 0;

    rc = sio_json_validate(ngx_sio_json, p->json, &check, &found);

    switch (rc) {

    case SIO_OK:
        break;

    case SIO_ELIMIT:
        if (check.n_placeholders > s->conf->max_attachments) {
            return ngx_sio_socket_too_many(s);
        }

        ngx_sio_count(limit_depth);
        ngx_sio_session_log(NGX_LOG_WARN, s,
                            "JSON nested too deep, limited by "
                            "\"sio_max_depth\"");
        ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
        return NGX_ABORT;

    case SIO_ENOMEM:
        ngx_sio_count(memory_errors);
        ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
        return NGX_ABORT;

    default:
        return ngx_sio_socket_invalid(s, p->attachments
                                         ? "JSON or placeholder" : "JSON");
    }

    if (found != type) {
        return ngx_sio_socket_invalid(s, "payload");
    }

    if (in_order) {
        *in_order = (check.n_placeholders == p->attachments);

        for (i = 0; i < check.n_placeholders; i++) {
            *in_order &= (ngx_sio_placeholders[i].num == i);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_socket_connect(ngx_sio_session_t *s, sio_packet_t *p)
{
    ngx_str_t            name;
    ngx_uint_t           n;
    ngx_sio_socket_t    *sk;
    ngx_sio_nsp_conf_t  *nc;

    if (p->json.n
        && ngx_sio_socket_validate(s, p, SIO_JSON_OBJECT, NULL) != NGX_OK)
    {
        return NGX_ABORT;
    }

    /* who has just left may come back, or into another namespace */

    ngx_sio_socket_sweep(s);

    if (ngx_sio_socket_find(s->sockets, p->nsp)
        || ngx_sio_socket_find(s->held, p->nsp))
    {
        return ngx_sio_socket_bad_state(s, "second connect");
    }

    name = ngx_sio_str(p->nsp);
    nc = (name.len <= NGX_SIO_MAX_NAME_LEN)
         ? ngx_sio_nsp_match(s->conf, &name) : NULL;

    if (nc == NULL) {
        ngx_sio_socket_connect_error(s, p->nsp, sio_span(NGX_SIO_INVALID_NSP));
        return NGX_OK;
    }

    for (n = 0, sk = s->sockets; sk; sk = sk->next) {
        n++;
    }

    for (sk = s->held; sk; sk = sk->next) {
        n++;
    }

    if (n >= s->conf->max_namespaces) {
        ngx_sio_count(limit_namespaces);

        if (!s->warned_namespaces) {
            s->warned_namespaces = 1;
            ngx_sio_session_log(NGX_LOG_WARN, s,
                                "connect refused: the session is in %ui "
                                "namespaces, limited by "
                                "\"sio_max_namespaces\"", n);
        }

        ngx_sio_socket_connect_error(s, p->nsp,
                                     sio_span(NGX_SIO_TOO_MANY_NSPS));
        return NGX_OK;
    }

    if (s->conf->bound_auth && p->json.n > NGX_SIO_MAX_AUTH) {
        ngx_sio_count(limit_data);

        if (!s->warned_auth) {
            s->warned_auth = 1;
            ngx_sio_session_log(NGX_LOG_WARN, s,
                                "connect refused: auth payload of %uz bytes, "
                                "limited to %d", p->json.n, NGX_SIO_MAX_AUTH);
        }

        ngx_sio_socket_connect_error(s, p->nsp,
                                     sio_span(NGX_SIO_AUTH_TOO_LARGE));
        return NGX_OK;
    }

    sk = ngx_sio_socket_create(s, nc, &name, p->json);

    if (sk == NULL) {
        ngx_sio_socket_connect_error(s, p->nsp, sio_span(NGX_SIO_NO_MEMORY));
        return NGX_OK;
    }

    s->conf->application->connect(sk, p->json);

    return NGX_OK;
}


static void
ngx_sio_socket_connect_error(ngx_sio_session_t *s, sio_span_t nsp,
    sio_span_t json)
{
    sio_packet_t    p;
    ngx_sio_msg_t  *m;

    ngx_sio_count(connect_errors);

    ngx_memzero(&p, sizeof(sio_packet_t));

    p.type = SIO_CONNECT_ERROR;
    p.nsp = nsp;
    p.json = json;

    m = ngx_sio_msg_packet(&p, NULL, 0);
    if (m == NULL) {
        return;
    }

    ngx_sio_session_send(s, m, 0);
    ngx_sio_msg_unref(m);
}


/* EVENT or ACK, validated, with all its attachments */

static ngx_int_t
ngx_sio_socket_event(ngx_sio_session_t *s, sio_packet_t *p,
    sio_span_t *attachments, ngx_uint_t in_order)
{
    size_t            at;
    sio_span_t        token;
    ngx_sio_event_t   ev;
    ngx_sio_socket_t *sk;

    sk = ngx_sio_socket_find(s->sockets, p->nsp);

    ngx_memzero(&ev, sizeof(ngx_sio_event_t));

    ev.json = p->json;
    ev.attachments = attachments;
    ev.n = p->attachments;
    ev.in_order = in_order;

    if (p->type == SIO_ACK || p->type == SIO_BINARY_ACK) {

        if (sk == NULL) {
            return ngx_sio_socket_bad_state(s, "acknowledgement");
        }

        if (p->json.n && sk->reason == NGX_SIO_NONE) {
            ngx_sio_ack_receive(sk, p->id, &ev);
        }

        return (s->state == NGX_SIO_SESSION_OPEN) ? NGX_OK : NGX_ABORT;
    }

    token = sio_span_null;

    if (p->json.n) {
        at = 0;

        if (sio_json_next(p->json, &at, &token) != SIO_OK
            || (sio_json_type(token) != SIO_JSON_NUMBER
                && (sio_json_type(token) != SIO_JSON_STRING
                    || ngx_sio_socket_reserved(token))))
        {
            return ngx_sio_socket_invalid(s, "event name");
        }
    }

    if (sk == NULL) {
        return ngx_sio_socket_bad_state(s, "event");
    }

    if (sk->reason != NGX_SIO_NONE) {
        return NGX_OK;
    }

    ngx_sio_count(events);

    if (token.n == 0) {
        ngx_sio_count(events_unhandled);
        return NGX_OK;
    }

    ev.token = token;
    ev.has_ack = p->has_id;
    ev.ack = p->id;

    s->conf->application->event(sk, &ev);

    return (s->state == NGX_SIO_SESSION_OPEN) ? NGX_OK : NGX_ABORT;
}


static ngx_uint_t
ngx_sio_socket_reserved(sio_span_t token)
{
    u_char      buf[NGX_SIO_RESERVED_MAX + 2];
    sio_out_t   o;
    sio_span_t  name;

    name.p = token.p + 1;
    name.n = token.n - 2;

    if (ngx_strlchr(name.p, name.p + name.n, '\\') == NULL) {
        return sio_packet_reserved(name);
    }

    if (name.n > NGX_SIO_RESERVED_MAX) {
        return 0;
    }

    o.p = buf;
    o.n = 0;

    sio_json_unescape(&o, token);

    return sio_packet_reserved((sio_span_t) { buf, o.n });
}


static ngx_int_t
ngx_sio_socket_partial(ngx_sio_session_t *s, sio_packet_t *p,
    ngx_uint_t in_order)
{
    u_char             *b;
    ngx_sio_partial_t  *partial;

    partial = ngx_calloc(sizeof(ngx_sio_partial_t)
                         + p->attachments * sizeof(sio_span_t)
                         + p->nsp.n + p->json.n, s->conf->log);
    if (partial == NULL) {
        ngx_sio_count(memory_errors);
        ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
        return NGX_ABORT;
    }

    partial->packet = *p;
    partial->in_order = in_order;
    partial->attachments = (sio_span_t *) (partial + 1);

    b = (u_char *) (partial->attachments + p->attachments);

    partial->packet.nsp.p = b;
    b = ngx_cpymem(b, p->nsp.p, p->nsp.n);

    partial->packet.json.p = b;
    ngx_memcpy(b, p->json.p, p->json.n);

    s->partial = partial;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_socket_attachment(ngx_sio_session_t *s, sio_span_t data)
{
    u_char             *b;
    ngx_int_t           rc;
    ngx_sio_partial_t  *partial;

    partial = s->partial;

    if (partial == NULL) {
        return ngx_sio_socket_invalid(s, "binary without a packet");
    }

    partial->size += data.n;

    if (partial->size > s->conf->max_payload) {
        return ngx_sio_socket_too_big(s, partial->size);
    }

    if (partial->got + 1 < partial->packet.attachments) {

        b = ngx_alloc(ngx_max(data.n, 1), s->conf->log);
        if (b == NULL) {
            ngx_sio_count(memory_errors);
            ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
            return NGX_ABORT;
        }

        ngx_memcpy(b, data.p, data.n);

        partial->attachments[partial->got].p = b;
        partial->attachments[partial->got].n = data.n;
        partial->got++;

        return NGX_OK;
    }

    /* the last one needs no copy: it is borrowed until we return */

    partial->attachments[partial->got] = data;

    s->partial = NULL;

    rc = ngx_sio_socket_event(s, &partial->packet, partial->attachments,
                              partial->in_order);

    s->partial = partial;
    ngx_sio_socket_free_partial(s);

    return rc;
}


static ngx_int_t
ngx_sio_socket_too_big(ngx_sio_session_t *s, size_t size)
{
    ngx_sio_count(limit_payload);
    ngx_sio_session_log(NGX_LOG_WARN, s,
                        "client sent a packet with attachments of %uz bytes "
                        "or more, limited by \"sio_max_payload\"", size);

    s->close_code = SIO_WS_TOO_BIG;
    ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);

    return NGX_ABORT;
}


static void
ngx_sio_socket_free_partial(ngx_sio_session_t *s)
{
    ngx_uint_t          i;
    ngx_sio_partial_t  *partial;

    partial = s->partial;
    s->partial = NULL;

    for (i = 0; i < partial->got; i++) {
        ngx_free(partial->attachments[i].p);
    }

    ngx_free(partial);
}


/* what a decoder refuses: Node.js closes the connection */

static ngx_int_t
ngx_sio_socket_invalid(ngx_sio_session_t *s, const char *what)
{
    ngx_sio_count(parse_errors);
    ngx_sio_session_log(NGX_LOG_INFO, s, "client sent invalid data: %s", what);
    ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);

    return NGX_ABORT;
}


/*
 * What is well-formed but not due: Node.js closes the client, and the reason
 * is the transport's if that can close at once.
 */

static ngx_int_t
ngx_sio_socket_bad_state(ngx_sio_session_t *s, const char *what)
{
    ngx_sio_count(parse_errors);
    ngx_sio_session_log(NGX_LOG_INFO, s,
                        "client sent a packet out of place: %s", what);
    ngx_sio_session_close(s, s->out.head == NULL && s->transport->writable(s)
                             ? NGX_SIO_FORCED_CLOSE
                             : NGX_SIO_FORCED_SERVER_CLOSE);

    return NGX_ABORT;
}


static ngx_sio_socket_t *
ngx_sio_socket_find(ngx_sio_socket_t *sk, sio_span_t nsp)
{
    for ( /* void */ ; sk; sk = sk->next) {
        if (sio_span_eq(nsp, ngx_sio_span(&sk->nsp->sn.str))) {
            return sk;
        }
    }

    return NULL;
}


static ngx_sio_socket_t *
ngx_sio_socket_create(ngx_sio_session_t *s, ngx_sio_nsp_conf_t *conf,
    ngx_str_t *name, sio_span_t auth)
{
    ngx_sio_socket_t  *sk;

    sk = ngx_calloc(sizeof(ngx_sio_socket_t), s->conf->log);
    if (sk == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    if (ngx_sio_registry_new_id(sk->id) != NGX_OK) {
        ngx_free(sk);
        return NULL;
    }

    if (s->conf->keep_auth && auth.n) {
        sk->auth = ngx_alloc(sizeof(ngx_str_t) + auth.n, s->conf->log);
        if (sk->auth == NULL) {
            ngx_sio_count(memory_errors);
            ngx_free(sk);
            return NULL;
        }

        sk->auth->data = (u_char *) (sk->auth + 1);
        sk->auth->len = auth.n;
        ngx_memcpy(sk->auth->data, auth.p, auth.n);
    }

    sk->nsp = ngx_sio_nsp_get(s->conf->app, name);

    if (sk->nsp == NULL) {
        if (sk->auth) {
            ngx_free(sk->auth);
        }

        ngx_free(sk);
        return NULL;
    }

    sk->nsp->n++;
    sk->session = s;
    sk->conf = conf;

    return sk;
}


static void
ngx_sio_socket_free(ngx_sio_socket_t *sk)
{
    sk->nsp->n--;
    ngx_sio_nsp_release(sk->nsp);

    if (sk->auth) {
        ngx_free(sk->auth);
    }

    if (sk->data) {
        ngx_free(sk->data);
    }

    ngx_free(sk);
}


void
ngx_sio_socket_hold(ngx_sio_socket_t *sk)
{
    sk->held = 1;
    sk->next = sk->session->held;
    sk->session->held = sk;

    /* a client that asks for no namespace does not wait for an answer */

    if (sk->session->conf->user == &ngx_sio_plain_user) {
        ngx_sio_session_pause(sk->session);
    }
}


static void
ngx_sio_socket_unhold(ngx_sio_socket_t *sk)
{
    ngx_sio_socket_t  **last;

    for (last = &sk->session->held; *last != sk; last = &(*last)->next) {
        /* void */
    }

    *last = sk->next;
    sk->next = NULL;
    sk->held = 0;
}


void
ngx_sio_socket_admit(ngx_sio_socket_t *sk)
{
    sio_out_t           o;
    ngx_uint_t          held;
    sio_packet_t        p;
    ngx_sio_msg_t      *m;
    ngx_sio_session_t  *s;
    u_char              json[sizeof("{\"sid\":\"\"}") + NGX_SIO_ID_LEN];

    s = sk->session;

    held = sk->held;

    if (held) {
        ngx_sio_socket_unhold(sk);
    }

    ngx_sio_socket_add(sk);
    ngx_sio_session_connected(s);

    ngx_sio_count(connects);

    if (s->conf->user == &ngx_sio_plain_user) {

        if (held) {
            ngx_sio_session_resume(s);
        }

        return;
    }

    o.p = json;
    o.n = 0;

    sio_out_str(&o, "{\"sid\":\"");
    sio_out_bytes(&o, sk->id, NGX_SIO_ID_LEN);
    sio_out_str(&o, "\"}");

    ngx_memzero(&p, sizeof(sio_packet_t));

    p.type = SIO_CONNECT;
    p.nsp = ngx_sio_span(&sk->nsp->sn.str);
    p.json = (sio_span_t) { json, o.n };

    m = ngx_sio_msg_packet(&p, NULL, 0);

    if (m) {
        ngx_sio_session_send(s, m, 0);
        ngx_sio_msg_unref(m);
    }
}


static void
ngx_sio_socket_add(ngx_sio_socket_t *sk)
{
    ngx_sio_socket_t  **last;

    last = &sk->session->sockets;

    while (*last) {
        last = &(*last)->next;
    }

    *last = sk;

    ngx_queue_insert_tail(&sk->nsp->sockets, &sk->queue);

    ngx_sio_registry_add_socket(sk);
    ngx_sio_count(sockets);
}


void
ngx_sio_socket_refuse(ngx_sio_socket_t *sk, sio_span_t json)
{
    if (sk->held) {
        ngx_sio_socket_unhold(sk);
    }

    if (sk->session->conf->user == &ngx_sio_plain_user) {
        ngx_sio_count(connect_errors);
        ngx_sio_session_close(sk->session, NGX_SIO_FORCED_CLOSE);

    } else {
        ngx_sio_socket_connect_error(sk->session,
                                     ngx_sio_span(&sk->nsp->sn.str), json);
    }

    ngx_sio_socket_free(sk);
}


void
ngx_sio_socket_close(ngx_sio_socket_t *sk, ngx_sio_reason_t reason)
{
    ngx_sio_session_t  *s;

    if (sk->reason != NGX_SIO_NONE) {
        return;
    }

    s = sk->session;

    if (s->conf->user == &ngx_sio_plain_user) {
        ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
        return;
    }

    sk->reason = reason;
    s->sweep = 1;

    if (reason == NGX_SIO_SERVER_DISCONNECT) {
        ngx_sio_socket_send_disconnect(s, ngx_sio_span(&sk->nsp->sn.str));
    }

    ngx_sio_session_post(s);
}


static void
ngx_sio_socket_send_disconnect(ngx_sio_session_t *s, sio_span_t nsp)
{
    sio_packet_t    p;
    ngx_sio_msg_t  *m;

    ngx_memzero(&p, sizeof(sio_packet_t));

    p.type = SIO_DISCONNECT;
    p.nsp = nsp;

    m = ngx_sio_msg_packet(&p, NULL, 0);

    if (m) {
        ngx_sio_session_send(s, m, 0);
        ngx_sio_msg_unref(m);
    }
}


void
ngx_sio_socket_close_session(ngx_sio_session_t *s)
{
    ngx_sio_socket_t  *sk;

    for (sk = s->sockets; sk; sk = sk->next) {
        ngx_sio_socket_close(sk, NGX_SIO_SERVER_DISCONNECT);
    }

    ngx_sio_session_close(s, NGX_SIO_FORCED_SERVER_CLOSE);
}


static void
ngx_sio_socket_sweep(ngx_sio_session_t *s)
{
    ngx_sio_socket_t  *sk, **last;

    for (last = &s->sockets; *last; /* void */) {
        sk = *last;

        if (sk->reason == NGX_SIO_NONE) {
            last = &sk->next;
            continue;
        }

        *last = sk->next;
        ngx_sio_socket_destroy(sk);
    }
}


static void
ngx_sio_socket_end(ngx_sio_session_t *s)
{
    ngx_sio_socket_t  *sk;

    if (s->partial) {
        ngx_sio_socket_free_partial(s);
    }

    while (s->held) {
        sk = s->held;
        sk->reason = s->reason;

        ngx_sio_socket_unhold(sk);
        s->conf->application->abandon(sk);
        ngx_sio_socket_free(sk);
    }

    for (sk = s->sockets; sk; sk = sk->next) {
        if (sk->reason == NGX_SIO_NONE) {
            sk->reason = s->reason;
        }
    }

    ngx_sio_socket_sweep(s);
}


static void
ngx_sio_socket_destroy(ngx_sio_socket_t *sk)
{
    sk->session->conf->application->disconnect(sk);

    ngx_sio_socket_remove(sk);
}


static void
ngx_sio_socket_remove(ngx_sio_socket_t *sk)
{
    ngx_sio_room_leave_all(sk);
    ngx_sio_ack_forget(sk);
    ngx_sio_registry_remove_socket(sk);

    ngx_queue_remove(&sk->queue);

    ngx_sio_uncount(sockets);
    ngx_sio_socket_free(sk);
}


static void
ngx_sio_socket_export(ngx_sio_session_t *s, sio_out_t *o)
{
    sio_out_byte(o, s->partial != NULL);

    if (s->partial) {
        ngx_sio_socket_export_partial(s->partial, o);
    }

    ngx_sio_socket_export_list(s->sockets, o);
    ngx_sio_socket_export_list(s->held, o);
}


static void
ngx_sio_socket_export_list(ngx_sio_socket_t *first, sio_out_t *o)
{
    uint32_t           n;
    sio_out_t          size;
    ngx_sio_socket_t  *sk;

    for (n = 0, sk = first; sk; sk = sk->next) {
        n++;
    }

    sio_out_u32(o, n);

    for (sk = first; sk; sk = sk->next) {
        sio_out_string(o, ngx_sio_span(&sk->nsp->sn.str));

        /* behind its length: a namespace may not be known there */

        size.p = NULL;
        size.n = 0;
        ngx_sio_socket_export_one(sk, &size);

        sio_out_u32(o, size.n);
        ngx_sio_socket_export_one(sk, o);
    }
}


static void
ngx_sio_socket_export_one(ngx_sio_socket_t *sk, sio_out_t *o)
{
    ngx_rbtree_node_t     *node;
    ngx_sio_membership_t  *m;

    sio_out_bytes(o, sk->id, NGX_SIO_ID_LEN);
    sio_out_u64(o, sk->seq);
    sio_out_string(o, sk->auth ? ngx_sio_span(sk->auth) : sio_span_null);
    sio_out_string(o, sk->data ? ngx_sio_span(sk->data) : sio_span_null);

    ngx_sio_ack_export(sk, o);

    sio_out_u32(o, sk->rooms ? sk->rooms->n : 0);

    if (sk->rooms && sk->rooms->n) {

        for (node = ngx_rbtree_min(sk->rooms->tree.root,
                                   sk->rooms->tree.sentinel);
             node;
             node = ngx_rbtree_next(&sk->rooms->tree, node))
        {
            m = (ngx_sio_membership_t *) node;
            sio_out_string(o, ngx_sio_span(&m->room->sn.str));
        }
    }

    sk->session->conf->application->export_(sk, o);
}


static void
ngx_sio_socket_export_partial(ngx_sio_partial_t *partial, sio_out_t *o)
{
    ngx_uint_t  i;

    sio_out_byte(o, partial->packet.type);
    sio_out_byte(o, partial->packet.has_id);
    sio_out_byte(o, partial->in_order);
    sio_out_u64(o, partial->packet.id);
    sio_out_u32(o, partial->packet.attachments);
    sio_out_string(o, partial->packet.nsp);
    sio_out_string(o, partial->packet.json);

    sio_out_u32(o, partial->got);

    for (i = 0; i < partial->got; i++) {
        sio_out_string(o, partial->attachments[i]);
    }
}


static ngx_int_t
ngx_sio_socket_import(ngx_sio_session_t *s, sio_in_t *in)
{
    if (sio_in_u8(in) && ngx_sio_socket_import_partial(s, in) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_sio_socket_import_list(s, 0, in) == NGX_OK
           ? ngx_sio_socket_import_list(s, 1, in) : NGX_ERROR;
}


static ngx_int_t
ngx_sio_socket_import_list(ngx_sio_session_t *s, ngx_uint_t held,
    sio_in_t *in)
{
    uint32_t             n;
    sio_in_t             one;
    ngx_str_t            name;
    sio_span_t           nsp;
    ngx_sio_nsp_conf_t  *nc;

    for (n = sio_in_u32(in); n > 0; n--) {
        nsp = sio_in_string(in);
        one = sio_in(sio_in_string(in));

        if (in->bad) {
            return NGX_ERROR;
        }

        name = ngx_sio_str(nsp);
        nc = ngx_sio_nsp_match(s->conf, &name);

        if (nc) {
            if (ngx_sio_socket_import_one(s, nc, nsp, held, &one) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        ngx_sio_session_log(NGX_LOG_INFO, s,
                            "namespace left: the present configuration does "
                            "not have it");

        if (held) {
            ngx_sio_socket_connect_error(s, nsp,
                                         sio_span(NGX_SIO_INVALID_NSP));

        } else {
            ngx_sio_socket_send_disconnect(s, nsp);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_socket_import_partial(ngx_sio_session_t *s, sio_in_t *in)
{
    uint32_t      n;
    sio_packet_t  p;
    ngx_uint_t    in_order;
    sio_span_t    data;

    ngx_memzero(&p, sizeof(sio_packet_t));

    p.type = sio_in_u8(in);
    p.has_id = sio_in_u8(in);
    in_order = sio_in_u8(in);
    p.id = sio_in_u64(in);
    p.attachments = sio_in_u32(in);
    p.nsp = sio_in_string(in);
    p.json = sio_in_string(in);

    n = sio_in_u32(in);

    if (in->bad || p.attachments > NGX_SIO_MAX_ATTACHMENTS
        || n >= p.attachments
        || ngx_sio_socket_partial(s, &p, in_order) != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (n--) {
        data = sio_in_string(in);

        if (in->bad || ngx_sio_socket_attachment(s, data) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_socket_import_one(ngx_sio_session_t *s, ngx_sio_nsp_conf_t *nc,
    sio_span_t nsp, ngx_uint_t held, sio_in_t *in)
{
    uint32_t           n;
    uint64_t           seq;
    ngx_str_t          name;
    sio_span_t         id, auth, data, room;
    ngx_sio_socket_t  *sk;

    name = ngx_sio_str(nsp);

    id = sio_in_bytes(in, NGX_SIO_ID_LEN);
    seq = sio_in_u64(in);
    auth = sio_in_string(in);
    data = sio_in_string(in);

    if (in->bad) {
        return NGX_ERROR;
    }

    sk = ngx_sio_socket_create(s, nc, &name, auth);
    if (sk == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(sk->id, id.p, NGX_SIO_ID_LEN);
    sk->seq = seq;

    if (held) {
        ngx_sio_socket_hold(sk);

    } else {
        ngx_sio_socket_add(sk);
    }

    if (ngx_sio_data_restore(sk, data) != NGX_OK
        || ngx_sio_ack_import(sk, in) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (n = sio_in_u32(in); n > 0; n--) {
        room = sio_in_string(in);

        if (in->bad || held || ngx_sio_room_join(sk, room) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (in->bad) {
        return NGX_ERROR;
    }

    return s->conf->application->import_(sk, in);
}


static void
ngx_sio_socket_drop(ngx_sio_session_t *s)
{
    ngx_sio_socket_t  *sk;

    if (s->partial) {
        ngx_sio_socket_free_partial(s);
    }

    while (s->held) {
        sk = s->held;
        ngx_sio_socket_unhold(sk);

        s->conf->application->drop(sk);
        ngx_sio_socket_free(sk);
    }

    while (s->sockets) {
        sk = s->sockets;
        s->sockets = sk->next;

        s->conf->application->drop(sk);
        ngx_sio_socket_remove(sk);
    }
}


ngx_int_t
ngx_sio_socket_renumber(sio_span_t in, sio_span_t *attachments,
    ngx_uint_t nattachments, ngx_pool_t *pool, sio_span_t *out,
    sio_span_t *picked, ngx_uint_t max, ngx_uint_t *n)
{
    size_t            from;
    sio_out_t         o;
    ngx_uint_t        i;
    sio_span_t        object;
    sio_json_check_t  check;

    check.max_depth = UINT32_MAX;
    check.attachments = nattachments;
    check.placeholders = ngx_sio_placeholders;
    check.max_placeholders = ngx_min(max, NGX_SIO_MAX_ATTACHMENTS);
    check.n_placeholders = 0;

    switch (sio_json_validate(ngx_sio_json, in, &check, NULL)) {
    case SIO_OK:
        break;
    case SIO_ELIMIT:
        return NGX_DECLINED;
    default:
        return NGX_ERROR;
    }

    out->p = ngx_pnalloc(pool, in.n + check.n_placeholders
                               * (sizeof(NGX_SIO_PLACEHOLDER) + NGX_INT_T_LEN));
    if (out->p == NULL) {
        return NGX_ERROR;
    }

    o.p = out->p;
    o.n = 0;
    from = 0;

    for (i = 0; i < check.n_placeholders; i++) {
        object = ngx_sio_placeholders[i].object;

        sio_out_bytes(&o, in.p + from, object.p - in.p - from);
        sio_out_str(&o, NGX_SIO_PLACEHOLDER);
        sio_out_uint(&o, i);
        sio_out_byte(&o, '}');

        from = object.p - in.p + object.n;
        picked[i] = attachments[ngx_sio_placeholders[i].num];
    }

    sio_out_bytes(&o, in.p + from, in.n - from);

    out->n = o.n;
    *n = check.n_placeholders;

    return NGX_OK;
}


static void
ngx_sio_plain_open(ngx_sio_session_t *s)
{
    ngx_str_t            name = ngx_string("/");
    ngx_sio_socket_t    *sk;

    sk = ngx_sio_socket_create(s, ngx_sio_nsp_match(s->conf, &name), &name,
                               sio_span_null);
    if (sk == NULL) {
        ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
        return;
    }

    s->conf->application->connect(sk, sio_span_null);
}


static ngx_int_t
ngx_sio_plain_message(ngx_sio_session_t *s, sio_span_t data,
    ngx_uint_t binary)
{
    ngx_sio_event_t  ev;

    ngx_memzero(&ev, sizeof(ngx_sio_event_t));

    ev.opaque = 1;
    ev.binary = binary;
    ev.data = data;

    ngx_sio_count(events);

    if (s->sockets) {
        s->conf->application->event(s->sockets, &ev);
    }

    return (s->state == NGX_SIO_SESSION_OPEN) ? NGX_OK : NGX_ABORT;
}
