/*
 * The load generator: Socket.IO v5 clients over Engine.IO v4, WebSocket or
 * long-polling, many in one process on one epoll.  It judges whatever it
 * receives: each byte, each message once and in order; anything else ends it
 * with a message and exit status 1.  Given the server's processes it reads
 * their CPU time (all threads, schedstat) or memory (smaps_rollup) itself, and
 * takes the sum, around the part that counts, while the server rests.
 *
 * Sending never waits: what it has in flight fits the socket buffers.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <dirent.h>
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
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


#define LOAD_EVENTS    512
#define LOAD_BUFFER    16384
#define LOAD_TEXT      64       /* the string argument of each event */
#define LOAD_EVENT     (sizeof("42[\"echo\",\"\"]") - 1 + LOAD_TEXT)
#define LOAD_PACKET    (10 + LOAD_EVENT)    /* with an id for the answer */
#define LOAD_FRAME     (6 + LOAD_PACKET)
#define LOAD_INFLIGHT  64
#define LOAD_PAYLOAD   (LOAD_INFLIGHT * (LOAD_PACKET + 1) + 64)
#define LOAD_OPENING   50       /* sessions on their way at a time */
#define LOAD_SID       64
#define LOAD_PIDS      64

/* RFC 6455, 1.3: the sample key and its answer */
#define LOAD_KEY       "dGhlIHNhbXBsZSBub25jZQ=="
#define LOAD_ACCEPT    "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define LOAD_HEADERS   "Host: %s\r\nUser-Agent: ngx_sio-load\r\nAccept: */*\r\n"


typedef enum {
    load_closed = 0,
    load_upgrade,               /* expects: 101 */
    load_open,                  /* the open packet */
    load_post,                  /* polling: "ok" of the POST of "40" */
    load_join,                  /* 40{"sid":"..."} */
    load_ready,                 /* events */
    load_pong,                  /* polling: "ok" of the POST of a pong */
    load_posts                  /* a connection of its own for POSTs */
} load_state_e;


typedef struct load_conn_s  load_conn_t;

struct load_conn_s {
    int            fd;
    load_state_e   state;
    int            polling;
    unsigned       ordinal;
    unsigned       seq;         /* of the last event received */
    unsigned       until;       /* echo: this client's last one */
    unsigned       inflight;
    load_conn_t   *post;        /* polling stream: the one for POSTs, */
    load_conn_t   *owner;       /* and whose it is */
    int            posting;     /* "ok" is awaited */
    unsigned       pongs;       /* to be sent */
    size_t         len;
    char           sid[LOAD_SID];
    char           buf[LOAD_BUFFER];
};


typedef struct {
    const char    *name;
    const char    *unit;
    void         (*run)(void);
    void         (*ready)(load_conn_t *c);
    void         (*message)(load_conn_t *c, const char *text, size_t len);
    unsigned       clients, count;
} load_scenario_t;


static void load_run_broadcast(void);
static void load_run_polling(void);
static void load_run_echo(void);
static void load_run_connect(void);
static void load_run_stream(void);
static void load_run_idle(void);
static void load_message_broadcast(load_conn_t *c, const char *text,
    size_t len);
static void load_message_echo(load_conn_t *c, const char *text, size_t len);
static void load_message_ack(load_conn_t *c, const char *text, size_t len);
static void load_message_stream(load_conn_t *c, const char *text, size_t len);
static void load_message_none(load_conn_t *c, const char *text, size_t len);
static void load_post_next(load_conn_t *c);
static void load_ready_count(load_conn_t *c);
static void load_ready_next(load_conn_t *c);


static load_scenario_t  load_scenarios[] = {
    { "broadcast", "delivery", load_run_broadcast, load_ready_count,
      load_message_broadcast, 1000, 200 },
    { "polling", "delivery", load_run_polling, load_ready_count,
      load_message_broadcast, 100, 400 },
    { "echo", "message", load_run_echo, load_ready_count,
      load_message_echo, 100, 500 },
    { "ack", "message", load_run_echo, load_ready_count,
      load_message_ack, 100, 500 },
    { "stream", "message", load_run_stream, load_ready_count,
      load_message_stream, 100, 1 },
    { "connect", "connection", load_run_connect, load_ready_next,
      load_message_none, 200, 5000 },
    { "idle", "session", load_run_idle, load_ready_count,
      load_message_none, 10000, 1 },
};


/* the command line */
static load_scenario_t     *load_scenario;
static unsigned             load_clients, load_count, load_inflight = 1;
static unsigned             load_timeout = 60, load_reopen;
static unsigned             load_turns, load_warm;
static int                  load_polling, load_own, load_memory;
static long                 load_pids[LOAD_PIDS];
static unsigned             load_npids;
static char                 load_host[64], load_path[256];
static struct sockaddr_in   load_server;

