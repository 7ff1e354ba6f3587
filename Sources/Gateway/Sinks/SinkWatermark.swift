// Up to where a stream is dealt with for good, as far as this process has seen: where a lost group begins anew.

import Redis

struct SinkWatermark {
    /// In order, from `front` on. They come in order, nearly, and go in order, roughly: both ends are near.
    private var open: [StreamID] = []
    private var front = 0
    private var highestSettled: StreamID?
    /// Everything up to here was settled when it was set.
    private var settledThrough: StreamID?

    private var least: StreamID? { front < open.count ? open[front] : nil }

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
        if let least, least < id { return }
        settledThrough = max(settledThrough ?? id, least == nil ? highestSettled! : id)
    }

    /// The group may begin after this without passing over anything that is open; nil: at the beginning.
    var position: StreamID? {
        guard let settledThrough else { return nil }
        guard let least, least <= settledThrough else { return settledThrough }
        return least.previous
    }

    private mutating func remove(_ id: StreamID) {
        let place = place(of: id)
        guard place < open.count, open[place] == id else { return }
        if place > front { return _ = open.remove(at: place) }
        front += 1
        guard front == open.count || front > 1024 else { return }
        open.removeFirst(front)
        front = 0
    }

    /// Where the first that is not below `id` stands.
    private func place(of id: StreamID) -> Int {
        var (low, high) = (front, open.count)
        while low < high {
            let middle = (low + high) / 2
            if open[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
