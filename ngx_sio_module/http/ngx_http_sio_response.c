/*
 * Answers: bodies, Engine.IO errors, cookies, and who may read them from
 * another origin.
 */

#include "http/ngx_http_sio.h"
#include "http/ngx_http_sio_compat.h"
#include "core/ngx_sio_stats.h"


static ngx_http_sio_origin_t *ngx_http_sio_match_origin(ngx_array_t *origins,
    ngx_str_t *origin);
static ngx_uint_t ngx_http_sio_same_host(ngx_http_request_t *r,
    ngx_str_t *origin);
static ngx_str_t ngx_http_sio_strip_port(ngx_str_t *host);


static ngx_str_t  ngx_http_sio_true = ngx_string("true");
static ngx_str_t  ngx_http_sio_any = ngx_string("*");
static ngx_str_t  ngx_http_sio_vary = ngx_string("Origin");
static ngx_str_t  ngx_http_sio_no_store = ngx_string("no-store");
static ngx_str_t  ngx_http_sio_text = ngx_string("text/plain; charset=UTF-8");
static ngx_str_t  ngx_http_sio_html = ngx_string("text/html");
static ngx_str_t  ngx_http_sio_ok = ngx_string("ok");


ngx_http_sio_origin_e
ngx_http_sio_origin(ngx_http_request_t *r)
{
    ngx_str_t                *origin;
    ngx_table_elt_t          *h;
    ngx_http_sio_origin_t    *match;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    h = ngx_http_sio_header(r, "Origin", NULL);
    origin = h ? &h->value : NULL;

    if (slcf->origins == NULL) {

        if (origin == NULL) {
            return NGX_HTTP_SIO_ORIGIN_NONE;
        }

        return ngx_http_sio_same_host(r, origin)
               ? NGX_HTTP_SIO_ORIGIN_ALLOWED : NGX_HTTP_SIO_ORIGIN_REFUSED;
    }

    match = origin ? ngx_http_sio_match_origin(slcf->origins, origin) : NULL;

    if (match && match->type == NGX_HTTP_SIO_ORIGIN_ANY) {
        return ngx_http_sio_add_header(r, "Access-Control-Allow-Origin",
                                       &ngx_http_sio_any) == NGX_OK
               ? NGX_HTTP_SIO_ORIGIN_ALLOWED : NGX_HTTP_SIO_ORIGIN_REFUSED;
    }

    /* the answer depends on who asks, whether it names somebody or not */

    if (ngx_http_sio_add_header(r, "Vary", &ngx_http_sio_vary) != NGX_OK) {
        return NGX_HTTP_SIO_ORIGIN_REFUSED;
    }

    if (origin == NULL) {
        return NGX_HTTP_SIO_ORIGIN_NONE;
    }

    if (match == NULL && !ngx_http_sio_same_host(r, origin)) {
        return NGX_HTTP_SIO_ORIGIN_REFUSED;
    }

    if (ngx_http_sio_add_header(r, "Access-Control-Allow-Origin", origin)
        != NGX_OK
        || ngx_http_sio_add_header(r, "Access-Control-Allow-Credentials",
                                   &ngx_http_sio_true) != NGX_OK)
    {
        return NGX_HTTP_SIO_ORIGIN_REFUSED;
    }

    return NGX_HTTP_SIO_ORIGIN_ALLOWED;
}


void
ngx_http_sio_log_origin(ngx_http_request_t *r)
{
    ngx_sio_count(origins_refused);

    ngx_http_sio_log(NGX_LOG_WARN, r,
                     "request refused: its \"Origin\" is neither this "
                     "host, \"%V\", nor named by \"sio_allow_origin\"",
                     &r->headers_in.server);
}


ngx_table_elt_t *
ngx_http_sio_header(ngx_http_request_t *r, const char *name,
    const char *token)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0
            && (token == NULL
                || ngx_strcasestrn(h[i].value.data, (char *) token,
                                   ngx_strlen(token) - 1)))
        {
            return &h[i];
        }
    }
}