/* what runs */
static int           load_ep;
static load_conn_t  *load_conns;
static unsigned      load_opened, load_readied, load_pending;
static unsigned      load_seq;      /* of the broadcast under way */
static unsigned      load_total;    /* connect: how many to open */
static unsigned      load_descriptors;  /* of the server, at first */
static int           load_told;     /* by standard input */
static char          load_expected[LOAD_EVENT];


static void
load_die(load_conn_t *c, const char *fmt, ...)
{
    va_list  args;

    fflush(stdout);
    fprintf(stderr, "load %s: ", load_scenario ? load_scenario->name : "");

    if (c) {
        fprintf(stderr, "client %u in state %d after event %u: ",
                c->ordinal, c->state, c->seq);
    }

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputs("\n", stderr);

    exit(1);
}


static void
load_die_late(int signo)
{
    (void) signo;

    load_die(NULL, "timed out: %u opened, %u ready, event %u, %u pending",
             load_opened, load_readied, load_seq, load_pending);
}


/* The server, seen from outside */

static long long
load_read_task(const char *path)
{
    FILE       *f;
    long long   ns;

    f = fopen(path, "r");
    if (f == NULL) {
        /* a thread that has ended */
        return 0;
    }

    if (fscanf(f, "%lld", &ns) != 1) {
        ns = 0;
    }

    fclose(f);
    return ns;
}


/* a directory's entries; their schedstat is added if that is asked */

static unsigned
load_read_process(long pid, const char *what, long long *ns)
{
    DIR            *dir;
    char            path[300];
    unsigned        n;
    struct dirent  *e;

    snprintf(path, sizeof(path), "/proc/%ld/%s", pid, what);

    dir = opendir(path);
    if (dir == NULL) {
        load_die(NULL, "%s: %s", path, strerror(errno));
    }

    n = 0;

    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.') {
            continue;
        }

        n++;

        if (ns) {
            snprintf(path, sizeof(path), "/proc/%ld/%s/%.20s/schedstat",
                     pid, what, e->d_name);
            *ns += load_read_task(path);
        }
    }

    closedir(dir);
    return n;
}


static unsigned
load_read_proc(const char *what, long long *ns)
{
    unsigned  i, n;

    n = 0;

    for (i = 0; i < load_npids; i++) {
        n += load_read_process(load_pids[i], what, ns);
    }

    return n;
}


static void
load_nap(long ms)
{
    struct timespec  ts = { 0, ms * 1000000 };

    nanosleep(&ts, NULL);
}


/* CPU time once the server rests: what is in its hands belongs to the run */

static long long
load_settled_cpu(void)
{
    int        i, same;
    long long  before, now;

    if (load_npids == 0) {
        return 0;
    }

    before = -1;
    same = 0;

    for (i = 0; i < 100 && same < 2; i++) {
        now = 0;
        load_read_proc("task", &now);
        same = (now == before) ? same + 1 : 0;
        before = now;
        load_nap(3);
    }

    return before;
}


static long
load_read_memory(long pid)
{
    FILE  *f;
    char   line[256];
    long   kb;

    snprintf(line, sizeof(line), "/proc/%ld/smaps_rollup", pid);

    f = fopen(line, "r");
    if (f == NULL) {
        load_die(NULL, "%s: %s", line, strerror(errno));
    }

    kb = -1;

    while (kb == -1 && fgets(line, sizeof(line), f) != NULL) {
        (void) sscanf(line, "Private_Dirty: %ld kB", &kb);
    }

    fclose(f);
    return kb;
}


static long
load_private_dirty(void)
{
    long      kb;
    unsigned  i;

    kb = 0;

    for (i = 0; i < load_npids; i++) {
        kb += load_read_memory(load_pids[i]);
    }

    return kb;
}


/* the server has let go of all connections but those it had at first */

static void
load_wait_descriptors(unsigned n)
{
    unsigned  i, now;

    if (load_npids == 0) {
        return;
    }

    now = 0;

    for (i = 0; i < load_timeout * 100; i++) {
        now = load_read_proc("fd", NULL);
        if (now <= n) {
            return;
        }

        load_nap(10);
    }

    load_die(NULL, "the server holds %u descriptors, had %u at first", now, n);
}


/* Bytes out */

static void
load_send(load_conn_t *c, const void *data, size_t len)
{
    ssize_t  n;

    n = send(c->fd, data, len, MSG_NOSIGNAL|MSG_DONTWAIT);

    if (n != (ssize_t) len) {
        load_die(c, "send() of %zu bytes: %s", len,
                 n == -1 ? strerror(errno) : "partial");
    }
}


