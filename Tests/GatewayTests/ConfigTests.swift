// The configuration: where values come from, and that every refusal names the key, the place and the cure.

import Glibc
import Testing

@testable import Gateway

/// A file that is gone with the test.
final class TemporaryFile {
    let path: String

    init(_ text: String) throws {
        var template = Array("/tmp/sluice-test-XXXXXX".utf8CString)
        let file = mkstemp(&template)
        try #require(file >= 0)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let written = Array(text.utf8).withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        close(file)
        try #require(written == text.utf8.count)
    }

    deinit { unlink(path) }
}

/// Loads `yaml` as the file.
private func load(_ yaml: String, _ arguments: [String] = [], _ environment: [String: String] = [:]) throws -> Config {
    let file = try TemporaryFile(yaml)
    return try Config.load(arguments: ["--config", file.path] + arguments, environment: environment)
}

/// What is said against `yaml`, without the file's name.
private func refusal(_ yaml: String, _ arguments: [String] = [], _ environment: [String: String] = [:]) throws -> String {
    let file = try TemporaryFile(yaml)
    let error = #expect(throws: ConfigError.self) {
        try Config.load(arguments: ["--config", file.path] + arguments, environment: environment)
    }
    return (error?.description ?? "").split(separator: file.path, omittingEmptySubsequences: false).joined(separator: "file")
}

struct ConfigTests {
    @Test func `without anything the defaults of the contract hold`() throws {
        let config = try load("")
        #expect(config.host == "127.0.0.1" && config.port == 8080 && config.redis == nil && config.fsync == .everysec)
        #expect(config.limits.block == .milliseconds(50_000) && config.lease == .milliseconds(30_000))
        #expect(config.poll == .milliseconds(100) && config.limits.redisTimeout == .milliseconds(5000))
        #expect(config.limits.count == 10_000 && config.limits.batch == 10_000 && config.limits.bodyBytes == 16 << 20)
        #expect(config.tokens.isEmpty && config.sinks.isEmpty && !config.logsRequests)
    }

    @Test func `the command line wins over the environment, that over the file`() throws {
        let yaml = "port: 1\nlease_ms: 1\npoll_ms: 11\nlimits: {max_count: 1}"
        let config = try load(yaml, ["--port=3", "--max-count", "3"], ["SLUICE_PORT": "2", "SLUICE_LEASE_MS": "2"])
        #expect(config.port == 3 && config.limits.count == 3)
        #expect(config.lease == .milliseconds(2))
        #expect(config.poll == .milliseconds(11))
        #expect(config.places["port"]?.source == "--port" && config.places["lease_ms"]?.source == "SLUICE_LEASE_MS")
        #expect(config.places["poll_ms"]?.line == 3)
    }

    @Test func `the data directory follows the XDG specification`() throws {
        #expect(try load("", [], ["XDG_STATE_HOME": "/s", "HOME": "/h"]).dataDirectory == "/s/sluice")
        #expect(try load("", [], ["XDG_STATE_HOME": "s", "HOME": "/h"]).dataDirectory == "/h/.local/state/sluice")
        #expect(try load("", [], ["HOME": "/h"]).dataDirectory == "/h/.local/state/sluice")
        #expect(try load("data_dir: ~/d", [], ["HOME": "/h"]).dataDirectory == "/h/d")
    }

    @Test func `flags and lists can be given in one word`() throws {
        let config = try load(
            "", ["--log-requests", "--allowed-origins", "https://a.example,https://b.example"], ["SLUICE_ALLOWED_HOSTS": "x.local"])
        #expect(config.logsRequests)
        #expect(config.allowedOrigins == ["https://a.example", "https://b.example"])
        #expect(config.allowedHosts == ["x.local"])
        #expect(try load("log_requests: true", ["--log-requests=false"]).logsRequests == false)
    }

