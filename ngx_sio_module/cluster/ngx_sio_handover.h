/*
 * An upgrade whose WebSocket request landed on another worker than its
 * session: the session's way there.  The one that holds the connection is the
 * taker, the one that has the session its owner.
 */

#ifndef NGX_SIO_HANDOVER_H
#define NGX_SIO_HANDOVER_H

#include "core/ngx_sio.h"
#include "core/ngx_sio_session.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_move.h"
#include "proto/sio_wire.h"


/* what the taker knows of the request */

typedef struct {
    ngx_sio_app_t        *app;
    sio_span_t            app_name;
    sio_span_t            sid;

    unsigned              websocket:1;    /* the transport asked for */
    unsigned              version:1;      /* of Engine.IO, is ours */
    unsigned              valid:1;        /* RFC 6455, 4.2.1 */
    unsigned              origin:1;       /* its Origin may pass */
} ngx_sio_probe_t;


typedef enum {
    NGX_SIO_CONSENT_GO = 0,      /* answer 101 and the client's probe */
    NGX_SIO_CONSENT_REFUSE,      /* 101, then close */
    NGX_SIO_CONSENT_ERROR        /* an Engine.IO error */
} ngx_sio_consent_e;


typedef struct ngx_sio_handover_s  ngx_sio_handover_t;

/*
 * The seam to who holds the connection, first a request, then a WebSocket.
 * After gone or settled the handover does not exist any more.
 */

typedef struct {
    /* the owner's answer; but for GO the handover is over with it */
    void  (*consent)(void *data, ngx_sio_consent_e consent,
        sio_eio_error_t error);

    /* makes the session of what the owner wrote; NULL if that fails */
    ngx_sio_session_t  *(*install)(void *data, sio_in_t *in);

    /* it has all that was for it; with failed it must end at once */
    void  (*settled)(void *data, ngx_sio_session_t *s, ngx_uint_t failed);

    /* it will not come */
    void  (*gone)(void *data);
} ngx_sio_taker_t;

struct ngx_sio_handover_s {
    ngx_sio_take_t           take;
    const ngx_sio_taker_t   *taker;
    void                    *data;
    ngx_sio_session_t       *session;     /* between install and settled */
};


/*
 * The seam to who knows the requests' rules, at the owner: judges a probe as
 * a request of its own.
 *
 * takes    s: set to the session for GO; error: set for ERROR
 */

typedef ngx_sio_consent_e (*ngx_sio_handover_judge_pt)(ngx_sio_probe_t *probe,
    ngx_sio_session_t **s, sio_eio_error_t *error);

extern ngx_sio_handover_judge_pt  ngx_sio_handover_judge;


/* Begins and ends with the bus; limit: bytes that a state may have. */
void ngx_sio_handover_init(size_t limit);
void ngx_sio_handover_done(void);

/*
 * The bus: a worker is gone, or (dead is 0) what it sent has a gap.
 *
 * may      close sessions that were on their way there or from there; call
 *          consent and gone of takers
 */
void ngx_sio_handover_gone(ngx_sio_origin_t origin, ngx_uint_t dead);

/*
 * The bus: a frame from PROBE to ENDED.
 *
 * takes    in: borrowed, behind the frame's header
 * returns  NGX_ERROR if it is not valid: its stream is to be closed
 * may      call all of a taker; close the session that it is about
 */
ngx_int_t ngx_sio_handover_handle(ngx_sio_origin_t from,
    ngx_sio_frame_e type, sio_in_t *in);

/* Tells where a session is that has moved; 0 if it is not known. */
ngx_sio_origin_t ngx_sio_handover_where(sio_span_t sid);

/* This worker's mover. */
ngx_sio_mover_t *ngx_sio_handover_mover(void);

/*
 * Asks a session's owner whether its client may upgrade here.
 *
 * takes    probe: borrowed
 * returns  NULL if there is no memory (counted)
 */
ngx_sio_handover_t *ngx_sio_handover_probe(ngx_sio_origin_t owner,
    ngx_sio_probe_t *probe, const ngx_sio_taker_t *taker, void *data);

/* From here on another one holds the connection. */
void ngx_sio_handover_attach(ngx_sio_handover_t *h,
    const ngx_sio_taker_t *taker, void *data);

/* The client has probed: from now on its GETs are released. */
void ngx_sio_handover_probed(ngx_sio_handover_t *h);

/* The client will not upgrade: its session polls on.  h is freed. */
void ngx_sio_handover_abandon(ngx_sio_handover_t *h);

/*
 * The client has stopped polling: asks for the session.  There is no way
 * back from here.
 *
 * returns  NGX_ERROR if there is no memory: nothing has changed
 */
ngx_int_t ngx_sio_handover_take(ngx_sio_handover_t *h);

/* Tells if a session was here and is with another worker now. */
ngx_uint_t ngx_sio_handover_moved(ngx_sio_app_t *app, sio_span_t sid);


#endif /* NGX_SIO_HANDOVER_H */
