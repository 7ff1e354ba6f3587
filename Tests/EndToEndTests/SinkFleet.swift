// What the tests of sinks over HTTP share: a Redis, a receiver, and two gateways in front of the one Redis, whose
// configuration has one sink of its own.

import Support
import Testing

final class SinkFleet {
    static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    static let configuration = """
        sink_networks: [127.0.0.0/8]
        sinks:
          fixed: {streams: [fixed], url: 'http://127.0.0.1:1/', allow_networks: [127.0.0.0/8], headers: {Authorization: Bearer hush}, secrets: [\(secret)]}

        """

    let redis: RedisServerProcess
    let receiver: Receiver
    private(set) var gateways: [GatewayProcess] = []
    private var clients: [TestClient] = []
    private let configuration: String

    init(
        gateways count: Int = 2, configuration: String = SinkFleet.configuration,
        _ script: @escaping @Sendable (Receiver.Delivery) -> Receiver.Answer = { _ in .status(200) }
    ) throws {
        redis = try RedisServerProcess()
        receiver = try Receiver(script)
        self.configuration = configuration
        for _ in 0..<count { try addGateway() }
    }

    deinit { receiver.stop() }

    @discardableResult
    func addGateway() throws -> GatewayProcess {
        let gateway = try GatewayProcess(
            ["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "2"], configuration: configuration)
        gateways.append(gateway)
        let client = TestClient(port: gateway.port)
        clients.append(client)
        try waitUntil("the gateway reaches Redis") { try client.get("/metrics").text.contains("sluice_redis_connected 2\n") }
        return gateway
    }

    func client(_ index: Int) -> TestClient { clients[index] }

    static let patient = #""timeout_ms":10000,"connect_timeout_ms":5000,"lease_ms":20000"#
    /// For tests of deadlines and of leases that nobody gives back.
    static let hasty = #""timeout_ms":500,"connect_timeout_ms":300,"lease_ms":1000"#

    /// A definition with short times between attempts, and `more` members.
    func definition(
        _ more: String = "", url: String? = nil, streams: String = #"["orders"]"#, times: String = SinkFleet.patient
    ) -> String {
        #"{"streams":\#(streams),"url":"\#(url ?? receiver.url)","start":"earliest","allow_networks":["127.0.0.0/8"],\#(times),"retry":{"base_ms":100,"max_ms":400,"factor":1.5}"#
            + (more.isEmpty ? "" : ",\(more)") + "}"
    }

    @discardableResult
    func put(_ name: String, _ json: String? = nil, on index: Int = 0) throws -> Reply {
        try client(index).call("PUT", "/v1/sinks/\(name)", json: json ?? definition())
    }

    func show(_ name: String, on index: Int = 0) throws -> JSON { try client(index).get("/v1/sinks/\(name)").expect(200).json }

    @discardableResult
    func add(_ text: String = "x", to stream: String = "orders") throws -> String {
        let reply = try redis.run("XADD", stream, "*", "do", text)
        return String(reply.split(whereSeparator: \.isNewline).last ?? "")
    }

    /// The codes of the reasons that the sink is shown with.
    func reasons(_ name: String, on index: Int = 0) throws -> [String] {
        try show(name, on: index)["reasons"].array.compactMap { $0["code"].string }
    }

    func waitForReason(_ code: String, of name: String, on index: Int = 0) throws {
        do {
            try waitUntil("\(name) is shown with \(code)") { try reasons(name, on: index).contains(code) }
        } catch {
            Issue.record("\(try show(name, on: index)) \(gateways.map(\.log))")
            throw error
        }
    }

    func keys(_ pattern: String) throws -> [String] {
        try redis.run("KEYS", pattern).split(whereSeparator: \.isNewline).map(String.init).filter { $0.hasPrefix("sluice") }
    }
}
