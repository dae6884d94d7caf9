/*
 * Applying operations.  An operation chooses its sockets by marking them
 * with its own number: one that was chosen or excluded already carries it,
 * so a socket in several rooms is met once and only members are touched.
 * What is sent is encoded once, when the first recipient is found.
 */

#include "core/ngx_sio_op.h"
#include "core/ngx_sio_ack.h"
#include "core/ngx_sio_data.h"
#include "core/ngx_sio_msg.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_room.h"
#include "core/ngx_sio_session.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"


typedef struct {
    ngx_sio_op_t      *op;
    ngx_sio_msg_t     *msg;
    uint64_t           mark;
    ngx_uint_t         n;
} ngx_sio_op_run_t;


static void ngx_sio_op_exclude(ngx_sio_op_run_t *run, ngx_sio_nsp_t *nsp);
static void ngx_sio_op_room(ngx_sio_op_run_t *run, ngx_sio_nsp_t *nsp,
    sio_span_t name);
static ngx_uint_t ngx_sio_op_aims_at(ngx_sio_op_t *op, ngx_sio_socket_t *sk);
static void ngx_sio_op_socket(ngx_sio_op_run_t *run, ngx_sio_socket_t *sk);
static void ngx_sio_op_send(ngx_sio_op_run_t *run, ngx_sio_socket_t *sk);
static void ngx_sio_op_rooms(ngx_sio_op_t *op, ngx_sio_socket_t *sk);
static ngx_sio_msg_t *ngx_sio_op_encode(ngx_sio_op_t *op);


static uint64_t  ngx_sio_op_marks;


ngx_uint_t
ngx_sio_op_apply(ngx_sio_op_t *op)
{
    ngx_uint_t         i;
    ngx_queue_t       *q;
    ngx_sio_nsp_t     *nsp;
    ngx_sio_socket_t  *sk;
    ngx_sio_op_run_t   run;

    run.op = op;
    run.msg = NULL;
    run.mark = ++ngx_sio_op_marks;
    run.n = 0;

    if (op->target == SIO_TO_SENDER) {
        ngx_sio_op_socket(&run, op->sender);
        goto done;
    }

    nsp = op->sender ? op->sender->nsp : ngx_sio_nsp_find(op->app, &op->nsp);

    if (nsp == NULL) {
        return 0;
    }

    ngx_sio_op_exclude(&run, nsp);

    if (op->target == SIO_TO_ALL) {

        for (q = ngx_queue_head(&nsp->sockets);
             q != ngx_queue_sentinel(&nsp->sockets);
             q = ngx_queue_next(q))
        {
            ngx_sio_op_socket(&run,
                              ngx_queue_data(q, ngx_sio_socket_t, queue));
        }

    } else {
        for (i = 0; i < op->nrooms; i++) {
            sk = ngx_sio_registry_socket(nsp, op->rooms[i]);

            if (sk) {
                ngx_sio_op_socket(&run, sk);
            }

            if (op->target == SIO_TO_ROOMS) {
                ngx_sio_op_room(&run, nsp, op->rooms[i]);
            }
        }
    }

done:

    if (run.msg) {
        ngx_sio_msg_unref(run.msg);
    }

    return run.n;
}


ngx_uint_t
ngx_sio_op_apply_to(ngx_sio_op_t *op, ngx_sio_session_t *s)
{
    ngx_sio_socket_t  *sk;
    ngx_sio_op_run_t   run;

    run.op = op;
    run.msg = NULL;
    run.mark = ++ngx_sio_op_marks;
    run.n = 0;

    for (sk = s->sockets; sk; sk = sk->next) {
        if (ngx_sio_op_aims_at(op, sk)) {
            ngx_sio_op_socket(&run, sk);
        }
    }

    if (run.msg) {
        ngx_sio_msg_unref(run.msg);
    }

    return run.n;
}


