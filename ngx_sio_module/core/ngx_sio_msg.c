/*
 * Messages and queues of references to them.  A message is written once by
 * the function that creates it; afterwards only its count and the cached
 * polling form change.  Frames lie one behind the other in data, so a
 * transport sends them without looking at them; the polling form of a single
 * text frame is its payload, in place.
 */

#include "core/ngx_sio_msg.h"
#include "core/ngx_sio_stats.h"
#include "proto/sio_base64.h"
#include "proto/sio_eio.h"
#include "proto/sio_ws.h"


#define NGX_SIO_MAX_SPARE_LINKS  4096


static void ngx_sio_msg_text_encode(sio_out_t *o, ngx_sio_msg_t *m);


static u_char  ngx_sio_msg_ping_data[] = { 0x81, 1, SIO_EIO_PING };
static u_char  ngx_sio_msg_noop_data[] = { 0x81, 1, SIO_EIO_NOOP };

ngx_sio_msg_t  ngx_sio_msg_ping = {
    1, 2, 3, ngx_sio_msg_ping_data + 2, 1, ngx_sio_msg_ping_data, 1
};

ngx_sio_msg_t  ngx_sio_msg_noop = {
    1, 2, 3, ngx_sio_msg_noop_data + 2, 1, ngx_sio_msg_noop_data, 1
};

static ngx_sio_link_t  *ngx_sio_spare_links;
static ngx_uint_t       ngx_sio_spare_links_n;


