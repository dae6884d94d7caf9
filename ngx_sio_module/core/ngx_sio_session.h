/*
 * An Engine.IO session: a client, whatever transport carries it now.
 */

#ifndef NGX_SIO_SESSION_H
#define NGX_SIO_SESSION_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_msg.h"
#include "core/ngx_sio_registry.h"
#include "proto/sio_eio.h"
#include "proto/sio_wire.h"


typedef enum {
    NGX_SIO_SESSION_OPEN = 0,
    NGX_SIO_SESSION_CLOSING,      /* the reason stands, the rest is posted */
    NGX_SIO_SESSION_LINGERING     /* ended, but the client did not fetch the
                                     close packet yet */
} ngx_sio_session_state_e;


/*
 * The seam to the transports.  None of these functions frees s or calls back
 * into the session but for ngx_sio_session_close.
 */

typedef struct {
    const char   *name;

    /* sends what is in s->out, as far as it goes */
    void        (*flush)(ngx_sio_session_t *s);

    /* tells if a packet given now would leave at once */
    ngx_uint_t  (*writable)(ngx_sio_session_t *s);

    /*
     * Ends the transport with s->reason: sends what is in s->out and a close
     * packet as far as the reason permits, and lets go of s and s->carrier.
     * NGX_AGAIN: the client must still fetch its close packet, s->carrier
     * stays.
     */
    ngx_int_t   (*close)(ngx_sio_session_t *s);

    /* lets go of s and s->carrier: another transport took over */
    void        (*release)(ngx_sio_session_t *s);

    /* drops an upgrade that has not been completed: s->probe */
    void        (*abandon)(ngx_sio_session_t *s);

    /* s->paused is 0 again: works off what has come, in an event */
    void        (*resume)(ngx_sio_session_t *s);
} ngx_sio_transport_t;


/*
 * The seam to what Engine.IO's messages are for: the Socket.IO layer, or
 * none.
 */

struct ngx_sio_user_s {
    /*
     * Handles a message.  data is borrowed until return and may be changed.
     * It may close s.  NGX_OK, or NGX_ABORT: s is closing, drop the rest.
     */
    ngx_int_t   (*message)(ngx_sio_session_t *s, sio_span_t data,
                           ngx_uint_t binary);

    /* the session was opened; it may close s */
    void        (*open)(ngx_sio_session_t *s);

    /* removes what has left since the last turn; called from the turn */
    void        (*sweep)(ngx_sio_session_t *s);

    /*
     * For a session that changes its worker: writes what it has here;
     * restores that in a new session, NGX_ERROR if it is not valid or there
     * is no memory; frees it without a word to anybody.
     */
    void        (*export_)(ngx_sio_session_t *s, sio_out_t *o);
    ngx_int_t   (*import_)(ngx_sio_session_t *s, sio_in_t *in);
    void        (*drop)(ngx_sio_session_t *s);

    /* the session ended with s->reason; frees all that it has there */
    void        (*close)(ngx_sio_session_t *s);
};


/*
 * What a session was given before it came to this worker: of the origin's
 * numbered operations those up to number.
 */

typedef struct {
    ngx_sio_origin_t              origin;
    uint64_t                      number;
} ngx_sio_floor_t;


/* a binary packet whose attachments have not all come */

typedef struct ngx_sio_partial_s  ngx_sio_partial_t;


/* what a delivery touches stands in front, in one cache line */

struct ngx_sio_session_s {
    ngx_queue_t                   turn;
    ngx_sio_queue_t               out;           /* bound: conf->max_queue */
    const ngx_sio_transport_t    *transport;
    void                         *carrier;       /* the transport's own */

    unsigned                      state:2;       /* ngx_sio_session_state_e */
    unsigned                      reason:4;      /* ngx_sio_reason_t */
    unsigned                      posted:1;
    unsigned                      awaiting_pong:1;
    unsigned                      connected:1;   /* ever had a socket */
    unsigned                      sweep:1;       /* a socket has left */
    unsigned                      silent:1;      /* no packet may be sent */
    unsigned                      floored:1;     /* there are floors */
    unsigned                      taken:1;       /* another worker wants it */
    unsigned                      foreign:1;     /* it came from another one */
    unsigned                      warned_rooms:1;    /* logged once each */
    unsigned                      warned_namespaces:1;
    unsigned                      warned_auth:1;
    unsigned                      warned_acks:1;
    unsigned                      throttled:1;   /* paused since the ping */
    unsigned                      ndata:8;
    uint16_t                      paused;        /* by how many sockets */
    uint16_t                      close_code;    /* of a WebSocket, or 0 */

    const ngx_sio_conf_t         *conf;
    ngx_sio_socket_t             *sockets;       /* bound, with held: */
    ngx_sio_socket_t             *held;          /* max_namespaces */
    ngx_sio_partial_t            *partial;       /* bound: max_payload */

    const ngx_sio_transport_t    *probe_transport;
    void                         *probe;         /* of an upgrade under way */

    ngx_sio_floor_t              *floors;        /* bound: live workers */
    ngx_uint_t                    nfloors;

    ngx_str_t                     addr;          /* the client's, as text */
    ngx_str_t                    *data;          /* values of sio_data */
    ngx_str_t                     handshake;     /* JSON, if a handler is told
                                                    of it */

    ngx_msec_t                    ping_due;      /* the next ping or, if one
                                                    was sent, its deadline */
    ngx_msec_t                    connect_due;

    ngx_rbtree_node_t             node;          /* of the registry */
    ngx_event_t                   timer;

    u_char                        sid[NGX_SIO_SID_LEN];
};


/* Prepares sessions in a worker; called once, in the worker. */
void ngx_sio_session_init(ngx_cycle_t *cycle);

