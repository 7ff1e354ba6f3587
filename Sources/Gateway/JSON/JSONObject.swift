// Small JSON bodies: one object with known members, each at most once.

import HTTP

enum JSONObject {
    /// Reads one object. `member` reads the value that comes next; it may answer a problem of its own.
    /// A body that is no object, an unknown or a repeated member is refused, naming it.
    static func read(
        _ bytes: UnsafeRawBufferPointer, _ known: [String],
        _ member: (String, inout JSONReader) throws(JSONError) -> Problem?
    ) throws(Problem) {
        var reader = JSONReader(bytes)
        var problem: Problem?
        do {
            problem = try members(&reader, known, member)
        } catch {
            throw Problem(error)
        }
        if let problem { throw problem }
    }

    private static func members(
        _ reader: inout JSONReader, _ known: [String],
        _ member: (String, inout JSONReader) throws(JSONError) -> Problem?
    ) throws(JSONError) -> Problem? {
        var seen: UInt64 = 0  // By the place among the known ones.
        try reader.enterObject()
        while let name = try reader.nextMember() {
            guard let place = known.firstIndex(where: { name == $0 }), seen >> UInt64(place) & 1 == 0 else {
                return refusal(name.text(), known)
            }
            seen |= 1 << UInt64(place)
            if let problem = try member(known[place], &reader) { return problem }
        }
        try reader.end()
        return nil
    }

    /// RFC 6901 §3: these two are escaped in pointers.
    static func pointerToken(_ name: String) -> String { name.replacing("~", with: "~0").replacing("/", with: "~1") }

    /// Why a member is not taken: it is unknown, or was there before. `parent` points to the object.
    static func refusal(_ name: String, _ known: [String], at parent: String = "") -> Problem {
        let pointer = "\(parent)/" + pointerToken(String(name.prefix(80)))
        guard known.contains(name) else {
            let meant = nearestName(to: name, among: known).map { "; did you mean \($0)?" } ?? "; known are \(known.joined(separator: ", "))."
            return .body("unknown member \(Array(name.utf8).quoted)\(meant)", at: pointer)
        }
        return .body("member \(Array(name.utf8).quoted) is given more than once", at: pointer)
    }
}

extension Problem {
    /// Something in a JSON body; `pointer` tells where (RFC 6901).
    static func body(_ detail: String, at pointer: String) -> Problem {
        var problem = Problem(.invalidJSON, "In the body at \(pointer.isEmpty ? "its top" : pointer): \(detail)")
        problem.errors = [(pointer, detail)]
        return problem
    }
}
