// What Redis' refusals mean for whoever goes on afterwards. (What they mean for a caller is `API.explain`.)

import Redis

extension RedisError {
    /// The key is not there, or of another type. Any other refusal passes, and says nothing of the stream.
    var saysThereIsNoStream: Bool { code == .wrongType || isNoSuchKey }

    /// The same of a group: it, its stream or the stream's type may be gone.
    var saysThereIsNoGroup: Bool { code == .noGroup || code == .wrongType }

    /// The same command may succeed later.
    var mayPass: Bool {
        guard let code else { return true }
        return code.meansTryLater || code == .outOfMemory || code == .noScript
    }
}
