/*
 * Engine.IO protocol 4.  Decoded packets point into the text that they came
 * from; only the bytes of binary packets in a payload are rewritten, in
 * place.  Texts and their order are those of the Node.js server.
 */

#include "proto/sio_eio.h"
#include "proto/sio_base64.h"


/* the longest name or value that means something is "transport" */

#define SIO_EIO_SCRATCH  16


static const sio_span_t  sio_eio_messages[] = {
    sio_span("Transport unknown"),
    sio_span("Session ID unknown"),
    sio_span("Bad handshake method"),
    sio_span("Bad request"),
    sio_span("Forbidden"),
    sio_span("Unsupported protocol version")
};


sio_rc_t
sio_eio_decode(sio_span_t in, sio_eio_packet_t *p)
{
    if (in.n == 0 || in.p[0] < SIO_EIO_OPEN || in.p[0] > SIO_EIO_NOOP) {
        return SIO_EINVAL;
    }

    p->type = in.p[0];
    p->data.p = in.p + 1;
    p->data.n = in.n - 1;

    return SIO_OK;
}


sio_rc_t
sio_eio_decode_payload(sio_span_t *in, sio_eio_packet_t *p)
{
    uint8_t     *end;
    sio_span_t   packet;

    if (in->p == NULL) {
        return SIO_DONE;
    }

    packet = *in;
    end = memchr(in->p, SIO_EIO_SEPARATOR, in->n);

    if (end != NULL) {
        packet.n = (size_t) (end - in->p);
        in->p += packet.n + 1;
        in->n -= packet.n + 1;

    } else {
        *in = sio_span_null;
    }

    if (packet.n == 0 || packet.p[0] != SIO_EIO_BINARY) {
        return sio_eio_decode(packet, p);
    }

    p->type = SIO_EIO_BINARY;
    p->data.p = packet.p + 1;
    p->data.n = packet.n - 1;

    return sio_base64_decode(&p->data);
}


void
sio_eio_encode_open(sio_out_t *o, const sio_eio_open_t *open)
{
    sio_out_str(o, "0{\"sid\":\"");
    sio_out_span(o, open->sid);
    sio_out_str(o, "\",\"upgrades\":[");

    if (open->upgrade) {
        sio_out_str(o, "\"websocket\"");
    }

    sio_out_str(o, "],\"pingInterval\":");
    sio_out_uint(o, open->ping_interval);
    sio_out_str(o, ",\"pingTimeout\":");
    sio_out_uint(o, open->ping_timeout);
    sio_out_str(o, ",\"maxPayload\":");
    sio_out_uint(o, open->max_payload);
    sio_out_byte(o, '}');
}


void
sio_eio_encode_error(sio_out_t *o, sio_eio_error_t code)
{
    sio_out_str(o, "{\"code\":");
    sio_out_uint(o, code);
    sio_out_str(o, ",\"message\":\"");
    sio_out_span(o, sio_eio_error_message(code));
    sio_out_str(o, "\"}");
}


sio_span_t
sio_eio_error_message(sio_eio_error_t code)
{
    return sio_eio_messages[code];
}


/* Returns a hexadecimal digit's value, 16 for any other character. */

static unsigned
sio_eio_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
}


/*
 * Decodes %XX and + of a query's name or value into buf.  An escape that is
 * broken stands for itself.  What does not fit becomes empty: it is nothing
 * that we know.
 */

static sio_span_t
sio_eio_decode_query(sio_span_t in, uint8_t buf[SIO_EIO_SCRATCH])
{
    uint8_t     c;
    size_t      i;
    unsigned    high, low;
    sio_span_t  out;

    out.p = buf;
    out.n = 0;

    for (i = 0; i < in.n; i++) {

        if (out.n == SIO_EIO_SCRATCH) {
            return sio_span_null;
        }

        c = in.p[i];

        if (c == '+') {
            c = ' ';

        } else if (c == '%' && in.n - i > 2) {
            high = sio_eio_hex(in.p[i + 1]);
            low = sio_eio_hex(in.p[i + 2]);

            if (high < 16 && low < 16) {
                c = (uint8_t) (high << 4 | low);
                i += 2;
            }
        }

        out.p[out.n++] = c;
    }

    return out;
}


/* Cuts what stands before the first c off in, which goes on behind it. */

static sio_span_t
sio_eio_cut(sio_span_t *in, uint8_t c)
{
    uint8_t     *end;
    sio_span_t   head;

    head = *in;
    end = in->n != 0 ? memchr(in->p, c, in->n) : NULL;

    if (end == NULL) {
        *in = sio_span_null;
        return head;
    }

    head.n = (size_t) (end - in->p);
    in->p += head.n + 1;
    in->n -= head.n + 1;

    return head;
}


static sio_eio_transport_t
sio_eio_parse_transport(sio_span_t value)
{
    if (sio_span_eq(value, sio_span("polling"))) {
        return SIO_EIO_POLLING;
    }

    if (sio_span_eq(value, sio_span("websocket"))) {
        return SIO_EIO_WEBSOCKET;
    }

    return SIO_EIO_TRANSPORT_UNKNOWN;
}


/* A version is compared as text by Node.js: "04" is not 4. */

static unsigned
sio_eio_parse_version(sio_span_t value)
{
    size_t    i;
    unsigned  v;

    if (value.n == 0 || value.p[0] == '0') {
        return 0;
    }

    v = 0;

    for (i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') {
            return 0;
        }

        v = v * 10 + (value.p[i] - '0');
        v = v < UINT8_MAX ? v : UINT8_MAX;
    }

    return v;
}


void
sio_eio_parse_query(sio_span_t in, sio_eio_query_t *q)
{
    uint8_t     buf[SIO_EIO_SCRATCH], vbuf[SIO_EIO_SCRATCH];
    sio_span_t  raw, name, value;

    memset(q, 0, sizeof(sio_eio_query_t));

    while (in.n != 0) {
        raw = sio_eio_cut(&in, '&');
        name = sio_eio_cut(&raw, '=');
        name = sio_eio_decode_query(name, buf);

        if (sio_span_eq(name, sio_span("sid"))) {
            q->sid = raw;
            continue;
        }

        value = sio_eio_decode_query(raw, vbuf);

        if (sio_span_eq(name, sio_span("transport"))) {
            q->transport = sio_eio_parse_transport(value);

        } else if (sio_span_eq(name, sio_span("EIO"))) {
            q->eio = sio_eio_parse_version(value);

        } else if (sio_span_eq(name, sio_span("b64"))) {
            q->b64 = sio_span_eq(value, sio_span("1"))
                     || sio_span_eq(value, sio_span("true"));
        }
    }
}
