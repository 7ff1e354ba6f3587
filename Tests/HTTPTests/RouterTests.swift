// Routes, percent-encoding and pairs.

import HTTP
import Net
import Testing

struct RouterTests {
    private func router() -> Router<String> {
        var router = Router<String>()
        router.add(.get, "/", "root")
        router.add(.get, "/v1/streams", "list")
        router.add(.get, "/v1/streams/{s}", "stream")
        router.add(.delete, "/v1/streams/{s}", "drop")
        router.add(.post, "/v1/streams/{s}/messages", "add")
        router.add(.get, "/v1/streams/{s}/messages/{id}", "message")
        router.add(.get, "/v1/streams/all/count", "count")
        return router
    }

    private func match(_ method: HTTP.Method, _ path: String) -> String {
        var path = path
        return path.withUTF8 { bytes in
            switch router().match(method, UnsafeRawBufferPointer(bytes)) {
            case .found(let name, let parameters):
                ([name] + (0..<parameters.count).map { text(parameters[$0]) }).joined(separator: " ")
            case .options(let allow): "options \(allow)"
            case .methodNotAllowed(let allow): "405 \(allow)"
            case .notFound: "404"
            }
        }
    }

    @Test func `a path finds its endpoint and its raw parameters`() {
        #expect(match(.get, "/") == "root")
        #expect(match(.get, "/v1/streams") == "list")
        #expect(match(.get, "/v1/streams/a%2Fb+c") == "stream a%2Fb+c")
        #expect(match(.get, "/v1/streams/") == "stream ")
        #expect(match(.get, "/v1/streams/a/messages/1-0") == "message a 1-0")
        #expect(match(.get, "/v1/stre%61ms") == "list")
        #expect(match(.get, "/v1/stre%6") == "404")
        #expect(match(.get, "/v1") == "404")
        #expect(match(.get, "/v1/streams/a/b") == "404")
        #expect(match(.get, "//v1/streams") == "404")
    }

    @Test func `a literal goes before a parameter, and a parameter where the literal leads nowhere`() {
        #expect(match(.get, "/v1/streams/all/count") == "count")
        #expect(match(.post, "/v1/streams/all/messages") == "add all")
        #expect(match(.get, "/v1/streams/all") == "stream all")
    }

    @Test func `methods`() {
        #expect(match(.head, "/v1/streams/a") == "stream a")
        #expect(match(.put, "/v1/streams/a") == "405 GET, HEAD, DELETE, OPTIONS")
        #expect(match(.head, "/v1/streams/a/messages") == "405 POST, OPTIONS")
        #expect(match(.options, "/v1/streams/a/messages") == "options POST, OPTIONS")
        #expect(match(.options, "*") == "options GET, HEAD, POST, DELETE, OPTIONS")
        #expect(match(.other, "/v1/streams") == "405 GET, HEAD, OPTIONS")
    }

    private func decode(_ text: String, plusIsSpace: Bool = false) -> String? {
        Array(text.utf8).withUnsafeBytes { bytes in
            let output = ByteBuffer()
            do throws(HTTPError) {
                let array = try percentDecode(bytes, plusIsSpace: plusIsSpace)
                try percentDecode(bytes, into: output, plusIsSpace: plusIsSpace)
                #expect(output.takeArray() == array)
                return String(decoding: array, as: UTF8.self)
            } catch {
                return nil
            }
        }
    }

    @Test func `percent-encoding is decoded once and malformed encoding is an error`() {
        #expect(decode("a%2fb%25%32%30+") == "a/b%20+")
        #expect(decode("a+b%2B", plusIsSpace: true) == "a b+")
        #expect(decode("") == "")
        for bad in ["%", "%2", "a%", "%zz", "%2g", "%%41"] { #expect(decode(bad) == nil) }
    }

    @Test func `pairs are read in place`() {
        Array("count=5&&flag&=x&a=b=c&no%61ck=%31+&bad%=1".utf8).withUnsafeBytes { bytes in
            let pairs = Array(PairSequence(bytes, .query))
            #expect(pairs.map { text($0.name) } == ["count", "flag", "", "a", "no%61ck", "bad%"])
            #expect(pairs.map { text($0.value) } == ["5", nil, "x", "b=c", "%31+", "1"])
            #expect(pairs[0].hasName("count") && !pairs[0].hasName("coun") && !pairs[0].hasName("counts"))
            #expect(pairs[4].hasName("noack") && !pairs[5].hasName("bad%"))
            // A nil of try? is unequal: it fails the expectation.
            #expect((try? pairs[4].decodedValue()) == Array("1+".utf8))
            // The same.
            #expect((try? Array(PairSequence(bytes, .form))[4].decodedValue()) == Array("1 ".utf8))
        }
    }
}
