/*
 * Backlogs: what is to be told of a socket, in its order, and the calls of
 * handlers that tell it.
 */

#ifndef NGX_HTTP_SIO_BACKLOG_H
#define NGX_HTTP_SIO_BACKLOG_H

#include "http/ngx_http_sio.h"
#include "http/ngx_http_sio_call.h"
#include "core/ngx_sio_op_json.h"
#include "core/ngx_sio_socket.h"


#define NGX_HTTP_SIO_SERVER_ERROR      "{\"message\":\"Server error\"}"


typedef enum {
    NGX_HTTP_SIO_ITEM_CONNECT = 0,
    NGX_HTTP_SIO_ITEM_EVENT,
    NGX_HTTP_SIO_ITEM_ACK,
    NGX_HTTP_SIO_ITEM_MISSING,
    NGX_HTTP_SIO_ITEM_DISCONNECT,
    NGX_HTTP_SIO_ITEM_N
} ngx_http_sio_item_type_e;


/* what a handler is told */

typedef struct {
    ngx_queue_t                    queue;
    ngx_http_sio_handler_t        *handler;
    uint64_t                       seq;
    uint64_t                       ack;         /* of the client; MISSING: how
                                                   many */
    size_t                         size;        /* what it costs */
    ngx_msec_t                     since;       /* when it came, or first found
                                                   no server, if tried */
    sio_span_t                     name;        /* EVENT: a JSON token; ACK,
                                                   MISSING: the token's text;
                                                   DISCONNECT: the reason */
    sio_span_t                     json;        /* EVENT, ACK: arguments;
                                                   CONNECT: auth */
    unsigned                       type:3;
    unsigned                       has_ack:1;
    unsigned                       acked:1;
    unsigned                       tried:1;
} ngx_http_sio_item_t;


typedef enum {
    NGX_HTTP_SIO_BACKLOG_IDLE = 0,
    NGX_HTTP_SIO_BACKLOG_WAITING,
    NGX_HTTP_SIO_BACKLOG_CALLING,
    NGX_HTTP_SIO_BACKLOG_APPLYING,
    NGX_HTTP_SIO_BACKLOG_ELSEWHERE
} ngx_http_sio_backlog_state_e;


typedef struct {
    ngx_str_node_t                 sn;          /* ELSEWHERE: the id */
    ngx_queue_t                    link;        /* WAITING */
    ngx_http_sio_loc_conf_t       *conf;
    ngx_http_sio_handler_t        *handler;     /* of those under way */
    ngx_sio_socket_t              *socket;      /* NULL: it has left */
    ngx_str_t                      nsp;
    ngx_str_t                      addr;

    ngx_queue_t                    items;       /* bound: handler_queue, and
                                                   what one read brings */
    ngx_queue_t                    flying;      /* those under way */
    size_t                         size;        /* of both */

    ngx_http_sio_call_t           *call;
    ngx_pool_t                    *pool;        /* of a response that came
                                                   from another worker */
    ngx_sio_origin_t               origin;      /* ELSEWHERE: who has the call;
                                                   moved: who has the socket,
                                                   0: nobody knows */

    ngx_http_sio_call_response_t  *response;    /* APPLYING */
    ngx_array_t                    ops;         /* ngx_sio_op_json_t */
    ngx_uint_t                     at;          /* the next one */

    ngx_event_t                    next;

    u_char                        *rooms;       /* JSON, when it left, and */
    size_t                         nrooms;
    size_t                         ndata;       /* behind it the data */

    u_char                         id[NGX_SIO_ID_LEN];

    unsigned                       state:3;
    unsigned                       has_id:1;
    unsigned                       paused:1;
    unsigned                       moved:1;     /* its session has, meanwhile */
    unsigned                       probe:1;     /* the handler's */
    unsigned                       connected:1; /* rules are still to run */
} ngx_http_sio_backlog_t;


/* the seam to who makes something of responses */

typedef struct {
    /* the call of a backlog is done */
    void  (*done)(ngx_http_sio_call_t *call);

    /* one that is APPLYING goes on in an event of its own, or the time is
       over for one that is ELSEWHERE */
    void  (*resume)(ngx_http_sio_backlog_t *b);
} ngx_http_sio_backlog_user_t;

