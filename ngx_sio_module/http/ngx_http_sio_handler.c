/*
 * The entry of each request: parses the query, finds the session, refuses
 * what Node.js refuses with its code and in its order, and hands what is
 * left to polling or WebSocket.
 */

#include "http/ngx_http_sio_handler.h"
#include "http/ngx_http_sio_polling.h"
#include "http/ngx_http_sio_websocket.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_PROTOCOL  4

#define NGX_HTTP_SIO_ACCEPTED  (-1)       /* no error code */


typedef struct {
    sio_eio_query_t             query;
    ngx_sio_session_t          *session;  /* NULL: a handshake */
    ngx_http_sio_origin_e       origin;
    ngx_uint_t                  upgrade;
} ngx_http_sio_request_t;


static ngx_int_t ngx_http_sio_preflight(ngx_http_request_t *r,
    ngx_http_sio_origin_e origin);
static ngx_int_t ngx_http_sio_verify(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr);
static ngx_int_t ngx_http_sio_verify_session(ngx_http_sio_request_t *sr);
static ngx_int_t ngx_http_sio_verify_handshake(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr);
static ngx_int_t ngx_http_sio_upgrade(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr, ngx_int_t valid);
static ngx_int_t ngx_http_sio_eval_data(ngx_http_request_t *r,
    ngx_str_t **data, ngx_uint_t *n);


