// swift-log's back end: one `write` of one whole line to stderr, from any thread.
//
// A line longer than `lineLimit` is cut. A pipe whose reader has stopped must not stop the loop with it: a line that
// can't be written within `patience` is dropped, and once lines go again the number of those is told.

import Glibc
import Logging
import Net
import Synchronization

/// Where all lines of the process go. Shared by all threads.
final class StderrLog: Sendable {
    /// Bytes of a line: what a pipe takes in one piece with others writing too, PIPE_BUF.
    static let lineLimit = 4096
    /// Milliseconds that a line may wait for a full pipe.
    static let patience: Int32 = 20

    let form: LogLine.Form
    private let descriptor: Int32
    private let droppedLines = Atomic<Int>(0)
    private let untoldLines = Atomic<Int>(0)
    /// The pipe was full the last time: the next line does not wait at all.
    private let isStuck = Atomic<Bool>(false)

    /// - Parameter format: `auto` asks whether the descriptor is a terminal.
    init(_ format: Config.LogFormat, descriptor: Int32 = STDERR_FILENO) {
        self.descriptor = descriptor
        switch format {
        case .human: form = .human
        case .json: form = .json
        case .auto: form = isatty(descriptor) == 1 ? .human : .json
        }
    }

    /// Lines lost so far because nobody took them.
    var dropped: Int { droppedLines.load(ordering: .relaxed) }

    func write(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) {
        let buffer = ByteBuffer(capacity: 512)
        LogLine.append(to: buffer, form, time: MonotonicClock().wallTime, level: level, message: message, metadata: metadata)
        if buffer.count > StderrLog.lineLimit { shorten(buffer, level, message) }
        guard put(buffer) else {
            droppedLines.wrappingAdd(1, ordering: .relaxed)
            untoldLines.wrappingAdd(1, ordering: .relaxed)
            return
        }
        let untold = untoldLines.exchange(0, ordering: .relaxed)
        if untold > 0 { write(.warning, "log lines were lost: nobody read them", ["lines": "\(untold)"]) }
    }

    /// Writes one line; false when it could not go in time.
    private func put(_ buffer: ByteBuffer) -> Bool {
        // Asked first, never a non-blocking descriptor: stderr is shared with our parent.
        var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        let wait = isStuck.load(ordering: .relaxed) ? 0 : StderrLog.patience
        let isReady = Glibc.poll(&poll, 1, wait) == 1
        isStuck.store(!isReady, ordering: .relaxed)
        // A pipe that is writable has room for PIPE_BUF bytes (pipe(7)): this does not block.
        return isReady && Glibc.write(descriptor, buffer.bytes.baseAddress, buffer.count) == buffer.count
    }

    /// A line that is too long keeps the start of its message and loses its metadata, so that it stays well formed.
    private func shorten(_ buffer: ByteBuffer, _ level: Logger.Level, _ message: String) {
        buffer.clear()
        // An escaped byte takes at most eight.
        let start = String(decoding: message.utf8.prefix(StderrLog.lineLimit / 8 - 64), as: UTF8.self)
        LogLine.append(to: buffer, form, time: MonotonicClock().wallTime, level: level, message: start, metadata: ["cut": "true"])
    }

}

/// A logger's own level and metadata before the shared sink.
struct StderrLogHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let sink: StderrLog

    init(_ sink: StderrLog, level: Logger.Level) {
        self.sink = sink
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provider = metadataProvider { all.merge(provider.get()) { $1 } }
        if let more = event.metadata { all.merge(more) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        sink.write(event.level, event.message.description, all)
    }
}

extension Config {
    /// The loggers of this configuration. Once a process: `LoggingSystem.bootstrap` may only be called once.
    func bootstrapLogging() {
        let sink = StderrLog(logFormat)
        let level = Logger.Level(rawValue: logLevel.rawValue) ?? .info  // The names are the same.
        LoggingSystem.bootstrap { _ in StderrLogHandler(sink, level: level) }
    }
}
