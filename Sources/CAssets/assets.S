    .section .rodata
    .global sluice_openapi_yaml
    .global sluice_openapi_yaml_end
sluice_openapi_yaml:
    .incbin "openapi.yaml"
sluice_openapi_yaml_end:
    .byte 0
    .section .note.GNU-stack,"",@progbits