    @Test(arguments: [
        ("prot: 80", "file:1: prot: unknown key \"prot\"; did you mean \"port\"?"),
        ("a: 1\nlimits:\n  max_cuont: 5", "file:3: limits.max_cuont: unknown key \"max_cuont\"; did you mean \"max_count\"?"),
        ("port: eighty", "file:1: port: expected a whole number from 0 to 65535, found \"eighty\""),
        ("port: '80'", "file:1: port: expected a whole number from 0 to 65535, found the text \"80\""),
        ("port: 65536", "expected a whole number from 0 to 65535"), ("port:", "found nothing"), ("port: [1]", "found a list"),
        ("lease_ms: 30s", "file:1: lease_ms: expected whole milliseconds from 1 to"), ("lease_ms: 1.5", "whole milliseconds"),
        ("log_requests: yes", "log_requests: expected true or false, found \"yes\""),
        ("fsync: sometimes", "fsync: expected one of everysec, always, found \"sometimes\""),
        ("host: {}", "host: expected text, found a map"), ("[]", "expected a map"), ("port: 1\nport: 2", "given twice: port"),
        ("port: [", "not YAML"), ("a:\n\tb: 1", "not YAML"), ("limits: 5", "limits: expected a map"),
        ("redis: localhost:6379", "redis: expected a URL as redis://"), ("redis: 'redis://:hush@h:99999'", "A port is a number"),
        ("redis: rediss://h", "not supported"),
        ("allowed_origins: [https://a.example/]", "expected origins as"), ("allowed_origins: '*'", "expected origins as"),
        ("limits: {max_connections: 999999999}", "limits.max_connections: the process may only have"),
    ])
    func `a refusal names the key, the line and the cure`(yaml: String, words: String) throws {
        let text = try refusal(yaml)
        #expect(text.contains(words), "\(text)")
    }

    @Test func `all mistakes are told at once`() throws {
        let text = try refusal("port: x\nhots: y\nlimits: {max_ids: 0}\nsinks: {s: {}}", ["--loops", "0"])
        for key in ["port", "hots", "limits.max_ids", "--loops", "sinks.s: \"streams\" is missing", "sinks.s: \"url\" is missing"] {
            #expect(text.contains(key), "\(text)")
        }
    }

    @Test(arguments: [
        (["--prot", "1"], "--prot: unknown option; did you mean --port?"), (["--port"], "--port: expected a value after it"),
        (["extra"], "extra: unknown option"), (["--port", "1", "--port", "2"], "--port: given twice"),
    ])
    func `a wrong command line is wrong usage`(arguments: [String], words: String) throws {
        let error = #expect(throws: ConfigError.self) { try Config.load(arguments: arguments, environment: [:]) }
        #expect(error?.isUsage == true)
        #expect(error?.description.contains(words) == true)
    }

    @Test func `the environment is held to its names, but for those that Kubernetes gives a Service called sluice`() throws {
        #expect(try refusal("", [], ["SLUICE_PROT": "1"]).contains("SLUICE_PROT: unknown option; did you mean SLUICE_PORT?"))
        let config = try load("", [], [
            "SLUICE_PORT": "tcp://10.0.0.1:8080", "SLUICE_SERVICE_HOST": "10.0.0.1", "SLUICE_PORT_8080_TCP_ADDR": "10.0.0.1",
            "SLUICE_SERVICE_PORT_HTTP": "8080",
        ])
        #expect(config.port == 8080)
    }

