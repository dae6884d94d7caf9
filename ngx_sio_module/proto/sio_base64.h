/*
 * Base64 as Engine.IO uses it (RFC 4648, section 4, lenient in padding) and
 * base64url without padding for ids (section 5).
 */

#ifndef SIO_BASE64_H
#define SIO_BASE64_H

#include "proto/sio_base.h"


#define sio_base64_len(n)     (((n) + 2) / 3 * 4)
#define sio_base64url_len(n)  (((n) * 8 + 5) / 6)


/* Appends in as padded base64 (RFC 4648, 4). */
void sio_base64_encode(sio_out_t *o, sio_span_t in);

/* Appends in as base64url without padding (RFC 4648, 5). */
void sio_base64url_encode(sio_out_t *o, sio_span_t in);

/*
 * Decodes base64 in place, as Engine.IO messages carry it.
 *
 * takes    io: the text; padding may be there or not, but if it is, it
 *          completes the last group of four.  Unused low bits of the last
 *          digit are ignored, as Node.js does
 * returns  SIO_OK      io->n is the number of bytes now at io->p
 *          SIO_EINVAL  a character outside the alphabet, a length that is
 *                      1 modulo 4, padding in any other place; the bytes at
 *                      io->p are undefined
 */
sio_rc_t sio_base64_decode(sio_span_t *io);


#endif /* SIO_BASE64_H */
