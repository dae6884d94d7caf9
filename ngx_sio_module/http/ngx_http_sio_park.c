/*
 * Requests that come before the other workers know this one, or before it
 * knows the one that has their session, wait here; not for ever.
 */

#include "http/ngx_http_sio.h"
#include "cluster/ngx_sio_bus.h"


#define NGX_HTTP_SIO_PARKED  10000    /* ms */


typedef struct {
    ngx_http_request_t       *request;
    ngx_http_handler_pt       handler;
    ngx_sio_bus_waiter_t      waiter;
    ngx_event_t               timer;          /* while it waits */
    ngx_msec_t                until;
} ngx_http_sio_parked_t;


static ngx_http_sio_parked_t *ngx_http_sio_parked(ngx_http_request_t *r);
static void ngx_http_sio_unpark(void *data);
static void ngx_http_sio_parked_timeout(ngx_event_t *ev);
static void ngx_http_sio_parked_cleanup(void *data);


ngx_int_t
ngx_http_sio_park(ngx_http_request_t *r, ngx_http_handler_pt handler)
{
    ngx_msec_int_t          left;
    ngx_http_sio_parked_t  *parked;

    parked = ngx_http_sio_parked(r);

    if (parked == NULL || ngx_http_sio_watch(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    left = parked->until - ngx_current_msec;

    parked->handler = handler;

    ngx_sio_bus_wait(&parked->waiter);
    ngx_add_timer(&parked->timer, (ngx_msec_t) ngx_max(left, 1));

    r->main->count++;

    return NGX_DONE;
}


/* a request may have to wait more than once, but not longer for that */

static ngx_http_sio_parked_t *
ngx_http_sio_parked(ngx_http_request_t *r)
{
    ngx_http_cleanup_t     *cln;
    ngx_http_sio_parked_t  *parked;

    for (cln = r->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_sio_parked_cleanup) {
            return cln->data;
        }
    }

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_sio_parked_t));
    if (cln == NULL) {
        return NULL;
    }

    parked = cln->data;
    ngx_memzero(parked, sizeof(ngx_http_sio_parked_t));

    parked->request = r;
    parked->until = ngx_current_msec + NGX_HTTP_SIO_PARKED;
    parked->waiter.handler = ngx_http_sio_unpark;
    parked->waiter.data = parked;

    parked->timer.handler = ngx_http_sio_parked_timeout;
    parked->timer.data = parked;
    parked->timer.log = r->connection->log;

    cln->handler = ngx_http_sio_parked_cleanup;

    return parked;
}


static void
ngx_http_sio_unpark(void *data)
{
    ngx_http_sio_parked_t *parked = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = parked->request;
    c = r->connection;

    ngx_del_timer(&parked->timer);

    r->read_event_handler = ngx_http_block_reading;

    ngx_http_finalize_request(r, parked->handler(r));
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_sio_parked_timeout(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_sio_parked_t  *parked;

    parked = ev->data;
    r = parked->request;
    c = r->connection;

    ngx_sio_bus_forget(&parked->waiter);

    ngx_http_sio_log(NGX_LOG_ERR, r,
                     "the worker that has the session does not answer");

    ngx_http_finalize_request(r, NGX_HTTP_GATEWAY_TIME_OUT);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_sio_parked_cleanup(void *data)
{
    ngx_http_sio_parked_t *parked = data;

    if (parked->timer.timer_set) {
        ngx_sio_bus_forget(&parked->waiter);
        ngx_del_timer(&parked->timer);
    }
}
