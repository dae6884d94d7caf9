/*
 * Acknowledgements that the server asked for: of whom they are awaited in
 * this worker.  Nobody but who was asked can answer, and once.
 */

#ifndef NGX_SIO_ACK_H
#define NGX_SIO_ACK_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_op.h"
#include "core/ngx_sio_socket.h"


/* an emit, and who of this worker has not acknowledged it yet */

typedef struct {
    ngx_rbtree_node_t        node;       /* key: id */
    uint64_t                 id;         /* of the packet */
    ngx_sio_origin_t         asker;
    ngx_str_t                token;      /* with the handler that is told */
    ngx_str_t                handler;    /* empty: none, only the asker */
    ngx_queue_t              acks;       /* ngx_sio_ack_t */
    ngx_event_t              timer;
} ngx_sio_awaited_t;


struct ngx_sio_ack_s {
    ngx_queue_t              queue;      /* of the emit */
    ngx_sio_ack_t           *next;       /* of the socket */
    ngx_sio_socket_t        *socket;
    ngx_sio_awaited_t       *awaited;
};


/*
 * The seam to who wants to know: sk has acknowledged.  ev has the arguments
 * in json, a whole array; all is borrowed.  It may close sk.
 */

extern void  (*ngx_sio_ack_handler)(ngx_sio_socket_t *sk,
    ngx_sio_awaited_t *awaited, ngx_sio_event_t *ev);


/* Prepares the layer in a worker. */
void ngx_sio_ack_init(void);

/* Frees all that is awaited. */
void ngx_sio_ack_done(void);

/*
 * An emit goes to sk, which has op->timeout to acknowledge it.  If there is
 * no memory, or too much is awaited of sk (counted), its answer will be one
 * that nobody waits for.
 *
 * takes    op: ASK; copied
 */
void ngx_sio_ack_expect(ngx_sio_socket_t *sk, ngx_sio_op_t *op);

/*
 * A client acknowledges; one that nobody waits for is counted.
 *
 * may      call ngx_sio_ack_handler
 */
void ngx_sio_ack_receive(ngx_sio_socket_t *sk, uint64_t id,
    ngx_sio_event_t *ev);

/* Forgets what is awaited of sk, which goes. */
void ngx_sio_ack_forget(ngx_sio_socket_t *sk);

/*
 * For a socket that changes its worker: writes what is awaited of it, and
 * restores it there.
 *
 * returns  NGX_ERROR if in is not valid or there is no memory (counted)
 */
void ngx_sio_ack_export(ngx_sio_socket_t *sk, sio_out_t *o);
ngx_int_t ngx_sio_ack_import(ngx_sio_socket_t *sk, sio_in_t *in);


#endif /* NGX_SIO_ACK_H */
