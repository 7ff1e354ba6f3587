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
    private var router = Router<Int>()

    init(api: API, gatekeeper: Gatekeeper, log: Logger) {
        self.api = api
        self.gatekeeper = gatekeeper
        self.log = log
        routes = Route.all
        for (index, route) in routes.enumerated() { router.add(route.method, route.path.description, index) }
    }

    func respond(to request: Request) async -> Response {
        let start = api.loop.now
        var place = routes.count
        var response: Response
        do {
            response = try await answer(request, &place)
        } catch {
            response = self.response(error, request.saneID.map { Array($0) }, host: Array(request.host))
        }
        var reply = Reply(request, place, start, logs: api.config.logsRequests)
        if case .later(let later) = response.body, let call = later as? ParkedCall {
            reply.host = Array(request.host)
            call.complete = { [self, reply] in complete($0, reply) }
        } else {
            complete(&response, reply)
        }
        return response
    }

    /// What a reply needs of its request, which may be long gone by then.
    private struct Reply {
        var route: Int
        var start: EventLoop.Instant
        var isSafe: Bool
        var requestID: [UInt8]?
        /// What the caller called us; only of a parked call.
        var host: [UInt8]?
        /// Method and path, where requests are logged.
        var line: String?

        init(_ request: Request, _ route: Int, _ start: EventLoop.Instant, logs: Bool) {
            self.route = route
            self.start = start
            isSafe = request.method == .get || request.method == .head
            requestID = request.saneID.map { Array($0) }
            if logs { line = String(decoding: request.methodName, as: UTF8.self) + " " + String(decoding: request.path, as: UTF8.self) }
        }
    }

    private func complete(_ answer: Result<Response, Problem>, _ reply: Reply) -> Response {
        var response =
            switch answer {
            case .success(let response): response
            case .failure(let problem): self.response(problem, reply.requestID, host: reply.host)
            }
        complete(&response, reply)
        return response
    }

    private func complete(_ response: inout Response, _ reply: Reply) {
        if reply.isSafe { response.literalHeaders = "Cache-Control: no-store\r\n" }
        reply.requestID?.withUnsafeBytes { response.addHeader("X-Request-Id", $0) }
        let duration = api.loop.now - reply.start
        api.metrics.answered(route: reply.route, status: response.status, after: duration)
        guard let line = reply.line else { return }
        log.info(
            "\(line)",
            metadata: [
                "status": "\(response.status)", "ms": "\(duration.milliseconds)",
                "request_id": "\(reply.requestID.map { String(decoding: $0, as: UTF8.self) } ?? "")",
            ])
    }

    private func answer(_ request: Request, _ place: inout Int) async throws(Problem) -> Response {
        switch router.match(request.method, request.path) {
        case .found(let index, let parameters):
            place = index
            let caller = try gatekeeper.check(request, routes[index].access, parameters)
            try checkAccept(request, index)
            do {
                return try await routes[index].handler(api, Call(request: request, parameters: parameters, caller: caller))
            } catch where error.code == .outcomeUnknown && routes[index].isIdempotent {
                var problem = error
                problem.retryable = true
                throw problem
            }
        case .options(let allow):
            var response = Response(status: 204)
            response.addHeader("Allow", allow)
            return response
        case .methodNotAllowed(let allow):
            var problem = Problem(.methodNotAllowed, "This path takes \(allow).")
            problem.allow = allow
            throw problem
        case .notFound:
            throw Problem(.notFound, "There is no such path; /openapi.yaml lists all there are.")
        }
    }

    private func checkAccept(_ request: Request, _ index: Int) throws(Problem) {
        guard let accept = request.header("accept"), !accept.isSame(as: "*/*") else { return }
        guard routes[index].path.description.hasPrefix("/v1/") else { return }
        guard
            MediaType.accepts(accept, "application/json", "application/*")
                || accept.equalsIgnoringCase("application/problem+json")
        else {
            throw Problem(.notAcceptable, "Answers are application/json.")
        }
    }

    func respond(to error: HTTPError, request: Request?) -> Response {
        var problem = Problem(error)
        if problem.status == 405 { problem.allow = router.allMethods }
        var response = response(problem, request?.saneID.map { Array($0) }, host: nil)
        response.literalHeaders = "Cache-Control: no-store\r\n"  // It may have been a GET; caches may keep 414 and 501.
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
