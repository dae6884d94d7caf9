/*
 * What a handshake request tells of its client: the values of sio_data, and
 * for handlers the handshake as JSON.  Both stay with the session when the
 * request is gone, so that both are bounded.
 */

#include "http/ngx_http_sio.h"
#include "core/ngx_sio_op_json.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_json.h"


#define NGX_HTTP_SIO_MAX_HANDSHAKE  8192


static ngx_int_t ngx_http_sio_client_data(ngx_http_request_t *r,
    ngx_http_sio_client_t *client);
static ngx_int_t ngx_http_sio_client_handshake(ngx_http_request_t *r,
    ngx_http_sio_client_t *client);
static void ngx_http_sio_client_encode(ngx_http_request_t *r, u_char *buf,
    sio_out_t *o);
static void ngx_http_sio_client_query(ngx_http_request_t *r, u_char *buf,
    sio_out_t *o);
static void ngx_http_sio_client_decoded(sio_out_t *o, u_char *buf, u_char *p,
    u_char *last);
static void ngx_http_sio_client_headers(ngx_http_request_t *r,
    sio_out_t *o);
static ngx_uint_t ngx_http_sio_client_header(ngx_http_request_t *r,
    ngx_str_t *name, sio_out_t *o);


ngx_int_t
ngx_http_sio_client(ngx_http_request_t *r, ngx_http_sio_client_t *client)
{
    ngx_int_t                 rc;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    ngx_memzero(client, sizeof(ngx_http_sio_client_t));

    rc = ngx_http_sio_client_data(r, client);

    if (rc != NGX_OK || slcf->handlers == NULL) {
        return rc;
    }

    return ngx_http_sio_client_handshake(r, client);
}


