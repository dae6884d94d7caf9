/*
 * cluster/ngx_sio_move: several workers in one process, each with a mover and
 * with sessions that only note what they were given.  Channels are lists of
 * frames; random schedules say which frame is read next, who sends, takes,
 * is born or dies.  At the end each session must have got each origin's
 * operations once and in order.
 *
 *   move [schedules [seed [schedule to show [anything: a deadly one]]]]
 *
 * Exit status 0: all is well.
 */

#include "cluster/ngx_sio_move.h"
#include "core/ngx_sio_stats.h"
#include "../tap.h"


#define MAX_SLOTS     8
#define MAX_LIVES     16
#define MAX_SESSIONS  3
#define MAX_GOT       256
#define MAX_STEPS      512
#define MAX_FAULTS    5

#define LIMIT         (1024 * 1024)
#define SMALL_LIMIT   (3 * (sizeof(ngx_sio_move_log_t) + 16))


typedef enum {
    QUIET = 0,             /* whoever has to do with a session lives */
    DEADLY                 /* all may die, sessions end, memory be short */
} mood_e;


typedef enum {
    HELLO = 0,
    OP,
    END,                   /* of a stream */
    DECIDE,                /* its sender is dead */
    MOVE,                  /* TAKE or STATE */
    ABANDON,
    GONE
} kind_e;


typedef struct {
    ngx_queue_t        queue;
    kind_e             kind;
    uint64_t           number;
    ngx_sio_msg_t     *msg;
} frame_t;


typedef struct {
    ngx_queue_t        frames;
    unsigned           open:1;
    unsigned           slow:1;
} channel_t;


/* a worker in one of its lives */

typedef struct {
    ngx_uint_t         index;
    ngx_uint_t         slot;
    ngx_sio_origin_t   origin;
    uint64_t           sent;
    ngx_sio_mover_t    mover;
    ngx_sio_source_t  *source;        /* of its own operations */
    ngx_queue_t        sessions;
    unsigned           alive:1;
    unsigned           ready:1;
} worker_t;


typedef struct {
    ngx_queue_t        queue;
    ngx_uint_t         id;
    uint64_t           holders;       /* workers that ever had it, by index */
    ngx_sio_give_t    *give;
    ngx_sio_floor_t   *floors;
    ngx_uint_t         nfloors;
    ngx_sio_floor_t    got[MAX_GOT];
    ngx_uint_t         ngot;
    unsigned           sweep:1;       /* something is sent before it leaves */
    unsigned           closing:1;
} session_t;


typedef struct {
    ngx_sio_give_t     give;          /* first */
    unsigned           drain:1;       /* is to be drained */
} offer_t;


typedef struct {
    ngx_sio_take_t     take;          /* first */
    ngx_uint_t         session;
    unsigned           asked:1;
} taking_t;


typedef enum {
    DO_READ = 0,
    DO_OP,
    DO_OFFER,
    DO_TAKE,
    DO_ABANDON,
    DO_FAIL,
    DO_DRAIN,
    DO_LIFE,
    DO_TIME,
    DO_CLOSE,
    DO_FINISH
} what_e;


typedef struct {
    what_e             what;
    worker_t          *from;
    worker_t          *to;
    void              *data;
} step_t;


static struct {
    uint64_t           random;
    mood_e             mood;

    worker_t           worker[MAX_LIVES];
    ngx_uint_t         n;
    ngx_uint_t         lives[MAX_SLOTS];

    channel_t          channel[MAX_LIVES][MAX_LIVES];

    ngx_uint_t         copies[MAX_SESSIONS];

    step_t             steps[MAX_STEPS];
    ngx_uint_t         nsteps;

    sio_out_t         *out;           /* of the frame that is being written */
    ngx_sio_msg_t     *frame;

    ngx_uint_t         eager;         /* takes and drains are done at once */
    ngx_uint_t         no_frames;     /* none can be made */
    ngx_uint_t         no_install;
    ngx_uint_t         poor;          /* an allocation failed */

    /* what was seen */

    ngx_uint_t         settled;
    ngx_uint_t         settled_failed;
    ngx_uint_t         replayed;
    ngx_uint_t         floors;
    ngx_uint_t         gone;
    ngx_uint_t         stray;         /* bytes of sessions nobody waits for */
    ngx_uint_t         failed;
    ngx_uint_t         deserted;
    ngx_uint_t         left;

    ngx_uint_t         show;
    char               fault[256];
} world;


static ngx_uint_t        objects;     /* gives, takes, sessions, frames */
static ngx_uint_t        alloc_fails; /* 1: the next one, 2: the one after */

static ngx_log_t         null_log;
static ngx_cycle_t       cycle = { .log = &null_log };
static ngx_sio_stats_t   stats;

volatile ngx_cycle_t    *ngx_cycle = &cycle;
volatile ngx_msec_t      ngx_current_msec;
ngx_sio_stats_t         *ngx_sio_stats = &stats;


/* what nginx's core is needed for */

