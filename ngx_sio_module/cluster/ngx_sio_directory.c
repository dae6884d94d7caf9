/*
 * In the bus directory:
 *
 *   7.lock        slot 7; who holds the lock lives, the kernel frees it
 *   7.1a2b3c4d    the socket of the worker in slot 7 with that epoch
 *   generation    a symbolic link whose text each new configuration changes;
 *                 it begins with the pid of the master
 *
 * A socket is bound under another name and renamed when it listens, so that
 * a name that refuses a connection is that of a dead worker.
 */

#include "cluster/ngx_sio_directory.h"
#include "core/ngx_sio_registry.h"

#include <sys/file.h>


#define NGX_SIO_DIRECTORY_BACKLOG  511
#define NGX_SIO_DIRECTORY_NAME     sizeof("/1023.ffffffff.new")
#define NGX_SIO_GENERATION_LEN     32


static u_char *ngx_sio_directory_path(u_char *buf, const char *fmt, ...);
static ngx_int_t ngx_sio_directory_own_it(ngx_cycle_t *cycle, ngx_uid_t user);
static ngx_int_t ngx_sio_directory_renew(ngx_cycle_t *cycle);
static ngx_int_t ngx_sio_directory_lock_slot(ngx_cycle_t *cycle);
static ngx_socket_t ngx_sio_directory_listen(ngx_cycle_t *cycle,
    ngx_sio_origin_t origin);
static void ngx_sio_directory_clean(ngx_uint_t slot);
static void ngx_sio_directory_read(void (*f)(ngx_uint_t slot, uint32_t epoch,
    void *data), void *data);
static void ngx_sio_directory_unlink(ngx_uint_t slot, uint32_t epoch,
    void *data);
static void ngx_sio_directory_visit(ngx_uint_t slot, uint32_t epoch,
    void *data);
static ssize_t ngx_sio_directory_generation(u_char *buf);


static u_char            ngx_sio_directory_dir[sizeof(
                             ((struct sockaddr_un *) 0)->sun_path)];
static u_char            ngx_sio_directory_text[NGX_SIO_GENERATION_LEN];
static ngx_fd_t          ngx_sio_directory_lock = NGX_INVALID_FILE;
static ngx_sio_origin_t  ngx_sio_directory_own;


ngx_uint_t
ngx_sio_directory_fits(ngx_str_t *path)
{
    return path->len + NGX_SIO_DIRECTORY_NAME
           <= sizeof(ngx_sio_directory_dir);
}


static u_char *
ngx_sio_directory_path(u_char *buf, const char *fmt, ...)
{
    u_char   *p, *last;
    va_list   args;

    last = buf + sizeof(ngx_sio_directory_dir) - 1;

    p = ngx_slprintf(buf, last, "%s/", ngx_sio_directory_dir);

    va_start(args, fmt);
    p = ngx_vslprintf(p, last, fmt, args);
    va_end(args);

    *p = '\0';

    return buf;
}


ngx_int_t
ngx_sio_directory_create(ngx_cycle_t *cycle, ngx_str_t *path, ngx_uid_t user)
{
    u_char  former[sizeof(ngx_sio_directory_dir)];

    /* the former one stays in use if this one can't be */

    ngx_memcpy(former, ngx_sio_directory_dir, sizeof(former));
    (void) ngx_cpystrn(ngx_sio_directory_dir, path->data, path->len + 1);

    if (ngx_sio_directory_own_it(cycle, user) != NGX_OK
        || ngx_sio_directory_renew(cycle) != NGX_OK)
    {
        ngx_memcpy(ngx_sio_directory_dir, former, sizeof(former));
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_directory_own_it(ngx_cycle_t *cycle, ngx_uid_t user)
{
    ngx_fd_t         fd;
    ngx_int_t        rc;
    ngx_file_info_t  fi;

    if (ngx_create_dir(ngx_sio_directory_dir, 0700) == NGX_FILE_ERROR
        && ngx_errno != NGX_EEXIST)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      ngx_create_dir_n " \"%s\" failed",
                      ngx_sio_directory_dir);
        return NGX_ERROR;
    }

    fd = open((const char *) ngx_sio_directory_dir,
              O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "cannot use \"%s\", which must be a directory for the "
                      "workers, see \"sio_bus_path\"",
                      ngx_sio_directory_dir);
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR
        || (geteuid() == 0 && fi.st_uid != user && fchown(fd, user, -1) == -1)
        || ((fi.st_mode & 0777) != 0700 && fchmod(fd, 0700) == -1))
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "cannot make \"%s\" a directory of the workers",
                      ngx_sio_directory_dir);
        rc = NGX_ERROR;
    }

    (void) ngx_close_file(fd);

    return rc;
}


