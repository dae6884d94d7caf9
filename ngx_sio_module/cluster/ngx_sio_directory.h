/*
 * Who lives: the bus directory.  A worker is there while it holds the lock of
 * its slot; its listening socket carries slot and epoch in its name.
 */

#ifndef NGX_SIO_DIRECTORY_H
#define NGX_SIO_DIRECTORY_H

#include "core/ngx_sio.h"


#define NGX_SIO_MAX_SLOTS  1024

#define ngx_sio_origin(slot, epoch)                                           \
    (((ngx_sio_origin_t) (slot) << 32) | (uint32_t) (epoch))
#define ngx_sio_origin_slot(origin)  ((ngx_uint_t) ((origin) >> 32))


/*
 * Tells if the names of all sockets in a directory fit into an address.
 *
 * takes    path: of the directory
 */
ngx_uint_t ngx_sio_directory_fits(ngx_str_t *path);

/*
 * Creates the directory, or makes an existing one fit, and notes that there
 * is a new configuration.  Called in the master, for each configuration.
 *
 * takes    path: lives as long as the cycle
 *          user: of the workers
 * returns  NGX_OK or NGX_ERROR (logged)
 */
ngx_int_t ngx_sio_directory_create(ngx_cycle_t *cycle, ngx_str_t *path,
    ngx_uid_t user);

/* Removes the directory if nobody lives in it; called as the master exits. */
void ngx_sio_directory_remove(ngx_cycle_t *cycle);

/* Tells if there is a directory: without one each worker is on its own. */
ngx_uint_t ngx_sio_directory_exists(void);

/*
 * Claims the lowest free slot for this worker and listens in it.
 *
 * takes    origin: set
 * returns  the listening socket, non-blocking, or -1 (logged)
 */
ngx_socket_t ngx_sio_directory_claim(ngx_cycle_t *cycle,
    ngx_sio_origin_t *origin);

/* Gives the slot back. */
void ngx_sio_directory_release(void);

/* Calls f for all others who listen. */
void ngx_sio_directory_each(void (*f)(ngx_sio_origin_t origin));

/*
 * Connects to a worker and checks that it runs as the same user.
 *
 * returns  a non-blocking socket; NGX_DECLINED if nobody is there, NGX_AGAIN
 *          if it does not accept now, NGX_ERROR (logged)
 */
ngx_int_t ngx_sio_directory_connect(ngx_sio_origin_t origin,
    ngx_socket_t *fd);

/* Tells if the process at the other end runs as the same user. */
ngx_uint_t ngx_sio_directory_trusts(ngx_socket_t fd);

/*
 * Tells if the master has read a newer configuration than this worker's, so
 * that other workers are there or will be.
 */
ngx_uint_t ngx_sio_directory_renewed(void);


#endif /* NGX_SIO_DIRECTORY_H */
