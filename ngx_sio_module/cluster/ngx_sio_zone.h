/*
 * The shared zone: the counters of all workers.  Nothing else is in it, so
 * that nothing breaks when another configuration brings another zone.
 */

#ifndef NGX_SIO_ZONE_H
#define NGX_SIO_ZONE_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_ZONE_MIN_SIZE  (8 * ngx_pagesize)


/* Prepares a zone; the init handler of an ngx_shm_zone_t. */
ngx_int_t ngx_sio_zone_init(ngx_shm_zone_t *zone, void *data);

/*
 * From here on this worker counts in the zone.  What the former worker of the
 * slot has counted is kept for the totals.
 */
void ngx_sio_zone_attach(ngx_shm_zone_t *zone, ngx_sio_origin_t origin);

/*
 * Gives the numbers of a living worker.
 *
 * returns  NULL if it does not count in this zone
 */
ngx_sio_stats_t *ngx_sio_zone_worker(ngx_sio_origin_t origin,
    ngx_pid_t *pid);

/* Sums up what all workers have counted, those that have ended too. */
void ngx_sio_zone_total(ngx_sio_stats_t *total);


#endif /* NGX_SIO_ZONE_H */
