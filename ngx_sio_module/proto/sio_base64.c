/*
 * Base64, both alphabets out, the standard one in.  Decoding goes by table:
 * an entry is 0x40 plus the six bits, 0 for what is no digit, so that one
 * AND over a group tells if all of it is legal.  It works in place because
 * three bytes are written only after the four that they come from were read.
 */

#include "proto/sio_base64.h"


#define SIO_BASE64_DIGIT  0x40


static const char  sio_base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static const char  sio_base64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* rows of sixteen, the first is 0x20 to 0x2f */

static const uint8_t  sio_base64_digits[256] = {
    [0x20] =
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7e, 0, 0, 0, 0x7f,
    0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x7b,
    0x7c, 0x7d, 0, 0, 0, 0, 0, 0,
    0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46,
    0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e,
    0x4f, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56,
    0x57, 0x58, 0x59, 0, 0, 0, 0, 0,
    0, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60,
    0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
    0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70,
    0x71, 0x72, 0x73
};


/* Appends in with the given alphabet, padded if pad is 1. */

static void
sio_base64_put(sio_out_t *o, sio_span_t in, const char *alphabet, int pad)
{
    size_t    len;
    uint8_t  *d;
    uint32_t  v;

    len = pad ? sio_base64_len(in.n) : sio_base64url_len(in.n);
    d = o->p;
    o->n += len;

    if (d == NULL) {
        return;
    }

    o->p += len;

    for ( /* void */ ; in.n > 2; in.p += 3, in.n -= 3) {
        v = (uint32_t) in.p[0] << 16 | (uint32_t) in.p[1] << 8 | in.p[2];

        *d++ = (uint8_t) alphabet[v >> 18];
        *d++ = (uint8_t) alphabet[v >> 12 & 63];
        *d++ = (uint8_t) alphabet[v >> 6 & 63];
        *d++ = (uint8_t) alphabet[v & 63];
    }

    if (in.n == 0) {
        return;
    }

    v = (uint32_t) in.p[0] << 16;

    if (in.n == 2) {
        v |= (uint32_t) in.p[1] << 8;
    }

    *d++ = (uint8_t) alphabet[v >> 18];
    *d++ = (uint8_t) alphabet[v >> 12 & 63];

    if (in.n == 2) {
        *d++ = (uint8_t) alphabet[v >> 6 & 63];
    }

    while (d != o->p) {
        *d++ = '=';
    }
}


void
sio_base64_encode(sio_out_t *o, sio_span_t in)
{
    sio_base64_put(o, in, sio_base64_alphabet, 1);
}


void
sio_base64url_encode(sio_out_t *o, sio_span_t in)
{
    sio_base64_put(o, in, sio_base64url_alphabet, 0);
}


/* Decodes the last two or three digits at s to one or two bytes at d. */

static sio_rc_t
sio_base64_decode_tail(uint8_t *d, const uint8_t *s, size_t n)
{
    uint8_t  a, b, c;

    a = sio_base64_digits[s[0]];
    b = sio_base64_digits[s[1]];
    c = n == 3 ? sio_base64_digits[s[2]] : SIO_BASE64_DIGIT;

    if (!(a & b & c & SIO_BASE64_DIGIT)) {
        return SIO_EINVAL;
    }

    d[0] = (uint8_t) (a << 2 | (b & 63) >> 4);

    if (n == 3) {
        d[1] = (uint8_t) (b << 4 | (c & 63) >> 2);
    }

    return SIO_OK;
}


sio_rc_t
sio_base64_decode(sio_span_t *io)
{
    size_t          n, tail;
    uint8_t         a, b, c, e, all, *d;
    const uint8_t  *s, *end;

    n = io->n;

    if (n == 0) {
        return SIO_OK;
    }

    if (n % 4 == 0 && io->p[n - 1] == '=') {
        n -= io->p[n - 2] == '=' ? 2 : 1;
    }

    tail = n % 4;

    if (tail == 1) {
        return SIO_EINVAL;
    }

    d = io->p;
    s = io->p;
    all = SIO_BASE64_DIGIT;

    for (end = s + (n - tail); s != end; s += 4, d += 3) {
        a = sio_base64_digits[s[0]];
        b = sio_base64_digits[s[1]];
        c = sio_base64_digits[s[2]];
        e = sio_base64_digits[s[3]];

        all &= a & b & c & e;

        d[0] = (uint8_t) (a << 2 | (b & 63) >> 4);
        d[1] = (uint8_t) (b << 4 | (c & 63) >> 2);
        d[2] = (uint8_t) (c << 6 | (e & 63));
    }

    if (!(all & SIO_BASE64_DIGIT)
        || (tail != 0 && sio_base64_decode_tail(d, s, tail) != SIO_OK))
    {
        return SIO_EINVAL;
    }

    io->n = n - (n + 3) / 4;

    return SIO_OK;
}
