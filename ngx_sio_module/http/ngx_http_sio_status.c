/*
 * The status page.  What it shows are the numbers of the worker that
 * answers.
 */

#include "http/ngx_http_sio_status.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_STATUS_NAME(name)  { ngx_string(#name),                  \
                                     offsetof(ngx_sio_stats_t, name) },

typedef struct {
    ngx_str_t   name;
    size_t      offset;
} ngx_http_sio_status_field_t;

static ngx_http_sio_status_field_t  ngx_http_sio_status_fields[] = {
    NGX_SIO_GAUGES(NGX_HTTP_SIO_STATUS_NAME)
    NGX_SIO_COUNTERS(NGX_HTTP_SIO_STATUS_NAME)
};

static ngx_str_t  ngx_http_sio_status_type = ngx_string("application/json");
static ngx_str_t  ngx_http_sio_status_cache = ngx_string("no-store");


ngx_int_t
ngx_http_sio_status_handler(ngx_http_request_t *r)
{
    size_t                        size;
    u_char                       *p;
    uint64_t                      value;
    ngx_int_t                     rc;
    ngx_str_t                     body;
    ngx_uint_t                    i;
    ngx_http_sio_status_field_t  *f;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    f = ngx_http_sio_status_fields;
    size = sizeof("{\"closed\":{}}" CRLF);

    for (i = 0; i < sio_countof(ngx_http_sio_status_fields); i++) {
        size += f[i].name.len + NGX_INT64_LEN + sizeof("\"\":,");
    }

    for (i = 1; i < NGX_SIO_REASON_N; i++) {
        size += ngx_sio_reasons[i].len + NGX_INT64_LEN + sizeof("\"\":,");
    }

    body.data = ngx_pnalloc(r->pool, size);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(body.data, "{", 1);

    for (i = 0; i < sio_countof(ngx_http_sio_status_fields); i++) {
        value = *(uint64_t *) ((u_char *) &ngx_sio_stats + f[i].offset);
        p = ngx_sprintf(p, "\"%V\":%uL,", &f[i].name, value);
    }

    p = ngx_cpymem(p, "\"closed\":{", sizeof("\"closed\":{") - 1);

    for (i = 1; i < NGX_SIO_REASON_N; i++) {
        p = ngx_sprintf(p, "%s\"%V\":%uL", i == 1 ? "" : ",",
                        &ngx_sio_reasons[i], ngx_sio_closed[i]);
    }

    p = ngx_cpymem(p, "}}" "\n", sizeof("}}" "\n") - 1);

    body.len = p - body.data;

    if (ngx_http_sio_add_header(r, "Cache-Control",
                                &ngx_http_sio_status_cache) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_sio_send(r, NGX_HTTP_OK, &ngx_http_sio_status_type, &body);
}
