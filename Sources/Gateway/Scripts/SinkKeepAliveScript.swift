// Tells Redis that a sink is still at work on what it holds: resets the idle time and leaves the count. One
// script, because a bare XCLAIM has no owner check (`OwnerFragment`).
//
// KEYS  stream
// ARGV  group, the consumer that holds, ids
// Reply for each id: 1 kept, 0 no longer ours, 2 its entry is gone (left as it is: XCLAIM drops such an entry
//       from the pending list from 7.0 on, and it would end without a dead letter)

import Redis

enum SinkKeepAliveScript {
    static let script = RedisScript(
        """
        local stream, group, owner = KEYS[1], ARGV[1], ARGV[2]
        \(OwnerFragment.lua)
        local results = {}
        for i = 3, #ARGV do
          local id = ARGV[i]
          local row, gone = held(id)
          if gone then return gone end
          if not row then
            results[#results + 1] = 0
          elseif not redis.call('XRANGE', stream, id, id)[1] then
            results[#results + 1] = 2
          else
            redis.call('XCLAIM', stream, group, owner, 0, id, 'JUSTID')
            results[#results + 1] = 1
          end
        end
        return results
        """)

    static func call(_ stream: StreamName, _ group: GroupName, _ owner: ConsumerName, _ ids: ArraySlice<StreamID>) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write, reserving: 320 + 32 * ids.count)
        command.appendKey(stream.bytes)
        command.append(group.bytes)
        command.append(owner.bytes)
        for id in ids { command.append(id: id) }
        return command
    }
}
