/*
 * What an operation's frame has is what sio_op.h says, behind its number.
 */

#include "cluster/ngx_sio_frame.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_registry.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"


static size_t       ngx_sio_frame_max;

/* what one operation's lists need, kept from one to the next */

static sio_span_t  *ngx_sio_frame_items;
static size_t       ngx_sio_frame_items_n;


void
ngx_sio_frame_set_limit(size_t limit)
{
    ngx_sio_frame_max = limit;
}


size_t
ngx_sio_frame_limit(void)
{
    return ngx_sio_frame_max;
}


void
ngx_sio_frame_done(void)
{
    if (ngx_sio_frame_items) {
        ngx_free(ngx_sio_frame_items);
        ngx_sio_frame_items = NULL;
        ngx_sio_frame_items_n = 0;
    }
}


ngx_sio_msg_t *
ngx_sio_frame(ngx_sio_frame_e type, size_t n, sio_out_t *o)
{
    ngx_sio_msg_t  *m;

    if (n + NGX_SIO_FRAME_HEADER > ngx_sio_frame_max) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sio: %uz bytes for another worker, limited by "
                      "\"sio_bus_buffer\"", n);
        return NULL;
    }

    m = ngx_sio_msg_alloc(NGX_SIO_FRAME_HEADER + n);
    if (m == NULL) {
        return NULL;
    }

    o->p = m->data;
    o->n = 0;

    sio_out_u32(o, 1 + n);
    sio_out_byte(o, type);

    return m;
}


/* the sender is known here only: elsewhere its id stands for it */

ngx_sio_msg_t *
ngx_sio_frame_encode_op(ngx_sio_op_t *op, uint64_t number)
{
    size_t          n;
    sio_op_t        w;
    sio_out_t       o;
    sio_span_t     *except;
    ngx_sio_msg_t  *m;

    ngx_memzero(&w, sizeof(sio_op_t));

    w.type = op->type;
    w.target = op->target;
    w.volatil = op->volatil;
    w.local = op->local;
    w.close = op->close;
    w.opaque = op->opaque;
    w.binary = op->binary;
    w.id = op->id;
    w.timeout = op->timeout;
    w.app = ngx_sio_span(&op->app->name);
    w.nsp = ngx_sio_span(&op->nsp);
    w.json = op->json;
    w.rooms = op->rooms;
    w.nrooms = op->nrooms;
    w.except = op->except;
    w.nexcept = op->nexcept;
    w.names = op->names;
    w.nnames = op->nnames;
    w.attachments = op->attachments;
    w.nattachments = op->nattachments;

    except = NULL;

    if (op->except_sender) {
        except = ngx_alloc((op->nexcept + 1) * sizeof(sio_span_t),
                           ngx_cycle->log);
        if (except == NULL) {
            ngx_sio_count(memory_errors);
            return NULL;
        }

        if (op->nexcept) {
            ngx_memcpy(except, op->except, op->nexcept * sizeof(sio_span_t));
        }

        except[op->nexcept].p = op->sender->id;
        except[op->nexcept].n = NGX_SIO_ID_LEN;

        w.except = except;
        w.nexcept = op->nexcept + 1;
    }

    o.p = NULL;
    o.n = 0;

    sio_op_encode(&o, &w);
    n = o.n;

    m = ngx_sio_frame(NGX_SIO_FRAME_OP, sizeof(uint64_t) + n, &o);

    if (m) {
        sio_out_u64(&o, number);
        sio_op_encode(&o, &w);
    }

    if (except) {
        ngx_free(except);
    }

    return m;
}


/* NGX_DECLINED: its app is not known here, its number is */

ngx_int_t
ngx_sio_frame_decode_op(ngx_sio_msg_t *m, ngx_sio_op_t *op)
{
    size_t       n;
    sio_in_t     in;
    sio_op_t     w;
    sio_span_t   rest, *items;

    ngx_memzero(op, sizeof(ngx_sio_op_t));

    in = sio_in((sio_span_t) { m->data + NGX_SIO_FRAME_HEADER,
                               m->len - NGX_SIO_FRAME_HEADER });
    op->number = sio_in_u64(&in);
    rest = sio_in_bytes(&in, in.n);

    if (in.bad || sio_op_count(rest, &n) != SIO_OK) {
        return NGX_ERROR;
    }

    if (n > ngx_sio_frame_items_n) {
        items = ngx_alloc(n * sizeof(sio_span_t), ngx_cycle->log);
        if (items == NULL) {
            ngx_sio_count(memory_errors);
            return NGX_ERROR;
        }

        if (ngx_sio_frame_items) {
            ngx_free(ngx_sio_frame_items);
        }

        ngx_sio_frame_items = items;
        ngx_sio_frame_items_n = n;
    }

    if (sio_op_decode(rest, &w, ngx_sio_frame_items) != SIO_OK) {
        return NGX_ERROR;
    }

    op->type = w.type;
    op->target = w.target;
    op->volatil = w.volatil;
    op->local = w.local;
    op->close = w.close;
    op->opaque = w.opaque;
    op->binary = w.binary;
    op->id = w.id;
    op->timeout = w.timeout;
    op->nsp = ngx_sio_str(w.nsp);
    op->json = w.json;
    op->rooms = w.rooms;
    op->nrooms = w.nrooms;
    op->except = w.except;
    op->nexcept = w.nexcept;
    op->names = w.names;
    op->nnames = w.nnames;
    op->attachments = w.attachments;
    op->nattachments = w.nattachments;

    op->app = ngx_sio_app_find(w.app);

    return op->app ? NGX_OK : NGX_DECLINED;
}
