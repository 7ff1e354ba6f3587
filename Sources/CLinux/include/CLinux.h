// The Linux calls that the Swift `Glibc` module does not export, and what it exports awkwardly.
#pragma once
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// EPOLLEXCLUSIVE is an enum constant that does not import with the others' type.
static inline uint32_t sluice_epollexclusive(void) { return EPOLLEXCLUSIVE; }

// accept4 is declared for _GNU_SOURCE only.
int sluice_accept(int listener);

// A file descriptor that stands for a process, and a signal through it: it can't hit a stranger who got
// the number since. glibc 2.36 has wrappers, older ones have not.
int sluice_pidfd_open(int pid);
int sluice_pidfd_signal(int pidfd, int signal);

// posix_spawn with what it takes to start a server that outlives us: a session of its own (a Ctrl-C in the
// terminal is for us), no signal blocked or ignored, nothing to read, `output` as stdout and stderr (appended
// to), `lent` (or -1) as descriptor 3, and no other descriptor of ours. Returns 0, or an errno.
int sluice_spawn(const char *path, char *const argv[], char *const envp[], const char *output, int lent, int *pid);

// Cores in this process' affinity mask; those online where there are more than a mask has room for. (The CPU_* macros don't import.)
int sluice_available_cores(void);
