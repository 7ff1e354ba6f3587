// What a roster knows of one sink: its definition, whether it is stopped, its runs, and what was told of it.

extension SinkRoster {
    /// One sink of this loop.
    final class Entry {
        let name: String
        let isConfigured: Bool
        /// Nil: this replica can't run it, for `refusal`.
        var definition: SinkDefinition?
        var refusal: String?
        /// As it is kept in Redis; of the configuration's, the same of its own.
        var stored: [UInt8] = []
        /// Obeyed, whether Redis has it or is yet to be told.
        var stop: SinkStop?
        /// It is disabled, and Redis was not told so yet.
        var isStopUnwritten = false
        var sink: Sink?
        /// Runs on their way out.
        var leaving: [Sink] = []
        /// What earlier runs have done, by stream.
        var earlier: [String: SinkCounters] = [:]
        var earlierDurations = DurationHistogram()
        // Of one with globs; see SinkRoster+Finding.
        /// The streams that they match, as it was found last.
        var finds = SinkFinds()
        /// When the sink began with each of them, and with those that they have replaced since the last walk.
        var marks: [Glob: SinkMark] = [:]
        /// Streams that they match beyond the limit.
        var leftOut = 0
        /// They were looked for since the run began.
        var isSought = false
        /// Why that failed the last time.
        var findProblem: String?
        /// What was done of streams that are read no more.
        var gone = SinkCounters()
        /// How its streams stood when Redis was last asked; see SinkRoster+Looking.
        var seen: [String: SinkStanding.Stream] = [:]
        /// As Redis has it.
        var told: [UInt8] = []
        /// It is in `untold`.
        var isUntold = false

        init(_ name: String, isConfigured: Bool) {
            self.name = name
            self.isConfigured = isConfigured
        }

        /// All that it reads.
        var streams: [String] { (definition?.names ?? []) + finds.streams }

        var fingerprint: String { SinkRoster.fingerprint(stored) }
    }
}
