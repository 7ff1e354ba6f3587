// Where secrets are that a configuration only names: tokens', and sinks'. Read when they are needed, never kept in the
// configuration.

import Glibc

/// Why a secret can't be had. Goes on where its reader has said which it is; never quotes one.
struct SecretProblem: Error {
    let reason: String
}

enum SecretPlace {
    /// No secret is longer; who names a log file or a device gets a sentence.
    private static let fileLimit = 16 * 1024

    static func variable(_ name: String) throws(SecretProblem) -> String {
        guard let value = getenv(name) else { throw SecretProblem(reason: "the environment variable \(name) is not set") }
        return String(cString: value)
    }

    /// Without its line break.
    static func firstLine(_ path: String) throws(SecretProblem) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)  // A pipe that nobody writes to would hold the loop.
        guard file >= 0 else { throw SecretProblem(reason: "cannot open \(path): \(lastError)") }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: fileLimit)
        let count = read(file, &bytes, fileLimit)
        guard count >= 0 else { throw SecretProblem(reason: "cannot read \(path): \(lastError)") }
        guard count < fileLimit else { throw SecretProblem(reason: "\(path) has \(fileLimit) bytes or more") }
        return Array(bytes[..<count].prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}
