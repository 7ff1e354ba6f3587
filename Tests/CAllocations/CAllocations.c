// A malloc of our own that counts and passes on. glibc lets a program bring one ("Replacing malloc" in its
// manual); the sanitizers bring theirs, and are let alone.
#include "CAllocations.h"

#include <stdlib.h>

#if defined(__GLIBC__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)

void *__libc_malloc(size_t size);

static _Thread_local long allocations;
static _Thread_local long bytes;

void *malloc(size_t size) {
    allocations++;
    bytes += (long)size;
    return __libc_malloc(size);
}

long sluice_allocations(void) { return allocations; }
long sluice_allocated_bytes(void) { return bytes; }

#else

long sluice_allocations(void) { return -1; }
long sluice_allocated_bytes(void) { return -1; }

#endif
