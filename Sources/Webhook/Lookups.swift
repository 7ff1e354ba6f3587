// Which name look-ups may run: a pure table.
//
// libcurl starts a thread for every look-up, and one for each transfer that wants the same name. Here a
// name is looked up once at a time, whoever else wants it waits for that, and the number of names under
// way is bounded. `ID` is the transfer.

struct Lookups<ID: AnyObject> {
    let limit: Int
    private(set) var running: [String: ID] = [:]
    /// In the order of asking.
    private(set) var waiting: [(name: String, id: ID)] = []

    init(limit: Int) { self.limit = limit }

    /// True: look it up now, and say `ended`. False: wait to be named by `ended`.
    mutating func begin(_ name: String, _ id: ID) -> Bool {
        guard running[name] == nil, running.count < limit else {
            waiting.append((name, id))
            return false
        }
        running[name] = id
        return true
    }

    /// The look-up of `name` is over. `same` waited for its result; `next` may ask again now: the freed
    /// place is theirs.
    mutating func ended(_ name: String) -> (same: [ID], next: [ID]) {
        running[name] = nil
        let same = waiting.filter { $0.name == name }.map(\.id)
        waiting.removeAll { $0.name == name }
        guard let first = waiting.first(where: { running[$0.name] == nil }) else { return (same, []) }
        waiting.removeAll { $0.id === first.id }
        return (same, [first.id])
    }

    /// `id` has given up waiting.
    mutating func leave(_ id: ID) { waiting.removeAll { $0.id === id } }
}
