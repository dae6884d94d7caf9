/*
 * WebSocket frames (RFC 6455, section 5) and the handshake's key (4.2.2).
 * A frame layer: it knows nothing of messages' meaning, only which sequence
 * of frames is legal from a client.
 */

#ifndef SIO_WS_H
#define SIO_WS_H

#include "proto/sio_base.h"


typedef enum {
    SIO_WS_CONTINUATION = 0x0,
    SIO_WS_TEXT = 0x1,
    SIO_WS_BINARY = 0x2,
    SIO_WS_CLOSE = 0x8,
    SIO_WS_PING = 0x9,
    SIO_WS_PONG = 0xa
} sio_ws_opcode_t;

/* RFC 6455, 7.4.1 */

#define SIO_WS_NORMAL            1000
#define SIO_WS_GOING_AWAY        1001
#define SIO_WS_PROTOCOL_ERROR    1002
#define SIO_WS_UNSUPPORTED       1003
#define SIO_WS_NO_STATUS         1005    /* never on the wire */
#define SIO_WS_INVALID_PAYLOAD   1007
#define SIO_WS_POLICY            1008
#define SIO_WS_TOO_BIG           1009
#define SIO_WS_INTERNAL          1011

#define SIO_WS_MAX_HEADER        14
#define SIO_WS_MAX_CONTROL       125
#define SIO_WS_KEY_LEN           24
#define SIO_WS_ACCEPT_LEN        28


/* one frame's header, decoded */

typedef struct {
    uint8_t    opcode;           /* sio_ws_opcode_t */
    uint8_t    fin;
    uint8_t    mask[4];
    uint8_t    header;           /* length of the header in bytes */
    uint64_t   length;           /* of the payload */
} sio_ws_frame_t;


/*
 * Decodes one client frame's header from the start of in (RFC 6455, 5.2).
 *
 * takes    in: borrowed, from a frame's first byte on, any length
 *          fragmented: 1 if a message was begun by an earlier frame and its
 *          last frame has not come yet
 *          limit: largest payload of a data frame in bytes; the caller
 *          passes what the message in progress may still grow by
 * returns  SIO_OK      f is filled in; the payload begins at
 *                      in.p + f->header and may not be there yet
 *          SIO_AGAIN   the header is not complete (illegal bits in what is
 *                      there are reported at once all the same)
 *          SIO_EINVAL  reserved bits or opcode; no mask (5.1); a length not
 *                      in its minimal form or with the top bit set; a
 *                      control frame that is fragmented or longer than 125
 *                      (5.5); a continuation of nothing, or a new message
 *                      within another (5.4): close with 1002
 *          SIO_ELIMIT  a data frame longer than limit: close with 1009
 */
sio_rc_t sio_ws_decode_header(sio_span_t in, int fragmented, uint64_t limit,
    sio_ws_frame_t *f);

/*
 * Unmasks the n payload bytes at p in place (RFC 6455, 5.3), as fast as the
 * machine reads words.
 *
 * takes    mask: the frame's mask
 *          at: the offset of p[0] within the frame's payload, so that a
 *          payload can be unmasked piece by piece
 */
void sio_ws_unmask(uint8_t *p, size_t n, const uint8_t mask[4], uint64_t at);

/*
 * Writes a server's frame header, FIN set, unmasked, into p.
 *
 * takes    p: room for SIO_WS_MAX_HEADER bytes; length: of the payload
 * returns  the header's length: 2, 4 or 10
 */
size_t sio_ws_encode_header(uint8_t *p, sio_ws_opcode_t opcode,
    uint64_t length);

/*
 * Decodes the payload of a close frame (RFC 6455, 5.5.1 and 7.4).
 *
 * returns  SIO_OK      *code is the code, SIO_WS_NO_STATUS if there is none
 *          SIO_EINVAL  one byte long, or a code that must not be on the
 *                      wire (0-999, 1004-1006, 1015-2999, above 4999; the
 *                      registry knows 1012-1014): answer 1002
 *          SIO_EUTF8   the reason is not UTF-8: answer 1007
 *          *code is set only with SIO_OK
 */
sio_rc_t sio_ws_decode_close(sio_span_t payload, uint16_t *code);

/*
 * Tells if key is a legal Sec-WebSocket-Key: base64 of 16 bytes, 24
 * characters (RFC 6455, 4.2.1).
 */
int sio_ws_key_valid(sio_span_t key);

/* RFC 6455, 1.3: hashed after the client's key */

#define SIO_WS_GUID  "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


#endif /* SIO_WS_H */
