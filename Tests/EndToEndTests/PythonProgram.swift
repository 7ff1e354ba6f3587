// Programs in Python that tests run, with the packages of Tests/Python/requirements.txt at hand.

import Foundation
import Glibc
import Net
import Support
import Testing

enum PythonProgram {
    /// The interpreter that has them; `deploy/test` makes it.
    static var python: String { ProcessInfo.processInfo.environment["SLUICE_PYTHON"] ?? root(".build-python/bin/python") }

    /// A file's path from its path in the repository.
    static func root(_ path: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: path).path
    }

    /// Runs a program to its end: its exit code, and what it wrote to both outputs.
    static func run(
        _ program: String, _ arguments: [String], atMost limit: Duration = .seconds(300)
    ) throws -> (code: Int32?, output: String) {
        let directory = try TemporaryDirectory()
        let process = try ProcessDescriptor.spawn(python, [program] + arguments, output: "\(directory.path)/output")
        guard process.waitForEnd(atMost: limit) else {
            process.send(SIGKILL)
            _ = process.waitForEnd(atMost: .seconds(10))
            _ = process.reap()
            throw ProgramFailure.noEnd(program)
        }
        return (process.reap().map { $0 >> 8 }, try String(contentsOfFile: "\(directory.path)/output", encoding: .utf8))
    }
}

enum ProgramFailure: Error {
    case noEnd(String)
}