ngx_int_t
ngx_http_sio_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc, valid, code;
    ngx_str_t                *data;
    ngx_uint_t                n;
    ngx_http_sio_request_t    sr;
    ngx_http_sio_loc_conf_t  *slcf;

    /* a session holds its requests and takes over connections */

    if (r != r->main) {
        return NGX_HTTP_NOT_FOUND;
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    valid = ngx_http_sio_handshake_check(r);

    sr.upgrade = (valid != NGX_DECLINED);
    sr.origin = ngx_http_sio_origin(r);
    sr.session = NULL;

    if (r->method == NGX_HTTP_OPTIONS && slcf->origins) {
        return ngx_http_sio_preflight(r, sr.origin);
    }

    sio_eio_parse_query(ngx_sio_span(&r->args), &sr.query);

    code = ngx_http_sio_verify(r, &sr);

    if (code != NGX_HTTP_SIO_ACCEPTED) {
        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK ? ngx_http_sio_send_error(r, code, sr.upgrade)
                            : rc;
    }

    if (sr.upgrade) {
        return ngx_http_sio_upgrade(r, &sr, valid);
    }

    if (sr.session) {
        return ngx_http_sio_polling_request(r, sr.session);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_sio_eval_data(r, &data, &n);

    if (rc == NGX_DECLINED) {
        return ngx_http_sio_send_error(r, SIO_EIO_BAD_REQUEST, 0);
    }

    return rc == NGX_OK ? ngx_http_sio_polling_open(r, data, n) : rc;
}


static ngx_int_t
ngx_http_sio_preflight(ngx_http_request_t *r, ngx_http_sio_origin_e origin)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;
    static ngx_str_t  methods = ngx_string("GET,POST");
    static ngx_str_t  empty = ngx_null_string;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (origin == NGX_HTTP_SIO_ORIGIN_ALLOWED) {

        if (ngx_http_sio_add_header(r, "Access-Control-Allow-Methods",
                                    &methods) != NGX_OK)
        {
            return NGX_ERROR;
        }

        h = ngx_http_sio_header(r, "Access-Control-Request-Headers", NULL);

        if (h && ngx_http_sio_add_header(r, "Access-Control-Allow-Headers",
                                         &h->value) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_sio_send(r, NGX_HTTP_NO_CONTENT, NULL, &empty);
}


/* a code of Engine.IO, or ACCEPTED */

static ngx_int_t
ngx_http_sio_verify(ngx_http_request_t *r, ngx_http_sio_request_t *sr)
{
    ngx_int_t                 code;
    ngx_str_t                 host;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    if (!(sr->query.transport == SIO_EIO_POLLING
          && (slcf->transports & NGX_HTTP_SIO_POLLING))
        && !(sr->query.transport == SIO_EIO_WEBSOCKET
             && (slcf->transports & NGX_HTTP_SIO_WEBSOCKET)))
    {
        return SIO_EIO_UNKNOWN_TRANSPORT;
    }

    if (sr->query.sid.n) {
        sr->session = ngx_sio_registry_session(slcf->core.app, sr->query.sid);

        if (sr->session == NULL) {
            return SIO_EIO_UNKNOWN_SID;
        }

        code = ngx_http_sio_verify_session(sr);

    } else {
        code = ngx_http_sio_verify_handshake(r, sr);
    }

    if (code == NGX_HTTP_SIO_ACCEPTED
        && sr->origin == NGX_HTTP_SIO_ORIGIN_REFUSED)
    {
        ngx_sio_count(origins_refused);

        host = r->headers_in.server;
        ngx_http_sio_log(NGX_LOG_WARN, r,
                         "request refused: its \"Origin\" is neither this "
                         "host, \"%V\", nor named by \"sio_allow_origin\"",
                         &host);
        return SIO_EIO_FORBIDDEN;
    }

    if (code == NGX_HTTP_SIO_ACCEPTED && sr->session == NULL
        && sr->query.eio != NGX_HTTP_SIO_PROTOCOL)
    {
        return SIO_EIO_UNSUPPORTED_VERSION;
    }

    return code;
}


static ngx_int_t
ngx_http_sio_verify_session(ngx_http_sio_request_t *sr)
{
    ngx_sio_session_t  *s;

    s = sr->session;

    /* one that ended is kept for nothing but its close packet */

    if (s->state == NGX_SIO_SESSION_LINGERING && sr->upgrade) {
        return SIO_EIO_UNKNOWN_SID;
    }

    if (sr->query.eio != NGX_HTTP_SIO_PROTOCOL) {
        return SIO_EIO_BAD_REQUEST;
    }

    if (!sr->upgrade
        && (sr->query.transport != SIO_EIO_POLLING
            || s->transport != &ngx_http_sio_polling_transport))
    {
        return SIO_EIO_BAD_REQUEST;
    }

    return NGX_HTTP_SIO_ACCEPTED;
}


static ngx_int_t
ngx_http_sio_verify_handshake(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr)
{
    if (r->method != NGX_HTTP_GET) {
        return SIO_EIO_BAD_HANDSHAKE_METHOD;
    }

    if (sr->query.transport == SIO_EIO_WEBSOCKET && !sr->upgrade) {
        return SIO_EIO_BAD_REQUEST;
    }

    return NGX_HTTP_SIO_ACCEPTED;
}


static ngx_int_t
ngx_http_sio_upgrade(ngx_http_request_t *r, ngx_http_sio_request_t *sr,
    ngx_int_t valid)
{
    ngx_int_t           rc;
    ngx_str_t          *data;
    ngx_uint_t          n;
    ngx_sio_session_t  *s;

    if (valid != NGX_OK) {
        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK
               ? ngx_http_sio_send_error(r, SIO_EIO_BAD_REQUEST, 1) : rc;
    }

    s = sr->session;

    if (sr->query.transport != SIO_EIO_WEBSOCKET
        || (s && (s->state != NGX_SIO_SESSION_OPEN || s->probe
                  || s->transport != &ngx_http_sio_polling_transport)))
    {
        return ngx_http_sio_websocket_accept(r, NGX_HTTP_SIO_WS_REFUSE, NULL,
                                             NULL, 0);
    }

    if (s) {
        return ngx_http_sio_websocket_accept(r, NGX_HTTP_SIO_WS_PROBE, s,
                                             NULL, 0);
    }

    rc = ngx_http_sio_eval_data(r, &data, &n);

    if (rc == NGX_DECLINED) {
        return ngx_http_sio_send_error(r, SIO_EIO_BAD_REQUEST, 1);
    }

    return rc == NGX_OK
           ? ngx_http_sio_websocket_accept(r, NGX_HTTP_SIO_WS_OPEN, NULL, data,
                                           n)
           : rc;
}


/* the values of sio_data; NGX_DECLINED if they are too large together */

static ngx_int_t
ngx_http_sio_eval_data(ngx_http_request_t *r, ngx_str_t **data,
    ngx_uint_t *n)
{
    size_t                    size;
    ngx_uint_t                i;
    ngx_http_sio_data_t      *d;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    *data = NULL;
    *n = 0;

    if (slcf->data == NULL) {
        return NGX_OK;
    }

    *data = ngx_palloc(r->pool, slcf->data->nelts * sizeof(ngx_str_t));
    if (*data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    d = slcf->data->elts;
    size = 0;

    for (i = 0; i < slcf->data->nelts; i++) {

        if (ngx_http_complex_value(r, &d[i].value, &(*data)[i]) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        size += (*data)[i].len;
    }

    if (size > NGX_HTTP_SIO_MAX_DATA_SIZE) {
        ngx_sio_count(limit_data);
        ngx_http_sio_log(NGX_LOG_WARN, r,
                         "handshake refused: the values of \"sio_data\" take "
                         "%uz bytes, limited to %d", size,
                         NGX_HTTP_SIO_MAX_DATA_SIZE);
        return NGX_DECLINED;
    }

    *n = i;

    return NGX_OK;
}
