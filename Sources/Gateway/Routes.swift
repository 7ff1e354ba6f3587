// Every endpoint, one line each, in the order of openapi.yaml; the handler's name is the operationId.
// A test fails when this table and openapi.yaml differ.

import HTTP

/// What a token must be allowed for a call (API.md §8).
enum Access: Equatable {
    case scope(TokenDefinition.Scope)
    /// Any valid token.
    case anyToken
    /// No token.
    case open
    /// No token, and a link from another site may lead there: a page that shows nothing of anybody's.
    case page
}

struct Route {
    typealias Handler = (API, Call) throws(Problem) -> Outcome
    typealias AsyncHandler = nonisolated(nonsending) (API, Call) async throws(Problem) -> Response
    typealias ParkingHandler = nonisolated(nonsending) (API, Call) async throws(Problem) -> Outcome

    var method: Method
    var path: StaticString
    var access: Access
    /// The operationId.
    var name: StaticString
    var handler: Handler
    /// The path's first parameter is a stream, for which a token must be. Other calls check theirs themselves.
    let namesStream: Bool

    /// Whether a call may be repeated without harm when its outcome is unknown (RFC 9110 §9.2.2; an ack too).
    let isIdempotent: Bool

    /// Whether it answers with events: never, where they are asked for, or always.
    enum Events { case never, also, only }

    let events: Events

    /// - Parameters:
    ///   - repeatable: a POST or PATCH that changes nothing more when it is repeated.
    ///   - handler: one that needs no task for the usual call.
    init(
        _ method: Method, _ path: StaticString, _ access: Access, _ name: StaticString, events: Events = .never,
        repeatable: Bool = false, prompt handler: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.access = access
        self.name = name
        self.handler = handler
        self.events = events
        isIdempotent = repeatable || method != .post && method != .patch
        namesStream = path.description.hasPrefix("/v1/streams/{stream}")
    }

    init(
        _ method: Method, _ path: StaticString, _ access: Access, _ name: StaticString, events: Events = .never,
        repeatable: Bool = false, _ handler: @escaping AsyncHandler
    ) {
        self.init(
            method, path, access, name, events: events, repeatable: repeatable,
            prompt: { api, call in .task { () async throws(Problem) in .response(try await handler(api, call)) } })
    }

    /// - Parameter handler: one whose call may be left waiting for messages.
    init(
        _ method: Method, _ path: StaticString, _ access: Access, _ name: StaticString, events: Events = .never,
        repeatable: Bool = false, parking handler: @escaping ParkingHandler
    ) {
        self.init(
            method, path, access, name, events: events, repeatable: repeatable,
            prompt: { api, call in .task { () async throws(Problem) in try await handler(api, call) } })
    }
}

