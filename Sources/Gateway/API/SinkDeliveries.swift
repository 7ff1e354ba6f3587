// A sink's latest attempts, and its test (API.md §6).

import HTTP
import Net
import Redis
import Webhook

extension API {
    /// `GET /v1/sinks/{name}/deliveries`
    func listDeliveries(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["status", "count"])
        let filter = try query.text("status").map { text throws(Problem) in try DeliveryFilter(text) }
        let count = try query.integer("count", in: 1...2 * Limits.sinkAttempts) ?? 100
        let name = try await findSink(call).name
        let lists = try await askAll([
            .lrange(GatewayKeys.sinkAttempts(name, failed: true)), .lrange(GatewayKeys.sinkAttempts(name, failed: false)),
        ])
        var rows: [(at: Int, json: String)] = []
        for list in lists {
            var elements = list.elements
            while let bytes = elements.takeBytes() {
                guard let row = JSONRow(bytes), filter?.lets(row) ?? true else { continue }
                rows.append((row["at_ms"]?.integer ?? 0, row.json))
            }
        }
        let latest = rows.sorted { $0.at > $1.at }.prefix(count)
        let body = newBody()
        body.append("{\"deliveries\":[\(latest.map(\.json).joined(separator: ","))]}")
        return json(body)
    }

    /// `POST /v1/sinks/{name}/test`
    func testSink(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        let sink = try await findSink(call)
        let body = newBody()
        do throws(SinkError) {
            let (result, outcome, id) = try await sendSample(try sink.runnable(config))
            writeTest(result, outcome, id, to: body)
        } catch {
            body.append("{\"outcome\":\"not_sent\",\"status\":null,\"ms\":0,\"error\":\(jsonText(error.problem)),\"webhook_id\":null,\"body\":null,\"body_truncated\":false}")
        }
        return json(body)
    }

    private func sendSample(_ definition: SinkDefinition) async throws(SinkError) -> (WebhookResult, SinkOutcome, String) {
        guard let outbound = sinks.host?.outbound else { throw SinkError(sink: definition.name, problem: "the gateway is starting") }
        var definition = definition
        definition.timeout = min(definition.timeout, limits.sinkTestTime)
        let resources = try SinkResources(definition)
        let wire = SinkWire(definition, stream: definition.streams[0], resources: resources)
        let wall = loop.clock.wallTime
        let sample = wire.sample(StreamID(UInt64(wall.milliseconds), 0))
        let request = wire.request(sample, deliveryCount: 1, wallTime: wall)
        let authorization = SinkAuthorization(definition, resources, loop, outbound, sinks.log)
        let result: WebhookResult = await withUnsafeContinuation { continuation in
            guard let authorization else { return outbound.send(request) { continuation.resume(returning: $0) } }
            authorization.post {
                wire.request(sample, deliveryCount: 1, wallTime: wall, authorization: $0)
            } done: {
                continuation.resume(returning: $0)
            }
        }
        let outcome = SinkOutcome(result.outcome, definition, wallTime: loop.clock.wallTime)
        return (result, outcome, request.fields.all.first { $0.0 == "webhook-id" }?.1 ?? "")
    }

    private func writeTest(_ result: WebhookResult, _ outcome: SinkOutcome, _ id: String, to body: ByteBuffer) {
        var (answer, isCut) = ("null", false)
        if case .answered(let reply) = result.outcome {
            answer = jsonText(String(decoding: reply.body.prefix(limits.sinkTestBody), as: UTF8.self))
            isCut = reply.bodyTruncated || reply.body.count > limits.sinkTestBody
        }
        body.append(
            "{\"outcome\":\"\(outcome.name)\",\"status\":\(outcome.status.json),\"ms\":\(result.duration.milliseconds),\"error\":\(outcome.error.isEmpty ? "null" : jsonText(outcome.error)),\"webhook_id\":\(jsonText(id)),\"body\":\(answer),\"body_truncated\":\(isCut)}"
        )
    }
}

extension FoundSink {
    /// As this replica would run it.
    fileprivate func runnable(_ config: Config) throws(SinkError) -> SinkDefinition {
        if isConfigured, let definition { return definition }
        do {
            let node = try stored.withUnsafeBytes { try ConfigNode.parse(json: $0, source: "Redis") }
            return try SinkDefinition.parse(name: name, node, by: .caller(config))
        } catch {
            throw SinkError(sink: name, problem: "\(error)")
        }
    }
}

/// `?status=`: a status, a class of them, `none` where no answer came, or `failed`.
private struct DeliveryFilter {
    private enum Kind {
        case status(ClosedRange<Int>)
        case none, failed
    }

    private let kind: Kind

    init(_ text: String) throws(Problem) {
        switch text {
        case "none": kind = .none
        case "failed": kind = .failed
        case _ where text.count == 3 && text.hasSuffix("xx"):
            guard let first = text.first?.wholeNumberValue, (1...5).contains(first) else { fallthrough }
            kind = .status(first * 100...first * 100 + 99)
        default:
            guard let status = Int(strictDigits: Array(text.utf8)), (100...599).contains(status) else {
                throw .parameter("status", "takes a status as 503, a class as 5xx, none (no answer came) or failed, not \(Array(text.utf8).quoted).")
            }
            kind = .status(status...status)
        }
    }

    func lets(_ row: JSONRow) -> Bool {
        let status = row["status"]?.integer
        return switch kind {
        case .status(let range): status.map { range.contains($0) } ?? false
        case .none: status == nil
        case .failed: row["outcome"]?.text != "success"
        }
    }
}
