// What an ordered sink's machine makes of single answers: writes that Redis refuses for want of the lease, and a receiver
// that asks for patience.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis

struct SinkOrderStateTests {
    private let moment = SinkState.Moment(now: .seconds(1000), wall: .seconds(1_700_001_000))

    private func id(_ number: UInt64) -> StreamID { StreamID(1_700_000_000_000 + number, 0) }

    private func arrival(_ number: UInt64) -> SinkArrival {
        SinkArrival(message: SinkMessage(id: id(number), fields: []), deliveryCount: 0, wasTakenOver: false)
    }

    private func lease(_ number: Int) -> SinkState.Lease { .init(number: number, until: moment.now + .seconds(10)) }

    private func machine() -> SinkState {
        var machine = SinkState(SinkStateTests.definition(streams: ["a"]) { $0.orderBy = .field("key") }, seed: 1)
        _ = machine.handle(.leased(0, lease(7)), at: moment)
        return machine
    }

    /// The first attempts of these messages are being written, under the lease 7.
    private func begin(_ machine: inout SinkState, _ numbers: UInt64...) {
        #expect(machine.reserve(0, at: moment) >= numbers.count)
        let actions = machine.handle(.read(0, numbers.map { arrival($0) }), at: moment)
        #expect(written(actions) == numbers.map { "begin \($0) 1" })
    }

    /// As `what message count`.
    private func written(_ actions: [SinkState.Action]) -> [String] {
        actions.flatMap { action -> [String] in
            guard case .write(_, let write, let entries) = action else { return [] }
            return entries.map { "\(write) \($0.message.id.milliseconds - 1_700_000_000_000) \($0.deliveries)" }
        }
    }

    @Test func `a write that Redis refuses under a lease that is ours by our own clock ends the term`() {
        var machine = machine()
        begin(&machine, 1)
        let actions = machine.handle(.wrote(0, .begin, [(id(1), .unled)], under: 7), at: moment)
        #expect(actions.contains(.stoodDown(0)) && written(actions).isEmpty)
        #expect(machine.held.isEmpty && !machine.leads(0, at: moment.now) && machine.streams[0].counters.leasesLost == 1)
    }

    @Test func `a write that was refused under an earlier number is written again, and one without a lease is forgotten`() {
        var machine = machine()
        begin(&machine, 1)
        _ = machine.handle(.leased(0, lease(8)), at: moment)
        let actions = machine.handle(.wrote(0, .begin, [(id(1), .unled)], under: 7), at: moment)
        #expect(!actions.contains(.stoodDown(0)) && written(actions) == ["begin 1 1"] && machine.leads(0, at: moment.now))
        _ = machine.handle(.leaseLost(0, number: 8), at: moment)
        let last = machine.handle(.wrote(0, .begin, [(id(1), .unled)], under: 8), at: moment)
        #expect(written(last).isEmpty && machine.held.isEmpty && machine.streams[0].counters.leasesLost == 1)
    }

    @Test func `a sink that stops without its lease, and does not know it, is drained all the same`() {
        var machine = machine()
        begin(&machine, 1)
        #expect(written(machine.handle(.drain, at: moment)).isEmpty)
        #expect(written(machine.handle(.wrote(0, .begin, [(id(1), .done)], under: 7), at: moment)) == ["release 1 0"])
        let actions = machine.handle(.wrote(0, .release, [(id(1), .unled)], under: 7), at: moment)
        #expect(actions.contains(.drained) && written(actions).isEmpty)
    }

    @Test func `a lease that is taken anew while the sink stops holds for what is on its way`() {
        var machine = machine()
        begin(&machine, 1)
        _ = machine.handle(.wrote(0, .begin, [(id(1), .done)], under: 7), at: moment)
        _ = machine.handle(.drain, at: moment)
        _ = machine.handle(.leased(0, lease(8)), at: moment)
        #expect(machine.inFlight == 1 && machine.streams[0].lease?.number == 8)
        _ = machine.handle(.leaseLost(0, number: 8), at: moment)
        _ = machine.handle(.leased(0, lease(9)), at: moment)
        #expect(machine.streams[0].lease == nil)
    }

    @Test func `what was begun when the receiver asks for patience goes back unspent`() {
        var machine = machine()
        begin(&machine, 1)
        _ = machine.handle(.wrote(0, .begin, [(id(1), .done)], under: 7), at: moment)
        _ = machine.handle(.attemptsEnded([(.init(stream: 0, id: id(1)), .success(status: 200))]), at: moment)
        _ = machine.handle(.wrote(0, .acknowledge, [(id(1), .done)], under: 7), at: moment)
        begin(&machine, 2, 3)
        _ = machine.handle(.wrote(0, .begin, [(id(2), .done)], under: 7), at: moment)
        let throttled = SinkOutcome.throttled(status: 429, retryAfter: .seconds(5), spends: false)
        let ended = machine.handle(.attemptsEnded([(.init(stream: 0, id: id(2)), throttled)]), at: moment)
        #expect(written(ended) == ["schedule 2 0"])
        _ = machine.handle(.wrote(0, .schedule, [(id(2), .done)], under: 7), at: moment)
        let actions = machine.handle(.wrote(0, .begin, [(id(3), .done)], under: 7), at: moment)
        #expect(written(actions) == ["schedule 3 0"])
        // And no attempt before the patience is over.
        let last = machine.handle(.wrote(0, .schedule, [(id(3), .done)], under: 7), at: moment)
        #expect(written(last).isEmpty && machine.held.count == 2 && machine.counters[0].inFlight == 0)
    }
}
