// The waiters of one stream and group, and what is in doubt about them. Part of `WaitHome`, which alone changes it.
// There may be one for each waiter: what most queues need only at times takes no memory meanwhile.

extension WaitHome {
    final class Queue {
        let key: WaitKey
        var waiters = WaiterQueue()
        var claimants = ClaimantQueue()
        var looking: Set<WaiterID> = []
        /// Something may be there that nobody has looked for.
        var needsLook = false
        /// For whom nobody has looked yet: they came, or failed, since the last batch began. Without a group, where
        /// everybody looks for himself, these have to when not all have.
        var restless = WaiterQueue()
        var isEveryoneRestless = false
        /// Those who also want what nobody holds. The empty look of another says nothing of it: when one has looked, the
        /// first of these looks too.
        var takers = WaiterQueue()
        var needsTaker = false
        /// Something may be idle enough by now for the first claimant.
        var needsClaim = false
        /// The first claimant is, or was, among those who look.
        var isClaiming = false
        var batchCameFull = true
        var batchCameEmpty = true
        /// Nothing else was in doubt when it began.
        var isForNewcomers = false
        /// How many waiters the next batch has; after it began, how many it has.
        var width = 1
        /// Looks that found something since the last batch that did not come back full.
        var found = 0
        var emptyLooks = 0
        var notBefore = Instant.zero
        var unownedDue: Instant?
        var claimDue: Instant?
        /// The timers that were asked for, each sooner than the one before it.
        var wakes: [Instant] = []
        var lastLook = Instant.zero
        /// The first word of a change that no look has begun after.
        var toldAt: Instant?
        /// The word that the looks of this run go back to.
        var cause: Instant?
        /// Words in a row for which others were there first, since something was found or the last request for a turn.
        var losses = 0
        /// When it last had something, or began.
        var hungrySince: Instant
        /// Somebody has asked for a turn: the next word until then is looked for a little later.
        var yieldsUntil: Instant?

        init(_ key: WaitKey, _ now: Instant) {
            self.key = key
            hungrySince = now
        }
    }
}

extension WaitHome.Queue {
    func remove(_ waiter: WaiterID) {
        waiters.remove(waiter)
        claimants.remove(waiter)
        restless.remove(waiter)
        takers.remove(waiter)
    }

    /// True when it was told to look.
    func endLook(of waiter: WaiterID) -> Bool {
        let wasLooking = looking.remove(waiter) != nil
        if looking.isEmpty { looking = [] }  // Its room goes too.
        return wasLooking
    }

    /// Who asks for less idle time than all others does not wait for what they wait for.
    func addClaimant(_ waiter: WaiterID, _ threshold: Duration, _ firstClaim: WaitHome.Instant) {
        if claimants.isEmpty {
            needsClaim = false
            claimDue = firstClaim
        } else if let smallest = claimants.smallestThreshold, threshold < smallest {
            claimDue = claimDue.map { min($0, firstClaim) } ?? firstClaim
        }
        claimants.append(waiter, threshold: threshold)
    }

    /// The next batch starts small again.
    func endRun() {
        width = 1
        found = 0
        cause = nil
    }

    /// Somebody has to look; without a group, everybody has.
    func doubt() {
        needsLook = true
        isEveryoneRestless = true
    }

    /// Somebody said that something has changed.
    func doubt(toldAt now: WaitHome.Instant, yielding: Duration = .zero) {
        toldAt = toldAt ?? now
        doubt()
        if let until = yieldsUntil {
            yieldsUntil = nil
            if now <= until { notBefore = max(notBefore, now + yielding) }
        }
    }

    /// The looks of a run that a word began came to nothing. True when that was once too often.
    func loses(allowed: Int) -> Bool {
        losses += 1
        guard losses >= allowed else { return false }
        losses = 0
        return true
    }

    /// A look came to nothing that could be known: the next one is for the same word.
    func keepWord() { toldAt = toldAt ?? cause }

    func doubt(by waiter: WaiterID) {
        needsLook = true
        if !restless.contains(waiter) { restless.append(waiter) }
    }

    func calm() {
        needsLook = false
        isEveryoneRestless = false
        restless = WaiterQueue()
    }
}
