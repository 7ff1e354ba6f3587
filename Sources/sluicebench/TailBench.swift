// `tail`: what it costs to send each message to many live tails, and how old it is when the last of them has it, beside
// nchan, an nginx module that does nothing else. Messages are posted to both over HTTP, and are the same in size. What is
// counted as a request is a message that one tail has got.

import ArgumentParser
import Glibc
import Net

struct TailBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail", abstract: "Live tails (Server-Sent Events), beside nchan.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Live tails.")
    var waiters = 5000
    @Option(help: "Streams they follow.")
    var streams = 1
    @Option(help: "Messages a second.")
    var rate = 100
    @Option(help: "Of 100 tails so many are reset in each round, and others come in their place.")
    var leaving = 0

    private struct Site {
        let server: Server
        let pid: Int32
        let client: TailClient
        let add: Adder.Add
    }

    func run() throws {
        let bench = try Bench()
        let loop = try EventLoop()
        let redis = try bench.redis()
        var contenders: [Contender] = []
        var sites: [Site] = []
        defer { for site in sites { site.client.close() } }
        if !options.peersOnly {
            let site = try sluice(bench, loop, redis)
            sites.append(site)
            contenders.append(Contender(name: "sluice") { try measure(site, loop, redis) })
        }
        if let nginx = try bench.nchan() {
            let site = try nchan(nginx, loop)
            sites.append(site)
            contenders.append(Contender(name: "nchan") { try measure(site, loop, redis) })
        } else {
            say("nchan is not installed (Debian: apt-get install libnginx-mod-nchan).")
        }
        let comparison = try Comparison(contenders, rounds: options.rounds)
        comparison.printMedians(comparing: contenders.first?.name ?? "")
        for contender in contenders {
            let slowest = comparison.median(contender.name) { $0.latencies.max().map { Double($0) / 1000 } } ?? 0
            say("  \(contender.name): the slowest tail has a message after \(slowest.rounded(to: 1)) ms")
        }
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        bench.clean()
    }

    private var leavers: Int { waiters * leaving / 100 }

    private func sluice(_ bench: Bench, _ loop: EventLoop, _ redis: Server) throws -> Site {
        let server = try bench.sluice(options, redis: redis)
        let client = try TailClient(loop, server.address, tails: waiters, leavers: leavers) { [streams] number in
            "/v1/streams/bench:\(number % streams)/messages"
        }
        return Site(server: server, pid: server.pid, client: client) { [streams] number, now, output in
            output.appendPost("/v1/streams/bench:\(number % streams)/messages", body: #"{"fields":{"t":"\#(now)"}}"#)
        }
    }

    private func nchan(_ server: Server, _ loop: EventLoop) throws -> Site {
        let client = try TailClient(loop, server.address, tails: waiters, leavers: leavers) { [streams] number in
            "/sub/\(number % streams)"
        }
        // The worker does the work.
        let pid = readFile("/proc/\(server.pid)/task/\(server.pid)/children").split(separator: " ").first.flatMap { Int32($0) }
        return Site(server: server, pid: pid ?? server.pid, client: client) { [streams] number, now, output in
            output.appendPost("/pub/\(number % streams)", body: #"{"id":"1795372304028-0","fields":{"t":"\#(now)"}}"#)
        }
    }

    /// A round: all tails that stay must have all messages in the end.
    private func measure(_ site: Site, _ loop: EventLoop, _ redis: Server) throws -> Round {
        let meter = CPUMeter([site.pid, redis.pid, getpid()])
        let start = loop.clock.now
        site.client.begin(for: options.length)
        let adder = try Adder(loop, site.server.address, rate: rate, add: site.add)
        _ = loop.run(atMost: options.length) { false }
        adder.stop()
        let expected = (leavers..<waiters).reduce(0) { sum, tail in
            sum + adder.sent / streams + (tail % streams < adder.sent % streams ? 1 : 0)
        }
        _ = loop.run(atMost: .seconds(60)) { site.client.receivedByStaying >= expected }
        var round = Round()
        round.elapsed = loop.clock.now - start
        round.requests = site.client.latencies.count
        round.latencies = site.client.latencies
        round.failed = abs(expected - site.client.receivedByStaying) + site.client.failed
        round.firstFailure = "\(site.client.failed) tails ended, \(expected - site.client.receivedByStaying) messages not there"
        let cpu = meter.perRequest(round.requests)
        (round.cpu, round.redisCPU, round.clientCPU) = (cpu[0], cpu[1], cpu[2])
        return round
    }
}

extension Bench {
    /// nginx with nchan, one worker, which keeps enough for a tail that is behind.
    fileprivate func nchan() throws -> Server? {
        let module = "/usr/lib/nginx/modules/ngx_nchan_module.so"  // Where Debian puts it.
        guard let path = Bench.find("nginx"), access(module, R_OK) == 0 else { return nil }
        let port = try freePort()
        let configuration = """
            load_module \(module); daemon off; worker_processes 1; pid \(folder)/nchan.pid; error_log \(folder)/nchan.err;
            events { worker_connections 65000; }
            http {
              access_log off; keepalive_requests 100000000; client_body_temp_path \(folder)/body;
              proxy_temp_path \(folder)/proxy; fastcgi_temp_path \(folder)/fastcgi;
              uwsgi_temp_path \(folder)/uwsgi; scgi_temp_path \(folder)/scgi;
              nchan_message_buffer_length 10000; nchan_message_timeout 5m;
              server {
                listen 127.0.0.1:\(port) backlog=4096;
                location ~ ^/pub/([0-9]+)$ { nchan_publisher; nchan_channel_id $1; }
                location ~ ^/sub/([0-9]+)$ {
                  nchan_subscriber eventsource; nchan_channel_id $1; nchan_subscriber_first_message newest;
                }
              }
            }

            """
        try write(folder + "/nchan.conf", configuration)
        return try Server("nchan", path, ["-c", folder + "/nchan.conf", "-e", folder + "/nchan.err"], port: port, in: self)
    }
}
