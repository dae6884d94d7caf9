/*
 * Rooms: sets of sockets of one namespace.  The room named by a socket's own
 * id is not one of these: the registry finds it.
 */

#ifndef NGX_SIO_ROOM_H
#define NGX_SIO_ROOM_H

#include "core/ngx_sio.h"


struct ngx_sio_room_s {
    ngx_str_node_t       sn;
    ngx_sio_nsp_t       *nsp;
    ngx_queue_t          members;        /* ngx_sio_membership_t, queue */
};


typedef struct {
    ngx_rbtree_node_t    node;           /* of the socket, key: the room */
    ngx_queue_t          queue;          /* of the room */
    ngx_sio_room_t      *room;
    ngx_sio_socket_t    *socket;
} ngx_sio_membership_t;


/* Finds a room that has members; NULL if there is none. */
ngx_sio_room_t *ngx_sio_room_find(ngx_sio_nsp_t *nsp, sio_span_t name);

/*
 * Puts sk in a room.
 *
 * takes    name: copied
 * returns  NGX_OK, NGX_DECLINED if it is there already or it is the room of
 *          its own id, NGX_ERROR if there is no memory (counted)
 */
ngx_int_t ngx_sio_room_join(ngx_sio_socket_t *sk, sio_span_t name);

/*
 * Takes sk out of a room; the last one out frees the room.
 *
 * returns  NGX_OK, NGX_DECLINED if it is not there
 */
ngx_int_t ngx_sio_room_leave(ngx_sio_socket_t *sk, sio_span_t name);

/* Takes sk out of all its rooms. */
void ngx_sio_room_leave_all(ngx_sio_socket_t *sk);

/* Tells if sk is in the room, be it that of its own id. */
ngx_uint_t ngx_sio_room_has(ngx_sio_socket_t *sk, sio_span_t name);


#endif /* NGX_SIO_ROOM_H */
