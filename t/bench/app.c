/*
 * A backend for the benchmark: HTTP/1.1 with keep-alive on one epoll.  It
 * answers an event with an emit of the same arguments, anything else with
 * 204.  Only what it is sent in the benchmark is understood: a request comes
 * with a Content-Length and whole in one buffer.
 *
 *   app PORT
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>


#define APP_BUFFER  16384
#define APP_EVENTS  256
#define APP_HEAD    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" \
                    "Content-Length: "


typedef struct {
    int     fd;
    size_t  len;
    char    buf[APP_BUFFER + 1];
} app_conn_t;


static void
app_fail(const char *what)
{
    perror(what);
    exit(1);
}


static size_t
app_answer(const char *body, size_t len, char *out)
{
    const char  *args, *end;

    args = memmem(body, len, "\"args\":[", 8);
    end = args ? memmem(args, body + len - args, "\"]", 2) : NULL;

    if (end == NULL) {
        return (size_t) sprintf(out, "HTTP/1.1 204 No Content\r\n\r\n");
    }

    args += 7;
    end += 2;

    return (size_t) sprintf(out, APP_HEAD "%zu\r\n\r\n"
                            "[{\"op\":\"emit\",\"event\":\"echo\",\"args\":%.*s}]",
                            (size_t) (end - args)
                            + sizeof("[{\"op\":\"emit\",\"event\":\"echo\","
                                     "\"args\":}]") - 1,
                            (int) (end - args), args);
}


/* answers what requests are there; 0: the connection is to be closed */

static int
app_read(app_conn_t *c)
{
    char    *body, *length, out[APP_BUFFER];
    size_t   n, head;
    ssize_t  got;

    got = read(c->fd, c->buf + c->len, APP_BUFFER - c->len);
    if (got <= 0) {
        return 0;
    }

    c->len += (size_t) got;
    c->buf[c->len] = '\0';

    for ( ;; ) {
        body = strstr(c->buf, "\r\n\r\n");
        if (body == NULL) {
            return c->len < APP_BUFFER;
        }

        head = (size_t) (body + 4 - c->buf);
        length = strcasestr(c->buf, "\ncontent-length:");
        n = length && length < body ? strtoul(length + 16, NULL, 10) : 0;

        if (head + n > APP_BUFFER) {
            return 0;
        }

        if (c->len < head + n) {
            return 1;
        }

        got = (ssize_t) app_answer(c->buf + head, n, out);

        if (write(c->fd, out, (size_t) got) != got) {
            return 0;
        }

        c->len -= head + n;
        memmove(c->buf, c->buf + head + n, c->len + 1);

        if (c->len == 0) {
            return 1;
        }
    }
}


int
main(int argc, char **argv)
{
    int                  ep, listener, fd, i, n, one = 1;
    app_conn_t          *c;
    struct sockaddr_in   addr;
    struct epoll_event   ev, events[APP_EVENTS];

    if (argc != 2) {
        fprintf(stderr, "usage: app PORT\n");
        return 2;
    }

    (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void) signal(SIGPIPE, SIG_IGN);

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t) atoi(argv[1]));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    listener = socket(AF_INET, SOCK_STREAM, 0);
    (void) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (bind(listener, (struct sockaddr *) &addr, sizeof(addr)) != 0
        || listen(listener, 1024) != 0)
    {
        app_fail("listen");
    }

    ep = epoll_create1(0);
    memset(&ev, 0, sizeof(ev));
    ev.events = EPOLLIN;
    (void) epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);

    for ( ;; ) {
        n = epoll_wait(ep, events, APP_EVENTS, -1);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c == NULL) {
                fd = accept(listener, NULL, NULL);
                if (fd < 0) {
                    continue;
                }

                (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
                                  sizeof(one));
                c = calloc(1, sizeof(app_conn_t));
                if (c == NULL) {
                    app_fail("calloc");
                }

                c->fd = fd;
                ev.events = EPOLLIN;
                ev.data.ptr = c;
                (void) epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
                continue;
            }

            if (!app_read(c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
