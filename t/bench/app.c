/*
 * A backend: HTTP/1.1 with keep-alive on one epoll.  It acknowledges each
 * event with "ok" and answers any other POST with 204.  Only what the load
 * generator and nginx send is understood: a request comes with a
 * Content-Length and is no longer than a buffer, an object has its members in
 * nginx's order.
 *
 *   app [--check] [--state FILE] PORT
 *
 * --check judges what comes: of each socket the connect, its events without a
 * gap, in their order and each once, by what nginx counts (seq) and by what the
 * client has counted (the text of load.c), the disconnect.  Then the event's
 * own arguments are the acknowledgement, so that the client sees whose it is.
 *
 *   GET /report    what came, as JSON: counts, and the first violation
 *   GET /last      the body of the last event
 *
 * A GET ends its connection.  SIGTERM: it listens no more, says so in each
 * answer that it still gives, closes what is idle and ends.  --state keeps what
 * it knows in a file, for the next one.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>


#define APP_BUFFER   16384
#define APP_EVENTS   256
#define APP_BUCKETS  16384
#define APP_ID       20         /* characters of a socket's id */

/*
 * ms.  nginx may be about to send on a connection that was idle: it has time
 * to do so, and gets an answer.
 */
#define APP_QUIET    1000
#define APP_STOP     5000       /* bound: it ends whatever comes */

#define APP_JSON     "Content-Type: application/json\r\n"
#define APP_OK       "[\"ok\"]"


typedef struct app_conn_s  app_conn_t;
typedef struct app_socket_s  app_socket_t;

struct app_conn_s {
    int             fd;
    size_t          len;
    app_conn_t     *prev, *next;
    char            buf[APP_BUFFER + 1];
};

struct app_socket_s {
    app_socket_t   *next;
    char            id[APP_ID + 1];
    unsigned long   seq;        /* of the last request */
    unsigned long   who, n;     /* of the last event, as the client counts */
};

/* what the file keeps, too */

static struct {
    unsigned long   connects, events, disconnects;
    unsigned long   bytes;      /* of the events' bodies */
    unsigned long   sockets;    /* now, and if all is checked */
    unsigned long   violations;
} app;

static int            app_check, app_stopping;
static const char    *app_state;
static app_conn_t     app_conns = { .fd = -1 };    /* head of a ring */
static app_socket_t  *app_sockets[APP_BUCKETS];
static char           app_first[256];   /* the first violation */
static char           app_last[APP_BUFFER + 1];
static size_t         app_last_len;


static void
app_fail(const char *what)
{
    fprintf(stderr, "app: %s: %s\n", what, strerror(errno));
    exit(1);
}


static long
app_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* What is checked */

static void __attribute__((format(printf, 1, 2)))
app_violation(const char *fmt, ...)
{
    char     *p;
    va_list   args;

    if (app.violations++) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(app_first, sizeof(app_first), fmt, args);
    va_end(args);

    for (p = app_first; *p; p++) {
        if (*p < ' ' || *p == '"' || *p == '\\') {
            *p = '\'';
        }
    }
}


static app_socket_t **
app_find(const char *id)
{
    unsigned        i, hash;
    app_socket_t  **s;

    hash = 5381;

    for (i = 0; i < APP_ID; i++) {
        hash = hash * 33 + (unsigned char) id[i];
    }

    for (s = &app_sockets[hash % APP_BUCKETS]; *s; s = &(*s)->next) {
        if (memcmp((*s)->id, id, APP_ID) == 0) {
            break;
        }
    }

    return s;
}


static app_socket_t *
app_add(app_socket_t **place, const char *id)
{
    app_socket_t  *s;

    s = calloc(1, sizeof(app_socket_t));
    if (s == NULL) {
        app_fail("calloc");
    }

    memcpy(s->id, id, APP_ID);
    *place = s;
    app.sockets++;

    return s;
}


static void
app_remove(app_socket_t **place)
{
    app_socket_t  *s;

    s = *place;
    *place = s->next;
    free(s);
    app.sockets--;
}


/* what stands behind the name of a member, or NULL */

static const char *
app_member(const char *body, size_t len, const char *name)
{
    const char  *p;

    p = memmem(body, len, name, strlen(name));

    return p ? p + strlen(name) : NULL;
}


static void
app_check_event(app_socket_t *s, const char *args)
{
    unsigned long  who, n;

    if (args == NULL || sscanf(args, "[\"%10lu %10lu ", &who, &n) != 2) {
        app_violation("event %lu of %s: no text of load.c", s->seq, s->id);
        return;
    }

    if (n != s->n + 1 || (s->n && who != s->who)) {
        app_violation("%s: event %lu of client %lu after %lu of %lu",
                      s->id, n, who, s->n, s->who);
    }

    s->who = who;
    s->n = n;
}


