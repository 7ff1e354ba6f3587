// What Redis answers (RESP2), as tests compare it.

package enum RedisValue: Equatable, Sendable {
    case status(String)
    case error(String)
    case integer(Int)
    case bulk([UInt8])
    case null
    case array([RedisValue])

    /// Takes one value off the front. Nil, and nothing is taken, while it is not all there.
    package init?(taking bytes: inout ArraySlice<UInt8>) {
        var rest = bytes
        guard let end = rest.firstIndex(of: UInt8(ascii: "\n")), let kind = rest.first else { return nil }
        let line = String(decoding: rest[rest.index(after: rest.startIndex)..<rest.index(before: end)], as: UTF8.self)
        rest = rest[(end + 1)...]
        switch kind {
        case UInt8(ascii: "+"): self = .status(line)
        case UInt8(ascii: "-"): self = .error(line)
        case UInt8(ascii: ":"): self = .integer(Int(line) ?? 0)
        case UInt8(ascii: "$"):
            guard let length = Int(line), length >= 0 else {
                self = .null
                break
            }
            guard rest.count >= length + 2 else { return nil }
            self = .bulk(Array(rest.prefix(length)))
            rest = rest.dropFirst(length + 2)
        case UInt8(ascii: "*"):
            guard let count = Int(line), count >= 0 else {
                self = .null
                break
            }
            var elements: [RedisValue] = []
            while elements.count < count {
                guard let element = RedisValue(taking: &rest) else { return nil }
                elements.append(element)
            }
            self = .array(elements)
        default: preconditionFailure("Redis does not answer so in RESP2: \(line)")
        }
        bytes = rest
    }

    package var elements: [RedisValue] { if case .array(let elements) = self { elements } else { [] } }
    package var integer: Int? { if case .integer(let number) = self { number } else { nil } }

    /// Of a bulk or a status.
    package var text: String? {
        switch self {
        case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
        case .status(let line): line
        default: nil
        }
    }

    /// Of names and values in turn, as XINFO answers.
    package subscript(name: String) -> RedisValue {
        let elements = elements
        for index in stride(from: 0, to: elements.count - 1, by: 2) where elements[index].text == name {
            return elements[index + 1]
        }
        return .null
    }
}

extension RedisValue: CustomStringConvertible {
    /// As redis-cli might say it, on one line.
    package var description: String {
        switch self {
        case .status(let line): line
        case .error(let line): "(error) \(line)"
        case .integer(let number): "\(number)"
        case .bulk(let bytes): "\"\(String(decoding: bytes, as: UTF8.self))\""
        case .null: "(nil)"
        case .array(let elements): "[\(elements.map(\.description).joined(separator: " "))]"
        }
    }
}
