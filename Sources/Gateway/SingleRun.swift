// Work that is asked for again and again, and of which one run at a time is enough.

/// Asked for while it runs, it runs once more: what it has read by then may be old. Used on one loop.
final class SingleRun {
    private var isRunning = false
    /// Asked for, or not done whole, since the run under way began.
    private(set) var isWanted = false

    func callAsFunction(_ work: () async -> Void) async {
        isWanted = true
        guard !isRunning else { return }
        isRunning = true
        while isWanted {
            isWanted = false
            await work()
        }
        isRunning = false
    }

    /// The run under way, if there is one, has left something out.
    func rerun() { isWanted = isRunning }
}
