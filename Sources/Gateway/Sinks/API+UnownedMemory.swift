// Sinks and handlers of a loop share what is known of unowned messages.

import Net

extension API: UnownedMemory {
    func mayHaveUnowned(_ key: WaitKey) -> Bool { unowned.mayHave(key, now: loop.now) }

    func unownedDue(_ key: WaitKey) -> EventLoop.Instant? { unowned.due(key) }

    func unownedGeneration(_ key: WaitKey) -> UInt32 { unowned.generation(key) }

    func foundNoUnowned(_ key: WaitKey, due: EventLoop.Instant?, generation: UInt32) {
        unowned.foundNone(key, due: due, generation: generation, now: loop.now)
    }
}
