// Work that no request waits for: what there is, and how it is done. `GatewayServer` gives each a task of its own.

import Logging
import Redis

/// Work that goes on after its cause has been answered. Names only what may cross tasks.
enum BackgroundWork: Sendable {
    case track(StreamName, WaitHome.TrackID)
    case askForTurn(TurnNudge)
    /// `API.consumersToCreate` has some.
    case createConsumers
    /// A parked call was told to look.
    case look(WaiterID)
    /// A parked call's time is up.
    case answerEmpty(WaiterID)
    /// `API.handBacks` has some.
    case handBack
    /// Which groups have a recovery policy, and what it says; of one group, or of all.
    case loadPolicy(WaitKey)
    case loadPolicies
    /// The time has come to carry one out.
    case recover(WaitKey)
    /// Which sinks there are, and which are stopped; one, or all.
    case loadSink(String)
    case loadSinks
    /// A run of a sink lands, by its number.
    case endSink(Int)
    /// A sink is disabled: Redis is to know.
    case stopSink(String)
    case forgetSink(String)
    /// What the loop's sinks have done is told to Redis.
    case tellSinks
    /// Which streams the globs of the loop's sinks match.
    case findStreams
    /// How far behind the loop's sinks are.
    case lookAtSinks
    /// The loop ends: nothing is told any more.
    case withdrawReports
}

extension API {
    func perform(_ work: BackgroundWork, _ log: Logger) async {
        switch work {
        case .track(let stream, let id):
            // No answer at all is a failure like others.
            let result = try? await store.send([.exists(stream.bytes)], tracked: true).first
            // Of `CLIENT CACHING` or `EXISTS`: to be refused once is to be refused each time.
            if case .failure(let error)? = result, error.isForbiddenCommand, longPoll.stopTracking() {
                log.warning("Redis does not track keys for us; waited-on groups are polled: \(error)")
            }
            // Any other failure is the same to the home: it tries again.
            longPoll.receive(.event(.tracked(stream, id, (try? result?.get()) != nil)))
        case .askForTurn(let turn):
            // Where it is not heard it is said again, after as many losses.
            if let command = turn.publish { _ = try? await store.send(command) }
        case .createConsumers: await createConsumers()
        case .look(let waiter): await look(waiter)
        case .answerEmpty(let waiter): await answerEmpty(waiter)
        case .loadPolicy(let key): await recovery.load(key)
        case .loadPolicies: await recovery.loadAll()
        case .recover(let key): await recovery.run(key)
        case .loadSink(let name): await sinks.load(name)
        case .loadSinks: await sinks.loadAll()
        case .endSink(let number): await sinks.leave(number)
        case .stopSink(let name): await sinks.writeStop(name)
        case .forgetSink(let name): await sinks.forget(name)
        case .tellSinks: await sinks.tell()
        case .findStreams: await sinks.find()
        case .lookAtSinks: await sinks.look()
        case .withdrawReports: await sinks.withdrawReports()
        case .handBack: await handBackWaiting(log)
        }
    }
}
