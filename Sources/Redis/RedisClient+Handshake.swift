// What is said on fresh connections, and what is learnt from the answers.
//
// All of it goes out at once; only tracking waits, for the subscription to stand. A server that refuses
// a question (an old one, an ACL) just leaves its answer unknown; only wrong credentials and a database
// that is not there end the attempt.

import Net

extension RedisClient {
    func greetCommands(_ connection: RedisConnection) {
        authenticate(connection)
        selectDatabase(connection)
        send(.make("CLIENT", ["SETNAME", "sluice"]), .setName, on: connection)
        send(.make("INFO", []), .info, on: connection)
        send(.make("COMMAND", ["INFO"] + ServerFeatures.commandsOfInterest), .commandInfo, on: connection)
        if asksForDocs {
            send(.make("COMMAND", ["DOCS"] + ServerFeatures.commandsWithOptions), .commandDocs, on: connection)
        }
    }

    func greetSubscription(_ connection: RedisConnection) {
        authenticate(connection)
        send(.make("CLIENT", ["SETNAME", "sluice-subscription"]), .setName, on: connection)
        send(.make("CLIENT", ["ID"]), .clientID, on: connection)
        // One by one: an ACL may allow the one and not the other.
        send(.make("SUBSCRIBE", ["__redis__:invalidate"]), .subscribeInvalidations, on: connection)
        send(.make("SUBSCRIBE", [NudgeChannel.name.description]), .subscribeNudges, on: connection)
    }

    func selectDatabase(_ connection: RedisConnection) {
        guard endpoint.database != 0 else { return }
        send(.make("SELECT", [String(endpoint.database)]), .select, on: connection)
    }

    func authenticate(_ connection: RedisConnection) {
        guard let password = endpoint.password else { return }
        let credentials = endpoint.username.map { [$0, password] } ?? [password]
        send(.make("AUTH", credentials), .auth, on: connection)
    }

    func send(_ command: RedisCommand, _ step: HandshakeStep, on connection: RedisConnection) {
        connection.append(command, .handshake(step), deadline: loop.now + limits.timeout)
    }

    /// Takes an answer into the attempt's features. Returns what the handshake has to know of it.
    func learn(_ step: HandshakeStep, _ reply: RedisReply) -> Handshake.Event? {
        let isRefused = reply.kind == .error
        switch step {
        case .auth, .select, .setName:
            return nil
        case .info:
            reply.withBytes { if !isRefused { attempt?.features.readInfo($0) } }
            return nil
        case .commandInfo:
            attempt?.features.readCommandInfo(reply)
            attempt?.isReadingDocs = asksForDocs
            return asksForDocs ? nil : .commandsReady
        case .commandDocs:
            attempt?.features.readCommandDocs(reply)
            attempt?.isReadingDocs = false
            return .commandsReady
        case .clientID:
            attempt?.clientID = reply.integer
            if isRefused { attempt?.features.trackingRefusal = reply.text }
            return nil
        case .subscribeInvalidations:
            attempt?.hearsInvalidations = !isRefused
            if isRefused { attempt?.features.trackingRefusal = reply.text }
            return nil
        case .subscribeNudges:
            attempt?.features.nudges = !isRefused
            return .subscriptionReady(id: attempt?.hearsInvalidations == true ? attempt?.clientID : nil)
        case .tracking:
            attempt?.features.tracking = !isRefused
            if isRefused { attempt?.features.trackingRefusal = reply.text }
            return .trackingAnswered
        }
    }
}

extension RedisCommand {
    /// A command of the handshake.
    static func make(_ name: StaticString, _ arguments: [String]) -> RedisCommand {
        var command = RedisCommand(name, effect: .read)
        for argument in arguments { command.append(argument) }
        return command
    }

    /// Not NOLOOP: it would hide our own XADDs.
    static func tracking(redirect: Int64) -> RedisCommand {
        make("CLIENT", ["TRACKING", "ON", "REDIRECT", String(redirect), "OPTIN"])
    }
}
