// What a subscription hears, told apart from answers to commands.

import Net

extension RedisReply {
    /// `[message, channel, payload]`; a PING's answer in a subscription is `[pong, …]`, and no message.
    var isMessage: Bool {
        guard kind == .array, count == 3 else { return false }
        var elements = elements
        return elements.takeBytes()?.isSame(as: "message") ?? false
    }
}
