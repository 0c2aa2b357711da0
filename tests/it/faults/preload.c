/* Stands between the program and the C library, and does to its files what bad disks and signals do. Told by the environment:

   FAULT=short          every read and write of a file moves a few bytes
   FAULT=interrupted    the same, and every second one is interrupted before it moves anything (EINTR)
   FAULT=EIO FAULT_AT=3 the third writing call fails, once
   FAULT=ENOSPC FAULT_AT=3    the third and all later ones fail: the disk is full
   FAULT_LOG=file       takes the number of writing calls at the end
   FAULT_CLOCK=86400    the wall clock is wrong by so many seconds at every third look, and the other way at the next; with a sign before the
                        number it is wrong by as much at each

   Writing calls are write, pwrite, writev, fsync, fdatasync, ftruncate, rename, link, symlink, mkdir and open to write. Pipes, terminals and
   devices are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long count, moves, looks;
static int code, forever, slow, interrupted, steady;
static long failing, jump;

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *fault = getenv("FAULT"), *at = getenv("FAULT_AT"), *clock = getenv("FAULT_CLOCK");
    if (clock) {
        steady = *clock == '+' || *clock == '-';
        jump = atol(clock);
    }
    if (!fault) return;
    slow = !strcmp(fault, "short") || !strcmp(fault, "interrupted");
    interrupted = !strcmp(fault, "interrupted");
    code = !strcmp(fault, "EIO") ? EIO : !strcmp(fault, "ENOSPC") ? ENOSPC : 0;
    forever = code == ENOSPC;
    failing = at ? atol(at) : -1;
}

__attribute__((destructor)) static void end(void) {
    const char *log = getenv("FAULT_LOG");
    FILE *file = log ? fopen(log, "w") : NULL;
    if (file) {
        code = slow = 0;
        fprintf(file, "%ld\n", (long)count);
        fclose(file);
    }
}

static int is_file(int descriptor) {
    struct stat about;
    int before = errno, file = fstat(descriptor, &about) == 0 && S_ISREG(about.st_mode);
    errno = before;
    return file;
}

/* Counts a writing call. Whether it is to fail. */
static int fails(void) {
    long number = atomic_fetch_add(&count, 1) + 1;
    if (!code || failing < 0 || (forever ? number < failing : number != failing)) return 0;
    errno = code;
    return 1;
}

/* How much of so many bytes is moved now; -1 if a signal came first. */
static ssize_t part(size_t size) {
    long move = atomic_fetch_add(&moves, 1);
    if (interrupted && move % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    size_t most = 1 + move % 4093;
    return size < most ? (ssize_t)size : (ssize_t)most;
}

#define MOVE(descriptor, size, call)                              \
    if (slow && (size) > 0 && is_file(descriptor)) {              \
        ssize_t moved = part(size);                               \
        if (moved < 0) return -1;                                 \
        size = moved;                                             \
    }                                                             \
    return call

ssize_t write(int descriptor, const void *bytes, size_t size) {
    REAL(write);
    if (is_file(descriptor) && fails()) return -1;
    MOVE(descriptor, size, real(descriptor, bytes, size));
}

ssize_t read(int descriptor, void *bytes, size_t size) {
    REAL(read);
    MOVE(descriptor, size, real(descriptor, bytes, size));
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t at) {
    REAL(pwrite64);
    if (is_file(descriptor) && fails()) return -1;
    MOVE(descriptor, size, real(descriptor, bytes, size, at));
}

ssize_t pread64(int descriptor, void *bytes, size_t size, off64_t at) {
    REAL(pread64);
    MOVE(descriptor, size, real(descriptor, bytes, size, at));
}

ssize_t writev(int descriptor, const struct iovec *pieces, int number) {
    REAL(writev);
    if (is_file(descriptor) && fails()) return -1;
    if (slow && number > 0 && is_file(descriptor)) return write(descriptor, pieces[0].iov_base, pieces[0].iov_len);
    return real(descriptor, pieces, number);
}

/* The kernel copies by itself where it can; here it cannot, so that copies are reads and writes. */
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    (void)from, (void)a, (void)to, (void)b, (void)size, (void)flags;
    errno = ENOSYS;
    return -1;
}

int fsync(int descriptor) {
    REAL(fsync);
    return is_file(descriptor) && fails() ? -1 : real(descriptor);
}

int fdatasync(int descriptor) {
    REAL(fdatasync);
    return is_file(descriptor) && fails() ? -1 : real(descriptor);
}

int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64);
    return is_file(descriptor) && fails() ? -1 : real(descriptor, size);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return fails() ? -1 : real(from, to);
}

int link(const char *from, const char *to) {
    REAL(link);
    return fails() ? -1 : real(from, to);
}

int symlink(const char *to, const char *from) {
    REAL(symlink);
    return fails() ? -1 : real(to, from);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails() ? -1 : real(path, mode);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    int writes = (flags & O_ACCMODE) != O_RDONLY && strncmp(path, "/dev/", 5) && strncmp(path, "/proc/", 6);
    return writes && fails() ? -1 : real(path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int result = real(clock, time);
    if (jump && clock == CLOCK_REALTIME && result == 0) {
        long look = atomic_fetch_add(&looks, 1) % 3;
        time->tv_sec += steady || look == 1 ? jump : look == 2 ? -jump : 0;
    }
    return result;
}