static ngx_uint_t
alloc_fail(void)
{
    if (alloc_fails && --alloc_fails == 0) {
        world.poor = 1;
        return 1;
    }

    return 0;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return alloc_fail() ? NULL : malloc(size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    return alloc_fail() ? NULL : calloc(1, size);
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


/* tools */

static void *
make(size_t size)
{
    void  *p;

    p = calloc(1, size);

    if (p == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    objects++;

    return p;
}


static void
unmake(void *p)
{
    objects--;
    free(p);
}


static uint64_t
random_below(uint64_t n)
{
    uint64_t  z;

    z = (world.random += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;

    return (z ^ (z >> 31)) % n;
}


static ngx_uint_t
one_in(uint64_t n)
{
    return random_below(n) == 0;
}


static void __attribute__((format(printf, 1, 2)))
show(const char *fmt, ...)
{
    va_list  args;

    if (world.show) {
        va_start(args, fmt);
        printf("# ");
        vprintf(fmt, args);
        printf("\n");
        va_end(args);
    }
}


/* notes the first thing that went wrong */

static void __attribute__((format(printf, 1, 2)))
fault(const char *fmt, ...)
{
    va_list  args;

    if (world.fault[0] == '\0') {
        va_start(args, fmt);
        vsnprintf(world.fault, sizeof(world.fault), fmt, args);
        va_end(args);

        show("%s", world.fault);
    }
}


#define NAME       "%u.%u"
#define name_of(o)  (unsigned) ((o) >> 32), (unsigned) (o)


/* channels */

static channel_t *
channel(worker_t *from, worker_t *to)
{
    return &world.channel[from->index][to->index];
}


static worker_t *
find_worker(ngx_sio_origin_t origin)
{
    ngx_uint_t  i;

    for (i = 0; i < world.n; i++) {
        if (world.worker[i].origin == origin) {
            return &world.worker[i];
        }
    }

    return NULL;
}


static frame_t *
new_frame(kind_e kind, uint64_t number, ngx_sio_msg_t *m)
{
    frame_t  *f;

    f = make(sizeof(frame_t));

    f->kind = kind;
    f->number = number;
    f->msg = m ? ngx_sio_msg_ref(m) : NULL;

    return f;
}


static void
free_frame(frame_t *f)
{
    if (f->msg) {
        ngx_sio_msg_unref(f->msg);
    }

    unmake(f);
}


static void
push(worker_t *from, worker_t *to, kind_e kind, uint64_t number,
    ngx_sio_msg_t *m)
{
    frame_t    *f;
    channel_t  *ch;

    ch = channel(from, to);

    if (from != to && from->alive && to->alive && ch->open) {
        f = new_frame(kind, number, m);
        ngx_queue_insert_tail(&ch->frames, &f->queue);
    }
}


static frame_t *
pop(channel_t *ch, ngx_uint_t last)
{
    ngx_queue_t  *q;

    q = last ? ngx_queue_last(&ch->frames) : ngx_queue_head(&ch->frames);
    ngx_queue_remove(q);

    return ngx_queue_data(q, frame_t, queue);
}


static ngx_uint_t
length(channel_t *ch)
{
    ngx_uint_t    n;
    ngx_queue_t  *q;

    n = 0;

    for (q = ngx_queue_head(&ch->frames);
         q != ngx_queue_sentinel(&ch->frames);
         q = ngx_queue_next(q))
    {
        n++;
    }

    return n;
}


static void
clear(channel_t *ch)
{
    while (!ngx_queue_empty(&ch->frames)) {
        free_frame(pop(ch, 0));
    }
}


static void
open_channel(worker_t *from, worker_t *to)
{
    channel_t  *ch;

    ch = channel(from, to);

    if (!ch->open) {
        ch->open = 1;
        push(from, to, HELLO, from->sent, NULL);
    }
}


/* sessions */

static session_t *
new_session(worker_t *w, ngx_uint_t id)
{
    session_t  *s;

    s = make(sizeof(session_t));

    s->id = id;
    s->holders = (uint64_t) 1 << w->index;

    ngx_queue_insert_tail(&w->sessions, &s->queue);

    if (world.copies[id]++) {
        fault("session %u exists twice", (unsigned) id);
    }

    return s;
}


static void
free_session(session_t *s)
{
    world.copies[s->id]--;

    ngx_queue_remove(&s->queue);
    free(s->floors);
    unmake(s);
}


/* not every operation is for every session */

static ngx_uint_t
aims_at(session_t *s, uint64_t number)
{
    return (number + s->id) % 4 != 0;
}


/* as ngx_sio_session_due */

static ngx_uint_t
due(session_t *s, ngx_sio_origin_t origin, uint64_t number)
{
    ngx_uint_t  i;

    for (i = 0; i < s->nfloors; i++) {

        if (s->floors[i].origin != origin) {
            continue;
        }

        if (number <= s->floors[i].number) {
            return 0;
        }

        s->floors[i] = s->floors[--s->nfloors];

        return 1;
    }

    return 1;
}


static void
give(session_t *s, ngx_sio_origin_t origin, uint64_t number)
{
    uint64_t    last;
    ngx_uint_t  i;

    last = 0;

    for (i = 0; i < s->ngot; i++) {

        if (s->got[i].origin != origin) {
            continue;
        }

        if (s->got[i].number == number) {
            fault("session %u: repeat of " NAME " #%u", (unsigned) s->id,
                  name_of(origin), (unsigned) number);
        }

        last = s->got[i].number;
    }

    if (number < last) {
        fault("session %u: order of " NAME " #%u after #%u",
              (unsigned) s->id, name_of(origin), (unsigned) number,
              (unsigned) last);
    }

    if (s->ngot < MAX_GOT) {
        s->got[s->ngot].origin = origin;
        s->got[s->ngot].number = number;
        s->ngot++;
    }
}


/* operations */

static void
apply(worker_t *w, ngx_sio_source_t *source, ngx_sio_origin_t origin,
    uint64_t number, ngx_sio_msg_t *m)
{
    session_t    *s;
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&w->sessions);
         q != ngx_queue_sentinel(&w->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, session_t, queue);

        if (!s->closing && aims_at(s, number) && due(s, origin, number)) {
            give(s, origin, number);
        }
    }

    ngx_sio_move_applied(&w->mover, source, number,
                         w->mover.logging ? m : NULL);
}


static void
publish(worker_t *w)
{
    sio_out_t       o;
    ngx_uint_t      i;
    ngx_sio_msg_t  *m;

    m = ngx_sio_msg_alloc(16);
    if (m == NULL) {
        return;
    }

    o.p = m->data;
    o.n = 0;

    w->sent++;

    sio_out_u64(&o, w->origin);
    sio_out_u64(&o, w->sent);

    show(NAME " sends #%u", name_of(w->origin), (unsigned) w->sent);

    for (i = 0; i < world.n; i++) {
        push(w, &world.worker[i], OP, w->sent, m);
    }

    apply(w, w->source, w->origin, w->sent, m);

    ngx_sio_msg_unref(m);
}


/* who may send operations and take sessions */

static ngx_uint_t
known(worker_t *w, worker_t *peer)
{
    return ngx_sio_move_source(&w->mover, peer->origin) != NULL;
}


static void
greet(void)
{
    worker_t    *w, *peer;
    ngx_uint_t   i, j;

    for (i = 0; i < world.n; i++) {
        w = &world.worker[i];

        for (j = 0; w->alive && !w->ready && j < world.n; j++) {
            peer = &world.worker[j];

            if (peer->alive && peer != w
                && (!known(w, peer) || !known(peer, w)))
            {
                break;
            }
        }

        if (j == world.n) {
            w->ready = 1;
        }
    }
}


/* what the mover needs */

static ngx_sio_msg_t *
io_frame(void *ctx, ngx_sio_move_frame_e type, size_t n, sio_out_t *o)
{
    ngx_sio_msg_t  *m;

    m = world.no_frames ? NULL : ngx_sio_msg_alloc(n);

    if (m) {
        m->header = type;
        o->p = m->data;
        o->n = 0;

        world.frame = m;
        world.out = o;
    }

    return m;
}


static void
io_send(void *ctx, ngx_sio_origin_t to, ngx_sio_msg_t *m)
{
    worker_t *w = ctx;

    worker_t  *peer;

    if (m != world.frame || world.out->p != m->data + m->len
        || world.out->n != m->len)
    {
        fault("a frame was not written as measured");
    }

    show(NAME " sends %s to " NAME, name_of(w->origin),
         m->header == NGX_SIO_MOVE_TAKE ? "TAKE" : "STATE", name_of(to));

    peer = find_worker(to);

    if (peer) {
        push(w, peer, MOVE, 0, m);
    }

    ngx_sio_msg_unref(m);
}


static void drain(worker_t *w, ngx_sio_give_t *g);

static void
io_drain(void *ctx, ngx_sio_give_t *g)
{
    if (world.eager) {
        drain(ctx, g);
        return;
    }

    ((offer_t *) g)->drain = 1;
}


static ngx_sio_floor_t *
io_floors(void *session, ngx_uint_t *n)
{
    session_t *s = session;

    *n = s->nfloors;

    return s->floors;
}


static ngx_int_t
io_prepare(void *session)
{
    session_t *s = session;

    if (s->closing) {
        return NGX_DECLINED;
    }

    if (s->sweep) {
        s->sweep = 0;

        if (one_in(2)) {
            publish(s->give->mover->ctx);
        }

        return NGX_AGAIN;
    }

    return NGX_OK;
}


static void
io_export(void *session, sio_out_t *o)
{
    session_t *s = session;

    ngx_uint_t  i;

    sio_out_u32(o, s->id);
    sio_out_u64(o, s->holders);
    sio_out_u32(o, s->ngot);

    for (i = 0; i < s->ngot; i++) {
        sio_out_u64(o, s->got[i].origin);
        sio_out_u64(o, s->got[i].number);
    }
}


static void
io_left(ngx_sio_give_t *g)
{
    world.left++;

    free_session(g->session);
    unmake(g);
}


static void
io_deserted(ngx_sio_give_t *g)
{
    session_t *s = g->session;

    world.deserted++;

    if (g->vector) {
        ngx_free(g->vector);
        s->closing = 1;
    }

    s->give = NULL;
    unmake(g);
}


static void *
io_install(ngx_sio_take_t *t, sio_in_t *in)
{
    uint32_t    id, n;
    worker_t   *w;
    session_t  *s;

    if (world.no_install) {
        return NULL;
    }

    w = t->mover->ctx;
    id = sio_in_u32(in);

    if (in->bad || id >= MAX_SESSIONS || id != ((taking_t *) t)->session) {
        fault("another session came than was asked for");
        return NULL;
    }

    s = new_session(w, id);

    s->holders |= sio_in_u64(in);
    n = sio_in_u32(in);

    for (s->ngot = 0; s->ngot < n && s->ngot < MAX_GOT; s->ngot++) {
        s->got[s->ngot].origin = sio_in_u64(in);
        s->got[s->ngot].number = sio_in_u64(in);
    }

    if (in->bad || in->n) {
        fault("session %u was damaged", (unsigned) id);
    }

    return s;
}


static void
io_stray(void *ctx, sio_in_t *in)
{
    world.stray += in->n;
}


static void
io_replay(void *session, ngx_sio_origin_t origin, uint64_t number,
    ngx_sio_msg_t *m)
{
    session_t *s = session;

    sio_in_t          in;
    ngx_sio_origin_t  o;

    in = sio_in((sio_span_t) { m->data, m->len });
    o = sio_in_u64(&in);

    /* without epochs the mover can't tell whose it is, but the frame can */

    if (sio_in_u64(&in) != number || (o >> 32) != (origin >> 32)) {
        fault("the log has another frame for " NAME " #%u", name_of(origin),
              (unsigned) number);
    }

    show("session %u is given " NAME " #%u of the log", (unsigned) s->id,
         name_of(o), (unsigned) number);

    world.replayed++;

    if (aims_at(s, number)) {
        give(s, o, number);
    }
}


static void
io_settled(ngx_sio_take_t *t, void *session, ngx_sio_floor_t *floors,
    ngx_uint_t n, ngx_uint_t replayed)
{
    session_t *s = session;

    ngx_uint_t  i;

    show("session %u has come", (unsigned) s->id);

    for (i = 0; i < n; i++) {
        show("... with " NAME " up to #%u", name_of(floors[i].origin),
             (unsigned) floors[i].number);
    }

    world.settled++;
    world.floors += n;

    if (n) {
        s->floors = malloc(n * sizeof(ngx_sio_floor_t));
        memcpy(s->floors, floors, n * sizeof(ngx_sio_floor_t));
        s->nfloors = n;
    }

    if (t->failed) {
        world.settled_failed++;
        s->closing = 1;
    }

    unmake(t);
}


static void
io_gone(ngx_sio_take_t *t)
{
    world.gone++;
    unmake(t);
}


static void
io_fail(ngx_sio_take_t *t)
{
    if (!t->failed || t->logging) {
        fault("a take that failed is not marked so");
    }

    world.failed++;
}


static const ngx_sio_mover_io_t  io = {
    io_frame,
    io_send,
    io_drain,
    io_floors,
    io_prepare,
    io_export,
    io_left,
    io_deserted,
    io_install,
    io_stray,
    io_replay,
    io_settled,
    io_gone,
    io_fail
};


/* lives */

static worker_t *
birth(void)
{
    worker_t    *w, *peer;
    ngx_uint_t   i, slot;

    alloc_fails = 0;

    for (slot = 0; /* void */ ; slot++) {

        for (i = 0; i < world.n; i++) {
            if (world.worker[i].alive && world.worker[i].slot == slot) {
                break;
            }
        }

        if (i == world.n) {
            break;
        }
    }

    w = &world.worker[world.n];

    memset(w, 0, sizeof(worker_t));

    w->index = world.n++;
    w->slot = slot;
    w->origin = (uint64_t) slot << 32 | ++world.lives[slot];
    w->alive = 1;

    show(NAME " is born", name_of(w->origin));

    ngx_queue_init(&w->sessions);

    ngx_sio_move_init(&w->mover, &io, w,
                      world.mood != QUIET && one_in(4) ? SMALL_LIMIT
                                                       : LIMIT);

    w->source = ngx_sio_move_hello(&w->mover, w->origin, 0);

    for (i = 0; i < world.n; i++) {
        peer = &world.worker[i];

        ngx_queue_init(&channel(w, peer)->frames);
        ngx_queue_init(&channel(peer, w)->frames);

        channel(w, peer)->open = 0;
        channel(peer, w)->open = 0;
        channel(w, peer)->slow = one_in(4);
        channel(peer, w)->slow = one_in(4);

        if (!peer->alive || peer == w) {
            continue;
        }

        open_channel(w, peer);

        /* the others open theirs when they are greeted, or before */

        if (one_in(2)) {
            open_channel(peer, w);
        }
    }

    greet();

    return w;
}


/* frees what a mover was lent */

static void
abandon_all(worker_t *w)
{
    ngx_queue_t     *q;
    ngx_sio_give_t  *g;
    ngx_sio_take_t  *t;

    while (!ngx_queue_empty(&w->mover.gives)
           || !ngx_queue_empty(&w->mover.asked))
    {
        q = ngx_queue_empty(&w->mover.gives)
            ? ngx_queue_head(&w->mover.asked)
            : ngx_queue_head(&w->mover.gives);
        g = ngx_queue_data(q, ngx_sio_give_t, queue);
        ngx_sio_move_forget_give(g);
        unmake(g);
    }

    while (!ngx_queue_empty(&w->mover.takes)) {
        q = ngx_queue_head(&w->mover.takes);
        t = ngx_queue_data(q, ngx_sio_take_t, queue);
        ngx_sio_move_forget_take(t);
        unmake(t);
    }

    while (!ngx_queue_empty(&w->sessions)) {
        q = ngx_queue_head(&w->sessions);
        free_session(ngx_queue_data(q, session_t, queue));
    }
}


/* each channel loses some of what was sent last, and ends */

static void
break_off(worker_t *from, worker_t *to)
{
    channel_t   *ch;
    ngx_uint_t   n;

    ch = channel(from, to);

    if (!ch->open) {
        return;
    }

    n = random_below(length(ch) + 1);

    show("... " NAME " will not read the last %u frames", name_of(to->origin),
         (unsigned) n);

    while (n--) {
        free_frame(pop(ch, 1));
    }

    push(from, to, END, 0, NULL);
    ch->open = 0;
}


static void
death(worker_t *w)
{
    ngx_uint_t  i;

    show(NAME " dies", name_of(w->origin));

    for (i = 0; i < world.n; i++) {

        if (world.worker[i].alive) {
            break_off(w, &world.worker[i]);
        }

        clear(channel(&world.worker[i], w));
        channel(&world.worker[i], w)->open = 0;
    }

    w->alive = 0;
    abandon_all(w);
}


/* reading */

static void
finish(worker_t *w, session_t *s)
{
    uint64_t   id;
    worker_t  *to;

    show("session %u ends", (unsigned) s->id);

    if (s->give) {
        to = find_worker(s->give->to);
        id = s->give->id;

        ngx_sio_move_forget_give(s->give);
        unmake(s->give);

        push(w, to, GONE, id, NULL);
    }

    free_session(s);
}


static void
read_end(worker_t *from, worker_t *w, kind_e kind)
{
    frame_t           *f;
    ngx_sio_source_t  *source;

    source = ngx_sio_move_source(&w->mover, from->origin);

    if (source && kind == END && one_in(3)) {
        ngx_sio_move_lost(&w->mover, source);

        f = new_frame(DECIDE, 0, NULL);
        ngx_queue_insert_head(&channel(from, w)->frames, &f->queue);
        return;
    }

    if (source) {
        ngx_sio_move_end(&w->mover, source);
    }

    ngx_sio_move_gone(&w->mover, from->origin, 1);
}


static void
read_frame(worker_t *from, worker_t *w)
{
    frame_t           *f;
    sio_in_t           in;
    ngx_sio_give_t    *g;
    ngx_sio_take_t    *t;
    ngx_sio_source_t  *source;

    static const char *const  names[] = { "HELLO", "OP", "END", "DECIDE",
                                          "MOVE", "ABANDON", "GONE" };

    f = pop(channel(from, w), 0);

    show(NAME " reads %s %u of " NAME, name_of(w->origin), names[f->kind],
         (unsigned) f->number, name_of(from->origin));

    switch (f->kind) {

    case HELLO:
        alloc_fails = 0;
        (void) ngx_sio_move_hello(&w->mover, from->origin, f->number);
        open_channel(w, from);
        break;

    case OP:
        source = ngx_sio_move_source(&w->mover, from->origin);

        if (source) {
            apply(w, source, from->origin, f->number, f->msg);

        } else {
            fault("an operation of an unknown origin");
        }

        break;

    case END:
    case DECIDE:
        read_end(from, w, f->kind);
        break;

    case MOVE:
        in = sio_in((sio_span_t) { f->msg->data, f->msg->len });

        if (ngx_sio_move_handle(&w->mover, from->origin, f->msg->header, &in)
            != NGX_OK)
        {
            fault("a frame was refused");
        }

        break;

    case ABANDON:
        g = ngx_sio_move_find_give(&w->mover, from->origin, f->number);

        if (g) {
            ngx_sio_move_forget_give(g);
            ((session_t *) g->session)->give = NULL;
            unmake(g);
        }

        break;

    default: /* GONE */
        t = ngx_sio_move_find_take(&w->mover, from->origin, f->number);

        if (t) {
            ngx_sio_move_forget_take(t);
            io_gone(t);
        }
    }

    free_frame(f);
    greet();
}


/* what lies in the channels of all that the TAKE does not name */

static void
drain(worker_t *w, ngx_sio_give_t *g)
{
    uint64_t           id;
    channel_t         *ch;
    ngx_uint_t         i, n, unnamed[MAX_LIVES];
    ngx_sio_origin_t   to;

    to = g->to;
    id = g->id;

    show(NAME " drains for " NAME, name_of(w->origin), name_of(to));

    for (i = 0; i < world.n; i++) {
        unnamed[i] = !ngx_sio_move_named(g, world.worker[i].origin);
    }

    for (i = 0; i < world.n; i++) {
        ch = channel(&world.worker[i], w);

        for (n = unnamed[i] ? length(ch) : 0;
             n && !ngx_queue_empty(&ch->frames);
             n--)
        {
            read_frame(&world.worker[i], w);
        }
    }

    /* it may have been withdrawn, or answered, meanwhile */

    g = ngx_sio_move_find_give(&w->mover, to, id);

    if (g) {
        g->drained = 1;
        ngx_sio_move_drained(&w->mover);
    }
}


/* moves */

static taking_t *
offer(worker_t *owner, session_t *s, worker_t *w)
{
    offer_t   *o;
    taking_t  *t;

    show(NAME " will take session %u of " NAME, name_of(w->origin),
         (unsigned) s->id, name_of(owner->origin));

    t = make(sizeof(taking_t));

    t->session = s->id;
    t->take.owner = owner->origin;

    ngx_sio_move_expect(&w->mover, &t->take);

    o = make(sizeof(offer_t));

    o->give.to = w->origin;
    o->give.id = t->take.id;
    o->give.session = s;

    s->give = &o->give;

    ngx_sio_move_offer(&owner->mover, &o->give);

    return t;
}


static void
take(taking_t *t)
{
    t->asked = (ngx_sio_move_take(&t->take) == NGX_OK);
}


/* a world */

static void
begin(uint64_t seed, mood_e mood)
{
    ngx_uint_t  shown;

    shown = world.show;
    memset(&world, 0, sizeof(world));

    world.show = shown;
    world.random = seed;
    world.mood = mood;
}


/* reads all that lies in all channels */

static void
flow(void)
{
    ngx_uint_t  i, j, any;

    do {
        any = 0;

        for (i = 0; i < world.n; i++) {
            for (j = 0; j < world.n; j++) {
                while (world.worker[j].alive
                       && !ngx_queue_empty(&world.channel[i][j].frames))
                {
                    read_frame(&world.worker[i], &world.worker[j]);
                    any = 1;
                }
            }
        }

    } while (any);
}


/* frees all; tells if all went well */

static ngx_uint_t
end(void)
{
    ngx_uint_t  i, j;

    for (i = 0; i < world.n; i++) {

        for (j = 0; j < world.n; j++) {
            clear(&world.channel[i][j]);
        }

        abandon_all(&world.worker[i]);
        ngx_sio_move_done(&world.worker[i].mover);
    }

    if (objects || stats.messages) {
        fault("%u objects and %u messages were leaked", (unsigned) objects,
              (unsigned) stats.messages);
    }

    return world.fault[0] == '\0';
}


/* checks at the end of a schedule */

static void
check_session(session_t *s)
{
    uint64_t           number, reached;
    worker_t          *w, *peer;
    ngx_uint_t         i, j;
    ngx_sio_source_t  *source;

    for (i = 0; i < world.n; i++) {
        w = &world.worker[i];
        reached = w->sent;

        /* of a dead one's: what reached all that ever had the session */

        for (j = 0; !w->alive && j < world.n; j++) {
            peer = &world.worker[j];
            source = ngx_sio_move_source(&peer->mover, w->origin);

            if (!(s->holders & (uint64_t) 1 << j)) {
                continue;
            }

            if (source == NULL) {
                continue;
            }

            reached = ngx_min(reached, source->applied);
        }

        for (number = 1; number <= reached; number++) {

            for (j = 0; aims_at(s, number) && j < s->ngot; j++) {
                if (s->got[j].origin == w->origin
                    && s->got[j].number == number)
                {
                    break;
                }
            }

            if (j == s->ngot && aims_at(s, number)) {
                fault("session %u: gap at " NAME " #%u of %u",
                      (unsigned) s->id, name_of(w->origin),
                      (unsigned) number, (unsigned) w->sent);
            }
        }
    }
}


static void
check(ngx_uint_t sessions)
{
    worker_t         *w;
    session_t        *s;
    ngx_uint_t        i;
    ngx_queue_t      *q;
    ngx_sio_mover_t  *mv;

    for (i = 0; world.mood == QUIET && i < sessions; i++) {
        if (world.copies[i] == 0) {
            fault("session %u was lost in a move", (unsigned) i);
        }
    }

    for (i = 0; i < world.n; i++) {
        w = &world.worker[i];
        mv = &w->mover;

        if (!w->alive) {
            continue;
        }

        for (q = ngx_queue_head(&w->sessions);
             q != ngx_queue_sentinel(&w->sessions);
             q = ngx_queue_next(q))
        {
            s = ngx_queue_data(q, session_t, queue);

            if (!s->closing) {
                check_session(s);
            }
        }

        /* without memory an owner can't say that a session is gone */

        if (!world.poor
            && (mv->log || mv->log_size || mv->logging
                || mv->log_first != mv->log_next
                || !ngx_queue_empty(&mv->takes)
                || !ngx_queue_empty(&mv->gives)
                || !ngx_queue_empty(&mv->asked)))
        {
            fault("the mover of " NAME " still waits for something",
                  name_of(w->origin));
        }
    }
}


/* random schedules */

static void
add(what_e what, worker_t *from, worker_t *to, void *data)
{
    step_t  *step;

    if (world.nsteps < MAX_STEPS) {
        step = &world.steps[world.nsteps++];
        step->what = what;
        step->from = from;
        step->to = to;
        step->data = data;
    }
}


/* what can't wait for ever */

static void
add_pending(worker_t *w)
{
    offer_t      *o;
    taking_t     *t;
    session_t    *s;
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&w->mover.takes);
         q != ngx_queue_sentinel(&w->mover.takes);
         q = ngx_queue_next(q))
    {
        t = ngx_queue_data(q, taking_t, take.queue);

        if (!t->asked) {
            add(one_in(8) ? DO_ABANDON : DO_TAKE, NULL, w, t);

        } else if (world.mood != QUIET && one_in(16)) {
            add(DO_FAIL, NULL, w, t);
        }
    }

    for (q = ngx_queue_head(&w->mover.asked);
         q != ngx_queue_sentinel(&w->mover.asked);
         q = ngx_queue_next(q))
    {
        o = ngx_queue_data(q, offer_t, give.queue);

        if (o->drain) {
            add(DO_DRAIN, NULL, w, o);
        }
    }

    for (q = ngx_queue_head(&w->sessions);
         q != ngx_queue_sentinel(&w->sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, session_t, queue);

        if (s->closing) {
            add(DO_FINISH, NULL, w, s);

        } else if (world.mood != QUIET && one_in(200)) {
            add(DO_CLOSE, NULL, w, s);
        }
    }
}


