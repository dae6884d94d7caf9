/*
 * $sio_request: the request line as nginx logs it, with the value of each
 * sid parameter masked.  A sid is a password for its session.
 *
 * $sio_id, $sio_namespace, $sio_event, $sio_data_NAME: in the location of a
 * handler, of what it is told.  The last three are what clients or backends
 * made up: control characters, which could end a header, stand in them as
 * %XX.
 */

#include "http/ngx_http_sio_variables.h"
#include "http/ngx_http_sio_call.h"
#include "core/ngx_sio_data.h"
#include "proto/sio_json.h"


static ngx_int_t ngx_http_sio_variable_request(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_uint_t ngx_http_sio_variable_is_sid(u_char *p, u_char *last);
static ngx_int_t ngx_http_sio_variable_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sio_variable_namespace(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sio_variable_event(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sio_variable_data(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sio_variable_set(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, sio_span_t text);


static ngx_http_variable_t  ngx_http_sio_variables[] = {

    { ngx_string("sio_request"), NULL, ngx_http_sio_variable_request, 0, 0, 0 },

    { ngx_string("sio_id"), NULL, ngx_http_sio_variable_id, 0, 0, 0 },

    { ngx_string("sio_namespace"), NULL, ngx_http_sio_variable_namespace,
      0, 0, 0 },

    { ngx_string("sio_event"), NULL, ngx_http_sio_variable_event, 0, 0, 0 },

    { ngx_string("sio_data_"), NULL, ngx_http_sio_variable_data,
      0, NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_sio_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_sio_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sio_variable_request(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char      *p, *last, *d, *name;
    ngx_uint_t   mask;

    p = r->request_line.data;
    last = p + r->request_line.len;

    d = ngx_pnalloc(r->pool, r->request_line.len);
    if (d == NULL) {
        return NGX_ERROR;
    }

    v->data = d;
    mask = 0;
    name = NULL;

    for ( /* void */ ; p < last; p++) {

        switch (*p) {

        case '?':
        case '&':
            if (*p == '&' || name == NULL) {
                name = p + 1;
                mask = 0;
            }

            break;

        case '=':
            if (name && !mask && ngx_http_sio_variable_is_sid(name, p)) {
                mask = 1;
                *d++ = '=';
                *d++ = '*';
                continue;
            }

            break;

        case ' ':
        case '#':
            mask = 0;
            break;
        }

        if (!mask) {
            *d++ = *p;
        }
    }

    v->len = d - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* names are compared decoded, as where sessions are looked up */

static ngx_uint_t
ngx_http_sio_variable_is_sid(u_char *p, u_char *last)
{
    u_char       c;
    ngx_int_t    n;
    ngx_uint_t   i;

    for (i = 0; i < 3; i++) {

        if (p == last) {
            return 0;
        }

        c = *p++;

        if (c == '%' && last - p >= 2) {
            n = ngx_hextoi(p, 2);
            c = (n == NGX_ERROR) ? '%' : (u_char) n;
            p += (n == NGX_ERROR) ? 0 : 2;
        }

        if (c != "sid"[i]) {
            return 0;
        }
    }

    return p == last;
}


static ngx_int_t
ngx_http_sio_variable_id(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_sio_call_vars_t  *vars;

    vars = ngx_http_sio_call_vars(r);

    return ngx_http_sio_variable_set(r, v, vars ? vars->id : sio_span_null);
}


static ngx_int_t
ngx_http_sio_variable_namespace(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_sio_call_vars_t  *vars;

    vars = ngx_http_sio_call_vars(r);

    return ngx_http_sio_variable_set(r, v, vars ? vars->nsp : sio_span_null);
}


static ngx_int_t
ngx_http_sio_variable_event(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    sio_out_t                  o;
    sio_span_t                 name;
    ngx_http_sio_call_vars_t  *vars;

    vars = ngx_http_sio_call_vars(r);
    name = vars ? vars->event : sio_span_null;

    if (name.n && name.p[0] == '"') {
        o.p = ngx_pnalloc(r->pool, name.n);
        if (o.p == NULL) {
            return NGX_ERROR;
        }

        o.n = 0;
        sio_json_unescape(&o, name);

        name.p = o.p - o.n;
        name.n = o.n;
    }

    return ngx_http_sio_variable_set(r, v, name);
}


static ngx_int_t
ngx_http_sio_variable_data(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t *name = (ngx_str_t *) data;

    sio_span_t                 member;
    ngx_http_sio_call_vars_t  *vars;

    vars = ngx_http_sio_call_vars(r);

    if (vars == NULL || vars->data.n == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    member.p = name->data + sizeof("sio_data_") - 1;
    member.n = name->len - (sizeof("sio_data_") - 1);

    return ngx_http_sio_variable_set(r, v,
                        ngx_sio_data_member(vars->data, member, r->pool));
}


static ngx_int_t
ngx_http_sio_variable_set(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, sio_span_t text)
{
    u_char      *p;
    size_t       i;
    ngx_uint_t   n;

    if (text.p == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    for (n = 0, i = 0; i < text.n; i++) {
        n += (text.p[i] < ' ' || text.p[i] == 0x7f);
    }

    v->data = text.p;
    v->len = text.n;

    if (n) {
        p = ngx_pnalloc(r->pool, text.n + 2 * n);
        if (p == NULL) {
            return NGX_ERROR;
        }

        v->data = p;

        for (i = 0; i < text.n; i++) {
            if (text.p[i] < ' ' || text.p[i] == 0x7f) {
                p = ngx_sprintf(p, "%%%02Xd", (int) text.p[i]);

            } else {
                *p++ = text.p[i];
            }
        }

        v->len = p - v->data;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
