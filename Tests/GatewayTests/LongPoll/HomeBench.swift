// A `WaitHome` on a bench: events go in by hand, and time stands still until a test moves it.

import Testing

@testable import Gateway

final class HomeBench {
    static let orders = StreamName("orders")
    static let key = WaitKey(stream: orders, group: GroupName("workers"))
    static let tail = WaitKey(stream: orders, group: nil)

    var home: WaitHome
    var now = Duration.seconds(10)

    init(settings: WaitHome.Settings = WaitHome.Settings()) { home = WaitHome(settings: settings) }

    func send(_ event: WaitHome.Event) -> [WaitHome.Action] { home.handle(event, now: now) }

    func join(_ number: Int, _ key: WaitKey = key, claims: Duration? = nil) -> [WaitHome.Action] {
        send(.join(waiter(number), key, claims: claims))
    }

    func answer(
        _ number: Int, _ result: WaitHome.Look.Result, unownedDue: Duration? = nil, claimDue: Duration? = nil
    ) -> [WaitHome.Action] {
        send(.looked(waiter(number), .init(result: result, unownedDue: unownedDue, claimDue: claimDue)))
    }

    /// Answers the one `.track` of `actions`.
    func track(_ actions: [WaitHome.Action], _ succeeds: Bool = true) -> [WaitHome.Action] {
        guard let (stream, id) = actions.tracks.first else { return [] }
        return send(.tracked(stream, id, succeeds))
    }

    /// Parks waiters 1 … `count`, all at rest: tracked, and found empty since.
    func park(_ count: Int, _ key: WaitKey = key, claims: Duration? = nil) {
        var actions: [WaitHome.Action] = []
        for number in 0..<count { actions += join(number + 1, key, claims: claims) }
        settle(actions) { _ in .nothing }
        now += .seconds(1)  // Nothing is throttled any more.
    }

    /// Answers whatever is asked for until nothing is; timers come when they are due within a second.
    @discardableResult
    func settle(_ actions: [WaitHome.Action], _ look: (Int) -> WaitHome.Look.Result) -> Int {
        let before = home.looksStarted
        let end = now + .seconds(1)
        var open = actions
        var steps = 0
        while let action = open.first {
            open.removeFirst()
            steps += 1
            guard steps < 10_000 else {
                Issue.record("The home spins.")
                return home.looksStarted - before
            }
            switch action {
            case .track(let stream, let id): open += send(.tracked(stream, id, true))
            case .look(let waiter, _): open += answer(waiter.number, look(waiter.number))
            case .end, .ask: break
            case .wake(let key, let instant):
                guard instant <= end else { break }
                now = max(now, instant)
                open += send(.timer(key))
            }
        }
        return home.looksStarted - before
    }
}

func waiter(_ number: Int) -> WaiterID { WaiterID(loop: 1, number: UInt64(number)) }

extension WaiterID {
    var number: Int { Int(raw & 0xFFFF_FFFF_FFFF) }
}

extension [WaitHome.Action] {
    var looks: [Int] { compactMap { if case .look(let waiter, _) = $0 { waiter.number } else { nil } } }
    /// Of each look, in their order.
    var words: [Duration?] { compactMap { if case .look(_, let word) = $0 { .some(word) } else { nil } } }
    var tracks: [(StreamName, WaitHome.TrackID)] {
        compactMap { if case .track(let stream, let id) = $0 { (stream, id) } else { nil } }
    }
    var wakes: [Duration] { compactMap { if case .wake(_, let instant) = $0 { instant } else { nil } } }
    var asks: [Duration] { compactMap { if case .ask(_, let hunger) = $0 { hunger } else { nil } } }
    var ends: [Int] { compactMap { if case .end(let waiter, _) = $0 { waiter.number } else { nil } } }
}
