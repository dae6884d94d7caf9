/*
 * The WebSocket transport.  A connection is taken over from nginx once its
 * 101 is sent: the request is logged and freed, and what stays is the
 * ngx_connection_t and one ngx_http_sio_ws_t.  Bytes are read into one
 * buffer of the worker's and handled there; only what is cut by the wire, or
 * left for the next turn, is copied (ws->input) until the rest comes.
 *
 *   accepting -> open --------------------> closing   a session of its own
 *   accepting -> probe -> open -----------> closing   an upgrade
 *   accepting -> probe -> taking -> open -> closing   an upgrade whose session
 *                                                     is with another worker
 *   accepting ----------------------------> closing   refused, or given up
 *
 * A connection and its session let go of each other at the step to closing;
 * from then on the connection sends what is left, shuts down its side,
 * drains the other and frees itself.
 */

#include "http/ngx_http_sio_websocket.h"
#include "cluster/ngx_sio_exit.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_utf8.h"
#include "proto/sio_ws.h"


#define NGX_HTTP_SIO_WS_BUFFER      65536
#define NGX_HTTP_SIO_WS_DIRECT      8192    /* sent without a copy */
#define NGX_HTTP_SIO_WS_READS       4       /* of a connection, in one turn */
#define NGX_HTTP_SIO_WS_FRAMES      4000
#define NGX_HTTP_SIO_WS_DRAIN       (ngx_exiting ? 800 : 5000)
#define NGX_HTTP_SIO_WS_CHECK       100     /* as Node.js does */


typedef enum {
    NGX_HTTP_SIO_WS_STATE_ACCEPTING = 0,
    NGX_HTTP_SIO_WS_STATE_PROBE,
    NGX_HTTP_SIO_WS_STATE_TAKING,
    NGX_HTTP_SIO_WS_STATE_OPEN,
    NGX_HTTP_SIO_WS_STATE_CLOSING
} ngx_http_sio_ws_state_e;


/* what is half received */

typedef struct {
    u_char                    *raw;        /* bytes not looked at yet */
    size_t                     raw_len;    /* bound: the worker's buffer */

    u_char                    *message;    /* payload so far */
    size_t                     len;
    size_t                     size;       /* bound: max_payload */

    sio_ws_frame_t             frame;      /* in which we are */
    uint64_t                   got;        /* of its payload */
    sio_utf8_t                 utf8;

    unsigned                   opcode:4;   /* of the message */
    unsigned                   fragmented:1;
    unsigned                   in_frame:1;
} ngx_http_sio_ws_input_t;


typedef struct {
    ngx_connection_t          *connection;
    ngx_sio_session_t         *session;    /* NULL: let go, or none */
    ngx_sio_handover_t        *handover;   /* of a session elsewhere */
    const ngx_sio_conf_t      *conf;
    ngx_http_sio_ws_input_t   *input;      /* NULL: nothing is cut */
    ngx_sio_queue_t            out;        /* closing: what the session left */
    size_t                     sent;       /* of the first message queued */

    unsigned                   state:3;    /* ngx_http_sio_ws_state_e */
    unsigned                   purpose:2;  /* ngx_http_sio_ws_purpose_e */
    unsigned                   blocked:1;  /* unsent bytes of an earlier turn */
    unsigned                   yielded:1;  /* input->raw is for this turn */
    unsigned                   dead:1;     /* the peer is gone */
    unsigned                   peer_closed:1;  /* its close frame came */
    unsigned                   shut:1;     /* our side is shut down */
} ngx_http_sio_ws_t;


static void ngx_http_sio_ws_takeover(ngx_event_t *rev);
static ngx_int_t ngx_http_sio_ws_keep(ngx_http_sio_ws_t *ws, u_char *p,
    size_t n);
static void ngx_http_sio_ws_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);
static void ngx_http_sio_ws_begin(ngx_http_sio_ws_t *ws);

static void ngx_http_sio_ws_read_handler(ngx_event_t *rev);
static void ngx_http_sio_ws_write_handler(ngx_event_t *wev);
static void ngx_http_sio_ws_read(ngx_http_sio_ws_t *ws);
static ngx_int_t ngx_http_sio_ws_process(ngx_http_sio_ws_t *ws, u_char *p,
    u_char *last);
static ngx_int_t ngx_http_sio_ws_frame(ngx_http_sio_ws_t *ws, u_char **pos,
    u_char *last);
static ngx_int_t ngx_http_sio_ws_fragment(ngx_http_sio_ws_t *ws, u_char **pos,
    u_char *last);
static ngx_int_t ngx_http_sio_ws_append(ngx_http_sio_ws_t *ws, u_char *p,
    size_t n);
static ngx_int_t ngx_http_sio_ws_control(ngx_http_sio_ws_t *ws,
    sio_ws_frame_t *f, u_char *payload);
static ngx_int_t ngx_http_sio_ws_message(ngx_http_sio_ws_t *ws,
    ngx_uint_t opcode, sio_span_t data);
static ngx_int_t ngx_http_sio_ws_probe(ngx_http_sio_ws_t *ws,
    ngx_uint_t opcode, sio_span_t data);
static ngx_int_t ngx_http_sio_ws_take(ngx_http_sio_ws_t *ws);
static void ngx_http_sio_ws_check(ngx_http_sio_ws_t *ws);
static ngx_int_t ngx_http_sio_ws_fail(ngx_http_sio_ws_t *ws, ngx_uint_t code,
    const char *what);
static void ngx_http_sio_ws_free_input(ngx_http_sio_ws_t *ws);

