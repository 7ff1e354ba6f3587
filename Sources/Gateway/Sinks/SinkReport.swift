// What one replica tells the others of a sink that it runs: kept in Redis for as long as it is told, so that whoever
// is asked can answer for all. Written and read by gateways alone, which may be of different versions.

import Net

struct SinkReport {
    /// The process, as hosts and people know it.
    var replica = ""
    var state = SinkStateName.running
    /// Ms since 1970: nothing is sent before.
    var until: Int?
    /// Why it can't be run here.
    var refusal: String?
    /// The name it reads under.
    var consumer = ""
    var failuresInARow = 0
    /// Ms since 1970.
    var lastSuccess: Int?
    /// A row of the deliveries, as JSON.
    var lastFailure: String?
    var lastStatus: Int?
    var lastError = ""
    /// No address of the target may be connected to.
    var isRefusedTarget = false
    /// Nothing more is read: so many are held already.
    var isFull = false
    /// Streams that its globs match beyond the limit.
    var leftOut = 0
    var problems: [(stream: String, detail: String)] = []
    var counters: [(name: String, count: Int)] = []

    func count(_ name: String) -> Int { counters.first { $0.name == name }?.count ?? 0 }
}

// MARK: In Redis

extension SinkReport {
    var json: [UInt8] {
        let problems = problems.map { "{\"stream\":\(jsonText($0.stream)),\"detail\":\(jsonText($0.detail))}" }
        let counters = counters.map { "\"\($0.name)\":\($0.count)" }
        let members = [
            "\"replica\":\(jsonText(replica))", "\"state\":\"\(state.rawValue)\"", "\"until_ms\":\(until.json)",
            "\"refusal\":\(refusal.map(jsonText) ?? "null")", "\"consumer\":\(jsonText(consumer))",
            "\"failures_in_a_row\":\(failuresInARow)", "\"last_success_ms\":\(lastSuccess.json)",
            "\"last_failure\":\(lastFailure ?? "null")", "\"last_status\":\(lastStatus.json)", "\"last_error\":\(jsonText(lastError))",
            "\"refused_target\":\(isRefusedTarget ? 1 : 0)", "\"full\":\(isFull ? 1 : 0)",
            "\"left_out\":\(leftOut)",
            "\"problems\":[\(problems.joined(separator: ","))]", "\"counters\":{\(counters.joined(separator: ","))}",
        ]
        return Array("{\(members.joined(separator: ","))}".utf8)
    }

    /// Nil for what no gateway has written.
    init?(json bytes: UnsafeRawBufferPointer) {
        guard let row = JSONRow(bytes), let replica = row["replica"]?.text else { return nil }
        self.replica = replica
        // A later version's word that we do not know is none that we can tell of.
        state = row["state"]?.text.flatMap { SinkStateName(rawValue: $0) } ?? .running
        until = row["until_ms"]?.integer
        refusal = row["refusal"]?.text
        consumer = row["consumer"]?.text ?? ""
        failuresInARow = row["failures_in_a_row"]?.integer ?? 0
        lastSuccess = row["last_success_ms"]?.integer
        lastFailure = row["last_failure"]?.members.isEmpty == false ? row["last_failure"]?.json : nil
        lastStatus = row["last_status"]?.integer
        lastError = row["last_error"]?.text ?? ""
        isRefusedTarget = row["refused_target"]?.integer == 1
        isFull = row["full"]?.integer == 1
        leftOut = row["left_out"]?.integer ?? 0
        problems = row["problems"]?.elements.map { ($0["stream"]?.text ?? "", $0["detail"]?.text ?? "") } ?? []
        counters = row["counters"]?.members.map { ($0.name, $0.value.integer ?? 0) } ?? []
    }
}