static void
add_moves(void)
{
    worker_t    *owner, *w;
    session_t   *s;
    ngx_uint_t   i, j;
    ngx_queue_t *q;

    for (i = 0; i < world.n; i++) {
        owner = &world.worker[i];

        if (!owner->alive) {
            continue;
        }

        for (q = ngx_queue_head(&owner->sessions);
             q != ngx_queue_sentinel(&owner->sessions);
             q = ngx_queue_next(q))
        {
            s = ngx_queue_data(q, session_t, queue);

            if (s->give || s->closing) {
                continue;
            }

            for (j = 0; j < world.n; j++) {
                w = &world.worker[j];

                if (w->alive && w->ready && w != owner) {
                    add(DO_OFFER, owner, w, s);
                    break;
                }
            }
        }
    }
}


/* with whom nothing dies: neither owns, takes nor has given a session */

static ngx_uint_t
mortal(worker_t *w)
{
    ngx_uint_t       i;
    ngx_queue_t     *q;
    ngx_sio_take_t  *t;

    if (!w->alive) {
        return 0;
    }

    if (world.mood != QUIET) {
        return 1;
    }

    for (i = 0; i < world.n; i++) {
        for (q = ngx_queue_head(&world.worker[i].mover.takes);
             q != ngx_queue_sentinel(&world.worker[i].mover.takes);
             q = ngx_queue_next(q))
        {
            t = ngx_queue_data(q, ngx_sio_take_t, queue);

            if (t->owner == w->origin) {
                return 0;
            }
        }
    }

    return ngx_queue_empty(&w->sessions)
           && ngx_queue_empty(&w->mover.takes);
}