    @Test func `an address that others can reach needs tokens, or the words`() throws {
        let token = "tokens: [{name: a, sha256: \(String(repeating: "0f", count: 32)), scopes: [admin]}]"
        for host in ["0.0.0.0", "::", "10.0.0.1", "example.com", "127.0.0.1.example.com"] {
            #expect(try refusal("host: \"\(host)\"").contains("file:1: host: others can reach \(host)"))
            #expect(try load("host: \"\(host)\"\n\(token)").tokens.count == 1)
            #expect(try load("host: \"\(host)\"\ninsecure_no_auth: true").isOpenToAll)
        }
        for host in ["127.0.0.1", "127.1.2.3", "localhost", "::1"] { #expect(try load("host: \"\(host)\"").host == host) }
    }

    @Test func `tokens are read, and their secrets are not`() throws {
        let file = try TemporaryFile("secret\n")
        let config = try load(
            """
            tokens:
              - {name: shop, sha256: \(String(repeating: "a0", count: 32)), scopes: [publish], streams: ["orders:*"]}
              - {name: ops, file: \(file.path), scopes: [admin, consume]}
              - {name: ci, env: CI_TOKEN, scopes: [consume]}
            """, [], ["CI_TOKEN": "x"])
        #expect(config.tokens.map(\.secret) == [.sha256(Array(repeating: 0xA0, count: 32)), .file(file.path), .environment("CI_TOKEN")])
        #expect(config.tokens[0].streams == ["orders:*"] && config.tokens[1].streams == ["*"])
        #expect(config.tokens[1].scopes == [.admin, .consume])
        #expect(!config.yaml.contains("a0a0"))
    }

    @Test(arguments: [
        ("{name: a, scopes: [admin]}", "needs one of sha256, file and env"),
        ("{name: a, env: A, file: B, scopes: [admin]}", "needs one of sha256, file and env"),
        ("{name: a, sha256: abc, scopes: [admin]}", "64 hexadecimal digits"), ("{env: A, scopes: [admin]}", "\"name\" is missing"),
        ("{name: a, token: hush, scopes: [admin]}", "a token is not written into the file"),
        ("{name: a, env: A}", "\"scopes\" is missing"), ("{name: a, env: A, scopes: []}", "at least one of"),
        ("{name: a, env: A, scopes: [write]}", "tokens[0].scopes[0]: expected one of publish, consume, admin"),
        ("{name: a, env: A, scopes: [admin], stream: x}", "did you mean \"streams\"?"),
        ("{name: a, env: NOT_THERE, scopes: [admin]}", "the environment has no NOT_THERE"),
        ("{name: a, file: /not/there, scopes: [admin]}", "/not/there: No such file"),
    ])
    func `a wrong token is refused without its secret`(token: String, words: String) throws {
        let text = try refusal("tokens: [\(token)]")
        #expect(text.contains(words), "\(text)")
        #expect(!text.contains("hush"))
    }

    @Test func `no password shows in a refusal or in the effective configuration`() throws {
        #expect(!(try refusal("redis: 'rdis://u:hush@h'").contains("hush")))
        #expect(!(try refusal("redis: 'redis://u:hush@h:x'").contains("hush")))
        #expect(try load("redis: redis+unix:///run/redis.sock?db=2").redis == "redis+unix:///run/redis.sock?db=2")
        let yaml = try load("redis: 'redis://u:hush@h:6379/0'").yaml
        #expect(yaml.contains("redis://u:••••@h:6379/0") && !yaml.contains("hush"))
    }

    @Test func `options of the private Redis are refused beside another`() throws {
        #expect(try refusal("redis: redis://h\nfsync: always").contains("file:2: fsync: is for the private Redis"))
    }

    @Test func `the effective configuration reads back as itself`() throws {
        let config = try load("port: 81\nallowed_hosts: [a.b, \"x:y\"]\nlimits: {max_ids: 7}\nlog_level: debug\nmax_block_ms: 0")
        let again = try load(config.yaml)
        for option in ConfigOption.all { #expect(option.show(again) == option.show(config), "\(option.key)") }
    }

    @Test func `every option has names of its own, a help sentence and a default that it takes itself`() throws {
        let options = ConfigOption.all
        #expect(Set(options.map(\.name)).count == options.count)
        for option in options {
            #expect(option.help.hasSuffix(".") && Config.help.contains(option.flag), "\(option.key)")
            #expect(option.environment == "SLUICE_" + option.flag.dropFirst(2).replacing("-", with: "_").uppercased())
        }
    }

    @Test func `a missing file is refused by its name`() throws {
        let error = #expect(throws: ConfigError.self) { try Config.load(arguments: ["--config", "/not/there"], environment: [:]) }
        #expect(error?.description == "--config: /not/there: No such file or directory")
        #expect(error?.isUsage == false)
    }

    @Test func `names are guessed within two edits`() {
        #expect(nearestName(to: "claim_min_idel_ms", among: ["count", "claim_min_idle_ms"]) == "claim_min_idle_ms")
        #expect(nearestName(to: "cuont", among: ["count"]) == "count")
        #expect(nearestName(to: "min_idle", among: ["count", "min_idle_ms"]) == "min_idle_ms")
        #expect(nearestName(to: "x", among: ["id"]) == nil)
        #expect(nearestName(to: "whatever", among: ["count", "block_ms"]) == nil)
        #expect(editDistance(Array("kitten".utf8), Array("sitting".utf8)) == 3)
        #expect(editDistance(Array("ca".utf8), Array("ac".utf8)) == 1)
        #expect(editDistance([], Array("abc".utf8)) == 3)
    }
}
