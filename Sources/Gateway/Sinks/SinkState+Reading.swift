// What a sink may read, and what it does with what comes.

import Net
import Redis

extension SinkState {
    /// Slots for a read of `stream`, which ends with the event `.read`. With 0 none are free: the action `.credit`
    /// says when to ask again.
    mutating func reserve(_ stream: Int, at moment: Moment) -> Int {
        precondition(streams[stream].reserved == 0, "A stream has one reader, and it reads one thing at a time.")
        self.moment = moment
        let count = isStopped || pausedUntil > moment.now ? 0 : credit(of: stream)
        if count > 0 {
            streams[stream].reserved = count
            reserved += count
            // Or its turn would go to somebody who no longer waits.
            if streams[stream].isWanting { wanting.removeAll { $0 == stream } }
            streams[stream].isWanting = false
        } else if !streams[stream].isWanting {
            streams[stream].isWanting = true
            wanting.append(stream)
        }
        return max(count, 0)
    }

    /// Credit that it was granted, or would be, is for others.
    mutating func rest(_ stream: Int) {
        guard streams[stream].isWanting else { return }
        streams[stream].isWanting = false
        wanting.removeAll { $0 == stream }
    }

    var freeSlots: Int {
        let free = min(pace.slots(moment.now) - inFlight, pace.tokens(moment.now) ?? .max)
        return free * batchSize - roomTaken - reserved
    }

    /// Messages in one read.
    static let readLimit = 1000

    var credit: Int {
        let first = pace.isOpen && isFreshTurn ? 0 : due.count
        return min(freeSlots - first, definition.maxHeld - held.count - reserved, SinkState.readLimit)
    }

    /// Messages whose entries were gone when they were taken over; a script has dealt with them.
    mutating func foundTrimmed(_ stream: Int, count: Int) {
        guard hasDeadLetter else { return }
        streams[stream].counters.trimmed += count
        streams[stream].counters.deadLetters[.trimmed, default: 0] += count
    }

    mutating func read(_ stream: Int, _ arrivals: [SinkArrival]) {
        reserved -= streams[stream].reserved
        streams[stream].reserved = 0
        if pace.isOpen && !arrivals.isEmpty { freshProbes += 1 }
        retriesBeforeFresh = max(pace.isAway ? freshProbes : 1, 1)
        arrived(stream, arrivals)
    }

    mutating func arrived(_ stream: Int, _ arrivals: [SinkArrival]) {
        for arrival in arrivals { arrived(stream, arrival) }
    }

    private mutating func arrived(_ stream: Int, _ arrival: SinkArrival) {
        let key = Key(stream: stream, id: arrival.message.id)
        if definition.isOrdered { return arrivedInOrder(arrival, key) }
        if arrival.wasTakenOver { streams[stream].counters.takeovers += 1 }
        if let message = held[key] { return regained(message, arrival.deliveryCount) }
        streams[stream].watermark.opened(key.id)
        let message = Held(key, arrival.message, deliveries: arrival.deliveryCount)
        held[key] = message
        if isStopped {
            release(message, due: nil, unspent: true)
        } else if arrival.deliveryCount > definition.retry.maxDeliveries && hasDeadLetter {
            message.lastError = "its last delivery ended without a result"
            bury(message, .maxRetriesExceeded, attempts: arrival.deliveryCount - 1)
        } else {
            becomeReady(message)
        }
    }

    /// The group was made anew, or we took back what somebody took from us: ours again, as it stands. The delivery
    /// that was counted on the way is not one that we will make.
    private mutating func regained(_ message: Held, _ count: Int) {
        message.isLost = false
        message.deliveries = max(message.deliveries, count - 1)
    }
}