static size_t
load_encode_frame(char *out, const char *text, size_t len)
{
    size_t             i;
    static const char  key[4] = { 0x37, (char) 0xfa, 0x21, 0x3d };

    out[0] = (char) 0x81;
    out[1] = (char) (0x80 | len);
    memcpy(out + 2, key, 4);

    for (i = 0; i < len; i++) {
        out[6 + i] = text[i] ^ key[i & 3];
    }

    return 6 + len;
}


static void
load_send_text(load_conn_t *c, const char *text)
{
    char  frame[LOAD_FRAME];

    load_send(c, frame, load_encode_frame(frame, text, strlen(text)));
}


static void
load_send_get(load_conn_t *c)
{
    int   n;
    char  request[1024];

    n = snprintf(request, sizeof(request),
                 "GET %s?EIO=4&transport=polling%s%s HTTP/1.1\r\n"
                 LOAD_HEADERS "\r\n",
                 load_path, c->sid[0] ? "&sid=" : "", c->sid, load_host);
    load_send(c, request, (size_t) n);
}


static void
load_send_post(load_conn_t *c, const char *body)
{
    int   n;
    char  request[1024 + LOAD_PAYLOAD];

    n = snprintf(request, sizeof(request),
                 "POST %s?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n"
                 LOAD_HEADERS
                 "Content-Type: text/plain;charset=UTF-8\r\n"
                 "Content-Length: %zu\r\n\r\n%s",
                 load_path, c->owner ? c->owner->sid : c->sid, load_host,
                 strlen(body), body);
    load_send(c, request, (size_t) n);
}


static void
load_send_upgrade(load_conn_t *c)
{
    int   n;
    char  request[1024];

    n = snprintf(request, sizeof(request),
                 "GET %s?EIO=4&transport=websocket HTTP/1.1\r\n"
                 LOAD_HEADERS
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: " LOAD_KEY "\r\n\r\n",
                 load_path, load_host);
    load_send(c, request, (size_t) n);
}


/* 42["echo","0000000017 00000042 ..."]: who asked, which event, filling */

static void
load_encode_event(char *out, const char *name, unsigned who, unsigned seq)
{
    int   i;
    char *p;

    memset(out, '.', LOAD_EVENT);
    memcpy(out, "42[\"", 4);
    memcpy(out + 4, name, 4);
    memcpy(out + 8, "\",\"", 3);
    memcpy(out + LOAD_EVENT - 2, "\"]", 2);

    p = out + 11 + 10;
    *p = ' ';

    for (i = 0; i < 10; i++, who /= 10) {
        *--p = (char) ('0' + who % 10);
    }

    p = out + 11 + 21;
    *p = ' ';

    for (i = 0; i < 10; i++, seq /= 10) {
        *--p = (char) ('0' + seq % 10);
    }
}


/* whether each event wants an acknowledgement */

static int
load_asks(void)
{
    return load_scenario->message == load_message_ack
           || load_scenario->message == load_message_stream;
}


/* the client's event seq; 4217["echo","..."] if an answer is asked for */

static size_t
load_encode_packet(char *out, load_conn_t *c, unsigned seq)
{
    int   n;
    char  event[LOAD_EVENT];

    load_encode_event(event, "echo", c->ordinal, seq);

    n = load_asks() ? sprintf(out, "42%u", seq) : sprintf(out, "42");
    memcpy(out + n, event + 2, LOAD_EVENT - 2);

    return (size_t) n + LOAD_EVENT - 2;
}


/* Opening */

static void
load_conn_connect(load_conn_t *c)
{
    int                 fd, one;
    struct timeval      tv;
    struct epoll_event  ev;
    struct sockaddr_in  from;

    one = 1;
    tv.tv_sec = 10;
    tv.tv_usec = 0;

    /* an address of its own for every 10,000: ports do not run short */

    memset(&from, 0, sizeof(from));
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK
                                 + 256 * (uint32_t) (getpid() % 200)
                                 + load_opened / 10000);

    /* blocking: the loopback answers at once */

    fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == -1
        || setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one))
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1
        || bind(fd, (struct sockaddr *) &from, sizeof(from)) == -1
        || connect(fd, (struct sockaddr *) &load_server, sizeof(load_server)))
    {
        load_die(c, "connecting: %s", strerror(errno));
    }

    c->fd = fd;
    c->ordinal = load_opened++;
    c->seq = 0;
    c->len = 0;
    c->sid[0] = '\0';

    ev.events = EPOLLIN|EPOLLRDHUP|EPOLLET;
    ev.data.ptr = c;

    if (epoll_ctl(load_ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
        load_die(c, "epoll_ctl(): %s", strerror(errno));
    }
}


static void
load_conn_open(load_conn_t *c, int polling)
{
    load_conn_connect(c);

    c->polling = polling;

    if (polling) {
        c->state = load_open;
        load_send_get(c);

    } else {
        c->state = load_upgrade;
        load_send_upgrade(c);
    }
}


