/*
 * WebSocket frames (RFC 6455).  Nothing is remembered between two calls: a
 * header that is not complete is decoded again from its first byte, and
 * whatever can be refused early is refused early, so that the answer to a
 * longer input never contradicts the answer to its beginning.
 */

#include "proto/sio_ws.h"
#include "proto/sio_base64.h"
#include "proto/sio_utf8.h"


#define SIO_WS_FIN      0x80
#define SIO_WS_RSV      0x70
#define SIO_WS_OPCODE   0x0f
#define SIO_WS_CTRL     0x08
#define SIO_WS_MASKED   0x80
#define SIO_WS_LENGTH   0x7f

#define SIO_WS_LENGTH16 126
#define SIO_WS_LENGTH64 127


/* Tells if a client may send this first byte now (RFC 6455, 5.2 to 5.5). */

static int
sio_ws_first_byte_legal(uint8_t c, int fragmented)
{
    if (c & SIO_WS_RSV) {
        return 0;
    }

    switch (c & SIO_WS_OPCODE) {

    case SIO_WS_CONTINUATION:
        return fragmented;

    case SIO_WS_TEXT:
    case SIO_WS_BINARY:
        return !fragmented;

    case SIO_WS_CLOSE:
    case SIO_WS_PING:
    case SIO_WS_PONG:
        return (c & SIO_WS_FIN) != 0;

    default:
        return 0;
    }
}


/*
 * Decodes an extended length of size bytes, of which n are there.  Bytes
 * that are missing count as their largest value: what is not in its minimal
 * form even so never will be.
 */

static sio_rc_t
sio_ws_decode_length(const uint8_t *p, size_t n, size_t size, uint64_t *length)
{
    size_t    i;
    uint64_t  least;

    if (size == 8 && n != 0 && (p[0] & 0x80)) {
        return SIO_EINVAL;
    }

    *length = 0;
    least = size == 2 ? SIO_WS_LENGTH16 : UINT16_MAX + 1;

    for (i = 0; i < size; i++) {
        *length = *length << 8 | (i < n ? p[i] : 0xff);
    }

    if (*length < least) {
        return SIO_EINVAL;
    }

    return n < size ? SIO_AGAIN : SIO_OK;
}


sio_rc_t
sio_ws_decode_header(sio_span_t in, int fragmented, uint64_t limit,
    sio_ws_frame_t *f)
{
    int       control;
    size_t    size;
    sio_rc_t  rc;

    if (in.n == 0) {
        return SIO_AGAIN;
    }

    if (!sio_ws_first_byte_legal(in.p[0], fragmented)) {
        return SIO_EINVAL;
    }

    if (in.n == 1) {
        return SIO_AGAIN;
    }

    control = in.p[0] & SIO_WS_CTRL;
    f->length = in.p[1] & SIO_WS_LENGTH;

    if (!(in.p[1] & SIO_WS_MASKED)
        || (control && f->length > SIO_WS_MAX_CONTROL))
    {
        return SIO_EINVAL;
    }

    size = f->length == SIO_WS_LENGTH16 ? 2
           : f->length == SIO_WS_LENGTH64 ? 8 : 0;

    if (size != 0) {
        rc = sio_ws_decode_length(in.p + 2, in.n - 2 < size ? in.n - 2 : size,
                                  size, &f->length);
        if (rc != SIO_OK) {
            return rc;
        }
    }

    if (!control && f->length > limit) {
        return SIO_ELIMIT;
    }

    f->opcode = in.p[0] & SIO_WS_OPCODE;
    f->fin = (in.p[0] & SIO_WS_FIN) != 0;
    f->header = (uint8_t) (2 + size + sizeof(f->mask));

    if (in.n < f->header) {
        return SIO_AGAIN;
    }

    memcpy(f->mask, in.p + 2 + size, sizeof(f->mask));

    return SIO_OK;
}


void
sio_ws_unmask(uint8_t *p, size_t n, const uint8_t mask[4], uint64_t at)
{
    size_t    i;
    uint8_t   turned[8];
    uint64_t  word, key;

    for (i = 0; i < sizeof(turned); i++) {
        turned[i] = mask[(at + i) & 3];
    }

    memcpy(&key, turned, sizeof(key));

    for (i = 0; n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        word ^= key;
        memcpy(p + i, &word, sizeof(word));
    }

    for ( /* void */ ; i < n; i++) {
        p[i] ^= turned[i & 7];
    }
}


size_t
sio_ws_encode_header(uint8_t *p, sio_ws_opcode_t opcode, uint64_t length)
{
    size_t  i, size;

    p[0] = (uint8_t) (SIO_WS_FIN | opcode);

    if (length < SIO_WS_LENGTH16) {
        p[1] = (uint8_t) length;
        return 2;
    }

    size = length <= UINT16_MAX ? 2 : 8;
    p[1] = size == 2 ? SIO_WS_LENGTH16 : SIO_WS_LENGTH64;

    for (i = size; i != 0; i--) {
        p[1 + i] = (uint8_t) length;
        length >>= 8;
    }

    return 2 + size;
}


sio_rc_t
sio_ws_decode_close(sio_span_t payload, uint16_t *code)
{
    uint16_t  c;

    if (payload.n == 0) {
        *code = SIO_WS_NO_STATUS;
        return SIO_OK;
    }

    if (payload.n == 1) {
        return SIO_EINVAL;
    }

    c = (uint16_t) (payload.p[0] << 8 | payload.p[1]);

    if (c < 1000 || c > 4999 || (c > 1003 && c < 1007)
        || (c > 1014 && c < 3000))
    {
        return SIO_EINVAL;
    }

    if (!sio_utf8_valid(payload.p + 2, payload.n - 2)) {
        return SIO_EUTF8;
    }

    *code = c;

    return SIO_OK;
}


int
sio_ws_key_valid(sio_span_t key)
{
    uint8_t     buf[SIO_WS_KEY_LEN];
    sio_span_t  s;

    if (key.n != SIO_WS_KEY_LEN) {
        return 0;
    }

    memcpy(buf, key.p, sizeof(buf));
    s.p = buf;
    s.n = sizeof(buf);

    return sio_base64_decode(&s) == SIO_OK && s.n == 16;
}