static ngx_int_t ngx_http_sio_ws_reply(ngx_http_sio_ws_t *ws,
    ngx_uint_t opcode, sio_span_t data);
static ngx_int_t ngx_http_sio_ws_send(ngx_http_sio_ws_t *ws,
    ngx_sio_queue_t *q);
static void ngx_http_sio_ws_gone(ngx_http_sio_ws_t *ws);
static void ngx_http_sio_ws_let_go(ngx_http_sio_ws_t *ws, ngx_uint_t code);
static void ngx_http_sio_ws_closing(ngx_http_sio_ws_t *ws);
static void ngx_http_sio_ws_shutdown(ngx_connection_t *c);
static void ngx_http_sio_ws_drain(ngx_http_sio_ws_t *ws);
static void ngx_http_sio_ws_finalize(ngx_http_sio_ws_t *ws);
static void ngx_http_sio_ws_set_state(ngx_http_sio_ws_t *ws,
    ngx_http_sio_ws_state_e state);

static ngx_sio_session_t *ngx_http_sio_ws_install(void *data, sio_in_t *in);
static void ngx_http_sio_ws_settled(void *data, ngx_sio_session_t *s,
    ngx_uint_t failed);
static void ngx_http_sio_ws_deserted(void *data);
static void ngx_http_sio_ws_log(ngx_uint_t level, ngx_http_sio_ws_t *ws,
    const char *fmt, ...);

static void ngx_http_sio_ws_flush(ngx_sio_session_t *s);
static ngx_uint_t ngx_http_sio_ws_writable(ngx_sio_session_t *s);
static ngx_int_t ngx_http_sio_ws_close(ngx_sio_session_t *s);
static void ngx_http_sio_ws_abandon(ngx_sio_session_t *s);
static void ngx_http_sio_ws_resume(ngx_sio_session_t *s);


const ngx_sio_transport_t  ngx_http_sio_websocket_transport = {
    "websocket",
    ngx_http_sio_ws_flush,
    ngx_http_sio_ws_writable,
    ngx_http_sio_ws_close,
    NULL,                              /* nothing takes over from it */
    ngx_http_sio_ws_abandon,
    ngx_http_sio_ws_resume
};


static const ngx_sio_taker_t  ngx_http_sio_ws_taker = {
    NULL,                              /* it has consented */
    ngx_http_sio_ws_install,
    ngx_http_sio_ws_settled,
    ngx_http_sio_ws_deserted
};


/* one for all connections: nothing stays in it from one event to the next */

static u_char     ngx_http_sio_ws_in[NGX_HTTP_SIO_WS_BUFFER];
static u_char     ngx_http_sio_ws_out[NGX_HTTP_SIO_WS_BUFFER];


