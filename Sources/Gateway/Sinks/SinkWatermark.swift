// Up to where a stream is dealt with for good, as far as this process has seen: where a lost group begins anew.

import Redis

struct SinkWatermark {
    private var open: Set<StreamID> = []
    /// The least of `open`; nil: not known, or there is none.
    private var least: StreamID?
    private var highestSettled: StreamID?
    /// Everything up to here was settled when it was set.
    private var settledThrough: StreamID?

    mutating func opened(_ id: StreamID) {
        open.insert(id)
        if let known = least, id < known { least = id }
    }

    /// `settled`: acknowledged or a dead letter, as Redis has confirmed; else it went to somebody else.
    mutating func closed(_ id: StreamID, settled: Bool) {
        open.remove(id)
        if least == id { least = nil }
        guard settled else { return }
        highestSettled = max(highestSettled ?? id, id)
        if least == nil { least = open.min() }
        if let least, least < id { return }
        settledThrough = max(settledThrough ?? id, open.isEmpty ? highestSettled! : id)
    }

    /// The group may begin after this without passing over anything that is open; nil: at the beginning.
    var position: StreamID? {
        guard let settledThrough else { return nil }
        guard let least = open.min(), least <= settledThrough else { return settledThrough }
        return least.previous
    }
}
