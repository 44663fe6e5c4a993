/* Preloaded into a server: adds SLOW_SYNC_MILLISECONDS (none without) to every call that waits for the disk, and lets 128
   connections wait to be accepted where the server would have fewer (OpenSMTPD has five, so that the rest of fifty begun
   at once try again after whole seconds, which would be all that is measured). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

static void wait_a_little(void)
{
    const char *said = getenv("SLOW_SYNC_MILLISECONDS");
    long milliseconds = said ? atol(said) : 0;
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    if (milliseconds > 0)
        nanosleep(&pause, NULL);
}

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

int fsync(int file) { wait_a_little(); return NEXT(int (*)(int), "fsync")(file); }
int fdatasync(int file) { wait_a_little(); return NEXT(int (*)(int), "fdatasync")(file); }
int syncfs(int file) { wait_a_little(); return NEXT(int (*)(int), "syncfs")(file); }
void sync(void) { wait_a_little(); NEXT(void (*)(void), "sync")(); }

int sync_file_range(int file, off64_t offset, off64_t count, unsigned int flags)
{
    wait_a_little();
    return NEXT(int (*)(int, off64_t, off64_t, unsigned int), "sync_file_range")(file, offset, count, flags);
}

int msync(void *address, size_t length, int flags)
{
    wait_a_little();
    return NEXT(int (*)(void *, size_t, int), "msync")(address, length, flags);
}

ssize_t pwritev2(int file, const struct iovec *pieces, int count, off_t offset, int flags)
{
    if (flags & (RWF_DSYNC | RWF_SYNC))
        wait_a_little();
    return NEXT(ssize_t (*)(int, const struct iovec *, int, off_t, int), "pwritev2")(file, pieces, count, offset, flags);
}

ssize_t pwritev64v2(int file, const struct iovec *pieces, int count, off64_t offset, int flags)
{
    if (flags & (RWF_DSYNC | RWF_SYNC))
        wait_a_little();
    return NEXT(ssize_t (*)(int, const struct iovec *, int, off64_t, int), "pwritev64v2")(file, pieces, count, offset, flags);
}

int listen(int socket, int backlog)
{
    return NEXT(int (*)(int, int), "listen")(socket, backlog < 128 ? 128 : backlog);
}
