// Many homes against one Redis, under a scheduler that delivers whatever can be delivered in any order that sockets
// allow: commands and replies of a connection in order, its invalidations in order, the two not against one
// another; messages from loop to loop in order. A seed decides everything, so that a failure can be repeated.
//
// Actions of one event are sorted by key before they are performed, because the order of Swift's dictionaries
// changes from run to run.

import Support
@testable import Gateway

struct SimulationFailure: Error, CustomStringConvertible {
    let seed: UInt64
    let description: String
}

final class WaitHomeSimulation {
    /// What is broken on purpose, to see that the simulation notices.
    enum Sabotage: CaseIterable {
        /// Invalidations are dropped while a track (or a look) is under way: the `doubted` mark, and its brother.
        case deafWhileTracking, deafWhileLooking
        case forgetsNudges, forgetsWakes, forgetsRebuilding
        /// A hand-back that tells nobody.
        case quietHandBack
        case forgetsLeaves
        /// Claimants whose home does not know what they claim, or has the most patient claim first.
        case forgetsClaims, turnsClaims
        /// Readers of many streams that found something in one: they stay where else they wait, they say that they
        /// have looked there, or keep what a look still brings.
        case staysElsewhere, leavesAsIfEmpty, keepsLateFinds
    }

    struct Shape {
        var processes = 1, loops = 1, streams = 1, groups = 1
        var operations = 40
        var breaks = true, destroys = true, isTracking = true, tails = true, claims = true
    }

    struct Place: Hashable { let home, stream: Int, group: Int? }

    final class Client {
        let loop: Int, place: Place, number: Int
        let count: Int
        let claims: Duration?
        var position = 0      // Of a tail.
        var isGone = false    // Answered, out of time or hung up.
        var isParked = false
        var isLooking = false
        var call: ManyStreamClient?  // It is one of the streams of this one.
        init(loop: Int, place: Place, number: Int, count: Int, claims: Duration?) {
            (self.loop, self.place, self.number, self.count, self.claims) = (loop, place, number, count, claims)
        }
        var id: WaiterID { WaiterID(loop: loop, number: UInt64(number)) }
        var key: WaitKey { WaitHomeSimulation.key(place.stream, place.group) }
    }

    struct Request {
        let execute: () -> () -> Void
        let fail: () -> Void
    }

    final class Link {
        var isUp = true
        var requests: [Request] = []
        var replies: [(request: Request, deliver: () -> Void)] = []
        var pushes: [() -> Void] = []
    }

    struct Timer { let at: Duration, place: Place?, fire: () -> Void }

    let seed: UInt64, shape: Shape, sabotage: Sabotage?
    var random: SeededRandom
    var redis: SimulatedRedis
    var homes: [WaitHome]
    var links: [Link]
    var letters: [[() -> Void]]    // From loop to loop, by from * loops + to.
    var timers: [Timer] = []       // The soonest first.
    var clients: [Client] = []
    var waiting: [Client] = []  // Those who have not gone.
    var now = Duration.seconds(10)
    var failure: SimulationFailure?
    // What the invariants need.
    var delivered: [Delivery: Int] = [:]
    var reached: Set<Delivery> = []        // The same, no matter how often they were claimed.
    struct Delivery: Hashable { let stream, group, era: Int, message: SimulatedRedis.Message }
    var batches: [Place: [Client]] = [:]
    var tracksUnderWay: [Int: Int] = [:]  // By home * streams + stream.
    var unheard: [Int: Duration] = [:]    // By stream * groups + group: until when a delay is excused.
    var starvingSince: [Int: Duration] = [:]
    var idleSince: [Int: Duration] = [:]   // By stream * groups + group: a claimant and what it claims.
    var hasBroken = false, calmSince: Duration?
    var looks = 0, found = 0, causes = 0

    var loopCount: Int { links.count }

    init(seed: UInt64, shape: Shape, sabotage: Sabotage? = nil) {
        (self.seed, self.shape, self.sabotage) = (seed, shape, sabotage)
        random = SeededRandom(seed: seed)
        let loops = shape.processes * shape.loops
        redis = SimulatedRedis(streams: shape.streams, groups: shape.groups, connections: loops)
        var settings = WaitHome.Settings()
        settings.isTracking = shape.isTracking
        settings.lossesAllowed = 3  // Else it would hardly come to that.
        homes = (0..<loops).map { _ in WaitHome(settings: settings) }
        links = (0..<loops).map { _ in Link() }
        letters = Array(repeating: [], count: loops * loops)
        for home in 0..<loops { slowTick(home) }
    }

    static func key(_ stream: Int, _ group: Int?) -> WaitKey {
        WaitKey(stream: StreamName("s\(stream)"), group: group.map { GroupName("g\($0)") })
    }

    static func number(_ name: [UInt8]) -> Int { Int(name[1]) - 48 }

    func home(of stream: Int, in process: Int) -> Int { process * shape.loops + stream % shape.loops }