static void
app_check_request(char type, const char *body, size_t len, const char *args)
{
    const char     *id, *p;
    unsigned long   seq;
    app_socket_t  **place, *s;

    id = app_member(body, len, ",\"id\":\"");
    p = app_member(body, len, "\",\"seq\":");

    if (id == NULL || p == NULL || p - id < APP_ID) {
        app_violation("no id, or no seq: %.100s", body);
        return;
    }

    seq = strtoul(p, NULL, 10);
    place = app_find(id);
    s = *place;

    if (s == NULL) {
        s = app_add(place, id);

        if (type != 'c') {
            app_violation("%s: %lu comes without a connect", s->id, seq);
        }

    } else if (type == 'c') {
        app_violation("%s: another connect, %lu after %lu", s->id, seq,
                      s->seq);
    }

    if (seq != s->seq + 1) {
        app_violation("%s: %lu after %lu", s->id, seq, s->seq);
    }

    s->seq = seq;

    if (type == 'e') {
        app_check_event(s, args);

    } else if (type == 'd') {
        app_remove(place);

    } else if (type != 'c') {
        app_violation("%s: %lu is of no type that is awaited", s->id, seq);
    }
}


static void
app_save(void)
{
    FILE          *f;
    unsigned       i;
    app_socket_t  *s;

    f = fopen(app_state, "w");
    if (f == NULL) {
        app_fail(app_state);
    }

    fprintf(f, "%lu %lu %lu %lu %lu\n%s\n", app.connects, app.events,
            app.disconnects, app.bytes, app.violations, app_first);

    for (i = 0; i < APP_BUCKETS; i++) {
        for (s = app_sockets[i]; s; s = s->next) {
            fprintf(f, "%s %lu %lu %lu\n", s->id, s->seq, s->who, s->n);
        }
    }

    if (fclose(f) != 0) {
        app_fail(app_state);
    }
}


static void
app_load(void)
{
    FILE          *f;
    app_socket_t   in, *s;

    f = fopen(app_state, "r");
    if (f == NULL) {
        if (errno != ENOENT) {
            app_fail(app_state);
        }

        return;
    }

    if (fscanf(f, "%lu %lu %lu %lu %lu%*1[\n]", &app.connects, &app.events,
               &app.disconnects, &app.bytes, &app.violations)
        != 5 || fgets(app_first, sizeof(app_first), f) == NULL)
    {
        errno = EINVAL;
        app_fail(app_state);
    }

    app_first[strcspn(app_first, "\n")] = '\0';

    while (fscanf(f, "%20s %lu %lu %lu", in.id, &in.seq, &in.who, &in.n) == 4)
    {
        s = app_add(app_find(in.id), in.id);
        s->seq = in.seq;
        s->who = in.who;
        s->n = in.n;
    }

    fclose(f);
}


/* Answers */

static size_t
app_respond(char *out, const char *status, const char *body, size_t len)
{
    return (size_t) sprintf(out, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n"
                            "\r\n%.*s", status,
                            app_stopping ? APP_JSON "Connection: close\r\n"
                                         : APP_JSON,
                            len, (int) len, body);
}


static size_t
app_get(const char *line, char *out)
{
    int   n;
    char  body[1024];

    if (strncmp(line, "GET /last ", 10) == 0) {
        return app_respond(out, "200 OK", app_last, app_last_len);
    }

    if (strncmp(line, "GET /report ", 12) != 0) {
        return app_respond(out, "404 Not Found", "", 0);
    }

    n = snprintf(body, sizeof(body),
                 "{\"connects\":%lu,\"events\":%lu,\"disconnects\":%lu,"
                 "\"bytes\":%lu,\"sockets\":%lu,\"violations\":%lu,"
                 "\"first\":\"%s\"}", app.connects, app.events,
                 app.disconnects, app.bytes, app.sockets, app.violations,
                 app_first);

    return app_respond(out, "200 OK", body, (size_t) n);
}


static size_t
app_post(const char *body, size_t len, char *out)
{
    char         type, ops[APP_BUFFER];
    const char  *args, *end;

    type = (len > 9 && memcmp(body, "{\"type\":\"", 9) == 0) ? body[9] : '?';
    args = NULL;

    if (type == 'e') {
        app.events++;
        app.bytes += len;
        args = app_member(body, len, ",\"args\":");
        app_last_len = len;
        memcpy(app_last, body, len);

    } else if (type == 'c') {
        app.connects++;

    } else if (type == 'd') {
        app.disconnects++;
    }

    if (app_check) {
        app_check_request(type, body, len, args);
    }

    if (type != 'e') {
        return (size_t) sprintf(out, "HTTP/1.1 204 No Content\r\n%s\r\n",
                                app_stopping ? "Connection: close\r\n" : "");
    }

    if (app_check && args) {
        end = memmem(args, (size_t) (body + len - args), "\"]", 2);

    } else {
        end = NULL;
    }

    if (end) {
        end += 2;

    } else {
        args = APP_OK;
        end = args + strlen(args);
    }

    return app_respond(out, "200 OK", ops,
                       (size_t) sprintf(ops, "[{\"op\":\"ack\",\"args\":%.*s}]",
                                        (int) (end - args), args));
}


