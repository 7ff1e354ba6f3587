// The reply-object functions that make hiredis' redisReader build flat buffers. See CHiredis.h.
#include "CHiredis.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdlib.h>
#include <string.h>

struct sluice_reader {
    redisReader *parser;
    unsigned char *base;
    size_t used, capacity;
    size_t usual;         // What the last detached batch had come to, within bounds: the next begins with that much.
    size_t start;         // Where the reply under construction begins.
    const char *refusal;  // Why we, not hiredis, refused a value.
};

enum { LARGEST_USUAL = 256 * 1024 };

// hiredis wants an object per value, and takes null for "out of memory". One address serves for all.
static void *done(sluice_reader *reader) { return reader; }

static void *refuse(sluice_reader *reader, const char *reason) {
    reader->refusal = reason;
    return NULL;
}

static unsigned char *claim(sluice_reader *reader, size_t count) {
    if (count > reader->capacity - reader->used) {
        size_t capacity = reader->capacity ? reader->capacity : reader->usual ? reader->usual : 1024;
        while (capacity - reader->used < count) {
            if (capacity > SIZE_MAX / 2) return NULL;
            capacity *= 2;
        }
        unsigned char *larger = realloc(reader->base, capacity);
        if (!larger) return NULL;
        reader->base = larger;
        reader->capacity = capacity;
    }
    unsigned char *room = reader->base + reader->used;
    reader->used += count;
    return room;
}

static unsigned char *claim_value(sluice_reader *reader, int kind, size_t size, size_t payload) {
    unsigned char *room = claim(reader, 8 + payload);
    if (!room) return NULL;
    uint64_t header = (uint64_t)size << 4 | (uint64_t)kind;
    memcpy(room, &header, 8);
    return room + 8;
}

static void *create_string(const redisReadTask *task, char *text, size_t count) {
    sluice_reader *reader = task->privdata;
    int kind = task->type == REDIS_REPLY_STRING ? SLUICE_REPLY_BULK
        : task->type == REDIS_REPLY_STATUS      ? SLUICE_REPLY_SIMPLE
        : task->type == REDIS_REPLY_ERROR       ? SLUICE_REPLY_ERROR
                                                : 0;
    if (kind == 0) return refuse(reader, "a RESP3 value");
    // hiredis does not look at what ends a bulk string. The two bytes are in its buffer by now.
    if (memcmp(text + count, "\r\n", 2) != 0) return refuse(reader, "a bulk string that CR LF does not end");
    if (count > SIZE_MAX / 32) return NULL;
    unsigned char *room = claim_value(reader, kind, count, (count + 7) & ~(size_t)7);
    if (!room) return NULL;
    memcpy(room, text, count);
    return done(reader);
}

static void *create_integer(const redisReadTask *task, long long value) {
    sluice_reader *reader = task->privdata;
    unsigned char *room = claim_value(reader, SLUICE_REPLY_INTEGER, 0, 8);
    if (!room) return NULL;
    int64_t sized = value;
    memcpy(room, &sized, 8);
    return done(reader);
}

static void *create_nil(const redisReadTask *task) {
    sluice_reader *reader = task->privdata;
    int kind = task->type == REDIS_REPLY_ARRAY ? SLUICE_REPLY_NULL_ARRAY
        : task->type == REDIS_REPLY_STRING     ? SLUICE_REPLY_NULL
                                               : 0;
    if (kind == 0) return refuse(reader, "a RESP3 value");
    return claim_value(reader, kind, 0, 0) ? done(reader) : NULL;
}

static void *create_sized_array(const redisReadTask *task, size_t count) {
    sluice_reader *reader = task->privdata;
    if (task->type != REDIS_REPLY_ARRAY) return refuse(reader, "a RESP3 value");
    return claim_value(reader, SLUICE_REPLY_ARRAY, count, 0) ? done(reader) : NULL;
}

// There is one object for all values, and it is the reader's.
static void free_object(void *object) { (void)object; }

#if HIREDIS_MAJOR >= 1
static void *create_array(const redisReadTask *task, size_t count) { return create_sized_array(task, count); }
static void *refuse_double(const redisReadTask *task, double value, char *text, size_t count) {
    (void)value, (void)text, (void)count;
    return refuse(task->privdata, "a RESP3 value");
}
static void *refuse_bool(const redisReadTask *task, int value) {
    (void)value;
    return refuse(task->privdata, "a RESP3 value");
}
#else
static void *create_array(const redisReadTask *task, int count) { return create_sized_array(task, (size_t)count); }
#endif

// hiredis wants it mutable, and does not change it.
static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
#if HIREDIS_MAJOR >= 1
    .createDouble = refuse_double,
    .createBool = refuse_bool,
#endif
};

sluice_reader *sluice_reader_create(void) {
    sluice_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return NULL;
    reader->parser = redisReaderCreateWithFunctions(&functions);
    if (!reader->parser) {
        free(reader);
        return NULL;
    }
    reader->parser->privdata = reader;
    return reader;
}

void sluice_reader_free(sluice_reader *reader) {
    redisReaderFree(reader->parser);
    free(reader->base);
    free(reader);
}

int sluice_reader_feed(sluice_reader *reader, const void *bytes, size_t count) {
    return redisReaderFeed(reader->parser, bytes, count) == REDIS_OK ? 0 : -1;
}

int sluice_reader_next(sluice_reader *reader, size_t *start, size_t *end) {
    void *reply = NULL;
    if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK) return -1;
    if (!reply) return 0;
    *start = reader->start;
    *end = reader->start = reader->used;
    return 1;
}

const void *sluice_reader_base(const sluice_reader *reader) { return reader->base; }

size_t sluice_reader_pending(const sluice_reader *reader) {
    return reader->used - reader->start + (reader->parser->len - reader->parser->pos);
}

int sluice_reader_detach(sluice_reader *reader) {
    size_t rest = reader->used - reader->start, capacity = 0;
    unsigned char *fresh = NULL;
    reader->usual = reader->used < LARGEST_USUAL ? reader->used : LARGEST_USUAL;
    if (rest > 0) {
        capacity = rest > reader->usual ? rest : reader->usual;
        fresh = malloc(capacity);
        if (!fresh) return -1;
        memcpy(fresh, reader->base + reader->start, rest);
    }
    reader->base = fresh;
    reader->used = rest;
    reader->capacity = capacity;
    reader->start = 0;
    return 0;
}

void sluice_reader_recycle(sluice_reader *reader) {
    size_t rest = reader->used - reader->start;
    if (reader->start > 0 && rest > 0) memmove(reader->base, reader->base + reader->start, rest);
    reader->used = rest;
    reader->start = 0;
}

const char *sluice_reader_error(const sluice_reader *reader) {
    return reader->refusal ? reader->refusal : reader->parser->errstr;
}

int sluice_hiredis_version(void) { return HIREDIS_MAJOR * 1000 + HIREDIS_MINOR; }
