/*
 * Apps and their namespaces, as far as this worker has sockets in them.
 */

#ifndef NGX_SIO_NSP_H
#define NGX_SIO_NSP_H

#include "core/ngx_sio.h"


/* a server: all locations with one sio_app */

struct ngx_sio_app_s {
    ngx_str_t               name;
    const ngx_sio_user_t   *user;        /* one parser for all */
    ngx_array_t             confs;       /* ngx_sio_conf_t *: its locations */
    ngx_rbtree_t            namespaces;  /* ngx_sio_nsp_t by name */
    ngx_rbtree_node_t       sentinel;
};


struct ngx_sio_nsp_s {
    ngx_str_node_t       sn;             /* the name, with its slash */
    ngx_sio_app_t       *app;
    ngx_queue_t          sockets;        /* ngx_sio_socket_t, in the order
                                            in which they came */
    ngx_uint_t           n;              /* of them, held ones too */
    ngx_rbtree_t         rooms;          /* ngx_sio_room_t by name */
    ngx_rbtree_node_t    sentinel;
};


/* Prepares an app, in the configuration's memory. */
void ngx_sio_app_init(ngx_sio_app_t *app);

/*
 * Says which apps this worker serves.
 *
 * takes    apps: n pointers in the configuration's memory
 */
void ngx_sio_app_set(ngx_sio_app_t **apps, ngx_uint_t n);

/* Finds one of them by its name; NULL if there is none. */
ngx_sio_app_t *ngx_sio_app_find(sio_span_t name);

/* Finds the location of app at a place; NULL if there is none. */
const ngx_sio_conf_t *ngx_sio_app_conf(ngx_sio_app_t *app, sio_span_t place);

/*
 * Finds a namespace of app in which this worker has sockets.
 *
 * takes    name: with its slash
 * returns  NULL if there is none
 */
ngx_sio_nsp_t *ngx_sio_nsp_find(ngx_sio_app_t *app, ngx_str_t *name);

/*
 * Finds it or creates it, empty.
 *
 * takes    name: copied
 * returns  NULL if there is no memory (counted)
 */
ngx_sio_nsp_t *ngx_sio_nsp_get(ngx_sio_app_t *app, ngx_str_t *name);

/* Frees nsp if it has neither sockets nor rooms. */
void ngx_sio_nsp_release(ngx_sio_nsp_t *nsp);

/*
 * Finds what a location says of a namespace: an exact name first, then the
 * regular expressions in their order.
 *
 * returns  NULL if it is none of them: "Invalid namespace"
 */
ngx_sio_nsp_conf_t *ngx_sio_nsp_match(const ngx_sio_conf_t *conf,
    ngx_str_t *name);


#endif /* NGX_SIO_NSP_H */
