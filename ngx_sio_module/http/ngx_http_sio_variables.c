/*
 * $sio_request: the request line as nginx logs it, with the value of each
 * sid parameter masked.  A sid is a password for its session.
 */

#include "http/ngx_http_sio_variables.h"


static ngx_int_t ngx_http_sio_variable_request(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_uint_t ngx_http_sio_variable_is_sid(u_char *p, u_char *last);


static ngx_http_variable_t  ngx_http_sio_variables[] = {

    { ngx_string("sio_request"), NULL, ngx_http_sio_variable_request, 0, 0, 0 },

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
