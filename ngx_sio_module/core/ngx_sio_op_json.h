/*
 * Operations as JSON: what backends answer and what the API is sent.
 */

#ifndef NGX_SIO_OP_JSON_H
#define NGX_SIO_OP_JSON_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_op.h"


#define NGX_SIO_JSON_DEPTH       64
#define NGX_SIO_JSON_SHOWN       100     /* bytes of what is wrong */

#define NGX_SIO_ACK_TIMEOUT      5000    /* ms */
#define NGX_SIO_MAX_ACK_TIMEOUT  600000


/* an operation as it is read */

typedef struct {
    ngx_pool_t           *pool;      /* for all that op points to */
    ngx_uint_t            answer;    /* of a backend: there is a sender; op
                                        is for it if it has no aim */
    ngx_sio_op_t          op;        /* of the caller's app and namespace.
                                        target SENDER: op.sender is not set */

    /* ASK: op.names and op.nnames are the caller's */

    sio_span_t            token;

    /* ACK: the request that it acknowledges, 0: there is one only */

    uint64_t              seq;

    /* why it is not valid; what it is about is a JSON token, or empty */

    const char           *error;
    sio_span_t            what;

    /* while it is read */

    sio_span_t            event;
    sio_span_t            args;
    ngx_uint_t            aimed;
    ngx_uint_t            named;     /* another namespace */
    ngx_uint_t            timed;
} ngx_sio_op_json_t;


/* Prepares it in a worker; NGX_ERROR if there is no memory. */
ngx_int_t ngx_sio_op_json_init(ngx_cycle_t *cycle);

/* Gives back what ngx_sio_op_json_init took. */
void ngx_sio_op_json_done(void);

/*
 * Validates an array of operations as a whole, as JSON.
 *
 * returns  NULL if it is valid, or why it is not
 */
const char *ngx_sio_op_json_validate(sio_span_t text);

/*
 * Reads the next operation of an array that was validated.
 *
 * takes    p: pool, answer, op.app and op.nsp are set, all else is 0; it
 *          borrows the array
 *          at: 0 before the first call, then untouched
 * returns  NGX_OK, NGX_ERROR with p->error, or NGX_DONE: there is none left
 */
ngx_int_t ngx_sio_op_json_next(ngx_sio_op_json_t *p, sio_span_t array,
    size_t *at);

/*
 * Appends JSON with its attachments in the place of their placeholders, each
 * as {"_base64":"..."}.
 *
 * takes    json: valid, whose placeholders refer to attachments
 *          from: what of it is left out at the beginning, in bytes; no
 *          placeholder is in there
 * returns  NGX_ERROR if there is no memory
 */
ngx_int_t ngx_sio_op_json_inline(sio_out_t *o, sio_span_t json, size_t from,
    sio_span_t *attachments, ngx_uint_t n);

/* Tells if a text is a JSON object: a whole one, valid as above. */
ngx_uint_t ngx_sio_op_json_is_object(sio_span_t text);

/* Appends a string with its quotes. */
void ngx_sio_op_json_string(sio_out_t *o, sio_span_t text);

/* Shortens a token to what is shown of it, at the end of a character. */
sio_span_t ngx_sio_op_json_shown(sio_span_t token);


#endif /* NGX_SIO_OP_JSON_H */
