// The scheduler of the simulation, what the world does to it, and what must hold.

@testable import Gateway

extension WaitHomeSimulation {
    /// Runs to the end, or to the first thing that does not hold.
    func run() throws(SimulationFailure) {
        defer { (timers, letters, links) = ([], [], []) }  // They hold the simulation.
        var operations = 0
        var steps = 0
        while failure == nil {
            steps += 1
            if steps > 100_000 { fail("It does not come to rest.") }
            if operations < shape.operations, chance(15) {
                operations += 1
                operate()
            } else if !deliverSomething() {
                checkRest()
                if let calmSince, now > calmSince + .milliseconds(1_200) { break }
                if operations >= shape.operations && calmSince == nil && isWhole { calmDown() }
                passTime()
            } else if chance(5) {
                passTime(atMost: .milliseconds(1))
            }
        }
        if failure == nil { checkEnd() }
        if let failure { throw failure }
    }

    // MARK: What can happen next

    private func deliverSomething() -> Bool {
        var ready = 0
        _ = firstReady { ready += 1; return false }
        guard ready > 0 else { return false }
        var chosen = pick(ready)
        let deliver = firstReady { chosen -= 1; return chosen < 0 }
        deliver?()
        return true
    }

    /// What can be delivered next is offered one at a time, in a fixed order, until `take` takes one.
    private func firstReady(_ take: () -> Bool) -> (() -> Void)? {
        for (loop, link) in links.enumerated() {
            if !link.requests.isEmpty && take() { return { self.executeNext(loop) } }
            if !link.replies.isEmpty && take() { return { link.replies.removeFirst().deliver() } }
            if !link.pushes.isEmpty && take() { return { link.pushes.removeFirst()() } }
        }
        for index in letters.indices where !letters[index].isEmpty && take() {
            return { self.letters[index].removeFirst()() }
        }
        for index in timers.indices {
            guard timers[index].at <= now else { break }
            if take() { return { self.timers.remove(at: index).fire() } }
        }
        return nil
    }

    private func executeNext(_ loop: Int) {
        let request = links[loop].requests.removeFirst()
        links[loop].replies.append((request, request.execute()))
    }

    private func passTime(atMost limit: Duration = .seconds(1)) {
        guard let next = timers.first?.at, next > now else { return }
        now = min(next, now + limit)
    }

    // MARK: What the world does

    private func operate() {
        let (stream, group) = (pick(shape.streams), pick(shape.groups))
        switch pick(100) {
        case 0..<40:
            let isTail = shape.tails && chance(15)
            let (loop, count, claims) = (pick(loopCount), 1 + pick(2), isTail ? nil : someClaim())
            let patience = Duration.milliseconds(chance(30) ? pick(20) : 200 + pick(2_000))
            if chance(30) {
                arriveAtMany(loop: loop, group: isTail ? nil : group, count: count, claims: claims, patience: patience)
            } else {
                arrive(loop: loop, stream: stream, group: isTail ? nil : group, count: count, claims: claims, patience: patience)
            }
        case 40..<75: for _ in 0...pick(4) { add(stream) }
        case 75..<85: hangUpSomebody()
        case 85..<90: move(stream, group)
        case 90..<94: if shape.destroys { destroy(stream, group) }
        case 94..<98: if shape.breaks { breakLink(pick(loopCount)) }
        default: passTime(atMost: .milliseconds(300))
        }
    }

    /// Rather in the middle of a look than at rest: that is where things can go wrong.
    private func hangUpSomebody() {
        let lookers = waiting.filter { $0.isLooking && !$0.isGone }
        let client = (chance(70) ? lookers : waiting).randomElement(using: &random)
        if let client { hangUp(client) }
    }

    private func someClaim() -> Duration? {
        shape.claims && chance(40) ? [.milliseconds(30), .milliseconds(300), .seconds(1)][pick(3)] : nil
    }

    func add(_ stream: Int) {
        for loop in redis.add(stream) { links[loop].pushes.append { [unowned self] in invalidated(loop, stream) } }
    }

    /// XGROUP SETID, back by a few, heard or not.
    private func move(_ stream: Int, _ group: Int) {
        guard redis.streams[stream].groups[group].exists else { return }
        redis.streams[stream].groups[group].cursor = max(0, redis.streams[stream].groups[group].cursor - pick(3))
        renew(stream, group)
    }

    /// XGROUP DESTROY, and CREATE before long. One that is destroyed already must not be made anew twice: the
    /// second time, perhaps unheard, would come after the end has begun.
    private func destroy(_ stream: Int, _ group: Int) {
        guard redis.streams[stream].groups[group].exists else { return }
        redis.streams[stream].groups[group].exists = false
        renew(stream, group)
        after(.milliseconds(pick(50))) { [unowned self] in
            redis.streams[stream].groups[group].exists = true
            redis.streams[stream].groups[group].cursor = pick(redis.streams[stream].length + 1)
            renew(stream, group)
        }
    }

    private func renew(_ stream: Int, _ group: Int) {
        redis.streams[stream].groups[group].era += 1
        redis.streams[stream].groups[group].unowned = []
        redis.streams[stream].groups[group].pending = []
        if chance(70) {
            publish(stream, group)
        } else {
            unheard[stream * shape.groups + group] = now + .milliseconds(2_300)
        }
    }

