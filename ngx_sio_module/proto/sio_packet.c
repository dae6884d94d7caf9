/*
 * Socket.IO packets, text part.  The reference is decodeString of
 * socket.io-parser; where JavaScript's Number() lets odd spellings of a
 * type, a count or an id pass (blanks, exponents), this decoder wants
 * digits.  Whether the JSON is valid, and of a shape that fits the type, is
 * the caller's to check.
 */

#include "proto/sio_packet.h"


static sio_rc_t sio_packet_decode_attachments(uint8_t **pos, uint8_t *last,
    uint32_t max, uint32_t *attachments);
static sio_rc_t sio_packet_decode_id(uint8_t **pos, uint8_t *last,
    sio_packet_t *packet);


sio_rc_t
sio_packet_decode(sio_span_t in, uint32_t max_attachments,
    sio_packet_t *packet)
{
    uint8_t   *p, *last;
    sio_rc_t   rc;

    if (in.n == 0 || in.p[0] < '0' || in.p[0] > '0' + SIO_BINARY_ACK) {
        return SIO_EINVAL;
    }

    p = in.p;
    last = in.p + in.n;

    memset(packet, 0, sizeof(sio_packet_t));
    packet->type = *p++ - '0';

    if (packet->type >= SIO_BINARY_EVENT) {
        rc = sio_packet_decode_attachments(&p, last, max_attachments,
                                           &packet->attachments);
        if (rc != SIO_OK) {
            return rc;
        }
    }

    packet->nsp = sio_span("/");

    if (p < last && *p == '/') {
        packet->nsp.p = p;

        while (p < last && *p != ',') {
            p++;
        }

        packet->nsp.n = p - packet->nsp.p;

        if (p < last) {
            p++;
        }
    }

    rc = sio_packet_decode_id(&p, last, packet);
    if (rc != SIO_OK) {
        return rc;
    }

    /*
     * Passed on in front of JSON, a blank would be read as an id of 0 by
     * the reference: Number(" ") is 0.
     */

    while (p < last
           && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
    {
        p++;
    }

    packet->json.p = p;
    packet->json.n = last - p;

    if (packet->type == SIO_DISCONNECT && packet->json.n != 0) {
        return SIO_EINVAL;
    }

    return SIO_OK;
}


static sio_rc_t
sio_packet_decode_attachments(uint8_t **pos, uint8_t *last, uint32_t max,
    uint32_t *attachments)
{
    uint8_t   *p;
    uint64_t   n;

    n = 0;

    for (p = *pos; p < last && *p >= '0' && *p <= '9'; p++) {

        /* past any limit it needs not be exact, only not wrap around */

        if (n <= UINT32_MAX) {
            n = n * 10 + (*p - '0');
        }
    }

    if (p == last || *p != '-' || n == 0) {
        return SIO_EINVAL;
    }

    if (n > max) {
        return SIO_ELIMIT;
    }

    *attachments = (uint32_t) n;
    *pos = p + 1;

    return SIO_OK;
}


static sio_rc_t
sio_packet_decode_id(uint8_t **pos, uint8_t *last, sio_packet_t *packet)
{
    uint8_t  *p;

    for (p = *pos; p < last && *p >= '0' && *p <= '9'; p++) {
        packet->id = packet->id * 10 + (*p - '0');

        if (packet->id > SIO_MAX_SAFE_INTEGER) {
            return SIO_EINVAL;
        }
    }

    packet->has_id = (p != *pos);
    *pos = p;

    return SIO_OK;
}


void
sio_packet_encode(sio_out_t *o, const sio_packet_t *packet)
{
    sio_out_byte(o, (uint8_t) ('0' + packet->type));

    if (packet->type >= SIO_BINARY_EVENT) {
        sio_out_uint(o, packet->attachments);
        sio_out_byte(o, '-');
    }

    if (packet->nsp.n > 1) {
        sio_out_span(o, packet->nsp);
        sio_out_byte(o, ',');
    }

    if (packet->has_id) {
        sio_out_uint(o, packet->id);
    }

    sio_out_span(o, packet->json);
}


int
sio_packet_reserved(sio_span_t name)
{
    size_t            i;
    const sio_span_t  reserved[] = {
        sio_span("connect"), sio_span("connect_error"),
        sio_span("disconnect"), sio_span("disconnecting"),
        sio_span("newListener"), sio_span("removeListener")
    };

    for (i = 0; i < sio_countof(reserved); i++) {
        if (sio_span_eq(name, reserved[i])) {
            return 1;
        }
    }

    return 0;
}
