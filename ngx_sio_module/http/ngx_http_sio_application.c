/*
 * Rules come first, they run at once; what goes to a handler is passed on
 * behind them.  Whether a socket is admitted is the handler's matter, if there
 * is one: the rules of "connection" run when it was.
 */

#include "http/ngx_http_sio_application.h"
#include "http/ngx_http_sio_backend.h"
#include "http/ngx_http_sio_rules.h"
#include "http/ngx_http_sio_transfer.h"
#include "cluster/ngx_sio_ask.h"
#include "core/ngx_sio_ack.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_op_json.h"


static void ngx_http_sio_application_connect(ngx_sio_socket_t *sk,
    sio_span_t auth);
static void ngx_http_sio_application_event(ngx_sio_socket_t *sk,
    ngx_sio_event_t *ev);
static void ngx_http_sio_application_disconnect(ngx_sio_socket_t *sk);
static void ngx_http_sio_application_abandon(ngx_sio_socket_t *sk);
static void ngx_http_sio_application_acked(ngx_sio_socket_t *sk,
    ngx_sio_awaited_t *awaited, ngx_sio_event_t *ev);
static ngx_http_sio_handler_t *ngx_http_sio_application_handler(
    ngx_sio_socket_t *sk, ngx_uint_t leaves);


const ngx_sio_application_t  ngx_http_sio_application = {
    ngx_http_sio_application_connect,
    ngx_http_sio_application_event,
    ngx_http_sio_application_disconnect,
    ngx_http_sio_application_abandon,
    ngx_http_sio_transfer_export,
    ngx_http_sio_transfer_import,
    ngx_http_sio_transfer_drop
};


ngx_int_t
ngx_http_sio_application_init(ngx_cycle_t *cycle)
{
    if (ngx_http_sio_rules_init(cycle) != NGX_OK
        || ngx_sio_op_json_init(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_sio_ack_init();
    ngx_http_sio_backend_init(ngx_http_sio_rules_connection);

    ngx_sio_ack_handler = ngx_http_sio_application_acked;

    return NGX_OK;
}


void
ngx_http_sio_application_done(void)
{
    ngx_http_sio_rules_done();
    ngx_sio_op_json_done();
    ngx_sio_ack_done();
}


static void
ngx_http_sio_application_connect(ngx_sio_socket_t *sk, sio_span_t auth)
{
    ngx_http_sio_handler_t  *handler;

    handler = ngx_http_sio_application_handler(sk, 0);

    if (handler) {
        ngx_http_sio_backend_connect(sk, handler, auth);
        return;
    }

    ngx_sio_socket_admit(sk);
    ngx_http_sio_rules_connection(sk);
}


static void
ngx_http_sio_application_event(ngx_sio_socket_t *sk, ngx_sio_event_t *ev)
{
    ngx_http_sio_handler_t  *handler;

    handler = ngx_http_sio_rules_event(sk, ev);

    if (handler) {
        ngx_http_sio_backend_event(sk, handler, ev);
    }
}


static void
ngx_http_sio_application_disconnect(ngx_sio_socket_t *sk)
{
    ngx_http_sio_rules_disconnect(sk);
    ngx_http_sio_backend_disconnect(sk,
                                    ngx_http_sio_application_handler(sk, 1));
}


static void
ngx_http_sio_application_abandon(ngx_sio_socket_t *sk)
{
    ngx_http_sio_backend_abandon(sk, ngx_http_sio_application_handler(sk, 1));
}


static void
ngx_http_sio_application_acked(ngx_sio_socket_t *sk,
    ngx_sio_awaited_t *awaited, ngx_sio_event_t *ev)
{
    if (awaited->handler.len) {
        ngx_http_sio_backend_ack(sk, awaited, ev);
    }

    ngx_sio_ask_tell(sk, awaited, ev);
}


/* which handler hears that a socket comes, or that it leaves */

static ngx_http_sio_handler_t *
ngx_http_sio_application_handler(ngx_sio_socket_t *sk, ngx_uint_t leaves)
{
    ngx_http_sio_rules_t       *rules;
    ngx_http_sio_rules_list_t  *list;

    rules = sk->conf->application;
    list = leaves ? &rules->disconnect : &rules->connection;

    return list->handler ? list->handler : rules->handler;
}