static void
live(void)
{
    worker_t    *w[MAX_LIVES];
    ngx_uint_t   i, n, alive;

    n = 0;
    alive = 0;

    for (i = 0; i < world.n; i++) {
        alive += world.worker[i].alive;

        if (mortal(&world.worker[i])) {
            w[n++] = &world.worker[i];
        }
    }

    if (n && alive > 1 && one_in(2)) {
        death(w[random_below(n)]);

    } else if (world.n < MAX_LIVES && alive < MAX_SLOTS) {
        birth();
    }
}


/* a ready worker to take from the owner */

static worker_t *
taker(worker_t *owner)
{
    worker_t    *w[MAX_LIVES];
    ngx_uint_t   i, n;

    n = 0;

    for (i = 0; i < world.n; i++) {
        if (world.worker[i].alive && world.worker[i].ready
            && &world.worker[i] != owner)
        {
            w[n++] = &world.worker[i];
        }
    }

    return w[random_below(n)];
}


/* some time later all has been read that dead workers left */

static ngx_uint_t
leftovers(void)
{
    ngx_uint_t  i, j;

    for (i = 0; i < world.n; i++) {
        for (j = 0; !world.worker[i].alive && j < world.n; j++) {
            if (world.worker[j].alive
                && !ngx_queue_empty(&world.channel[i][j].frames))
            {
                return 1;
            }
        }
    }

    return 0;
}


