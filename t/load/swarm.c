/*
 * The swarm: thousands of Socket.IO clients in one process on one epoll, who
 * find out whether the workers of an nginx behave as one server.  Sources, each
 * on another worker, emit numbered ticks to everybody; each client counts them,
 * sends echoes, gets messages of its own, polls or upgrades on whatever worker
 * takes the connection.  Everything has to arrive exactly once and in order.
 *
 * The location that it talks to:
 *
 *     sio; sio_data pid $pid;
 *     sio_on whoami ack 'args=["$sio_data_pid"]';
 *     sio_on tick   emit;
 *     sio_on echo   reply;
 *     sio_on direct emit to=$sio_arg1;
 *
 * A connection that fails is noticed in the event loop alone, never while
 * something is sent: whoever sends need not fear that a client vanishes.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>


#define SWARM_EVENTS     512
#define SWARM_SID        64
#define SWARM_SOURCES    512            /* in all, names are never reused */
#define SWARM_OTHERS     64             /* prospects, and sources that leave */
#define SWARM_TRIES      400            /* WebSockets to find all workers */
#define SWARM_PROSPECTS  16             /* of these at a time */
#define SWARM_TIMES      256            /* ticks, echoes with a known time */
#define SWARM_PRINTED    20             /* errors on stderr */
#define SWARM_BUCKETS    (28 * 32)
#define SWARM_IN         (16 << 20)     /* bytes of a message, of an answer */
#define SWARM_OUT        (1 << 20)      /* bytes that a server does not read */

/* microseconds */
#define SWARM_DUE        15000000       /* for what has not come yet */
#define SWARM_CONNECT    20000000       /* for handshake and CONNECT */
#define SWARM_UPGRADE    10000000       /* from the probe to an answer */
#define SWARM_LEAVE      10000000       /* for an orderly end */
#define SWARM_BURST      500000         /* for a burst to be ready */
#define SWARM_AGAIN      50000          /* until a client comes back */
#define SWARM_CROWDED    10000          /* until it looks again for a place */

/* RFC 6455, 1.3: the sample key and its answer */
#define SWARM_KEY        "dGhlIHNhbXBsZSBub25jZQ=="
#define SWARM_ACCEPT     "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define swarm_printf(n)  __attribute__((format(printf, n, n + 1)))


typedef struct swarm_peer_s  swarm_peer_t;
typedef struct swarm_conn_s  swarm_conn_t;


typedef struct {
    char           *data;
    size_t          len, size;
} swarm_buf_t;


typedef struct {
    uint64_t        at;
    size_t          slot;       /* in the heap, 0: not set */
    void          (*handler)(void *data);
    void           *data;
} swarm_timer_t;


typedef struct {
    uint64_t        count, max;
    unsigned        buckets[SWARM_BUCKETS];
} swarm_hist_t;


struct swarm_conn_s {
    int             fd;
    int             error;      /* met while sending */
    unsigned        websocket:1;
    unsigned        open:1;     /* WebSocket: 101 has come */
    unsigned        post:1;
    unsigned        busy:1;     /* a request awaits its answer */
    unsigned        used:1;     /* this is not its first request */
    unsigned        got:1;      /* a byte of the answer was there */
    unsigned        done:1;     /* has no peer, waits for the server's end */
    uint32_t        events;
    BIO            *bio;
    swarm_peer_t   *peer;
    swarm_buf_t     in, out;
    swarm_conn_t   *next;       /* closed, to be freed */
};


/* what a peer has seen of a source */

typedef struct {
    unsigned        last;       /* its last tick; if there was none yet, */
    unsigned        some;       /* the last one that may be missing */
    unsigned        direct_sent, direct_got;
} swarm_seen_t;


typedef enum {
    swarm_client = 0,
    swarm_prospect,             /* a WebSocket that may become a source */
    swarm_ticker                /* a source */
} swarm_kind_e;


/* when a prospect becomes a source */

typedef enum {
    swarm_want_first = 0,       /* if sources are missing, on a new worker */
    swarm_want_new,             /* on a worker without one */
    swarm_want_any
} swarm_want_e;


typedef enum {
    swarm_idle = 0,             /* not started, or about to come again */
    swarm_handshake,
    swarm_connect,              /* "40" was sent */
    swarm_ready,
    swarm_leaving,
    swarm_left,
    swarm_dead
} swarm_state_e;


typedef enum {
    swarm_up_none = 0,
    swarm_up_probe,             /* polls on, awaits 3probe */
    swarm_up_pause,             /* waits for requests under way */
    swarm_up_ready,             /* waits for its burst */
    swarm_up_five,              /* "5" was sent, whoami awaits its answer */
    swarm_up_done
} swarm_up_e;


typedef enum {
    swarm_active = 0,
    swarm_closing,              /* leaves, nothing more is sent */
    swarm_orderly,
    swarm_broken                /* what was sent last may not have arrived */
} swarm_end_e;


typedef struct {
    unsigned        sent;
    swarm_end_e     end;
    unsigned        pid;
    swarm_peer_t   *peer;
    swarm_timer_t   timer;
    uint64_t        at[SWARM_TIMES];
} swarm_source_t;


struct swarm_peer_s {
    swarm_kind_e    kind;
    swarm_want_e    want;
    swarm_state_e   state;
    swarm_up_e      up;
    unsigned        session;    /* counts, as one may end while it is served */
    unsigned        websocket:1;    /* the transport in use */
    unsigned        opening:1;
    unsigned        burst:1;
    unsigned        closed:1;   /* leaving by polling: "1" was sent */
    unsigned        acked:1;    /* and answered */
    unsigned        acks;
    uint64_t        beat;       /* a ping comes within this time */
    swarm_conn_t   *ws, *get, *post;
    swarm_buf_t     pending;    /* packets for the next POST, or the upgrade */
    swarm_timer_t   alive, echo, upgrade;
    swarm_source_t *source;
    unsigned        echo_sent, echo_got;
    uint64_t        echo_at[SWARM_TIMES];
    char            sid[SWARM_SID], id[SWARM_SID];
    swarm_seen_t    seen[SWARM_SOURCES];
};


/* why a session ends, see swarm_fail() */

typedef enum {
    swarm_drop = 0,
    swarm_reset,                /* no byte of an answer has come */
    swarm_wrong                 /* an error whatever is tolerated */
} swarm_why_e;


typedef enum {
    swarm_phase_sources = 0,
    swarm_phase_open,
    swarm_phase_upgrade,
    swarm_phase_traffic,
    swarm_phase_due,
    swarm_phase_leave
} swarm_phase_e;


static void swarm_fail(swarm_peer_t *p, swarm_why_e why, const char *fmt, ...)
    swarm_printf(3);
static void swarm_up_fail(swarm_peer_t *p, swarm_why_e why, const char *fmt,
    ...) swarm_printf(3);
static void swarm_error(swarm_peer_t *p, const char *fmt, ...) swarm_printf(2);
static void swarm_send(swarm_peer_t *p, const char *fmt, ...) swarm_printf(2);
static void swarm_buf_print(swarm_buf_t *b, const char *fmt, ...)
    swarm_printf(2);
static size_t swarm_decode(swarm_conn_t *c, const char *p, size_t len);
static void swarm_leave(swarm_peer_t *p);
static void swarm_burst_leave(swarm_peer_t *p);


/* the command line */
static const char  *swarm_url = "", *swarm_mode = "websocket";
static unsigned     swarm_clients = 1, swarm_sources = 1, swarm_opening = 50;
static unsigned     swarm_spread, swarm_refresh, swarm_burst_size;
static double       swarm_tick_rate = 5, swarm_echo_rate = 0.5;
static double       swarm_direct_rate = 5, swarm_duration = -1;
static double       swarm_timeout = 120;
static int          swarm_keepalive, swarm_hasty, swarm_reconnect;
static int          swarm_tolerate, swarm_stdin, swarm_verbose;
static int          swarm_polling, swarm_upgrading;
static char         swarm_host[64], swarm_path[256];
static SSL_CTX     *swarm_tls;
static SSL_SESSION *swarm_tls_session;
static struct sockaddr_in  swarm_server;


static struct {
    const char     *name;
    char            type;
    void           *value;
    const char     *help;
} swarm_options[] = {
    { "url", 's', &swarm_url, "http[s]://127.x.y.z:PORT/PATH/" },
    { "clients", 'n', &swarm_clients, "(1)" },
    { "mode", 's', &swarm_mode, "websocket, polling, upgrade (websocket)" },
    { "sources", 'n', &swarm_sources, "sources, each on another worker (1)" },
    { "tick-rate", 'r', &swarm_tick_rate, "a second, of each source (5)" },
    { "refresh-sources", 'n', &swarm_refresh, "looks for a worker without a"
      " source every so many ms (0: never)" },
    { "echo-rate", 'r', &swarm_echo_rate, "a second, of each client (0.5)" },
    { "direct-rate", 'r', &swarm_direct_rate, "a second, of all sources (5)" },
    { "opening", 'n', &swarm_opening, "clients on their way at a time (50)" },
    { "spread", 'n', &swarm_spread, "their start takes so many ms (0)" },
    { "burst", 'n', &swarm_burst_size, "upgrades so many at once, once all"
      " clients poll (0: each one upgrades when it is connected)" },
    { "keepalive", 'f', &swarm_keepalive, "polling reuses its connections" },
    { "hasty", 'f', &swarm_hasty, "closes a connection when the answer is"
      " there; otherwise the server closes first" },
    { "reconnect", 'f', &swarm_reconnect, "a session that is dropped is"
      " counted and comes again" },
    { "tolerate-resets", 'f', &swarm_tolerate, "so is one whose request got"
      " no answer at all" },
    { "duration", 'r', &swarm_duration, "seconds of traffic once all are"
      " there (5; with --stdin without an end)" },
    { "timeout", 'r', &swarm_timeout, "fails after so many seconds (120)" },
    { "stdin", 'f', &swarm_stdin, "reads \"report\", and \"stop\" or its end" },
    { "verbose", 'f', &swarm_verbose, "says who is dropped, and why" },
};