static ngx_uint_t
ngx_sio_op_aims_at(ngx_sio_op_t *op, ngx_sio_socket_t *sk)
{
    ngx_uint_t  i;

    if (sk->nsp->app != op->app || sk->nsp->sn.str.len != op->nsp.len
        || ngx_memcmp(sk->nsp->sn.str.data, op->nsp.data, op->nsp.len) != 0)
    {
        return 0;
    }

    for (i = 0; i < op->nexcept; i++) {
        if (ngx_sio_room_has(sk, op->except[i])) {
            return 0;
        }
    }

    if (op->target == SIO_TO_ALL) {
        return 1;
    }

    for (i = 0; i < op->nrooms; i++) {
        if (op->target == SIO_TO_ROOMS
            ? ngx_sio_room_has(sk, op->rooms[i])
            : ngx_sio_socket_is(sk, op->rooms[i]))
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_sio_op_exclude(ngx_sio_op_run_t *run, ngx_sio_nsp_t *nsp)
{
    ngx_uint_t             i;
    ngx_queue_t           *q;
    ngx_sio_room_t        *room;
    ngx_sio_socket_t      *sk;
    ngx_sio_membership_t  *m;

    if (run->op->except_sender) {
        run->op->sender->mark = run->mark;
    }

    for (i = 0; i < run->op->nexcept; i++) {

        sk = ngx_sio_registry_socket(nsp, run->op->except[i]);
        if (sk) {
            sk->mark = run->mark;
        }

        room = ngx_sio_room_find(nsp, run->op->except[i]);
        if (room == NULL) {
            continue;
        }

        for (q = ngx_queue_head(&room->members);
             q != ngx_queue_sentinel(&room->members);
             q = ngx_queue_next(q))
        {
            m = ngx_queue_data(q, ngx_sio_membership_t, queue);
            m->socket->mark = run->mark;
        }
    }
}


/* applying may take a socket out of the room, and the last one the room */

static void
ngx_sio_op_room(ngx_sio_op_run_t *run, ngx_sio_nsp_t *nsp, sio_span_t name)
{
    ngx_queue_t           *q, *next, *last;
    ngx_sio_room_t        *room;
    ngx_sio_membership_t  *m;

    room = ngx_sio_room_find(nsp, name);
    if (room == NULL) {
        return;
    }

    last = ngx_queue_last(&room->members);

    for (q = ngx_queue_head(&room->members); ; q = next) {
        next = ngx_queue_next(q);

        m = ngx_queue_data(q, ngx_sio_membership_t, queue);
        ngx_sio_op_socket(run, m->socket);

        if (q == last) {
            break;
        }
    }
}


static void
ngx_sio_op_socket(ngx_sio_op_run_t *run, ngx_sio_socket_t *sk)
{
    if (sk->mark == run->mark || sk->reason != NGX_SIO_NONE
        || sk->session->state != NGX_SIO_SESSION_OPEN
        || (sk->session->floored
            && !ngx_sio_session_due(sk->session, run->op->origin,
                                    run->op->number)))
    {
        return;
    }

    sk->mark = run->mark;
    run->n++;

    switch (run->op->type) {

    case SIO_OP_EMIT:
    case SIO_OP_ACK:
        ngx_sio_op_send(run, sk);
        return;

    case SIO_OP_ASK:
        ngx_sio_ack_expect(sk, run->op);
        ngx_sio_op_send(run, sk);
        break;

    case SIO_OP_JOIN:
    case SIO_OP_LEAVE:
        ngx_sio_op_rooms(run->op, sk);
        return;

    case SIO_OP_DATA:
        ngx_sio_data_set(sk, run->op->json);
        return;

    case SIO_OP_DISCONNECT:
        if (run->op->close) {
            ngx_sio_socket_close_session(sk->session);

        } else {
            ngx_sio_socket_close(sk, NGX_SIO_SERVER_DISCONNECT);
        }

        return;

    default:
        break;
    }

    /* a question */

    if (run->op->collect) {
        run->op->collect(run->op->ctx, sk);
    }
}


static void
ngx_sio_op_send(ngx_sio_op_run_t *run, ngx_sio_socket_t *sk)
{
    if (run->msg == NULL) {
        run->msg = ngx_sio_op_encode(run->op);
        if (run->msg == NULL) {
            return;
        }
    }

    ngx_sio_session_send(sk->session, run->msg, run->op->volatil);
}


static void
ngx_sio_op_rooms(ngx_sio_op_t *op, ngx_sio_socket_t *sk)
{
    ngx_uint_t  i;

    for (i = 0; i < op->nnames; i++) {

        if (op->type == SIO_OP_LEAVE) {
            (void) ngx_sio_room_leave(sk, op->names[i]);
            continue;
        }

        if (op->max_rooms && sk->rooms && sk->rooms->n >= op->max_rooms
            && !ngx_sio_room_has(sk, op->names[i]))
        {
            ngx_sio_count(limit_rooms);

            if (!sk->session->warned_rooms) {
                sk->session->warned_rooms = 1;
                ngx_sio_session_log(NGX_LOG_WARN, sk->session,
                                    "join refused: the socket is in %ui "
                                    "rooms, limited by \"sio_max_rooms\"",
                                    sk->rooms->n);
            }

            continue;
        }

        (void) ngx_sio_room_join(sk, op->names[i]);
    }
}


static ngx_sio_msg_t *
ngx_sio_op_encode(ngx_sio_op_t *op)
{
    sio_packet_t  p;

    if (op->opaque) {
        return ngx_sio_msg_data(op->json, op->binary);
    }

    if (op->type == SIO_OP_ACK) {
        p.type = op->nattachments ? SIO_BINARY_ACK : SIO_ACK;
        p.has_id = 1;
        p.id = op->ack;

    } else {
        p.type = op->nattachments ? SIO_BINARY_EVENT : SIO_EVENT;
        p.has_id = (op->type == SIO_OP_ASK);
        p.id = op->id;
    }

    p.attachments = op->nattachments;
    p.nsp = ngx_sio_span(&op->nsp);
    p.json = op->json;

    return ngx_sio_msg_packet(&p, op->attachments, op->nattachments);
}
