/*
 * A socket's own data is one JSON object, written anew when it changes: it is
 * read far more often, as a whole, and it is small.
 */

#include "core/ngx_sio_data.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_json.h"


static void ngx_sio_data_merge(sio_out_t *o, sio_span_t old, sio_span_t set);
static ngx_uint_t ngx_sio_data_has(sio_span_t object, sio_span_t key,
    size_t at);
static ngx_uint_t ngx_sio_data_named(sio_span_t object, ngx_str_t *name);
static void ngx_sio_data_comma(sio_out_t *o, size_t start);
static ngx_uint_t ngx_sio_data_same(sio_span_t a, sio_span_t b);


void
ngx_sio_data_set(ngx_sio_socket_t *sk, sio_span_t object)
{
    sio_out_t   o;
    ngx_str_t  *data;
    sio_span_t  old;

    old = sk->data ? ngx_sio_span(sk->data) : sio_span("{}");

    o.p = NULL;
    o.n = 0;

    if (object.n <= NGX_SIO_MAX_DATA_SIZE) {
        ngx_sio_data_merge(&o, old, object);
    }

    /* each member is looked for among the others */

    ngx_sio_session_effort += 1 + (old.n + object.n) * object.n / 2048;

    if (o.n == 0 || o.n > NGX_SIO_MAX_DATA_SIZE) {
        ngx_sio_count(limit_data);
        ngx_sio_session_log(NGX_LOG_WARN, sk->session,
                            "data not set: it would take more than %d bytes",
                            NGX_SIO_MAX_DATA_SIZE);
        return;
    }

    data = ngx_alloc(sizeof(ngx_str_t) + o.n, ngx_cycle->log);
    if (data == NULL) {
        ngx_sio_count(memory_errors);
        return;
    }

    data->data = (u_char *) (data + 1);
    data->len = o.n;

    o.p = data->data;
    o.n = 0;

    ngx_sio_data_merge(&o, old, object);

    if (sk->data) {
        ngx_free(sk->data);
    }

    sk->data = data;
}


ngx_int_t
ngx_sio_data_restore(ngx_sio_socket_t *sk, sio_span_t object)
{
    if (object.n == 0) {
        return NGX_OK;
    }

    sk->data = ngx_alloc(sizeof(ngx_str_t) + object.n, ngx_cycle->log);
    if (sk->data == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_ERROR;
    }

    sk->data->data = (u_char *) (sk->data + 1);
    sk->data->len = object.n;
    ngx_memcpy(sk->data->data, object.p, object.n);

    return NGX_OK;
}


/* old without what set has; of set what is not null, the last of each name */

static void
ngx_sio_data_merge(sio_out_t *o, sio_span_t old, sio_span_t set)
{
    size_t      at, start;
    sio_span_t  key, value;

    sio_out_byte(o, '{');
    start = o->n;

    at = 0;

    while (sio_json_next_member(old, &at, &key, &value) == SIO_OK) {
        if (!ngx_sio_data_has(set, key, 0)) {
            ngx_sio_data_comma(o, start);
            sio_out_span(o, key);
            sio_out_byte(o, ':');
            sio_out_span(o, value);
        }
    }

    at = 0;

    while (sio_json_next_member(set, &at, &key, &value) == SIO_OK) {
        if (sio_json_type(value) != SIO_JSON_NULL
            && !ngx_sio_data_has(set, key, at))
        {
            ngx_sio_data_comma(o, start);
            sio_out_span(o, key);
            sio_out_byte(o, ':');
            sio_out_span(o, value);
        }
    }

    sio_out_byte(o, '}');
}


/* looks from at on, 0 or where sio_json_next_member left off */

static ngx_uint_t
ngx_sio_data_has(sio_span_t object, sio_span_t key, size_t at)
{
    sio_span_t  k, value;

    while (sio_json_next_member(object, &at, &k, &value) == SIO_OK) {
        if (ngx_sio_data_same(k, key)) {
            return 1;
        }
    }

    return 0;
}


