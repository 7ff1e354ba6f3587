// What `/metrics` says of the clients' connections.

import HTTP
import Net

extension MetricsPage {
    func writeConnections(to page: ByteBuffer) {
        one("sluice_http_connections", "gauge", "Open client connections.", sum(\.http.open), to: page)
        one("sluice_http_connections_accepted_total", "counter", "Client connections taken.", sum(\.http.accepted), to: page)
        one("sluice_http_connections_refused_total", "counter", "Client connections refused for want of room.", sum(\.http.refused), to: page)
        one("sluice_http_received_bytes_total", "counter", "Bytes read from clients.", sum(\.http.bytesIn), to: page)
        one("sluice_http_sent_bytes_total", "counter", "Bytes written to clients.", sum(\.http.bytesOut), to: page)
        one("sluice_http_lost_replies_total", "counter", "Replies whose client had gone.", sum(\.http.lost), to: page)
        page.head("sluice_http_rejected_total", "counter", "Requests that were no valid HTTP, or past a limit of it, by code and status.")
        for (labels, count) in rejections.sorted(by: { $0.key < $1.key }) {
            page.append("sluice_http_rejected_total{\(labels)} \(count)\n")
        }
        page.head("sluice_http_timeouts_total", "counter", "Clients that took too long, by what they were waited for.")
        for (phase, count) in timeouts { page.append("sluice_http_timeouts_total{phase=\"\(phase)\"} \(count)\n") }
    }

    /// Labels → how many. One that broke off in the middle was not rejected.
    private var rejections: [String: Int] {
        var counts: [String: Int] = [:]
        for error in HTTPError.allCases where error != .connectionLost {
            let count = sum { $0.http[error] }
            let problem = Problem(error)
            if count > 0 { counts["code=\"\(problem.code.rawValue)\",status=\"\(problem.status)\"", default: 0] += count }
        }
        return counts
    }

    private var timeouts: [(phase: String, count: Int)] {
        [
            ("head", sum { $0.http[.headTimeout] }), ("body", sum { $0.http[.bodyTimeout] }),
            ("reply", sum(\.http.writeTimeouts)), ("keep_alive", sum(\.http.idleTimeouts)),
        ]
    }
}
