// The options of Redis' stream commands, typed.

/// The ID that an added entry shall get.
public enum StreamAddID: Sendable, Equatable {
    /// `*`: by the server's clock.
    case automatic
    case exact(StreamID)
    /// `ms-*`: the next sequence number of that millisecond (7.0).
    case next(milliseconds: UInt64)
}

/// An end of a range.
public enum StreamBound: Sendable, Equatable {
    /// `-`
    case earliest
    /// `+`
    case latest
    case including(StreamID)
    /// `(id`
    case excluding(StreamID)
    /// A bare `ms`: as a start its first entry, as an end its last one.
    case millisecond(UInt64)
    /// `(ms`, by the same reading.
    case excludingMillisecond(UInt64)
}

/// Where a tail begins: entries after it come.
public enum StreamTailStart: Sendable, Equatable {
    case after(StreamID)
    /// `$`: only what is added from now on. Without blocking that is nothing.
    case latest
}

/// What a consumer reads.
public enum StreamGroupStart: Sendable, Equatable {
    /// `>`: what was never delivered to the group.
    case new
    /// The consumer's own pending entries after this ID.
    case pending(after: StreamID)
}

/// Where a group begins, or is set to.
public enum StreamGroupPosition: Sendable, Equatable {
    case after(StreamID)
    /// `$`
    case latest
}

/// How a stream is cut.
public struct StreamTrim: Sendable, Equatable {
    public enum Bound: Sendable, Equatable {
        /// At most that many entries stay.
        case maximumLength(Int)
        /// Entries below this ID go.
        case minimumID(StreamID)
    }

    public var bound: Bound
    /// `~`: whole nodes only, which is cheap.
    public var approximate: Bool
    /// Entries looked at, at most; only with `approximate`.
    public var limit: Int?

    public init(_ bound: Bound, approximate: Bool, limit: Int? = nil) {
        self.bound = bound
        self.approximate = approximate
        self.limit = limit
    }
}

/// What becomes of pending entries whose message is deleted (8.2).
public enum StreamReferencePolicy: Sendable {
    /// They stay.
    case keep
    /// They go, in every group.
    case delete
    /// Only entries that every group has acknowledged are deleted.
    case acknowledged

    public var token: StaticString {
        switch self {
        case .keep: "KEEPREF"
        case .delete: "DELREF"
        case .acknowledged: "ACKED"
        }
    }
}