static void
run(step_t *step)
{
    taking_t   *t;
    session_t  *s;

    switch (step->what) {

    case DO_READ:
        read_frame(step->from, step->to);
        return;

    case DO_OP:
        publish(step->to);
        return;

    case DO_OFFER:
        s = step->data;
        s->sweep = one_in(4);

        t = offer(step->from, s, taker(step->from));

        if (one_in(2)) {
            take(t);
        }

        return;

    case DO_TAKE:
        take(step->data);
        return;

    case DO_ABANDON:
        t = step->data;

        show(NAME " abandons session %u", name_of(step->to->origin),
             (unsigned) t->session);

        push(step->to, find_worker(t->take.owner), ABANDON, t->take.id, NULL);
        ngx_sio_move_forget_take(&t->take);
        unmake(t);
        return;

    case DO_FAIL:
        if (one_in(2)) {
            ngx_sio_move_fail_take(step->data);

        } else {
            alloc_fails = 1 + random_below(4);
        }

        return;

    case DO_DRAIN:
        ((offer_t *) step->data)->drain = 0;
        drain(step->to, step->data);
        return;

    case DO_LIFE:
        live();
        return;

    case DO_TIME:
        ngx_current_msec += 20000;
        return;

    case DO_CLOSE:
        s = step->data;
        s->closing = 1;
        return;

    case DO_FINISH:
        finish(step->to, step->data);
        return;

    }
}