/* a link is written and replaced without opening what lies there */

static ngx_int_t
ngx_sio_directory_renew(ngx_cycle_t *cycle)
{
    u_char  text[NGX_SIO_GENERATION_LEN];
    u_char  name[sizeof(ngx_sio_directory_dir)];
    u_char  new[sizeof(ngx_sio_directory_dir)];

    (void) ngx_sprintf(text, "%P.%xD.%xD%Z", ngx_pid, (uint32_t) ngx_time(),
                       (uint32_t) ngx_random());

    ngx_sio_directory_path(name, "generation");
    ngx_sio_directory_path(new, "generation.new");

    (void) unlink((char *) new);

    if (symlink((char *) text, (char *) new) == -1
        || ngx_rename_file(new, name) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      ngx_rename_file_n " \"%s\" to \"%s\" failed", new, name);
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_sio_directory_text, text, sizeof(text));

    return NGX_OK;
}


ngx_uint_t
ngx_sio_directory_exists(void)
{
    return ngx_sio_directory_dir[0] != '\0';
}


static ssize_t
ngx_sio_directory_generation(u_char *buf)
{
    u_char  name[sizeof(ngx_sio_directory_dir)];

    return readlink((char *) ngx_sio_directory_path(name, "generation"),
                    (char *) buf, NGX_SIO_GENERATION_LEN);
}


ngx_uint_t
ngx_sio_directory_renewed(void)
{
    u_char     *dot;
    ssize_t     n;
    ngx_int_t   pid;
    u_char      text[NGX_SIO_GENERATION_LEN];

    if (!ngx_sio_directory_exists()) {
        return 0;
    }

    n = ngx_sio_directory_generation(text);

    if (n <= 0 || ((size_t) n == ngx_strlen(ngx_sio_directory_text)
                   && ngx_memcmp(text, ngx_sio_directory_text, n) == 0))
    {
        return 0;
    }

    /* the master of an upgrade that was taken back is not there any more */

    dot = ngx_strlchr(text, text + n, '.');
    pid = dot ? ngx_atoi(text, dot - text) : NGX_ERROR;

    return pid == NGX_ERROR || kill((ngx_pid_t) pid, 0) == 0
           || ngx_errno != NGX_ESRCH;
}


/* only with all locks in hand: who holds none can't be sure of a slot */

void
ngx_sio_directory_remove(ngx_cycle_t *cycle)
{
    u_char      name[sizeof(ngx_sio_directory_dir)];
    ngx_fd_t    fds[NGX_SIO_MAX_SLOTS];
    ngx_uint_t  slot, held;

    if (!ngx_sio_directory_exists() || ngx_sio_directory_renewed()) {
        return;
    }

    held = 0;

    for (slot = 0; slot < NGX_SIO_MAX_SLOTS; slot++) {

        fds[slot] = ngx_open_file(ngx_sio_directory_path(name, "%ui.lock",
                                                         slot),
                                  O_RDWR|O_CLOEXEC|O_NOFOLLOW, NGX_FILE_OPEN,
                                  0);

        if (fds[slot] != NGX_INVALID_FILE
            && flock(fds[slot], LOCK_EX|LOCK_NB) == -1)
        {
            held = 1;
        }
    }

    for (slot = 0; slot < NGX_SIO_MAX_SLOTS; slot++) {

        if (fds[slot] == NGX_INVALID_FILE) {
            continue;
        }

        if (!held) {
            ngx_sio_directory_clean(slot);
            (void) unlink((char *) ngx_sio_directory_path(name, "%ui.lock",
                                                          slot));
        }

        (void) ngx_close_file(fds[slot]);
    }

    if (held) {
        return;
    }

    (void) unlink((char *) ngx_sio_directory_path(name, "generation"));

    if (rmdir((char *) ngx_sio_directory_dir) == -1
        && ngx_errno != ENOTEMPTY && ngx_errno != NGX_ENOENT)
    {
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, ngx_errno,
                      "rmdir() \"%s\" failed", ngx_sio_directory_dir);
    }
}


