// Up to where a stream is dealt with for good, as far as this process has seen: where a lost group begins anew.

import Net
import Redis

struct SinkWatermark {
    /// In order. They come in order, nearly, and go in order, roughly: both ends are near.
    private var open = Fifo<StreamID>()
    private var highestSettled: StreamID?
    /// Everything up to here was settled when it was set.
    private var settledThrough: StreamID?

    mutating func opened(_ id: StreamID) {
        guard let last = open.last, id <= last else { return open.append(id) }
        let place = place(of: id)
        if open[place] != id { open.insert(id, at: place) }
    }

    /// `settled`: acknowledged or a dead letter, as Redis has confirmed; else it went to somebody else.
    mutating func closed(_ id: StreamID, settled: Bool) {
        remove(id)
        guard settled else { return }
        highestSettled = max(highestSettled ?? id, id)
        if let least = open.first, least < id { return }
        settledThrough = max(settledThrough ?? id, open.isEmpty ? highestSettled! : id)
    }

    /// The group may begin after this without passing over anything that is open; nil: at the beginning.
    var position: StreamID? {
        guard let settledThrough else { return nil }
        guard let least = open.first, least <= settledThrough else { return settledThrough }
        return least.previous
    }

    private mutating func remove(_ id: StreamID) {
        let place = place(of: id)
        if place < open.count, open[place] == id { open.remove(at: place) }
    }

    /// Where the first that is not below `id` stands.
    private func place(of id: StreamID) -> Int { open.partitionPoint { $0 < id } }
}
