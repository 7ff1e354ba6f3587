// What a receiver says of the messages of a batch in the body of its 2xx:
// `{"batchItemFailures":[{"itemIdentifier":"id"}]}`, as AWS Lambda has it, names those that failed.

import Webhook

enum SinkBatchAnswer: Equatable {
    /// It says nothing of the kind, or names none.
    case taken
    /// These, by ID, and no others.
    case failed(Set<String>)
    /// It can't be told which: all have failed.
    case malformed(String)

    /// - Parameter ids: of the batch.
    init(_ answer: WebhookAnswer, of ids: Set<String>) {
        // Some libraries put a byte order mark before JSON (RFC 8259 §8.1 lets readers pass over it).
        let body = answer.body.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(answer.body.dropFirst(3)) : answer.body
        // Only an object can say it: "OK" and a web page are a 2xx and nothing more. What speaks of failures in any other
        // form is not to be taken for that.
        let first = body.first { !" \t\r\n".utf8.contains($0) }
        guard first == UInt8(ascii: "{") else {
            let isUnclear = body.firstRange(of: Array("batchItemFailures".utf8)) != nil || first == nil && answer.bodyTruncated
            self = isUnclear ? .malformed("speaks of batchItemFailures and is no JSON object") : .taken
            return
        }
        do {
            let named = try body.withUnsafeBytes { (bytes) throws(JSONError) in try SinkBatchAnswer.read(bytes) }
            if let stranger = named.first(where: { !ids.contains($0) }) {
                self = .malformed("names \"\(printable(stranger))\", which is not in the batch")
            } else {
                self = named.isEmpty ? .taken : .failed(Set(named))
            }
        } catch {
            self = .malformed(answer.bodyTruncated ? "is longer than what is kept of it" : "can't be read: \(error)")
        }
    }

    private static func read(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> [String] {
        var reader = JSONReader(bytes)
        var named: [String] = []
        try reader.enterObject()
        while let member = try reader.nextMember() {
            guard member == "batchItemFailures" else {
                try reader.skip()
                continue
            }
            if try reader.peek() == .null {
                try reader.null()
                continue
            }
            try reader.enterArray()
            while try reader.nextElement() { named.append(try identifier(&reader)) }
        }
        try reader.end()
        return named
    }

    /// Without one it is none that is in the batch.
    private static func identifier(_ reader: inout JSONReader) throws(JSONError) -> String {
        var identifier = ""
        try reader.enterObject()
        while let member = try reader.nextMember() {
            if member == "itemIdentifier" { identifier = try reader.string().text() } else { try reader.skip() }
        }
        return identifier
    }
}
