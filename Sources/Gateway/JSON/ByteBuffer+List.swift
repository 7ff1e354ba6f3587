// Writing JSON arrays, whose commas stand between elements.

import Net
import Redis

extension ByteBuffer {
    /// An array of what Redis listed; `write` writes the element at the cursor and passes it.
    func appendList(_ list: RedisCursor?, _ write: (inout RedisCursor) -> Void) {
        append(UInt8(ascii: "["))
        if var list {
            var isFirst = true
            while !list.isAtEnd {
                if !isFirst { append(UInt8(ascii: ",")) }
                isFirst = false
                write(&list)
            }
        }
        append(UInt8(ascii: "]"))
    }

    /// An array of what else is at hand.
    func appendList<Element>(_ list: some Sequence<Element>, _ write: (Element) -> Void) {
        append(UInt8(ascii: "["))
        var isFirst = true
        for element in list {
            if !isFirst { append(UInt8(ascii: ",")) }
            isFirst = false
            write(element)
        }
        append(UInt8(ascii: "]"))
    }
}