/*
 * Opens a session, registers it and starts its heartbeat.
 *
 * takes    addr: the client's address as text, copied
 *          data: n values of sio_data, copied; n is at most 255
 *          handshake: JSON or empty, copied
 * owns     carrier belongs to the transport
 * returns  NULL if there is no memory or ngx_sio_session_full (counted)
 * may      call the user's open, which may close s
 */
ngx_sio_session_t *ngx_sio_session_create(const ngx_sio_conf_t *conf,
    const ngx_sio_transport_t *transport, void *carrier, ngx_str_t *addr,
    ngx_str_t *data, ngx_uint_t n, ngx_str_t *handshake);

/*
 * Tells if no further session can be taken: there are as many as
 * worker_connections, or the connections left are kept for the links to
 * other workers (logged, counted).
 *
 * takes    addr: the client's address as text
 */
ngx_uint_t ngx_sio_session_full(const ngx_sio_conf_t *conf, ngx_str_t *addr);

/* is told of the end of each session that came from another worker */

extern void  (*ngx_sio_session_on_end)(ngx_sio_session_t *s);

/* connections that sessions must leave free */

extern ngx_uint_t  ngx_sio_session_reserve;

/* Writes all that a session is, for another worker; nothing has just left. */
void ngx_sio_session_export(ngx_sio_session_t *s, sio_out_t *o);

/*
 * Makes a session of what another worker wrote, of the location where it was
 * opened.  It is not flushed yet.
 *
 * takes    transport, carrier: as for ngx_sio_session_create
 *          in: borrowed
 * returns  NULL if there is no memory (counted), there is no such location
 *          (logged) or in is not valid
 */
ngx_sio_session_t *ngx_sio_session_import(ngx_sio_app_t *app,
    const ngx_sio_transport_t *transport, void *carrier, sio_in_t *in);

/*
 * Frees a session that another worker has now; its transport lets go of it,
 * no rule runs.
 *
 * takes    s: open, without a probe
 */
void ngx_sio_session_leave(ngx_sio_session_t *s);

/*
 * Sets what a session was given before it came.
 *
 * takes    floors: n of them, copied
 * returns  NGX_ERROR if there is no memory (counted)
 */
ngx_int_t ngx_sio_session_set_floors(ngx_sio_session_t *s,
    ngx_sio_floor_t *floors, ngx_uint_t n);

/*
 * Tells if a session is still to be given a numbered operation; a floor that
 * was passed is dropped.
 */
ngx_uint_t ngx_sio_session_due(ngx_sio_session_t *s, ngx_sio_origin_t origin,
    uint64_t number);

/*
 * Appends the open packet of s (Engine.IO 4, handshake).
 *
 * takes    upgrade: 1 if the client may upgrade to a WebSocket
 */
void ngx_sio_session_encode_open(ngx_sio_session_t *s, ngx_uint_t upgrade,
    sio_out_t *o);

/*
 * Handles an Engine.IO packet from the client.
 *
 * takes    p: data is borrowed until return and may be changed; a binary
 *          message has the type SIO_EIO_BINARY
 * returns  NGX_OK, or NGX_ABORT if s is closing: drop what follows
 * may      close s
 */
ngx_int_t ngx_sio_session_packet(ngx_sio_session_t *s, sio_eio_packet_t *p);

/*
 * Queues a message; it leaves at the end of the event loop's turn.
 *
 * takes    volatil: drop it if it can't leave at once
 * owns     takes a reference of its own
 * may      close s at the limit of its queue
 */
void ngx_sio_session_send(ngx_sio_session_t *s, ngx_sio_msg_t *m,
    ngx_uint_t volatil);

/* Has the transport flush s at the end of the event loop's turn. */
void ngx_sio_session_post(ngx_sio_session_t *s);

/*
 * Tells if enough was done in this turn of the event loop, by all clients
 * together, or if others must keep up first: who has more to do posts itself
 * to the next one.
 */
ngx_uint_t ngx_sio_session_busy(void);

/* what else was done, in units of a packet's cost */

extern uint64_t  ngx_sio_session_effort;

/* Tells the former alone. */
ngx_uint_t ngx_sio_session_worked(void);

/* tells the latter; NULL: never */

extern ngx_uint_t  (*ngx_sio_session_congested)(void);

/*
 * Ends a session: the only way.  Records the reason and posts the rest: the
 * user's close, the transport's, freeing.  Idempotent.
 *
 * may      nothing else before it returns; s stays valid until the event
 *          loop's turn ends
 */
void ngx_sio_session_close(ngx_sio_session_t *s, ngx_sio_reason_t reason);

/*
 * Frees a session in the state LINGERING, or makes its transport do without
 * what it waits for.  s must not be used any more.
 */
void ngx_sio_session_destroy(ngx_sio_session_t *s);

/*
 * Replaces the transport of s by its probe; the old one lets go of s.  What
 * is queued goes out on the new one.
 *
 * takes    s->probe_transport and s->probe, which become the transport
 */
void ngx_sio_session_upgrade(ngx_sio_session_t *s);

/*
 * One more socket of s, or one less, can't take what its client sends: the
 * transport works off nothing that has come and reads no more.  A client of
 * which nothing is read is sent pings, and is not expected to answer them.
 *
 * may      resume: close s, not before it returns
 */
void ngx_sio_session_pause(ngx_sio_session_t *s);
void ngx_sio_session_resume(ngx_sio_session_t *s);

/* The client proved to be of use: its connect timeout ends. */
void ngx_sio_session_connected(ngx_sio_session_t *s);

/*
 * Logs through the location's log, with the client's address and never with
 * the sid.
 */
void ngx_sio_session_log(ngx_uint_t level, ngx_sio_session_t *s,
    const char *fmt, ...);


#endif /* NGX_SIO_SESSION_H */
