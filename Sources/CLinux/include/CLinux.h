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
