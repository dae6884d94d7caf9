/*
 * The status page: the numbers of all workers together, then of each one
 * that lives.
 */

#include "http/ngx_http_sio_status.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_zone.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_STATUS_NAME(name)  { ngx_string(#name),                  \
                                     offsetof(ngx_sio_stats_t, name) },

typedef struct {
    ngx_str_t   name;
    size_t      offset;
} ngx_http_sio_status_field_t;

typedef struct {
    ngx_sio_origin_t   origin;
    ngx_pid_t          pid;
    ngx_sio_stats_t    stats;
} ngx_http_sio_status_worker_t;

typedef struct {
    ngx_sio_stats_t    total;
    ngx_array_t        workers;          /* ngx_http_sio_status_worker_t */
} ngx_http_sio_status_t;


static void ngx_http_sio_status_worker(ngx_sio_origin_t origin, void *data);
static size_t ngx_http_sio_status_size(void);
static u_char *ngx_http_sio_status_put(u_char *p, ngx_sio_stats_t *stats);


static ngx_http_sio_status_field_t  ngx_http_sio_status_fields[] = {
    NGX_SIO_GAUGES(NGX_HTTP_SIO_STATUS_NAME)
    NGX_SIO_COUNTERS(NGX_HTTP_SIO_STATUS_NAME)
};

static ngx_str_t  ngx_http_sio_status_type = ngx_string("application/json");
static ngx_str_t  ngx_http_sio_status_cache = ngx_string("no-store");


ngx_int_t
ngx_http_sio_status_handler(ngx_http_request_t *r)
{
    size_t                     size;
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_str_t                  body;
    ngx_uint_t                 i;
    ngx_http_sio_status_t      st;
    ngx_http_sio_status_worker_t  *w;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_array_init(&st.workers, r->pool, 8,
                       sizeof(ngx_http_sio_status_worker_t)) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_sio_zone_total(&st.total);

    ngx_http_sio_status_worker(ngx_sio_bus_self(), &st);
    ngx_sio_bus_each(ngx_http_sio_status_worker, &st);

    size = ngx_http_sio_status_size();
    body.data = ngx_pnalloc(r->pool, (st.workers.nelts + 1) * size);

    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(body.data, "{", 1);
    p = ngx_http_sio_status_put(p, &st.total);
    p = ngx_cpymem(p, ",\"workers\":[", sizeof(",\"workers\":[") - 1);

    w = st.workers.elts;

    for (i = 0; i < st.workers.nelts; i++) {
        p = ngx_sprintf(p, "%s{\"slot\":%ui,\"pid\":%P,", i ? "," : "",
                        (ngx_uint_t) (w[i].origin >> 32), w[i].pid);
        p = ngx_http_sio_status_put(p, &w[i].stats);
        *p++ = '}';
    }

    p = ngx_cpymem(p, "]}" "\n", sizeof("]}" "\n") - 1);

    body.len = p - body.data;

    if (ngx_http_sio_add_header(r, "Cache-Control",
                                &ngx_http_sio_status_cache) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_sio_send(r, NGX_HTTP_OK, &ngx_http_sio_status_type, &body);
}


/* the counters of the dead are in the totals, gauges of the living are added */

static void
ngx_http_sio_status_worker(ngx_sio_origin_t origin, void *data)
{
    ngx_http_sio_status_t *st = data;

    ngx_pid_t                      pid;
    ngx_sio_stats_t               *stats;
    ngx_http_sio_status_worker_t  *w;

    stats = ngx_sio_zone_worker(origin, &pid);

    if (stats == NULL) {
        return;
    }

    w = ngx_array_push(&st->workers);

    if (w == NULL) {
        return;
    }

    w->origin = origin;
    w->pid = pid;
    w->stats = *stats;

#define NGX_HTTP_SIO_STATUS_ADD(name)  st->total.name += w->stats.name;

    NGX_SIO_GAUGES(NGX_HTTP_SIO_STATUS_ADD)
}


static size_t
ngx_http_sio_status_size(void)
{
    size_t      size;
    ngx_uint_t  i;

    size = sizeof("{\"slot\":,\"pid\":,\"closed\":{},\"workers\":[]}" CRLF)
           + 2 * NGX_INT64_LEN;

    for (i = 0; i < sio_countof(ngx_http_sio_status_fields); i++) {
        size += ngx_http_sio_status_fields[i].name.len + NGX_INT64_LEN
                + sizeof("\"\":,");
    }

    for (i = 1; i < NGX_SIO_REASON_N; i++) {
        size += ngx_sio_reasons[i].len + NGX_INT64_LEN + sizeof("\"\":,");
    }

    return size;
}


static u_char *
ngx_http_sio_status_put(u_char *p, ngx_sio_stats_t *stats)
{
    uint64_t                      value;
    ngx_uint_t                    i;
    ngx_http_sio_status_field_t  *f;

    f = ngx_http_sio_status_fields;

    for (i = 0; i < sio_countof(ngx_http_sio_status_fields); i++) {
        value = *(uint64_t *) ((u_char *) stats + f[i].offset);
        p = ngx_sprintf(p, "\"%V\":%uL,", &f[i].name, value);
    }

    p = ngx_cpymem(p, "\"closed\":{", sizeof("\"closed\":{") - 1);

    for (i = 1; i < NGX_SIO_REASON_N; i++) {
        p = ngx_sprintf(p, "%s\"%V\":%uL", i == 1 ? "" : ",",
                        &ngx_sio_reasons[i], stats->closed[i]);
    }

    *p++ = '}';

    return p;
}
