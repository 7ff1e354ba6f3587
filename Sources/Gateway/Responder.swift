// From a request to its reply: route, gatekeeper, handler, and what every reply carries.

import Crypto
import HTTP
import Logging
import Net

final class Responder: HTTPResponder {
    private let api: API
    private let gatekeeper: Gatekeeper
    private let log: Logger
    private let routes: [Route]
    /// Constant: of a variable every request would take a copy.
    private let router: Router<Int>

    init(api: API, gatekeeper: Gatekeeper, log: Logger) {
        self.api = api
        self.gatekeeper = gatekeeper
        self.log = log
        routes = Route.all
        var router = Router<Int>()
        for (index, route) in routes.enumerated() { router.add(route.method, route.path.description, index) }
        self.router = router
    }

    func respond(to request: Request) -> Answer {
        var visit = Visit(route: routes.count, start: api.loop.now)
        do throws(Problem) {
            let outcome = try handle(request, &visit)
            return answer(request, visit, .success(outcome))
        } catch {
            return answer(request, visit, .failure(error))
        }
    }

    private func handle(_ request: Request, _ visit: inout Visit) throws(Problem) -> Outcome {
        switch router.match(request.method, request.path) {
        case .found(let index, let parameters):
            visit.route = index
            let route = routes[index]
            let caller = try gatekeeper.check(request, route, parameters)
            try checkAccept(request, route)
            return try route.handler(api, Call(request: request, parameters: parameters, caller: caller))
        case .options(let allow):
            var response = Response(status: 204)
            response.addHeader("Allow", allow)
            if request.header("access-control-request-method") != nil, gatekeeper.allowedOrigins.named(by: request) != nil {
                response.answerPreflight(request, methods: allow)
            }
            return .response(response)
        case .methodNotAllowed(let allow):
            var problem = Problem(.methodNotAllowed, "This path takes \(allow).")
            problem.allow = allow
            throw problem
        case .notFound:
            throw Problem(.notFound, "There is no such path; /openapi.yaml lists all there are.")
        }
    }

    // MARK: Outcomes

    /// What the outcome of a call means for its request, which is still there.
    func answer(_ request: Request, _ visit: Visit, _ outcome: consuming Result<Outcome, Problem>) -> Answer {
        switch consume outcome {
        case .success(.pending(let call)):
            call.responder = self
            call.visit = visit
            return .soon(call)
        case .success(.response(var response)):
            complete(&response, request, visit)
            return .response(response)
        case .success(.parked(let call)):
            let reply = Reply(request, visit, origin: gatekeeper.allowedOrigins.named(by: request), logs: api.config.logsRequests)
            call.complete = { [self] in complete($0, reply) }
            return .later(call)
        case .success(.task(let work)):
            return .task { [self] in
                do throws(Problem) {
                    let outcome = try await work()
                    return answer(request, visit, .success(outcome))
                } catch {
                    return answer(request, visit, .failure(error))
                }
            }
        case .failure(let problem):
            var response = self.response(judged(problem, visit), request.saneID.map { Array($0) }, host: Array(request.host))
            complete(&response, request, visit)
            return .response(response)
        }
    }

    private func judged(_ problem: Problem, _ visit: Visit) -> Problem {
        visit.route < routes.count && routes[visit.route].isIdempotent ? problem.ofIdempotentCall : problem
    }

    private func complete(_ response: inout Response, _ request: Request, _ visit: Visit) {
        let logs = api.config.logsRequests
        finish(
            &response, visit, isSafe: request.isSafe, id: request.saneID ?? .empty,
            origin: gatekeeper.allowedOrigins.named(by: request) ?? .empty, line: logs ? request.line : nil)
    }

    /// Gives the reply what every reply carries, and counts it. `id`: the caller's for this request; `origin`: whose page
    /// may read the reply. Either may be empty. `line`: method and path, where requests are logged.
    private func finish(
        _ response: inout Response, _ visit: Visit, isSafe: Bool, id: UnsafeRawBufferPointer, origin: UnsafeRawBufferPointer, line: String?
    ) {
        if isSafe { response.literalHeaders = Responder.noStore }
        if !id.isEmpty { response.addHeader("X-Request-Id", id) }
        if !origin.isEmpty { response.letRead(origin) }
        api.metrics.answered(route: visit.route, status: response.status, after: api.loop.now - visit.start)
        guard let line else { return }
        log.info(
            "\(line)",
            metadata: [
                "status": "\(response.status)", "ms": "\((api.loop.now - visit.start).milliseconds)",
                "request_id": "\(String(decoding: id, as: UTF8.self))",
            ])
    }

