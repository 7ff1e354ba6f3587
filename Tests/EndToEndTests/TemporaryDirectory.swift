// A directory that goes with its test.

import Foundation

final class TemporaryDirectory {
    let path: String

    init() throws {
        path = "/tmp/sluice-e2e-\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    func write(_ text: String, to name: String) throws {
        try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8)
    }

    deinit {
        // What can't be removed stays: a leftover, no failure.
        try? FileManager.default.removeItem(atPath: path)
    }
}
