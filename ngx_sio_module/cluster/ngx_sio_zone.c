/*
 * A slot is written by the worker that holds it and by nobody else, without
 * a lock; others read it, number by number.  The counters of a worker that
 * has ended stay until the next one takes its slot and adds them to those
 * of the past; its gauges went with it.
 */

#include "cluster/ngx_sio_zone.h"
#include "cluster/ngx_sio_directory.h"


typedef struct {
    ngx_sio_origin_t     origin;       /* 0: nobody counts here */
    ngx_pid_t            pid;
    ngx_sio_stats_t      stats;
} __attribute__((aligned(64))) ngx_sio_zone_slot_t;


typedef struct {
    ngx_sio_stats_t      past;
    ngx_uint_t           n;
    ngx_sio_zone_slot_t  slots[];
} ngx_sio_zone_t;


static void ngx_sio_zone_add(ngx_sio_stats_t *to, ngx_sio_stats_t *stats);


static ngx_sio_zone_t  *ngx_sio_zone;
static ngx_slab_pool_t *ngx_sio_zone_pool;

static ngx_sio_origin_t  ngx_sio_zone_own;


ngx_int_t
ngx_sio_zone_init(ngx_shm_zone_t *zone, void *data)
{
    size_t            size;
    ngx_uint_t        n;
    ngx_sio_zone_t   *z;
    ngx_slab_pool_t  *pool;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    pool = (ngx_slab_pool_t *) zone->shm.addr;

    /* as many slots as there is room for */

    size = (size_t) (pool->end - pool->start);
    n = (size - sizeof(ngx_sio_zone_t) - 64) / sizeof(ngx_sio_zone_slot_t);
    n = ngx_min(n, NGX_SIO_MAX_SLOTS);

    z = ngx_slab_calloc(pool, sizeof(ngx_sio_zone_t)
                              + n * sizeof(ngx_sio_zone_slot_t));
    if (z == NULL) {
        return NGX_ERROR;
    }

    z->n = n;
    zone->data = z;

    return NGX_OK;
}


void
ngx_sio_zone_attach(ngx_shm_zone_t *zone, ngx_sio_origin_t origin)
{
    ngx_uint_t            slot;
    ngx_sio_zone_slot_t  *zs;

    ngx_sio_zone = zone->data;
    ngx_sio_zone_pool = (ngx_slab_pool_t *) zone->shm.addr;
    ngx_sio_zone_own = origin;

    slot = ngx_sio_origin_slot(origin);

    if (slot >= ngx_sio_zone->n) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "sio: \"sio_zone\" has room for %ui workers, this one "
                      "in slot %ui is not in the totals", ngx_sio_zone->n,
                      slot);
        return;
    }

    zs = &ngx_sio_zone->slots[slot];

    ngx_shmtx_lock(&ngx_sio_zone_pool->mutex);

    ngx_sio_zone_add(&ngx_sio_zone->past, &zs->stats);
    ngx_memzero(&zs->stats, sizeof(ngx_sio_stats_t));

    zs->origin = origin;
    zs->pid = ngx_pid;

    ngx_shmtx_unlock(&ngx_sio_zone_pool->mutex);

    ngx_sio_stats = &zs->stats;
}


/* counters only: gauges of the dead are nothing */

static void
ngx_sio_zone_add(ngx_sio_stats_t *to, ngx_sio_stats_t *stats)
{
    ngx_uint_t  i;

#define NGX_SIO_ZONE_ADD(name)  to->name += stats->name;

    NGX_SIO_COUNTERS(NGX_SIO_ZONE_ADD)

    for (i = 0; i < NGX_SIO_REASON_N; i++) {
        to->closed[i] += stats->closed[i];
    }
}


ngx_sio_stats_t *
ngx_sio_zone_worker(ngx_sio_origin_t origin, ngx_pid_t *pid)
{
    ngx_uint_t            slot;
    ngx_sio_zone_slot_t  *zs;

    slot = ngx_sio_origin_slot(origin);

    if (origin == ngx_sio_zone_own) {
        *pid = ngx_pid;
        return ngx_sio_stats;
    }

    if (ngx_sio_zone == NULL || slot >= ngx_sio_zone->n) {
        return NULL;
    }

    zs = &ngx_sio_zone->slots[slot];

    if (zs->origin != origin) {
        return NULL;
    }

    *pid = zs->pid;

    return &zs->stats;
}


void
ngx_sio_zone_total(ngx_sio_stats_t *total)
{
    ngx_uint_t  i;

    ngx_memzero(total, sizeof(ngx_sio_stats_t));

    if (ngx_sio_zone == NULL) {
        ngx_sio_zone_add(total, ngx_sio_stats);
        return;
    }

    ngx_shmtx_lock(&ngx_sio_zone_pool->mutex);

    ngx_sio_zone_add(total, &ngx_sio_zone->past);

    for (i = 0; i < ngx_sio_zone->n; i++) {
        if (ngx_sio_zone->slots[i].origin) {
            ngx_sio_zone_add(total, &ngx_sio_zone->slots[i].stats);
        }
    }

    ngx_shmtx_unlock(&ngx_sio_zone_pool->mutex);
}
