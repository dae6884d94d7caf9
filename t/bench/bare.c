/*
 * The yardstick: the cheapest server of the same bytes that we know how to
 * write.  One process, one edge-triggered epoll loop, one recv() for each
 * readable event, one send() for each message.  It trusts the load generator
 * completely: it frames, and parses nothing; every answer but the echoed text
 * is a fixed string.  What it was not made for ends it with a message.
 *
 *     bare PORT
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>


#define BARE_FDS      20000
#define BARE_EVENTS   512
#define BARE_BUFFER   16384
#define BARE_TEXT     125       /* the longest text of a two-byte header */

/* offset of the letter in "GET /socket.io/?EIO=4&transport=websocket" */
#define BARE_WHICH    32

#define BARE_OPEN     "0{\"sid\":\"AAAAAAAAAAAAAAAAAAAA\",\"upgrades\":[],"    \
                      "\"pingInterval\":25000,\"pingTimeout\":20000,"         \
                      "\"maxPayload\":1000000}"
#define BARE_JOINED   "40{\"sid\":\"BBBBBBBBBBBBBBBBBBBB\"}"

#define BARE_101      "HTTP/1.1 101 Switching Protocols\r\n"                  \
                      "Upgrade: websocket\r\n"                                \
                      "Connection: Upgrade\r\n"                               \
                      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="    \
                      "\r\n\r\n"
#define BARE_200      "HTTP/1.1 200 OK\r\n"                                   \
                      "Server: bare/1.0.0000\r\n"                             \
                      "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"               \
                      "Content-Type: text/plain; charset=UTF-8\r\n"           \
                      "Content-Length: %zu\r\n"                               \
                      "Connection: keep-alive\r\n"                            \
                      "Cache-Control: no-store\r\n\r\n%.*s"


typedef enum {
    bare_new = 0,
    bare_websocket,             /* upgraded, not connected yet */
    bare_socket,                /* receives the broadcasts */
    bare_handshaken,            /* polling, next: the POST of "40" */
    bare_posted,                /* next: the GET of its answer */
    bare_joined,                /* no GET waits */
    bare_waiting                /* a GET waits */
} bare_state_e;


typedef struct {
    bare_state_e   state;
    int            missed;      /* a broadcast came while no GET waited */
    int            place;       /* in bare_listed */
} bare_conn_t;


static bare_conn_t    bare_conns[BARE_FDS];
static int            bare_listed[BARE_FDS], bare_nlisted;

/* unmasking writes whole words */
static unsigned char  bare_frame[2 + BARE_TEXT + 3];
static char           bare_http[1024];
static size_t         bare_http_len;


static void
bare_die(const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    fputs("bare: ", stderr);
    vfprintf(stderr, fmt, args);
    fputs("\n", stderr);
    va_end(args);

    exit(1);
}


static void
bare_send(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t) len
        && errno != EPIPE && errno != ECONNRESET)
    {
        bare_die("send() of %zu bytes failed: %s", len, strerror(errno));
    }
}


static void
bare_send_text(int fd, const char *text, size_t len)
{
    unsigned char  frame[2 + BARE_TEXT];

    frame[0] = 0x81;
    frame[1] = (unsigned char) len;
    memcpy(frame + 2, text, len);

    bare_send(fd, frame, 2 + len);
}


static void
bare_encode_http(const char *body, size_t len)
{
    bare_http_len = (size_t) snprintf(bare_http, sizeof(bare_http), BARE_200,
                                      len, (int) len, body);
}


static void
bare_send_http(int fd, const char *body)
{
    bare_encode_http(body, strlen(body));
    bare_send(fd, bare_http, bare_http_len);
}


static void
bare_list(int fd, bare_state_e state)
{
    bare_conns[fd].state = state;
    bare_conns[fd].place = bare_nlisted;
    bare_listed[bare_nlisted++] = fd;
}


static void
bare_close(int fd)
{
    int           last;
    bare_conn_t  *c;

    c = &bare_conns[fd];

    if (c->state == bare_socket || c->state >= bare_joined) {
        last = bare_listed[--bare_nlisted];
        bare_listed[c->place] = last;
        bare_conns[last].place = c->place;
    }

    memset(c, 0, sizeof(bare_conn_t));
    close(fd);
}


/* bare_frame holds the message; HTTP is written out once, if anyone polls */

static void
bare_broadcast(int sender)
{
    int           i, fd, encoded;
    size_t        len;
    bare_conn_t  *c;

    len = bare_frame[1];
    encoded = 0;

    for (i = 0; i < bare_nlisted; i++) {
        fd = bare_listed[i];
        c = &bare_conns[fd];

        if (c->state == bare_socket) {
            if (fd != sender) {
                bare_send(fd, bare_frame, 2 + len);
            }

            continue;
        }

        if (!encoded) {
            bare_encode_http((char *) bare_frame + 2, len);
            encoded = 1;
        }

        if (c->state == bare_joined) {
            c->missed = 1;
            continue;
        }

        c->state = bare_joined;
        bare_send(fd, bare_http, bare_http_len);
    }
}


