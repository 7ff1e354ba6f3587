// A sink and its receiver prove themselves to each other over TLS, with certificates that the test makes.

import Foundation
import Glibc
import Net
import Support
import Testing

@Suite(.blocking) struct SinkTLSTests {
    /// A receiver at 127.0.0.1 with a certificate of the test's own authority, which asks for one of its kind.
    private final class Receiver {
        let folder: TemporaryDirectory
        let port: Int
        private let process: ProcessDescriptor

        init() throws {
            folder = try TemporaryDirectory()
            let path = folder.path
            try "subjectAltName=IP:127.0.0.1".write(toFile: "\(path)/names", atomically: true, encoding: .utf8)
            let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            try Receiver.openssl(path, ["req", "-x509"] + key + ["-keyout", "\(path)/authority.key", "-out", "\(path)/authority.pem", "-subj", "/CN=authority"])
            for name in ["receiver", "payments"] {
                try Receiver.openssl(path, ["req", "-new"] + key + ["-keyout", "\(path)/\(name).key", "-out", "\(path)/\(name).csr", "-subj", "/CN=\(name)"])
                try Receiver.openssl(path, [
                    "x509", "-req", "-in", "\(path)/\(name).csr", "-CA", "\(path)/authority.pem", "-CAkey", "\(path)/authority.key",
                    "-CAcreateserial", "-out", "\(path)/\(name).pem", "-extfile", "\(path)/names",
                ])
            }
            let output = "\(path)/port"
            process = try ProcessDescriptor.spawn(
                "/usr/bin/env", ["python3", PythonProgram.root("Tests/Python/tls_receiver.py"), path], output: output)
            try waitUntil("the receiver listens") { Receiver.text(output).hasSuffix("\n") }
            port = try #require(Int(Receiver.text(output).split(separator: "\n").first ?? ""))
        }

        deinit {
            process.send(SIGKILL)
            _ = process.waitForEnd(atMost: .seconds(5))
            _ = process.reap()
        }

        /// Whose requests came; a file that is not there yet is empty.
        var clients: [String] { Receiver.text("\(folder.path)/requests").split(separator: "\n").map(String.init) }

        private static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }  // Not there yet.

        private static func openssl(_ path: String, _ arguments: [String]) throws {
            let process = try ProcessDescriptor.spawn("/usr/bin/env", ["openssl"] + arguments, output: "\(path)/openssl.log")
            try #require(process.waitForEnd(atMost: .seconds(60)))
            try #require(process.reap() == 0)
        }
    }

    @Test func `only who is trusted is posted to, and the sink shows its certificate`() throws {
        let receiver = try Receiver()
        let path = receiver.folder.path
        func deliver(_ keys: [String: String]) throws -> (clients: [String], letter: JSON) {
            let before = receiver.clients.count
            let rig = try SinkRig(
                ["url": "https://127.0.0.1:\(receiver.port)/", "timeout_ms": "5000", "connect_timeout_ms": "5000", "lease_ms": "11000",
                 "retry": "{base_ms: 10, max_ms: 10, max_deliveries: 2}"].merging(keys) { $1 })
            let gateway = try rig.newGateway()
            let id = try rig.add()
            try rig.waitUntilSettled()
            return (Array(receiver.clients.dropFirst(before)), try rig.deadLetters(gateway)[id] ?? .null)
        }
        let trust = "{ca_file: \(path)/authority.pem}"
        let certificate = "{mtls: {cert_file: \(path)/payments.pem, key_file: \(path)/payments.key}}"
        for (keys, client) in [
            (["tls": trust], "nobody"), (["tls": trust, "auth": certificate], "payments"), (["tls": "{insecure_skip_verify: true}"], "nobody"),
        ] {
            let (clients, letter) = try deliver(keys)
            #expect(clients == [client] && letter == .null, "\(keys): \(letter)")
        }
        let (clients, letter) = try deliver([:])
        #expect(clients.isEmpty && letter["reason"] == "max_retries_exceeded" && letter["last_status"] == "", "\(letter)")
        #expect(letter["last_error"].string?.lowercased().contains("certificate") == true, "\(letter)")
    }
}
