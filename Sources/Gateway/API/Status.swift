// The gateway itself (API.md §7).

import CAssets
import HTTP
import Net
import Redis

extension API {
    /// `GET /healthz`: this loop answers, so the process is alive.
    func checkHealth(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        return json(literal: "{\"status\":\"ok\"}")
    }

    /// `GET /readyz`: Redis answers every loop, since any of them may get the next connection, and we are not shutting down.
    func checkReadiness(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        if isDraining {
            var problem = Problem(.overloaded, "The gateway is shutting down.")
            problem.closesConnection = true
            throw problem
        }
        if let error = await pingEverywhere() { throw Problem(error) }
        return json(literal: "{\"status\":\"ready\"}")
    }

    /// Why Redis does not answer this loop, or nil.
    func ping() async -> RedisError? {
        do throws(RedisError) {
            _ = try await store.send(RedisCommand("PING", effect: .read))
            return nil
        } catch {
            return error
        }
    }

    /// `GET /v1/info`
    func showInfo(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let body = newBody()
        body.append(literal: "{\"version\":")
        body.appendJSON(GatewayMain.version)
        body.append(literal: ",\"redis\":")
        writeRedis(to: body)
        body.append(literal: ",\"loops\":")
        body.append(decimal: config.loops)
        body.append(literal: ",\"limits\":{")
        writeLimits(to: body)
        body.append(literal: "},\"waiters\":{\"parked\":")
        body.append(decimal: longPoll.count.current)
        body.append(literal: "}}")
        return json(body)
    }

    private func writeRedis(to body: ByteBuffer) {
        let features = store.features
        body.append(literal: features == nil ? "{\"connected\":false" : "{\"connected\":true")
        let words: [(StaticString, String?)] = [
            ("product", features?.product), ("version", features?.productVersion), ("topology", features?.mode),
        ]
        for (name, word) in words {
            body.append(literal: ",\"")
            body.append(literal: name)
            body.append(literal: "\":")
            if let word { body.appendJSON(word) } else { body.append(literal: "null") }
        }
        body.append(literal: ",\"tracking\":")
        body.append(features.map { $0.tracking ? "true" : "false" } ?? "null")
        body.append(literal: ",\"native\":")
        if let features { body.append(list: features.nativeOptions) } else { body.append(literal: "null") }
        body.append(literal: ",\"embedded\":")
        body.append(config.redis == nil ? "true" : "false")
        body.append(literal: ",\"warnings\":")
        body.append(list: features?.warnings ?? [])
        body.append(UInt8(ascii: "}"))
    }

    private func writeLimits(to body: ByteBuffer) {
        let numbers: [(StaticString, Int)] = [
            ("max_count", limits.count), ("max_batch", limits.batch), ("max_fields", limits.fields),
            ("max_ids", limits.ids), ("max_body_bytes", limits.bodyBytes), ("max_reply_bytes", limits.replyBytes),
            ("max_block_ms", limits.block.milliseconds), ("max_connections", limits.connections),
            ("max_waiters", limits.waiters), ("max_stream_waiters", limits.streamWaiters), ("max_client_waiters", limits.clientWaiters),
            ("max_tail_backlog_bytes", limits.tailBacklog), ("redis_timeout_ms", limits.redisTimeout.milliseconds),
            ("lease_ms", config.lease.milliseconds),
        ]
        for (index, (name, number)) in numbers.enumerated() {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            body.append(UInt8(ascii: "\""))
            body.append(literal: name)
            body.append(literal: "\":")
            body.append(decimal: number)
        }
    }

    /// `GET /openapi.yaml`
    func showOpenAPI(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let body = newBody()
        body.append(Assets.openAPI)
        return Response(status: 200, contentType: "application/yaml", body: .bytes(body))
    }

    /// `GET /metrics`
    func showMetrics(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let body = newBody()
        let snapshots = await collectSnapshots()
        MetricsPage(snapshots, longPoll.count).write(to: body)
        return Response(status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: .bytes(body))
    }
}

extension ByteBuffer {
    fileprivate func append(list: [String]) {
        append(UInt8(ascii: "["))
        for (index, text) in list.enumerated() {
            if index > 0 { append(UInt8(ascii: ",")) }
            appendJSON(text)
        }
        append(UInt8(ascii: "]"))
    }
}

/// Files compiled into the binary.
enum Assets {
    static var openAPI: UnsafeRawBufferPointer {
        let start = sluice_openapi_start()
        return UnsafeRawBufferPointer(start: start, count: sluice_openapi_end()! - start!)
    }
}
