/*
 * The opening handshake of a WebSocket (RFC 6455, section 4): which requests
 * ask for one and the 101 that grants it, in one write with the open packet.
 */

#include "http/ngx_http_sio.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_ws.h"

#include <ngx_sha1.h>


static ngx_int_t ngx_http_sio_handshake_protocol(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_handshake_output(ngx_http_request_t *r,
    ngx_sio_session_t *s);


static ngx_str_t  ngx_http_sio_handshake_upgrade = ngx_string("websocket");
static ngx_str_t  ngx_http_sio_handshake_13 = ngx_string("13");


ngx_int_t
ngx_http_sio_handshake_check(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    h = r->headers_in.upgrade;

    if (h == NULL || r->http_version != NGX_HTTP_VERSION_11
        || ngx_http_sio_header(r, "Connection", "upgrade") == NULL)
    {
        return NGX_DECLINED;
    }

    /* a body would stand between the request and the first frame */

    if (r->method != NGX_HTTP_GET
        || r->headers_in.content_length_n > 0 || r->headers_in.chunked
        || h->value.len != sizeof("websocket") - 1
        || ngx_strncasecmp(h->value.data, (u_char *) "websocket",
                           sizeof("websocket") - 1) != 0)
    {
        return NGX_ERROR;
    }

    h = ngx_http_sio_header(r, "Sec-WebSocket-Version", NULL);

    if (h == NULL || h->value.len != 2
        || ngx_strncmp(h->value.data, "13", 2) != 0)
    {
        /* RFC 6455, 4.2.2: the versions that we speak */

        (void) ngx_http_sio_add_header(r, "Sec-WebSocket-Version",
                                       &ngx_http_sio_handshake_13);
        return NGX_ERROR;
    }

    h = ngx_http_sio_header(r, "Sec-WebSocket-Key", NULL);

    if (h == NULL || !sio_ws_key_valid(ngx_sio_span(&h->value))) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_sio_handshake_answer(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    ngx_str_t         accept;
    ngx_sha1_t        sha1;
    ngx_str_t         digest;
    ngx_table_elt_t  *key;
    u_char            hash[20];

    key = ngx_http_sio_header(r, "Sec-WebSocket-Key", NULL);

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->value.data, key->value.len);
    ngx_sha1_update(&sha1, SIO_WS_GUID, sizeof(SIO_WS_GUID) - 1);
    ngx_sha1_final(hash, &sha1);

    digest.data = hash;
    digest.len = sizeof(hash);

    accept.data = ngx_pnalloc(r->pool, SIO_WS_ACCEPT_LEN);
    if (accept.data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64(&accept, &digest);

    /* nginx adds "Connection: upgrade" to this status */

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");
    r->headers_out.content_length_n = -1;

    if (ngx_http_sio_add_header(r, "Upgrade", &ngx_http_sio_handshake_upgrade)
        != NGX_OK
        || ngx_http_sio_add_header(r, "Sec-WebSocket-Accept", &accept)
           != NGX_OK
        || ngx_http_sio_handshake_protocol(r) != NGX_OK
        || (s && ngx_http_sio_add_cookie(r, s) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_http_sio_handshake_output(r, s);
}


/* the first one offered, as Node.js does: browsers fail without one */

static ngx_int_t
ngx_http_sio_handshake_protocol(ngx_http_request_t *r)
{
    u_char           *p, *last;
    ngx_str_t         value;
    ngx_table_elt_t  *h;

    h = ngx_http_sio_header(r, "Sec-WebSocket-Protocol", NULL);
    if (h == NULL) {
        return NGX_OK;
    }

    p = h->value.data;
    last = p + h->value.len;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    value.data = p;

    while (p < last && *p != ',' && *p != ' ' && *p != '\t') {
        p++;
    }

    value.len = p - value.data;

    if (value.len == 0) {
        return NGX_OK;
    }

    return ngx_http_sio_add_header(r, "Sec-WebSocket-Protocol", &value);
}


/* the open packet travels with the header, in one write */

static ngx_int_t
ngx_http_sio_handshake_output(ngx_http_request_t *r, ngx_sio_session_t *s)
{
    size_t        header;
    ngx_int_t     rc;
    sio_out_t     o;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->flush = 1;
    out.buf = b;
    out.next = NULL;

    if (s) {
        o.p = NULL;
        o.n = 0;

        ngx_sio_session_encode_open(s, 0, &o);

        b->start = ngx_pnalloc(r->pool, SIO_WS_MAX_HEADER + o.n);
        if (b->start == NULL) {
            return NGX_ERROR;
        }

        header = sio_ws_encode_header(b->start, SIO_WS_TEXT, o.n);

        o.p = b->start + header;
        o.n = 0;

        ngx_sio_session_encode_open(s, 0, &o);

        b->pos = b->start;
        b->last = b->start + header + o.n;
        b->end = b->last;
        b->temporary = 1;

        ngx_sio_add(bytes_out, header + o.n);
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return NGX_ERROR;
    }

    return ngx_http_output_filter(r, &out);
}
