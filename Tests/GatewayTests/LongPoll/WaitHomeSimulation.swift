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
    }

    struct Shape {
        var processes = 1, loops = 1, streams = 1, groups = 1
        var operations = 40
        var breaks = true, destroys = true, isTracking = true, tails = true
    }

    struct Place: Hashable { let home, stream: Int, group: Int? }

    final class Client {
        let loop: Int, place: Place, number: Int
        let count: Int
        var position = 0      // Of a tail.
        var isGone = false    // Answered, out of time or hung up.
        var isParked = false
        var isLooking = false
        init(loop: Int, place: Place, number: Int, count: Int) {
            (self.loop, self.place, self.number, self.count) = (loop, place, number, count)
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
    struct Delivery: Hashable { let stream, group, era, message: Int }
    var batches: [Place: [Client]] = [:]
    var tracksUnderWay: [Int: Int] = [:]  // By home * streams + stream.
    var unheard: [Int: Duration] = [:]    // By stream * groups + group: until when a delay is excused.
    var starvingSince: [Int: Duration] = [:]
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
            case .look(let waiter):
                let client = clients[Int(waiter.raw & 0xFFFF_FFFF)]
                lookers.append(client)
                performed.append((client.place, { self.post(from: home, to: client.loop) { self.look(client) } }))
            case .end(let waiter, _):
                let client = clients[Int(waiter.raw & 0xFFFF_FFFF)]
                batches[client.place]?.removeAll { $0 === client }
                performed.append((client.place, { self.post(from: home, to: client.loop) { self.end(client) } }))
            case .wake(let key, let instant):
                let place = Place(
                    home: home, stream: Self.number(key.stream.bytes), group: key.group.map { Self.number($0.bytes) })
                if sabotage == .forgetsWakes { break }
                performed.append((place, {
                    self.after(instant - self.now, place: place) {
                        self.causes += 1
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
        for loop in links.indices where links[loop].isUp {
            links[loop].pushes.append { [unowned self] in
                guard loop == home(of: stream, in: loop / shape.loops), sabotage != .forgetsNudges else { return }
                causes += 1
                send(loop, .nudged(Self.key(stream, group)))
            }
        }
    }

    // MARK: The waiter's shell

    func arrive(loop: Int, stream: Int, group: Int?, count: Int, patience: Duration) {
        let place = Place(home: home(of: stream, in: loop / shape.loops), stream: stream, group: group)
        let client = Client(loop: loop, place: place, number: clients.count, count: count)
        client.position = redis.streams[stream].length
        clients.append(client)
        waiting.append(client)
        after(patience) { self.hangUp(client) }
        read(client) { result in
            guard !client.isGone else { return }
            switch result?.look.result {
            case .nothing:
                client.isParked = true
                self.post(from: loop, to: place.home) {
                    self.causes += 1
                    self.send(place.home, .join(client.id, client.key, claims: false))
                }
            default: client.isGone = true
            }
        }
    }

    func read(_ client: Client, _ done: @escaping (SimulatedRedis.Taken?) -> Void) {
        client.isLooking = true
        request(client.loop, {
            let taken = self.execute(client)
            return {
                client.isLooking = false
                if client.isGone { self.handBack(client, taken) } else { self.deliver(client, taken) }
                done(taken)
            }
        }, fail: {
            client.isLooking = false
            done(nil)
        })
    }

    func execute(_ client: Client) -> SimulatedRedis.Taken {
        let stream = client.place.stream
        guard let group = client.place.group else {
            let end = redis.streams[stream].length
            var taken = SimulatedRedis.Taken()
            taken.messages = Array(client.position..<end)
            if client.position < end { taken.look.result = .found(full: false) }
            return taken
        }
        return redis.take(stream, group, count: client.count, now: now)
    }

    func deliver(_ client: Client, _ taken: SimulatedRedis.Taken) {
        guard let group = client.place.group else { return }
        for message in taken.messages {
            let delivery = Delivery(stream: client.place.stream, group: group, era: taken.era, message: message)
            delivered[delivery, default: 0] += 1
            if delivered[delivery]! > 1 { fail("\(delivery) was delivered twice.") }
        }
    }

    func handBack(_ client: Client, _ taken: SimulatedRedis.Taken) {
        guard let group = client.place.group, !taken.messages.isEmpty else { return }
        let stream = client.place.stream
        let due = chance(80) ? Duration.zero : now + .milliseconds(pick(500))
        request(client.loop, {
            guard self.redis.streams[stream].groups[group].era == taken.era else { return {} }
            self.redis.streams[stream].groups[group].unowned += taken.messages.map { ($0, due) }
            if self.sabotage != .quietHandBack { self.publish(stream, group) }
            return {}
        }, fail: {})
    }

    func look(_ client: Client) {
        guard !client.isGone else { return }  // Its `.leave` is on its way.
        read(client) { taken in
            guard !client.isGone else { return }
            let look = taken?.look ?? WaitHome.Look(result: .failed)
            switch look.result {
            case .found, .ended: client.isGone = true
            default: break
            }
            self.post(from: client.loop, to: client.place.home) {
                if case .found = look.result { self.found += 1 }
                if case .failed = look.result { self.causes += 2 }
                self.batches[client.place]?.removeAll { $0 === client }
                self.send(client.place.home, .looked(client.id, look))
            }
        }
    }

    func hangUp(_ client: Client) {
        guard !client.isGone else { return }
        client.isGone = true
        guard client.isParked && sabotage != .forgetsLeaves else { return }
        post(from: client.loop, to: client.place.home) {
            self.causes += 1
            self.batches[client.place]?.removeAll { $0 === client }
            self.send(client.place.home, .leave(client.id))
        }
    }

    func end(_ client: Client) { client.isGone = true }
}
