// A master fails and a replica takes its place under the same address, here a link to the socket of whoever is master.
// Who waits goes on waiting, and gets what the new master has.

import Glibc
import Support
import Testing

@Suite(.blocking, .serialized) struct FailoverTests {
    private let folder: TemporaryDirectory
    private let master: RedisServerProcess
    private let replica: RedisServerProcess
    private let gateway: GatewayProcess
    private let client: TestClient

    init() throws {
        folder = try TemporaryDirectory()
        let path = folder.path
        master = try RedisServerProcess(options: ["--unixsocket", "\(path)/a.sock"], onPort: true)
        replica = try RedisServerProcess(
            options: ["--unixsocket", "\(path)/b.sock", "--replicaof", "127.0.0.1", "\(master.port ?? 0)", "--repl-diskless-sync-delay", "0"],
            onPort: true)
        try replica.waitUntilSynced()
        symlink("\(path)/a.sock", "\(path)/master.sock")
        gateway = try GatewayProcess(["--redis", "unix://\(path)/master.sock", "--loops", "2"])
        client = TestClient(port: gateway.port)
        try waitUntil("the gateway reaches Redis") { [client] in try client.get("/readyz").status == 200 }
    }

    private func park(_ count: Int) throws -> [PendingReply] {
        try client.put("/v1/streams/s/groups/g?mkstream").expect(201)
        let readers = (0..<count).map { client.begin("POST", "/v1/streams/s/groups/g/consumers/c\($0)/read?count=1&block_ms=0") }
        try waitUntil("all are parked") { try client.get("/v1/info").json["waiters"]["parked"].integer == count }
        return readers
    }

    private func wait(for readers: [PendingReply]) throws -> [String] {
        try readers.flatMap { try $0.wait().numbers }.sorted()
    }

    @Test func `a replica that is promoted in its dead master's place serves those who wait`() throws {
        let readers = try park(3)
        try waitUntil("the replica has the group") { try replica.run("EXISTS", "s").hasPrefix(":1") }
        try waitUntil("and all that was written") { try replica.isLevel(with: master) }
        master.end()
        try replica.run("REPLICAOF", "NO", "ONE")
        // What is added before the gateway is there is told by nobody.
        for number in 0..<2 { try replica.run("XADD", "s", "*", "n", "\(number)") }
        rename(to: "b")
        try waitUntil("two are served") { readers.filter(\.isDone).count == 2 }
        try replica.run("XADD", "s", "*", "n", "2")
        #expect(try wait(for: readers) == ["0", "1", "2"])
    }

    @Test func `a master that is made a replica and a master again has lost no wake-up`() throws {
        let readers = try park(2)
        try waitUntil("the replica has all") { try replica.isLevel(with: master) }
        try replica.run("REPLICAOF", "NO", "ONE")
        try master.run("REPLICAOF", "127.0.0.1", "\(replica.port ?? 0)")
        try master.waitUntilSynced()
        // The gateway hears of it, through the replication, and can't read: its Redis is read-only.
        let refused = try master.refusals()
        try replica.run("XADD", "s", "*", "n", "0")
        try waitUntil("a look was refused") { try master.refusals() > refused }
        try waitUntil("it has come") { try master.run("XLEN", "s").hasPrefix(":1") }
        #expect(try client.get("/v1/info").json["waiters"]["parked"] == 2)
        try master.run("REPLICAOF", "NO", "ONE")
        try master.run("XADD", "s", "*", "n", "1")
        #expect(try wait(for: readers) == ["0", "1"])
    }

    private func rename(to name: String) {
        let path = folder.path
        unlink("\(path)/master.sock")
        symlink("\(path)/\(name).sock", "\(path)/master.sock")
    }
}

extension RedisServerProcess {
    fileprivate func waitUntilSynced() throws {
        try waitUntil("it follows its master") { try info("replication")["master_link_status"] == "up" }
    }

    /// Commands that it did not execute: its connection takes them, and it is read-only.
    fileprivate func refusals() throws -> Int {
        try info("errorstats").values.compactMap { Int($0.dropFirst("count=".count)) }.reduce(0, +)
    }

    fileprivate func isLevel(with master: RedisServerProcess) throws -> Bool {
        let wanted = try master.info("replication")["master_repl_offset"].flatMap { Int($0) } ?? .max
        return try info("replication")["slave_repl_offset"].flatMap { Int($0) } ?? -1 >= wanted
    }
}
