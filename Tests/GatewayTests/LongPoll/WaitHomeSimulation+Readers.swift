// The simulation's readers: what `API.look`, `ParkedCall` and the handlers are in life.

@testable import Gateway

extension WaitHomeSimulation {
    func arrive(
        loop: Int, stream: Int, group: Int?, count: Int, claims: Duration? = nil, patience: Duration
    ) {
        let place = Place(home: home(of: stream, in: loop / shape.loops), stream: stream, group: group)
        let client = Client(loop: loop, place: place, number: clients.count, count: count, claims: claims)
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
                    self.send(place.home, .join(client.id, client.key, claims: self.claimsTold(client)))
                }
            default: client.isGone = true
            }
        }
    }

    /// What the home is told of the client's claims.
    func claimsTold(_ client: Client) -> Duration? {
        switch sabotage {
        case .forgetsClaims: nil
        case .turnsClaims: client.claims.map { .seconds(10) - $0 }
        default: client.claims
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
            taken.messages = (client.position..<end).map { SimulatedRedis.Message(number: $0) }
            if client.position < end { taken.look.result = .found(full: false) }
            return taken
        }
        return redis.take(stream, group, count: client.count, minIdle: client.claims, now: now)
    }

    func deliver(_ client: Client, _ taken: SimulatedRedis.Taken) {
        guard let group = client.place.group else { return }
        for message in taken.messages {
            let delivery = Delivery(stream: client.place.stream, group: group, era: taken.era, message: message)
            delivered[delivery, default: 0] += 1
            reached.insert(
                Delivery(
                    stream: delivery.stream, group: group, era: taken.era, message: .init(number: message.number)))
            if delivered[delivery]! > 1 { fail("\(delivery) was delivered twice.") }
            // Who claims nothing back leaves nothing behind: otherwise nobody would ever see the rest.
            guard !shape.claims || chance(70) else { continue }
            redis.streams[client.place.stream].groups[group].acknowledge(message)
        }
    }

    func handBack(_ client: Client, _ taken: SimulatedRedis.Taken) {
        guard let group = client.place.group, !taken.messages.isEmpty else { return }
        let stream = client.place.stream
        let due = chance(80) ? Duration.zero : now + .milliseconds(pick(500))
        request(client.loop, {
            guard self.redis.streams[stream].groups[group].era == taken.era else { return {} }
            let were = self.redis.streams[stream].groups[group].handBack(taken.messages, due: due)
            if were && self.sabotage != .quietHandBack { self.publish(stream, group) }
            return {}
        }, fail: {})
    }

    func look(_ client: Client) {
        guard client.call == nil else { return startLook(client) }
        guard !client.isGone else { return }  // Its `.leave` is on its way.
        read(client) { taken in
            guard !client.isGone else { return }
            let look = taken?.look ?? WaitHome.Look(result: .failed)
            switch look.result {
            case .found, .ended: client.isGone = true
            default: break
            }
            self.report(client, look)
        }
    }

    func report(_ client: Client, _ look: WaitHome.Look) {
        post(from: client.loop, to: client.place.home) {
            if case .found(let isFull, _) = look.result {
                self.found += 1
                if isFull && client.claims != nil { self.causes += 1 }  // The next claimant is to look, too.
            }
            if case .failed = look.result { self.causes += 2 }
            self.batches[client.place]?.removeAll { $0 === client }
            self.send(client.place.home, .looked(client.id, look))
        }
    }

    func hangUp(_ client: Client) {
        if let call = client.call { return hangUp(call) }
        guard !client.isGone else { return }
        client.isGone = true
        guard client.isParked && sabotage != .forgetsLeaves else { return }
        post(from: client.loop, to: client.place.home) {
            self.causes += 1
            self.batches[client.place]?.removeAll { $0 === client }
            self.send(client.place.home, .leave(client.id))
        }
    }

    func end(_ client: Client) {
        if let call = client.call { return end(call, client) }
        client.isGone = true
    }
}
