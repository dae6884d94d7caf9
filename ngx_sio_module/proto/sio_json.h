/*
 * JSON behind a narrow interface; the only user of yajl.
 *
 * A text is validated once, with sio_json_validate.  All other functions
 * take text that has passed it and scan it without checking again.
 */

#ifndef SIO_JSON_H
#define SIO_JSON_H

#include "proto/sio_base.h"


/* what a validator allocates goes through these; free takes NULL */

typedef struct {
    void   *(*alloc)(void *ctx, size_t n);
    void    (*free)(void *ctx, void *p);
    void     *ctx;
} sio_json_mem_t;

typedef struct sio_json_s  sio_json_t;

typedef enum {
    SIO_JSON_NONE = 0,
    SIO_JSON_STRING,
    SIO_JSON_NUMBER,
    SIO_JSON_ARRAY,
    SIO_JSON_OBJECT,
    SIO_JSON_TRUE,
    SIO_JSON_FALSE,
    SIO_JSON_NULL
} sio_json_type_t;

/* an attachment's place in a text: {"_placeholder":true,"num":N} */

typedef struct {
    sio_span_t   object;         /* from { to } */
    uint32_t     num;
} sio_json_placeholder_t;

typedef struct {
    uint32_t                 max_depth;     /* nesting of [ and {; 64 means
                                               that the 65th is refused */
    uint32_t                 attachments;   /* placeholders must name one
                                               below this; with 0 they are
                                               ordinary objects */
    sio_json_placeholder_t  *placeholders;  /* filled in, in the order of the
                                               text, or NULL */
    uint32_t                 max_placeholders;
    uint32_t                 n_placeholders;    /* result: how many there
                                                   are, with SIO_ELIMIT more
                                                   than max_placeholders if
                                                   it is due to them */
} sio_json_check_t;


/*
 * Creates a validator: one yajl handle, reused from text to text and made
 * anew after an error.
 *
 * owns     mem is copied; everything is freed by sio_json_destroy
 * returns  NULL if an allocation failed
 */
sio_json_t *sio_json_create(const sio_json_mem_t *mem);

/* Frees j, which may be NULL. */
void sio_json_destroy(sio_json_t *j);

/*
 * Validates a text that must be one whole array or object; nothing that
 * JavaScript's JSON.parse refuses passes.  Blanks are space, tab, LF and CR
 * and nothing but these may stand before, between and after the tokens.
 * Numbers are checked by their form only: JavaScript has no overflow.
 * Duplicate keys are legal; the last one wins, as in JavaScript (for
 * _placeholder and num too, with escapes in keys decoded).
 *
 * takes    in: borrowed; must be valid UTF-8 already
 *          c: limits and results, may be NULL: depth 64, no attachments
 *          type: set to ARRAY or OBJECT, may be NULL
 * returns  SIO_OK
 *          SIO_EINVAL  not JSON, not an array or object, a placeholder
 *                      whose num is not a plain decimal integer below
 *                      c->attachments
 *          SIO_ELIMIT  too deep, or more than max_placeholders placeholders
 *          SIO_ENOMEM
 *          After any of them j is ready for the next text.
 */
sio_rc_t sio_json_validate(sio_json_t *j, sio_span_t in, sio_json_check_t *c,
    sio_json_type_t *type);

/* Returns the type of a validated value by its first byte, blanks skipped. */
sio_json_type_t sio_json_type(sio_span_t value);

/*
 * Iterates over the elements of a validated array.
 *
 * takes    array: the text of the array
 *          at: 0 before the first call, then untouched
 *          item: set to the element without blanks around it, borrowed
 * returns  SIO_OK or SIO_DONE
 */
sio_rc_t sio_json_next(sio_span_t array, size_t *at, sio_span_t *item);

/*
 * Gives the next element of a validated array without looking for its end.
 *
 * takes    array, at: as sio_json_next; at is not changed
 *          rest: set to what begins with the element and ends with the array
 * returns  SIO_OK or SIO_DONE
 */
sio_rc_t sio_json_peek(sio_span_t array, size_t at, sio_span_t *rest);

/*
 * Moves at behind an element of n bytes that sio_json_peek gave, to where
 * sio_json_next would.
 */
void sio_json_pass(sio_span_t array, size_t *at, sio_span_t rest, size_t n);

/*
 * The same as sio_json_next for a validated object; what follows the object
 * is not looked at, and behind the last member at is that of its bracket.
 *
 * takes    key: set to the raw string token, with its quotes
 */
sio_rc_t sio_json_next_member(sio_span_t object, size_t *at, sio_span_t *key,
    sio_span_t *value);

/*
 * Appends the text of a validated string token, quotes taken off and
 * escapes decoded, as UTF-8.  A lone surrogate becomes U+FFFD.  The result
 * is never longer than the token.
 */
void sio_json_unescape(sio_out_t *o, sio_span_t token);

/* Tells if a validated string token's decoded text is text. */
int sio_json_string_eq(sio_span_t token, sio_span_t text);

/*
 * Appends text escaped for the inside of a JSON string, without quotes.
 * Bytes that are not UTF-8 become U+FFFD each.  U+2028 and U+2029 pass.
 */
void sio_json_escape(sio_out_t *o, sio_span_t text);


#endif /* SIO_JSON_H */
