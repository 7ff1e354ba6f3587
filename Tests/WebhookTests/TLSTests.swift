// A receiver that speaks TLS, with a certificate that nobody but the test vouches for (python3's http.server; openssl
// makes the key anew for each run).

import Glibc
import Net
import Testing

@testable import Webhook

private final class TLSReceiver {
    let folder: String
    let port: UInt16
    private let process: ProcessDescriptor
    var authority: String { folder + "/authority.pem" }

    private static let program = """
        import http.server, ssl, sys
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def do_POST(self):
                self.rfile.read(int(self.headers['Content-Length']))
                self.send_response(204)
                self.end_headers()
            def log_message(self, *words): pass
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1] + '/receiver.pem', sys.argv[1] + '/receiver.key')
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print(server.server_address[1], flush=True)
        server.serve_forever()
        """

    /// The test's own authority, and a certificate of its making for `name`.
    private static func commands(_ folder: String, _ name: String) -> [[String]] {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        return [
            ["req", "-x509"] + key + [
                "-keyout", "\(folder)/authority.key", "-out", "\(folder)/authority.pem", "-subj", "/CN=test authority", "-days", "2",
            ],
            ["req", "-new"] + key + ["-keyout", "\(folder)/receiver.key", "-out", "\(folder)/receiver.csr", "-subj", "/CN=receiver"],
            [
                "x509", "-req", "-in", "\(folder)/receiver.csr", "-CA", "\(folder)/authority.pem", "-CAkey", "\(folder)/authority.key",
                "-CAcreateserial", "-out", "\(folder)/receiver.pem", "-days", "2", "-extfile", "\(folder)/names",
            ],
        ]
    }

    init(for name: String) throws {
        var template = Array("/tmp/sluice-tls-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        let names = "subjectAltName=\(name)\n"
        let file = open(folder + "/names", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        write(file, names, names.utf8.count)
        close(file)
        for arguments in TLSReceiver.commands(folder, name) {
            let openssl = try ProcessDescriptor.spawn("/usr/bin/env", ["openssl"] + arguments, output: folder + "/openssl.log")
            try #require(openssl.waitForEnd(atMost: .seconds(60)))
            try #require(openssl.reap() == 0)
        }
        let output = folder + "/port"
        process = try .spawn("/usr/bin/env", ["python3", "-c", TLSReceiver.program, folder], output: output)
        var found: UInt16?
        let clock = MonotonicClock()
        let end = clock.now + .seconds(60)
        while found == nil, clock.now < end, !process.waitForEnd(atMost: .milliseconds(5)) { found = TLSReceiver.number(output) }
        port = try #require(found, "python3 did not start")
    }

    deinit {
        process.send(SIGKILL)
        _ = process.waitForEnd(atMost: .seconds(5))
        _ = process.reap()
        for name in ["names", "openssl.log", "port", "authority.key", "authority.pem", "authority.srl", "receiver.key", "receiver.csr", "receiver.pem"] {
            unlink(folder + "/" + name)
        }
        rmdir(folder)
    }

    private static func number(_ path: String) -> UInt16? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = max(read(file, &bytes, bytes.count), 0)
        guard let end = bytes[..<count].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        return UInt16(String(decoding: bytes[..<end], as: UTF8.self))
    }
}

@Suite(.serialized) struct TLSTests {
    private func post(_ receiver: TLSReceiver, _ tls: WebhookTLS) throws -> WebhookResult {
        let bench = try Bench()
        return try bench.post(
            WebhookRequest(to: WebhookEndpoint(url: "https://127.0.0.1:\(receiver.port)/", tls: tls), body: Array("{}".utf8)))
    }

    @Test func `a certificate counts where its authority is configured, and nowhere else`() throws {
        let receiver = try TLSReceiver(for: "IP:127.0.0.1")
        #expect(try post(receiver, WebhookTLS(authorityFile: receiver.authority)).answer?.status == 204)
        let refused = try post(receiver, WebhookTLS())
        #expect(refused.failure == .tls && refused.failure?.isOurs == false)
        #expect(refused.message.contains("certificate"), "\(refused.message)")
        #expect(try post(receiver, WebhookTLS(verifies: false)).answer?.status == 204)
        #expect(try post(receiver, WebhookTLS(authorityFile: "/nonexistent")).failure == .tls)
    }

    @Test func `a certificate for another name is refused, whoever made it`() throws {
        let receiver = try TLSReceiver(for: "DNS:elsewhere.test")
        let refused = try post(receiver, WebhookTLS(authorityFile: receiver.authority))
        #expect(refused.failure == .tls)
        #expect(refused.message.contains("127.0.0.1"), "\(refused.message)")
    }

    @Test func `a kept connection that was made without verifying is not for one who verifies`() throws {
        let receiver = try TLSReceiver(for: "IP:127.0.0.1")
        let bench = try Bench()
        func post(_ tls: WebhookTLS) throws -> WebhookResult {
            try bench.post(WebhookRequest(to: WebhookEndpoint(url: "https://127.0.0.1:\(receiver.port)/", tls: tls), body: []))
        }
        #expect(try post(WebhookTLS(verifies: false)).answer?.status == 204)
        #expect(try post(WebhookTLS()).failure == .tls)
        #expect(try post(WebhookTLS(verifies: false)).newConnection == false)
    }
}
