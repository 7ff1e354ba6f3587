// The programs of deploy/examples, run as a user runs them: workers that are killed at random, started again
// and end with every payment made; and the watch over groups, which tells of a dead consumer.

import Foundation
import Net
import Support
import Testing

@Suite(.gateway()) struct ExampleTests {
    let rig = Rig.current

    @Test func `ten asyncio consumers a process, killed at random, make every payment`() throws {
        let crew = try Crew(rig) { stream, name in
            [
                PythonProgram.python, PythonProgram.root("deploy/examples/payment_workers.py"), "--url", "http://127.0.0.1:\(rig.port)", "--stream", stream,
                "--group", "g", "--name", name, "--consumers", "10", "--retry-every", "0.5", "--max-idle-ms", "1000",
            ]
        }
        try crew.work(["asyncio-a", "asyncio-b"])
    }

    @Test func `Node workers, killed at random, make every payment`() throws {
        let crew = try Crew(rig) { stream, name in
            [
                "/usr/bin/env", "SLUICE_URL=http://127.0.0.1:\(rig.port)", "STREAM=\(stream)", "GROUP=g", "RETRY_EVERY_MS=500",
                "MAX_IDLE_MS=1000", "node", PythonProgram.root("deploy/examples/payment-worker.mjs"), name,
            ]
        }
        try crew.work(["node-a", "node-b", "node-c"])
    }

    @Test func `workers of sh and curl, killed at random, make every payment`() throws {
        let crew = try Crew(rig, payments: 60) { stream, name in
            [
                "/usr/bin/env", "SLUICE_URL=http://127.0.0.1:\(rig.port)", "STREAM=\(stream)", "GROUP=g", "RETRY_EVERY=1",
                "MAX_IDLE_MS=1000", PythonProgram.root("deploy/examples/payment-worker.sh"), name,
            ]
        }
        try crew.work(["sh-a", "sh-b", "sh-c"])
    }

    @Test func `the watch tells of a consumer that holds messages and is dead, and of nothing else`() throws {
        let stream = try rig.newGroup("watched")
        try rig.add(1, to: stream)
        #expect(try rig.read(stream, "worker").ids.count == 1)
        let watch = PythonProgram.root("deploy/examples/watch_groups.py")
        let arguments = ["--url", "http://127.0.0.1:\(rig.port)", "--once", "--stream", stream]
        let alive = try PythonProgram.run(watch, arguments + ["--dead-after", "3600"])
        #expect(alive.code == 0)
        // Before Redis 7.0 it can't tell.
        let lag = try rig.client.get("/v1/streams/\(stream)/groups/g").json["lag"] == .null ? "unknown" : "0"
        #expect(alive.output.contains("\(stream) g: lag \(lag), pending 1, consumers 1"), "\(alive.output)")
        #expect(!alive.output.contains("ALERT"))
        let dead = try PythonProgram.run(watch, arguments + ["--dead-after", "0"])
        #expect(dead.code == 1)
        #expect(dead.output.contains("ALERT \(stream) g: worker holds 1 messages"), "\(dead.output)")
        // Without a name it finds the streams by itself.
        let all = try PythonProgram.run(watch, ["--url", "http://127.0.0.1:\(rig.port)", "--once", "--dead-after", "0"])
        #expect(all.output.contains("ALERT \(stream) g: worker holds 1 messages"), "\(all.output)")
    }
}

/// Workers that share a group, and the payments that they are given.
private final class Crew {
    private let rig: Rig
    private let payments: Int
    private let command: (_ stream: String, _ name: String) -> [String]
    private let stream: String
    private let directory: TemporaryDirectory
    private var workers: [String: ProcessDescriptor] = [:]

    init(_ rig: Rig, payments: Int = 300, _ command: @escaping (_ stream: String, _ name: String) -> [String]) throws {
        self.rig = rig
        self.payments = payments
        self.command = command
        directory = try TemporaryDirectory()
        stream = rig.newStream("payments")
    }

    deinit {
        for worker in workers.values { end(worker, SIGKILL) }
    }

    /// Some orders, one worker killed at a time by the seed, more orders, …; at the end each order was paid.
    func work(_ names: [String]) throws {
        var random = SeededRandom()
        for name in names { try start(name) }
        try waitUntil("the workers have begun") {
            try expectAlive()
            return try rig.client.get("/v1/streams/\(stream)/groups/g/recovery").status == 200
        }
        let rounds = 6
        for round in 0..<rounds {
            let orders = (round * payments / rounds)..<((round + 1) * payments / rounds)
            let messages = orders.map { #"{"fields":{"orderID":"\#($0)","amount":"9.99"}}"# }.joined(separator: ",")
            let reply = try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"messages":[\#(messages)]}"#)
            #expect(reply.status == 201)
            let paid = orders.lowerBound + Int.random(in: 1...orders.count / 2, using: &random)
            try waitUntil("\(paid) payments\(random.note)") {
                try expectAlive()
                return try self.paid().count >= paid
            }
            guard let victim = names.randomElement(using: &random), let worker = workers[victim] else { continue }
            end(worker, SIGKILL)
            try start(victim)
        }
        try waitUntil("every message is acknowledged\(random.note)") {
            let group = try rig.client.get("/v1/streams/\(stream)/groups/g").json
            // Before Redis 7.0 it can't tell the lag.
            let isRead = try group["lag"] == .null ? paid().count == payments : group["lag"] == 0
            return isRead && group["pending"] == 0
        }
        #expect(try paid() == Set((0..<payments).map(String.init)), "\(random.note)")
        #expect(try rig.client.get("/v1/streams/\(stream):dlq/messages").status == 404, "nothing failed eight times\(random.note)")
        for worker in workers.values { end(worker, SIGTERM) }
    }

    private func start(_ name: String) throws {
        let words = command(stream, name)
        workers[name] = try ProcessDescriptor.spawn(words[0], Array(words.dropFirst()), output: "\(directory.path)/\(name)")
    }

    private func end(_ worker: ProcessDescriptor, _ signal: Int32) {
        worker.send(signal)
        if !worker.waitForEnd(atMost: .seconds(60)) {
            Issue.record("A worker does not end on signal \(signal).")
            worker.send(SIGKILL)
            _ = worker.waitForEnd(atMost: .seconds(10))
        }
        _ = worker.reap()
    }

    /// A worker ends when it is told to and at no other time.
    private func expectAlive() throws {
        for (name, worker) in workers where worker.waitForEnd(atMost: .zero) {
            throw WorkerEnded(description: "\(name) ended by itself: \(try output(name))")
        }
    }

    /// What it has written at all its starts.
    private func output(_ name: String) throws -> String {
        try String(contentsOfFile: "\(directory.path)/\(name)", encoding: .utf8)
    }

    /// The orders that were paid for, once or more.
    private func paid() throws -> Set<String> {
        var orders: Set<String> = []
        for name in workers.keys {
            for line in try output(name).split(separator: "\n") where line.hasPrefix("paid ") { orders.insert(String(line.dropFirst(5))) }
        }
        return orders
    }
}

private struct WorkerEnded: Error, CustomStringConvertible {
    var description: String
}