static void
load_conn_close(load_conn_t *c)
{
    close(c->fd);
    c->state = load_closed;
    load_readied--;
}


/* the value of "sid" in an open packet or a CONNECT answer */

static void
load_parse_sid(load_conn_t *c, const char *text, size_t len, const char *head)
{
    size_t       n;
    const char  *p, *q;

    n = strlen(head);

    if (len < n || memcmp(text, head, n) != 0) {
        load_die(c, "expected %s..., got '%.*s'", head, (int) len, text);
    }

    p = text + n;
    q = memchr(p, '"', len - n);

    if (q == NULL || q == p || q - p >= LOAD_SID) {
        load_die(c, "no sid in '%.*s'", (int) len, text);
    }

    if (c->state == load_open) {
        memcpy(c->sid, p, (size_t) (q - p));
        c->sid[q - p] = '\0';
    }
}


static void
load_handle_open(load_conn_t *c, const char *text, size_t len)
{
    load_parse_sid(c, text, len, "0{\"sid\":\"");

    if (c->polling) {
        c->state = load_post;
        load_send_post(c, "40");

    } else {
        c->state = load_join;
        load_send_text(c, "40");
    }
}


/* an Engine.IO packet; for polling the next GET is sent by the caller */

static void
load_handle_packet(load_conn_t *c, const char *text, size_t len)
{
    if (c->state == load_open) {
        load_handle_open(c, text, len);

    } else if (len == 1 && text[0] == '2') {

        if (!c->polling) {
            load_send_text(c, "3");

        } else if (c->post) {
            c->pongs++;
            load_post_next(c);

        } else {
            c->state = load_pong;
        }

    } else if (c->state == load_join) {
        load_parse_sid(c, text, len, "40{\"sid\":\"");
        c->state = load_ready;
        load_readied++;

        if (c->polling) {
            load_send_get(c);
        }

        load_scenario->ready(c);

    } else {
        load_scenario->message(c, text, len);
    }
}


static void
load_handle_payload(load_conn_t *c, const char *text, size_t len)
{
    size_t         n;
    const char    *end;
    load_state_e   before;

    if (c->state == load_post || c->state == load_pong
        || c->state == load_posts)
    {
        if (len != 2 || memcmp(text, "ok", 2) != 0) {
            load_die(c, "a POST was answered '%.*s'", (int) len, text);
        }

        if (c->state == load_posts) {
            c->owner->posting = 0;
            load_post_next(c->owner);
            return;
        }

        c->state = (c->state == load_post) ? load_join : load_ready;
        load_send_get(c);
        return;
    }

    before = c->state;

    for (;; text += n + 1, len -= n + 1) {
        end = memchr(text, 0x1e, len);
        n = end ? (size_t) (end - text) : len;

        load_handle_packet(c, text, n);

        if (end == NULL) {
            break;
        }
    }

    if (c->state == load_pong) {
        load_send_post(c, "3");

    } else if (before == load_ready || c->state == load_join) {
        load_send_get(c);
    }
}


/* Bytes in; each returns how many it has used, 0 if there is not enough */

static size_t
load_decode_head(load_conn_t *c, const char *p, size_t len, const char *status)
{
    char  *end;

    end = memmem(p, len, "\r\n\r\n", 4);

    if (end == NULL) {
        return 0;
    }

    if (memcmp(p, status, strlen(status)) != 0) {
        load_die(c, "expected %s, got '%.*s'", status, (int) len, p);
    }

    return (size_t) (end - p) + 4;
}


static size_t
load_decode_upgrade(load_conn_t *c, const char *p, size_t len)
{
    size_t  n;

    n = load_decode_head(c, p, len, "HTTP/1.1 101 ");

    if (n) {
        if (memmem(p, n, LOAD_ACCEPT "\r\n", sizeof(LOAD_ACCEPT) + 1) == NULL)
        {
            load_die(c, "wrong Sec-WebSocket-Accept in '%.*s'", (int) n, p);
        }

        c->state = load_open;
    }

    return n;
}


static size_t
load_decode_response(load_conn_t *c, const char *p, size_t len)
{
    size_t       n, body;
    const char  *h;

    n = load_decode_head(c, p, len, "HTTP/1.1 200 ");

    if (n == 0) {
        return 0;
    }

    for (h = p; strncasecmp(h, "\r\nContent-Length: ", 18) != 0; h++) {
        if (h == p + n - 4) {
            load_die(c, "no Content-Length in '%.*s'", (int) n, p);
        }
    }

    body = strtoul(h + 18, NULL, 10);

    if (n + body > len) {
        return 0;
    }

    load_handle_payload(c, p + n, body);

    return n + body;
}


