/*
 * UTF-8 validation that can stop and go on anywhere (RFC 3629: no overlong
 * forms, no surrogates, nothing above U+10FFFF).
 */

#ifndef SIO_UTF8_H
#define SIO_UTF8_H

#include "proto/sio_base.h"


/* zeroed: at the border of two characters */

typedef struct {
    uint8_t   need;              /* continuation bytes still due */
    uint8_t   low, high;         /* bounds of the next one, if need != 0 */
} sio_utf8_t;


/*
 * Validates the next n bytes of a text.
 *
 * takes    u: the state, zeroed before the first piece
 *          p: borrowed, may be NULL if n is 0
 * returns  SIO_OK      valid so far, at a character's border
 *          SIO_AGAIN   valid so far, within a character
 *          SIO_EUTF8   not UTF-8; the state must not be used again
 */
sio_rc_t sio_utf8_check(sio_utf8_t *u, const uint8_t *p, size_t n);

/* Returns 1 if the n bytes at p are a whole valid text, else 0. */
int sio_utf8_valid(const uint8_t *p, size_t n);


#endif /* SIO_UTF8_H */