/* answers what requests are there; 0: the connection is to be closed */

static int
app_read(app_conn_t *c)
{
    int      post;
    char    *body, *length, out[2 * APP_BUFFER];
    size_t   n, head, done;
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

        post = (memcmp(c->buf, "POST ", 5) == 0);
        done = post ? app_post(c->buf + head, n, out) : app_get(c->buf, out);

        if (write(c->fd, out, done) != (ssize_t) done || !post || app_stopping)
        {
            return 0;
        }

        c->len -= head + n;
        memmove(c->buf, c->buf + head + n, c->len + 1);

        if (c->len == 0) {
            return 1;
        }
    }
}


static void
app_close(app_conn_t *c)
{
    c->prev->next = c->next;
    c->next->prev = c->prev;
    close(c->fd);
    free(c);
}


static void
app_watch(int ep, int fd, void *data)
{
    struct epoll_event  ev;

    memset(&ev, 0, sizeof(ev));
    ev.events = EPOLLIN;
    ev.data.ptr = data;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
        app_fail("epoll_ctl");
    }
}


/* whether there was one to be accepted */

static int
app_accept(int ep, int listener)
{
    int          fd, one;
    app_conn_t  *c;

    one = 1;

    fd = accept(listener, NULL, NULL);
    if (fd < 0) {
        return 0;
    }

    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    c = calloc(1, sizeof(app_conn_t));
    if (c == NULL) {
        app_fail("calloc");
    }

    c->fd = fd;
    c->prev = &app_conns;
    c->next = app_conns.next;
    c->prev->next = c->next->prev = c;

    app_watch(ep, fd, c);

    return 1;
}


static int
app_listen(const char *port)
{
    int                 fd, one;
    struct sockaddr_in  addr;

    one = 1;

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t) atoi(port));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1
        || bind(fd, (struct sockaddr *) &addr, sizeof(addr)) == -1
        || listen(fd, 1024) == -1)
    {
        app_fail("listening");
    }

    return fd;
}


static int
app_signals(void)
{
    int       fd;
    sigset_t  set;

    signal(SIGPIPE, SIG_IGN);

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);

    fd = signalfd(-1, &set, SFD_NONBLOCK);
    if (fd == -1) {
        app_fail("signalfd");
    }

    return fd;
}


static void
app_usage(void)
{
    fprintf(stderr, "usage: app [--check] [--state FILE] PORT\n");
    exit(2);
}


int
main(int argc, char **argv)
{
    int                  ep, listener, signals, i, n;
    long                 end;
    app_conn_t          *c;
    struct rlimit        limit;
    struct epoll_event   events[APP_EVENTS];

    for (i = 1; i < argc - 1; i++) {
        if (strcmp(argv[i], "--check") == 0) {
            app_check = 1;

        } else if (strcmp(argv[i], "--state") == 0 && i + 1 < argc - 1) {
            app_state = argv[++i];

        } else {
            app_usage();
        }
    }

    if (argc < 2 || atoi(argv[argc - 1]) <= 0) {
        app_usage();
    }

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);

    if (app_state) {
        app_load();
    }

    app_conns.prev = app_conns.next = &app_conns;

    signals = app_signals();
    listener = app_listen(argv[argc - 1]);
    ep = epoll_create1(0);

    app_watch(ep, listener, &listener);
    app_watch(ep, signals, &signals);

    end = 0;

    for ( ;; ) {
        n = epoll_wait(ep, events, APP_EVENTS, app_stopping ? APP_QUIET : -1);

        if (app_stopping && (n == 0 || app_now() > end)) {
            break;
        }

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (events[i].data.ptr == &listener) {
                app_accept(ep, listener);

            } else if (events[i].data.ptr == &signals) {

                /* those that were taken for it are served, too */

                while (app_accept(ep, listener)) { /* void */ }

                close(listener);
                epoll_ctl(ep, EPOLL_CTL_DEL, signals, NULL);
                app_stopping = 1;
                end = app_now() + APP_STOP;

            } else if (!app_read(c)) {
                app_close(c);
            }
        }

        if (app_stopping && app_conns.next == &app_conns) {
            break;
        }
    }

    while (app_conns.next != &app_conns) {
        app_close(app_conns.next);
    }

    if (app_state) {
        app_save();
    }

    return 0;
}
