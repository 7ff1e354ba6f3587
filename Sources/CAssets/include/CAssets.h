// Files compiled into the binary. `.incbin` costs nothing at build time; SwiftPM's `.embedInCode`
// took 90 s for 150 KB.
#pragma once

// First byte, and the byte after the last.
const char *sluice_openapi_start(void);
const char *sluice_openapi_end(void);
