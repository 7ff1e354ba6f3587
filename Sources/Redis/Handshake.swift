// How two fresh connections become a conversation: the steps, and the pure machine that knows when both
// are through.
//
// The order matters once: tracking is turned on only when the subscription to its messages stands, or
// the first changes would be told to nobody.

/// A command of the handshake.
enum HandshakeStep: Equatable {
    // On both connections.
    case auth, select, setName
    // On the command connection.
    case info, commandInfo, commandDocs, tracking
    // On the subscription.
    case clientID, subscribeInvalidations, subscribeNudges

    /// Whether an error reply means that there is nothing to talk about.
    var isEssential: Bool { self == .auth || self == .select }
}

struct Handshake {
    enum Event {
        /// The command connection has had its last answer before tracking.
        case commandsReady
        /// The subscription has had its last answer. `id`: where tracking may send to; nil if it may not.
        case subscriptionReady(id: Int64?)
        case trackingAnswered
    }

    enum Action: Equatable {
        case wait
        case track(redirect: Int64)
        case finish
    }

    private enum State {
        case waitingForBoth
        case commandsAreReady
        case subscriptionIsReady(id: Int64?)
        case tracking
        case done
    }

    private var state = State.waitingForBoth

    mutating func event(_ event: Event) -> Action {
        switch (state, event) {
        case (.waitingForBoth, .commandsReady):
            state = .commandsAreReady
            return .wait
        case (.waitingForBoth, .subscriptionReady(let id)):
            state = .subscriptionIsReady(id: id)
            return .wait
        case (.commandsAreReady, .subscriptionReady(let id)), (.subscriptionIsReady(let id), .commandsReady):
            return bothReady(id)
        case (.tracking, .trackingAnswered):
            state = .done
            return .finish
        default:
            preconditionFailure("A handshake has no \(event) when it is \(state).")
        }
    }

    private mutating func bothReady(_ id: Int64?) -> Action {
        guard let id else {
            state = .done
            return .finish
        }
        state = .tracking
        return .track(redirect: id)
    }
}
