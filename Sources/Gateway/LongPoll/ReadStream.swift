// A consumer's read whose answer is under way while it still reads (see `SlicedReply`).
//
// Of the messages that have been read it keeps the IDs: should the connection break before the kernel has the whole
// reply, all of them become unowned, also those that the client may have got. A slice that Redis fails to give ends the
// reply; what such a slice took nevertheless is handed back when Redis tells of it, or stays with the consumer.

import HTTP
import Net
import Redis

final class ReadStream: SlicedReply {
    private let read: GroupRead
    private var batch: Batch

    init(_ api: API, _ read: GroupRead, _ batch: Batch) {
        self.read = read
        self.batch = batch
        super.init(api)
        release()
    }

    /// Beginning with `body`, which has the messages of the batch.
    func answer(_ body: ByteBuffer, _ block: Block?) -> Response {
        var response = response(begun: body)
        response.tell(block)
        if !read.noAck { response.onLost = { [self] in api.handBack(read, batch) } }
        return response
    }

    override func proceed(_ body: ByteBuffer) async -> Bool {
        await api.takeSlice(read, .ofParked, into: body, &batch)
        release()
        if api.wantsMore(read, batch) && !api.isDraining { return true }
        api.noteCut(read, batch)
        api.endMessages(of: .group(read), read.wantsStats ? await api.stats(read.stream, read.group) : nil, to: body)
        return false
    }

    private func release() {
        if read.noAck || read.position != .new { batch.slices = [] } else { batch.releaseReplies() }
    }
}
