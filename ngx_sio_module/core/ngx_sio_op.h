/*
 * Operations: the one currency of the system.  Rules make them, later
 * backends, the HTTP API, the bus and Redis too; one function applies them.
 */

#ifndef NGX_SIO_OP_H
#define NGX_SIO_OP_H

#include "core/ngx_sio.h"
#include "proto/sio_op.h"


struct ngx_sio_op_s {
    sio_op_type_t         type;
    sio_op_target_t       target;

    ngx_sio_app_t        *app;
    ngx_str_t             nsp;

    ngx_sio_socket_t     *sender;    /* NULL if there is none here */

    sio_span_t           *rooms;     /* ids of sockets are rooms too; for
                                        SOCKETS they are nothing else */
    ngx_uint_t            nrooms;
    sio_span_t           *except;
    ngx_uint_t            nexcept;

    unsigned              except_sender:1;
    unsigned              volatil:1;
    unsigned              local:1;   /* EMIT: not beyond this machine */
    unsigned              close:1;   /* DISCONNECT: the session too */
    unsigned              opaque:1;  /* EMIT: json is a plain message */
    unsigned              binary:1;  /* with opaque */

    /*
     * EMIT, ASK, ACK: a JSON array, but for ACK with the event's name in
     * front; DATA: an object
     */

    sio_span_t            json;
    sio_span_t           *attachments;
    ngx_uint_t            nattachments;
    uint64_t              ack;       /* ACK: the client's id */

    /*
     * JOIN, LEAVE: rooms.  ASK: a token and the handler that is to get it
     * with each answer; none: the answers go to who asked
     */

    sio_span_t           *names;
    ngx_uint_t            nnames;
    ngx_uint_t            max_rooms; /* 0: no limit */

    /* questions, and ASK */

    uint64_t              id;        /* unique on this machine, so that it can
                                        be that of a packet */
    uint32_t              timeout;   /* ASK: ms */
    void                (*collect)(void *ctx, ngx_sio_socket_t *sk);
    void                 *ctx;

    /* its place among those of all workers; origin 0: it has none */

    ngx_sio_origin_t      origin;
    uint64_t              number;
};


/*
 * Applies an operation to the sockets of this worker.  A session that came
 * from another worker is left out if it was given the operation there.
 *
 * takes    op: borrowed with all that it points to
 * returns  the number of sockets that it was for
 * may      close sockets and sessions; none is freed before the event loop's
 *          turn ends
 */
ngx_uint_t ngx_sio_op_apply(ngx_sio_op_t *op);

/*
 * Applies an operation to the sockets of one session.
 *
 * takes    op: not for the SENDER
 * returns, may as ngx_sio_op_apply
 */
ngx_uint_t ngx_sio_op_apply_to(ngx_sio_op_t *op, ngx_sio_session_t *s);


#endif /* NGX_SIO_OP_H */
