/*
 * Socket.IO protocol 5, the default parser: the text part of a packet.
 * Attachments follow it as binary messages of their own.
 */

#ifndef SIO_PACKET_H
#define SIO_PACKET_H

#include "proto/sio_base.h"


typedef enum {
    SIO_CONNECT = 0,
    SIO_DISCONNECT = 1,
    SIO_EVENT = 2,
    SIO_ACK = 3,
    SIO_CONNECT_ERROR = 4,
    SIO_BINARY_EVENT = 5,
    SIO_BINARY_ACK = 6
} sio_packet_type_t;


typedef struct {
    sio_packet_type_t  type;
    unsigned           has_id:1;
    uint32_t           attachments;  /* BINARY_* only, at least 1 there */
    uint64_t           id;           /* of an acknowledgement */
    sio_span_t         nsp;          /* with its slash; "/" if none is named */
    sio_span_t         json;         /* the payload, empty if there is none */
} sio_packet_t;


/*
 * Decodes the text of a packet, as decodeString of socket.io-parser 4.2.7
 * reads it, but does not look into the JSON.
 *
 * takes    in: borrowed by p->nsp and p->json
 *          max_attachments: more than these are SIO_ELIMIT
 * returns  SIO_OK
 *          SIO_EINVAL  unknown type, a count of attachments that is not a
 *                      plain decimal integer of 1 or more followed by "-",
 *                      an id above SIO_MAX_SAFE_INTEGER, a DISCONNECT with
 *                      a payload
 *          SIO_ELIMIT  too many attachments
 *
 * A namespace ends at the first comma or at the end.  What is in nsp stands
 * as it came, a query included.  Leading zeros of an id are dropped, and so
 * are blanks before the JSON.
 */
sio_rc_t sio_packet_decode(sio_span_t in, uint32_t max_attachments,
    sio_packet_t *p);

/*
 * Appends the text part of p: type, "N-" if BINARY_*, the namespace and a
 * comma unless it is "/", the id if has_id, the JSON as it stands.
 *
 * takes    p: json is empty, an array, an object or a string; a number
 *          would be read as an id
 */
void sio_packet_encode(sio_out_t *o, const sio_packet_t *p);

/*
 * Tells if name, decoded, is one that a peer's parser refuses in an event:
 * connect, connect_error, disconnect, disconnecting, newListener,
 * removeListener.
 */
int sio_packet_reserved(sio_span_t name);


#endif /* SIO_PACKET_H */