ngx_int_t
ngx_http_sio_websocket_accept(ngx_http_request_t *r,
    ngx_http_sio_ws_purpose_e purpose, ngx_sio_session_t *s,
    ngx_sio_handover_t *h, ngx_http_sio_client_t *client)
{
    ngx_connection_t         *c;
    ngx_http_sio_ws_t        *ws;
    ngx_http_sio_loc_conf_t  *slcf;

    c = r->connection;
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sio_module);

    ws = ngx_calloc(sizeof(ngx_http_sio_ws_t), slcf->core.log);
    if (ws == NULL) {
        ngx_sio_count(memory_errors);

        if (h) {
            ngx_sio_handover_abandon(h);
        }

        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ws->connection = c;
    ws->conf = &slcf->core;
    ws->purpose = purpose;

    if (purpose == NGX_HTTP_SIO_WS_OPEN) {
        s = ngx_sio_session_create(&slcf->core,
                                   &ngx_http_sio_websocket_transport, ws,
                                   &c->addr_text, client->data, client->n,
                                   &client->handshake);
        if (s == NULL) {
            ngx_free(ws);
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        ngx_sio_count(websockets);

    } else if (purpose == NGX_HTTP_SIO_WS_PROBE) {
        s->probe_transport = &ngx_http_sio_websocket_transport;
        s->probe = ws;

    } else if (purpose == NGX_HTTP_SIO_WS_TAKE) {
        ngx_sio_handover_attach(h, &ngx_http_sio_ws_taker, ws);
        ws->handover = h;
    }

    ws->session = s;
    ngx_sio_count(connections);

    /* from here on the connection is ours whatever comes */

    if (ngx_http_sio_handshake_answer(r, purpose == NGX_HTTP_SIO_WS_OPEN
                                         ? s : NULL) != NGX_OK)
    {
        ws->dead = 1;
    }

    ngx_http_set_ctx(r, ws, ngx_http_sio_module);

    r->keepalive = 0;
    r->main->count++;

    c->read->handler = ngx_http_sio_ws_takeover;
    c->write->handler = ngx_http_empty_handler;

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_DONE;
}


static void
ngx_http_sio_ws_takeover(ngx_event_t *rev)
{
    ngx_buf_t              *b;
    ngx_connection_t       *c;
    ngx_http_sio_ws_t      *ws;
    ngx_http_request_t     *r;
    ngx_http_connection_t  *hc;

    c = rev->data;
    r = c->data;
    hc = r->http_connection;

    ws = ngx_http_get_module_ctx(r, ngx_http_sio_module);

    /* a peer that does not take the 101 will not take anything else */

    if (c->error || c->buffered || r->out) {
        ws->dead = 1;
    }

    b = r->header_in;

    if (b->pos < b->last
        && ngx_http_sio_ws_keep(ws, b->pos, b->last - b->pos) != NGX_OK)
    {
        ws->dead = 1;
    }

    ngx_http_free_request(r, 0);

    if (rev->timer_set) {
        ngx_del_timer(rev);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->data = ws;
    c->sent = 0;
    c->destroyed = 0;

    rev->handler = ngx_http_sio_ws_read_handler;
    c->write->handler = ngx_http_sio_ws_write_handler;

    ngx_http_sio_ws_free_buffers(c, hc);

    c->log->action = "serving WebSocket";

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        ws->dead = 1;
    }

    ngx_http_sio_ws_begin(ws);
}


/* what came with the request or is left for the next turn */

static ngx_int_t
ngx_http_sio_ws_keep(ngx_http_sio_ws_t *ws, u_char *p, size_t n)
{
    if (n > NGX_HTTP_SIO_WS_BUFFER) {
        return NGX_ERROR;
    }

    if (ws->input == NULL) {
        ws->input = ngx_calloc(sizeof(ngx_http_sio_ws_input_t),
                               ws->conf->log);
        if (ws->input == NULL) {
            ngx_sio_count(memory_errors);
            return NGX_ERROR;
        }
    }

    ws->input->raw = ngx_alloc(n, ws->conf->log);
    if (ws->input->raw == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_ERROR;
    }

    ngx_memcpy(ws->input->raw, p, n);
    ws->input->raw_len = n;

    return NGX_OK;
}


/* as between two requests of a connection: what is not needed goes */

static void
ngx_http_sio_ws_free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_chain_t  *cl, *ln;

    if (c->buffer) {
        (void) ngx_pfree(c->pool, c->buffer->start);
        c->buffer = NULL;
    }

    for (cl = hc->free; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    for (cl = hc->busy; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif
}


static void
ngx_http_sio_ws_begin(ngx_http_sio_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->session == NULL && ws->handover == NULL) {
        ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
        return;
    }

    if (ws->purpose != NGX_HTTP_SIO_WS_OPEN) {
        ngx_http_sio_ws_set_state(ws, NGX_HTTP_SIO_WS_STATE_PROBE);
        ngx_add_timer(c->read, ws->conf->upgrade_timeout);

    } else {
        ngx_http_sio_ws_set_state(ws, NGX_HTTP_SIO_WS_STATE_OPEN);

        if (ws->session->out.head) {
            ngx_sio_session_post(ws->session);
        }
    }

    if (ws->dead) {
        ngx_http_sio_ws_gone(ws);
        return;
    }

    if (ws->input) {
        ws->yielded = 1;
    }

    if (ws->yielded || c->read->ready || c->close) {
        ngx_http_sio_ws_read_handler(c->read);
        return;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_sio_ws_gone(ws);
    }
}


static void
ngx_http_sio_ws_read_handler(ngx_event_t *rev)
{
    ngx_connection_t   *c;
    ngx_http_sio_ws_t  *ws;

    c = rev->data;
    ws = c->data;

    /* worker_shutdown_timeout: the goodbye leaves in this turn or never */

    if (c->close) {
        c->close = 0;

        if (ws->state == NGX_HTTP_SIO_WS_STATE_CLOSING) {
            ngx_http_sio_ws_finalize(ws);

        } else if (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN) {
            c->error = 0;
            ngx_sio_session_close(ws->session, NGX_SIO_SHUTTING_DOWN);

        } else {
            ws->dead = 1;
            ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
        }

        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;

        if (ws->state == NGX_HTTP_SIO_WS_STATE_CLOSING) {
            ngx_http_sio_ws_finalize(ws);
            return;
        }

        if (ws->state != NGX_HTTP_SIO_WS_STATE_PROBE
            && ws->state != NGX_HTTP_SIO_WS_STATE_TAKING)
        {
            return;
        }

        if (ws->dead) {
            ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
            return;
        }

        ngx_sio_count(upgrade_timeouts);
        ngx_http_sio_ws_log(NGX_LOG_WARN, ws,
                            "upgrade not completed in %M ms, limited by "
                            "\"sio_upgrade_timeout\"",
                            ws->conf->upgrade_timeout);

        if (ws->state == NGX_HTTP_SIO_WS_STATE_TAKING) {
            ngx_http_sio_ws_gone(ws);

        } else {
            ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
        }

        return;
    }

    if (ws->state == NGX_HTTP_SIO_WS_STATE_CLOSING) {
        ngx_http_sio_ws_drain(ws);
        return;
    }

    ngx_http_sio_ws_read(ws);
}


static void
ngx_http_sio_ws_write_handler(ngx_event_t *wev)
{
    ngx_connection_t   *c;
    ngx_http_sio_ws_t  *ws;

    c = wev->data;
    ws = c->data;

    if (wev->timedout) {
        wev->timedout = 0;
        ngx_http_sio_ws_check(ws);
        return;
    }

    if (ws->state == NGX_HTTP_SIO_WS_STATE_CLOSING) {
        if (!ws->shut) {
            ngx_http_sio_ws_closing(ws);
        }

        return;
    }

    if (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN && ws->blocked) {
        ngx_http_sio_ws_flush(ws->session);
    }
}


static void
ngx_http_sio_ws_read(ngx_http_sio_ws_t *ws)
{
    size_t             len;
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ws->connection;
    rev = c->read;

    for (i = 0; i < NGX_HTTP_SIO_WS_READS; i++) {

        /* what comes now is for a session that is on its way */

        if (ws->state == NGX_HTTP_SIO_WS_STATE_TAKING) {
            return;
        }

        if (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN
            && (ws->session->state != NGX_SIO_SESSION_OPEN
                || ws->session->paused))
        {
            return;
        }

        if (ngx_sio_session_busy()) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

        len = 0;

        if (ws->input && ws->input->raw) {
            len = ws->input->raw_len;
            ngx_memcpy(ngx_http_sio_ws_in, ws->input->raw, len);
        }

        if (!ws->yielded) {
            n = c->recv(c, ngx_http_sio_ws_in + len,
                        NGX_HTTP_SIO_WS_BUFFER - len);

            if (n == NGX_AGAIN) {
                break;
            }

            if (n == NGX_ERROR || n == 0) {
                ngx_http_sio_ws_gone(ws);
                return;
            }

            ngx_sio_add(bytes_in, n);
            len += n;
        }

        ws->yielded = 0;

        if (ws->input && ws->input->raw) {
            ngx_free(ws->input->raw);
            ws->input->raw = NULL;
        }

        rc = ngx_http_sio_ws_process(ws, ngx_http_sio_ws_in,
                                     ngx_http_sio_ws_in + len);
        if (rc == NGX_ABORT) {
            return;
        }

        if (rc == NGX_AGAIN) {
            ws->yielded = 1;
            break;
        }

        if (!rev->ready) {
            break;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_sio_ws_gone(ws);
        return;
    }

    if (ws->yielded || rev->ready) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }
}


/*
 * NGX_OK: all was handled or kept; NGX_AGAIN: the rest was kept for the next
 * turn; NGX_ABORT: the connection is closing or its session is, ws may be
 * gone.
 */

static ngx_int_t
ngx_http_sio_ws_process(ngx_http_sio_ws_t *ws, u_char *p, u_char *last)
{
    ngx_int_t    rc;
    ngx_uint_t   n;

    rc = NGX_OK;

    for (n = 0; p < last; n++) {

        if (n == NGX_HTTP_SIO_WS_FRAMES || ngx_sio_session_busy()
            || ws->state == NGX_HTTP_SIO_WS_STATE_TAKING
            || (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN
                && ws->session->paused))
        {
            rc = NGX_AGAIN;
            break;
        }

        if (ws->input && ws->input->in_frame) {
            rc = ngx_http_sio_ws_fragment(ws, &p, last);

        } else {
            rc = ngx_http_sio_ws_frame(ws, &p, last);
        }

        if (rc == NGX_ABORT) {
            return rc;
        }

        if (rc == NGX_AGAIN) {           /* cut by the wire */
            rc = NGX_OK;
            break;
        }
    }

    if (p < last) {
        if (ngx_http_sio_ws_keep(ws, p, last - p) != NGX_OK) {
            return ngx_http_sio_ws_fail(ws, SIO_WS_INTERNAL, "no memory");
        }

    } else if (ws->input && !ws->input->in_frame && !ws->input->fragmented) {
        ngx_http_sio_ws_free_input(ws);
    }

    return rc;
}


/* a frame from its first byte on */

static ngx_int_t
ngx_http_sio_ws_frame(ngx_http_sio_ws_t *ws, u_char **pos, u_char *last)
{
    size_t                    limit;
    u_char                   *p;
    sio_span_t                data;
    ngx_uint_t                fragmented;
    sio_ws_frame_t            f;
    ngx_http_sio_ws_input_t  *in;

    p = *pos;
    in = ws->input;
    fragmented = in && in->fragmented;
    limit = ws->conf->max_payload - (fragmented ? in->len : 0);

    switch (sio_ws_decode_header((sio_span_t) { p, last - p }, fragmented,
                                 limit, &f))
    {
    case SIO_OK:
        break;

    case SIO_AGAIN:
        return NGX_AGAIN;

    case SIO_ELIMIT:
        ngx_sio_count(limit_payload);
        ngx_http_sio_ws_log(NGX_LOG_WARN, ws,
                            "client sent a message of more than %uz bytes, "
                            "limited by \"sio_max_payload\"",
                            ws->conf->max_payload);
        return ngx_http_sio_ws_fail(ws, SIO_WS_TOO_BIG, "message too big");

    default:
        return ngx_http_sio_ws_fail(ws, SIO_WS_PROTOCOL_ERROR,
                                    "invalid frame");
    }

    if (f.opcode >= SIO_WS_CLOSE) {

        if ((uint64_t) (last - p) < f.header + f.length) {
            return NGX_AGAIN;
        }

        *pos = p + f.header + f.length;
        sio_ws_unmask(p + f.header, f.length, f.mask, 0);

        return ngx_http_sio_ws_control(ws, &f, p + f.header);
    }

    p += f.header;

    if (f.fin && !fragmented && (uint64_t) (last - p) >= f.length) {

        /* the usual case: a whole message, handled where it lies */

        *pos = p + f.length;

        data.p = p;
        data.n = f.length;

        sio_ws_unmask(p, f.length, f.mask, 0);

        if (f.opcode == SIO_WS_TEXT && !sio_utf8_valid(p, data.n)) {
            return ngx_http_sio_ws_fail(ws, SIO_WS_INVALID_PAYLOAD,
                                        "text that is not UTF-8");
        }

        return ngx_http_sio_ws_message(ws, f.opcode, data);
    }

    if (in == NULL) {
        in = ngx_calloc(sizeof(ngx_http_sio_ws_input_t), ws->conf->log);
        if (in == NULL) {
            ngx_sio_count(memory_errors);
            return ngx_http_sio_ws_fail(ws, SIO_WS_INTERNAL, "no memory");
        }

        ws->input = in;
    }

    if (!fragmented) {
        in->opcode = f.opcode;
        in->len = 0;
        ngx_memzero(&in->utf8, sizeof(sio_utf8_t));
    }

    in->frame = f;
    in->got = 0;
    in->in_frame = 1;

    *pos = p;

    return ngx_http_sio_ws_fragment(ws, pos, last);
}


/* the payload, or the next piece of it, of a frame that is put together */

static ngx_int_t
ngx_http_sio_ws_fragment(ngx_http_sio_ws_t *ws, u_char **pos, u_char *last)
{
    size_t                    n;
    u_char                   *p;
    sio_rc_t                  rc;
    ngx_int_t                 result;
    sio_span_t                data;
    ngx_http_sio_ws_input_t  *in;

    in = ws->input;
    p = *pos;

    n = ngx_min((uint64_t) (last - p), in->frame.length - in->got);

    sio_ws_unmask(p, n, in->frame.mask, in->got);

    rc = SIO_OK;

    if (in->opcode == SIO_WS_TEXT) {
        rc = sio_utf8_check(&in->utf8, p, n);

        if (rc == SIO_EUTF8) {
            goto invalid;
        }
    }

    if (ngx_http_sio_ws_append(ws, p, n) != NGX_OK) {
        return ngx_http_sio_ws_fail(ws, SIO_WS_INTERNAL, "no memory");
    }

    *pos = p + n;
    in->got += n;

    if (in->got < in->frame.length) {
        return NGX_OK;
    }

    in->in_frame = 0;
    in->fragmented = !in->frame.fin;

    if (in->fragmented) {
        return NGX_OK;
    }

    if (in->opcode == SIO_WS_TEXT && in->utf8.need) {
        goto invalid;
    }

    /* the message goes with this call, input with the last of them */

    data.p = in->message;
    data.n = in->len;

    in->message = NULL;
    in->len = 0;
    in->size = 0;

    result = ngx_http_sio_ws_message(ws, in->opcode, data);

    if (data.p) {
        ngx_free(data.p);
    }

    return result;

invalid:

    return ngx_http_sio_ws_fail(ws, SIO_WS_INVALID_PAYLOAD,
                                "text that is not UTF-8");
}


/* memory grows with what has come, not with what is announced */

static ngx_int_t
ngx_http_sio_ws_append(ngx_http_sio_ws_t *ws, u_char *p, size_t n)
{
    size_t                    size;
    u_char                   *message;
    ngx_http_sio_ws_input_t  *in;

    in = ws->input;

    if (n == 0) {
        return NGX_OK;
    }

    if (in->len + n > in->size) {
        size = ngx_max(2 * in->size, in->len + n);
        size = ngx_min(size, ws->conf->max_payload);
        size = ngx_max(size, 256);

        message = realloc(in->message, size);
        if (message == NULL) {
            ngx_sio_count(memory_errors);
            return NGX_ERROR;
        }

        in->message = message;
        in->size = size;
    }

    ngx_memcpy(in->message + in->len, p, n);
    in->len += n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sio_ws_control(ngx_http_sio_ws_t *ws, sio_ws_frame_t *f,
    u_char *payload)
{
    uint16_t    code;
    sio_span_t  data;

    data.p = payload;
    data.n = f->length;

    switch (f->opcode) {

    case SIO_WS_PING:
        return ngx_http_sio_ws_reply(ws, SIO_WS_PONG, data);

    case SIO_WS_PONG:
        return NGX_OK;

    default: /* SIO_WS_CLOSE */
        break;
    }

    switch (sio_ws_decode_close(data, &code)) {

    case SIO_OK:
        break;

    case SIO_EUTF8:
        return ngx_http_sio_ws_fail(ws, SIO_WS_INVALID_PAYLOAD,
                                    "close reason that is not UTF-8");
    default:
        return ngx_http_sio_ws_fail(ws, SIO_WS_PROTOCOL_ERROR,
                                    "invalid close frame");
    }

    ws->peer_closed = 1;

    if (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN) {
        ws->session->close_code = code;
        ngx_sio_session_close(ws->session, NGX_SIO_TRANSPORT_CLOSE);

    } else {
        ngx_http_sio_ws_let_go(ws, code);
    }

    return NGX_ABORT;
}


static ngx_int_t
ngx_http_sio_ws_message(ngx_http_sio_ws_t *ws, ngx_uint_t opcode,
    sio_span_t data)
{
    sio_eio_packet_t  p;

    if (ws->state == NGX_HTTP_SIO_WS_STATE_PROBE) {
        return ngx_http_sio_ws_probe(ws, opcode, data);
    }

    if (opcode == SIO_WS_BINARY) {
        p.type = SIO_EIO_BINARY;
        p.data = data;

    } else if (sio_eio_decode(data, &p) != SIO_OK) {
        ngx_sio_count(parse_errors);
        ngx_sio_session_log(NGX_LOG_INFO, ws->session,
                            "client sent an invalid Engine.IO packet");
        ngx_sio_session_close(ws->session, NGX_SIO_PARSE_ERROR);
        return NGX_ABORT;
    }

    return ngx_sio_session_packet(ws->session, &p);
}


/* a new transport that is not the session's yet */

static ngx_int_t
ngx_http_sio_ws_probe(ngx_http_sio_ws_t *ws, ngx_uint_t opcode,
    sio_span_t data)
{
    ngx_connection_t   *c;
    ngx_sio_session_t  *s;

    c = ws->connection;
    s = ws->session;

    if (opcode == SIO_WS_TEXT && sio_span_eq(data, sio_span("2probe"))) {

        if (ws->handover) {
            ngx_sio_handover_probed(ws->handover);

        } else if (!c->write->timer_set) {
            ngx_add_timer(c->write, NGX_HTTP_SIO_WS_CHECK);
        }

        return ngx_http_sio_ws_reply(ws, SIO_WS_TEXT, sio_span("3probe"));
    }

    if (opcode == SIO_WS_TEXT && data.n && data.p[0] == SIO_EIO_UPGRADE) {

        if (ws->handover) {
            return ngx_http_sio_ws_take(ws);
        }

        if (s->state != NGX_SIO_SESSION_OPEN) {

            /* it ended meanwhile: the client learns it here */

            ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
            ngx_sio_session_close(s, NGX_SIO_FORCED_CLOSE);
            return NGX_ABORT;
        }

        if (c->write->timer_set) {
            ngx_del_timer(c->write);
        }

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        ngx_http_sio_ws_set_state(ws, NGX_HTTP_SIO_WS_STATE_OPEN);
        ngx_sio_count(websockets);
        ngx_sio_session_upgrade(s);

        return NGX_OK;
    }

    ngx_http_sio_ws_log(NGX_LOG_INFO, ws,
                        "client sent an unexpected packet in an upgrade");
    ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);

    return NGX_ABORT;
}


/* from here on the session comes or has ended: there is no other way */

static ngx_int_t
ngx_http_sio_ws_take(ngx_http_sio_ws_t *ws)
{
    if (ngx_sio_handover_take(ws->handover) != NGX_OK) {
        return ngx_http_sio_ws_fail(ws, SIO_WS_INTERNAL, "no memory");
    }

    ngx_http_sio_ws_set_state(ws, NGX_HTTP_SIO_WS_STATE_TAKING);
    ngx_add_timer(ws->connection->read, ws->conf->upgrade_timeout);

    return NGX_OK;
}


static ngx_sio_session_t *
ngx_http_sio_ws_install(void *data, sio_in_t *in)
{
    ngx_http_sio_ws_t *ws = data;

    ngx_sio_session_t  *s;

    s = ngx_sio_session_import(ws->conf->app,
                               &ngx_http_sio_websocket_transport, ws, in);
    if (s == NULL) {
        ngx_http_sio_ws_log(NGX_LOG_WARN, ws,
                            "a session from another worker is lost");
        return NULL;
    }

    ws->conf = s->conf;

    return s;
}


static void
ngx_http_sio_ws_settled(void *data, ngx_sio_session_t *s, ngx_uint_t failed)
{
    ngx_http_sio_ws_t *ws = data;

    if (ws->connection->read->timer_set) {
        ngx_del_timer(ws->connection->read);
    }

    ws->handover = NULL;
    ws->session = s;

    ngx_http_sio_ws_set_state(ws, NGX_HTTP_SIO_WS_STATE_OPEN);

    ngx_sio_count(websockets);
    ngx_sio_count(upgrades);

    if (ws->dead) {
        ngx_http_sio_ws_gone(ws);
        return;
    }

    if (failed) {
        ngx_sio_session_close(s, NGX_SIO_TRANSPORT_ERROR);
        return;
    }

    if (ngx_sio_exit_ended()) {
        ngx_sio_session_close(s, NGX_SIO_SHUTTING_DOWN);
        return;
    }

    if (s->out.head) {
        ngx_sio_session_post(s);
    }

    ngx_post_event(ws->connection->read, &ngx_posted_events);
}


/* the session ended where it was */

static void
ngx_http_sio_ws_deserted(void *data)
{
    ngx_http_sio_ws_t *ws = data;

    ws->handover = NULL;

    if (ws->state != NGX_HTTP_SIO_WS_STATE_ACCEPTING) {
        ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
    }
}


/* has a poll that waits return, so that the client can stop polling */

static void
ngx_http_sio_ws_check(ngx_http_sio_ws_t *ws)
{
    ngx_sio_session_t  *s;

    if (ws->state != NGX_HTTP_SIO_WS_STATE_PROBE) {
        return;
    }

    s = ws->session;

    if (s->transport->writable(s)) {
        ngx_sio_session_send(s, &ngx_sio_msg_noop, 0);
    }

    ngx_add_timer(ws->connection->write, NGX_HTTP_SIO_WS_CHECK);
}


/* RFC 6455, 7.1.7: fail the connection, with a code */

static ngx_int_t
ngx_http_sio_ws_fail(ngx_http_sio_ws_t *ws, ngx_uint_t code,
    const char *what)
{
    if (code != SIO_WS_TOO_BIG && code != SIO_WS_INTERNAL) {
        ngx_sio_count(parse_errors);
    }

    ngx_http_sio_ws_log(NGX_LOG_INFO, ws,
                        "WebSocket failed with code %ui: %s", code, what);

    if (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN) {
        ws->session->close_code = code;
        ngx_sio_session_close(ws->session, NGX_SIO_TRANSPORT_ERROR);

    } else {
        ngx_http_sio_ws_let_go(ws, code);
    }

    return NGX_ABORT;
}


static void
ngx_http_sio_ws_free_input(ngx_http_sio_ws_t *ws)
{
    ngx_http_sio_ws_input_t  *in;

    in = ws->input;

    if (in == NULL) {
        return;
    }

    if (in->raw) {
        ngx_free(in->raw);
    }

    if (in->message) {
        free(in->message);
    }

    ngx_free(in);
    ws->input = NULL;
}


/* a frame that is the transport's own, behind what is queued */

static ngx_int_t
ngx_http_sio_ws_reply(ngx_http_sio_ws_t *ws, ngx_uint_t opcode,
    sio_span_t data)
{
    ngx_int_t         rc;
    ngx_sio_msg_t    *m;
    ngx_sio_queue_t   q;

    m = ngx_sio_msg_frame(opcode, data);
    if (m == NULL) {
        return ngx_http_sio_ws_fail(ws, SIO_WS_INTERNAL, "no memory");
    }

    if (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN) {
        ngx_sio_session_send(ws->session, m, 0);
        ngx_sio_msg_unref(m);

        return ws->session->state == NGX_SIO_SESSION_OPEN ? NGX_OK : NGX_ABORT;
    }

    /* a probe has no queue: what does not leave at once, never will */

    ngx_memzero(&q, sizeof(ngx_sio_queue_t));

    rc = ngx_sio_queue_push(&q, m);
    ngx_sio_msg_unref(m);

    if (rc == NGX_OK) {
        rc = ngx_http_sio_ws_send(ws, &q);
        ngx_sio_queue_clear(&q);
    }

    if (rc != NGX_OK) {
        ngx_http_sio_ws_gone(ws);
        return NGX_ABORT;
    }

    return NGX_OK;
}


/*
 * Sends what is in q, several small messages in one write, a large one from
 * where it lies.  After NGX_AGAIN the write event calls back.  OpenSSL wants
 * an unfinished write repeated from the same place: with TLS all goes
 * through the buffer, which is filled the same way again.
 */

static ngx_int_t
ngx_http_sio_ws_send(ngx_http_sio_ws_t *ws, ngx_sio_queue_t *q)
{
    size_t             n, size, from;
    u_char            *p;
    ssize_t            sent;
    ngx_sio_msg_t     *m;
    ngx_sio_link_t    *link;
    ngx_connection_t  *c;

    c = ws->connection;

    while (q->head) {

        if (!c->write->ready) {
            goto again;
        }

        m = q->head->msg;

        p = m->data + ws->sent;
        size = m->len - ws->sent;

        if ((q->head->next && size < NGX_HTTP_SIO_WS_DIRECT) || c->ssl) {

            size = 0;
            from = ws->sent;

            for (link = q->head; link; link = link->next) {
                n = ngx_min(link->msg->len - from,
                            NGX_HTTP_SIO_WS_BUFFER - size);

                ngx_memcpy(ngx_http_sio_ws_out + size, link->msg->data + from,
                           n);
                size += n;
                from = 0;

                if (size == NGX_HTTP_SIO_WS_BUFFER) {
                    break;
                }
            }

            p = ngx_http_sio_ws_out;
        }

        sent = c->send(c, p, size);

        if (sent == NGX_AGAIN) {
            goto again;
        }

        if (sent == NGX_ERROR) {
            return NGX_ERROR;
        }

        ngx_sio_add(bytes_out, sent);
        ws->sent += sent;

        while (q->head && ws->sent >= q->head->msg->len) {
            ws->sent -= q->head->msg->len;
            ngx_sio_queue_pop(q);
        }
    }

    if (ws->blocked) {
        ws->blocked = 0;

        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;

again:

    ws->blocked = 1;

    return ngx_handle_write_event(c->write, 0) == NGX_OK ? NGX_AGAIN
                                                         : NGX_ERROR;
}


/* the peer is not there any more */

static void
ngx_http_sio_ws_gone(ngx_http_sio_ws_t *ws)
{
    ws->dead = 1;

    /* the session comes all the same, to end as it should: soon, or never */

    if (ws->state == NGX_HTTP_SIO_WS_STATE_TAKING) {
        ngx_add_timer(ws->connection->read, ws->conf->upgrade_timeout);
        return;
    }

    if (ws->session && ws->session->carrier == ws) {
        ngx_sio_session_close(ws->session, NGX_SIO_TRANSPORT_CLOSE);
        return;
    }

    ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
}


/*
 * The step to closing, with a close frame behind what is in ws->out.  An
 * upgrade that was under way is abandoned, its session polls on.
 */

static void
ngx_http_sio_ws_let_go(ngx_http_sio_ws_t *ws, ngx_uint_t code)
{
    u_char          payload[2];
    sio_span_t      data;
    ngx_sio_msg_t  *m;

    if (ws->session && ws->session->probe == ws) {
        ngx_sio_count(upgrades_abandoned);
        ws->session->probe = NULL;
    }

    if (ws->handover) {
        ngx_sio_handover_abandon(ws->handover);
        ws->handover = NULL;
    }

    ws->session = NULL;

    ngx_http_sio_ws_free_input(ws);

    if (ws->connection->read->timer_set) {
        ngx_del_timer(ws->connection->read);
    }

    if (ws->connection->write->timer_set) {
        ngx_del_timer(ws->connection->write);
    }

    ngx_http_sio_ws_set_state(ws, NGX_HTTP_SIO_WS_STATE_CLOSING);

    if (ws->dead) {
        ngx_http_sio_ws_finalize(ws);
        return;
    }

    payload[0] = (u_char) (code >> 8);
    payload[1] = (u_char) code;

    data.p = payload;
    data.n = (code == SIO_WS_NO_STATUS || code == 0) ? 0 : 2;

    m = ngx_sio_msg_frame(SIO_WS_CLOSE, data);

    if (m) {
        (void) ngx_sio_queue_push(&ws->out, m);
        ngx_sio_msg_unref(m);
    }

    ngx_add_timer(ws->connection->read, NGX_HTTP_SIO_WS_DRAIN);

    ngx_http_sio_ws_closing(ws);
}


static void
ngx_http_sio_ws_closing(ngx_http_sio_ws_t *ws)
{
    switch (ngx_http_sio_ws_send(ws, &ws->out)) {

    case NGX_OK:
        ngx_http_sio_ws_shutdown(ws->connection);
        return;

    case NGX_AGAIN:
        if (ngx_handle_read_event(ws->connection->read, 0) == NGX_OK) {
            return;
        }

        /* fall through */

    default:
        ngx_http_sio_ws_finalize(ws);
    }
}


/* shuts down our side; a close would reset what the peer has not read */

static void
ngx_http_sio_ws_shutdown(ngx_connection_t *c)
{
    ngx_http_sio_ws_t  *ws;

    ws = c->data;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_int_t  rc;

        c->ssl->shutdown_without_free = 1;

        rc = ngx_ssl_shutdown(c);

        if (rc == NGX_AGAIN) {
            c->ssl->handler = ngx_http_sio_ws_shutdown;
            return;
        }

        if (rc == NGX_ERROR || c->timedout) {
            ngx_http_sio_ws_finalize(ws);
            return;
        }

        /* waiting for OpenSSL, nginx set a timer of its own */

        ngx_add_timer(c->read, NGX_HTTP_SIO_WS_DRAIN);
    }
#endif

    c->read->handler = ngx_http_sio_ws_read_handler;
    c->write->handler = ngx_http_sio_ws_write_handler;

    ws->shut = 1;

    if (ws->peer_closed
        || ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1)
    {
        ngx_http_sio_ws_finalize(ws);
        return;
    }

    ngx_http_sio_ws_drain(ws);
}


static void
ngx_http_sio_ws_drain(ngx_http_sio_ws_t *ws)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = ws->connection;

    for (i = 0; c->read->ready && i < NGX_HTTP_SIO_WS_READS; i++) {

        n = c->recv(c, ngx_http_sio_ws_in, NGX_HTTP_SIO_WS_BUFFER);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_http_sio_ws_finalize(ws);
            return;
        }
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_sio_ws_finalize(ws);
        return;
    }

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_next_events);
    }
}


