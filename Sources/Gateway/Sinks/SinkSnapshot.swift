// What `/metrics` says of a sink.

import Net

struct SinkSnapshot: Sendable {
    static func write(_ sinks: [SinkSnapshot], to page: ByteBuffer) {}
}
