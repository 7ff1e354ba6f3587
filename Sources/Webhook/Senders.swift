// Who may begin an exchange, where many senders share what a client may have under way.
//
// A sender may begin one while what it has under way, times the senders that have any, is less than `share` times the room that
// is left. So one alone has nearly all of it; and however many have receivers that hang, and whatever they would like, a ninth
// of it stays free for those who have less. Those who must wait do so by turns. Owned by a `WebhookClient`; pure.

import Net

final class Sender {
    let id: UInt
    fileprivate(set) var underWay = 0
    fileprivate var queue = Fifo<(request: WebhookRequest, done: (WebhookResult) -> Void)>()

    fileprivate init(_ id: UInt) { self.id = id }

    fileprivate var isWaiting: Bool { !queue.isEmpty }
}

struct Senders {
    private let limit: Int
    /// Those who have something under way, or waiting, or are about to.
    private var all: [UInt: Sender] = [:]
    /// Those who wait, the next first.
    private var turns = Fifo<Sender>()
    private(set) var underWay = 0
    private(set) var waiting = 0

    /// How much of what is free those who have the most may have: they stop where a part in `share` + 1 is left.
    private static let share = 8

    init(limit: Int) { self.limit = limit }

    /// Whoever asks for one then begins, waits or leaves.
    subscript(id: UInt) -> Sender {
        mutating get {
            if let sender = all[id] { return sender }
            let sender = Sender(id)
            all[id] = sender
            return sender
        }
    }

    func mayBegin(_ sender: Sender) -> Bool { !sender.isWaiting && hasRoom(sender) }

    /// Who has nothing under way is let in as long as there is any room.
    private func hasRoom(_ sender: Sender) -> Bool {
        let free = limit - underWay
        return free > 0 && sender.underWay * all.count < Senders.share * free
    }

    mutating func begin(_ sender: Sender) {
        sender.underWay += 1
        underWay += 1
    }

    mutating func end(_ sender: Sender) {
        sender.underWay -= 1
        underWay -= 1
        leave(sender)
    }

    /// Forgets one who has nothing any more.
    mutating func leave(_ sender: Sender) {
        if sender.underWay == 0, !sender.isWaiting { all[sender.id] = nil }
    }

    mutating func wait(_ sender: Sender, _ request: WebhookRequest, _ done: @escaping (WebhookResult) -> Void) {
        if !sender.isWaiting { turns.append(sender) }
        sender.queue.append((request, done))
        waiting += 1
    }

    /// One that waited and may begin now; with `whoever`, whether or not there is room.
    mutating func next(whoever: Bool = false) -> (request: WebhookRequest, sender: Sender, done: (WebhookResult) -> Void)? {
        guard waiting > 0, let place = whoever ? 0 : turns.firstIndex(where: { hasRoom($0) }) else { return nil }
        let sender = turns.remove(at: place)
        guard let next = sender.queue.popFirst() else { preconditionFailure("Who has a turn waits.") }
        waiting -= 1
        if sender.isWaiting { turns.append(sender) }
        return (next.request, sender, next.done)
    }
}
