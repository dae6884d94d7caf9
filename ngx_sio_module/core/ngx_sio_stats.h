/*
 * The counters of a worker.  A gauge goes up and down, a counter only up.
 */

#ifndef NGX_SIO_STATS_H
#define NGX_SIO_STATS_H

#include "core/ngx_sio.h"


#define NGX_SIO_GAUGES(X)                                                     \
    X(sessions)                /* Engine.IO sessions */                       \
    X(websockets)              /* of them those on a WebSocket */             \
    X(connections)             /* WebSocket connections, closing ones too */  \
    X(requests)                /* polling requests held */                    \
    X(sockets)                 /* sessions x namespaces */                    \
    X(namespaces)                                                             \
    X(rooms)                                                                  \
    X(messages)                /* encoded messages in memory */               \
    X(queued)                  /* references to them that wait */             \
    X(links)                   /* streams to other workers */                \
    X(handler_running)         /* requests to handlers under way */           \
    X(handler_queued)          /* events that wait for them, those included */\
    X(relays_held)             /* requests held for other workers' sessions */\
    X(moves_pending)           /* upgrades of other workers' sessions */      \
    X(bus_unsent)              /* bytes that wait for other workers */

#define NGX_SIO_COUNTERS(X)                                                   \
    X(handshakes)                                                             \
    X(request_errors)          /* requests refused with a code */             \
    X(upgrades)                /* polling sessions that became WebSockets */  \
    X(upgrades_abandoned)                                                     \
    X(connects)                /* sockets admitted */                         \
    X(connect_errors)                                                         \
    X(packets_in)              /* Engine.IO packets */                        \
    X(bytes_in)                                                               \
    X(bytes_out)                                                              \
    X(events)                  /* events received */                          \
    X(events_unhandled)        /* of them those without a rule */             \
    X(acks_sent)                                                              \
    X(acks_unknown)            /* acknowledgements nobody waits for */        \
    X(acks_asked)              /* emits that ask for acknowledgements */      \
    X(acks_received)           /* acknowledgements of clients */              \
    X(acks_missing)            /* those that did not come in time */          \
    X(handler_requests)        /* requests to handlers */                     \
    X(handler_retries)         /* of them those that found no server */       \
    X(handler_errors)          /* those without a valid response */           \
    X(handler_timeouts)        /* of them those that took too long */         \
    X(handler_lost)            /* events that no handler will hear of */      \
    X(emits)                   /* emit operations of rules and the API */     \
    X(deliveries)              /* packets queued for recipients */            \
    X(volatile_dropped)                                                       \
    X(names_invalid)           /* rule values that are no name */             \
    X(names_reserved)          /* events not sent for their name */           \
    X(members_refused)         /* emits to rooms the sender is not in */      \
    X(args_refused)            /* results with too many attachments */        \
    X(parse_errors)                                                           \
    X(heartbeats)              /* pongs received */                           \
    X(origins_refused)                                                        \
    X(limit_payload)                                                          \
    X(limit_queue)                                                            \
    X(limit_attachments)                                                      \
    X(limit_namespaces)                                                       \
    X(limit_rooms)                                                            \
    X(limit_depth)                                                            \
    X(limit_sessions)                                                         \
    X(limit_data)                                                             \
    X(limit_acks)                                                             \
    X(limit_handler_queue)     /* times that a client was not read from */    \
    X(connect_timeouts)                                                       \
    X(upgrade_timeouts)                                                       \
    X(moves)                   /* sessions taken over from other workers */   \
    X(moves_replayed)          /* of them those with an op in the log */      \
    X(moves_failed)                                                           \
    X(relays)                  /* requests passed to other workers */         \
    X(relayed)                 /* requests that came from other workers */    \
    X(ops_published)           /* ops numbered for all workers */             \
    X(questions)               /* asked of all workers */                     \
    X(questions_partial)       /* of them those not answered by all */        \
    X(bus_messages_out)        /* one for each other worker */                \
    X(bus_messages_in)                                                        \
    X(bus_bytes_out)                                                          \
    X(bus_bytes_in)                                                           \
    X(bus_cuts)                /* links cut because a worker lagged */        \
    X(bus_lags)                /* times that this worker was cut off */       \
    X(bus_errors)              /* what other workers sent and was refused */  \
    X(memory_errors)           /* allocations that failed */


#define NGX_SIO_STATS_FIELD(name)  uint64_t  name;

typedef struct {
    NGX_SIO_GAUGES(NGX_SIO_STATS_FIELD)
    NGX_SIO_COUNTERS(NGX_SIO_STATS_FIELD)
    uint64_t  closed[NGX_SIO_REASON_N];    /* sessions ended */
} ngx_sio_stats_t;


/* this worker's, in memory that all workers share */

extern ngx_sio_stats_t  *ngx_sio_stats;

#define ngx_sio_count(name)      (ngx_sio_stats->name++)
#define ngx_sio_uncount(name)    (ngx_sio_stats->name--)
#define ngx_sio_add(name, n)     (ngx_sio_stats->name += (n))
#define ngx_sio_sub(name, n)     (ngx_sio_stats->name -= (n))


#endif /* NGX_SIO_STATS_H */
