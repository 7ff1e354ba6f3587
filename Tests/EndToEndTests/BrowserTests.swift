// Live tails as a browser follows them: a page's own EventSource, in a real Chromium, through nginx. It is cut off and comes
// back by itself, which is what `id:`, `Last-Event-ID` and `retry:` are for.

import Foundation
import Glibc
import Net
import Support
import Testing

@Suite(.blocking, .serialized) struct BrowserTests {
    /// Follows what its address says and tells what it saw, each time all of it. With `ack` it acknowledges there what it got.
    private static let page = """
        <!doctype html><title>Follows</title><script>
        const query = new URLSearchParams(location.search)
        const saw = { opened: 0, ids: [], numbers: [], odd: [] }
        const tell = () => fetch("/report", { method: "POST", body: JSON.stringify(saw) })
        const source = new EventSource(query.get("follow"))
        source.onopen = () => { saw.opened++; tell() }
        source.onmessage = event => {
            const message = JSON.parse(event.data)
            saw.ids.push(event.lastEventId)
            saw.numbers.push(message.fields.n)
            if (event.lastEventId != message.id) saw.odd.push(message.id)
            tell()
            if (query.get("ack")) fetch(query.get("ack") + "?id=" + message.id, { method: "POST" })
        }
        for (const name of ["gap", "reset"]) source.addEventListener(name, () => saw.odd.push(name))
        source.onerror = event => {
            if (event.data || source.readyState == EventSource.CLOSED) { saw.odd.push(event.data || "closed"); tell() }
        }
        </script>
        """

    /// A page that is open for as long as this lives.
    private final class Browser {
        private let directory: TemporaryDirectory
        private let process: ProcessDescriptor

        init(_ address: String) throws {
            directory = try TemporaryDirectory()
            // Debian's own name for it is a script, and that would be what is ended. Without a sandbox: that wants what a
            // container does not give to root.
            process = try ProcessDescriptor.spawn(
                "/usr/lib/chromium/chromium-headless-shell",
                [
                    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=\(directory.path)/profile",
                    "--remote-debugging-port=0", address,
                ], output: "\(directory.path)/output")
        }

        deinit {
            process.send(SIGTERM)
            if !process.waitForEnd(atMost: .seconds(10)) { process.send(SIGKILL) }
            _ = process.waitForEnd(atMost: .seconds(10))
            _ = process.reap()
        }
    }

    /// Two gateways of one Redis behind nginx, which also serves the page, and where its reports go.
    private final class Site {
        let redis: RedisServerProcess
        var gateways: [GatewayProcess]
        let reports: Receiver
        let nginx: Nginx

        init() throws {
            let redis = try RedisServerProcess()
            self.redis = redis
            reports = try Receiver()
            gateways = try (0..<2).map { _ in try Site.newGateway(redis, port: 0) }
            nginx = try Nginx(gateways.map(\.port), pages: ["page.html": BrowserTests.page], reports: reports.port)
        }

        private static func newGateway(_ redis: RedisServerProcess, port: UInt16) throws -> GatewayProcess {
            try GatewayProcess(["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "1", "--port", "\(port)"])
        }

        func open(_ query: String) throws -> Browser { try Browser("http://127.0.0.1:\(nginx.port)/page.html?\(query)") }

        func add(_ number: Int, to stream: String) throws { try redis.run("XADD", stream, "*", "n", "\(number)") }

        /// The page's last word.
        func report() -> JSON { reports.deliveries.map(\.json).max { BrowserTests.progress($0) < BrowserTests.progress($1) } ?? .null }

        /// Waits until the page has seen all messages up to a number, and has been connected so often.
        func wait(seen number: Int, opened: Int) throws {
            try waitUntil("the page has seen \(number) and is connected for the \(opened)th time: \(report())") {
                let report = report()
                return Set(report["numbers"].array.compactMap { $0.string }).count >= number && (report["opened"].integer ?? 0) >= opened
            }
        }

        /// Ends the gateway that the page follows, and starts another in its place.
        func replaceTheOneInUse(_ signal: Int32) throws {
            let index = try #require(
                try gateways.firstIndex { try TestClient(port: $0.port).get("/v1/info").json["waiters"]["parked"].integer == 1 })
            let port = gateways[index].port
            gateways[index].send(signal)
            #expect(gateways[index].waitForEnd() == (signal == SIGTERM ? 0 : -signal))
            gateways[index] = try Site.newGateway(redis, port: port)
        }
    }

    private static func progress(_ report: JSON) -> Int { (report["opened"].integer ?? 0) + report["ids"].array.count + report["odd"].array.count }

    @Test func `a page that is cut off again and again misses nothing and sees nothing twice`() throws {
        let site = try Site()
        try site.add(1, to: "news")
        let browser = try site.open("follow=/v1/streams/news/messages?after=earliest")
        try site.wait(seen: 1, opened: 1)
        try site.add(2, to: "news")
        try site.wait(seen: 2, opened: 1)
        // Each time it has to come back by itself, for what came meanwhile.
        let cuts: [() throws -> Void] = [
            { try site.replaceTheOneInUse(SIGKILL) },
            {
                site.nginx.kill()
                try site.add(100, to: "elsewhere")
                try site.nginx.start()
            },
            { try site.replaceTheOneInUse(SIGTERM) },
        ]
        for (index, cut) in cuts.enumerated() {
            try site.add(3 * index + 3, to: "news")
            try cut()
            try site.add(3 * index + 4, to: "news")
            try site.wait(seen: 3 * index + 4, opened: index + 2)
            try site.add(3 * index + 5, to: "news")
            try site.wait(seen: 3 * index + 5, opened: index + 2)
        }
        let report = site.report()
        #expect(report["numbers"].array.map(\.string) == (1...11).map { "\($0)" })
        #expect(report["odd"].array.isEmpty && report["opened"] == 4, "\(report)")
        withExtendedLifetime(browser) {}
    }

    @Test func `a page that works as a consumer gets each message, and what it was cut off from comes again`() throws {
        let site = try Site()
        try site.redis.run("XGROUP", "CREATE", "jobs", "g", "0", "MKSTREAM")
        let group = "/v1/streams/jobs/groups/g"
        let browser = try site.open("follow=\(group)/consumers/page/messages%3Fmax_pending=2&ack=\(group)/ack")
        try site.wait(seen: 0, opened: 1)
        for number in 1...10 { try site.add(number, to: "jobs") }
        try site.wait(seen: 10, opened: 1)
        try site.replaceTheOneInUse(SIGTERM)
        for number in 11...20 { try site.add(number, to: "jobs") }
        try site.wait(seen: 20, opened: 2)
        try waitUntil("all is acknowledged") { try site.redis.ask(["XPENDING", "jobs", "g"]).elements.first?.integer == 0 }
        #expect(site.report()["odd"].array.isEmpty, "\(site.report())")
        withExtendedLifetime(browser) {}
    }
}
