/*
 * The end of a worker: at a reload its sessions stay and it with them; at an
 * orderly end it says goodbye to them.
 */

#ifndef NGX_SIO_EXIT_H
#define NGX_SIO_EXIT_H

#include "core/ngx_sio.h"


/* Prepares it, in a worker. */
void ngx_sio_exit_init(ngx_cycle_t *cycle);

/*
 * nginx has this worker exit; idempotent.
 *
 * may      answer GETs; as ngx_sio_exit_check
 */
void ngx_sio_exit_begin(void);

/*
 * Another worker that is exiting, or died, is replaced or is not.
 *
 * takes    replaced: one is to come in its place
 */
void ngx_sio_exit_expect(ngx_uint_t replaced);

/*
 * Looks whether the time for the goodbye has come: another worker is there,
 * exits or is gone.
 *
 * may      close all sessions
 */
void ngx_sio_exit_check(void);

/* Says goodbye: closes all sessions; idempotent. */
void ngx_sio_exit_goodbye(void);

/* Tells if this worker exits. */
ngx_uint_t ngx_sio_exit_begun(void);

/*
 * Tells if this worker has said goodbye: its sessions have ended, and there
 * are to be no others.
 */
ngx_uint_t ngx_sio_exit_ended(void);

/*
 * Bytes wait for other workers, or may wait no more: those keep a worker that
 * exits, for a while.
 */
void ngx_sio_exit_flushing(void);
void ngx_sio_exit_flushed(void);


#endif /* NGX_SIO_EXIT_H */