extern const ngx_http_sio_backlog_user_t  *ngx_http_sio_backlog_user;

/* what stands for the response of a call that there was no memory for */

extern ngx_http_sio_call_response_t  ngx_http_sio_backlog_no_response;

/* bytes of backlogs whose sockets have left */

extern size_t  ngx_http_sio_backlog_orphans;


/* The backlog of sk; it is made if there is none.  NULL: no memory. */
ngx_http_sio_backlog_t *ngx_http_sio_backlog_get(ngx_sio_socket_t *sk);

/* Makes one without a socket; nsp and addr are copied.  NULL: no memory. */
ngx_http_sio_backlog_t *ngx_http_sio_backlog_create(
    ngx_http_sio_loc_conf_t *conf, ngx_str_t *nsp, ngx_str_t *addr);

/*
 * Makes an item, with room for its texts; NULL if there is no memory
 * (counted).
 */
ngx_http_sio_item_t *ngx_http_sio_backlog_item(
    ngx_http_sio_handler_t *handler, ngx_http_sio_item_type_e type,
    size_t name, size_t json);

/*
 * Appends an item, which is passed on.
 *
 * may      pause the session
 */
void ngx_http_sio_backlog_push(ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item);

/* Has an idle backlog go on in an event of its own. */
void ngx_http_sio_backlog_post(ngx_http_sio_backlog_t *b);

/*
 * Has an idle backlog go on with its next item; without one it is freed, and
 * a socket that is held refused.
 *
 * may      call the handler; free b; refuse and free its socket
 */
void ngx_http_sio_backlog_run(ngx_http_sio_backlog_t *b);

/* Puts an idle backlog in a queue of those that wait. */
void ngx_http_sio_backlog_wait(ngx_http_sio_backlog_t *b,
    ngx_queue_t *queue);

/* A place is free for those that wait for one; may as run. */
void ngx_http_sio_backlog_release(ngx_http_sio_loc_conf_t *conf);

/* Tells if the time of an item that finds no server is over. */
ngx_uint_t ngx_http_sio_backlog_due(ngx_http_sio_backlog_t *b,
    ngx_http_sio_item_t *item);

/* The first item will not be told: logs and counts it. */
void ngx_http_sio_backlog_lost(ngx_http_sio_backlog_t *b);

/* Drops what waits, as lost (counted). */
void ngx_http_sio_backlog_give_up(ngx_http_sio_backlog_t *b);

/*
 * The socket leaves: what it was is kept for what is still to be told.
 *
 * may      resume the session; drop items at the limit of all such backlogs
 */
void ngx_http_sio_backlog_detach(ngx_http_sio_backlog_t *b);

/* Pauses or resumes the session by what waits. */
void ngx_http_sio_backlog_pause(ngx_http_sio_backlog_t *b);

/* Frees all items of one of b's queues. */
void ngx_http_sio_backlog_drop_items(ngx_http_sio_backlog_t *b,
    ngx_queue_t *items);

/* Frees b, whose call must be done, with all that it has. */
void ngx_http_sio_backlog_free(ngx_http_sio_backlog_t *b);

/* Finds a handler of a location by its text; NULL if there is none. */
ngx_http_sio_handler_t *ngx_http_sio_backlog_handler(
    ngx_http_sio_loc_conf_t *conf, sio_span_t text);

/*
 * No server of a handler can be reached, or one can: while none can, one
 * backlog tries at a time.
 *
 * may      up: as run
 */
void ngx_http_sio_backlog_down(ngx_http_sio_handler_t *h);
void ngx_http_sio_backlog_up(ngx_http_sio_handler_t *h);

/* What ngx_http_sio_backlog_down times. */
void ngx_http_sio_backlog_timer(ngx_event_t *ev);

/*
 * Logs through the location's log, with the handler, the client's address
 * and, if it is known, the server's.
 */
void ngx_http_sio_backlog_log(ngx_uint_t level, ngx_http_sio_backlog_t *b,
    ngx_str_t *peer, const char *fmt, ...);


#endif /* NGX_HTTP_SIO_BACKLOG_H */
