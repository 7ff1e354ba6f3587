// What a receiver says of a message in the body of a 2xx, where the sink honours it (`reply_status`).

/// `{"status":"RETRY"|"DROP"|"SUCCESS"}`; other members do not matter.
enum SinkVerdict: String {
    case retry = "RETRY"
    case drop = "DROP"
    case success = "SUCCESS"

    /// Nil: the body says nothing of the kind, and the 2xx stands alone.
    init?(_ body: [UInt8]) {
        // A body that is no JSON says as much as one without a status.
        guard let verdict = try? body.withUnsafeBytes({ try SinkVerdict.read($0) }) else { return nil }
        self = verdict
    }

    private static func read(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> SinkVerdict? {
        var reader = JSONReader(bytes)
        var verdict: SinkVerdict?
        var seen = 0
        try reader.enterObject()
        while let member = try reader.nextMember() {
            guard member == "status" else {
                try reader.skip()
                continue
            }
            seen += 1
            guard try reader.peek() == .string else { return nil }
            verdict = SinkVerdict(rawValue: try reader.string().text())
        }
        try reader.end()
        return seen == 1 ? verdict : nil
    }
}
