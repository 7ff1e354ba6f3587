// hiredis' reply parser, as Swift uses it: bytes in, flat replies out.
//
// Everything that differs between hiredis 0.14 and 1.x is in CHiredis.c. Swift sees neither hiredis'
// types nor its callbacks: a callback a value would cross the language border for each value.
//
// A flat reply is its values in the order they came, each 8-byte aligned, in the machine's own order:
//   a header word:  kind in the low 4 bits, a size in the upper 60
//   text, errors:   size bytes follow, padded to 8
//   integers:       a signed 64-bit word follows
//   arrays:         size values follow
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    SLUICE_REPLY_SIMPLE = 1,
    SLUICE_REPLY_BULK = 2,
    SLUICE_REPLY_INTEGER = 3,
    SLUICE_REPLY_ARRAY = 4,
    SLUICE_REPLY_NULL = 5,
    SLUICE_REPLY_NULL_ARRAY = 6,
    SLUICE_REPLY_ERROR = 7,
};

typedef struct sluice_reader sluice_reader;

// Null when there is no memory.
sluice_reader *sluice_reader_create(void);
void sluice_reader_free(sluice_reader *reader);

// Feeds at most this many bytes at a time: hiredis moves what is left of its buffer after each reply of a kilobyte,
// and a slice of 16 KiB would be moved sixteen times.
enum { SLUICE_READER_SLICE = 4 * 1024 };

// 0, or -1 when there is no memory.
int sluice_reader_feed(sluice_reader *reader, const void *bytes, size_t count);

// 1: a reply is complete, and lies in sluice_reader_base() from *start to *end.
// 0: more bytes are needed. -1: what came is not RESP2, see sluice_reader_error(); the reader is of no more use.
int sluice_reader_next(sluice_reader *reader, size_t *start, size_t *end);

// Where the replies of this batch lie. Moves with every sluice_reader_next().
const void *sluice_reader_base(const sluice_reader *reader);

// Bytes that the reply under construction takes so far, here and in hiredis' buffer.
size_t sluice_reader_pending(const sluice_reader *reader);

// Ends a batch: the buffer becomes the caller's (free(3) it), the beginning of an unfinished reply
// moves to a new one. 0, or -1 when there is no memory.
int sluice_reader_detach(sluice_reader *reader);

// Ends a batch whose replies nobody keeps: the buffer is used again.
void sluice_reader_recycle(sluice_reader *reader);

const char *sluice_reader_error(const sluice_reader *reader);

// The version this was built against, e.g. 0014 for 0.14.
int sluice_hiredis_version(void);
