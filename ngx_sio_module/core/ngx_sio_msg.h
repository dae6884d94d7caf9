/*
 * A message: one or more Engine.IO packets, encoded once, immutable, shared
 * by all its recipients, with a form for each transport.
 */

#ifndef NGX_SIO_MSG_H
#define NGX_SIO_MSG_H

#include "core/ngx_sio.h"
#include "proto/sio_packet.h"


struct ngx_sio_msg_s {
    uint32_t          refs;
    uint32_t          header;      /* of the first frame in data */
    size_t            len;         /* of data */
    u_char           *text;        /* the polling form */
    size_t            text_len;    /* 0 with text NULL: not made yet */
    u_char           *data;        /* WebSocket frames */
    uint32_t          frames;
};


/* a FIFO of references */

typedef struct ngx_sio_link_s  ngx_sio_link_t;

struct ngx_sio_link_s {
    ngx_sio_msg_t    *msg;
    ngx_sio_link_t   *next;
};

typedef struct {
    ngx_sio_link_t   *head;
    ngx_sio_link_t   *tail;
    size_t            size;        /* what all messages cost */
} ngx_sio_queue_t;


/*
 * What a message costs in a queue: its bytes on a WebSocket and what keeps
 * them, or many small ones would cost more than any limit says.
 */

#define ngx_sio_msg_cost(m)                                                   \
    ((m)->len + sizeof(ngx_sio_msg_t) + sizeof(ngx_sio_link_t))


/* Engine.IO packets without data, never freed */

extern ngx_sio_msg_t  ngx_sio_msg_ping;
extern ngx_sio_msg_t  ngx_sio_msg_noop;


/*
 * Makes room for len bytes, which the caller writes; it sets header and
 * frames too if they are for a client.
 *
 * owns, returns as ngx_sio_msg_packet
 */
ngx_sio_msg_t *ngx_sio_msg_alloc(size_t len);

/*
 * Encodes a Socket.IO packet and its attachments as Engine.IO messages.
 *
 * takes    p: attachments must equal n
 *          attachments: n spans, borrowed
 * owns     the result carries one reference, the caller's
 * returns  NULL if there is no memory (counted)
 */
ngx_sio_msg_t *ngx_sio_msg_packet(const sio_packet_t *p,
    const sio_span_t *attachments, ngx_uint_t n);

/*
 * Encodes an Engine.IO message with opaque data (sio_parser none).
 *
 * takes    data: borrowed; owns, returns as ngx_sio_msg_packet
 */
ngx_sio_msg_t *ngx_sio_msg_data(sio_span_t data, ngx_uint_t binary);

/*
 * Makes a message of a single frame, for a WebSocket only: a control frame
 * or a text outside of Engine.IO messages.  Its polling form is empty.
 *
 * takes    opcode: sio_ws_opcode_t; data: borrowed
 * owns, returns as ngx_sio_msg_packet
 */
ngx_sio_msg_t *ngx_sio_msg_frame(ngx_uint_t opcode, sio_span_t data);

/*
 * Returns the form of a long-polling payload: the packets, binary ones in
 * base64, with separators between them.  It is made on first use and kept.
 *
 * returns  a span that lives as long as m; p NULL if there is no memory
 */
sio_span_t ngx_sio_msg_text(ngx_sio_msg_t *m);

/* Takes one more reference. */

static ngx_inline ngx_sio_msg_t *
ngx_sio_msg_ref(ngx_sio_msg_t *m)
{
    m->refs++;
    return m;
}

/* Gives a reference back; the last one frees m. */
void ngx_sio_msg_unref(ngx_sio_msg_t *m);

/*
 * Appends m to q.
 *
 * owns     takes a reference of its own
 * returns  NGX_OK, or NGX_ERROR if there is no memory (counted)
 */
ngx_int_t ngx_sio_queue_push(ngx_sio_queue_t *q, ngx_sio_msg_t *m);

/* Drops the first message of q, which must not be empty. */
void ngx_sio_queue_pop(ngx_sio_queue_t *q);

/* Drops all messages of q. */
void ngx_sio_queue_clear(ngx_sio_queue_t *q);


#endif /* NGX_SIO_MSG_H */
