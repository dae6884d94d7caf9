/*
 * The entry of each request: parses the query, finds the session, refuses
 * what Node.js refuses with its code and in its order, and hands what is
 * left to polling or WebSocket, or to the worker that has the session.  There
 * it comes in again, by ngx_http_sio_relayed or ngx_http_sio_judge, and is
 * verified by the same rules.
 */

#include "http/ngx_http_sio_handler.h"
#include "http/ngx_http_sio_polling.h"
#include "http/ngx_http_sio_relay.h"
#include "http/ngx_http_sio_websocket.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_exit.h"
#include "cluster/ngx_sio_handover.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_PROTOCOL  4

#define NGX_HTTP_SIO_ACCEPTED  (-1)       /* no error code */


typedef struct {
    sio_eio_query_t             query;
    ngx_sio_session_t          *session;  /* NULL: a handshake */
    ngx_sio_origin_t            owner;    /* not 0: of a session elsewhere */
    ngx_uint_t                  moved;    /* a session that was here */
    ngx_http_sio_origin_e       origin;
    ngx_uint_t                  upgrade;
} ngx_http_sio_request_t;


static ngx_int_t ngx_http_sio_preflight(ngx_http_request_t *r,
    ngx_http_sio_origin_e origin);
static ngx_int_t ngx_http_sio_verify(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr);
static ngx_uint_t ngx_http_sio_find(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr);
static ngx_int_t ngx_http_sio_verify_session(ngx_sio_session_t *s,
    ngx_uint_t version, ngx_uint_t polling, ngx_uint_t upgrade);
static ngx_int_t ngx_http_sio_verify_handshake(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr);
static ngx_int_t ngx_http_sio_elsewhere(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr, ngx_int_t valid);
static ngx_int_t ngx_http_sio_accept(ngx_http_request_t *r,
    ngx_sio_handover_t *h);
static ngx_int_t ngx_http_sio_upgrade(ngx_http_request_t *r,
    ngx_http_sio_request_t *sr, ngx_int_t valid);
static ngx_uint_t ngx_http_sio_upgradable(ngx_sio_session_t *s);
static void ngx_http_sio_relayed(ngx_sio_remote_t *remote,
    ngx_sio_poll_request_t *request);


const ngx_sio_poller_t  ngx_http_sio_poller = {
    ngx_http_sio_relayed,
    ngx_http_sio_polling_remote_body,
    ngx_http_sio_polling_remote_finished,
    ngx_http_sio_polling_remote_release
};


ngx_int_t
ngx_http_sio_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc, valid, code;
    ngx_http_sio_client_t     client;
    ngx_http_sio_request_t    sr;
    ngx_http_sio_loc_conf_t  *slcf;

    /* a session holds its requests and takes over connections */

    if (r != r->main) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (!ngx_sio_bus_ready()) {
        return ngx_http_sio_park(r, ngx_http_sio_handler);
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    valid = ngx_http_sio_handshake_check(r);

    ngx_memzero(&sr, sizeof(ngx_http_sio_request_t));

    /* its owner is there, but this worker does not know it yet */

    sio_eio_parse_query(ngx_sio_span(&r->args), &sr.query);

    if (ngx_sio_bus_expects(ngx_sio_registry_owner(sr.query.sid))) {
        return ngx_http_sio_park(r, ngx_http_sio_handler);
    }

    sr.upgrade = (valid != NGX_DECLINED);
    sr.origin = ngx_http_sio_origin(r);

    if (r->method == NGX_HTTP_OPTIONS && slcf->origins) {
        return ngx_http_sio_preflight(r, sr.origin);
    }

    code = ngx_http_sio_verify(r, &sr);

    if (code != NGX_HTTP_SIO_ACCEPTED) {
        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK ? ngx_http_sio_send_error(r, code, sr.upgrade)
                            : rc;
    }

    if (sr.owner) {
        return ngx_http_sio_elsewhere(r, &sr, valid);
    }

    if (sr.query.sid.n == 0 && ngx_sio_exit_ended()) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
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

    rc = ngx_http_sio_client(r, &client);

    if (rc == NGX_DECLINED) {
        return ngx_http_sio_send_error(r, SIO_EIO_BAD_REQUEST, 0);
    }

    return rc == NGX_OK ? ngx_http_sio_polling_open(r, &client) : rc;
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

        if (!ngx_http_sio_find(r, sr)) {
            return SIO_EIO_UNKNOWN_SID;
        }

        /* its owner verifies the rest */

        if (sr->owner) {
            return NGX_HTTP_SIO_ACCEPTED;
        }

        code = ngx_http_sio_verify_session(sr->session,
                               sr->query.eio == NGX_HTTP_SIO_PROTOCOL,
                               sr->query.transport == SIO_EIO_POLLING,
                               sr->upgrade);

    } else {
        code = ngx_http_sio_verify_handshake(r, sr);
    }

    if (code == NGX_HTTP_SIO_ACCEPTED
        && sr->origin == NGX_HTTP_SIO_ORIGIN_REFUSED)
    {
        ngx_http_sio_log_origin(r);
        return SIO_EIO_FORBIDDEN;
    }

    if (code == NGX_HTTP_SIO_ACCEPTED && sr->query.sid.n == 0
        && sr->query.eio != NGX_HTTP_SIO_PROTOCOL)
    {
        return SIO_EIO_UNSUPPORTED_VERSION;
    }

    return code;
}


