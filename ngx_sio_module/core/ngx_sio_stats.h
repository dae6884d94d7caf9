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
    X(queued)                  /* references to them that wait */

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
    X(emits)                   /* emit operations applied */                  \
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
    X(connect_timeouts)                                                       \
    X(upgrade_timeouts)                                                       \
    X(memory_errors)           /* allocations that failed */


#define NGX_SIO_STATS_FIELD(name)  uint64_t  name;

typedef struct {
    NGX_SIO_GAUGES(NGX_SIO_STATS_FIELD)
    NGX_SIO_COUNTERS(NGX_SIO_STATS_FIELD)
} ngx_sio_stats_t;


extern ngx_sio_stats_t  ngx_sio_stats;

#define ngx_sio_count(name)      (ngx_sio_stats.name++)
#define ngx_sio_uncount(name)    (ngx_sio_stats.name--)
#define ngx_sio_add(name, n)     (ngx_sio_stats.name += (n))
#define ngx_sio_sub(name, n)     (ngx_sio_stats.name -= (n))


#endif /* NGX_SIO_STATS_H */
