#include "CAssets.h"

// Defined in assets.S.
extern const char sluice_openapi_yaml[];
extern const char sluice_openapi_yaml_end[];

const char *sluice_openapi_start(void) { return sluice_openapi_yaml; }
const char *sluice_openapi_end(void) { return sluice_openapi_yaml_end; }
