// What the calls about streams, and those that delete, refuse: the rows of API.md's table of errors for them.

import Support
import Testing

@Suite(.gateway("--max-ids", "5")) struct DeletingErrorTests {
    let rig = Rig.current
    static let stream = "/v1/streams/S"
    static let ack = "/v1/streams/S/groups/g/ack"
    static let ids = #"{"ids":["1-1"]}"#

    static let lists: [BadCall] = [
        BadCall("GET", "/v1/streams?macth=a", 400, "INVALID_PARAMETER", says: "did you mean match"),
        BadCall("GET", "/v1/streams?match=a&match=b", 400, "INVALID_PARAMETER", says: "match"),
        BadCall("GET", "/v1/streams?match=", 400, "INVALID_PARAMETER", says: "match"),
        BadCall("GET", "/v1/streams?match=\(String(repeating: "a", count: 513))", 400, "INVALID_PARAMETER", says: "512"),
        BadCall("GET", "/v1/streams?cursor=", 400, "INVALID_PARAMETER", says: "cursor"),
        BadCall("GET", "/v1/streams?cursor=abc", 400, "INVALID_PARAMETER", says: "cursor"),
        BadCall("GET", "/v1/streams?cursor=-1", 400, "INVALID_PARAMETER", says: "cursor"),
        BadCall("GET", "/v1/streams?cursor=1-1", 400, "INVALID_PARAMETER", says: "cursor"),
        BadCall("GET", "/v1/streams?cursor=18446744073709551616", 400, "INVALID_PARAMETER", says: "cursor"),
        BadCall("GET", "/v1/streams?count=0", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "/v1/streams?count=10001", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("POST", "/v1/streams", 405, "METHOD_NOT_ALLOWED", says: "GET, HEAD, OPTIONS"),
        BadCall("GET", "\(stream)?full=1", 400, "INVALID_PARAMETER", says: "full"),
        BadCall("GET", "\(stream)?count=5", 400, "INVALID_PARAMETER", says: "full"),
        BadCall("GET", "\(stream)?full=false&count=5", 400, "INVALID_PARAMETER", says: "full"),
        BadCall("GET", "\(stream)?full&count=0", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "\(stream)?full&count=1001", 400, "INVALID_PARAMETER", says: "1000"),
        BadCall("GET", "\(stream)?fields=list", 400, "INVALID_PARAMETER", says: "fields"),
        BadCall("GET", "/v1/streams/", 400, "INVALID_PARAMETER", says: "stream"),
        BadCall("GET", "/v1/streams/sluice:x", 403, "RESERVED_NAME"),
        BadCall("DELETE", "/v1/streams/sluice:x", 403, "RESERVED_NAME"),
        BadCall("DELETE", "\(stream)?force", 400, "INVALID_PARAMETER", says: "no parameters"),
        BadCall("DELETE", stream, "{}", 400, "INVALID_REQUEST", says: "no body"),
        BadCall("POST", stream, 405, "METHOD_NOT_ALLOWED", says: "GET, HEAD, PATCH, DELETE, OPTIONS"),
        BadCall("GET", "/v1/streams", headers: ["Accept": "text/html"], 406, "NOT_ACCEPTABLE"),
    ]

    static let patches: [BadCall] = [
        BadCall("PATCH", "\(stream)?last_id=1-1", #"{"last_id":"1-1"}"#, 400, "INVALID_PARAMETER", says: "no parameters"),
        BadCall("PATCH", stream, #"{}"#, 400, "INVALID_JSON", says: "last_id"),
        BadCall("PATCH", stream, 400, "INVALID_JSON"),
        BadCall("PATCH", stream, #"{"entries_added":1,"max_deleted_id":"0-0"}"#, 400, "INVALID_JSON", says: "last_id"),
        BadCall("PATCH", stream, #"{"last_id":"x"}"#, 400, "INVALID_ID", says: "/last_id"),
        BadCall("PATCH", stream, #"{"last_id":"latest"}"#, 400, "INVALID_ID", says: "/last_id"),
        BadCall("PATCH", stream, #"{"last_id":1}"#, 400, "INVALID_JSON"),
        BadCall("PATCH", stream, #"{"last_id":"1-1","last_id":"1-1"}"#, 400, "INVALID_JSON", says: "more than once"),
        BadCall("PATCH", stream, #"{"lastid":"1-1"}"#, 400, "INVALID_JSON", says: "did you mean last_id"),
        BadCall("PATCH", stream, #"{"last_id":"1-1","entries_added":1}"#, 400, "INVALID_JSON", says: "together"),
        BadCall("PATCH", stream, #"{"last_id":"1-1","max_deleted_id":"1-1"}"#, 400, "INVALID_JSON", says: "together"),
        BadCall("PATCH", stream, #"{"last_id":"1-1","entries_added":-1,"max_deleted_id":"0-0"}"#, 400, "INVALID_JSON", says: "entries_added"),
        BadCall("PATCH", stream, #"{"last_id":"1-1","entries_added":1.5,"max_deleted_id":"0-0"}"#, 400, "INVALID_JSON"),
        BadCall("PATCH", stream, #"{"last_id":"1-1","entries_added":1,"max_deleted_id":"1-2"}"#, 400, "INVALID_JSON", says: "above last_id"),
        BadCall("PATCH", stream, #"{"last_id":"1-1","entries_added":1,"max_deleted_id":"x"}"#, 400, "INVALID_ID", says: "/max_deleted_id"),
        BadCall("PATCH", stream, #"{"last_id":"1-1"}"#, type: "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        BadCall("PATCH", "/v1/streams/sluice:x", #"{"last_id":"1-1"}"#, 403, "RESERVED_NAME"),
        BadCall("PATCH", stream, #"{"last_id":"1-1"}"#, 409, "ID_TOO_SMALL"),
    ]

    static let deletions: [BadCall] = [
        BadCall("DELETE", "\(stream)/messages/abc", 400, "INVALID_ID", says: "abc"),
        BadCall("DELETE", "\(stream)/messages/1-1?ref=keep", 400, "INVALID_PARAMETER", says: "no parameters"),
        BadCall("DELETE", "\(stream)/messages/1-1", ids, 400, "INVALID_REQUEST", says: "no body"),
        BadCall("DELETE", "\(stream)/messages/1-1", 404, "MESSAGE_NOT_FOUND"),
        BadCall("POST", "\(stream)/delete", 400, "INVALID_REQUEST", says: "ids"),
        BadCall("POST", "\(stream)/delete", #"{"ids":[]}"#, 400, "INVALID_JSON"),
        BadCall("POST", "\(stream)/delete", #"{"id":["1-1"]}"#, 400, "INVALID_JSON", says: "known are ids"),
        BadCall("POST", "\(stream)/delete", #"{"ids":["1-1","x"]}"#, 400, "INVALID_ID", says: "/ids/1"),
        BadCall("POST", "\(stream)/delete", #"{"ids":["1-1","1-2","1-3","1-4","1-5","1-6"]}"#, 413, "TOO_LARGE", says: "5"),
        BadCall("POST", "\(stream)/delete?ref=all", ids, 400, "INVALID_PARAMETER", says: "keep or delete or acked"),
        BadCall("POST", "\(stream)/delete?ref", ids, 400, "INVALID_PARAMETER", says: "keep or delete or acked"),
        BadCall("POST", "\(stream)/delete?ref=keep&ref=keep", ids, 400, "INVALID_PARAMETER", says: "more than once"),
        BadCall("POST", "\(stream)/delete?reff=keep", ids, 400, "INVALID_PARAMETER", says: "did you mean ref"),
        BadCall("POST", "\(stream)/delete?id=1-1", 400, "INVALID_PARAMETER", says: "id"),
        BadCall("POST", "\(stream)/delete", ids, type: "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        BadCall("GET", "\(stream)/delete", 405, "METHOD_NOT_ALLOWED", says: "POST, OPTIONS"),
        BadCall("POST", "\(stream)/trim", 400, "INVALID_PARAMETER", says: "maxlen"),
        BadCall("POST", "\(stream)/trim?maxlen=-1", 400, "INVALID_PARAMETER", says: "maxlen"),
        BadCall("POST", "\(stream)/trim?maxlen=9223372036854775808", 400, "INVALID_PARAMETER", says: "maxlen"),
        BadCall("POST", "\(stream)/trim?maxlen=1&maxlen=1", 400, "INVALID_PARAMETER", says: "more than once"),
        BadCall("POST", "\(stream)/trim?maxlen=1&minid=1", 400, "INVALID_PARAMETER", says: "minid"),
        BadCall("POST", "\(stream)/trim?minid=x", 400, "INVALID_ID", says: "minid"),
        BadCall("POST", "\(stream)/trim?maxlen=1&limit=1", 400, "INVALID_PARAMETER", says: "approx"),
        BadCall("POST", "\(stream)/trim?maxlen=1&approx=false&limit=1", 400, "INVALID_PARAMETER", says: "approx"),
        BadCall("POST", "\(stream)/trim?maxlen=1&approx&limit=x", 400, "INVALID_PARAMETER", says: "limit"),
        BadCall("POST", "\(stream)/trim?maxlen=1&approx=2", 400, "INVALID_PARAMETER", says: "approx"),
        BadCall("POST", "\(stream)/trim?approx", 400, "INVALID_PARAMETER", says: "approx"),
        BadCall("POST", "\(stream)/trim?ref=keep", 400, "INVALID_PARAMETER", says: "maxlen"),
        BadCall("POST", "\(stream)/trim?maxlen=1&ref=no", 400, "INVALID_PARAMETER", says: "ref"),
        BadCall("POST", "\(stream)/trim?maxlen=1", "{}", 400, "INVALID_REQUEST", says: "no body"),
        BadCall("POST", "\(stream)/messages?ref=keep", #"{"fields":{"a":"1"}}"#, 400, "INVALID_PARAMETER", says: "maxlen or minid"),
        BadCall("POST", "\(stream)/messages?maxlen=1&ref=no", #"{"fields":{"a":"1"}}"#, 400, "INVALID_PARAMETER", says: "ref"),
        BadCall("POST", "\(ack)?ref=keep", ids, 400, "INVALID_PARAMETER", says: "delete=true"),
        BadCall("POST", "\(ack)?ref=keep&delete=false", ids, 400, "INVALID_PARAMETER", says: "delete=true"),
        BadCall("POST", "\(ack)?delete=1", ids, 400, "INVALID_PARAMETER", says: "delete"),
        BadCall("POST", "\(ack)?delete&ref=none", ids, 400, "INVALID_PARAMETER", says: "ref"),
        BadCall("POST", "\(ack)?delete&stats=maybe", ids, 400, "INVALID_PARAMETER", says: "stats"),
        BadCall("POST", "\(ack)?delete", 400, "INVALID_REQUEST", says: "ids"),
        BadCall("POST", "\(ack)?delete&id=1-1", ids, 400, "INVALID_REQUEST"),
        BadCall("POST", "\(ack)?delete", #"{"ids":["1-1","1-2","1-3","1-4","1-5","1-6"]}"#, 413, "TOO_LARGE", says: "5"),
        BadCall("POST", "/v1/streams/sluice:x/delete", ids, 403, "RESERVED_NAME"),
        BadCall("POST", "/v1/streams/sluice:x/trim?maxlen=0", 403, "RESERVED_NAME"),
    ]

    /// The same of a stream that is not there, and of a key of another type.
    static let wrongKeys: [BadCall] = [("N", 404, "STREAM_NOT_FOUND"), ("T", 409, "NOT_A_STREAM")].flatMap { key in
        let (path, status, code) = ("/v1/streams/\(key.0)", key.1, key.2)
        return [
            BadCall("GET", path, status, code),
            BadCall("GET", "\(path)?full", status, code),
            BadCall("PATCH", path, #"{"last_id":"1-1"}"#, status, code),
            BadCall("DELETE", path, status, code),
            BadCall("DELETE", "\(path)/messages/1-1", status, code),
            BadCall("POST", "\(path)/delete", ids, status, code),
            BadCall("POST", "\(path)/delete?ref=keep", ids, status, code),
            BadCall("POST", "\(path)/delete?ref=delete", ids, status, code),
            BadCall("POST", "\(path)/delete?ref=acked", ids, status, code),
            BadCall("POST", "\(path)/trim?maxlen=0", status, code),
            BadCall("POST", "\(path)/trim?minid=5&approx", status, code),
            BadCall("POST", "\(path)/groups/g/ack?delete", ids, status, code),
            BadCall("POST", "\(path)/groups/g/ack?delete&ref=acked", ids, status, code),
        ]
    } + [
        BadCall("POST", "/v1/streams/S/groups/x/ack?delete", ids, 404, "GROUP_NOT_FOUND"),
        BadCall("POST", "/v1/streams/S/groups/x/ack?delete&ref=acked", ids, 404, "GROUP_NOT_FOUND"),
    ]

    @Test(arguments: [lists, patches, deletions, wrongKeys])
    func `a call that must fail says what was wrong`(calls: [BadCall]) throws {
        try rig.refuse(calls)
    }
}