#define SWARM_OPTIONS  (sizeof(swarm_options) / sizeof(swarm_options[0]))


/* what runs */
static int              swarm_ep;
static uint64_t         swarm_now, swarm_seed = 88172645463325252;
static swarm_phase_e    swarm_phase;
static int              swarm_complete;     /* all have been there once */
static swarm_peer_t    *swarm_peers;        /* clients first, then others */
static unsigned         swarm_npeers;
static swarm_source_t   swarm_source[SWARM_SOURCES];
static unsigned         swarm_nsources, swarm_nactive;
static swarm_conn_t    *swarm_closed;
static swarm_timer_t  **swarm_heap;
static size_t           swarm_nheap, swarm_heap_size;
static swarm_timer_t    swarm_direct_timer, swarm_burst_timer;
static swarm_timer_t    swarm_refresh_timer, swarm_phase_timer, swarm_end_timer;
static unsigned         swarm_nopening, swarm_nready, swarm_nupgraded;
static unsigned         swarm_ndead, swarm_nleaving, swarm_next_leave;
static unsigned         swarm_tries, swarm_conns;
static unsigned         swarm_burst_left, swarm_burst_unready;
static int              swarm_burst_fired;
static int              swarm_quiet;        /* errors are looked for only */
static unsigned         swarm_found;        /* then */

/* what it was like */
static unsigned  swarm_ready_kept, swarm_upgraded_kept;
static unsigned  swarm_ticks_sent, swarm_ticks, swarm_echoes_sent, swarm_echoes;
static unsigned  swarm_directs_sent, swarm_directs, swarm_dropped;
static unsigned  swarm_reset_drops, swarm_resets_fresh, swarm_resets_keepalive;
static unsigned  swarm_errors, swarm_up_failures;
static swarm_hist_t  swarm_tick_hist, swarm_echo_hist;

static struct {
    char            key[24];
    unsigned        count;
} swarm_statuses[32];


static void swarm_die(const char *fmt, ...) swarm_printf(1);

static void
swarm_die(const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    fputs("swarm: ", stderr);
    vfprintf(stderr, fmt, args);
    fputs("\n", stderr);
    va_end(args);

    exit(1);
}


static void *
swarm_alloc(void *old, size_t size)
{
    void  *p;

    p = realloc(old, size);
    if (p == NULL) {
        swarm_die("no memory");
    }

    return p;
}