    /// Both connections go and are rebuilt; what was under way may have been done or not.
    private func breakLink(_ loop: Int) {
        guard links[loop].isUp else { return }
        hasBroken = true
        let link = links[loop]
        for request in link.requests.prefix(pick(link.requests.count + 1)) { _ = request.execute() }
        let lost = link.replies.map(\.request) + link.requests
        (link.isUp, link.requests, link.replies, link.pushes) = (false, [], [], [])
        for request in lost { post(from: loop, to: loop, request.fail) }
        redis.forget(connection: loop)
        after(.milliseconds(pick(300))) { [unowned self] in
            link.isUp = true
            causes += 2 * shape.streams * (shape.groups + 1)
            if sabotage != .forgetsRebuilding { send(loop, .invalidated(nil)) }
        }
    }

    /// The end: patient readers for all that is left.
    private func calmDown() {
        calmSince = now
        for group in 0..<shape.groups {
            arriveAtMany(loop: pick(loopCount), group: group, count: 100, claims: someClaim(), patience: .seconds(60))
        }
        for stream in redis.streams.indices {
            for group in 0..<shape.groups {
                for _ in 0..<4 {
                    arrive(
                        loop: pick(loopCount), stream: stream, group: group, count: 100, claims: someClaim(),
                        patience: .seconds(60))
                }
            }
        }
    }

    // MARK: What must hold

    /// The waiters that were just told to look.
    func check(_ lookers: [Client]) {
        looks += lookers.count { $0.place.group != nil }
        for place in Set(lookers.map(\.place)) {
            let new = lookers.filter { $0.place == place }
            if place.group != nil {
                if !(batches[place] ?? []).isEmpty { fail("Two batches of looks at \(place).") }
                checkOrder(new, place)
            }
            batches[place, default: []] += new
        }
    }

    /// Nobody who is still waiting came before one who looks, unless that one claims what nobody else would sooner.
    private func checkOrder(_ lookers: [Client], _ place: Place) {
        let line = homes[place.home].waiters(of: Self.key(place.stream, place.group))
        if Array(line.prefix(lookers.count)) == lookers.map(\.id) { return }
        let claimants = line.map { clients[Int($0.raw & 0xFFFF_FFFF)] }.filter { $0.claims != nil }
        if lookers.count == 1 && lookers[0] === claimants.min(by: { $0.claims! < $1.claims! }) { return }
        fail("Somebody jumped the queue of \(place).")
    }

    /// All that was broken or destroyed is there again.
    private var isWhole: Bool {
        unheard.isEmpty && links.allSatisfy(\.isUp) && redis.streams.allSatisfy { $0.groups.allSatisfy(\.exists) }
    }

    /// Nothing is on its way: who waits now must have nothing to wait for, or a timer that is near.
    private func checkRest() {
        var starving: [Int: Duration] = [:]
        waiting.removeAll(where: \.isGone)
        for stream in redis.streams.indices {
            for group in 0...shape.groups {
                let slot = stream * (shape.groups + 1) + group
                guard let place = starvedPlace(stream, group < shape.groups ? group : nil) else { continue }
                starving[slot] = starvingSince[slot] ?? now
                let isNear = timers.contains { $0.place == place && $0.at <= now + .milliseconds(150) }
                if !isNear { fail("A lost wake-up at \(place).") }
                if now - starving[slot]! > .milliseconds(500) { fail("A late wake-up at \(place).") }
            }
        }
        starvingSince = starving
        checkClaims()
        unheard = unheard.filter { $0.value > now }
    }

    /// Nobody waits for more than a second for what is idle enough for him.
    private func checkClaims() {
        var idle: [Int: Duration] = [:]
        for client in waiting where client.isParked {
            guard let claims = client.claims, let group = client.place.group else { continue }
            let (stream, process) = (client.place.stream, client.loop / shape.loops)
            guard redis.streams[stream].groups[group].hasIdle(claims, now: now) else { continue }
            guard links[process * shape.loops..<(process + 1) * shape.loops].allSatisfy(\.isUp) else { continue }
            let slot = stream * shape.groups + group
            idle[slot] = idleSince[slot] ?? now
            if now - idle[slot]! > .seconds(1) { fail("A late claim at \(client.place).") }
        }
        idleSince = idle
    }

    /// A home where somebody waits for what is there, with no excuse.
    private func starvedPlace(_ stream: Int, _ group: Int?) -> Place? {
        if let group, unheard[stream * shape.groups + group] != nil { return nil }
        for client in waiting where !client.isGone && client.isParked {
            guard client.place.stream == stream, client.place.group == group else { continue }
            guard links[client.loop].isUp && links[client.place.home].isUp else { continue }
            let length = redis.streams[stream].length
            let isThere =
                if let group {
                    redis.streams[stream].groups[group].hasMessage(below: length, now: now)
                } else {
                    client.position < length
                }
            if isThere { return client.place }
        }
        return nil
    }

    private func checkEnd() {
        for (index, stream) in redis.streams.enumerated() {
            for (number, group) in stream.groups.enumerated() where group.exists {
                if group.cursor < stream.length || !group.unowned.isEmpty { fail("Messages were left behind.") }
                guard !hasBroken && group.era == 0 else { continue }
                for message in 0..<stream.length {
                    let delivery = Delivery(stream: index, group: number, era: 0, message: .init(number: message))
                    if !reached.contains(delivery) { fail("\(delivery) reached nobody.") }
                }
            }
        }
        if looks > 2 * found + causes { fail("\(looks) looks for \(found) finds and \(causes) causes.") }
        for client in clients { hangUp(client) }
        while failure == nil, letters.contains(where: { !$0.isEmpty }) {
            for index in letters.indices where !letters[index].isEmpty { letters[index].removeFirst()() }
        }
        if homes.contains(where: { $0.waiterCount > 0 || $0.streamCount > 0 }) { fail("Waiters were left behind.") }
    }
}
