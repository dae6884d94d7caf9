/*
 * Rules: events answered by the configuration (sio_on).
 */

#ifndef NGX_HTTP_SIO_RULES_H
#define NGX_HTTP_SIO_RULES_H

#include "http/ngx_http_sio.h"
#include "core/ngx_sio_socket.h"
#include "proto/sio_template.h"


typedef enum {
    NGX_HTTP_SIO_RULE_EMIT = 0,
    NGX_HTTP_SIO_RULE_BROADCAST,
    NGX_HTTP_SIO_RULE_REPLY,
    NGX_HTTP_SIO_RULE_ACK,
    NGX_HTTP_SIO_RULE_JOIN,
    NGX_HTTP_SIO_RULE_LEAVE,
    NGX_HTTP_SIO_RULE_DISCONNECT
} ngx_http_sio_rule_action_e;

/* what may follow an action */

#define NGX_HTTP_SIO_RULE_TO        0x01   /* to= except= member */
#define NGX_HTTP_SIO_RULE_EVENT     0x02   /* event= */
#define NGX_HTTP_SIO_RULE_ARGS      0x04   /* args= */
#define NGX_HTTP_SIO_RULE_SEND      0x08   /* volatile local */
#define NGX_HTTP_SIO_RULE_ROOM      0x10   /* one word: the room */
#define NGX_HTTP_SIO_RULE_CLOSE     0x20   /* close */


typedef struct {
    ngx_str_t                    name;
    ngx_http_sio_rule_action_e   action;
    ngx_uint_t                   takes;
} ngx_http_sio_rule_type_t;


typedef struct {
    const ngx_http_sio_rule_type_t  *type;
    ngx_array_t                  to;          /* sio_template_t */
    ngx_array_t                  except;      /* sio_template_t */
    sio_template_t              *event;
    sio_template_t              *args;
    sio_template_t              *room;
    unsigned                     volatil:1;
    unsigned                     local:1;
    unsigned                     member:1;
    unsigned                     close:1;
} ngx_http_sio_rule_t;


/* what an event runs, and to which handler it goes besides, or NULL */

typedef struct {
    ngx_array_t                  rules;       /* ngx_http_sio_rule_t */
    ngx_http_sio_handler_t      *handler;
} ngx_http_sio_rules_list_t;


typedef struct {
    ngx_str_node_t               sn;          /* the event's name */
    ngx_http_sio_rules_list_t    list;
} ngx_http_sio_rules_event_t;


struct ngx_http_sio_rules_s {
    ngx_rbtree_t                 events;      /* ngx_http_sio_rules_event_t */
    ngx_rbtree_node_t            sentinel;
    ngx_http_sio_rules_list_t    connection;
    ngx_http_sio_rules_list_t    disconnect;
    ngx_http_sio_rules_list_t    any;
    ngx_http_sio_handler_t      *handler;     /* sio_handler */
};


/*
 * Prepares the rules in a worker; called once, in the worker.
 *
 * returns  NGX_ERROR if there is no memory
 */
ngx_int_t ngx_http_sio_rules_init(ngx_cycle_t *cycle);

/* Gives back what ngx_http_sio_rules_init took. */
void ngx_http_sio_rules_done(void);

/*
 * Runs the rules of a socket that was admitted, or that leaves.
 *
 * may      close sockets and sessions
 */
void ngx_http_sio_rules_connection(ngx_sio_socket_t *sk);
void ngx_http_sio_rules_disconnect(ngx_sio_socket_t *sk);

/*
 * Runs those of an event.
 *
 * takes    ev: borrowed
 * returns  the handler to which it goes; NULL if to none
 * may      close sk and its session
 */
ngx_http_sio_handler_t *ngx_http_sio_rules_event(ngx_sio_socket_t *sk,
    ngx_sio_event_t *ev);


#endif /* NGX_HTTP_SIO_RULES_H */