static ngx_uint_t
schedule(uint64_t seed, mood_e mood)
{
    step_t      *step;
    worker_t    *from, *to;
    ngx_uint_t   i, j, ops, moves, lives, times, sessions;

    alloc_fails = 0;

    begin(seed, mood);

    for (i = 2 + random_below(4); i; i--) {
        birth();
    }

    flow();

    world.eager = one_in(2);

    sessions = 1 + random_below(MAX_SESSIONS);

    for (i = 0; i < sessions; i++) {
        new_session(&world.worker[random_below(world.n)], i);
    }

    ops = 1 + random_below(40);
    moves = 1 + random_below(6 * sessions);
    lives = random_below(7);
    times = random_below(3);

    while (world.fault[0] == '\0') {
        world.nsteps = 0;

        for (j = 0; j < world.n; j++) {
            to = &world.worker[j];

            for (i = 0; to->alive && i < world.n; i++) {
                from = &world.worker[i];

                if (!ngx_queue_empty(&channel(from, to)->frames)) {
                    add(DO_READ, from, to, NULL);
                }
            }

            if (to->alive) {
                add_pending(to);
            }

            if (to->alive && to->ready && ops) {
                add(DO_OP, NULL, to, NULL);
            }
        }

        if (moves) {
            add_moves();
        }

        if (lives) {
            add(DO_LIFE, NULL, NULL, NULL);
        }

        if (times && !leftovers()) {
            add(DO_TIME, NULL, NULL, NULL);
        }

        if (world.nsteps == 0) {
            break;
        }

        step = &world.steps[random_below(world.nsteps)];

        if (step->what == DO_READ && channel(step->from, step->to)->slow
            && !one_in(4))
        {
            step = &world.steps[random_below(world.nsteps)];
        }

        ops -= (step->what == DO_OP);
        moves -= (step->what == DO_OFFER);
        lives -= (step->what == DO_LIFE);
        times -= (step->what == DO_TIME);

        run(step);
    }

    if (world.fault[0] == '\0') {
        check(sessions);
    }

    return end();
}


static void
test_schedules(const char *name, mood_e mood, ngx_uint_t n, uint64_t seed)
{
    ngx_uint_t  i, bad, replayed, floors;

    bad = 0;
    replayed = 0;
    floors = 0;

    for (i = 0; i < n && bad < MAX_FAULTS; i++) {

        if (!schedule(seed * 1000003 + i, mood)) {
            printf("# schedule %u: %s\n", (unsigned) i, world.fault);
            bad++;
        }

        replayed += world.replayed;
        floors += world.floors;
    }

    ok(bad == 0, "%u schedules%s", (unsigned) n, name);

    printf("# %u operations from logs, %u floors\n", (unsigned) replayed,
           (unsigned) floors);
}


/* directed tests: a owns session 0, b takes it, c is another one */

static worker_t  *a, *b, *c;


static session_t *
three(void)
{
    session_t  *s;

    begin(1, QUIET);

    a = birth();
    b = birth();
    c = birth();

    flow();

    s = new_session(a, 0);

    return s;
}


static void
passed(const char *name)
{
    ok(end(), "%s: nothing is left", name);

    if (world.fault[0]) {
        printf("# %s\n", world.fault);
    }
}


/* reads what from has sent to w */

static void
read_all(worker_t *from, worker_t *w)
{
    while (!ngx_queue_empty(&channel(from, w)->frames)) {
        read_frame(from, w);
    }
}


static session_t *
only_session(worker_t *w)
{
    return ngx_queue_empty(&w->sessions)
           ? NULL
           : ngx_queue_data(ngx_queue_head(&w->sessions), session_t, queue);
}


/* a frame from a to w, behind which memory can't be read */

static ngx_int_t
handle(worker_t *from, worker_t *w, ngx_sio_move_frame_e type,
    sio_out_t *o, size_t n)
{
    sio_in_t  in;

    in = sio_in((sio_span_t) { guarded(o->p - o->n, n), n });

    return ngx_sio_move_handle(&w->mover, from->origin, type, &in);
}


static void
test_move(void)
{
    session_t  *s;

    s = three();
    world.eager = 1;

    publish(c);
    publish(c);
    read_all(c, a);                /* a is ahead of b */
    publish(b);                    /* a is behind b */

    take(offer(a, s, b));

    ok(b->mover.logging == 1, "from TAKE on a log is kept");

    publish(b);
    publish(b);
    read_all(b, a);

    ok(world.left == 1 && only_session(a) == NULL, "a gives it away");

    publish(b);
    read_all(a, b);

    s = only_session(b);

    ok(s && world.settled == 1, "b has it");
    ok(world.replayed == 3, "it was given what a did not read");
    ok(s && s->nfloors == 1 && s->floors[0].origin == c->origin
       && s->floors[0].number == 2, "it had what b will read yet");
    ok(b->mover.log == NULL && b->mover.log_size == 0
       && b->mover.logging == 0, "the log is empty");

    flow();
    publish(c);
    flow();

    ok(s && s->nfloors == 0, "a floor that was passed is dropped");

    check(1);
    passed("a move");
}


/* a session waits for those that read slowly, not for those that ended */

static void
test_wait(void)
{
    three();
    publish(c);
    read_all(c, b);
    take(offer(a, only_session(a), b));
    read_all(b, a);

    ok(world.left == 0, "a session that is not drained stays");

    drain(a, only_session(a)->give);
    ok(world.left == 0, "... that b is ahead of stays");

    read_all(c, a);
    ok(world.left == 1, "... leaves once it has caught up");
    flow();
    check(1);
    passed("waiting");

    three();
    world.eager = 1;
    publish(c);
    read_all(c, b);
    take(offer(a, only_session(a), b));
    read_all(b, a);
    clear(channel(c, a));
    ngx_sio_move_end(&a->mover, ngx_sio_move_source(&a->mover, c->origin));

    ok(world.left == 1, "nothing is waited for that can't come");
    passed("an end");
}


static void
test_lost(void)
{
    ngx_uint_t         again;
    ngx_sio_source_t  *source;

    for (again = 0; again < 2; again++) {
        three();
        world.eager = 1;
        publish(c);
        flow();

        source = ngx_sio_move_source(&a->mover, c->origin);
        ngx_sio_move_lost(&a->mover, source);

        take(offer(a, only_session(a), b));
        read_all(b, a);
        publish(a);

        ok(world.left == 0, "nobody leaves while a stream is lost");

        if (again) {
            ok(ngx_sio_move_hello(&a->mover, c->origin, 1) == source,
               "who greets again is the same");

        } else {
            ngx_sio_move_end(&a->mover, source);
        }

        ok(world.left == 1, "... until the sender %s",
           again ? "greets again" : "is dead");

        flow();
        check(1);
        passed("a lost stream");
    }
}


