// What a JSON text can have wrong with it: the one error of this folder.
//
// Reasons say what was found and what would be right; a client reads them in a problem's `detail`.

/// Where and why a JSON text was refused.
struct JSONError: Error, Equatable, CustomStringConvertible {
    enum Kind: Equatable {
        /// Not JSON (RFC 8259).
        case syntax
        /// The text ends inside a value.
        case truncated
        /// Not UTF-8, or an escape that no UTF-8 can carry (a lone surrogate).
        case encoding
        /// Nested deeper than the reader's bound.
        case tooDeep
        /// JSON, but another kind of value than the caller asked for.
        case mismatch
        /// A number that an `Int` can't hold.
        case outOfRange
    }

    let kind: Kind
    /// In bytes from the start of the text.
    let offset: Int
    /// What was wrong, and what would be right.
    let reason: String

    var description: String { "at byte \(offset): \(reason)" }
}
