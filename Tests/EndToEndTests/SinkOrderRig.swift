// What the tests of ordered sinks share: messages with a key, and the oracle over what the receiver got.

import Support
import Testing

extension SinkRig {
    /// Keys of a sink that keeps the order of the field `key`.
    static func ordered(_ more: [String: String] = [:]) -> [String: String] {
        ["order_by": "key", "max_held": "500"].merging(more) { _, own in own }
    }

    /// A lease that gateways get over soon.
    static func brief(_ more: [String: String] = [:]) -> [String: String] {
        ["lease_ms": "1500", "timeout_ms": "400", "connect_timeout_ms": "300"].merging(more) { _, own in own }
    }

    @discardableResult
    func add(_ text: String = "200", key: String?) throws -> String {
        let reply = try redis.run(["XADD", SinkRig.stream, "*", "do", text] + (key.map { ["key", $0] } ?? []))
        return String(reply.split(whereSeparator: \.isNewline).last ?? "")
    }

    /// `count` messages of `keys` keys by turns.
    func add(count: Int, keys: Int) throws -> [String] { try (0..<count).map { try add(key: "\($0 % keys)") } }

    /// Of a key, a message comes only when those before it are done with: it may come again, and none before it ever does.
    func expectOrder(_ note: String = "", wholeStream: Bool = false, except exempt: Set<String> = [], sourceLocation: SourceLocation = #_sourceLocation) {
        var latest: [String: (order: [Int], id: String)] = [:]
        for delivery in receiver.deliveries where !delivery.isAbandoned && !exempt.contains(delivery.message) {
            guard let key = wholeStream ? "" : delivery.json["fields"]["key"].string else { continue }
            let order = delivery.message.split(separator: "-").compactMap { Int($0) }
            if let before = latest[key], order.lexicographicallyPrecedes(before.order) {
                Issue.record("key \(key): \(delivery.message) came after \(before.id) \(note)", sourceLocation: sourceLocation)
                return
            }
            latest[key] = (order, delivery.message)
        }
    }

    /// The gateway that delivers now, and the others.
    func leader(of gateways: [GatewayProcess]) throws -> (leader: GatewayProcess, others: [GatewayProcess]) {
        var found: Int?
        try wait("one of them has the lease") {
            found = try gateways.firstIndex { try metric("sluice_sink_lease", $0) == 1 }
            return found != nil
        }
        let place = try #require(found)
        return (gateways[place], gateways.enumerated().filter { $0.offset != place }.map(\.element))
    }
}