static ngx_http_sio_origin_t *
ngx_http_sio_match_origin(ngx_array_t *origins, ngx_str_t *origin)
{
    ngx_uint_t              i;
    ngx_http_sio_origin_t  *o;

    o = origins->elts;

    for (i = 0; i < origins->nelts; i++) {

        switch (o[i].type) {

        case NGX_HTTP_SIO_ORIGIN_ANY:
            return &o[i];

        case NGX_HTTP_SIO_ORIGIN_REGEX:
#if (NGX_PCRE)
            if (ngx_regex_exec(o[i].regex, origin, NULL, 0) >= 0) {
                return &o[i];
            }
#endif
            break;

        case NGX_HTTP_SIO_ORIGIN_EXACT:
            if (o[i].value.len == origin->len
                && ngx_strncasecmp(o[i].value.data, origin->data, origin->len)
                   == 0)
            {
                return &o[i];
            }
        }
    }

    return NULL;
}


/* the origin's authority equals Host, scheme and default port aside */

static ngx_uint_t
ngx_http_sio_same_host(ngx_http_request_t *r, ngx_str_t *origin)
{
    u_char     *p;
    ngx_str_t   a, b;

    if (r->headers_in.host == NULL) {
        return 0;
    }

    p = ngx_strnstr(origin->data, "://", origin->len);
    if (p == NULL) {
        return 0;
    }

    a.data = p + 3;
    a.len = origin->data + origin->len - a.data;
    a = ngx_http_sio_strip_port(&a);

    b = ngx_http_sio_strip_port(&r->headers_in.host->value);

    return a.len == b.len && a.len
           && ngx_strncasecmp(a.data, b.data, a.len) == 0;
}


static ngx_str_t
ngx_http_sio_strip_port(ngx_str_t *host)
{
    ngx_str_t  s;

    s = *host;

    if (s.len > 3 && ngx_strncmp(s.data + s.len - 3, ":80", 3) == 0) {
        s.len -= 3;

    } else if (s.len > 4 && ngx_strncmp(s.data + s.len - 4, ":443", 4) == 0) {
        s.len -= 4;
    }

    return s;
}


ngx_int_t
ngx_http_sio_add_header(ngx_http_request_t *r, const char *key,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->value = *value;
    ngx_http_sio_header_last(h);

    return NGX_OK;
}


ngx_int_t
ngx_http_sio_add_cookie(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    u_char                   *p;
    ngx_str_t                 value;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    if (slcf->cookie.name.len == 0) {
        return NGX_OK;
    }

    value.len = slcf->cookie.name.len + 1 + NGX_SIO_SID_LEN
                + slcf->cookie.attributes.len;

    value.data = ngx_pnalloc(r->pool, value.len);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(value.data, slcf->cookie.name.data, slcf->cookie.name.len);
    *p++ = '=';
    p = ngx_cpymem(p, s->sid, NGX_SIO_SID_LEN);
    ngx_memcpy(p, slcf->cookie.attributes.data, slcf->cookie.attributes.len);

    return ngx_http_sio_add_header(r, "Set-Cookie", &value);
}