static void
ngx_http_sio_ws_finalize(ngx_http_sio_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    ngx_sio_uncount(connections);
    ngx_sio_queue_clear(&ws->out);

    ngx_free(ws);

    c->log->action = "closing WebSocket";

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
    }
#endif

    ngx_http_close_connection(c);
}


static void
ngx_http_sio_ws_set_state(ngx_http_sio_ws_t *ws,
    ngx_http_sio_ws_state_e state)
{
    if (state <= ws->state) {
        ngx_log_error(NGX_LOG_ALERT, ws->connection->log, 0,
                      "sio: WebSocket changed its state from %ui to %ui",
                      (ngx_uint_t) ws->state, (ngx_uint_t) state);
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                   "sio websocket state: %ui -> %ui",
                   (ngx_uint_t) ws->state, (ngx_uint_t) state);

    ws->state = state;
}


/* before there is a session there is its location and the connection */

static void
ngx_http_sio_ws_log(ngx_uint_t level, ngx_http_sio_ws_t *ws, const char *fmt,
    ...)
{
    u_char   *p;
    va_list   args;
    u_char    buf[NGX_MAX_ERROR_STR];

    if (ws->conf->log->log_level < level) {
        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + NGX_MAX_ERROR_STR, fmt, args);
    va_end(args);

    ngx_log_error(level, ws->conf->log, 0, "sio: %*s, client: %V",
                  (size_t) (p - buf), buf,
                  ws->session ? &ws->session->addr
                              : &ws->connection->addr_text);
}


