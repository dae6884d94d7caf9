/*
 * UTF-8 as a small automaton (RFC 3629, section 4).  All that is remembered
 * between two bytes is how many continuation bytes are due and the bounds
 * of the next one: the first continuation byte's bounds shut out overlong
 * forms, surrogates and what lies above U+10FFFF, later ones are 80 to BF.
 */

#include "proto/sio_utf8.h"


#define SIO_UTF8_HIGH_BITS  0x8080808080808080ULL


/* Returns how many of the n bytes at p are ASCII for sure: whole words. */

static size_t
sio_utf8_ascii(const uint8_t *p, size_t n)
{
    size_t    i;
    uint64_t  word;

    for (i = 0; n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));

        if (word & SIO_UTF8_HIGH_BITS) {
            break;
        }
    }

    return i;
}


/* Sets what must follow the byte c, which is above 7F. */

static sio_rc_t
sio_utf8_lead(sio_utf8_t *u, uint8_t c)
{
    u->low = 0x80;
    u->high = 0xbf;

    if (c < 0xc2 || c > 0xf4) {
        return SIO_EUTF8;
    }

    if (c < 0xe0) {
        u->need = 1;
        return SIO_OK;
    }

    if (c < 0xf0) {
        u->need = 2;

        if (c == 0xe0) {
            u->low = 0xa0;

        } else if (c == 0xed) {
            u->high = 0x9f;
        }

        return SIO_OK;
    }

    u->need = 3;

    if (c == 0xf0) {
        u->low = 0x90;

    } else if (c == 0xf4) {
        u->high = 0x8f;
    }

    return SIO_OK;
}


sio_rc_t
sio_utf8_check(sio_utf8_t *u, const uint8_t *p, size_t n)
{
    size_t      i;
    sio_utf8_t  s;

    s = *u;                      /* the compiler keeps a copy in registers */

    for (i = 0; i < n; /* void */ ) {

        if (s.need != 0) {
            if (p[i] < s.low || p[i] > s.high) {
                return SIO_EUTF8;
            }

            s.low = 0x80;
            s.high = 0xbf;
            s.need--;
            i++;

        } else if (p[i] >= 0x80) {
            if (sio_utf8_lead(&s, p[i++]) != SIO_OK) {
                return SIO_EUTF8;
            }

        } else {
            i++;
            i += sio_utf8_ascii(p + i, n - i);
        }
    }

    *u = s;

    return s.need ? SIO_AGAIN : SIO_OK;
}


int
sio_utf8_valid(const uint8_t *p, size_t n)
{
    sio_utf8_t  u;

    memset(&u, 0, sizeof(sio_utf8_t));

    return sio_utf8_check(&u, p, n) == SIO_OK;
}