static ngx_int_t
ngx_http_sio_client_data(ngx_http_request_t *r,
    ngx_http_sio_client_t *client)
{
    size_t                    size;
    ngx_uint_t                i;
    ngx_http_sio_data_t      *d;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    if (slcf->data == NULL) {
        return NGX_OK;
    }

    client->data = ngx_palloc(r->pool, slcf->data->nelts * sizeof(ngx_str_t));
    if (client->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    d = slcf->data->elts;
    size = 0;

    for (i = 0; i < slcf->data->nelts; i++) {

        if (ngx_http_complex_value(r, &d[i].value, &client->data[i])
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        size += client->data[i].len;
    }

    if (size > NGX_HTTP_SIO_MAX_DATA_SIZE) {
        ngx_sio_count(limit_data);
        ngx_http_sio_log(NGX_LOG_WARN, r,
                         "handshake refused: the values of \"sio_data\" take "
                         "%uz bytes, limited to %d", size,
                         NGX_HTTP_SIO_MAX_DATA_SIZE);
        return NGX_DECLINED;
    }

    client->n = i;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sio_client_handshake(ngx_http_request_t *r,
    ngx_http_sio_client_t *client)
{
    u_char     *buf;
    sio_out_t   o;

    buf = ngx_pnalloc(r->pool, r->args.len + 1);
    if (buf == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    o.p = NULL;
    o.n = 0;

    ngx_http_sio_client_encode(r, buf, &o);

    if (o.n > NGX_HTTP_SIO_MAX_HANDSHAKE) {
        ngx_sio_count(limit_data);
        ngx_http_sio_log(NGX_LOG_WARN, r,
                         "handshake refused: what handlers are told of it "
                         "takes %uz bytes, limited to %d", o.n,
                         NGX_HTTP_SIO_MAX_HANDSHAKE);
        return NGX_DECLINED;
    }

    o.p = ngx_pnalloc(r->pool, o.n);
    if (o.p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    client->handshake.data = o.p;
    client->handshake.len = o.n;

    o.n = 0;
    ngx_http_sio_client_encode(r, buf, &o);

    return NGX_OK;
}


static void
ngx_http_sio_client_encode(ngx_http_request_t *r, u_char *buf, sio_out_t *o)
{
    u_char      *p;
    ngx_tm_t     tm;
    ngx_uint_t   secure;
    u_char       time[sizeof("2026-01-01T00:00:00Z") + 8];

    secure = 0;

#if (NGX_HTTP_SSL)
    secure = (r->connection->ssl != NULL);
#endif

    ngx_gmtime(r->start_sec, &tm);

    p = ngx_sprintf(time, "%4d-%02d-%02dT%02d:%02d:%02dZ", tm.ngx_tm_year,
                    tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour,
                    tm.ngx_tm_min, tm.ngx_tm_sec);

    sio_out_str(o, "{\"address\":");
    ngx_sio_op_json_string(o, ngx_sio_span(&r->connection->addr_text));
    sio_out_str(o, ",\"url\":");
    ngx_sio_op_json_string(o, ngx_sio_span(&r->unparsed_uri));

    ngx_http_sio_client_query(r, buf, o);

    if (secure) {
        sio_out_str(o, ",\"secure\":true,\"time\":\"");

    } else {
        sio_out_str(o, ",\"secure\":false,\"time\":\"");
    }

    sio_out_bytes(o, time, p - time);
    sio_out_byte(o, '"');

    ngx_http_sio_client_headers(r, o);

    sio_out_byte(o, '}');
}


/* of a name that is there more than once, a reader takes the last one */

static void
ngx_http_sio_client_query(ngx_http_request_t *r, u_char *buf, sio_out_t *o)
{
    u_char      *p, *last, *next, *value;
    ngx_uint_t   n;

    sio_out_str(o, ",\"query\":{");

    n = 0;
    last = r->args.data + r->args.len;

    for (p = r->args.data; p < last; p = next + 1) {

        next = ngx_strlchr(p, last, '&');
        if (next == NULL) {
            next = last;
        }

        if (next == p) {
            continue;
        }

        value = ngx_strlchr(p, next, '=');
        if (value == NULL) {
            value = next;
        }

        if (n++) {
            sio_out_byte(o, ',');
        }

        ngx_http_sio_client_decoded(o, buf, p, value);
        sio_out_byte(o, ':');
        ngx_http_sio_client_decoded(o, buf, ngx_min(value + 1, next), next);
    }

    sio_out_byte(o, '}');
}


static void
ngx_http_sio_client_decoded(sio_out_t *o, u_char *buf, u_char *p,
    u_char *last)
{
    u_char  *d, *s;

    s = ngx_cpymem(buf, p, last - p);

    for (d = buf; d < s; d++) {
        if (*d == '+') {
            *d = ' ';
        }
    }

    d = buf;
    s = buf;

    ngx_unescape_uri(&d, &s, last - p, 0);

    ngx_sio_op_json_string(o, (sio_span_t) { buf, d - buf });
}


static void
ngx_http_sio_client_headers(ngx_http_request_t *r, sio_out_t *o)
{
    ngx_str_t                *name;
    sio_out_t                 measure;
    ngx_uint_t                i, n;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    sio_out_str(o, ",\"headers\":{");

    if (slcf->handler_headers) {
        name = slcf->handler_headers->elts;

        for (n = 0, i = 0; i < slcf->handler_headers->nelts; i++) {
            measure.p = NULL;
            measure.n = 0;

            if (!ngx_http_sio_client_header(r, &name[i], &measure)) {
                continue;
            }

            if (n++) {
                sio_out_byte(o, ',');
            }

            ngx_sio_op_json_string(o, ngx_sio_span(&name[i]));
            sio_out_str(o, ":\"");
            (void) ngx_http_sio_client_header(r, &name[i], o);
            sio_out_byte(o, '"');
        }
    }

    sio_out_byte(o, '}');
}


/* those of one name are joined, as Node.js does */

static ngx_uint_t
ngx_http_sio_client_header(ngx_http_request_t *r, ngx_str_t *name,
    sio_out_t *o)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len != name->len
                || ngx_strncasecmp(h[i].key.data, name->data, name->len) != 0)
            {
                continue;
            }

            if (n++) {
                if (name->len == sizeof("cookie") - 1
                    && ngx_strncmp(name->data, "cookie", name->len) == 0)
                {
                    sio_out_str(o, "; ");

                } else {
                    sio_out_str(o, ", ");
                }
            }

            sio_json_escape(o, ngx_sio_span(&h[i].value));
        }
    }

    return n;
}
