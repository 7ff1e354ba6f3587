// When a sink began with one of its globs, as Redis knows it: every message that comes to a matching stream from then on is
// the sink's, whoever runs it, and however late the stream is found. Without it a gateway that starts could not tell a
// stream that came while none ran from one whose messages are not meant (`start: latest`).

import Net
import Redis

struct SinkMark: Equatable {
    /// Ms since 1970, by Redis' clock, which also makes entry IDs.
    var since: Int
    /// A walk over all keys has ended since: a stream that is found now is new, whatever its IDs.
    var isWalked = false

    /// How long those of a sink of the configuration are kept after its last walk: nobody tells Redis when the file has no such
    /// sink any more. One that is paused, or that nobody runs, for so long begins anew. One that was made over HTTP has its marks
    /// until it is deleted.
    static let life = Duration.seconds(90 * 86_400)

    /// A group begins after this, to have every message since the mark.
    var before: StreamID { StreamID(UInt64(max(since - 1, 0)), .max) }

    /// What is known of a stream that several globs match.
    func merged(with other: SinkMark) -> SinkMark { SinkMark(since: min(since, other.since), isWalked: isWalked || other.isWalked) }

    /// Its field in the sink's hash is this and the glob: another group begins anew.
    static func prefix(_ definition: SinkDefinition) -> String { "\(definition.group.utf8.count):\(definition.group):" }

    /// As `SinkMarkScripts` have it.
    var text: String { isWalked ? "\(since) walked" : "\(since)" }

    init(since: Int, isWalked: Bool = false) {
        self.since = since
        self.isWalked = isWalked
    }

    init?(_ text: String?) {
        guard let parts = text?.split(separator: " "), let since = parts.first.flatMap({ Int($0) }) else { return nil }
        self.init(since: since, isWalked: parts.count > 1)
    }
}