static uint64_t
swarm_clock(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


static unsigned
swarm_random(unsigned below)
{
    swarm_seed ^= swarm_seed << 13;
    swarm_seed ^= swarm_seed >> 7;
    swarm_seed ^= swarm_seed << 17;

    return (unsigned) ((swarm_seed >> 32) % below);
}


/* one line on stderr: who, and what */

static void
swarm_say(swarm_peer_t *p, const char *what, const char *fmt, va_list args)
{
    unsigned  i;

    i = (unsigned) (p - swarm_peers);

    if (p->kind == swarm_ticker) {
        fprintf(stderr, "swarm: %ssource s%u, worker %u", what,
                (unsigned) (p->source - swarm_source), p->source->pid);

    } else {
        fprintf(stderr, "swarm: %s%s %u", what,
                i < swarm_clients ? "client" : "prospect",
                i < swarm_clients ? i : i - swarm_clients);
    }

    fputs(p->websocket ? ", websocket, "
          : p->up != swarm_up_none ? ", upgrading, " : ", polling, ", stderr);
    vfprintf(stderr, fmt, args);
    fputs("\n", stderr);
}


static void
swarm_error(swarm_peer_t *p, const char *fmt, ...)
{
    va_list  args;

    if (swarm_quiet) {
        swarm_found++;
        return;
    }

    if (swarm_errors++ < SWARM_PRINTED) {
        va_start(args, fmt);
        swarm_say(p, "", fmt, args);
        va_end(args);
    }
}


/* Timers: a heap, the first one is in slot 1 */

static void
swarm_timer_place(swarm_timer_t *t, size_t slot)
{
    swarm_heap[slot] = t;
    t->slot = slot;
}


static void
swarm_timer_settle(swarm_timer_t *t, size_t slot)
{
    size_t  child;

    while (slot > 1 && swarm_heap[slot / 2]->at > t->at) {
        swarm_timer_place(swarm_heap[slot / 2], slot);
        slot /= 2;
    }

    while ((child = slot * 2) <= swarm_nheap) {
        child += (child < swarm_nheap
                  && swarm_heap[child + 1]->at < swarm_heap[child]->at);

        if (swarm_heap[child]->at >= t->at) {
            break;
        }

        swarm_timer_place(swarm_heap[child], slot);
        slot = child;
    }

    swarm_timer_place(t, slot);
}


static void
swarm_timer_off(swarm_timer_t *t)
{
    size_t          slot;
    swarm_timer_t  *last;

    slot = t->slot;

    if (slot) {
        t->slot = 0;
        last = swarm_heap[swarm_nheap--];

        if (last != t) {
            swarm_timer_settle(last, slot);
        }
    }
}


static void
swarm_timer_at(swarm_timer_t *t, uint64_t at)
{
    swarm_timer_off(t);

    if (swarm_nheap + 2 > swarm_heap_size) {
        swarm_heap_size = swarm_heap_size * 2 + 64;
        swarm_heap = swarm_alloc(swarm_heap,
                                 swarm_heap_size * sizeof(swarm_timer_t *));
    }

    t->at = at;
    swarm_timer_settle(t, ++swarm_nheap);
}


static void
swarm_timer_in(swarm_timer_t *t, uint64_t us)
{
    swarm_timer_at(t, swarm_now + us);
}


/* what is done so many times a second; it catches up to a second at most */

static void
swarm_timer_next(swarm_timer_t *t, double rate)
{
    uint64_t  at;

    at = t->at + 1 + (uint64_t) (1000000 / rate);

    swarm_timer_at(t, at + 1000000 < swarm_now ? swarm_now + 1 : at);
}


static void
swarm_timer_init(swarm_timer_t *t, void (*handler)(void *), void *data)
{
    t->handler = handler;
    t->data = data;
}


/* Latencies: 32 buckets for each power of two, in microseconds */

static void
swarm_hist_add(swarm_hist_t *h, uint64_t us)
{
    unsigned  shift, i;

    for (shift = 0; (us >> shift) >= 64; shift++) { /* void */ }

    i = shift * 32 + (unsigned) (us >> shift);
    h->buckets[i < SWARM_BUCKETS ? i : SWARM_BUCKETS - 1]++;
    h->count++;
    h->max = us > h->max ? us : h->max;
}


/* the upper bound of the bucket that has it, in milliseconds */

static double
swarm_hist_at(swarm_hist_t *h, double part)
{
    double    seen;
    unsigned  i, shift;
    uint64_t  us;

    for (i = 0, seen = 0; i < SWARM_BUCKETS; i++) {
        seen += h->buckets[i];

        if (h->buckets[i] && seen >= part * (double) h->count) {
            shift = i < 64 ? 0 : i / 32 - 1;
            us = ((uint64_t) (i - shift * 32 + 1) << shift) - 1;
            return (double) (us < h->max ? us : h->max) / 1000;
        }
    }

    return 0;
}


static void
swarm_print_hist(const char *name, swarm_hist_t *h)
{
    printf(",\"%s\":{\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f}", name,
           swarm_hist_at(h, 0.5), swarm_hist_at(h, 0.99),
           (double) h->max / 1000);
}


static void
swarm_print_result(void)
{
    int       kept;
    unsigned  i;

    kept = (swarm_phase == swarm_phase_leave);

    printf("{\"event\":\"result\",\"clients\":%u,\"ready\":%u,\"upgraded\":%u,"
           "\"ticks_sent\":%u,\"ticks_received\":%u,\"echoes\":%u,"
           "\"directs\":%u,\"dropped\":%u,\"reset_drops\":%u,"
           "\"resets_fresh\":%u,\"resets_keepalive\":%u,\"errors\":%u,"
           "\"statuses\":{",
           swarm_clients, kept ? swarm_ready_kept : swarm_nready,
           kept ? swarm_upgraded_kept : swarm_nupgraded, swarm_ticks_sent,
           swarm_ticks, swarm_echoes, swarm_directs, swarm_dropped,
           swarm_reset_drops, swarm_resets_fresh, swarm_resets_keepalive,
           swarm_errors);

    for (i = 0; i < 32 && swarm_statuses[i].count; i++) {
        printf("%s\"%s\":%u", i ? "," : "", swarm_statuses[i].key,
               swarm_statuses[i].count);
    }

    printf("}");
    swarm_print_hist("tick_ms", &swarm_tick_hist);
    swarm_print_hist("echo_ms", &swarm_echo_hist);
    printf(",\"echoes_sent\":%u,\"directs_sent\":%u,\"sources\":%u,"
           "\"upgrade_failures\":%u,\"connections\":%u}\n",
           swarm_echoes_sent, swarm_directs_sent, swarm_nsources,
           swarm_up_failures, swarm_conns);
    fflush(stdout);
}


static void
swarm_print_event(const char *event)
{
    printf("{\"event\":\"%s\"}\n", event);
    fflush(stdout);
}


static void
swarm_count_status(unsigned status, const char *body, size_t len)
{
    char      key[24];
    unsigned  i;

    if (len > 8 && memcmp(body, "{\"code\":", 8) == 0) {
        snprintf(key, sizeof(key), "%u/%c", status, body[8]);

    } else {
        snprintf(key, sizeof(key), "%u", status);
    }

    for (i = 0; i < 31 && swarm_statuses[i].count; i++) {
        if (strcmp(swarm_statuses[i].key, key) == 0) {
            break;
        }
    }

    strcpy(swarm_statuses[i].key, key);
    swarm_statuses[i].count++;
}


/* Connections */

static void
swarm_buf_reserve(swarm_buf_t *b, size_t more)
{
    if (b->len + more > b->size) {
        b->size = (b->len + more) * 2;
        b->data = swarm_alloc(b->data, b->size);
    }
}


static void
swarm_buf_add(swarm_buf_t *b, const void *data, size_t len)
{
    if (len) {
        swarm_buf_reserve(b, len);
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}


static void
swarm_buf_print(swarm_buf_t *b, const char *fmt, ...)
{
    va_list  args;

    swarm_buf_reserve(b, 1024);

    va_start(args, fmt);
    b->len += (size_t) vsnprintf(b->data + b->len, 1024, fmt, args);
    va_end(args);
}


static void
swarm_buf_free(swarm_buf_t *b)
{
    free(b->data);
    memset(b, 0, sizeof(swarm_buf_t));
}


/* an error makes the next event come at once, see the top of this file */

static void
swarm_conn_flush(swarm_conn_t *c)
{
    int                 n;
    size_t              done;
    struct epoll_event  ev;

    for (done = 0; c->error == 0 && done < c->out.len; done += (size_t) n) {
        errno = 0;
        ERR_clear_error();
        n = BIO_write(c->bio, c->out.data + done, (int) (c->out.len - done));

        if (n <= 0) {
            if (!BIO_should_retry(c->bio)) {
                c->error = errno ? errno : EPROTO;
            }

            break;
        }
    }

    c->out.len -= done;

    if (done && c->out.len) {
        memmove(c->out.data, c->out.data + done, c->out.len);
    }

    if (c->out.len > SWARM_OUT) {
        c->error = ENOBUFS;
    }

    ev.data.ptr = c;
    ev.events = EPOLLIN|EPOLLRDHUP;

    /* what waits may be a TLS handshake that wants to read */

    if (c->error || (c->out.len && BIO_should_write(c->bio))) {
        ev.events |= EPOLLOUT;
    }

    if (c->events != ev.events
        && epoll_ctl(swarm_ep, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
                     c->fd, &ev) == -1)
    {
        swarm_die("epoll_ctl(): %s", strerror(errno));
    }

    c->events = ev.events;
}


static void
swarm_conn_detach(swarm_conn_t *c)
{
    swarm_peer_t  *p;

    p = c->peer;
    c->peer = NULL;
    c->done = 1;

    if (p) {
        p->ws = (p->ws == c) ? NULL : p->ws;
        p->get = (p->get == c) ? NULL : p->get;
        p->post = (p->post == c) ? NULL : p->post;
    }
}


/* its memory stays until the events of this turn are through */

static void
swarm_conn_close(swarm_conn_t *c)
{
    if (c == NULL || c->fd == -1) {
        return;
    }

    swarm_conn_detach(c);
    BIO_free_all(c->bio);
    c->fd = -1;
    c->next = swarm_closed;
    swarm_closed = c;
}


static int
swarm_tls_keep(SSL *ssl, SSL_SESSION *session)
{
    (void) ssl;

    SSL_SESSION_free(swarm_tls_session);
    swarm_tls_session = session;

    return 1;
}


/* all connections resume the session that came last */

static void
swarm_tls_init(void)
{
    swarm_tls = SSL_CTX_new(TLS_client_method());

    if (swarm_tls == NULL) {
        swarm_die("no TLS");
    }

    SSL_CTX_set_options(swarm_tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(swarm_tls, SSL_MODE_ENABLE_PARTIAL_WRITE
                                |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                |SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(swarm_tls, SSL_SESS_CACHE_CLIENT
                                              |SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(swarm_tls, swarm_tls_keep);
}


static swarm_conn_t *
swarm_conn_open(swarm_peer_t *p)
{
    int                 one;
    BIO                *tls;
    SSL                *ssl;
    swarm_conn_t       *c;
    struct sockaddr_in  from;

    c = swarm_alloc(NULL, sizeof(swarm_conn_t));
    memset(c, 0, sizeof(swarm_conn_t));
    c->peer = p;

    /* an address of its own for every 10,000: ports do not run short */

    memset(&from, 0, sizeof(from));
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK
                                 + 256 * (uint32_t) (getpid() % 200)
                                 + swarm_conns++ / 10000 % 200);

    one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);

    if (c->fd == -1
        || setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one))
        || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        || bind(c->fd, (struct sockaddr *) &from, sizeof(from)) == -1)
    {
        swarm_die("a socket: %s", strerror(errno));
    }

    if (connect(c->fd, (struct sockaddr *) &swarm_server,
                sizeof(swarm_server)) == -1
        && errno != EINPROGRESS)
    {
        if (errno == EADDRNOTAVAIL) {
            swarm_die("connect(): %s", strerror(errno));
        }

        c->error = errno;
    }

    c->bio = BIO_new_socket(c->fd, BIO_CLOSE);

    if (swarm_tls) {
        tls = BIO_new_ssl(swarm_tls, 1);

        if (tls == NULL || BIO_get_ssl(tls, &ssl) != 1) {
            swarm_die("no TLS connection");
        }

        SSL_set_session(ssl, swarm_tls_session);
        c->bio = BIO_push(tls, c->bio);
    }

    return c;
}


static void
swarm_conn_lost(swarm_conn_t *c, int error)
{
    const char    *why;
    swarm_why_e    how;
    swarm_peer_t  *p;

    p = c->peer;
    how = c->got ? swarm_drop : swarm_reset;
    error = c->error ? c->error : error;
    why = error ? strerror(error)
          : ERR_peek_error() ? ERR_reason_error_string(ERR_peek_error())
          : "closed";

    swarm_conn_close(c);

    if (p == NULL || !(c->websocket || c->busy)) {
        return;
    }

    if (c->websocket && p->up != swarm_up_none && !p->websocket) {
        swarm_up_fail(p, how, "the WebSocket of the upgrade: %s", why);

    } else if (c->websocket) {
        swarm_fail(p, how, "the WebSocket%s: %s", c->open ? "" : ", unopened",
                   why);

    } else {
        if (!c->got) {
            swarm_resets_keepalive += c->used;
            swarm_resets_fresh += !c->used;
        }

        swarm_fail(p, how, "a %s on a %s connection, %s: %s",
                   c->post ? "POST" : "GET", c->used ? "reused" : "fresh",
                   c->got ? "answer cut short" : "no answer", why);
    }
}


static void
swarm_conn_event(swarm_conn_t *c)
{
    int          n;
    char        *p;
    size_t       room, len, done;

    static char  scratch[65536];

    if (c->out.len) {
        swarm_conn_flush(c);
    }

    for ( ;; ) {
        p = scratch;
        room = sizeof(scratch);

        if (c->in.len) {
            swarm_buf_reserve(&c->in, 16384);
            p = c->in.data;
            room = c->in.size - c->in.len;
        }

        errno = 0;
        ERR_clear_error();
        n = BIO_read(c->bio, p + c->in.len, (int) room);

        if (n <= 0) {
            if (c->error || !BIO_should_retry(c->bio)) {
                swarm_conn_lost(c, errno);

            } else if (c->out.len) {
                swarm_conn_flush(c);
            }

            return;
        }

        c->got = 1;
        swarm_now = swarm_clock();

        len = c->in.len + (size_t) n;
        done = swarm_decode(c, p, len);

        if (c->fd == -1) {
            return;
        }

        done = c->done ? len : done;

        if (p == scratch) {
            swarm_buf_add(&c->in, p + done, len - done);

        } else if (done == len) {
            swarm_buf_free(&c->in);

        } else {
            c->in.len = len - done;
            memmove(p, p + done, c->in.len);
        }

        if (c->in.len > SWARM_IN) {
            swarm_fail(c->peer, swarm_wrong, "more than %d bytes", SWARM_IN);
            return;
        }
    }
}


/* A client's messages */

static void
swarm_send_frame(swarm_conn_t *c, unsigned opcode, const char *text, size_t len)
{
    char      *p;
    size_t     i;
    unsigned   key;

    if (len > 65535) {
        swarm_die("a message of %zu bytes to send", len);
    }

    key = swarm_random(0xffffffff);

    swarm_buf_reserve(&c->out, len + 8);
    p = c->out.data + c->out.len;
    *p++ = (char) (0x80 | opcode);

    if (len < 126) {
        *p++ = (char) (0x80 | len);

    } else {
        *p++ = (char) (0x80 | 126);
        *p++ = (char) (len >> 8);
        *p++ = (char) len;
    }

    memcpy(p, &key, 4);

    for (i = 0; i < len; i++) {
        p[4 + i] = (char) (text[i] ^ p[i & 3]);
    }

    c->out.len = (size_t) (p + 4 + len - c->out.data);
    swarm_conn_flush(c);
}


static void
swarm_send_upgrade(swarm_peer_t *p)
{
    swarm_conn_t  *c;

    c = swarm_conn_open(p);
    p->ws = c;
    c->websocket = 1;
    c->busy = 1;

    swarm_buf_print(&c->out, "GET %s?EIO=4&transport=websocket%s%s HTTP/1.1\r\n"
                    "Host: %s\r\nUser-Agent: ngx_sio-swarm\r\n"
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: " SWARM_KEY "\r\n\r\n",
                    swarm_path, p->sid[0] ? "&sid=" : "", p->sid, swarm_host);
    swarm_conn_flush(c);
}


/* body is NULL: a GET */

static void
swarm_send_request(swarm_peer_t *p, swarm_buf_t *body)
{
    swarm_conn_t  **conn, *c;

    conn = body ? &p->post : &p->get;
    c = *conn;

    if (c) {
        c->used = 1;
        c->got = 0;

    } else {
        c = *conn = swarm_conn_open(p);
        c->post = (body != NULL);
    }

    c->busy = 1;

    swarm_buf_print(&c->out, "%s %s?EIO=4&transport=polling%s%s HTTP/1.1\r\n"
                    "Host: %s\r\nUser-Agent: ngx_sio-swarm\r\nAccept: */*\r\n"
                    "Connection: %s\r\n",
                    body ? "POST" : "GET", swarm_path,
                    p->sid[0] ? "&sid=" : "", p->sid, swarm_host,
                    swarm_keepalive ? "keep-alive" : "close");

    if (body) {
        swarm_buf_print(&c->out, "Content-Type: text/plain;charset=UTF-8\r\n"
                        "Content-Length: %zu\r\n\r\n", body->len);
        swarm_buf_add(&c->out, body->data, body->len);
        swarm_buf_free(body);

    } else {
        swarm_buf_add(&c->out, "\r\n", 2);
    }

    swarm_conn_flush(c);
}


/* what waits goes, unless a POST is under way, or polling has paused */

static void
swarm_send_pending(swarm_peer_t *p)
{
    char  *s, *next, *end;

    if (p->pending.len == 0) {
        return;
    }

    if (p->websocket) {
        end = p->pending.data + p->pending.len;

        for (s = p->pending.data; s < end; s = next + 1) {
            next = memchr(s, 0x1e, (size_t) (end - s));
            next = next ? next : end;
            swarm_send_frame(p->ws, 1, s, (size_t) (next - s));
        }

        swarm_buf_free(&p->pending);

    } else if (p->up < swarm_up_pause && !(p->post && p->post->busy)) {
        swarm_send_request(p, &p->pending);
    }
}


static void
swarm_send(swarm_peer_t *p, const char *fmt, ...)
{
    int      n;
    char     text[256];
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    if (p->websocket) {
        swarm_send_frame(p->ws, 1, text, (size_t) n);

    } else if (p->pending.len > SWARM_OUT) {
        swarm_error(p, "the server does not take what is sent");

    } else {
        swarm_buf_add(&p->pending, "\x1e", p->pending.len ? 1 : 0);
        swarm_buf_add(&p->pending, text, (size_t) n);
        swarm_send_pending(p);
    }
}


/* Sources */

static void
swarm_tick(swarm_source_t *s)
{
    s->at[++s->sent % SWARM_TIMES] = swarm_clock();
    swarm_ticks_sent++;

    swarm_send(s->peer, "42[\"tick\",\"s%u\",%u]",
               (unsigned) (s - swarm_source), s->sent);
}


static void
swarm_tick_timer(void *data)
{
    swarm_source_t  *s = data;

    if (swarm_phase < swarm_phase_due) {
        swarm_timer_next(&s->timer, swarm_tick_rate);
        swarm_tick(s);
    }
}


static void
swarm_source_end(swarm_source_t *s, swarm_end_e end)
{
    swarm_nactive -= (s->end == swarm_active);
    s->end = end;
    swarm_timer_off(&s->timer);
}


static void
swarm_source_add(swarm_peer_t *p, unsigned pid)
{
    swarm_source_t  *s;

    if (swarm_nsources == SWARM_SOURCES) {
        swarm_die("more than %u sources", SWARM_SOURCES);
    }

    s = &swarm_source[swarm_nsources++];
    swarm_nactive++;
    s->pid = pid;
    s->peer = p;
    p->source = s;
    p->kind = swarm_ticker;

    swarm_timer_init(&s->timer, swarm_tick_timer, s);

    if (swarm_tick_rate > 0) {
        swarm_timer_in(&s->timer, swarm_random(1 + (unsigned)
                                               (1000000 / swarm_tick_rate)));
    }

    if (swarm_verbose) {
        fprintf(stderr, "swarm: source s%u is on worker %u\n",
                swarm_nsources - 1, pid);
    }
}


/* from any source to any client that is connected */

static void
swarm_direct(void *data)
{
    unsigned       i;
    swarm_peer_t  *p;

    (void) data;

    if (swarm_phase >= swarm_phase_due) {
        return;
    }

    swarm_timer_next(&swarm_direct_timer, swarm_direct_rate);

    if (swarm_nactive == 0 || swarm_nready == 0) {
        return;
    }

    i = swarm_random(swarm_nsources);

    while (swarm_source[i].end != swarm_active) {
        i = (i + 1) % swarm_nsources;
    }

    do {
        p = &swarm_peers[swarm_random(swarm_clients)];
    } while (p->state != swarm_ready);

    swarm_directs_sent++;
    swarm_send(swarm_source[i].peer, "42[\"direct\",\"%s\",\"s%u\",%u]",
               p->id, i, ++p->seen[i].direct_sent);
}


static void
swarm_echo_timer(void *data)
{
    swarm_peer_t  *p = data;

    if (swarm_phase >= swarm_phase_due) {
        return;
    }

    /* a period that is by half longer or shorter */

    swarm_timer_in(&p->echo, 1 + (uint64_t) (1000 / swarm_echo_rate
                                             * (500 + swarm_random(1001))));

    if (p->echo_sent - p->echo_got < SWARM_TIMES - 1) {
        p->echo_at[++p->echo_sent % SWARM_TIMES] = swarm_clock();
        swarm_echoes_sent++;
        swarm_send(p, "42[\"echo\",%u]", p->echo_sent);
    }
}


/* Sessions */

static void
swarm_open(swarm_peer_t *p)
{
    p->state = swarm_handshake;
    p->opening = (p->kind == swarm_client);
    swarm_nopening += p->opening;
    p->websocket = (p->kind != swarm_client || !swarm_polling);
    swarm_timer_in(&p->alive, SWARM_CONNECT);

    if (p->websocket) {
        swarm_send_upgrade(p);

    } else {
        swarm_send_request(p, NULL);
    }
}


/* what should have happened by now */

static void
swarm_alive_timer(void *data)
{
    swarm_peer_t  *p = data;

    switch (p->state) {

    case swarm_idle:
        if (swarm_phase == swarm_phase_leave) {
            break;
        }

        if (p->kind == swarm_client && swarm_nopening >= swarm_opening) {
            swarm_timer_in(&p->alive, 1 + swarm_random(2 * SWARM_CROWDED));
            break;
        }

        swarm_open(p);
        break;

    case swarm_leaving:
        swarm_fail(p, swarm_wrong, "could not leave in good order");
        break;

    case swarm_ready:
        swarm_fail(p, swarm_drop, "no ping in %u ms",
                   (unsigned) (p->beat / 1000));
        break;

    default:
        swarm_fail(p, swarm_drop, "not connected in %u ms",
                   SWARM_CONNECT / 1000);
    }
}


/* nothing is left of the session */

static void
swarm_peer_reset(swarm_peer_t *p)
{
    if (p->kind == swarm_client) {
        swarm_nready -= (p->state == swarm_ready);
        swarm_nupgraded -= (p->up == swarm_up_done);
    }

    swarm_nleaving -= (p->state == swarm_leaving);
    swarm_nopening -= p->opening;
    swarm_burst_leave(p);

    swarm_conn_close(p->ws);
    swarm_conn_close(p->get);
    swarm_conn_close(p->post);
    swarm_buf_free(&p->pending);
    swarm_timer_off(&p->alive);
    swarm_timer_off(&p->echo);
    swarm_timer_off(&p->upgrade);

    p->session++;
    p->up = swarm_up_none;
    p->state = swarm_idle;
    p->opening = 0;
    p->closed = 0;
    p->acked = 0;
    p->sid[0] = '\0';
}


static void
swarm_prospect_add(swarm_want_e want, uint64_t us)
{
    swarm_peer_t  *p;

    for (p = swarm_peers + swarm_clients; p < swarm_peers + swarm_npeers; p++) {
        if (p->state == swarm_left) {
            swarm_tries++;
            p->kind = swarm_prospect;
            p->state = swarm_idle;
            p->want = want;
            swarm_timer_in(&p->alive, us);
            return;
        }
    }
}


/* a session has ended and we did not end it */

static void
swarm_fail(swarm_peer_t *p, swarm_why_e why, const char *fmt, ...)
{
    int      again, reset, leaving;
    va_list  args;

    leaving = (p->state == swarm_leaving || swarm_phase == swarm_phase_leave);
    reset = (why == swarm_reset && swarm_tolerate);
    again = swarm_reconnect || reset;

    va_start(args, fmt);

    if (!again || why == swarm_wrong) {
        if (swarm_errors++ < SWARM_PRINTED) {
            swarm_say(p, "", fmt, args);
        }

    } else {
        if (swarm_verbose) {
            swarm_say(p, "dropped: ", fmt, args);
        }

        /* before the handshake there was nothing to drop */

        if (p->sid[0]) {
            swarm_reset_drops += reset;
            swarm_dropped += !reset;
        }
    }

    va_end(args);

    if (p->kind == swarm_ticker) {
        swarm_source_end(p->source, swarm_broken);
    }

    swarm_peer_reset(p);

    if (p->kind != swarm_client) {
        p->state = swarm_left;

        if (again && !leaving && swarm_phase > swarm_phase_sources
            && swarm_phase < swarm_phase_due
            && (p->kind == swarm_ticker || p->want == swarm_want_any))
        {
            swarm_prospect_add(swarm_want_any, SWARM_AGAIN);
        }

    } else if (leaving) {
        p->state = swarm_left;

    } else if (again) {
        swarm_timer_in(&p->alive, SWARM_AGAIN);

    } else {
        p->state = swarm_dead;
        swarm_ndead++;
    }
}


/* the answer to CONNECT is here: from now on nothing may be missing */

static void
swarm_connected(swarm_peer_t *p)
{
    unsigned  i;

    swarm_nopening -= p->opening;
    p->opening = 0;
    p->state = swarm_ready;
    p->echo_got = p->echo_sent;

    for (i = 0; i < swarm_nsources; i++) {
        p->seen[i].last = swarm_source[i].sent;
        p->seen[i].some = 0;
        p->seen[i].direct_got = p->seen[i].direct_sent;
    }

    swarm_timer_in(&p->alive, p->beat);

    if (swarm_echo_rate > 0) {
        swarm_timer_in(&p->echo, (uint64_t) (1000 / swarm_echo_rate
                                             * swarm_random(1000)));
    }

    if (p->kind == swarm_prospect) {
        swarm_send(p, "42%u[\"whoami\"]", ++p->acks);
        return;
    }

    swarm_nready++;

    if (swarm_upgrading && swarm_burst_size == 0) {
        swarm_timer_in(&p->upgrade, 0);
    }
}


/* a prospect's worker is known */

static void
swarm_prospect_known(swarm_peer_t *p, unsigned pid)
{
    unsigned         same;
    swarm_source_t  *s, *oldest;

    same = 0;
    oldest = NULL;

    for (s = swarm_source; s < swarm_source + swarm_nsources; s++) {
        if (s->end == swarm_active) {
            same |= (s->pid == pid);
            oldest = oldest ? oldest : s;
        }
    }

    if (swarm_phase >= swarm_phase_due
        || (same && p->want != swarm_want_any)
        || (p->want == swarm_want_first && swarm_nactive == swarm_sources))
    {
        swarm_leave(p);
        return;
    }

    swarm_source_add(p, pid);

    if (swarm_nactive > swarm_sources && oldest) {
        swarm_leave(oldest->peer);
    }
}


static void
swarm_refresh_sources(void *data)
{
    (void) data;

    if (swarm_phase < swarm_phase_due) {
        swarm_timer_in(&swarm_refresh_timer, (uint64_t) swarm_refresh * 1000);
        swarm_prospect_add(swarm_want_new, 0);
    }
}


/* leaving: "41", then a WebSocket close frame, or a POST of "1" */

static void
swarm_leave(swarm_peer_t *p)
{
    swarm_nready -= (p->kind == swarm_client);
    swarm_nleaving++;
    p->state = swarm_leaving;
    swarm_timer_off(&p->echo);
    swarm_timer_in(&p->alive, SWARM_LEAVE);

    if (p->kind == swarm_ticker) {
        swarm_source_end(p->source, swarm_closing);
    }

    swarm_send(p, "41");

    if (p->websocket) {
        swarm_send_frame(p->ws, 8, "", 0);
    }
}


static void
swarm_leave_done(swarm_peer_t *p)
{
    if (p->kind == swarm_ticker) {
        swarm_source_end(p->source, swarm_orderly);
    }

    swarm_peer_reset(p);
    p->state = swarm_left;
}


/* Upgrades */

static int
swarm_polls(swarm_peer_t *p)
{
    return (p->get && p->get->busy) || (p->post && p->post->busy);
}


static void
swarm_up_start(swarm_peer_t *p)
{
    p->up = swarm_up_probe;
    swarm_timer_in(&p->upgrade, SWARM_UPGRADE);
    swarm_send_upgrade(p);
}


static void
swarm_up_timer(void *data)
{
    swarm_peer_t  *p = data;

    if (p->up == swarm_up_none) {
        if (p->state == swarm_ready && swarm_burst_size == 0) {
            swarm_up_start(p);
        }

    } else if (p->up == swarm_up_five) {
        swarm_fail(p, swarm_drop, "no answer after the upgrade");

    } else {
        swarm_up_fail(p, swarm_drop, "the upgrade got stuck in stage %d%s",
                      p->up, swarm_polls(p) ? ", a request waits" : "");
    }
}


static void
swarm_up_five_send(swarm_peer_t *p)
{
    swarm_conn_close(p->get);
    swarm_conn_close(p->post);

    p->up = swarm_up_five;
    p->websocket = 1;

    swarm_send_frame(p->ws, 1, "5", 1);
    swarm_send_pending(p);
    swarm_send(p, "42%u[\"whoami\"]", ++p->acks);
}


static void
swarm_up_check(swarm_peer_t *p)
{
    if (p->up != swarm_up_pause || swarm_polls(p)) {
        return;
    }

    if (!p->burst || swarm_burst_fired) {
        swarm_up_five_send(p);
        return;
    }

    p->up = swarm_up_ready;

    if (--swarm_burst_unready == 0) {
        swarm_timer_in(&swarm_burst_timer, 0);
    }
}


/* a client stays with polling then, and we let it try again */

static void
swarm_up_fail(swarm_peer_t *p, swarm_why_e why, const char *fmt, ...)
{
    char     text[400];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    swarm_up_failures++;

    if (!swarm_reconnect && !(why == swarm_reset && swarm_tolerate)) {
        swarm_fail(p, swarm_wrong, "%s", text);
        return;
    }

    if (swarm_verbose) {
        fprintf(stderr, "swarm: not upgraded: client %u, %s\n",
                (unsigned) (p - swarm_peers), text);
    }

    swarm_burst_leave(p);
    swarm_conn_close(p->ws);
    p->up = swarm_up_none;
    swarm_timer_in(&p->upgrade, 4 * SWARM_AGAIN);
    swarm_send_pending(p);

    if (p->get == NULL || !p->get->busy) {
        swarm_send_request(p, NULL);
    }
}


/* one of a burst is through, or is no more */

static void
swarm_burst_leave(swarm_peer_t *p)
{
    if (!p->burst) {
        return;
    }

    p->burst = 0;
    swarm_burst_left--;

    if (!swarm_burst_fired && p->up != swarm_up_ready
        && --swarm_burst_unready == 0 && swarm_burst_left)
    {
        swarm_timer_in(&swarm_burst_timer, 0);
    }
}


/* now they go, whoever is ready; the others follow when they are */

static void
swarm_burst_fire(void *data)
{
    unsigned  i;

    (void) data;

    swarm_burst_fired = 1;

    for (i = 0; i < swarm_nsources && swarm_phase < swarm_phase_due; i++) {
        if (swarm_source[i].end == swarm_active) {
            swarm_tick(&swarm_source[i]);
        }
    }

    for (i = 0; i < swarm_clients; i++) {
        if (swarm_peers[i].burst && swarm_peers[i].up == swarm_up_ready) {
            swarm_up_five_send(&swarm_peers[i]);
        }
    }
}


static void
swarm_burst_next(void)
{
    swarm_peer_t  *p;

    swarm_burst_fired = 0;
    swarm_burst_unready = 0;
    swarm_timer_off(&swarm_burst_timer);

    for (p = swarm_peers; p < swarm_peers + swarm_clients
                          && swarm_burst_left < swarm_burst_size; p++)
    {
        /* with this timer, its last try has failed just now */

        if (p->state == swarm_ready && p->up == swarm_up_none
            && p->upgrade.slot == 0)
        {
            p->burst = 1;
            swarm_burst_left++;
            swarm_burst_unready++;
            swarm_up_start(p);
        }
    }

    if (swarm_burst_left) {
        swarm_timer_in(&swarm_burst_timer, SWARM_BURST);
    }
}


/* What the server says */

/* # in a pattern is a number */

static int
swarm_match(const char *p, const char *end, const char *pattern, unsigned *n)
{
    for ( ; *pattern; pattern++) {

        if (*pattern != '#') {
            if (p == end || *p++ != *pattern) {
                return 0;
            }

            continue;
        }

        if (p == end || *p < '0' || *p > '9') {
            return 0;
        }

        for (*n = 0; p < end && *p >= '0' && *p <= '9'; p++) {
            *n = *n * 10 + (unsigned) (*p - '0');
        }

        n++;
    }

    return p == end;
}


/* "name":"..." or "name":123 in an object without nested ones */

static int
swarm_member(const char *p, const char *end, const char *name, char *out)
{
    size_t  n;

    p = memmem(p, (size_t) (end - p), name, strlen(name));

    if (p == NULL) {
        return 0;
    }

    p += strlen(name);

    for (n = 0; p + n < end && !strchr("\",}", p[n]); n++) {
        if (n == SWARM_SID - 1) {
            return 0;
        }

        out[n] = p[n];
    }

    out[n] = '\0';
    return n && p + n < end;
}


/* for messages; an echo has none */

static const char *
swarm_source_name(unsigned i)
{
    static char  name[32];

    snprintf(name, sizeof(name), "source s%u: ", i);

    return i == SWARM_SOURCES ? "" : name;
}


/* each number once and in order; where it begins is not known with "any" */

static void
swarm_count(swarm_peer_t *p, const char *what, unsigned source, unsigned *got,
    unsigned sent, unsigned any, unsigned n)
{
    if (n == 0 || n > sent || (any ? n > *got + 1 : n != *got + 1)) {
        swarm_error(p, "%sexpected %s %u%s, seen %u, sent %u",
                    swarm_source_name(source), what, *got + 1,
                    any ? " or an earlier one" : "", n, sent);
    }

    if (n <= sent && (any || n > *got)) {
        *got = n;
    }
}


static void
swarm_count_end(swarm_peer_t *p, const char *what, unsigned source,
    unsigned got, unsigned sent)
{
    if (got < sent) {
        swarm_error(p, "%s%s %u to %u missing at the end",
                    swarm_source_name(source), what, got + 1, sent);
    }
}


static void
swarm_got_tick(swarm_peer_t *p, unsigned i, unsigned n)
{
    swarm_seen_t    *seen;
    swarm_source_t  *s;

    s = &swarm_source[i];
    seen = &p->seen[i];

    swarm_ticks++;
    swarm_count(p, "tick", i, &seen->last, s->sent, !seen->some, n);
    seen->some = 1;

    if (s->sent - n < SWARM_TIMES) {
        swarm_hist_add(&swarm_tick_hist, swarm_now - s->at[n % SWARM_TIMES]);
    }
}


static void
swarm_got_direct(swarm_peer_t *p, unsigned i, unsigned n)
{
    swarm_seen_t  *seen;

    seen = &p->seen[i];

    swarm_directs++;
    swarm_count(p, "direct", i, &seen->direct_got, seen->direct_sent, 0, n);
}


static void
swarm_got_echo(swarm_peer_t *p, unsigned n)
{
    swarm_echoes++;
    swarm_count(p, "echo", SWARM_SOURCES, &p->echo_got, p->echo_sent, 0, n);

    if (p->echo_sent - n < SWARM_TIMES) {
        swarm_hist_add(&swarm_echo_hist,
                       swarm_now - p->echo_at[n % SWARM_TIMES]);
    }
}


/* behind "42"; 0 if it is none of ours */

static int
swarm_got_event(swarm_peer_t *p, const char *text, const char *end)
{
    size_t    len;
    unsigned  n[2];

    len = strlen(p->id);

    if (swarm_match(text, end, "[\"tick\",\"s#\",#]", n)
        && n[0] < swarm_nsources)
    {
        swarm_got_tick(p, n[0], n[1]);

    } else if (swarm_match(text, end, "[\"echo\",#]", n)) {
        swarm_got_echo(p, n[0]);

    } else if ((size_t) (end - text) < 11 + len
               || memcmp(text, "[\"direct\",\"", 11) != 0)
    {
        return 0;

    } else if (memcmp(text + 11, p->id, len) != 0) {
        swarm_error(p, "a direct message for another: '%.*s'",
                    (int) (end - text), text);

    } else if (swarm_match(text + 11 + len, end, "\",\"s#\",#]", n)
               && n[0] < swarm_nsources)
    {
        swarm_got_direct(p, n[0], n[1]);

    } else {
        return 0;
    }

    return 1;
}


static int
swarm_got_message(swarm_peer_t *p, const char *text, const char *end)
{
    unsigned  n[2];

    switch (text[0]) {

    case '0':
        if (p->state != swarm_connect
            || !swarm_member(text, end, "{\"sid\":\"", p->id))
        {
            return 0;
        }

        swarm_connected(p);
        return 1;

    case '1':
        swarm_fail(p, swarm_drop, "the server disconnected the socket");
        return 1;

    case '2':
        return p->state >= swarm_ready && swarm_got_event(p, text + 1, end);

    case '3':
        if (!swarm_match(text + 1, end, "#[\"#\"]", n) || n[0] != p->acks) {
            return 0;
        }

        if (p->state == swarm_ready && p->kind == swarm_prospect) {
            swarm_prospect_known(p, n[1]);

        } else if (p->up == swarm_up_five) {
            swarm_timer_off(&p->upgrade);
            swarm_burst_leave(p);
            p->up = swarm_up_done;
            swarm_nupgraded++;
        }

        return 1;

    case '4':
        swarm_fail(p, swarm_drop, "CONNECT was refused: '%.*s'",
                   (int) (end - text), text);
        return 1;
    }

    return 0;
}


static int
swarm_got_open(swarm_peer_t *p, const char *text, const char *end)
{
    char  interval[SWARM_SID], timeout[SWARM_SID];

    if (p->state != swarm_handshake
        || !swarm_member(text, end, "\"sid\":\"", p->sid)
        || !swarm_member(text, end, "\"pingInterval\":", interval)
        || !swarm_member(text, end, "\"pingTimeout\":", timeout))
    {
        return 0;
    }

    p->beat = (uint64_t) (atol(interval) + atol(timeout)) * 1000;
    p->state = swarm_connect;
    swarm_send(p, "40");

    return 1;
}


static void
swarm_got_packet(swarm_peer_t *p, const char *text, size_t len)
{
    int  ok;

    ok = (len == 1);

    switch (len ? text[0] : 0) {

    case '0':
        ok = swarm_got_open(p, text, text + len);
        break;

    case '1':
        if (ok && p->state != swarm_leaving) {
            swarm_fail(p, swarm_drop, "the server closed the session");
        }

        break;

    case '2':
        if (ok && p->state == swarm_ready) {
            swarm_timer_in(&p->alive, p->beat);
        }

        if (ok && p->state < swarm_leaving) {
            swarm_send(p, "3");
        }

        break;

    case '4':
        ok = len > 1 && swarm_got_message(p, text + 1, text + len);
        break;

    case '6':
        break;

    default:
        ok = 0;
    }

    if (!ok) {
        swarm_fail(p, swarm_wrong, "in state %d: unexpected '%.*s'", p->state,
                   len < 200 ? (int) len : 200, text);
    }
}


/* the answer to a GET */

static void
swarm_got_payload(swarm_peer_t *p, const char *text, size_t len)
{
    unsigned     session;
    const char  *end, *next;

    session = p->session;
    end = text + len;

    do {
        next = memchr(text, 0x1e, (size_t) (end - text));
        next = next ? next : end;

        swarm_got_packet(p, text, (size_t) (next - text));

        if (p->session != session) {
            return;
        }

        text = next + 1;

    } while (next < end);

    if (p->state == swarm_leaving) {
        if (p->acked) {
            swarm_leave_done(p);
        }

    } else if (p->up >= swarm_up_pause) {
        swarm_up_check(p);

    } else {
        swarm_send_request(p, NULL);
    }
}


/* the answer to a POST */

static void
swarm_got_ok(swarm_peer_t *p, const char *text, size_t len)
{
    if (len != 2 || memcmp(text, "ok", 2) != 0) {
        swarm_fail(p, swarm_wrong, "a POST was answered '%.*s'",
                   len < 200 ? (int) len : 200, text);

    } else if (p->state != swarm_leaving || p->pending.len) {
        swarm_send_pending(p);
        swarm_up_check(p);

    } else if (!p->closed) {
        p->closed = 1;
        swarm_send(p, "1");

    } else {
        p->acked = 1;

        if (!swarm_polls(p)) {
            swarm_leave_done(p);
        }
    }
}


/* Bytes; each returns how many it has used, 0 if there is not enough */

static size_t
swarm_decode_response(swarm_conn_t *c, const char *text, size_t len)
{
    size_t         head, n;
    unsigned       status;
    const char    *body, *h;
    swarm_peer_t  *p;

    p = c->peer;
    body = memmem(text, len, "\r\n\r\n", 4);

    if (body == NULL && len < 65536) {
        return 0;
    }

    if (body == NULL || !c->busy || memcmp(text, "HTTP/1.1 ", 9) != 0) {
        swarm_fail(p, swarm_wrong, "unexpected in place of an answer: '%.*s'",
                   len < 200 ? (int) len : 200, text);
        return 0;
    }

    body += 4;
    head = (size_t) (body - text);
    status = (unsigned) atoi(text + 9);

    if (c->websocket && status == 101) {
        if (memmem(text, head, SWARM_ACCEPT "\r\n", sizeof(SWARM_ACCEPT) + 1)
            == NULL)
        {
            swarm_fail(p, swarm_wrong, "a wrong Sec-WebSocket-Accept");
            return 0;
        }

        c->open = 1;
        c->busy = 0;

        if (p->up == swarm_up_probe) {
            swarm_send_frame(c, 1, "2probe", 6);
        }

        return head;
    }

    h = memmem(text, head, "\r\nContent-Length: ", 18);

    if (h == NULL) {
        swarm_fail(p, swarm_wrong, "status %u, no Content-Length", status);
        return 0;
    }

    n = strtoul(h + 18, NULL, 10);

    if (n > len - head) {
        return 0;
    }

    c->busy = 0;

    /*
     * Whoever closes at once resets the connection, if it is TLS and the
     * server's last words are unread.
     */

    if (swarm_hasty && !swarm_keepalive) {
        swarm_conn_close(c);

    } else if (!swarm_keepalive || c->websocket
               || memmem(text, head, "\r\nConnection: close", 19))
    {
        swarm_conn_detach(c);
    }

    if (status == 200 && !c->websocket) {
        if (c->post) {
            swarm_got_ok(p, body, n);

        } else {
            swarm_got_payload(p, body, n);
        }

    } else if (p->state == swarm_leaving && p->closed && !c->post) {
        /* our close has overtaken our GET, as it may in a browser */

        if (p->acked) {
            swarm_leave_done(p);
        }

    } else {
        swarm_count_status(status, body, n);

        if (c->websocket && p->up != swarm_up_none) {
            swarm_up_fail(p, swarm_drop, "the upgrade: status %u, '%.*s'",
                          status, n < 200 ? (int) n : 200, body);

        } else {
            swarm_fail(p, swarm_drop, "a %s: status %u, '%.*s'",
                       c->websocket ? "WebSocket" : c->post ? "POST" : "GET",
                       status, n < 200 ? (int) n : 200, body);
        }
    }

    return head + n;
}


static void
swarm_got_frame(swarm_conn_t *c, unsigned opcode, const char *text, size_t len)
{
    swarm_peer_t  *p;

    p = c->peer;

    switch (opcode) {

    case 1:
        if (p->websocket) {
            swarm_got_packet(p, text, len);

        } else if (p->up == swarm_up_probe && len == 6
                   && memcmp(text, "3probe", 6) == 0)
        {
            p->up = swarm_up_pause;
            swarm_up_check(p);

        } else {
            swarm_fail(p, swarm_wrong, "in stage %d of the upgrade: unexpected"
                       " '%.*s'", p->up, len < 200 ? (int) len : 200, text);
        }

        break;

    case 8:
        if (p->state == swarm_leaving) {
            swarm_leave_done(p);
            break;
        }

        swarm_send_frame(c, 8, text, len < 2 ? 0 : 2);

        if (p->websocket) {
            swarm_fail(p, swarm_drop, "the server closed the WebSocket, %d",
                       len < 2 ? 1005 : (unsigned char) text[0] * 256
                                        + (unsigned char) text[1]);

        } else {
            swarm_up_fail(p, swarm_drop, "the server closed the WebSocket of"
                          " the upgrade");
        }

        break;

    case 9:
        swarm_send_frame(c, 10, text, len);
        break;

    case 10:
        break;

    default:
        swarm_fail(p, swarm_wrong, "a frame with opcode %u", opcode);
    }
}


static size_t
swarm_decode_frame(swarm_conn_t *c, const char *text, size_t len)
{
    size_t                i, head, n;
    const unsigned char  *u = (const unsigned char *) text;

    if (len < 2) {
        return 0;
    }

    n = u[1];
    head = n < 126 ? 2 : n == 126 ? 4 : 10;

    if (len < head) {
        return 0;
    }

    if (head > 2) {
        for (n = 0, i = 2; i < head; i++) {
            n = n << 8 | u[i];
        }
    }

    if ((u[0] & 0xf0) != 0x80 || u[1] > 127 || n > SWARM_IN) {
        swarm_fail(c->peer, swarm_wrong, "unexpected frame %02x %02x, %zu"
                   " bytes", u[0], u[1], n);
        return 0;
    }

    if (len - head < n) {
        return 0;
    }

    swarm_got_frame(c, u[0] & 0x0f, text + head, n);

    return head + n;
}


static size_t
swarm_decode(swarm_conn_t *c, const char *p, size_t len)
{
    size_t  n, done;

    for (done = 0; done < len && !c->done; done += n) {
        n = c->open ? swarm_decode_frame(c, p + done, len - done)
                    : swarm_decode_response(c, p + done, len - done);

        if (n == 0) {
            break;
        }
    }

    return done;
}


/* The end */

/* what has not come to a peer, or has not come of it */

static void
swarm_due_of(swarm_peer_t *p)
{
    unsigned       i;
    swarm_seen_t  *seen;

    if (p->state != swarm_ready) {
        if (p->kind == swarm_client && p->state < swarm_ready
            && swarm_complete)
        {
            swarm_error(p, "is not connected at the end, state %d", p->state);
        }

        return;
    }

    if (p->kind == swarm_client && swarm_upgrading && swarm_complete
        && p->up != swarm_up_done)
    {
        swarm_error(p, "has not upgraded at the end, stage %d", p->up);
    }

    swarm_count_end(p, "echo", SWARM_SOURCES, p->echo_got, p->echo_sent);

    for (i = 0; i < swarm_nsources; i++) {
        seen = &p->seen[i];

        if (swarm_source[i].end != swarm_broken) {
            swarm_count_end(p, "tick", i, seen->last, swarm_source[i].sent);
            swarm_count_end(p, "direct", i, seen->direct_got,
                            seen->direct_sent);
        }
    }
}


static void
swarm_due(void *data)
{
    unsigned         i;
    swarm_peer_t    *p;
    static uint64_t  until;

    (void) data;

    if (until == 0) {
        until = swarm_now + SWARM_DUE;
    }

    swarm_quiet = 1;
    swarm_found = 0;

    for (i = 0; i < swarm_npeers && swarm_found == 0; i++) {
        p = &swarm_peers[i];
        swarm_due_of(p);

        /* prospects and sources that are about to leave */

        swarm_found += (p->kind == swarm_prospect && p->state < swarm_leaving)
                       || p->state == swarm_leaving;
    }

    swarm_quiet = 0;

    if (swarm_found && swarm_now < until) {
        swarm_timer_in(&swarm_phase_timer, 20000);
        return;
    }

    for (i = 0; i < swarm_npeers; i++) {
        swarm_due_of(&swarm_peers[i]);
    }

    swarm_ready_kept = swarm_nready;
    swarm_upgraded_kept = swarm_nupgraded;
    swarm_phase = swarm_phase_leave;
}


static void
swarm_stop(void *data)
{
    (void) data;

    if (swarm_phase < swarm_phase_due) {
        swarm_phase = swarm_phase_due;
        swarm_timer_init(&swarm_phase_timer, swarm_due, NULL);
        swarm_timer_in(&swarm_phase_timer, 0);
    }
}


/* in good order, some at a time, sources last */

static void
swarm_leave_more(void)
{
    swarm_peer_t  *p;

    while (swarm_nleaving < swarm_opening && swarm_next_leave < swarm_npeers) {

        if (swarm_next_leave == swarm_clients && swarm_nleaving) {
            return;
        }

        p = &swarm_peers[swarm_next_leave++];

        if (p->state == swarm_ready
            && (p->up == swarm_up_none || p->up == swarm_up_done))
        {
            swarm_leave(p);

        } else if (p->state < swarm_leaving) {
            swarm_peer_reset(p);
            p->state = swarm_left;
        }
    }

    if (swarm_nleaving) {
        return;
    }

    if (swarm_errors > SWARM_PRINTED) {
        fprintf(stderr, "swarm: %u more errors\n",
                swarm_errors - SWARM_PRINTED);
    }

    swarm_print_result();
    exit(swarm_errors ? 1 : 0);
}


static void
swarm_late(void *data)
{
    unsigned            i;
    static const char  *phases[] = {
        "sources to be found", "all clients to be ready",
        "all clients to be upgraded", "the end of the traffic",
        "what is due", "all to leave"
    };

    (void) data;

    fprintf(stderr, "swarm: timed out waiting for %s: %u of %u clients ready,"
            " %u upgraded, %u on their way, %u leaving, %u dead, %u of %u"
            " sources\n", phases[swarm_phase], swarm_nready, swarm_clients,
            swarm_nupgraded, swarm_nopening, swarm_nleaving, swarm_ndead,
            swarm_nactive, swarm_sources);

    for (i = 0; i < swarm_clients; i++) {
        if (swarm_peers[i].state < swarm_ready
            || (swarm_upgrading && swarm_peers[i].up != swarm_up_done))
        {
            fprintf(stderr, "swarm: client %u: state %d, stage %d of the"
                    " upgrade\n", i, swarm_peers[i].state, swarm_peers[i].up);
            break;
        }
    }

    swarm_errors++;
    swarm_print_result();
    exit(1);
}


/* The loop */

static void
swarm_find_sources(void)
{
    unsigned  i, n;

    for (i = swarm_clients, n = 0; i < swarm_npeers; i++) {
        n += (swarm_peers[i].kind == swarm_prospect
              && swarm_peers[i].state < swarm_leaving);
    }

    while (swarm_tries < SWARM_TRIES && n < SWARM_PROSPECTS
           && n < 4 * (swarm_sources - swarm_nactive))
    {
        swarm_prospect_add(swarm_want_first, 0);
        n++;
    }

    if (n == 0) {
        swarm_die("found %u of %u workers for sources in %u tries",
                  swarm_nactive, swarm_sources, swarm_tries);
    }
}


static void
swarm_start_clients(void)
{
    unsigned  i;

    for (i = 0; i < swarm_clients; i++) {
        swarm_timer_in(&swarm_peers[i].alive,
                       (uint64_t) swarm_spread * 1000 * i / swarm_clients);
    }

    if (swarm_refresh) {
        swarm_timer_in(&swarm_refresh_timer, (uint64_t) swarm_refresh * 1000);
    }

    if (swarm_direct_rate > 0) {
        swarm_timer_in(&swarm_direct_timer, 0);
    }
}


/* looked at in each turn */

static void
swarm_progress(void)
{
    switch (swarm_phase) {

    case swarm_phase_sources:
        if (swarm_nactive < swarm_sources) {
            swarm_find_sources();
            break;
        }

        swarm_phase = swarm_phase_open;
        swarm_start_clients();
        break;

    case swarm_phase_open:
        if (swarm_nready + swarm_ndead == swarm_clients) {
            swarm_print_event("ready");
            swarm_phase = swarm_phase_upgrade;
        }

        break;

    case swarm_phase_upgrade:
        if (swarm_upgrading) {
            if (swarm_nupgraded + swarm_ndead < swarm_clients) {
                break;
            }

            swarm_print_event("upgraded");
        }

        swarm_complete = 1;
        swarm_phase = swarm_phase_traffic;

        if (swarm_duration >= 0) {
            swarm_timer_in(&swarm_phase_timer,
                           (uint64_t) (swarm_duration * 1000000));
        }

        break;

    case swarm_phase_leave:
        swarm_leave_more();
        break;

    default:
        break;
    }

    if (swarm_burst_size && swarm_burst_left == 0
        && swarm_nupgraded < swarm_nready && swarm_phase >= swarm_phase_upgrade
        && swarm_phase < swarm_phase_leave)
    {
        swarm_burst_next();
    }
}


/* a byte at a time: it never waits */

static void
swarm_read_stdin(void)
{
    ssize_t        n;
    static char    line[64];
    static size_t  len;

    n = read(0, &line[len], 1);

    if (n == 1 && line[len] != '\n') {
        len += (len < sizeof(line) - 1);
        return;
    }

    line[len] = '\0';
    len = 0;

    if (n == 1 && strcmp(line, "report") == 0) {
        swarm_print_result();

    } else if (n == 1 && strcmp(line, "stop") != 0) {
        swarm_die("unknown on standard input: '%s'", line);

    } else {
        epoll_ctl(swarm_ep, EPOLL_CTL_DEL, 0, NULL);
        swarm_stop(NULL);
    }
}


static void
swarm_run(void)
{
    int                 i, n, ms;
    swarm_conn_t       *c;
    swarm_timer_t      *t;
    swarm_phase_e       phase;
    struct epoll_event  events[SWARM_EVENTS];

    for ( ;; ) {
        swarm_now = swarm_clock();

        while (swarm_heap[1]->at <= swarm_now) {
            t = swarm_heap[1];
            swarm_timer_off(t);
            t->handler(t->data);
        }

        do {
            phase = swarm_phase;
            swarm_progress();
        } while (phase != swarm_phase);

        while ((c = swarm_closed) != NULL) {
            swarm_closed = c->next;
            swarm_buf_free(&c->in);
            swarm_buf_free(&c->out);
            free(c);
        }

        /* there is always a timer; rounded up, or it would wake too early */

        ms = swarm_heap[1]->at <= swarm_now ? 0
             : (int) ((swarm_heap[1]->at - swarm_now + 999) / 1000);

        n = epoll_wait(swarm_ep, events, SWARM_EVENTS, ms);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c == NULL) {
                swarm_read_stdin();

            } else if (c->fd != -1) {
                swarm_conn_event(c);
            }
        }
    }
}