static size_t
load_decode_frame(load_conn_t *c, const char *p, size_t len)
{
    size_t                n, head;
    const unsigned char  *u = (const unsigned char *) p;

    if (len < 2) {
        return 0;
    }

    if (u[0] != 0x81 || u[1] > 126) {
        load_die(c, "unexpected frame %02x %02x", u[0], u[1]);
    }

    if (u[1] < 126) {
        n = u[1];
        head = 2;

    } else {
        if (len < 4) {
            return 0;
        }

        n = (size_t) u[2] << 8 | u[3];
        head = 4;
    }

    if (len < head + n) {
        return 0;
    }

    load_handle_packet(c, p + head, n);

    return head + n;
}


static void
load_handle_bytes(load_conn_t *c)
{
    char    *p;
    size_t   n, len;

    p = c->buf;
    len = c->len;

    while (len && c->state != load_closed) {

        if (c->polling) {
            n = load_decode_response(c, p, len);

        } else if (c->state == load_upgrade) {
            n = load_decode_upgrade(c, p, len);

        } else {
            n = load_decode_frame(c, p, len);
        }

        if (n == 0) {
            break;
        }

        p += n;
        len -= n;
    }

    if (c->state == load_closed) {
        return;
    }

    if (len && p != c->buf) {
        memmove(c->buf, p, len);
    }

    c->len = len;
}


static void
load_handle_read(load_conn_t *c)
{
    int      fd;
    size_t   room;
    ssize_t  n;

    fd = c->fd;

    do {
        room = LOAD_BUFFER - c->len;

        if (room == 0) {
            load_die(c, "a message longer than %d bytes", LOAD_BUFFER);
        }

        n = recv(fd, c->buf + c->len, room, MSG_DONTWAIT);

        if (n == -1 && errno == EAGAIN) {
            return;
        }

        if (n <= 0) {
            load_die(c, "the server closed: %s", n ? strerror(errno) : "EOF");
        }

        c->len += (size_t) n;
        load_handle_bytes(c);

    } while ((size_t) n == room && c->fd == fd && c->state != load_closed);
}


static void
load_wait(int timeout)
{
    int                 i, n;
    load_conn_t        *c;
    struct epoll_event  events[LOAD_EVENTS];

    n = epoll_wait(load_ep, events, LOAD_EVENTS, timeout);

    for (i = 0; i < n; i++) {
        c = events[i].data.ptr;

        if (c == NULL) {
            /* standard input, see load_watch() */
            load_told = 1;
            continue;
        }

        load_handle_read(c);

        if (c->state != load_closed
            && (events[i].events & (EPOLLRDHUP|EPOLLHUP|EPOLLERR)))
        {
            load_handle_read(c);
        }
    }
}


/* Scenarios */

static void
load_ready_count(load_conn_t *c)
{
    (void) c;
}


static void
load_message_none(load_conn_t *c, const char *text, size_t len)
{
    load_die(c, "unexpected message '%.*s'", (int) len, text);
}


/* opens clients from .. to - 1, some at a time, until all are connected */

static void
load_open_all(unsigned from, unsigned to, int polling)
{
    unsigned  i, before;

    i = from;
    before = load_readied;

    while (load_readied - before < to - from) {

        while (i < to && i - from - (load_readied - before) < LOAD_OPENING) {
            load_conn_open(&load_conns[i++], polling);
        }

        load_wait(-1);
    }
}


/*
 * What is measured: work() is called for count steps, or in as many turns as
 * were asked for, each begun by a line on standard input, so that the loads of
 * several servers can take turns.  units are counted for each step.
 */

static void
load_measure(void (*work)(unsigned n), unsigned units)
{
    char       line[8];
    long       memory[LOAD_PIDS];
    unsigned   i, turns;
    long long  cpu, before;

    cpu = 0;
    turns = load_turns ? load_turns : 1;

    if (load_memory) {
        load_settled_cpu();

        for (i = 0; i < load_npids; i++) {
            memory[i] = load_read_memory(load_pids[i]);
        }
    }

    for (i = 0; i < turns; i++) {

        if (load_turns) {
            printf("turn %u\n", i);
            fflush(stdout);

            if (fgets(line, sizeof(line), stdin) == NULL) {
                load_die(NULL, "no turn came");
            }
        }

        before = load_settled_cpu();
        work((i + 1) * load_count / turns - i * load_count / turns);
        cpu += load_settled_cpu() - before;
    }

    /* what came meanwhile would be a message too much */
    load_wait(0);

    units *= load_count;

    printf("scenario=%s units=%u cpu_ns=%lld us=%.4f\n", load_scenario->name,
           units, cpu, (double) cpu / units / 1000);

    if (load_memory) {
        for (i = 0; i < load_npids; i++) {
            printf("memory pid=%ld before_kib=%ld after_kib=%ld\n",
                   load_pids[i], memory[i], load_read_memory(load_pids[i]));
        }
    }
}