ngx_socket_t
ngx_sio_directory_claim(ngx_cycle_t *cycle, ngx_sio_origin_t *origin)
{
    uint32_t      epoch;
    ngx_int_t     slot;
    ngx_socket_t  s;

    slot = ngx_sio_directory_lock_slot(cycle);

    if (slot == NGX_ERROR) {
        return (ngx_socket_t) -1;
    }

    do {
        if (ngx_sio_registry_random((u_char *) &epoch, sizeof(epoch))
            != NGX_OK)
        {
            return (ngx_socket_t) -1;
        }
    } while (epoch == 0);

    ngx_sio_directory_clean(slot);

    ngx_sio_directory_own = ngx_sio_origin(slot, epoch);
    *origin = ngx_sio_directory_own;

    s = ngx_sio_directory_listen(cycle, *origin);

    if (s == (ngx_socket_t) -1) {
        ngx_sio_directory_release();
    }

    return s;
}


static ngx_int_t
ngx_sio_directory_lock_slot(ngx_cycle_t *cycle)
{
    u_char           name[sizeof(ngx_sio_directory_dir)];
    ngx_fd_t         fd;
    ngx_uint_t       slot, tries;
    ngx_file_info_t  opened, there;

    for (slot = 0; slot < NGX_SIO_MAX_SLOTS; slot++) {

        for (tries = 0; tries < 10; tries++) {

            fd = ngx_open_file(ngx_sio_directory_path(name, "%ui.lock", slot),
                               O_RDWR|O_CLOEXEC|O_NOFOLLOW, O_CREAT, 0600);

            if (fd == NGX_INVALID_FILE) {
                ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                              ngx_open_file_n " \"%s\" failed", name);
                return NGX_ERROR;
            }

            if (flock(fd, LOCK_EX|LOCK_NB) == -1) {
                (void) ngx_close_file(fd);
                break;
            }

            /* it may have been removed before it was locked */

            if (ngx_fd_info(fd, &opened) != NGX_FILE_ERROR
                && ngx_link_info(name, &there) != NGX_FILE_ERROR
                && ngx_file_uniq(&opened) == ngx_file_uniq(&there))
            {
                ngx_sio_directory_lock = fd;
                return slot;
            }

            (void) ngx_close_file(fd);
        }
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "sio: all %d slots of \"%s\" are taken", NGX_SIO_MAX_SLOTS,
                  ngx_sio_directory_dir);

    return NGX_ERROR;
}


static ngx_socket_t
ngx_sio_directory_listen(ngx_cycle_t *cycle, ngx_sio_origin_t origin)
{
    u_char              name[sizeof(ngx_sio_directory_dir)];
    ngx_socket_t        s;
    struct sockaddr_un  sun;

    ngx_memzero(&sun, sizeof(struct sockaddr_un));
    sun.sun_family = AF_UNIX;

    ngx_sio_directory_path((u_char *) sun.sun_path, "%ui.%08xD.new",
                           ngx_sio_origin_slot(origin), (uint32_t) origin);
    ngx_sio_directory_path(name, "%ui.%08xD", ngx_sio_origin_slot(origin),
                           (uint32_t) origin);

    s = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1
        || bind(s, (struct sockaddr *) &sun, sizeof(struct sockaddr_un)) == -1
        || listen(s, NGX_SIO_DIRECTORY_BACKLOG) == -1
        || ngx_rename_file((u_char *) sun.sun_path, name) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_socket_errno,
                      "sio: cannot listen on \"%s\"", name);

        if (s != (ngx_socket_t) -1) {
            (void) ngx_close_socket(s);
        }

        return (ngx_socket_t) -1;
    }

    return s;
}


void
ngx_sio_directory_release(void)
{
    if (ngx_sio_directory_lock == NGX_INVALID_FILE) {
        return;
    }

    ngx_sio_directory_clean(ngx_sio_origin_slot(ngx_sio_directory_own));

    (void) ngx_close_file(ngx_sio_directory_lock);
    ngx_sio_directory_lock = NGX_INVALID_FILE;
}


