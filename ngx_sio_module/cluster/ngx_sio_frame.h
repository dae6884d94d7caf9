/*
 * Frames between workers: a length of 4 bytes, a type, a body.  The length is
 * that of what follows it.
 */

#ifndef NGX_SIO_FRAME_H
#define NGX_SIO_FRAME_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_msg.h"
#include "core/ngx_sio_op.h"
#include "proto/sio_wire.h"


#define NGX_SIO_FRAME_HEADER  5                /* length, type */
#define NGX_SIO_FRAME_MAX     (256 * 1024 * 1024)


typedef enum {
    NGX_SIO_FRAME_HELLO = 0,       /* first one: version, origin, number of the
                                      last operation, which stream it is */
    NGX_SIO_FRAME_GREETED,         /* your HELLO was read: which stream's */
    NGX_SIO_FRAME_AGAIN,           /* your stream broke off, this one: begin
                                      another */
    NGX_SIO_FRAME_EXITING,         /* no new session will be here */
    NGX_SIO_FRAME_GOODBYE,         /* all are exiting: sessions end now */
    NGX_SIO_FRAME_OP,              /* a numbered operation */
    NGX_SIO_FRAME_AFTER,           /* read on when that of another is applied */

    NGX_SIO_FRAME_PROBE,           /* an upgrade: of the taker */
    NGX_SIO_FRAME_PROBED,
    NGX_SIO_FRAME_ABANDON,
    NGX_SIO_FRAME_TAKE,
    NGX_SIO_FRAME_CONSENT,         /* of the owner */
    NGX_SIO_FRAME_STATE,
    NGX_SIO_FRAME_GONE,
    NGX_SIO_FRAME_ENDED,           /* a session that had moved has ended */

    NGX_SIO_FRAME_REQUEST,         /* a polling request: of who holds it */
    NGX_SIO_FRAME_BODY,
    NGX_SIO_FRAME_FINISHED,
    NGX_SIO_FRAME_RELEASE,
    NGX_SIO_FRAME_ANSWER,          /* of the session's owner */

    NGX_SIO_FRAME_REPLY,           /* to a question */
    NGX_SIO_FRAME_ACKED,           /* a client has acknowledged */
    NGX_SIO_FRAME_RESPONSE,        /* of a backend, to who has the socket now */

    NGX_SIO_FRAME_N
} ngx_sio_frame_e;


/*
 * Makes a frame with room for n bytes, which the caller writes to o.
 *
 * owns     the result carries one reference, the caller's
 * returns  NULL if it is too large (logged) or there is no memory (counted)
 */
ngx_sio_msg_t *ngx_sio_frame(ngx_sio_frame_e type, size_t n, sio_out_t *o);

/* The bytes that a frame may have in all, set before any is made. */
void ngx_sio_frame_set_limit(size_t limit);
size_t ngx_sio_frame_limit(void);

/*
 * Encodes an operation, with its number.
 *
 * owns, returns as ngx_sio_frame
 */
ngx_sio_msg_t *ngx_sio_frame_encode_op(ngx_sio_op_t *op, uint64_t number);

/*
 * Decodes the frame of an operation.
 *
 * takes    m: borrowed by op
 * returns  NGX_DECLINED if it is of an app that is not known here; NGX_ERROR
 *          if it is not valid or there is no memory (counted); op borrows
 *          memory that the next call uses again
 */
ngx_int_t ngx_sio_frame_decode_op(ngx_sio_msg_t *m, ngx_sio_op_t *op);

/* Frees that memory. */
void ngx_sio_frame_done(void);


#endif /* NGX_SIO_FRAME_H */