static void
load_message_broadcast(load_conn_t *c, const char *text, size_t len)
{
    if (c == load_conns || len != LOAD_EVENT
        || memcmp(text, load_expected, LOAD_EVENT) != 0)
    {
        load_die(c, "expected event %u, got '%.*s'", load_seq, (int) len,
                 text);
    }

    if (++c->seq != load_seq) {
        load_die(c, "event %u came twice", load_seq);
    }

    load_pending--;
}


/* client 0 sends, the others receive; the next event waits for them all */

static void
load_broadcast(unsigned n)
{
    char    frame[LOAD_FRAME];
    size_t  len;

    while (n--) {
        load_seq++;
        load_encode_event(load_expected, "news", load_conns->ordinal,
                          load_seq);
        len = load_encode_frame(frame, load_expected, LOAD_EVENT);
        load_pending = load_clients;
        load_send(load_conns, frame, len);

        while (load_pending) {
            load_wait(-1);
        }
    }
}


static void
load_run_receivers(int polling)
{
    load_open_all(0, 1, 0);
    load_open_all(1, 1 + load_clients, polling);

    load_broadcast(1 + load_count / 10);
    load_measure(load_broadcast, load_clients);
}


static void
load_run_broadcast(void)
{
    load_run_receivers(0);
}


static void
load_run_polling(void)
{
    load_run_receivers(1);
}


/* the next n events, in one write */

static void
load_send_events(load_conn_t *c, unsigned n)
{
    char    packet[LOAD_PACKET], frames[LOAD_INFLIGHT * LOAD_FRAME];
    size_t  len;

    for (len = 0; n; n--) {
        c->inflight++;
        len += load_encode_frame(frames + len, packet,
                   load_encode_packet(packet, c, c->seq + c->inflight));
    }

    load_send(c, frames, len);
}


static void
load_send_burst(load_conn_t *c)
{
    unsigned  n;

    n = c->until - c->seq;

    load_send_events(c, n < load_inflight ? n : load_inflight);
}


static void
load_message_echo(load_conn_t *c, const char *text, size_t len)
{
    char  event[LOAD_EVENT];

    load_encode_event(event, "echo", c->ordinal, c->seq + 1);

    if (c->inflight == 0 || len != LOAD_EVENT
        || memcmp(text, event, LOAD_EVENT) != 0)
    {
        load_die(c, "expected '%.*s', got '%.*s'", (int) LOAD_EVENT, event,
                 (int) len, text);
    }

    c->seq++;
    load_pending--;

    if (--c->inflight == 0 && c->seq != c->until) {
        load_send_burst(c);
    }
}


/* 4317["ok"], or with the event's own argument */

static void
load_handle_answer(load_conn_t *c, const char *text, size_t len)
{
    int   n;
    char  event[LOAD_EVENT], answer[LOAD_PACKET];

    if (load_own) {
        load_encode_event(event, "echo", c->ordinal, c->seq + 1);
        n = sprintf(answer, "43%u[%.*s", c->seq + 1, (int) LOAD_EVENT - 10,
                    event + 10);

    } else {
        n = sprintf(answer, "43%u[\"ok\"]", c->seq + 1);
    }

    if (c->inflight == 0 || len != (size_t) n
        || memcmp(text, answer, len) != 0)
    {
        load_die(c, "expected '%s', got '%.*s'", answer, (int) len, text);
    }

    c->seq++;
    c->inflight--;
    load_pending--;
}


static void
load_message_ack(load_conn_t *c, const char *text, size_t len)
{
    load_handle_answer(c, text, len);

    if (c->inflight == 0 && c->seq != c->until) {
        load_send_burst(c);
    }
}


/* each client sends n bursts */

static void
load_echo(unsigned n)
{
    unsigned  i;

    if (n == 0) {
        return;
    }

    load_pending = load_clients * n * load_inflight;

    for (i = 0; i < load_clients; i++) {
        load_conns[i].until += n * load_inflight;
        load_send_burst(&load_conns[i]);
    }

    while (load_pending) {
        load_wait(-1);
    }
}


static void
load_run_echo(void)
{
    load_open_all(0, load_clients, 0);

    load_echo(load_warm ? load_warm : 1 + load_count / 10);
    load_measure(load_echo, load_clients * load_inflight);
}


static void
load_ready_next(load_conn_t *c)
{
    load_conn_close(c);
    load_pending--;

    if (load_opened < load_total) {
        load_conn_open(c, 0);
    }
}