    private static var noStore: StaticString { "Cache-Control: no-store\r\n" }

    // MARK: Replies to calls that were parked

    /// What a reply needs of its request, which is long gone by then.
    private struct Reply {
        var visit: Visit
        var isSafe: Bool
        var requestID: [UInt8]?
        /// Whose page may read it; empty: no other's.
        var origin: [UInt8]
        /// What the caller called us.
        var host: [UInt8]
        /// Method and path, where requests are logged.
        var line: String?

        init(_ request: Request, _ visit: Visit, origin: UnsafeRawBufferPointer?, logs: Bool) {
            self.visit = visit
            self.origin = Array(origin ?? .empty)
            isSafe = request.isSafe
            requestID = request.saneID.map { Array($0) }
            host = Array(request.host)
            if logs { line = request.line }
        }
    }

    private func complete(_ answer: Result<Response, Problem>, _ reply: Reply) -> Response {
        var response =
            switch answer {
            case .success(let response): response
            case .failure(let problem): self.response(judged(problem, reply.visit), reply.requestID, host: reply.host)
            }
        (reply.requestID ?? []).withUnsafeBytes { id in
            reply.origin.withUnsafeBytes { origin in
                finish(&response, reply.visit, isSafe: reply.isSafe, id: id, origin: origin, line: reply.line)
            }
        }
        return response
    }

    // MARK: Refusals

    private func checkAccept(_ request: Request, _ route: Route) throws(Problem) {
        guard let accept = request.header("accept"), !accept.isSame(as: "*/*") else { return }
        guard route.path.description.hasPrefix("/v1/") else { return }
        let events = route.events
        if events == .also, MediaType.names(accept, "text/event-stream") { return }
        if events == .only {
            if MediaType.accepts(accept, "text/event-stream", "text/*") { return }
            throw Problem(.notAcceptable, "Answers are text/event-stream.")
        }
        guard
            MediaType.accepts(accept, "application/json", "application/*")
                || accept.equalsIgnoringCase("application/problem+json")
        else {
            throw Problem(.notAcceptable, events == .also ? "Answers are application/json, or text/event-stream." : "Answers are application/json.")
        }
    }

    func respond(to error: HTTPError, request: Request?) -> Response {
        var problem = Problem(error)
        if problem.status == 405 { problem.allow = router.allMethods }
        var response = response(problem, request?.saneID.map { Array($0) }, host: nil)
        response.literalHeaders = Responder.noStore  // It may have been a GET; caches may keep 414 and 501.
        return response
    }

    private func response(_ problem: Problem, _ callerID: [UInt8]?, host: [UInt8]?) -> Response {
        let id = callerID.map { String(decoding: $0, as: UTF8.self) }
        let requestID = id ?? Digest.hex(randomBytes(8))
        api.metrics.values.problems[problem.code.rawValue, default: 0] += 1
        if problem.code == .internalError {
            log.error("\(problem.detail)", metadata: ["request_id": "\(requestID)", "redis_error": "\(problem.redisError ?? "")"])
        }
        var problem = problem
        if problem.code == .methodNotAllowed && problem.allow == nil { problem.allow = router.allMethods }
        var response = problem.response(requestID: requestID, host: host)
        if id == nil { response.addHeader("X-Request-Id", requestID) }
        return response
    }
}

extension Request {
    fileprivate var isSafe: Bool { method == .get || method == .head }

    fileprivate var line: String { String(decoding: methodName, as: UTF8.self) + " " + String(decoding: path, as: UTF8.self) }

    /// The caller's X-Request-Id, if it is one that may be repeated: `[A-Za-z0-9._:-]{1,128}`.
    fileprivate var saneID: UnsafeRawBufferPointer? {
        guard let id = header("x-request-id"), (1...128).contains(id.count) else { return nil }
        let isSane = id.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isSane ? id : nil
    }
}
