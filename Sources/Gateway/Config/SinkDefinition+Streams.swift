// What a sink reads (`streams`), and where its dead letters go. A name with `*`, `?` or `[` in it is a glob; what it matches is
// looked for in Redis every `sink_scan_ms` (`SinkRoster+Finding`).

extension SinkDefinition {
    /// Streams that are read whether they are there or not.
    var names: [String] { streams.filter { !Glob.isGlob($0) } }

    /// Streams that are read while they are there.
    var globs: [Glob] { streams.filter(Glob.isGlob).map { Glob($0) } }

    /// Whether it names the stream, or a glob of its matches it.
    func mayRead(_ stream: String) -> Bool { streams.contains(stream) || globs.contains { $0.matches(Array(stream.utf8)) } }

    /// The dead-letter stream of messages of `stream`; nil where there is none.
    func deadLetterStream(of stream: String) -> String? { deadLetterPattern?.name(stream) }

    /// All dead-letter streams that it may have.
    var deadLetterStreams: [Glob] {
        guard let pattern = deadLetterPattern else { return [] }
        return streams.map { Glob.isGlob($0) ? pattern.glob($0) : Glob(literal: pattern.name($0)) }
    }

    /// `{stream}` stands for the stream the message came from, once.
    private struct DeadLetterPattern {
        var before: Substring
        var after: Substring?

        func name(_ stream: String) -> String { after.map { before + stream + $0 } ?? String(before) }
        func glob(_ streams: String) -> Glob {
            Glob(after.map { Glob.escaped(before) + streams + Glob.escaped($0) } ?? Glob.escaped(before))
        }
    }

    private var deadLetterPattern: DeadLetterPattern? {
        guard case .stream(let pattern) = deadLetter else { return nil }
        guard let place = pattern.firstRange(of: "{stream}") else { return DeadLetterPattern(before: pattern[...], after: nil) }
        return DeadLetterPattern(before: pattern[..<place.lowerBound], after: pattern[place.upperBound...])
    }

    // MARK: Reading the key

    static func streamNames(_ node: ConfigNode) throws(ConfigProblem) -> [String] {
        let nodes = try node.list()
        guard !nodes.isEmpty else { throw node.problem("expected at least one stream") }
        guard nodes.count <= Limits.sinkStreams else {
            throw node.problem("a sink names at most \(Limits.sinkStreams) streams and globs, not \(nodes.count)")
        }
        var names: [String] = []
        for node in nodes {
            let name = try redisName(node)
            if Glob.isGlob(name), let problem = Glob.problem(name) { throw node.problem("\"\(printable(name))\" is no glob: \(problem)") }
            guard !names.contains(name) else { throw node.problem("\"\(printable(name))\" is named twice") }
            names.append(name)
        }
        return names
    }

    func checkStreams(_ reader: ConfigMapReader) {
        for stream in streams where deadLetterStream(of: stream) == stream {
            reader.object("dead_letter", "is \"\(printable(stream))\", which the sink reads itself")
        }
    }
}
