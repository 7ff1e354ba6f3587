// Where tests wait: for a reply, a process, a Redis. They block their thread meanwhile, and the pool that Swift runs tests
// on has one a core: without this two tests at a time would sit on two threads, and both cores would be idle.

import Dispatch
import Foundation
import Synchronization
package import Testing

/// Runs a suite's tests on `BlockingThreads`.
package struct BlockingTrait: SuiteTrait, TestScoping {
    package func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(BlockingThreads.shared) { try await function() }
    }
}

extension Trait where Self == BlockingTrait {
    /// For a suite whose tests wait by blocking.
    package static var blocking: BlockingTrait { BlockingTrait() }
}

/// So many tests may wait at a time. What they have started is what keeps the cores busy; twice as many keep them so busy that
/// the short deadlines of some tests end before their time.
package final class BlockingThreads: TaskExecutor {
    package static let shared = BlockingThreads(count: 2 * ProcessInfo.processInfo.activeProcessorCount)

    private let jobs = Mutex<[UnownedJob]>([])
    private let available = DispatchSemaphore(value: 0)

    private init(count: Int) {
        for _ in 0..<count {
            Thread.detachNewThread { [unowned self] in  // It lives as long as the process.
                while true { runNext() }
            }
        }
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
        available.signal()
    }

    private func runNext() {
        available.wait()
        jobs.withLock { $0.removeFirst() }.runSynchronously(on: asUnownedTaskExecutor())
    }
}
