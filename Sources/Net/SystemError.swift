// A system call that failed: its name and errno.

public import Glibc

public struct SystemError: Error, Equatable, CustomStringConvertible {
    public let call: StaticString
    public let errno: Int32

    public init(_ call: StaticString, errno: Int32 = Glibc.errno) {
        self.call = call
        self.errno = errno
    }

    /// The system's own words, e.g. "Address already in use".
    public var reason: String { String(cString: strerror(errno)) }
    public var description: String { "\(call): \(reason)" }

    public static func == (a: SystemError, b: SystemError) -> Bool {
        a.errno == b.errno && a.call.description == b.call.description
    }
}
