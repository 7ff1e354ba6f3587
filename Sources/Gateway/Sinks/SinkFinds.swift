// What a walk over Redis' keys has found for a sink's globs. It is kept in the sink's hash (`SinkMarkScripts`), for each group its
// own: a gateway that starts reads the streams at once, and knows of those that were passed over that they are not new.

struct SinkFinds: Equatable {
    /// Those that are read, in the order in which they were found.
    var streams: [String] = []
    /// Dead-letter streams that match. What is in one is not meant, also when it is none any more.
    private(set) var excluded: Set<String> = []
    /// Streams that match, and that Redis' ACL keeps from us till now.
    private(set) var refused: Set<String> = []

    init() {}

    /// Of those that are passed over a thousand each are kept; one of the others counts as new when it may be read.
    init(_ streams: [String], excluded: Set<String>, refused: Set<String>) {
        func some(_ names: Set<String>) -> Set<String> { Set(names.sorted().prefix(Limits.sinkStreamsFound)) }
        (self.streams, self.excluded, self.refused) = (streams, some(excluded), some(refused))
    }

    /// It was there before, and was not read.
    func passedOver(_ name: String) -> Bool { excluded.contains(name) || refused.contains(name) }

    /// At the start of a walk: `streams` are read from here on, and others may know more of those that are passed over.
    mutating func begin(_ streams: [String], with kept: SinkFinds) {
        self = SinkFinds(streams, excluded: excluded.union(kept.excluded), refused: refused.union(kept.refused))
    }

    // MARK: In Redis

    /// Its field in the sink's hash.
    static func field(_ definition: SinkDefinition) -> String { "streams \(definition.group)" }

    var json: String {
        func list(_ names: some Sequence<String>) -> String { "[\(names.map(jsonText).joined(separator: ","))]" }
        return "{\"streams\":\(list(streams)),\"excluded\":\(list(excluded.sorted())),\"refused\":\(list(refused.sorted()))}"
    }

    /// Empty for what no gateway has written.
    init(json bytes: UnsafeRawBufferPointer) {
        let row = JSONRow(bytes)
        func list(_ key: String) -> [String] { row?[key]?.elements.compactMap(\.text) ?? [] }
        self.init(list("streams"), excluded: Set(list("excluded")), refused: Set(list("refused")))
    }
}
