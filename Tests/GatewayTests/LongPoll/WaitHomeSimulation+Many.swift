// The simulation's readers of many streams: what `ManyCall` is in life. Each of its streams is a client of its own to
// the homes; it lets go of the others when one has found something.

@testable import Gateway

extension WaitHomeSimulation {
    final class ManyStreamClient {
        var parts: [Client] = []
        /// What it will answer with: by part.
        var held: [(part: Client, taken: SimulatedRedis.Taken)] = []
        var hasProblem = false, isGathering = false, isOver = false
        var isToEnd: Bool { hasProblem || !held.isEmpty }
        var ownLooks: Bool { parts.contains { $0.isLooking && !$0.isParked } }
    }

    func arriveAtMany(loop: Int, group: Int?, count: Int, claims: Duration? = nil, patience: Duration) {
        let call = ManyStreamClient()
        for stream in redis.streams.indices {
            let place = Place(home: home(of: stream, in: loop / shape.loops), stream: stream, group: group)
            let part = Client(loop: loop, place: place, number: clients.count, count: count, claims: claims)
            part.position = redis.streams[stream].length
            part.call = call
            call.parts.append(part)
            clients.append(part)
            waiting.append(part)
        }
        after(patience) { self.hangUp(call) }
        for part in call.parts { startLook(part) }
    }

    /// Told by its home, or on its own account.
    func startLook(_ part: Client) {
        guard let call = part.call, !part.isGone else { return }  // Its `.leave` is on its way.
        part.isLooking = true
        func end(_ taken: SimulatedRedis.Taken?) {
            part.isLooking = false
            looked(call, part, taken)
        }
        request(part.loop, {
            let taken = self.execute(part)
            return { end(taken) }
        }, fail: { end(nil) })
    }

    private func looked(_ call: ManyStreamClient, _ part: Client, _ taken: SimulatedRedis.Taken?) {
        let look = taken?.look ?? WaitHome.Look(result: .failed)
        let wasThere = part.isParked && !part.isGone
        switch look.result {
        case .found, .ended: part.isGone = true
        default: break
        }
        if wasThere { report(part, look) }
        if case .found = look.result, let taken {
            if call.isOver {
                if sabotage != .keepsLateFinds { handBack(part, taken) }
            } else {
                call.held.append((part, taken))
                gather(call)
            }
        } else if case .ended = look.result {
            call.hasProblem = true
            gather(call)
        } else {
            foundNothing(call, part)
        }
    }

    private func foundNothing(_ call: ManyStreamClient, _ part: Client) {
        guard !call.isOver else { return }
        if call.isToEnd {
            leave(part)
        } else if !part.isParked {
            part.isParked = true
            post(from: part.loop, to: part.place.home) {
                self.causes += 1
                self.send(part.place.home, .join(part.id, part.key, claims: self.claimsTold(part)))
            }
        }
        settle(call)
    }

    func end(_ call: ManyStreamClient, _ part: Client) {
        part.isGone = true
        call.hasProblem = true
        gather(call)
    }

    private func gather(_ call: ManyStreamClient) {
        guard !call.isOver else { return }
        for part in call.parts where !part.isLooking { leave(part) }
        if !call.isGathering && !call.ownLooks {
            call.isGathering = true
            after(.milliseconds(pick(250))) { if !call.isOver { self.answer(call) } }
        }
        settle(call)
    }

    private func settle(_ call: ManyStreamClient) {
        if call.isGathering {
            if !call.isOver && !call.parts.contains(where: \.isLooking) { answer(call) }
        } else if call.isToEnd && !call.ownLooks {
            gather(call)
        }
    }

    private func answer(_ call: ManyStreamClient) {
        call.isOver = true
        for part in call.parts { leave(part) }
        for (part, taken) in call.held { deliver(part, taken) }
    }

    func hangUp(_ call: ManyStreamClient) {
        guard !call.isOver else { return }
        call.isOver = true
        for part in call.parts { leave(part) }
        for (part, taken) in call.held { handBack(part, taken) }
    }

    private func leave(_ part: Client) {
        guard !part.isGone else { return }
        part.isGone = true
        guard part.isParked, sabotage != .forgetsLeaves, sabotage != .staysElsewhere else { return }
        post(from: part.loop, to: part.place.home) {
            self.causes += 1
            self.batches[part.place]?.removeAll { $0 === part }
            if self.sabotage == .leavesAsIfEmpty { self.send(part.place.home, .looked(part.id, WaitHome.Look(result: .nothing))) }
            self.send(part.place.home, .leave(part.id))
        }
    }
}