static void
test_log_limit(void)
{
    taking_t       *first, *second;
    ngx_sio_msg_t  *m;

    three();
    world.eager = 1;
    new_session(a, 1);

    b->mover.limit = 2 * (sizeof(ngx_sio_move_log_t) + 16);

    first = offer(a, ngx_queue_data(ngx_queue_head(&a->sessions), session_t,
                                    queue), b);
    second = offer(a, ngx_queue_data(ngx_queue_last(&a->sessions), session_t,
                                     queue), b);

    take(first);
    publish(b);
    take(second);
    publish(b);

    ok(world.failed == 0 && b->mover.logging == 2
       && b->mover.log_size == b->mover.limit, "a log up to its limit");

    publish(b);

    ok(world.failed == 2 && first->take.failed && second->take.failed,
       "beyond it all fail that need it");
    ok(b->mover.log == NULL && b->mover.log_size == 0
       && b->mover.logging == 0, "... and it is empty");

    ngx_sio_move_fail_take(&first->take);
    ok(world.failed == 2, "to fail again is nothing");

    flow();

    ok(world.settled == 2 && world.settled_failed == 2
       && world.copies[0] == 1 && world.copies[1] == 1
       && !ngx_queue_empty(&b->sessions), "the sessions come, to end");
    passed("a log's limit");

    three();
    first = offer(a, only_session(a), b);
    take(first);
    ngx_sio_move_applied(&b->mover, b->source, ++b->sent, NULL);

    ok(world.failed == 1 && first->take.failed,
       "an operation without a frame fails them too");
    passed("a hole");

    three();
    first = offer(a, only_session(a), b);
    ngx_sio_move_fail_take(&first->take);
    take(first);
    publish(b);

    ok(b->mover.logging == 0 && b->mover.log == NULL,
       "for one that failed before TAKE there is no log");

    world.eager = 1;
    flow();
    ok(world.settled_failed == 1, "... its session comes, to end");
    passed("a failed take");

    /* what one does not need any more */

    three();
    first = offer(a, only_session(a), b);
    second = offer(c, new_session(c, 1), b);
    take(first);
    publish(b);
    take(second);
    publish(b);
    publish(b);

    ngx_sio_move_forget_take(&first->take);
    unmake(first);

    m = b->mover.log ? b->mover.log->msg : NULL;

    ok(b->mover.log_first == 1 && b->mover.log_next == 3 && m
       && m->data[8] == 2, "a log begins where a take needs it");

    ngx_sio_move_forget_take(&second->take);
    unmake(second);

    ok(b->mover.log == NULL && b->mover.log_first == 3
       && b->mover.log_size == 0, "... and is empty without one");
    passed("a log");
}


static void
test_ended(void)
{
    ngx_uint_t         i;
    ngx_sio_source_t  *source;
    ngx_sio_origin_t   origin;

    three();

    origin = (uint64_t) 1 << 40;

    for (i = 0; i < NGX_SIO_MAX_ENDED + 5; i++) {
        source = ngx_sio_move_hello(&a->mover, origin + i, i);
        ngx_sio_move_end(&a->mover, source);
        ngx_sio_move_end(&a->mover, source);
    }

    ok(a->mover.nended == NGX_SIO_MAX_ENDED, "so many are remembered");
    ok(ngx_sio_move_source(&a->mover, origin + 4) == NULL,
       "the ones before are not");

    source = ngx_sio_move_source(&a->mover, origin + 5);

    ok(source && source->applied == 5
       && source->state == NGX_SIO_SOURCE_ENDED, "the oldest is known");
    ok(ngx_sio_move_hello(&a->mover, origin + 5, 9) == source
       && source->applied == 9 && source->state == NGX_SIO_SOURCE_ALIVE
       && a->mover.nended == NGX_SIO_MAX_ENDED - 1, "it may greet again");

    for (i = 0; i < 5; i++) {
        ngx_sio_move_end(&a->mover,
                         ngx_sio_move_hello(&a->mover, i + 1 + origin * 2,
                                            0));
    }

    ok(ngx_sio_move_source(&a->mover, origin + 5) == source
       && ngx_sio_move_source(&a->mover, origin + 6) == NULL,
       "... and is not forgotten then");
    ok(ngx_sio_move_source(&a->mover, c->origin) != NULL,
       "nor is one that lives");
    passed("ended origins");
}


/* b read less of c, which is dead, than a: it may give the session to others */

static void
test_floors(void)
{
    ngx_uint_t  late;
    session_t  *s;

    for (late = 0; late < 2; late++) {
        three();
        world.eager = 1;
        publish(c);
        publish(c);
        read_all(c, a);
        read_frame(c, b);
        clear(channel(c, b));

        ngx_sio_move_end(&a->mover,
                         ngx_sio_move_source(&a->mover, c->origin));
        ngx_sio_move_end(&b->mover,
                         ngx_sio_move_source(&b->mover, c->origin));

        ngx_current_msec += late ? 20000 : 5000;

        take(offer(a, only_session(a), b));
        flow();
        s = only_session(b);

        if (late) {
            ok(s && s->nfloors == 0, "... but not for ever");

        } else {
            ok(s && s->nfloors == 1 && s->floors[0].origin == c->origin
               && s->floors[0].number == 2,
               "what a session had of a dead origin is remembered");
        }

        passed("a dead origin");
    }
}


static void
test_gone(void)
{
    uint64_t   id;
    taking_t  *t;

    three();
    (void) offer(a, only_session(a), b);
    ngx_sio_move_gone(&b->mover, c->origin, 1);
    ok(world.gone == 0, "another one's end");

    ngx_sio_move_gone(&b->mover, a->origin, 0);
    ok(world.gone == 1, "a take not asked for is gone, the owner cut");

    read_all(a, b);
    ngx_sio_move_gone(&a->mover, b->origin, 0);
    ok(world.deserted == 1 && only_session(a)->give == NULL
       && !only_session(a)->closing, "an offer is deserted, the session not");

    t = offer(a, only_session(a), b);
    take(t);
    publish(b);
    ngx_sio_move_gone(&b->mover, a->origin, 1);
    ok(world.gone == 2 && b->mover.log == NULL && b->mover.logging == 0,
       "one asked for is gone, the owner dead");

    read_all(b, a);
    ok(only_session(a)->give->vector, "TAKE was read");
    ngx_sio_move_gone(&a->mover, c->origin, 1);
    ngx_sio_move_gone(&a->mover, b->origin, 1);
    ok(world.deserted == 2 && only_session(a)->closing,
       "an offer with TAKE is deserted, the session ends");

    only_session(a)->closing = 0;
    t = offer(a, only_session(a), b);
    id = t->take.id;
    take(t);
    ngx_sio_move_gone(&b->mover, a->origin, 0);
    ok(world.gone == 2 && world.failed == 1
       && ngx_sio_move_find_take(&b->mover, a->origin, id) == &t->take
       && b->mover.logging == 0, "one asked for has failed, the owner cut");

    ngx_sio_move_gone(&b->mover, a->origin, 0);
    ok(world.gone == 2
       && ngx_sio_move_find_take(&b->mover, a->origin, id) == &t->take,
       "one that has failed already still comes");

    world.eager = 1;
    read_all(b, a);
    read_all(a, b);
    ok(world.settled_failed == 1 && only_session(b)
       && only_session(b)->closing, "... its session may come, to end");
    passed("gone");

    /* the session ends where it was */

    three();
    t = offer(a, only_session(a), b);
    only_session(a)->closing = 1;
    world.eager = 1;
    take(t);
    read_all(b, a);
    ok(world.left == 0, "a session that is ending does not leave");

    finish(a, only_session(a));
    flow();
    ok(world.gone == 1, "... and is gone");
    check(0);
    passed("an end");
}


