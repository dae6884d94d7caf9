/*
 * A membership hangs in two containers: a tree of the socket's, by the
 * room's address, and a queue of the room's.  So join, leave and "is it
 * there" cost a look-up of the name and a walk down a small tree, whatever
 * the size of the room.
 */

#include "core/ngx_sio_room.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_stats.h"


static ngx_sio_room_t *ngx_sio_room_create(ngx_sio_nsp_t *nsp,
    sio_span_t name);
static ngx_sio_membership_t *ngx_sio_room_membership(ngx_sio_socket_t *sk,
    ngx_sio_room_t *room);
static void ngx_sio_room_remove(ngx_sio_membership_t *m);
static void ngx_sio_room_release(ngx_sio_room_t *room);


ngx_sio_room_t *
ngx_sio_room_find(ngx_sio_nsp_t *nsp, sio_span_t name)
{
    ngx_str_t  s;

    s = ngx_sio_str(name);

    return (ngx_sio_room_t *) ngx_str_rbtree_lookup(&nsp->rooms, &s,
                                            ngx_crc32_short(s.data, s.len));
}


static ngx_sio_room_t *
ngx_sio_room_create(ngx_sio_nsp_t *nsp, sio_span_t name)
{
    ngx_sio_room_t  *room;

    room = ngx_calloc(sizeof(ngx_sio_room_t) + name.n, ngx_cycle->log);
    if (room == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    room->nsp = nsp;

    room->sn.str.data = (u_char *) (room + 1);
    room->sn.str.len = name.n;
    ngx_memcpy(room->sn.str.data, name.p, name.n);

    room->sn.node.key = ngx_crc32_short(name.p, name.n);

    ngx_queue_init(&room->members);
    ngx_rbtree_insert(&nsp->rooms, &room->sn.node);

    ngx_sio_count(rooms);

    return room;
}


static ngx_sio_membership_t *
ngx_sio_room_membership(ngx_sio_socket_t *sk, ngx_sio_room_t *room)
{
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    if (sk->rooms == NULL) {
        return NULL;
    }

    key = (ngx_rbtree_key_t) (uintptr_t) room;
    node = sk->rooms->tree.root;

    while (node != &sk->rooms->sentinel) {

        if (key == node->key) {
            return (ngx_sio_membership_t *) node;
        }

        node = (key < node->key) ? node->left : node->right;
    }

    return NULL;
}


ngx_int_t
ngx_sio_room_join(ngx_sio_socket_t *sk, sio_span_t name)
{
    ngx_sio_room_t        *room;
    ngx_sio_membership_t  *m;

    if (ngx_sio_socket_is(sk, name)) {
        return NGX_DECLINED;
    }

    if (sk->rooms == NULL) {
        sk->rooms = ngx_alloc(sizeof(ngx_sio_rooms_t), ngx_cycle->log);
        if (sk->rooms == NULL) {
            goto failed;
        }

        sk->rooms->n = 0;
        ngx_rbtree_init(&sk->rooms->tree, &sk->rooms->sentinel,
                        ngx_rbtree_insert_value);
    }

    room = ngx_sio_room_find(sk->nsp, name);

    if (room) {
        if (ngx_sio_room_membership(sk, room)) {
            return NGX_DECLINED;
        }

    } else {
        room = ngx_sio_room_create(sk->nsp, name);
        if (room == NULL) {
            return NGX_ERROR;
        }
    }

    m = ngx_alloc(sizeof(ngx_sio_membership_t), ngx_cycle->log);
    if (m == NULL) {
        ngx_sio_room_release(room);
        goto failed;
    }

    m->room = room;
    m->socket = sk;
    m->node.key = (ngx_rbtree_key_t) (uintptr_t) room;

    ngx_rbtree_insert(&sk->rooms->tree, &m->node);
    ngx_queue_insert_tail(&room->members, &m->queue);

    sk->rooms->n++;

    return NGX_OK;

failed:

    ngx_sio_count(memory_errors);

    return NGX_ERROR;
}


ngx_int_t
ngx_sio_room_leave(ngx_sio_socket_t *sk, sio_span_t name)
{
    ngx_sio_room_t        *room;
    ngx_sio_membership_t  *m;

    room = ngx_sio_room_find(sk->nsp, name);

    if (room == NULL || (m = ngx_sio_room_membership(sk, room)) == NULL) {
        return NGX_DECLINED;
    }

    ngx_sio_room_remove(m);

    return NGX_OK;
}


void
ngx_sio_room_leave_all(ngx_sio_socket_t *sk)
{
    if (sk->rooms == NULL) {
        return;
    }

    while (sk->rooms->n) {
        ngx_sio_room_remove((ngx_sio_membership_t *) sk->rooms->tree.root);
    }

    ngx_free(sk->rooms);
    sk->rooms = NULL;
}


static void
ngx_sio_room_remove(ngx_sio_membership_t *m)
{
    ngx_sio_room_t  *room;

    room = m->room;

    ngx_rbtree_delete(&m->socket->rooms->tree, &m->node);
    ngx_queue_remove(&m->queue);

    m->socket->rooms->n--;
    ngx_free(m);

    ngx_sio_room_release(room);
}


static void
ngx_sio_room_release(ngx_sio_room_t *room)
{
    if (ngx_queue_empty(&room->members)) {
        ngx_rbtree_delete(&room->nsp->rooms, &room->sn.node);
        ngx_sio_uncount(rooms);
        ngx_free(room);
    }
}


ngx_uint_t
ngx_sio_room_has(ngx_sio_socket_t *sk, sio_span_t name)
{
    ngx_sio_room_t  *room;

    if (ngx_sio_socket_is(sk, name)) {
        return 1;
    }

    room = ngx_sio_room_find(sk->nsp, name);

    return room && ngx_sio_room_membership(sk, room);
}