/* The command line */

static void
swarm_usage(void)
{
    unsigned  i;

    fputs("usage: swarm --url URL [option ...]\n", stderr);

    for (i = 0; i < SWARM_OPTIONS; i++) {
        fprintf(stderr, "  --%-16s %s\n", swarm_options[i].name,
                swarm_options[i].help);
    }

    exit(2);
}


static void
swarm_parse_args(int argc, char **argv)
{
    int            i;
    char           address[48], scheme[8];
    unsigned       port;
    struct option  options[SWARM_OPTIONS + 1];

    memset(options, 0, sizeof(options));

    for (i = 0; i < (int) SWARM_OPTIONS; i++) {
        options[i].name = swarm_options[i].name;
        options[i].has_arg = (swarm_options[i].type != 'f');
    }

    while (getopt_long(argc, argv, "", options, &i) == 0) {
        switch (swarm_options[i].type) {
        case 'f': *(int *) swarm_options[i].value = 1; break;
        case 'n': *(int *) swarm_options[i].value = atoi(optarg); break;
        case 'r': *(double *) swarm_options[i].value = atof(optarg); break;
        case 's': *(const char **) swarm_options[i].value = optarg; break;
        }
    }

    swarm_upgrading = (strcmp(swarm_mode, "upgrade") == 0);
    swarm_polling = swarm_upgrading || strcmp(swarm_mode, "polling") == 0;

    if (argc != optind || swarm_clients < 1 || swarm_opening < 1
        || (!swarm_polling && strcmp(swarm_mode, "websocket") != 0)
        || (swarm_burst_size && !swarm_upgrading)
        || sscanf(swarm_url, "%7[htps]://%47[0-9.]:%u%255s", scheme, address,
                  &port, swarm_path) != 4
        || inet_pton(AF_INET, address, &swarm_server.sin_addr) != 1
        || (ntohl(swarm_server.sin_addr.s_addr) >> 24) != 127)
    {
        swarm_usage();
    }

    swarm_server.sin_family = AF_INET;
    swarm_server.sin_port = htons((uint16_t) port);
    snprintf(swarm_host, sizeof(swarm_host), "%s:%u", address, port);

    if (strcmp(scheme, "https") == 0) {
        swarm_tls_init();
    }

    if (swarm_duration < 0 && !swarm_stdin) {
        swarm_duration = 5;
    }
}


