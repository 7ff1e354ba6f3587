// From one loop's Redis to whoever on the loop has to know: that it came and went, which keys have changed, and what was
// published for us. Owned by `GatewayServer`.

import Logging
import Redis

/// What Redis tells without being asked, brought to those whom it concerns.
final class RedisWatcher: RedisClientDelegate {
    private let api: API
    private let log: Logger
    private var isOutage = false
    /// Until it has been called.
    var hasTried: (() -> Void)?

    init(api: API, log: Logger) {
        self.api = api
        self.log = log
    }

    func redisConnected(_ client: RedisClient, features: ServerFeatures) {
        var settings = WaitHome.Settings(api.config)
        settings.isTracking = features.tracking
        api.longPoll.use(settings)
        api.unowned.forgetAll()
        api.unowned.isTold = features.nudges
        api.tails.reconnected()
        api.handBacks.resume()
        api.longPoll.invalidated(nil)
        log.info("Connected to Redis", metadata: ["version": "\(features.productVersion)", "tracking": "\(features.tracking)"])
        if let refusal = features.trackingRefusal {
            log.warning("Redis does not track keys for us; waited-on groups are polled: \(refusal)")
        }
        for warning in features.warnings { log.warning("\(warning)") }
        isOutage = false
        api.sinks.connected(hearsNudges: features.nudges)
        api.recovery.connected(hearsNudges: features.nudges)
        hasTriedOnce()
    }

    func hasTriedOnce() {
        hasTried?()
        hasTried = nil
    }

    /// Also called for every failed attempt to connect: one line an outage is enough.
    func redisDisconnected(_ client: RedisClient, reason: RedisError.Reason) {
        hasTriedOnce()
        guard !isOutage else { return }
        isOutage = true
        log.warning("Redis is gone: \(reason)")
    }

    func redisInvalidated(_ client: RedisClient, key: UnsafeRawBufferPointer) {
        let stream = StreamName(bytes: Array(key))
        api.tails.changed(stream)
        api.longPoll.invalidated(stream)
    }

    func redisInvalidatedAll(_ client: RedisClient) {
        api.unowned.forgetAll()
        api.tails.changedAll()
        api.longPoll.invalidated(nil)
    }

    func redisNudged(_ client: RedisClient, payload: UnsafeRawBufferPointer) {
        if let sink = SinkNudge.sink(in: payload) { return api.sinks.nudged(sink) }
        if let turn = TurnNudge(payload: payload) { return api.longPoll.asked(turn) }
        guard let nudge = Nudge(payload: payload) else { return }
        let key = WaitKey(stream: nudge.stream, group: nudge.group)
        switch nudge.kind {
        case .unowned: api.unowned.nudged(key)
        case .due: api.unowned.delayed(key)
        case .policy: return api.startWork(.loadPolicy(key))
        case .lease: return api.sinks.leaseFreed(key)
        case .group: break
        }
        api.longPoll.nudged(key)
    }
}
