// What a process has cost so far, from /proc.

import Glibc
import Net

struct ProcessCost {
    /// User and system time together, in the kernel's ticks of 10 ms.
    let cpu: Duration

    init(pid: Int32) {
        // pid (name) state …: the name may hold spaces, so the fields are counted after its parenthesis.
        let text = readFile("/proc/\(pid)/stat")
        let fields = text[(text.lastIndex(of: ")").map(text.index(after:)) ?? text.startIndex)...].split(separator: " ")
        let ticks = fields.count > 12 ? (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0) : 0
        cpu = .milliseconds(ticks * 1000 / sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Resident memory now, in bytes.
    static func resident(pid: Int32) -> Int {
        let pages = readFile("/proc/\(pid)/statm").split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }

    /// The same without pages of files: the program's own code comes into memory as it is used for the
    /// first time, whoever uses it.
    static func anonymous(pid: Int32) -> Int {
        let fields = readFile("/proc/\(pid)/statm").split(separator: " ").compactMap { Int($0) }
        guard fields.count > 2 else { return 0 }
        return (fields[1] - fields[2]) * sysconf(Int32(_SC_PAGESIZE))
    }
}

/// CPU of some processes over a stretch of work.
struct CPUMeter {
    private let pids: [Int32]
    private let before: [ProcessCost]

    init(_ pids: [Int32]) {
        self.pids = pids
        before = pids.map(ProcessCost.init)
    }

    /// Microseconds a request, for each process.
    func perRequest(_ requests: Int) -> [Double] {
        zip(pids, before).map { pid, cost in
            (ProcessCost(pid: pid).cpu - cost.cpu).inSeconds * 1e6 / Double(max(requests, 1))
        }
    }
}

/// A small file's text; empty when it can't be read.
func readFile(_ path: String) -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    let buffer = ByteBuffer()
    while true {
        let room = buffer.reserve(4096)
        let count = read(file, room.baseAddress, room.count)
        guard count > 0 else { break }
        buffer.wrote(count)
    }
    return String(decoding: buffer.bytes, as: UTF8.self)
}
