/*
 * Operations as they travel between workers.
 */

#ifndef SIO_OP_H
#define SIO_OP_H

#include "proto/sio_base.h"


typedef enum {
    SIO_OP_EMIT = 0,
    SIO_OP_ACK,
    SIO_OP_JOIN,
    SIO_OP_LEAVE,
    SIO_OP_DISCONNECT,
    SIO_OP_DATA,
    SIO_OP_FETCH,                /* questions: what sockets are there, */
    SIO_OP_ROOMS,                /* in which rooms, */
    SIO_OP_COUNT,                /* how many, */
    SIO_OP_ASK,                  /* an EMIT to be acknowledged: by how many */
    SIO_OP_N
} sio_op_type_t;


/* whom an operation is for, before the exceptions */

typedef enum {
    SIO_TO_ROOMS = 0,            /* the sockets in any of rooms */
    SIO_TO_ALL,                  /* the whole namespace */
    SIO_TO_SOCKETS,              /* those with these ids: rooms has them */
    SIO_TO_SENDER,               /* never leaves its worker */
    SIO_TO_N
} sio_op_target_t;


typedef struct {
    sio_op_type_t    type;
    sio_op_target_t  target;     /* not SENDER */

    unsigned         volatil:1;
    unsigned         local:1;    /* EMIT: not beyond this machine */
    unsigned         close:1;    /* DISCONNECT: the session too */
    unsigned         opaque:1;   /* EMIT: json is a plain message */
    unsigned         binary:1;   /* with opaque */

    uint64_t         id;         /* a question's */
    uint32_t         timeout;    /* ASK: milliseconds */

    sio_span_t       app;
    sio_span_t       nsp;
    sio_span_t       json;

    sio_span_t      *rooms;
    sio_span_t      *except;
    sio_span_t      *names;      /* JOIN, LEAVE: rooms; ASK: who is told */
    sio_span_t      *attachments;

    uint32_t         nrooms;
    uint32_t         nexcept;
    uint32_t         nnames;
    uint32_t         nattachments;
} sio_op_t;


/* Appends op. */
void sio_op_encode(sio_out_t *o, const sio_op_t *op);

/*
 * Tells how many items all lists of an encoded operation have together.
 *
 * returns  SIO_OK, or SIO_EINVAL: sio_op_decode would refuse it too, *n is
 *          not of use
 */
sio_rc_t sio_op_count(sio_span_t in, size_t *n);

/*
 * Decodes an operation.
 *
 * takes    in: borrowed by op
 *          items: room for as many spans as sio_op_count says, borrowed by op
 * returns  SIO_OK, or SIO_EINVAL: op and items are not of use
 */
sio_rc_t sio_op_decode(sio_span_t in, sio_op_t *op, sio_span_t *items);


#endif /* SIO_OP_H */
