// libFuzzer's way into the parser: whatever bytes it thinks of are a head, a chunked body, a query and a form.
//
// It must find nothing: no crash, no read outside the input (AddressSanitizer watches), and no split of a
// chunked body that decodes differently. Run it with `deploy/fuzz [seconds]`.

import HTTP

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    HTTPFuzzing.parseHead(bytes)
    precondition(HTTPFuzzing.splitsAgree(bytes), "A chunked body decodes differently when it comes in pieces.")
    for kind in [PairSequence.Kind.query, .form] {
        for pair in PairSequence(bytes, kind) { _ = pair.hasName("count") }
    }
    return 0
}
