/*
 * The operation's format: type, target, flags, id, timeout, the texts, then
 * the lists with their counts.  A count is never larger than the bytes left
 * could hold, so that nobody reserves memory for items that do not exist.
 */

#include "proto/sio_op.h"
#include "proto/sio_wire.h"


#define SIO_OP_VOLATILE  0x01
#define SIO_OP_LOCAL     0x02
#define SIO_OP_CLOSE     0x04
#define SIO_OP_OPAQUE    0x08
#define SIO_OP_BINARY    0x10

#define SIO_OP_LISTS     4


static void sio_op_encode_list(sio_out_t *o, const sio_span_t *list,
    uint32_t n);
static sio_rc_t sio_op_read(sio_span_t in, sio_op_t *op, sio_span_t *items,
    size_t *n);


void
sio_op_encode(sio_out_t *o, const sio_op_t *op)
{
    sio_out_byte(o, op->type);
    sio_out_byte(o, op->target);
    sio_out_byte(o, (op->volatil ? SIO_OP_VOLATILE : 0)
                    | (op->local ? SIO_OP_LOCAL : 0)
                    | (op->close ? SIO_OP_CLOSE : 0)
                    | (op->opaque ? SIO_OP_OPAQUE : 0)
                    | (op->binary ? SIO_OP_BINARY : 0));
    sio_out_u64(o, op->id);
    sio_out_u32(o, op->timeout);

    sio_out_string(o, op->app);
    sio_out_string(o, op->nsp);
    sio_out_string(o, op->json);

    sio_op_encode_list(o, op->rooms, op->nrooms);
    sio_op_encode_list(o, op->except, op->nexcept);
    sio_op_encode_list(o, op->names, op->nnames);
    sio_op_encode_list(o, op->attachments, op->nattachments);
}


static void
sio_op_encode_list(sio_out_t *o, const sio_span_t *list, uint32_t n)
{
    uint32_t  i;

    sio_out_u32(o, n);

    for (i = 0; i < n; i++) {
        sio_out_string(o, list[i]);
    }
}


sio_rc_t
sio_op_count(sio_span_t in, size_t *n)
{
    sio_op_t  op;

    return sio_op_read(in, &op, NULL, n);
}


sio_rc_t
sio_op_decode(sio_span_t in, sio_op_t *op, sio_span_t *items)
{
    size_t  n;

    return sio_op_read(in, op, items, &n);
}


static sio_rc_t
sio_op_read(sio_span_t bytes, sio_op_t *op, sio_span_t *items, size_t *n)
{
    size_t       i;
    uint8_t      type, target, flags;
    uint32_t     j, count;
    sio_in_t     in;
    sio_span_t   item;

    sio_span_t **list[SIO_OP_LISTS] = {
        &op->rooms, &op->except, &op->names, &op->attachments
    };

    uint32_t    *size[SIO_OP_LISTS] = {
        &op->nrooms, &op->nexcept, &op->nnames, &op->nattachments
    };

    in = sio_in(bytes);

    type = sio_in_u8(&in);
    target = sio_in_u8(&in);
    flags = sio_in_u8(&in);

    if (type >= SIO_OP_N || target >= SIO_TO_SENDER) {
        return SIO_EINVAL;
    }

    op->type = (sio_op_type_t) type;
    op->target = (sio_op_target_t) target;
    op->volatil = (flags & SIO_OP_VOLATILE) != 0;
    op->local = (flags & SIO_OP_LOCAL) != 0;
    op->close = (flags & SIO_OP_CLOSE) != 0;
    op->opaque = (flags & SIO_OP_OPAQUE) != 0;
    op->binary = (flags & SIO_OP_BINARY) != 0;

    op->id = sio_in_u64(&in);
    op->timeout = sio_in_u32(&in);

    op->app = sio_in_string(&in);
    op->nsp = sio_in_string(&in);
    op->json = sio_in_string(&in);

    *n = 0;

    for (i = 0; i < SIO_OP_LISTS; i++) {
        count = sio_in_u32(&in);

        if (in.bad || count > in.n / sizeof(uint32_t)) {
            return SIO_EINVAL;
        }

        *list[i] = items ? items + *n : NULL;
        *size[i] = count;

        for (j = 0; j < count; j++) {
            item = sio_in_string(&in);

            if (items) {
                items[*n] = item;
            }

            (*n)++;
        }
    }

    return (in.bad || in.n) ? SIO_EINVAL : SIO_OK;
}