/* here, or with another worker that lives */

static ngx_uint_t
ngx_http_sio_find(ngx_http_request_t *r, ngx_http_sio_request_t *sr)
{
    ngx_sio_origin_t          owner;
    ngx_http_sio_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    sr->session = ngx_sio_registry_session(slcf->core.app, sr->query.sid);

    if (sr->session) {
        return 1;
    }

    if (ngx_sio_handover_moved(slcf->core.app, sr->query.sid)) {
        sr->moved = 1;
        return 1;
    }

    owner = ngx_sio_registry_owner(sr->query.sid);

    if (owner == 0 || !ngx_sio_bus_alive(owner)) {
        return 0;
    }

    sr->owner = owner;

    return 1;
}


/* s is NULL if it has moved to another worker, to a WebSocket there */

static ngx_int_t
ngx_http_sio_verify_session(ngx_sio_session_t *s, ngx_uint_t version,
    ngx_uint_t polling, ngx_uint_t upgrade)
{
    /* one that ended is kept for nothing but its close packet */

    if (s && s->state == NGX_SIO_SESSION_LINGERING && upgrade) {
        return SIO_EIO_UNKNOWN_SID;
    }

    if (!version) {
        return SIO_EIO_BAD_REQUEST;
    }

    if (!upgrade
        && (!polling || s == NULL
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


/* the session lives with another worker */

static ngx_int_t
ngx_http_sio_elsewhere(ngx_http_request_t *r, ngx_http_sio_request_t *sr,
    ngx_int_t valid)
{
    ngx_sio_probe_t           probe;
    ngx_http_sio_loc_conf_t  *slcf;
    ngx_sio_poll_request_t    request;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    if (sr->upgrade) {
        ngx_memzero(&probe, sizeof(ngx_sio_probe_t));

        probe.app_name = ngx_sio_span(&slcf->core.app->name);
        probe.sid = sr->query.sid;
        probe.websocket = (sr->query.transport == SIO_EIO_WEBSOCKET);
        probe.version = (sr->query.eio == NGX_HTTP_SIO_PROTOCOL);
        probe.valid = (valid == NGX_OK);
        probe.origin = (sr->origin != NGX_HTTP_SIO_ORIGIN_REFUSED);

        return ngx_http_sio_relay_upgrade(r, sr->owner, &probe,
                                          ngx_http_sio_accept);
    }

    ngx_memzero(&request, sizeof(ngx_sio_poll_request_t));

    request.app_name = ngx_sio_span(&slcf->core.app->name);
    request.sid = sr->query.sid;
    request.method = (r->method == NGX_HTTP_GET) ? NGX_SIO_METHOD_GET
                     : (r->method == NGX_HTTP_POST) ? NGX_SIO_METHOD_POST
                     : NGX_SIO_METHOD_OTHER;
    request.polling = (sr->query.transport == SIO_EIO_POLLING);
    request.version = (sr->query.eio == NGX_HTTP_SIO_PROTOCOL);
    request.origin = (sr->origin != NGX_HTTP_SIO_ORIGIN_REFUSED);

    return ngx_http_sio_relay_request(r, sr->owner, &request);
}


static ngx_int_t
ngx_http_sio_accept(ngx_http_request_t *r, ngx_sio_handover_t *h)
{
    return ngx_http_sio_websocket_accept(r, h ? NGX_HTTP_SIO_WS_TAKE
                                              : NGX_HTTP_SIO_WS_REFUSE,
                                         NULL, h, NULL);
}


/* a request that another worker holds, for a session that should be here */

static void
ngx_http_sio_relayed(ngx_sio_remote_t *remote,
    ngx_sio_poll_request_t *request)
{
    ngx_int_t           code;
    ngx_sio_session_t  *s;

    s = request->app ? ngx_sio_registry_session(request->app, request->sid)
                     : NULL;

    if (s == NULL && (request->app == NULL
                      || !ngx_sio_handover_moved(request->app, request->sid)))
    {
        code = SIO_EIO_UNKNOWN_SID;

    } else {
        code = ngx_http_sio_verify_session(s, request->version,
                                           request->polling, 0);

        if (code == NGX_HTTP_SIO_ACCEPTED && !request->origin) {
            code = SIO_EIO_FORBIDDEN;
        }
    }

    if (code == NGX_HTTP_SIO_ACCEPTED) {
        ngx_http_sio_polling_remote(remote, request, s);
        return;
    }

    ngx_sio_relay_send_answer(remote,
                              ngx_sio_relay_answer(remote,
                                                   NGX_SIO_ANSWER_ERROR,
                                                   code, 0, NULL));
}


ngx_sio_consent_e
ngx_http_sio_judge(ngx_sio_probe_t *probe, ngx_sio_session_t **s,
    sio_eio_error_t *error)
{
    ngx_int_t  code;

    *s = ngx_sio_registry_session(probe->app, probe->sid);

    if (*s == NULL && !ngx_sio_handover_moved(probe->app, probe->sid)) {
        code = SIO_EIO_UNKNOWN_SID;

    } else {
        code = ngx_http_sio_verify_session(*s, probe->version, 0, 1);

        if (code == NGX_HTTP_SIO_ACCEPTED && !probe->origin) {
            code = SIO_EIO_FORBIDDEN;
        }

        if (code == NGX_HTTP_SIO_ACCEPTED && !probe->valid) {
            code = SIO_EIO_BAD_REQUEST;
        }
    }

    if (code != NGX_HTTP_SIO_ACCEPTED) {
        *error = code;
        return NGX_SIO_CONSENT_ERROR;
    }

    return probe->websocket && ngx_http_sio_upgradable(*s)
           ? NGX_SIO_CONSENT_GO : NGX_SIO_CONSENT_REFUSE;
}


static ngx_uint_t
ngx_http_sio_upgradable(ngx_sio_session_t *s)
{
    return s && s->state == NGX_SIO_SESSION_OPEN && s->probe == NULL
           && s->transport == &ngx_http_sio_polling_transport;
}


static ngx_int_t
ngx_http_sio_upgrade(ngx_http_request_t *r, ngx_http_sio_request_t *sr,
    ngx_int_t valid)
{
    ngx_int_t              rc;
    ngx_http_sio_client_t  client;

    if (valid != NGX_OK) {
        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK
               ? ngx_http_sio_send_error(r, SIO_EIO_BAD_REQUEST, 1) : rc;
    }

    if (sr->query.transport != SIO_EIO_WEBSOCKET || sr->moved
        || (sr->session && !ngx_http_sio_upgradable(sr->session)))
    {
        return ngx_http_sio_websocket_accept(r, NGX_HTTP_SIO_WS_REFUSE, NULL,
                                             NULL, NULL);
    }

    if (sr->session) {
        return ngx_http_sio_websocket_accept(r, NGX_HTTP_SIO_WS_PROBE,
                                             sr->session, NULL, NULL);
    }

    rc = ngx_http_sio_client(r, &client);

    if (rc == NGX_DECLINED) {
        return ngx_http_sio_send_error(r, SIO_EIO_BAD_REQUEST, 1);
    }

    return rc == NGX_OK
           ? ngx_http_sio_websocket_accept(r, NGX_HTTP_SIO_WS_OPEN, NULL, NULL,
                                           &client)
           : rc;
}
