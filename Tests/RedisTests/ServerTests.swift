// Which server the tests run on: deploy/test says `SLUICE_REDIS_NAME`, and a run on another server proves nothing.

import Glibc
import Support
import Testing

@testable import Redis

@Suite(.blocking) struct ServerTests {
    private static let wanted = getenv("SLUICE_REDIS_NAME").map { String(cString: $0) }

    @Test(.enabled(if: wanted != nil, "any server will do"))
    func `the server is the one that was asked for, for the gateway's own too`() throws {
        let wanted = try #require(ServerTests.wanted)
        let server = try RedisServerProcess()
        #expect(try name(server.run("INFO", "server")) == wanted)

        let own = try ServerLaunch.find(nil, path: ServerLaunch.searchPath)
        #expect(resolved(own) == resolved(try #require(getenv("SLUICE_REDIS_SERVER").map { String(cString: $0) })))
    }

    private func resolved(_ path: String) -> String? {
        guard let found = realpath(path, nil) else { return nil }
        defer { free(found) }
        return String(cString: found)
    }

    /// As `--redis` of deploy/test has it.
    private func name(_ info: String) throws -> String {
        func value(_ name: String) -> Substring? {
            info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }?.split(separator: ":").last
        }
        if let version = value("valkey_version") { return "valkey-\(version.prefix { $0 != "." })" }
        return try #require(value("redis_version")).split(separator: ".").prefix(2).joined(separator: ".")
    }
}
