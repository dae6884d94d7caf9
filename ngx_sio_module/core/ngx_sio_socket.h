/*
 * A socket: a session in a namespace; and the Socket.IO layer, which makes
 * sockets and events of a session's messages.
 */

#ifndef NGX_SIO_SOCKET_H
#define NGX_SIO_SOCKET_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_session.h"
#include "proto/sio_json.h"
#include "proto/sio_packet.h"


/* the rooms of a socket, but for that of its own id */

typedef struct {
    ngx_rbtree_t              tree;      /* ngx_sio_membership_t */
    ngx_rbtree_node_t         sentinel;
    ngx_uint_t                n;
} ngx_sio_rooms_t;


/* what a delivery touches stands in front, in one cache line */

struct ngx_sio_socket_s {
    ngx_queue_t               queue;     /* of the namespace */
    ngx_sio_session_t        *session;
    uint64_t                  mark;      /* of the last operation that chose
                                            or excluded it */

    unsigned                  reason:4;  /* ngx_sio_reason_t; not NONE: it
                                            leaves, nothing reaches it */
    unsigned                  held:1;    /* not admitted yet */
    unsigned                  nacks:16;

    u_char                    id[NGX_SIO_ID_LEN];

    ngx_rbtree_node_t         node;      /* of the registry */
    ngx_sio_socket_t         *next;      /* of the session */
    ngx_sio_nsp_t            *nsp;
    ngx_sio_nsp_conf_t       *conf;
    ngx_sio_rooms_t          *rooms;     /* NULL if there never was one */
    ngx_str_t                *auth;      /* JSON object, if a rule needs it */
    ngx_str_t                *data;      /* its own, see ngx_sio_data.h */
    ngx_sio_ack_t            *acks;      /* awaited of it */

    void                     *backlog;   /* the application's own */
    uint64_t                  seq;       /* of its requests */
};


/* something a client says in a namespace, complete with its attachments */

typedef struct {
    sio_span_t                json;      /* ["name",args...] as received;
                                            sio_parser none: empty */
    sio_span_t                token;     /* the name as it stands in json: a
                                            string or a number */

    sio_span_t               *attachments;
    ngx_uint_t                n;
    ngx_uint_t                in_order;  /* the placeholders are 0, 1, ...
                                            n - 1, each once */

    ngx_uint_t                has_ack;
    uint64_t                  ack;

    ngx_uint_t                opaque;    /* sio_parser none: the only argument
                                            is data, text or binary */
    ngx_uint_t                binary;
    sio_span_t                data;
} ngx_sio_event_t;


/*
 * The seam to what answers: rules and backends.  The functions get sockets
 * that live until disconnect, abandon or drop.
 */

struct ngx_sio_application_s {
    /*
     * A client wants to be in a namespace; sk is not in it yet.  Calls
     * ngx_sio_socket_admit or ngx_sio_socket_refuse; or ngx_sio_socket_hold
     * and one of them later.
     *
     * takes    auth: what the client claims to be, a JSON object or empty
     */
    void  (*connect)(ngx_sio_socket_t *sk, sio_span_t auth);

    /* an event, borrowed; may close sk and its session */
    void  (*event)(ngx_sio_socket_t *sk, ngx_sio_event_t *ev);

    /* sk leaves for sk->reason; it still is in its rooms */
    void  (*disconnect)(ngx_sio_socket_t *sk);

    /* sk is held and its session ends, for sk->reason */
    void  (*abandon)(ngx_sio_socket_t *sk);

    /*
     * For a socket that changes its worker: writes what the application has
     * of it, restores that there (NGX_ERROR if it is not valid or there is no
     * memory), frees it here.
     */
    void        (*export_)(ngx_sio_socket_t *sk, sio_out_t *o);
    ngx_int_t   (*import_)(ngx_sio_socket_t *sk, sio_in_t *in);
    void        (*drop)(ngx_sio_socket_t *sk);
};


/* the Socket.IO layer (sio_parser json) and plain messages (none) */

extern const ngx_sio_user_t  ngx_sio_socket_user;
extern const ngx_sio_user_t  ngx_sio_plain_user;


/*
 * Prepares the layer in a worker; called once, in the worker.
 *
 * returns  NGX_ERROR if there is no memory
 */
ngx_int_t ngx_sio_socket_init(ngx_cycle_t *cycle);

/* Gives back what ngx_sio_socket_init took. */
void ngx_sio_socket_done(void);

/*
 * Creates a JSON validator in the process's memory; the caller destroys it.
 *
 * takes    log: lives as long as the validator
 * returns  NULL if there is no memory
 */
sio_json_t *ngx_sio_socket_create_json(ngx_log_t *log);

/*
 * Keeps sk, which waits for being admitted or refused.
 */
void ngx_sio_socket_hold(ngx_sio_socket_t *sk);

/*
 * Puts sk in its namespace and answers the client's CONNECT.
 *
 * may      close the session at the limit of its queue
 */
void ngx_sio_socket_admit(ngx_sio_socket_t *sk);

/*
 * Refuses the client's CONNECT and frees sk.
 *
 * takes    json: the object of the CONNECT_ERROR, borrowed
 */
void ngx_sio_socket_refuse(ngx_sio_socket_t *sk, sio_span_t json);

/*
 * Has sk leave its namespace.  From here on nothing reaches it; it is freed,
 * after its disconnect rules, at the end of the event loop's turn.
 * Idempotent.
 *
 * may      send a DISCONNECT packet if the reason is SERVER_DISCONNECT
 */
void ngx_sio_socket_close(ngx_sio_socket_t *sk, ngx_sio_reason_t reason);

/*
 * Disconnects all sockets of a session, each with a packet, then closes it.
 * Idempotent.
 */
void ngx_sio_socket_close_session(ngx_sio_session_t *s);

/*
 * Rewrites JSON so that its placeholders are numbered in their order, and
 * picks the attachments that they name, as a Socket.IO encoder would.
 *
 * takes    in: valid JSON whose placeholders refer to attachments
 *          out: set to memory of pool
 *          picked: room for max spans; *n is set to their number
 * returns  NGX_OK, NGX_DECLINED if there are more than max, NGX_ERROR
 */
ngx_int_t ngx_sio_socket_renumber(sio_span_t in, sio_span_t *attachments,
    ngx_uint_t nattachments, ngx_pool_t *pool, sio_span_t *out,
    sio_span_t *picked, ngx_uint_t max, ngx_uint_t *n);

/* Tells if name is the id of sk. */

static ngx_inline ngx_uint_t
ngx_sio_socket_is(ngx_sio_socket_t *sk, sio_span_t name)
{
    return name.n == NGX_SIO_ID_LEN
           && ngx_memcmp(sk->id, name.p, NGX_SIO_ID_LEN) == 0;
}


#endif /* NGX_SIO_SOCKET_H */