ngx_sio_msg_t *
ngx_sio_msg_alloc(size_t len)
{
    ngx_sio_msg_t  *m;

    m = ngx_alloc(sizeof(ngx_sio_msg_t) + len, ngx_cycle->log);
    if (m == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    m->refs = 1;
    m->header = 0;
    m->len = len;
    m->text = NULL;
    m->text_len = 0;
    m->data = (u_char *) (m + 1);
    m->frames = 1;

    ngx_sio_count(messages);

    return m;
}


ngx_sio_msg_t *
ngx_sio_msg_packet(const sio_packet_t *p, const sio_span_t *attachments,
    ngx_uint_t n)
{
    u_char          head[SIO_WS_MAX_HEADER];
    size_t          len, text;
    sio_out_t       o;
    ngx_uint_t      i;
    ngx_sio_msg_t  *m;

    o.p = NULL;
    o.n = 0;

    sio_packet_encode(&o, p);

    text = 1 + o.n;
    len = sio_ws_encode_header(head, SIO_WS_TEXT, text) + text;

    for (i = 0; i < n; i++) {
        len += sio_ws_encode_header(head, SIO_WS_BINARY, attachments[i].n)
               + attachments[i].n;
    }

    m = ngx_sio_msg_alloc(len);
    if (m == NULL) {
        return NULL;
    }

    m->frames = 1 + n;
    m->header = sio_ws_encode_header(m->data, SIO_WS_TEXT, text);

    o.p = m->data + m->header;

    sio_out_byte(&o, SIO_EIO_MESSAGE);
    sio_packet_encode(&o, p);

    for (i = 0; i < n; i++) {
        o.p += sio_ws_encode_header(o.p, SIO_WS_BINARY, attachments[i].n);
        sio_out_span(&o, attachments[i]);
    }

    if (n == 0) {
        m->text = m->data + m->header;
        m->text_len = text;
    }

    return m;
}


ngx_sio_msg_t *
ngx_sio_msg_data(sio_span_t data, ngx_uint_t binary)
{
    u_char          head[SIO_WS_MAX_HEADER];
    size_t          n, header;
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    n = data.n + (binary ? 0 : 1);

    header = sio_ws_encode_header(head, binary ? SIO_WS_BINARY : SIO_WS_TEXT,
                                  n);

    m = ngx_sio_msg_alloc(header + n);
    if (m == NULL) {
        return NULL;
    }

    m->header = header;

    o.p = m->data;
    o.n = 0;

    sio_out_bytes(&o, head, header);

    if (!binary) {
        sio_out_byte(&o, SIO_EIO_MESSAGE);
        m->text = m->data + header;
        m->text_len = n;
    }

    sio_out_span(&o, data);

    return m;
}


ngx_sio_msg_t *
ngx_sio_msg_frame(ngx_uint_t opcode, sio_span_t data)
{
    u_char          head[SIO_WS_MAX_HEADER];
    size_t          header;
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    header = sio_ws_encode_header(head, opcode, data.n);

    m = ngx_sio_msg_alloc(header + data.n);
    if (m == NULL) {
        return NULL;
    }

    m->header = header;
    m->text = m->data;

    o.p = m->data;
    o.n = 0;

    sio_out_bytes(&o, head, header);
    sio_out_span(&o, data);

    return m;
}


sio_span_t
ngx_sio_msg_text(ngx_sio_msg_t *m)
{
    u_char     *p;
    sio_out_t   o;

    if (m->text == NULL) {
        o.p = NULL;
        o.n = 0;

        ngx_sio_msg_text_encode(&o, m);

        p = ngx_alloc(o.n, ngx_cycle->log);
        if (p == NULL) {
            ngx_sio_count(memory_errors);
            return sio_span_null;
        }

        m->text = p;
        m->text_len = o.n;

        o.p = p;
        o.n = 0;

        ngx_sio_msg_text_encode(&o, m);
    }

    return (sio_span_t) { m->text, m->text_len };
}


/* a server's frames carry no mask, and these were made here */

static void
ngx_sio_msg_text_encode(sio_out_t *o, ngx_sio_msg_t *m)
{
    u_char      *p, *last;
    uint64_t     n;
    ngx_uint_t   i, bytes;

    last = m->data + m->len;

    for (p = m->data; p < last; p += n) {
        n = p[1];
        bytes = (n == 127) ? 8 : (n == 126) ? 2 : 0;

        if (bytes) {
            for (n = 0, i = 0; i < bytes; i++) {
                n = (n << 8) | p[2 + i];
            }
        }

        if (p != m->data) {
            sio_out_byte(o, SIO_EIO_SEPARATOR);
        }

        if ((p[0] & 0x0f) == SIO_WS_BINARY) {
            sio_out_byte(o, SIO_EIO_BINARY);
            sio_base64_encode(o, (sio_span_t) { p + 2 + bytes, n });

        } else {
            sio_out_bytes(o, p + 2 + bytes, n);
        }

        p += 2 + bytes;
    }
}


void
ngx_sio_msg_unref(ngx_sio_msg_t *m)
{
    if (--m->refs) {
        return;
    }

    ngx_sio_uncount(messages);

    if (m->text && (m->text < m->data || m->text > m->data + m->len)) {
        ngx_free(m->text);
    }

    ngx_free(m);
}


ngx_int_t
ngx_sio_queue_push(ngx_sio_queue_t *q, ngx_sio_msg_t *m)
{
    ngx_sio_link_t  *link;

    link = ngx_sio_spare_links;

    if (link) {
        ngx_sio_spare_links = link->next;
        ngx_sio_spare_links_n--;

    } else {
        link = ngx_alloc(sizeof(ngx_sio_link_t), ngx_cycle->log);
        if (link == NULL) {
            ngx_sio_count(memory_errors);
            return NGX_ERROR;
        }
    }

    link->msg = ngx_sio_msg_ref(m);
    link->next = NULL;

    if (q->head) {
        q->tail->next = link;

    } else {
        q->head = link;
    }

    q->tail = link;
    q->size += ngx_sio_msg_cost(m);

    ngx_sio_count(queued);

    return NGX_OK;
}


void
ngx_sio_queue_pop(ngx_sio_queue_t *q)
{
    ngx_sio_link_t  *link;

    link = q->head;

    q->head = link->next;
    q->size -= ngx_sio_msg_cost(link->msg);

    ngx_sio_msg_unref(link->msg);
    ngx_sio_uncount(queued);

    if (ngx_sio_spare_links_n < NGX_SIO_MAX_SPARE_LINKS) {
        link->next = ngx_sio_spare_links;
        ngx_sio_spare_links = link;
        ngx_sio_spare_links_n++;

    } else {
        ngx_free(link);
    }
}


void
ngx_sio_queue_clear(ngx_sio_queue_t *q)
{
    while (q->head) {
        ngx_sio_queue_pop(q);
    }
}