/* two string tokens stand for the same text; only one of them may be long */

static ngx_uint_t
ngx_sio_data_same(sio_span_t a, sio_span_t b)
{
    sio_out_t  o;
    u_char     text[NGX_SIO_MAX_DATA_SIZE];

    if (sio_span_eq(a, b)) {
        return 1;
    }

    if (ngx_strlchr(a.p, a.p + a.n, '\\') == NULL
        && ngx_strlchr(b.p, b.p + b.n, '\\') == NULL)
    {
        return 0;
    }

    o.p = text;
    o.n = 0;
    sio_json_unescape(&o, b);

    return sio_json_string_eq(a, (sio_span_t) { text, o.n });
}


void
ngx_sio_data_encode(sio_out_t *o, ngx_sio_socket_t *sk)
{
    size_t              start;
    ngx_uint_t          i;
    sio_span_t          own;
    ngx_sio_session_t  *s;

    s = sk->session;
    own = sk->data ? ngx_sio_span(sk->data) : sio_span("{}");

    sio_out_byte(o, '{');
    start = o->n;

    for (i = 0; i < s->ndata; i++) {

        if (s->data[i].data == NULL
            || (sk->data && ngx_sio_data_named(own, &s->conf->data_names[i])))
        {
            continue;
        }

        ngx_sio_data_comma(o, start);
        sio_out_byte(o, '"');
        sio_out_span(o, ngx_sio_span(&s->conf->data_names[i]));
        sio_out_str(o, "\":\"");
        sio_json_escape(o, ngx_sio_span(&s->data[i]));
        sio_out_byte(o, '"');
    }

    if (own.n > 2) {
        ngx_sio_data_comma(o, start);
        sio_out_bytes(o, own.p + 1, own.n - 2);
    }

    sio_out_byte(o, '}');
}


static ngx_uint_t
ngx_sio_data_named(sio_span_t object, ngx_str_t *name)
{
    size_t      at;
    sio_span_t  key, value;

    at = 0;

    while (sio_json_next_member(object, &at, &key, &value) == SIO_OK) {
        if (sio_json_string_eq(key, ngx_sio_span(name))) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_sio_data_comma(sio_out_t *o, size_t start)
{
    if (o->n > start) {
        sio_out_byte(o, ',');
    }
}


sio_span_t
ngx_sio_data_get(ngx_sio_socket_t *sk, sio_span_t name, ngx_pool_t *pool)
{
    ngx_uint_t          i;
    sio_span_t          value;
    ngx_sio_session_t  *s;

    if (sk->data) {
        value = ngx_sio_data_member(ngx_sio_span(sk->data), name, pool);

        if (value.p) {
            return value;
        }
    }

    s = sk->session;

    for (i = 0; i < s->ndata; i++) {
        if (sio_span_eq(name, ngx_sio_span(&s->conf->data_names[i]))) {
            return ngx_sio_span(&s->data[i]);
        }
    }

    return sio_span_null;
}


sio_span_t
ngx_sio_data_member(sio_span_t object, sio_span_t name, ngx_pool_t *pool)
{
    size_t      at;
    sio_out_t   o;
    sio_span_t  key, value, text;

    at = 0;

    while (sio_json_next_member(object, &at, &key, &value) == SIO_OK) {

        if (!sio_json_string_eq(key, name)) {
            continue;
        }

        if (sio_json_type(value) != SIO_JSON_STRING) {
            return value;
        }

        if (ngx_strlchr(value.p, value.p + value.n, '\\') == NULL) {
            return (sio_span_t) { value.p + 1, value.n - 2 };
        }

        o.p = ngx_pnalloc(pool, value.n);
        if (o.p == NULL) {
            break;
        }

        text.p = o.p;
        o.n = 0;
        sio_json_unescape(&o, value);
        text.n = o.n;

        return text;
    }

    return sio_span_null;
}