static void
ngx_http_sio_ws_flush(ngx_sio_session_t *s)
{
    ngx_http_sio_ws_t  *ws;

    ws = s->carrier;

    if (ws->state != NGX_HTTP_SIO_WS_STATE_OPEN || ws->dead) {
        return;
    }

    if (ngx_http_sio_ws_send(ws, &s->out) == NGX_ERROR) {
        ngx_http_sio_ws_gone(ws);
    }
}


static ngx_uint_t
ngx_http_sio_ws_writable(ngx_sio_session_t *s)
{
    ngx_http_sio_ws_t  *ws;

    ws = s->carrier;

    return !ws->blocked;
}


static ngx_int_t
ngx_http_sio_ws_close(ngx_sio_session_t *s)
{
    ngx_http_sio_ws_t  *ws;

    ws = s->carrier;

    s->carrier = NULL;
    ngx_sio_uncount(websockets);

    ws->session = NULL;

    if (ws->state == NGX_HTTP_SIO_WS_STATE_ACCEPTING) {
        return NGX_OK;
    }

    if (s->silent) {
        ws->dead = 1;
    }

    /* a message that is sent in part must end before the close frame */

    ws->out = s->out;
    ngx_memzero(&s->out, sizeof(ngx_sio_queue_t));

    ngx_http_sio_ws_let_go(ws, s->close_code);

    return NGX_OK;
}


static void
ngx_http_sio_ws_abandon(ngx_sio_session_t *s)
{
    ngx_http_sio_ws_t  *ws;

    ws = s->probe;

    s->probe = NULL;
    ws->session = NULL;

    ngx_sio_count(upgrades_abandoned);

    if (ws->state != NGX_HTTP_SIO_WS_STATE_ACCEPTING) {
        ngx_http_sio_ws_let_go(ws, SIO_WS_NO_STATUS);
    }
}


static void
ngx_http_sio_ws_resume(ngx_sio_session_t *s)
{
    ngx_http_sio_ws_t  *ws;

    ws = s->carrier;

    if (ws->state == NGX_HTTP_SIO_WS_STATE_OPEN
        && !ws->connection->read->posted)
    {
        ngx_post_event(ws->connection->read, &ngx_posted_events);
    }
}
