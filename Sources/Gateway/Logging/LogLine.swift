// One event as one line: for people on a terminal, as JSON for programs.
//
// Nothing that came from outside can break a line or forge another: control characters are escaped in both
// forms, and so are the marks that reorder text on a screen.

import Logging
import Net

/// How lines are written. Pure, so that it can be tested without a descriptor.
struct LogLine {
    enum Form: Sendable {
        case human
        case json
    }

    /// Appends `event` as one line, ending in a newline.
    /// - Parameter time: since 1970.
    static func append(
        to buffer: ByteBuffer, _ form: Form, time: Duration, level: Logger.Level, message: String, metadata: Logger.Metadata
    ) {
        // In the order of their names: the same event always looks the same.
        let values = metadata.sorted { $0.key < $1.key }
        switch form {
        case .human: appendHuman(to: buffer, time, level, message, values)
        case .json: appendJSON(to: buffer, time, level, message, values)
        }
        buffer.append(UInt8(ascii: "\n"))
    }

    private typealias Values = [(key: String, value: Logger.MetadataValue)]

    // MARK: For programs

    /// Members that are ours; metadata of the same name gets an underscore.
    private static let reserved: Set<String> = ["time", "level", "message"]

    private static func appendJSON(
        to buffer: ByteBuffer, _ time: Duration, _ level: Logger.Level, _ message: String, _ values: Values
    ) {
        buffer.append(literal: "{\"time\":\"")
        appendTime(to: buffer, time)
        buffer.append(literal: "\",\"level\":\"")
        buffer.append(level.rawValue)
        buffer.append(literal: "\",\"message\":")
        buffer.appendJSON(message)
        for (key, value) in values {
            buffer.append(UInt8(ascii: ","))
            buffer.appendJSON(reserved.contains(key) ? "_" + key : key)
            buffer.append(UInt8(ascii: ":"))
            buffer.appendJSON("\(value)")
        }
        buffer.append(UInt8(ascii: "}"))
    }

    // MARK: For people

    private static func appendHuman(
        to buffer: ByteBuffer, _ time: Duration, _ level: Logger.Level, _ message: String, _ values: Values
    ) {
        appendTime(to: buffer, time)
        buffer.append(UInt8(ascii: " "))
        let name = level.rawValue.uppercased()
        buffer.append(name)
        for _ in name.utf8.count..<9 { buffer.append(UInt8(ascii: " ")) }
        appendVisible(to: buffer, message)
        for (key, value) in values {
            buffer.append(UInt8(ascii: " "))
            appendVisible(to: buffer, key)
            buffer.append(UInt8(ascii: "="))
            let text = "\(value)"
            // Quoted where a reader could not tell where it ends.
            if text.isEmpty || text.utf8.contains(where: { $0 <= 0x20 || "\"=".utf8.contains($0) }) {
                buffer.append(UInt8(ascii: "\""))
                appendVisible(to: buffer, text, quotes: true)
                buffer.append(UInt8(ascii: "\""))
            } else {
                appendVisible(to: buffer, text)
            }
        }
    }

    /// Text with what a terminal would act on written as `\u{…}`.
    private static func appendVisible(to buffer: ByteBuffer, _ text: String, quotes: Bool = false) {
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x0A: buffer.append(literal: "\\n")
            case 0x0D: buffer.append(literal: "\\r")
            case 0x09: buffer.append(literal: "\\t")
            case 0x22 where quotes: buffer.append(literal: "\\\"")
            case 0x5C where quotes: buffer.append(literal: "\\\\")
            // C0, DEL and C1 (ECMA-48), line and paragraph separators, and the bidirectional marks.
            case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069, 0x200E...0x200F:
                buffer.append("\\u{" + String(scalar.value, radix: 16) + "}")
            default: for byte in scalar.utf8 { buffer.append(byte) }
            }
        }
    }

    // MARK: Time

    /// RFC 3339 in UTC with milliseconds: `2026-11-22T17:50:04.123Z`.
    static func appendTime(to buffer: ByteBuffer, _ time: Duration) {
        let (seconds, attoseconds) = time.components
        let date = CivilDate(unixSeconds: Int(seconds))
        appendPadded(to: buffer, date.year, 4)
        buffer.append(UInt8(ascii: "-"))
        appendPadded(to: buffer, date.month, 2)
        buffer.append(UInt8(ascii: "-"))
        appendPadded(to: buffer, date.day, 2)
        buffer.append(UInt8(ascii: "T"))
        appendPadded(to: buffer, date.hour, 2)
        buffer.append(UInt8(ascii: ":"))
        appendPadded(to: buffer, date.minute, 2)
        buffer.append(UInt8(ascii: ":"))
        appendPadded(to: buffer, date.second, 2)
        buffer.append(UInt8(ascii: "."))
        appendPadded(to: buffer, Int(attoseconds / 1_000_000_000_000_000), 3)
        buffer.append(UInt8(ascii: "Z"))
    }

    private static func appendPadded(to buffer: ByteBuffer, _ number: Int, _ width: Int) {
        var power = 10
        for _ in 1..<width {
            if number < power { buffer.append(UInt8(ascii: "0")) }
            power *= 10
        }
        buffer.append(decimal: number)
    }
}