/* removes the sockets of a slot; its lock is held */

static void
ngx_sio_directory_clean(ngx_uint_t slot)
{
    ngx_sio_directory_read(ngx_sio_directory_unlink, &slot);
}


static void
ngx_sio_directory_unlink(ngx_uint_t slot, uint32_t epoch, void *data)
{
    u_char  name[sizeof(ngx_sio_directory_dir)];

    if (slot == *(ngx_uint_t *) data) {
        (void) unlink((char *) ngx_sio_directory_path(name, "%ui.%08xD", slot,
                                                      epoch));
    }
}


static void
ngx_sio_directory_read(void (*f)(ngx_uint_t slot, uint32_t epoch, void *data),
    void *data)
{
    char           *p;
    u_char         *dot;
    ngx_int_t       slot, epoch;
    ngx_dir_t       dir;
    ngx_str_t       path;

    path.data = ngx_sio_directory_dir;
    path.len = ngx_strlen(ngx_sio_directory_dir);

    if (ngx_open_dir(&path, &dir) == NGX_ERROR) {
        return;
    }

    while (ngx_read_dir(&dir) == NGX_OK) {
        p = (char *) ngx_de_name(&dir);
        dot = (u_char *) ngx_strchr(p, '.');

        if (dot == NULL || ngx_strlen(dot + 1) != 8) {
            continue;
        }

        slot = ngx_atoi((u_char *) p, dot - (u_char *) p);
        epoch = ngx_hextoi(dot + 1, 8);

        if (slot != NGX_ERROR && slot < NGX_SIO_MAX_SLOTS
            && epoch != NGX_ERROR)
        {
            f(slot, (uint32_t) epoch, data);
        }
    }

    (void) ngx_close_dir(&dir);
}


void
ngx_sio_directory_each(void (*f)(ngx_sio_origin_t origin))
{
    ngx_sio_directory_read(ngx_sio_directory_visit, &f);
}


static void
ngx_sio_directory_visit(ngx_uint_t slot, uint32_t epoch, void *data)
{
    ngx_sio_origin_t   origin;
    void             (*f)(ngx_sio_origin_t) = *(void (**)(ngx_sio_origin_t))
                                                  data;

    origin = ngx_sio_origin(slot, epoch);

    if (origin != ngx_sio_directory_own) {
        f(origin);
    }
}


ngx_int_t
ngx_sio_directory_connect(ngx_sio_origin_t origin, ngx_socket_t *fd)
{
    ngx_err_t           err;
    ngx_socket_t        s;
    struct sockaddr_un  sun;

    ngx_memzero(&sun, sizeof(struct sockaddr_un));
    sun.sun_family = AF_UNIX;

    ngx_sio_directory_path((u_char *) sun.sun_path, "%ui.%08xD",
                           ngx_sio_origin_slot(origin), (uint32_t) origin);

    s = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    if (connect(s, (struct sockaddr *) &sun, sizeof(struct sockaddr_un))
        == -1)
    {
        err = ngx_socket_errno;
        (void) ngx_close_socket(s);

        switch (err) {

        case NGX_EAGAIN:
            return NGX_AGAIN;

        case NGX_ECONNREFUSED:
            (void) unlink(sun.sun_path);
            return NGX_DECLINED;

        case NGX_ENOENT:
            return NGX_DECLINED;

        default:
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                          "sio: connect() to \"%s\" failed", sun.sun_path);
            return NGX_ERROR;
        }
    }

    if (!ngx_sio_directory_trusts(s)) {
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    *fd = s;

    return NGX_OK;
}


ngx_uint_t
ngx_sio_directory_trusts(ngx_socket_t fd)
{
    socklen_t     len;
    struct ucred  cred;

    len = sizeof(struct ucred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      "getsockopt(SO_PEERCRED) failed");
        return 0;
    }

    if (cred.uid != geteuid()) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sio: a process of the user %d, not a worker, is in "
                      "\"%s\"", cred.uid, ngx_sio_directory_dir);
        return 0;
    }

    return 1;
}
