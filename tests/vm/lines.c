/* Loaded into QEMU: its serial ports are pseudo-terminals here, which have no modem lines and no
   breaks; this gives them both.

   VM_LINES is "FILE FD PTY PTY …". Port i is wired to port i^1 as a null modem: RTS to CTS, DTR to
   DSR and DCD. FILE holds eight bytes a port: for the inputs CTS DSR DCD RI what they are forced to
   ('0', '1', '-' as wired), then the outputs DTR RTS as last set ('0', '1'). For a break that port i
   sends, the byte i is written to FD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PORTS = 4, SLOT = 8, DTR = 4, RTS = 5 };

static dev_t pty[PORTS];
static int breaks = -1;
static volatile char *shared;

__attribute__((constructor)) static void begin(void)
{
    char *text = getenv("VM_LINES"), *word, *rest;
    struct stat status;
    if (!text || !(text = strdup(text)) || !(word = strtok_r(text, " ", &rest)))
        return;
    int file = open(word, O_RDWR);
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if ((word = strtok_r(NULL, " ", &rest)))
        breaks = atoi(word);
    for (int i = 0; i < PORTS && (word = strtok_r(NULL, " ", &rest)); i++)
        if (!stat(word, &status))
            pty[i] = status.st_rdev;
    if (at != MAP_FAILED)
        shared = at;
    free(text);
}

/* The port that a descriptor belongs to, or -1. */
static int port(int fd)
{
    struct stat status;
    if (!shared || fstat(fd, &status) || !S_ISCHR(status.st_mode))
        return -1;
    for (int i = 0; i < PORTS; i++)
        if (pty[i] && pty[i] == status.st_rdev)
            return i;
    return -1;
}

static int inputs(int i)
{
    static const int bit[4] = { TIOCM_CTS, TIOCM_DSR, TIOCM_CAR, TIOCM_RI };
    volatile char *own = shared + SLOT * i, *far = shared + SLOT * (i ^ 1);
    int wired[4] = { far[RTS] == '1', far[DTR] == '1', far[DTR] == '1', 0 }, value = 0;
    for (int k = 0; k < 4; k++)
        if (own[k] == '1' || (own[k] == '-' && wired[k]))
            value |= bit[k];
    return value | (own[DTR] == '1' ? TIOCM_DTR : 0) | (own[RTS] == '1' ? TIOCM_RTS : 0);
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*next)(int, unsigned long, ...);
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (!next)
        next = dlsym(RTLD_NEXT, "ioctl");
    int i = request == TIOCMGET || request == TIOCMSET ? port(fd) : -1;
    if (i < 0)
        return next(fd, request, argument);
    if (request == TIOCMGET) {
        *(int *)argument = inputs(i);
    } else {
        shared[SLOT * i + DTR] = *(int *)argument & TIOCM_DTR ? '1' : '0';
        shared[SLOT * i + RTS] = *(int *)argument & TIOCM_RTS ? '1' : '0';
    }
    return 0;
}

int tcsendbreak(int fd, int duration)
{
    int i = port(fd);
    char byte = (char)i;
    (void)duration;
    return i < 0 || write(breaks, &byte, 1) != 1 ? -1 : 0;
}