    func fail(_ text: String) {
        if failure == nil { failure = SimulationFailure(seed: seed, description: "SEED=\(seed): \(text)") }
    }

    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
    func pick(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }

    // MARK: Posting

    func post(from: Int, to: Int, _ letter: @escaping () -> Void) { letters[from * loopCount + to].append(letter) }

    func after(_ delay: Duration, place: Place? = nil, _ fire: @escaping () -> Void) {
        let timer = Timer(at: now + delay, place: place, fire: fire)
        timers.insert(timer, at: timers.firstIndex { $0.at > timer.at } ?? timers.count)
    }

    func request(_ loop: Int, _ execute: @escaping () -> () -> Void, fail: @escaping () -> Void) {
        guard links[loop].isUp else { return post(from: loop, to: loop, fail) }
        links[loop].requests.append(Request(execute: execute, fail: fail))
    }

    func slowTick(_ home: Int) {
        after(.milliseconds(100)) { [unowned self] in
            let before = looks
            causes += batches.count { $0.key.home == home && !$0.value.isEmpty }  // These may be doubted.
            send(home, .slowTick)
            causes += looks - before
            slowTick(home)
        }
    }

    // MARK: The home's shell

    func send(_ home: Int, _ event: WaitHome.Event) {
        let actions = homes[home].handle(event, now: now)
        var performed: [(place: Place, perform: () -> Void)] = []
        var lookers: [Client] = []
        for action in actions {
            switch action {
            case .track(let stream, let id):
                let number = Self.number(stream.bytes)
                performed.append((Place(home: home, stream: number, group: nil), { self.track(home, number, id) }))
            case .look(let waiter, _):
                let client = clients[Int(waiter.raw & 0xFFFF_FFFF)]
                lookers.append(client)
                performed.append((client.place, { self.post(from: home, to: client.loop) { self.look(client) } }))
            case .end(let waiter, _):
                let client = clients[Int(waiter.raw & 0xFFFF_FFFF)]
                batches[client.place]?.removeAll { $0 === client }
                performed.append((client.place, { self.post(from: home, to: client.loop) { self.end(client) } }))
            case .ask(let key, let hunger):
                let number = Self.number(key.stream.bytes)
                performed.append((Place(home: home, stream: number, group: key.group.map { Self.number($0.bytes) }), {
                    self.announce(number) { self.send($0, .asked(key, hunger: hunger)) }
                }))
            case .wake(let key, let instant):
                let place = Place(
                    home: home, stream: Self.number(key.stream.bytes), group: key.group.map { Self.number($0.bytes) })
                if sabotage == .forgetsWakes { break }
                performed.append((place, {
                    self.after(instant - self.now, place: place) {
                        self.causes += self.shape.claims ? 2 : 1  // A look and a claim may fall due together.
                        self.send(home, .timer(key))
                    }
                }))
            }
        }
        check(lookers)
        let order = performed.indices.sorted {
            let (left, right) = (performed[$0].place, performed[$1].place)
            return (left.stream, left.group ?? -1, $0) < (right.stream, right.group ?? -1, $1)
        }
        for index in order { performed[index].perform() }
    }

    func track(_ home: Int, _ stream: Int, _ id: WaitHome.TrackID) {
        let slot = home * shape.streams + stream
        tracksUnderWay[slot, default: 0] += 1
        let name = Self.key(stream, nil).stream
        func answer(_ succeeded: Bool) {
            tracksUnderWay[slot]! -= 1
            causes += shape.groups + 1
            send(home, .tracked(name, id, succeeded))
        }
        request(home, {
            self.redis.streams[stream].isTrackedBy[home] = true
            return { answer(true) }
        }, fail: { answer(false) })
    }

    /// What the subscription of a loop hears.
    func invalidated(_ loop: Int, _ stream: Int) {
        let slot = loop * shape.streams + stream
        if sabotage == .deafWhileTracking && tracksUnderWay[slot, default: 0] > 0 { return }
        let isLooking = (0..<shape.groups).contains {
            !(batches[Place(home: loop, stream: stream, group: $0)] ?? []).isEmpty
        }
        if sabotage == .deafWhileLooking && isLooking { return }
        causes += 2 * (shape.groups + 1)
        send(loop, .invalidated(Self.key(stream, nil).stream))
    }

    func publish(_ stream: Int, _ group: Int) {
        announce(stream) { [unowned self] loop in
            guard sabotage != .forgetsNudges else { return }
            causes += 1
            send(loop, .nudged(Self.key(stream, group)))
        }
    }

    /// Every loop hears it; it concerns the homes of the stream.
    private func announce(_ stream: Int, _ hear: @escaping (_ home: Int) -> Void) {
        for loop in links.indices where links[loop].isUp {
            links[loop].pushes.append { [unowned self] in
                if loop == home(of: stream, in: loop / shape.loops) { hear(loop) }
            }
        }
    }
}
