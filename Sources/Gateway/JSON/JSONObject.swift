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
        var seen: Set<String> = []
        try reader.enterObject()
        while let name = try reader.nextMember()?.text() {
            if let problem = refusal(name, known, &seen) { return problem }
            if let problem = try member(name, &reader) { return problem }
        }
        try reader.end()
        return nil
    }

    /// Why a member is not taken. `parent` points to the object.
    static func refusal(_ name: String, _ known: [String], _ seen: inout Set<String>, at parent: String = "") -> Problem? {
        // RFC 6901 §3: these two are escaped in pointers.
        let pointer = "\(parent)/" + String(name.prefix(80)).replacing("~", with: "~0").replacing("/", with: "~1")
        guard known.contains(name) else {
            let meant = nearestName(to: name, among: known).map { "; did you mean \($0)?" } ?? "; known are \(known.joined(separator: ", "))."
            return .body("unknown member \(Array(name.utf8).quoted)\(meant)", at: pointer)
        }
        guard seen.insert(name).inserted else {
            return .body("member \(Array(name.utf8).quoted) is given more than once", at: pointer)
        }
        return nil
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
