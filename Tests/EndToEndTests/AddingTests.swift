// Every form in which messages come in, and what goes out for it.

import Support
import Testing

@Suite(.gateway("--max-ndjson-lines", "20")) struct AddingTests {
    let rig = Rig.current

    private func post(
        _ stream: String, _ query: String, _ body: [UInt8], type: String?
    ) throws -> Reply {
        let headers = type.map { ["Content-Type": $0] } ?? [:]
        return try rig.client.begin("POST", "/v1/streams/\(stream)/messages\(query)", body: body, headers: headers).wait()
    }

    private func post(_ stream: String, _ body: [UInt8], type: String?) throws -> Reply {
        try post(stream, "", body, type: type)
    }

    struct Form: Sendable, CustomTestStringConvertible {
        let body: [UInt8]
        let type: String?
        /// As it comes back, behind the ID.
        let comesBack: String

        init(_ body: String, _ comesBack: String) { self.init(body, "application/json", comesBack) }

        init(_ body: String, _ type: String, _ comesBack: String) {
            self.init(bytes: Array(body.utf8), type, comesBack)
        }

        init(bytes: [UInt8], _ type: String?, _ comesBack: String) {
            (self.body, self.type, self.comesBack) = (bytes, type, comesBack)
        }

        var testDescription: String { String(decoding: body, as: UTF8.self) }
    }

    @Test(arguments: [
        Form(#"{"fields":{"b":"1","a":"2"}}"#, #""fields":{"b":"1","a":"2"}"#),
        Form(#" {"fields" : {"a" : 99.990 , "b" : true , "c" : -1e+5}}"#, #""fields":{"a":"99.990","b":"true","c":"-1e+5"}"#),
        Form(#"{"fields":{"a":{"x" : [1, "\u00e9", null]},"b":[]}}"#, #""fields":{"a":"{\"x\":[1,\"\\u00e9\",null]}","b":"[]"}"#),
        Form(#"{"fields":{"a":"\ud83d\ude00\n\"\\","":""}}"#, #""fields":{"a":"😀\n\"\\","":""}"#),
        Form(#"{"fields":[["a","1"],["b","2"]]}"#, #""fields":{"a":"1","b":"2"}"#),
        Form(#"{"fields":[["a","1"],["a","2"]]}"#, #""fields":[["a","1"],["a","2"]]"#),
        Form(#"{"encoding":"base64","fields":{"YQ==":"//4="}}"#, #""fields":{"YQ==":"//4="},"encoding":"base64""#),
        Form(#"{"encoding":"base64","fields":{"YQ==":"Yg=="}}"#, #""fields":{"a":"b"}"#),
        Form(#"{"fields":{"a":"\u0000"}}"#, #""fields":{"a":"\u0000"}"#),
        Form("a=1&b=x+y%21&c&=d", "application/x-www-form-urlencoded", #""fields":{"a":"1","b":"x y!","c":"","":"d"}"#),
        Form("a=1&a=2", "application/x-www-form-urlencoded; charset=UTF-8", #""fields":[["a","1"],["a","2"]]"#),
        Form(" \n{\"fields\":{\"a\":\"1\"}}", "application/x-www-form-urlencoded", #""fields":{"a":"1"}"#),
        Form("a=%FF", "application/x-www-form-urlencoded", #""fields":{"YQ==":"/w=="},"encoding":"base64""#),
        Form("{\"a\":1}", "text/plain", #""fields":{"data":"{\"a\":1}"}"#),
        Form("", "text/plain;charset=utf-8", #""fields":{"data":""}"#),
        Form("hello", "application/octet-stream", #""fields":{"data":"hello"}"#),
        Form(bytes: [0xFF, 0x00], "application/octet-stream", #""fields":{"ZGF0YQ==":"/wA="},"encoding":"base64""#),
    ]) func `a message comes back as it was meant`(form: Form) throws {
        let stream = rig.newStream("forms")
        let reply = try post(stream, form.body, type: form.type).expect(201)
        let id = try #require(reply.json["id"].string)
        #expect(reply.text == #"{"id":"\#(id)"}"# + "\n")
        #expect(try rig.client.get("/v1/streams/\(stream)/messages/\(id)").text == #"{"id":"\#(id)",\#(form.comesBack)}"# + "\n")
        let page = try rig.client.get("/v1/streams/\(stream)/messages").text
        #expect(page == #"{"messages":[{"id":"\#(id)",\#(form.comesBack)}],"next":null}"# + "\n")
    }

    @Test func `no Content-Type is JSON, and a chunked body is a body`() throws {
        let stream = rig.newStream("raw")
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", "/v1/streams/\(stream)/messages", body: #"{"fields":{"a":"1"}}"#)
        #expect(try socket.reply().status == 201)
        try socket.send("POST /v1/streams/\(stream)/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        #expect(try socket.reply().status == 100)
        try socket.send("6\r\n{\"fiel\r\nE;x=y\r\nds\":{\"a\":\"2\"}}\r\n0\r\nTrailer: x\r\n\r\n")
        #expect(try socket.reply().status == 201)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").json["messages"].array.map { $0["fields"]["a"] } == ["1", "2"])
    }

    @Test func `names are bytes, percent-encoded once`() throws {
        let stream = "a%2Fb+c%25%FF\(rig.newStream())"
        #expect(try post(stream, Array("a=1".utf8), type: nil).status == 201)
        #expect(try rig.client.put("/v1/streams/\(stream)/groups/g%FE").status == 201)
        let group = try rig.client.get("/v1/streams/\(stream)/groups").json["groups"][0]
        #expect(group["name"] == "g%FE" && group["name_encoding"] == "percent")
        #expect(try rig.client.post("/v1/streams/\(stream)/groups/g%FE/consumers/%C3%A9+%20/read").ids.count == 1)
        let consumer = try rig.client.get("/v1/streams/\(stream)/groups/g%FE/consumers").json["consumers"][0]
        #expect(consumer["name"] == "é+ " && consumer["name_encoding"] == nil)
        let rows = try rig.client.get("/v1/streams/\(stream)/groups/g%FE/pending/messages?consumer=%C3%A9+%20").json["messages"]
        #expect(rows.array.count == 1, "+ is a plus in queries too")
    }

    @Test func `IDs are Redis' own, given ones are kept, and words of Redis are understood`() throws {
        let stream = rig.newStream("ids")
        for (query, body, id, isNew) in [
            ("", #"{"fields":{"a":"1"},"id":"5-1"}"#, "5-1", false), ("?id=5-*", #"{"fields":{"a":"1"}}"#, "5-2", true),
            ("?id=6", #"{"fields":{"a":"1"}}"#, "6-0", false), ("", #"{"fields":{"a":"1"},"id":"6-*"}"#, "6-1", true),
        ] {
            let reply = try post(stream, query, Array(body.utf8), type: nil)
            if isNew && rig.isBeforeVersion7 {
                #expect(reply.status == 501 && reply.code == "NOT_SUPPORTED_BY_REDIS", "\(reply.text)")
            } else {
                #expect(reply.json == ["id": .string(id)])
            }
        }
        let last = try post(stream, "?id=*", Array("a=1".utf8), type: nil).json["id"].string
        #expect(last.map { $0.count > 10 } == true)
    }

    @Test func `trimming goes with adding`() throws {
        let stream = rig.newStream("trim")
        for _ in 1...5 { #expect(try post(stream, "?maxlen=3&approx=false", Array("a=1".utf8), type: nil).status == 201) }
        let left = try rig.client.get("/v1/streams/\(stream)/messages").ids
        #expect(left.count == 3)
        // An hour later, and not much more: Redis 6.2.5 trims too much by minid where two entries are 2^31 ms apart.
        let later = (left.last?.split(separator: "-").first.flatMap { Int($0) } ?? 0) + 3_600_000
        #expect(try post(stream, "?id=\(later)-1&minid=\(later)&approx=false", Array("a=1".utf8), type: nil).status == 201)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").ids == ["\(later)-1"])
        #expect(try post(stream, "?maxlen=1&nomkstream&limit=10", Array("a=1".utf8), type: nil).status == 201)
    }

    // MARK: Batches

    @Test func `a batch is added in order, and tells the fate of each`() throws {
        let stream = rig.newStream("batch")
        let all = try post(stream, Array(#"{"messages":[{"fields":{"n":"1"}},{"fields":{"n":"2"},"id":"99999999999999-1"}]}"#.utf8), type: nil)
        all.expect(201)
        #expect(all.json["results"].array.count == 2 && all.json["results"][1] == ["id": "99999999999999-1"])
        #expect(all.json.members == ["results"])
        let some = try post(stream, Array(#"{"messages":[{"fields":{"n":"3"}},{"fields":{"n":"4"},"id":"5-1"}]}"#.utf8), type: nil)
        some.expect(207)
        #expect(some.json["results"][0]["id"].string != nil && some.json["results"][1]["error"]["code"] == "ID_TOO_SMALL")
        let none = try post(stream, Array(#"{"messages":[{"fields":{"n":"5"},"id":"1-1"},{"fields":{"n":"6"},"id":"1-2"}]}"#.utf8), type: nil)
        none.expect(409)
        #expect(none.code == "ID_TOO_SMALL" && none.json["results"].array.map { $0["error"]["code"] } == ["ID_TOO_SMALL", "ID_TOO_SMALL"])
    }

    @Test func `a batch of NDJSON is added as it arrives, and a bad line is that line's error alone`() throws {
        let stream = rig.newStream("lines")
        let body = "{\"fields\":{\"n\":\"1\"}}\n\n \r\nnope\n{\"fields\":{\"n\":\"2\"}}\r\n{\"fields\":{\"n\":null}}\n{\"fields\":{\"n\":\"3\"}}"
        let reply = try post(stream, Array(body.utf8), type: "application/x-ndjson").expect(207)
        let results = reply.json["results"].array
        #expect(results.map { $0["id"] != nil } == [true, false, true, false, true])
        #expect(results.map { $0["error"]["code"] } == [nil, "INVALID_JSON", nil, "INVALID_JSON", nil])
        #expect(results[1]["error"]["request_id"] == nil && results[1]["error"]["status"] == 400)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").numbers == ["1", "2", "3"])
        let bad = try post(stream, Array("nope\nnope".utf8), type: "application/x-ndjson").expect(400)
        #expect(bad.json["results"].array.count == 2)

        let socket = try ClientSocket(port: rig.port)
        try socket.send("POST /v1/streams/\(stream)/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        try socket.send("1B\r\n{\"fields\":{\"n\":\"4\"}}\n{\"fiel\r\n")
        try waitUntil("the first line is added") { try rig.client.get("/v1/streams/\(stream)/messages").numbers.last == "4" }
        try socket.send("10\r\nds\":{\"n\":\"5\"}}\n\n\r\n0\r\n\r\n")
        #expect(try socket.reply().status == 201)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").numbers == ["1", "2", "3", "4", "5"])
        let many = String(repeating: "{\"fields\":{\"n\":\"9\"}}\n", count: 21)
        #expect(try post(stream, Array(many.utf8), type: "application/x-ndjson").expect(413).code == "TOO_LARGE")
    }

    // MARK: Ranges

    @Test func `a range goes either way, page by page, with exclusive bounds`() throws {
        let stream = rig.newStream("range")
        for number in 1...7 { #expect(try post(stream, "?id=\(number)-1", Array("n=\(number)".utf8), type: nil).status == 201) }
        var seen: [String] = []
        var start = "earliest"
        while true {
            let page = try rig.client.get("/v1/streams/\(stream)/messages?count=3&start=\(start)")
            seen += page.numbers
            guard let next = page.json["next"].string else { break }
            start = next
        }
        #expect(seen == ["1", "2", "3", "4", "5", "6", "7"])
        for (query, numbers) in [
            ("order=desc&count=2", ["7", "6"]), ("start=2&end=3", ["2", "3"]), ("start=(2-1&end=(4-1", ["3"]),
            ("start=%282&end=%284", ["2", "3", "4"]), ("start=-&end=%2B&count=1", ["1"]), ("start=latest", []),
            ("order=desc&end=3-1&start=2-1", ["3", "2"]), ("after=5-1", ["6", "7"]), ("after=earliest&count=1", ["1"]),
            ("after=0&count=1", ["1"]), ("after=latest", []), ("after=%24&block_ms=1", []),
        ] {
            let reply = try rig.client.get("/v1/streams/\(stream)/messages?\(query)").expect(200)
            #expect(reply.numbers == numbers, "\(query)")
        }
        #expect(try rig.client.get("/v1/streams/\(stream)/messages?after=5-1&count=1").json["last_id"] == "6-1")
        #expect(try rig.client.get("/v1/streams/\(stream)/messages?after=latest").json["last_id"] == "7-1")
        let desc = try rig.client.get("/v1/streams/\(stream)/messages?order=desc&count=7")
        #expect(desc.json["next"] == nil)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages?order=desc&count=5").json["next"] == "(3-1")
        #expect(try rig.client.get("/v1/streams/\(rig.newStream())/messages?after=5").json == ["messages": [], "last_id": "5-0"])
    }

    @Test func `reads come in slices and end where the reply would grow too large`() throws {
        let rig = try Rig(["--max-reply-bytes", "20000"])
        let stream = try rig.newGroup("large")
        let lines = (0..<300).map { "{\"fields\":{\"n\":\"\($0)\"}}\n" }.joined()
        try rig.client.begin("POST", "/v1/streams/\(stream)/messages", body: Array(lines.utf8), headers: ["Content-Type": "application/x-ndjson"]).wait().expect(201)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages?count=250").numbers == (0..<250).map(String.init))
        #expect(try rig.read(stream, "c", "count=250").numbers == (0..<250).map(String.init))
        let large = String(repeating: "{\"fields\":{\"n\":\"\(String(repeating: "x", count: 1000))\"}}\n", count: 200)
        try rig.client.begin("POST", "/v1/streams/\(stream)/messages", body: Array(large.utf8), headers: ["Content-Type": "application/x-ndjson"]).wait().expect(201)
        #expect(try rig.metric("sluice_reads_cut_total") == 0)
        let range = try rig.client.get("/v1/streams/\(stream)/messages?count=1000")
        #expect(try range.ids.count < 500 && range.json["next"] != nil && rig.metric("sluice_reads_cut_total") == 1)
        let cut = try rig.read(stream, "d", "count=1000")
        #expect(try rig.metric("sluice_reads_cut_total") == 2)
        #expect(cut.body.count > 20000 && cut.body.count < 200_000 && cut.ids.count < 250)
        var left = 250 - cut.ids.count
        while left > 0 {
            let more = try rig.read(stream, "d", "count=1000").ids.count
            #expect(more > 0)
            left -= more
            if more == 0 { break }
        }
        #expect(left == 0)
    }
}
