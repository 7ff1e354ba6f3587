// libFuzzer's way into the parser: whatever bytes it thinks of are a head, a chunked body, a query and a form.
//
// It must find nothing: no crash, no read outside the input (AddressSanitizer watches), and no split of a
// chunked body that decodes differently. Run it with `deploy/fuzz [seconds]`.

import Glibc
import HTTP

// SwiftPM names an executable's `main` itself, so libFuzzer's own is not linked, and its driver is called.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main
struct Fuzz {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        exit(runDriver(&count, &arguments) { Fuzz.one($0, $1) })
    }

    static func one(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
        let bytes = UnsafeRawBufferPointer(start: start, count: count)
        HTTPFuzzing.parseHead(bytes)
        precondition(HTTPFuzzing.splitsAgree(bytes), "A chunked body decodes differently when it comes in pieces.")
        for kind in [PairSequence.Kind.query, .form] {
            for pair in PairSequence(bytes, kind) { _ = pair.hasName("count") }
        }
        return 0
    }
}