static void
bare_handle_frames(int fd, unsigned char *p, unsigned char *last)
{
    size_t    i, len;
    uint32_t  key, word;

    while (p < last) {
        len = p[1] & 0x7f;

        if (last - p < 2 || p[0] != 0x81 || len > BARE_TEXT
            || (size_t) (last - p) < 6 + len)
        {
            bare_die("not a whole, short text frame");
        }

        memcpy(&key, p + 2, 4);
        p += 6;

        for (i = 0; i < len; i += 4) {
            memcpy(&word, p + i, 4);
            word ^= key;
            memcpy(bare_frame + 2 + i, &word, 4);
        }

        p += len;
        bare_frame[1] = (unsigned char) len;

        if (len == 2) {
            /* "40" */
            bare_list(fd, bare_socket);
            bare_send_text(fd, BARE_JOINED, sizeof(BARE_JOINED) - 1);

        } else if (len == 1) {
            /* a pong */

        } else if (bare_frame[6] == 'e') {
            /* 42["echo" */
            bare_send(fd, bare_frame, 2 + len);

        } else {
            bare_broadcast(fd);
        }
    }
}


static void
bare_handle_request(int fd, unsigned char *p, unsigned char *last)
{
    bare_conn_t  *c;

    c = &bare_conns[fd];

    if (c->state != bare_handshaken
        && (last - p < BARE_WHICH || memcmp(last - 4, "\r\n\r\n", 4) != 0))
    {
        bare_die("not a whole request");
    }

    switch (c->state) {

    case bare_new:
        if (p[BARE_WHICH] == 'w') {
            c->state = bare_websocket;
            bare_send(fd, BARE_101, sizeof(BARE_101) - 1);
            bare_send_text(fd, BARE_OPEN, sizeof(BARE_OPEN) - 1);
            return;
        }

        c->state = bare_handshaken;
        bare_send_http(fd, BARE_OPEN);
        return;

    case bare_handshaken:
        c->state = bare_posted;
        bare_send_http(fd, "ok");
        return;

    case bare_posted:
        bare_list(fd, bare_joined);
        bare_send_http(fd, BARE_JOINED);
        return;

    case bare_joined:
        if (c->missed) {
            c->missed = 0;
            bare_send(fd, bare_http, bare_http_len);
            return;
        }

        c->state = bare_waiting;
        return;

    default:
        bare_die("a request in state %d", c->state);
    }
}


static void
bare_handle_read(int fd, uint32_t events)
{
    ssize_t        n;
    bare_conn_t   *c;

    /* room for the last word of bare_handle_frames() */
    static unsigned char  buffer[BARE_BUFFER + 4];

    c = &bare_conns[fd];

    n = recv(fd, buffer, BARE_BUFFER, 0);

    if (n == BARE_BUFFER) {
        bare_die("more than a read's worth");
    }

    if (n < 0 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        bare_close(fd);
        return;
    }

    if (c->state == bare_websocket || c->state == bare_socket) {
        bare_handle_frames(fd, buffer, buffer + n);

    } else {
        bare_handle_request(fd, buffer, buffer + n);
    }

    if (events & (EPOLLRDHUP|EPOLLHUP|EPOLLERR)) {
        bare_close(fd);
    }
}


static void
bare_accept(int ep, int listener)
{
    int                 fd;
    struct epoll_event  ev;

    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

    if (fd == -1) {
        if (errno == EAGAIN || errno == ECONNABORTED) {
            return;
        }

        bare_die("accept4() failed: %s", strerror(errno));
    }

    if (fd >= BARE_FDS) {
        bare_die("too many connections");
    }

    ev.events = EPOLLIN|EPOLLRDHUP|EPOLLET;
    ev.data.fd = fd;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
        bare_die("epoll_ctl() failed: %s", strerror(errno));
    }
}


static int
bare_listen(unsigned port)
{
    int                 fd, one;
    struct sockaddr_in  addr;

    one = 1;

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t) port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);

    /* accepted sockets inherit TCP_NODELAY: no call for each of them */

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1
        || bind(fd, (struct sockaddr *) &addr, sizeof(addr)) == -1
        || listen(fd, 511) == -1)
    {
        bare_die("listening on port %u failed: %s", port, strerror(errno));
    }

    return fd;
}


int
main(int argc, char **argv)
{
    int                 i, n, ep, listener;
    struct rlimit       limit;
    struct epoll_event  ev, events[BARE_EVENTS];

    if (argc != 2) {
        bare_die("usage: bare PORT");
    }

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);

    bare_frame[0] = 0x81;

    listener = bare_listen((unsigned) atoi(argv[1]));
    ep = epoll_create1(0);

    ev.events = EPOLLIN;
    ev.data.fd = listener;

    if (ep == -1 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) == -1) {
        bare_die("epoll failed: %s", strerror(errno));
    }

    for ( ;; ) {
        n = epoll_wait(ep, events, BARE_EVENTS, -1);

        for (i = 0; i < n; i++) {
            if (events[i].data.fd == listener) {
                bare_accept(ep, listener);

            } else {
                bare_handle_read(events[i].data.fd, events[i].events);
            }
        }
    }
}
