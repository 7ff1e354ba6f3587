// The looks of a call that reads many streams: what one of its parts takes from Redis, and to whom that is told. First its
// home, which goes on with the next waiter, then the call.

import HTTP
import Net
import Redis

extension API {
    /// One look of a part, reported to its home where that has asked for it.
    func look(_ part: ManyCall.Part) async {
        guard part.call.mayLook(part) else { return }
        let body = newBody()
        switch part.read {
        case .group(let read): await look(part, read, into: body)
        case .tail(let tail): await look(part, tail, into: body)
        }
    }

    private func look(_ part: ManyCall.Part, _ read: GroupRead, into body: ByteBuffer) async {
        var batch: Batch
        do {
            batch = try await takeAll(read, part.lateness, into: body)
            if batch.isEmpty, part.call.block == nil, mayBeUntold(read, batch) {
                unowned.delayed(read.key)
                batch = try await takeAll(read, part.lateness, into: body)
            }
        } catch {
            loop.buffers.give(body)
            return await failed(part, error)
        }
        let result: WaitHome.Look.Result = batch.isEmpty ? .nothing : .found(full: batch.isFull)
        report(part, WaitHome.Look(result: result, unownedDue: batch.unownedDue, claimDue: batch.claimDue))
        guard !batch.isEmpty else {
            loop.buffers.give(body)
            if !part.isTold, store.features?.emptyReadCreatesConsumer == false { createConsumerSoon(read) }
            return part.call.foundNothing(part)
        }
        part.call.found(part, body, batch)
        if read.wantsStats { part.call.told(part, stats: await stats(read.stream, read.group)) }
    }

    /// Many streams come in one reply, which is not streamed: its rows are known only when all looks are done.
    private func takeAll(_ read: GroupRead, _ lateness: Lateness, into body: ByteBuffer) async throws(RedisError) -> Batch {
        var batch = try await take(read, lateness, into: body)
        while wantsMore(read, batch) {
            await takeSlice(read, lateness, into: body, &batch)
            batch.releaseReplies()
        }
        noteCut(read, batch)
        return batch
    }

    private func look(_ part: ManyCall.Part, _ tail: TailRead, into body: ByteBuffer) async {
        let list = TailList(self, tail)
        do {
            try await list.takeAll(into: body)
            report(part, WaitHome.Look(result: list.taken == 0 ? .nothing : .found(full: false)))
            if list.taken > 0 {
                part.read = .tail(list.read)
                return part.call.found(part, body, Batch())
            }
        } catch {
            loop.buffers.give(body)
            return await failed(part, error)
        }
        loop.buffers.give(body)
        part.call.foundNothing(part)
    }

    /// As for a parked call of one stream: what has waited outlives Redis' absence, and a tail a key of another type.
    private func failed(_ part: ManyCall.Part, _ error: RedisError) async {
        let key = part.read.key
        if !part.isTold, error.isTimeout, part.lateness.handsBack { return part.call.outOfTime(part) }
        var look = WaitHome.Look(result: .failed)
        if !part.isTold || key.group != nil && error.saysThereIsNoGroup {
            let problem = await explain(error, key.stream, key.group)
            if let end = problem.waitEnd { look.result = .ended(end) }
            if !part.isTold || problem.waitEnd != nil {
                report(part, look)
                return part.call.failed(part, problem)
            }
        } else if error.code == .wrongType {
            look.result = .nothing
        }
        report(part, look)
        part.call.foundNothing(part)
    }

    private func report(_ part: ManyCall.Part, _ look: WaitHome.Look) {
        if part.isTold { longPoll.report(part.waiter, look) }
    }
}