static void
load_connect(unsigned n)
{
    unsigned  i;

    load_pending = n;
    load_total += n;

    for (i = 0; i < load_clients && load_opened < load_total; i++) {
        load_conn_open(&load_conns[i], 0);
    }

    while (load_pending) {
        load_wait(-1);
    }

    load_wait_descriptors(load_descriptors);
}


static void
load_run_connect(void)
{
    load_descriptors = load_read_proc("fd", NULL);

    load_connect(1 + load_count / 10);
    load_measure(load_connect, 1);
}


/* says that all are there, and watches standard input: sets load_told */

static void
load_watch(void)
{
    struct epoll_event  ev;

    printf("ready %u\n", load_readied);
    fflush(stdout);

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (epoll_ctl(load_ep, EPOLL_CTL_ADD, 0, &ev) == -1) {
        load_die(NULL, "standard input is no pipe: %s", strerror(errno));
    }
}


/* keeps all sessions, answering pings, until standard input ends */

static void
load_hold(void)
{
    char  byte;

    load_watch();

    do {
        for (load_told = 0; !load_told; load_wait(-1)) { /* void */ }

    } while (read(0, &byte, 1) == 1);
}


/* how many events may go now: half of what may be in flight, or more */

static unsigned
load_stream_room(load_conn_t *c)
{
    unsigned  n;

    n = load_inflight - c->inflight;

    return (load_told || c->state != load_ready || 2 * n < load_inflight)
           ? 0 : n;
}


/* polling: all that is to be sent, when the last POST was answered */

static void
load_post_next(load_conn_t *c)
{
    char      payload[LOAD_PAYLOAD], *p;
    unsigned  n;

    n = load_stream_room(c);

    if (c->posting || (n == 0 && c->pongs == 0)) {
        return;
    }

    p = payload;
    load_pending += n;

    for ( /* void */ ; c->pongs; c->pongs--) {
        p += sprintf(p, "3\x1e");
    }

    for ( /* void */ ; n; n--) {
        c->inflight++;
        p += load_encode_packet(p, c, c->seq + c->inflight);
        *p++ = 0x1e;
    }

    p[-1] = '\0';

    if (c->post->state == load_closed) {
        c->post->owner = c;
        c->post->polling = 1;
        c->post->state = load_posts;
        load_conn_connect(c->post);
    }

    c->posting = 1;
    load_send_post(c->post, payload);
}


static void
load_stream_next(load_conn_t *c)
{
    unsigned  n;

    if (c->polling) {
        load_post_next(c);
        return;
    }

    n = load_stream_room(c);

    if (n) {
        load_pending += n;
        load_send_events(c, n);
    }
}


static void
load_message_stream(load_conn_t *c, const char *text, size_t len)
{
    load_handle_answer(c, text, len);
    load_stream_next(c);
}


/* events without a pause, until standard input ends, and all their answers */

static void
load_run_stream(void)
{
    unsigned  i;

    for (i = 0; i < load_clients; i++) {
        load_conns[i].post = &load_conns[load_clients + 1 + i];
    }

    load_open_all(0, load_clients, load_polling);
    load_watch();

    for (i = 0; i < load_clients; i++) {
        load_stream_next(&load_conns[i]);
    }

    while (!load_told) {
        load_wait(-1);
    }

    (void) epoll_ctl(load_ep, EPOLL_CTL_DEL, 0, NULL);

    while (load_pending) {
        load_wait(-1);
    }

    for (i = 0, load_seq = 0; i < load_clients; i++) {
        load_seq += load_conns[i].seq;
    }

    printf("scenario=stream units=%u\n", load_seq);
}


static void
load_run_idle(void)
{
    long      first, base, now;
    unsigned  i, round;

    if (load_npids == 0) {
        load_open_all(0, load_clients, 0);
        load_hold();
        return;
    }

    first = 0;
    load_descriptors = load_read_proc("fd", NULL);
    base = load_private_dirty();

    for (round = 0; round <= load_reopen; round++) {
        load_open_all(0, load_clients, 0);
        load_settled_cpu();
        now = load_private_dirty();

        if (round == 0) {
            first = now - base;
            printf("scenario=idle units=%u grown_kib=%ld kib=%.4f\n",
                   load_clients, first, (double) first / load_clients);

        } else {
            printf("scenario=reopened units=%u grown_kib=%ld percent=%.2f\n",
                   load_clients, now - base - first,
                   first ? 100.0 * (double) (now - base - first)
                           / (double) first : 0.0);
        }

        for (i = 0; i < load_clients; i++) {
            load_conn_close(&load_conns[i]);
        }

        load_wait_descriptors(load_descriptors);
    }
}


/* The command line */

