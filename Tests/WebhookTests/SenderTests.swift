// Senders share a client's room: none is kept waiting by those whose receivers hang.

import Net
import Testing

@testable import Webhook

struct SenderTests {
    @Test func `receivers that hang leave room for the others, however many requests they have, and are answered in the end`() throws {
        var limits = WebhookLimits()
        limits.maxInFlight = 45
        let bench = try Bench(limits: limits)
        bench.receiver.script = { $0.body.first == UInt8(ascii: "h") ? [] : [.send(ScriptedReceiver.ok)] }
        func request(_ sender: UInt, _ body: String) -> WebhookRequest {
            var request = bench.request(body: body)
            request.sender = sender
            request.timeout = .seconds(60)
            return request
        }
        var (hung, answered) = (0, 0)
        for number in 0..<200 {
            bench.client.send(request(UInt(1 + number % 5), "h")) { _ in hung += 1 }
        }
        try #require(bench.wait { bench.receiver.received.count == 40 })
        #expect(bench.client.counters.waiting == 160)
        for number in 0..<100 {
            bench.client.send(request(UInt(100 + number), "well")) { result in
                if result.answer?.status == 200 { answered += 1 }
            }
        }
        try #require(bench.wait { answered == 100 })
        #expect(hung == 0 && bench.client.counters.inFlight == 40 && bench.client.counters.waiting == 160)
        bench.client.close()
        #expect(hung == 200)
    }

    @Test func `one alone has all but a ninth, many the same together, and whoever has nothing has the rest`() {
        for hogs in [1, 3, 20, 200] as [UInt] {
            var senders = Senders(limit: 900)
            for number in 0..<100_000 as Range<UInt> {
                let sender = senders[number % hogs]
                if senders.mayBegin(sender) { senders.begin(sender) } else { senders.leave(sender) }
            }
            #expect((800 - Int(hogs)...800 + Int(hogs)).contains(senders.underWay), "\(hogs): \(senders.underWay)")
            var others: UInt = 1000
            while senders.mayBegin(senders[others]) {
                senders.begin(senders[others])
                others += 1
            }
            #expect(senders.underWay == 900)
        }
    }

    @Test func `those who wait go by turns, who has less first, and none is forgotten`() {
        var state: UInt64 = 1
        /// Below `bound`, always the same (Knuth's MMIX).
        func number(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var senders = Senders(limit: 20)
        var (asked, begun) = (0, 0)
        var open: [Sender] = []
        let request = WebhookRequest(to: WebhookEndpoint(url: "http://127.0.0.1/"), body: [])
        func begin(_ sender: Sender) {
            senders.begin(sender)
            open.append(sender)
            begun += 1
            #expect(senders.underWay <= 20)
        }
        for step in 0..<20_000 {
            if step < 15_000, number(2) == 0 {
                let sender = senders[UInt(number(9))]
                asked += 1
                if senders.mayBegin(sender) { begin(sender) } else { senders.wait(sender, request) { _ in } }
            } else if !open.isEmpty {
                senders.end(open.remove(at: number(open.count)))
            }
            while let next = senders.next() { begin(next.sender) }
            #expect(open.count > 0 || senders.waiting == 0)
        }
        while let last = open.popLast() {
            senders.end(last)
            while let next = senders.next() { begin(next.sender) }
        }
        #expect(begun == asked && senders.waiting == 0 && senders.underWay == 0)
    }
}
