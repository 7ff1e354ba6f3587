// The script that settles, where a client that has gone is long gone: what was delivered again since is left alone.

import Redis
import Support
import Testing

@testable import Gateway

@Suite(.blocking) struct SettleScriptTests {
    @Test func `what is handed back late was delivered no later than it was to be, or often enough to tell`() throws {
        let rig = try RedisRig()
        defer { rig.close() }
        let (stream, group, consumer) = (StreamName("orders"), GroupName("g"), ConsumerName("c"))
        try rig.run("XGROUP CREATE orders g 0 MKSTREAM")
        for number in 1...4 { try rig.run("XADD orders \(number)-0 n \(number)") }
        try rig.run("XREADGROUP GROUP g c COUNT 4 STREAMS orders >")
        // 1 and 3 are as they were a minute ago; 2 and 4 are just delivered, 4 for the second time.
        for id in ["1-0", "3-0"] { try rig.run("XCLAIM orders g c 0 \(id) IDLE 60000 JUSTID") }
        try rig.run("XCLAIM orders g c 0 4-0")
        func handBack(_ counts: [Int64], after time: Duration) throws -> [String] {
            let deliveries = counts.enumerated().map { Delivery(id: StreamID(UInt64($0.offset + 1), 0), count: $0.element) }
            let call = SettleScript.handBack(stream, group, from: consumer, deliveries[...], after: time)
            var parts = try rig.evaluate(SettleScript.script, call).get().elements
            let rows = parts.takeArray()
            var (statuses, list) = (try #require(rows), [String]())
            while statuses.remaining > 0 { list.append(statuses.takeText() ?? "") }
            return list
        }
        #expect(try handBack([0, 0, 1, 1], after: .seconds(10)) == ["done", "lease_lost", "done", "lease_lost"])
        // At once nobody can tell.
        #expect(try handBack([0, 0, 0, 2], after: .zero) == ["lease_lost", "done", "lease_lost", "done"])
    }
}
