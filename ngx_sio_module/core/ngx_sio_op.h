/*
 * Operations: the one currency of the system.  Rules make them, later
 * backends, the HTTP API, the bus and Redis too; one function applies them.
 */

#ifndef NGX_SIO_OP_H
#define NGX_SIO_OP_H

#include "core/ngx_sio.h"


typedef enum {
    NGX_SIO_OP_EMIT = 0,
    NGX_SIO_OP_ACK,
    NGX_SIO_OP_JOIN,
    NGX_SIO_OP_LEAVE,
    NGX_SIO_OP_DISCONNECT
} ngx_sio_op_type_e;


/* whom an operation is for, before the exceptions */

typedef enum {
    NGX_SIO_TO_ROOMS = 0,            /* the sockets in any of rooms */
    NGX_SIO_TO_ALL,                  /* the whole namespace */
    NGX_SIO_TO_SENDER
} ngx_sio_op_target_e;


struct ngx_sio_op_s {
    ngx_sio_op_type_e     type;
    ngx_sio_op_target_e   target;

    ngx_sio_app_t        *app;
    ngx_str_t             nsp;

    ngx_sio_socket_t     *sender;    /* NULL if there is none here */

    ngx_str_t            *rooms;     /* ids of sockets are rooms too */
    ngx_uint_t            nrooms;
    ngx_str_t            *except;
    ngx_uint_t            nexcept;

    unsigned              except_sender:1;
    unsigned              volatil:1;
    unsigned              local:1;   /* EMIT: not beyond this machine */
    unsigned              close:1;   /* DISCONNECT: the session too */
    unsigned              opaque:1;  /* EMIT: json is a plain message */
    unsigned              binary:1;  /* with opaque */

    /* EMIT, ACK: a JSON array, for EMIT with the event's name in front */

    sio_span_t            json;
    sio_span_t           *attachments;
    ngx_uint_t            nattachments;
    uint64_t              ack;       /* ACK: the client's id */

    /* JOIN, LEAVE */

    ngx_str_t            *names;
    ngx_uint_t            nnames;
    ngx_uint_t            max_rooms; /* 0: no limit */
};


/*
 * Applies an operation to the sockets of this worker.
 *
 * takes    op: borrowed with all that it points to
 * returns  the number of sockets that it was for
 * may      close sockets and sessions; none is freed before the event loop's
 *          turn ends
 */
ngx_uint_t ngx_sio_op_apply(ngx_sio_op_t *op);


#endif /* NGX_SIO_OP_H */