static void
load_usage(void)
{
    unsigned  i;

    fputs("usage: load [option ...] SCENARIO http://ADDRESS:PORT/PATH/\n"
          "  --pid LIST     the server's processes: CPU time, memory\n"
          "  --clients N    (connect: at a time; broadcast: receivers)\n"
          "  --count N      events, connections, echo: writes of each client\n"
          "  --inflight N   echo, ack: messages in each write;\n"
          "                 stream: on their way, of each client\n"
          "  --polling      stream: by polling\n"
          "  --own          ack, stream: the event's own argument is the\n"
          "                 answer, not \"ok\"\n"
          "  --memory       ack: memory of each process, too\n"
          "  --warm N       echo, ack: writes before those that count\n"
          "  --turns N      measures in N parts, each awaits a line\n"
          "  --reopen N     idle: how many times all come again\n"
          "  --timeout S    fails after so many seconds (60)\n"
          "Without --pid, idle prints \"ready N\" and holds its sessions\n"
          "until standard input ends; so long stream sends.  Scenarios,\n"
          "clients, count:\n", stderr);

    for (i = 0; i < sizeof(load_scenarios) / sizeof(load_scenario_t); i++) {
        fprintf(stderr, "  %-10s %6u %6u\n", load_scenarios[i].name,
                load_scenarios[i].clients, load_scenarios[i].count);
    }

    exit(2);
}


static void
load_parse_pids(const char *list)
{
    char  *end;

    load_npids = 0;

    do {
        if (load_npids == LOAD_PIDS) {
            load_usage();
        }

        load_pids[load_npids] = strtol(list, &end, 10);

        if (load_pids[load_npids++] <= 0 || (*end != ',' && *end != '\0')) {
            load_usage();
        }

        list = end + 1;

    } while (*end == ',');
}


static void
load_parse_url(const char *url)
{
    char      address[48];
    unsigned  port;

    memset(&load_server, 0, sizeof(load_server));

    if (sscanf(url, "http://%47[0-9.]:%u%255s", address, &port, load_path) != 3
        || inet_pton(AF_INET, address, &load_server.sin_addr) != 1
        || (ntohl(load_server.sin_addr.s_addr) >> 24) != 127)
    {
        fputs("load: the URL must be http://127.x.y.z:PORT/PATH/\n", stderr);
        exit(2);
    }

    load_server.sin_family = AF_INET;
    load_server.sin_port = htons((uint16_t) port);
    snprintf(load_host, sizeof(load_host), "%s:%u", address, port);
}


static void
load_parse_args(int argc, char **argv)
{
    int       opt;
    unsigned  i;

    static const struct option  options[] = {
        { "pid", required_argument, NULL, 'p' },
        { "clients", required_argument, NULL, 'c' },
        { "count", required_argument, NULL, 'n' },
        { "inflight", required_argument, NULL, 'i' },
        { "warm", required_argument, NULL, 'w' },
        { "turns", required_argument, NULL, 'u' },
        { "polling", no_argument, &load_polling, 1 },
        { "own", no_argument, &load_own, 1 },
        { "memory", no_argument, &load_memory, 1 },
        { "reopen", required_argument, NULL, 'r' },
        { "timeout", required_argument, NULL, 't' },
        { NULL, 0, NULL, 0 }
    };

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'p': load_parse_pids(optarg); break;
        case 'c': load_clients = (unsigned) atoi(optarg); break;
        case 'n': load_count = (unsigned) atoi(optarg); break;
        case 'i': load_inflight = (unsigned) atoi(optarg); break;
        case 'w': load_warm = (unsigned) atoi(optarg); break;
        case 'u': load_turns = (unsigned) atoi(optarg); break;
        case 'r': load_reopen = (unsigned) atoi(optarg); break;
        case 't': load_timeout = (unsigned) atoi(optarg); break;
        case 0: break;
        default: load_usage();
        }
    }

    if (argc - optind != 2 || load_inflight < 1
        || load_inflight > LOAD_INFLIGHT)
    {
        load_usage();
    }

    for (i = 0; i < sizeof(load_scenarios) / sizeof(load_scenario_t); i++) {
        if (strcmp(argv[optind], load_scenarios[i].name) == 0) {
            load_scenario = &load_scenarios[i];
        }
    }

    if (load_scenario == NULL) {
        load_usage();
    }

    load_clients = load_clients ? load_clients : load_scenario->clients;
    load_count = load_count ? load_count : load_scenario->count;

    load_parse_url(argv[optind + 1]);
}


int
main(int argc, char **argv)
{
    struct rlimit  limit;

    load_parse_args(argc, argv);

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);

    signal(SIGALRM, load_die_late);
    alarm(load_timeout);

    load_ep = epoll_create1(0);
    load_conns = calloc(2 * load_clients + 1, sizeof(load_conn_t));

    if (load_ep == -1 || load_conns == NULL) {
        load_die(NULL, "starting: %s", strerror(errno));
    }

    load_scenario->run();

    return 0;
}
