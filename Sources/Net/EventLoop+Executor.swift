// The loop as an executor of Swift tasks.
//
// A custom SerialExecutor alone costs a thread hop at every resume (100,003 crossings in 100,000
// suspensions); as serial and task executor at once, with root tasks that prefer it, it is 3.

import Synchronization

extension EventLoop: SerialExecutor, TaskExecutor {
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            appendJob(job)
        } else {
            postJob(job)
        }
    }

    public func checkIsolated() {
        precondition(isCurrent, "Loop-confined state touched from another thread.")
    }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    public func asUnownedTaskExecutor() -> UnownedTaskExecutor {
        UnownedTaskExecutor(ordinary: self)
    }

    /// The only place in the program that starts a root task. From any thread.
    ///
    /// Without the preference every resumed continuation detours through the global thread pool.
    public func spawn(_ body: sending @escaping () async -> Void) {
        Task(executorPreference: self) { await body() }
    }
}