int
main(int argc, char **argv)
{
    unsigned            i;
    swarm_peer_t       *p;
    struct rlimit       limit;
    struct epoll_event  ev;

    swarm_parse_args(argc, argv);

    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);

    swarm_now = swarm_clock();
    swarm_seed ^= swarm_now ^ (uint64_t) getpid() << 32;
    swarm_npeers = swarm_clients + swarm_sources + SWARM_OTHERS;
    swarm_peers = calloc(swarm_npeers, sizeof(swarm_peer_t));
    swarm_ep = epoll_create1(0);

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (swarm_peers == NULL || swarm_ep == -1
        || (swarm_stdin && epoll_ctl(swarm_ep, EPOLL_CTL_ADD, 0, &ev) == -1))
    {
        swarm_die("memory, or standard input is no pipe: %s", strerror(errno));
    }

    for (i = 0; i < swarm_npeers; i++) {
        p = &swarm_peers[i];
        p->kind = i < swarm_clients ? swarm_client : swarm_prospect;
        p->state = i < swarm_clients ? swarm_idle : swarm_left;

        swarm_timer_init(&p->alive, swarm_alive_timer, p);
        swarm_timer_init(&p->echo, swarm_echo_timer, p);
        swarm_timer_init(&p->upgrade, swarm_up_timer, p);
    }

    swarm_timer_init(&swarm_direct_timer, swarm_direct, NULL);
    swarm_timer_init(&swarm_burst_timer, swarm_burst_fire, NULL);
    swarm_timer_init(&swarm_refresh_timer, swarm_refresh_sources, NULL);
    swarm_timer_init(&swarm_phase_timer, swarm_stop, NULL);
    swarm_timer_init(&swarm_end_timer, swarm_late, NULL);
    swarm_timer_in(&swarm_end_timer, (uint64_t) (swarm_timeout * 1000000));

    swarm_run();

    return 0;
}
