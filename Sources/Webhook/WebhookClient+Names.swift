// The client's dealings with the resolver: who may look a name up, who waits, and why one failed.

import Net

extension WebhookClient {
    // MARK: Names

    /// Called by a transfer before its look-up begins. False: it must stop, and will be started again.
    func beginLookup(_ name: String, _ transfer: Transfer) -> Bool {
        guard lookups.begin(name, transfer) else { return false }
        tally.lookups += 1
        tally.mostLookups = max(tally.mostLookups, lookups.running.count)
        return true
    }

    /// Called by a transfer whose name has an address: all who waited for the name find it in libcurl's cache.
    func lookupFound(_ transfer: Transfer) {
        guard let name = transfer.lookup else { return }
        transfer.lookup = nil
        let (same, next) = lookups.ended(name)
        ready += same + next
        multi.touch()
    }

    /// `transfer` was stopped in front of its look-up. Another exchange's look-up ends the wait, or the time
    /// that connecting may take does.
    func waitForName(_ transfer: Transfer) {
        guard let endpoint = transfer.endpoint else { preconditionFailure("What waits for a name was set up for an endpoint.") }
        transfer.mustWaitForName = false
        transfer.phase = .waitingForName
        let limit = min(endpoint.connectTimeout, endpoint.timeout)
        transfer.patience = loop.schedule(at: transfer.startedAt + limit) { [weak self] in
            guard let self else { return }
            transfer.patience = nil
            lookups.leave(transfer)
            ready.removeAll { $0 === transfer }
            finish(transfer, .failed(.resolverDown, message: "Too many names are being looked up."))
        }
    }

    /// A look-up ended without an address. Who waited for the same name gets the same outcome: asking once
    /// more for each would take the resolver's whole timeout every time.
    func endLookup(_ name: String, failedAs outcome: WebhookResult.Outcome) {
        let (same, next) = lookups.ended(name)
        ready += next
        multi.touch()
        for transfer in same where transfer.phase == .waitingForName {
            finish(transfer, outcome)
        }
        // Stopped in this very call to libcurl, and not reported yet.
        ready += same.filter { $0.phase == .running }
    }

    /// Asks why the name did not resolve. The look-up's place stays taken: this is another one.
    func probe(_ transfer: Transfer) {
        guard let host = transfer.endpoint.flatMap({ RequestRules.hostAndPort($0.url) })?.host else {
            return finish(transfer, .failed(.malformedRequest, message: "The URL has no host."))
        }
        transfer.phase = .probing
        let round = transfer.startedAt
        let answer = { [weak self] (kind: WebhookFailure) in
            // The other of the two below came first, and the transfer may be busy with something else by now.
            // Or all were sent away meanwhile.
            guard let self, !isClosed, transfer.phase == .probing, transfer.startedAt == round else { return }
            probed(transfer, kind)
        }
        transfer.patience = loop.schedule(at: loop.clock.now + WebhookClient.probePatience) { answer(.resolverDown) }
        ResolverProbe.start(host, on: loop, done: answer)
    }

    private func probed(_ transfer: Transfer, _ kind: WebhookFailure) {
        let outcome = WebhookResult.Outcome.failed(kind, message: transfer.errorMessage)
        if let name = transfer.lookup { endLookup(name, failedAs: outcome) }
        transfer.lookup = nil
        finish(transfer, outcome)
    }

    /// Those whose wait for a name is over. Called in front of libcurl's work of a tick.
    func startReady() {
        guard !ready.isEmpty else { return }
        let due = ready
        ready = []
        for transfer in due {
            // One stopped just now is reported by libcurl in this flush, and has its turn in the next round.
            guard transfer.phase == .waitingForName else {
                if transfer.mustWaitForName { ready.append(transfer) }
                continue
            }
            if let patience = transfer.patience { loop.cancel(patience) }
            transfer.patience = nil
            run(transfer, at: loop.clock.now)
        }
    }
}