extension Route {
    static var all: [Route] {
        let stream: StaticString = "/v1/streams/{stream}/messages"
        let message: StaticString = "/v1/streams/{stream}/messages/{id}"
        let groups: StaticString = "/v1/streams/{stream}/groups"
        let group: StaticString = "/v1/streams/{stream}/groups/{group}"
        let recovery: StaticString = "/v1/streams/{stream}/groups/{group}/recovery"
        let sink: StaticString = "/v1/sinks/{name}"
        let consumer: StaticString = "/v1/streams/{stream}/groups/{group}/consumers/{consumer}"
        return [
            Route(.get, "/v1/streams", .scope(.consume), "listStreams") { api, call async throws(Problem) in try await api.listStreams(call) },
            Route(.get, "/v1/streams/{stream}", .scope(.consume), "showStream") { api, call async throws(Problem) in try await api.showStream(call) },
            Route(.patch, "/v1/streams/{stream}", .scope(.admin), "setStreamID", repeatable: true) { api, call async throws(Problem) in try await api.setStreamID(call) },
            Route(.delete, "/v1/streams/{stream}", .scope(.admin), "deleteStream") { api, call async throws(Problem) in try await api.deleteStream(call) },
            Route(.post, stream, .scope(.publish), "addMessages", prompt: { api, call throws(Problem) in try api.addMessages(call) }),
            Route(.get, stream, .scope(.consume), "listMessages", events: .also, parking: { api, call async throws(Problem) in try await api.listMessages(call) }),
            Route(.get, message, .scope(.consume), "showMessage") { api, call async throws(Problem) in try await api.showMessage(call) },
            Route(.delete, message, .scope(.admin), "deleteMessage") { api, call async throws(Problem) in try await api.deleteMessage(call) },
            Route(.post, "/v1/streams/{stream}/delete", .scope(.admin), "deleteMessages", repeatable: true) { api, call async throws(Problem) in try await api.deleteMessages(call) },
            Route(.post, "/v1/streams/{stream}/trim", .scope(.admin), "trimStream", repeatable: true) { api, call async throws(Problem) in try await api.trimStream(call) },
            Route(.get, "/v1/messages", .scope(.consume), "listMessagesOfStreams", parking: { api, call async throws(Problem) in try await api.listMessagesOfStreams(call) }),
            Route(.get, groups, .scope(.consume), "listGroups") { api, call async throws(Problem) in try await api.listGroups(call) },
            Route(.put, group, .scope(.admin), "createGroup") { api, call async throws(Problem) in try await api.createGroup(call) },
            Route(.get, group, .scope(.consume), "showGroup") { api, call async throws(Problem) in try await api.showGroup(call) },
            Route(.patch, group, .scope(.admin), "setGroupID", repeatable: true) { api, call async throws(Problem) in try await api.setGroupID(call) },
            Route(.delete, group, .scope(.admin), "destroyGroup") { api, call async throws(Problem) in try await api.destroyGroup(call) },
            Route(.get, "/v1/streams/{stream}/groups/{group}/consumers", .scope(.consume), "listConsumers") { api, call async throws(Problem) in try await api.listConsumers(call) },
            Route(.put, consumer, .scope(.consume), "createConsumer") { api, call async throws(Problem) in try await api.createConsumer(call) },
            Route(.delete, consumer, .scope(.consume), "deleteConsumer") { api, call async throws(Problem) in try await api.deleteConsumer(call) },
            Route(.post, "/v1/streams/{stream}/groups/{group}/consumers/{consumer}/read", .scope(.consume), "readMessages", prompt: { api, call throws(Problem) in try api.readMessages(call) }),
            Route(.post, "/v1/streams/{stream}/groups/{group}/consumers/{consumer}/stream", .scope(.consume), "streamMessages", events: .only) { api, call async throws(Problem) in try await api.streamMessages(call) },
            Route(.get, "/v1/streams/{stream}/groups/{group}/consumers/{consumer}/messages", .scope(.consume), "followMessages", events: .only) { api, call async throws(Problem) in try await api.followMessages(call) },
            Route(.post, "/v1/groups/{group}/consumers/{consumer}/read", .scope(.consume), "readMessagesOfStreams", parking: { api, call async throws(Problem) in try await api.readMessagesOfStreams(call) }),
            Route(.post, "/v1/streams/{stream}/groups/{group}/ack", .scope(.consume), "ackMessages", repeatable: true, prompt: { api, call throws(Problem) in try api.ackMessages(call) }),
            Route(.post, "/v1/streams/{stream}/groups/{group}/consumers/{consumer}/settle", .scope(.consume), "settleMessages") { api, call async throws(Problem) in try await api.settleMessages(call) },
            Route(.get, "/v1/streams/{stream}/groups/{group}/pending", .scope(.consume), "showPending") { api, call async throws(Problem) in try await api.showPending(call) },
            Route(.get, "/v1/streams/{stream}/groups/{group}/pending/messages", .scope(.consume), "listPending") { api, call async throws(Problem) in try await api.listPending(call) },
            Route(.post, "/v1/streams/{stream}/groups/{group}/consumers/{consumer}/claim", .scope(.consume), "claimMessages") { api, call async throws(Problem) in try await api.claimMessages(call) },
            Route(.post, "/v1/streams/{stream}/groups/{group}/consumers/{consumer}/autoclaim", .scope(.consume), "autoclaimMessages") { api, call async throws(Problem) in try await api.autoclaimMessages(call) },
            Route(.put, recovery, .scope(.admin), "putPolicy") { api, call async throws(Problem) in try await api.putPolicy(call) },
            Route(.get, recovery, .scope(.consume), "showPolicy") { api, call async throws(Problem) in try await api.showPolicy(call) },
            Route(.delete, recovery, .scope(.admin), "deletePolicy") { api, call async throws(Problem) in try await api.deletePolicy(call) },
            Route(.post, "/v1/streams/{stream}/redrive", .scope(.admin), "redriveMessages") { api, call async throws(Problem) in try await api.redriveMessages(call) },
            Route(.get, "/v1/sinks", .scope(.consume), "listSinks") { api, call async throws(Problem) in try await api.listSinks(call) },
            Route(.get, sink, .scope(.consume), "showSink") { api, call async throws(Problem) in try await api.showSink(call) },
            Route(.put, sink, .scope(.admin), "putSink") { api, call async throws(Problem) in try await api.putSink(call) },
            Route(.delete, sink, .scope(.admin), "deleteSink") { api, call async throws(Problem) in try await api.deleteSink(call) },
            Route(.post, "/v1/sinks/{name}/pause", .scope(.admin), "pauseSink", repeatable: true) { api, call async throws(Problem) in try await api.pauseSink(call) },
            Route(.post, "/v1/sinks/{name}/resume", .scope(.admin), "resumeSink", repeatable: true) { api, call async throws(Problem) in try await api.resumeSink(call) },
            Route(.post, "/v1/sinks/{name}/test", .scope(.admin), "testSink") { api, call async throws(Problem) in try await api.testSink(call) },
            Route(.get, "/v1/sinks/{name}/deliveries", .scope(.consume), "listDeliveries") { api, call async throws(Problem) in try await api.listDeliveries(call) },
            Route(.get, "/healthz", .open, "checkHealth") { api, call async throws(Problem) in try await api.checkHealth(call) },
            Route(.get, "/readyz", .open, "checkReadiness") { api, call async throws(Problem) in try await api.checkReadiness(call) },
            Route(.get, "/metrics", .anyToken, "showMetrics") { api, call async throws(Problem) in try await api.showMetrics(call) },
            Route(.get, "/v1/info", .anyToken, "showInfo") { api, call async throws(Problem) in try await api.showInfo(call) },
            Route(.get, "/openapi.yaml", .open, "showOpenAPI") { api, call async throws(Problem) in try await api.showOpenAPI(call) },
            Route(.get, "/docs", .page, "showDocs") { api, call async throws(Problem) in try await api.showDocs(call) },
            Route(.get, "/docs/errors", .page, "showErrors") { api, call async throws(Problem) in try await api.showErrors(call) },
            Route(.get, "/", .page, "showHome") { api, call async throws(Problem) in try await api.showHome(call) },
        ]
    }
}
