// Files compiled into the binary. `.incbin` costs nothing at build time; SwiftPM's `.embedInCode`
// took 90 s for 150 KB.
#pragma once

extern const char sluice_openapi_yaml[];
extern const char sluice_openapi_yaml_end[];
