/*
 * Engine.IO protocol 4: packets, long-polling payloads, the open packet and
 * the query string of a request.
 */

#ifndef SIO_EIO_H
#define SIO_EIO_H

#include "proto/sio_base.h"


typedef enum {
    SIO_EIO_OPEN = '0',
    SIO_EIO_CLOSE = '1',
    SIO_EIO_PING = '2',
    SIO_EIO_PONG = '3',
    SIO_EIO_MESSAGE = '4',
    SIO_EIO_UPGRADE = '5',
    SIO_EIO_NOOP = '6',
    SIO_EIO_BINARY = 'b'         /* a binary message; not a type on the wire
                                    of a WebSocket */
} sio_eio_type_t;

#define SIO_EIO_SEPARATOR  0x1e

/* the error codes of an HTTP answer */

typedef enum {
    SIO_EIO_UNKNOWN_TRANSPORT = 0,
    SIO_EIO_UNKNOWN_SID = 1,
    SIO_EIO_BAD_HANDSHAKE_METHOD = 2,
    SIO_EIO_BAD_REQUEST = 3,
    SIO_EIO_FORBIDDEN = 4,
    SIO_EIO_UNSUPPORTED_VERSION = 5
} sio_eio_error_t;


typedef struct {
    sio_eio_type_t  type;
    sio_span_t      data;        /* what follows the type */
} sio_eio_packet_t;


/*
 * Decodes a packet that came as one WebSocket text message.
 *
 * takes    in: borrowed by p->data until the caller drops p
 * returns  SIO_OK, or SIO_EINVAL for an empty message or an unknown type
 */
sio_rc_t sio_eio_decode(sio_span_t in, sio_eio_packet_t *p);

/*
 * Cuts the next packet off a long-polling payload and decodes it.
 *
 * takes    in: what is left of the payload, on the first call in->p is not
 *          NULL even if it is empty; advanced past the packet and its
 *          separator.  The bytes of a binary packet are decoded in
 *          place: the payload is not readable again after that
 *          p: filled in; data points into in
 * returns  SIO_OK      p is the next packet
 *          SIO_DONE    the payload was read to its end
 *          SIO_EINVAL  an empty packet (so an empty payload too, on the
 *                      first call), an unknown type, broken base64
 *
 * A separator at the end of the payload announces an empty packet: the call
 * for it fails.  To tell that from the end, in->p is set to NULL when the
 * last packet was cut, and only then SIO_DONE is returned.
 */
sio_rc_t sio_eio_decode_payload(sio_span_t *in, sio_eio_packet_t *p);

typedef struct {
    sio_span_t   sid;
    int          upgrade;        /* websocket is offered */
    uint64_t     ping_interval;  /* milliseconds */
    uint64_t     ping_timeout;   /* milliseconds */
    uint64_t     max_payload;    /* bytes */
} sio_eio_open_t;

/*
 * Appends an open packet: 0{"sid":...,"upgrades":[...],"pingInterval":...,
 * "pingTimeout":...,"maxPayload":...}, the keys in this order.
 */
void sio_eio_encode_open(sio_out_t *o, const sio_eio_open_t *open);

/*
 * Appends the JSON body of an error answer, as Node.js writes it:
 * {"code":1,"message":"Session ID unknown"}.
 */
void sio_eio_encode_error(sio_out_t *o, sio_eio_error_t code);

/* Returns the message of an error, text that lives forever. */
sio_span_t sio_eio_error_message(sio_eio_error_t code);


typedef enum {
    SIO_EIO_TRANSPORT_UNKNOWN = 0,
    SIO_EIO_POLLING,
    SIO_EIO_WEBSOCKET
} sio_eio_transport_t;

typedef struct {
    sio_eio_transport_t  transport;
    unsigned             eio;    /* the protocol version, 0: none or not a
                                    number, at most 255 */
    sio_span_t           sid;    /* raw; an empty one is none */
    unsigned             b64;    /* b64=1 or b64=true: unused in version 4 */
} sio_eio_query_t;

/*
 * Parses the query string of a request, without its question mark.  The
 * last of a repeated parameter wins; names are compared as they stand after
 * %XX and + are decoded in names; values of transport and EIO are decoded
 * before they are compared (in scratch memory of fixed size on the stack:
 * longer ones are unknown).  sid is passed as it stands, no id of ours
 * needs an escape.
 *
 * takes    in: borrowed by q->sid
 */
void sio_eio_parse_query(sio_span_t in, sio_eio_query_t *q);


#endif /* SIO_EIO_H */
