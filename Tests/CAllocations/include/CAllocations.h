// Counts what the calling thread allocates, whoever asks for it: Swift, hiredis, C.
#pragma once

// Blocks that this thread has asked malloc for since it began; -1 where that can't be counted.
long sluice_allocations(void);

// The bytes of these; -1 likewise.
long sluice_allocated_bytes(void);
