/* Preloaded into the program under test: opening a path with "hangs" in it does not return while the
 * file that HANG names exists, as with a driver that waits for its hardware. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void hang(const char *path)
{
    const char *held = getenv("HANG");
    struct stat st;

    while (held && strstr(path, "hangs") && stat(held, &st) == 0)
        usleep(10000);
}

#define MODE(flags, mode) va_list ap; int mode; va_start(ap, flags); mode = va_arg(ap, int); va_end(ap)

int open(const char *path, int flags, ...)
{
    MODE(flags, mode);
    hang(path);
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags, mode);
    hang(path);
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    MODE(flags, mode);
    hang(path);
    return syscall(SYS_openat, dir, path, flags, mode);
}