static void
test_frames(void)
{
    size_t           i, bad;
    uint8_t          buf[256];
    taking_t        *t;
    sio_out_t        o;
    ngx_sio_give_t  *g;

    three();

    t = offer(a, only_session(a), b);
    g = only_session(a)->give;

    o.p = buf;
    o.n = 0;
    sio_out_u64(&o, t->take.id);
    sio_out_u64(&o, c->origin);
    sio_out_u64(&o, 7);
    sio_out_u64(&o, b->origin);
    sio_out_u64(&o, 0);

    bad = 0;

    for (i = 0; i < o.n; i++) {
        if (i != 8 && i != 24) {
            bad += handle(b, a, NGX_SIO_MOVE_TAKE, &o, i) == NGX_ERROR;
        }
    }

    ok(bad == o.n - 2 && g->vector == NULL, "a TAKE that was cut is refused");

    buf[0]++;
    ok(handle(b, a, NGX_SIO_MOVE_TAKE, &o, o.n) == NGX_OK
       && g->vector == NULL, "a TAKE of an unknown id is nothing");

    buf[0]--;
    ok(handle(c, a, NGX_SIO_MOVE_TAKE, &o, o.n) == NGX_OK
       && g->vector == NULL, "nor is one of another worker");
    ok(handle(b, a, NGX_SIO_MOVE_TAKE, &o, o.n) == NGX_OK
       && g->len == 32, "a TAKE");
    ok(handle(b, a, NGX_SIO_MOVE_TAKE, &o, 8) == NGX_OK && g->len == 32,
       "a second TAKE is nothing");
    ok(ngx_sio_move_named(g, b->origin) && ngx_sio_move_named(g, c->origin)
       && !ngx_sio_move_named(g, a->origin) && !ngx_sio_move_named(g, 7),
       "whom it names");
    ok(ngx_sio_move_find_give(&a->mover, b->origin, t->take.id) == g
       && ngx_sio_move_find_give(&a->mover, b->origin, 99) == NULL
       && ngx_sio_move_find_give(&a->mover, c->origin, t->take.id) == NULL,
       "it is found by taker and id");
    ok(ngx_sio_move_find_take(&b->mover, a->origin, t->take.id) == &t->take
       && ngx_sio_move_find_take(&b->mover, c->origin, t->take.id) == NULL,
       "and a take by owner and id");

    take(t);
    publish(b);

    o.p = buf;
    o.n = 0;
    sio_out_u64(&o, t->take.id);
    sio_out_u32(&o, 2);
    sio_out_u64(&o, a->origin);
    sio_out_u64(&o, 0);
    sio_out_byte(&o, 0);
    sio_out_u64(&o, b->origin);
    sio_out_u64(&o, 0);
    sio_out_byte(&o, 0);

    bad = 0;

    for (i = 0; i < o.n; i++) {
        bad += handle(a, b, NGX_SIO_MOVE_STATE, &o, i) == NGX_ERROR;
    }

    ok(bad == o.n && world.gone == 0, "a STATE that was cut is refused");

    memset(buf + 8, 0xff, 4);
    ok(handle(a, b, NGX_SIO_MOVE_STATE, &o, o.n) == NGX_ERROR,
       "so is one with more origins than there are bytes");

    memset(buf + 8, 0, 4);
    buf[0]++;
    ok(handle(a, b, NGX_SIO_MOVE_STATE, &o, o.n) == NGX_OK
       && world.gone == 0 && world.stray == o.n - 12,
       "a STATE of an unknown id is nobody's");

    buf[0]--;
    world.no_install = 1;
    ok(handle(a, b, NGX_SIO_MOVE_STATE, &o, o.n) == NGX_OK
       && world.gone == 1 && b->mover.log == NULL && b->mover.logging == 0,
       "a session that can't be made is gone");
    passed("frames");
}


/* no memory */

static void
test_memory(void)
{
    taking_t  *t;

    three();
    world.eager = 1;

    alloc_fails = 1;
    ok(ngx_sio_move_hello(&a->mover, 77, 0) == NULL
       && ngx_sio_move_source(&a->mover, 77) == NULL, "for an origin");

    t = offer(a, only_session(a), b);

    world.no_frames = 1;
    ok(ngx_sio_move_take(&t->take) == NGX_ERROR && b->mover.logging == 0
       && !t->take.logging, "for TAKE");

    world.no_frames = 0;
    take(t);
    alloc_fails = 1;
    read_all(b, a);
    ok(world.deserted == 1 && only_session(a)->give == NULL,
       "for what TAKE says");

    ngx_sio_move_forget_take(&t->take);
    unmake(t);

    take(offer(a, only_session(a), b));
    read_all(b, a);
    ok(world.left == 1, "the next one comes through");

    alloc_fails = 1;
    read_all(a, b);
    ok(world.settled_failed == 1, "for floors");
    passed("no memory");

    three();
    world.eager = 1;
    t = offer(a, only_session(a), b);
    take(t);
    world.no_frames = 1;
    read_all(b, a);
    ok(world.left == 0 && world.deserted == 1, "for STATE");

    world.no_frames = 0;
    ngx_sio_move_forget_take(&t->take);
    unmake(t);
    passed("no memory");

    three();
    take(offer(a, only_session(a), b));
    alloc_fails = 2;
    publish(b);
    ok(world.failed == 1 && b->mover.log == NULL, "for the log");
    passed("no memory");
}


int
main(int argc, char **argv)
{
    uint64_t    seed;
    ngx_uint_t  n;

    n = (argc > 1) ? strtoul(argv[1], NULL, 10) : 20000;
    seed = (argc > 2) ? strtoull(argv[2], NULL, 10) : 1;

    if (argc > 3) {
        world.show = 1;
        ok(schedule(seed * 1000003 + strtoul(argv[3], NULL, 10),
                    argc > 4 ? DEADLY : QUIET), "%s", world.fault);

        return done_testing();
    }

    test_schedules("", QUIET, n, seed);
    test_schedules(" in which anybody may die", DEADLY, n, seed);

    test_move();
    test_wait();
    test_lost();
    test_log_limit();
    test_ended();
    test_floors();
    test_gone();
    test_frames();
    test_memory();

    return done_testing();
}