ngx_int_t
ngx_http_sio_send(ngx_http_request_t *r, ngx_uint_t status, ngx_str_t *type,
    ngx_str_t *body)
{
    u_char       *charset;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;

    if (type) {
        r->headers_out.content_type = *type;

        /* what gzip_types is compared with ends at the parameters */

        charset = ngx_strlchr(type->data, type->data + type->len, ';');
        r->headers_out.content_type_len = charset
                                          ? (size_t) (charset - type->data)
                                          : type->len;
        r->headers_out.content_type_lowcase = NULL;
    }

    if (body->len == 0) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->start = b->pos;
    b->end = b->last;
    b->temporary = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_sio_send_error(ngx_http_request_t *r, sio_eio_error_t code,
    ngx_uint_t upgrade)
{
    sio_out_t          o;
    ngx_str_t          body;
    ngx_uint_t         status;
    static ngx_str_t   json = ngx_string("application/json");
    static ngx_str_t   html = ngx_string("text/html");

    ngx_sio_count(request_errors);

    if (upgrade) {
        r->keepalive = 0;
        body = ngx_sio_str(sio_eio_error_message(code));

        return ngx_http_sio_send(r, NGX_HTTP_BAD_REQUEST, &html, &body);
    }

    o.p = NULL;
    o.n = 0;

    sio_eio_encode_error(&o, code);

    body.len = o.n;
    body.data = ngx_pnalloc(r->pool, o.n);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    o.p = body.data;
    o.n = 0;

    sio_eio_encode_error(&o, code);

    status = (code == SIO_EIO_FORBIDDEN) ? NGX_HTTP_FORBIDDEN
                                         : NGX_HTTP_BAD_REQUEST;

    return ngx_http_sio_send(r, status, &json, &body);
}


ngx_int_t
ngx_http_sio_gather_body(ngx_http_request_t *r, size_t max, sio_span_t *body)
{
    off_t         size;
    u_char       *p;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *bufs;

    bufs = r->request_body ? r->request_body->bufs : NULL;
    size = 0;

    for (cl = bufs; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    body->n = size;

    if (size > (off_t) max) {
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


ngx_int_t
ngx_http_sio_watch(ngx_http_request_t *r)
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


ngx_uint_t
ngx_http_sio_broken(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    return (c->error || c->timedout || c->read->error)
           && (!r->header_sent || r->out || c->buffered || r->stream);
}


ngx_uint_t
ngx_http_sio_octet_stream(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    return type->len == sizeof("application/octet-stream") - 1
           && ngx_strncasecmp(type->data,
                              (u_char *) "application/octet-stream",
                              type->len) == 0;
}


ngx_int_t
ngx_http_sio_send_ok(ngx_http_request_t *r)
{
    if (ngx_http_sio_add_header(r, "Cache-Control", &ngx_http_sio_no_store)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_sio_send(r, NGX_HTTP_OK, &ngx_http_sio_html,
                             &ngx_http_sio_ok);
}


ngx_int_t
ngx_http_sio_send_payload(ngx_http_request_t *r, ngx_str_t *body)
{
    if (ngx_http_sio_add_header(r, "Cache-Control", &ngx_http_sio_no_store)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_sio_send(r, NGX_HTTP_OK, &ngx_http_sio_text, body);
}


ngx_int_t
ngx_http_sio_send_empty(ngx_http_request_t *r, ngx_uint_t status)
{
    static ngx_str_t  empty = ngx_null_string;

    return ngx_http_sio_send(r, status, NULL, &empty);
}


void
ngx_http_sio_log(ngx_uint_t level, ngx_http_request_t *r, const char *fmt,
    ...)
{
    u_char               *p;
    va_list               args;
    ngx_log_t            *log;
    ngx_http_log_ctx_t   *ctx;
    ngx_http_request_t   *request;
    u_char                buf[NGX_MAX_ERROR_STR];

    log = r->connection->log;

    if (log->log_level < level) {
        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + NGX_MAX_ERROR_STR, fmt, args);
    va_end(args);

    ctx = log->data;
    request = ctx->request;
    ctx->request = NULL;

    ngx_log_error(level, log, 0, "sio: %*s", (size_t) (p - buf), buf);

    ctx->request = request;
}


ngx_str_t
ngx_http_sio_status_text(ngx_uint_t status)
{
    ngx_uint_t  i;

    static const struct {
        ngx_uint_t  status;
        ngx_str_t   text;
    } texts[] = {
        { 400, ngx_string("Bad Request") },
        { 401, ngx_string("Unauthorized") },
        { 402, ngx_string("Payment Required") },
        { 403, ngx_string("Forbidden") },
        { 404, ngx_string("Not Found") },
        { 405, ngx_string("Method Not Allowed") },
        { 408, ngx_string("Request Timeout") },
        { 409, ngx_string("Conflict") },
        { 410, ngx_string("Gone") },
        { 413, ngx_string("Payload Too Large") },
        { 422, ngx_string("Unprocessable Entity") },
        { 429, ngx_string("Too Many Requests") }
    };

    for (i = 0; i < sio_countof(texts); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }

    return (ngx_str_t) ngx_string("Refused");
}
