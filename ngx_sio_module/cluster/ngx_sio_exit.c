/*
 * A worker that exits keeps its sessions while there is one that does not,
 * or soon may be.  When there is none, the first that knows tells all, and
 * each says goodbye.
 *
 * nginx ends a worker that has no timer but those that are cancelable.  Those
 * of sessions and of requests keep it, and for a limited time two of these
 * here: for bytes that other workers have not taken, and for sessions to which
 * it has said goodbye.
 */

#include "cluster/ngx_sio_exit.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_directory.h"
#include "cluster/ngx_sio_relay.h"
#include "core/ngx_sio_registry.h"
#include "core/ngx_sio_session.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_EXIT_FLUSH     5000            /* ms */
#define NGX_SIO_EXIT_FAREWELL  5
#define NGX_SIO_EXIT_GRACE     10000           /* for new workers to come */


typedef struct {
    ngx_event_t          unsent;         /* timer: bytes that must leave */
    ngx_event_t          grace;          /* timer: who comes */
    ngx_msec_t           grace_until;
    ngx_event_t          farewell;       /* timer: sessions that end */
    ngx_msec_t           farewell_until;

    unsigned             begun:1;
    unsigned             goodbye:1;
} ngx_sio_exit_t;


static void ngx_sio_exit_release_get(ngx_sio_session_t *s);
static void ngx_sio_exit_grace_handler(ngx_event_t *ev);
static void ngx_sio_exit_goodbye_session(ngx_sio_session_t *s);
static void ngx_sio_exit_farewell_handler(ngx_event_t *ev);
static void ngx_sio_exit_unsent_handler(ngx_event_t *ev);


static ngx_sio_exit_t  ngx_sio_exit;


void
ngx_sio_exit_init(ngx_cycle_t *cycle)
{
    ngx_memzero(&ngx_sio_exit, sizeof(ngx_sio_exit_t));

    ngx_sio_exit.unsent.handler = ngx_sio_exit_unsent_handler;
    ngx_sio_exit.unsent.data = &ngx_sio_exit;
    ngx_sio_exit.unsent.log = cycle->log;

    ngx_sio_exit.farewell.handler = ngx_sio_exit_farewell_handler;
    ngx_sio_exit.farewell.data = &ngx_sio_exit;
    ngx_sio_exit.farewell.log = cycle->log;

    ngx_sio_exit.grace.handler = ngx_sio_exit_grace_handler;
    ngx_sio_exit.grace.data = &ngx_sio_exit;
    ngx_sio_exit.grace.log = cycle->log;
    ngx_sio_exit.grace.cancelable = 1;
}


ngx_uint_t
ngx_sio_exit_begun(void)
{
    return ngx_sio_exit.begun;
}


ngx_uint_t
ngx_sio_exit_ended(void)
{
    return ngx_sio_exit.goodbye;
}


/*
 * A reload and an orderly end begin alike.  If there is a newer configuration
 * others take over: sessions stay, but no GET is held where no later one can
 * come.
 */

void
ngx_sio_exit_begin(void)
{
    ngx_uint_t  renewed;

    if (ngx_sio_exit.begun) {
        return;
    }

    ngx_sio_exit.begun = 1;

    ngx_sio_bus_tell(NGX_SIO_FRAME_EXITING);
    ngx_sio_bus_set_ready();

    renewed = ngx_sio_directory_renewed();

    ngx_sio_exit_expect(renewed);

    if (renewed) {
        ngx_sio_registry_each_session(ngx_sio_exit_release_get);
        ngx_sio_relay_release();
    }

    ngx_sio_exit_check();
}


static void
ngx_sio_exit_release_get(ngx_sio_session_t *s)
{
    if (s->transport->release && s->transport->writable(s)) {
        ngx_sio_session_send(s, &ngx_sio_msg_noop, 0);
    }
}


void
ngx_sio_exit_expect(ngx_uint_t replaced)
{
    ngx_sio_exit.grace_until = ngx_current_msec
                               + (replaced ? NGX_SIO_EXIT_GRACE : 0);
}


void
ngx_sio_exit_check(void)
{
    ngx_msec_int_t  left;

    if (!ngx_sio_exit.begun || ngx_sio_exit.goodbye || ngx_sio_bus_stays()) {
        return;
    }

    left = ngx_sio_exit.grace_until - ngx_current_msec;

    if (left > 0) {
        ngx_add_timer(&ngx_sio_exit.grace, (ngx_msec_t) left);
        return;
    }

    /*
     * Who has not heard yet that all are exiting hears it before what our
     * disconnect rules send: a GET that was answered with that would have no
     * answer left for the end.
     */

    ngx_sio_bus_tell(NGX_SIO_FRAME_GOODBYE);
    ngx_sio_exit_goodbye();
}


static void
ngx_sio_exit_grace_handler(ngx_event_t *ev)
{
    ngx_sio_exit_check();
}


void
ngx_sio_exit_goodbye(void)
{
    if (ngx_sio_exit.goodbye) {
        return;
    }

    ngx_sio_exit.goodbye = 1;

    ngx_sio_registry_each_session(ngx_sio_exit_goodbye_session);

    /* sessions that end have no timer that would keep the worker */

    ngx_sio_exit.farewell_until = ngx_current_msec + NGX_SIO_EXIT_FLUSH;

    ngx_sio_exit_farewell_handler(&ngx_sio_exit.farewell);
}


static void
ngx_sio_exit_goodbye_session(ngx_sio_session_t *s)
{
    ngx_sio_session_close(s, NGX_SIO_SHUTTING_DOWN);
}


static void
ngx_sio_exit_farewell_handler(ngx_event_t *ev)
{
    if (ngx_sio_stats->sessions
        && (ngx_msec_int_t) (ngx_sio_exit.farewell_until - ngx_current_msec)
           > 0)
    {
        ngx_add_timer(ev, NGX_SIO_EXIT_FAREWELL);
    }
}


void
ngx_sio_exit_flushing(void)
{
    if (ngx_sio_exit.begun && ngx_sio_stats->bus_unsent
        && !ngx_sio_exit.unsent.timer_set)
    {
        ngx_add_timer(&ngx_sio_exit.unsent, NGX_SIO_EXIT_FLUSH);
    }
}


void
ngx_sio_exit_flushed(void)
{
    if (ngx_sio_exit.unsent.timer_set && ngx_sio_stats->bus_unsent == 0) {
        ngx_del_timer(&ngx_sio_exit.unsent);
    }
}


static void
ngx_sio_exit_unsent_handler(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                  "sio: exiting, %uL bytes for other workers were not taken "
                  "in %d ms", ngx_sio_stats->bus_unsent, NGX_SIO_EXIT_FLUSH);
}
