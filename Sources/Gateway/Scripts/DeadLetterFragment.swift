// A dead letter as it stands in its stream (API.md §6): users read these fields, so they are the same whoever writes one.

/// The fields, in their order.
enum DeadLetterField: String, CaseIterable {
    case originalStream = "original_stream"
    case originalID = "original_id"
    case originalData = "original_data"
    case group
    case lastConsumer = "last_consumer"
    case attempts, reason
    case lastStatus = "last_status"
    case lastError = "last_error"
    case failedAt = "failed_at_ms"

    /// What fills it in the script.
    fileprivate var lua: String {
        switch self {
        case .originalStream: "stream"
        case .originalID: "row[1]"
        case .originalData: "data"
        case .group: "group"
        case .lastConsumer: "row[2]"
        case .attempts: "attempts"
        case .reason: "reason"
        case .lastStatus: "status"
        case .lastError: "error"
        case .failedAt: "whole(now_ms())"
        }
    }
}

/// The Lua that scripts share which bury a message. A script puts it behind its own locals `stream`, `group`, `due` and `dead`.
enum DeadLetterFragment {
    static let lua = """
        \(ClockFragment.lua)

        -- `row`: of the pending list. Returns Redis' refusal, which has done nothing.
        local function write_letter(row, data, attempts, reason, status, error)
          local written = redis.pcall('XADD', dead, '*', \(DeadLetterField.allCases.map { "'\($0.rawValue)', \($0.lua)" }.joined(separator: ", ")))
          return type(written) == 'table' and written or nil
        end

        -- Off the pending list.
        local function settle(id)
          redis.call('XACK', stream, group, id)
          redis.call('ZREM', due, id)
        end

        -- One whose entry is gone. Returns why it stays where it is, in Redis' words.
        local function bury_trimmed(row)
          local refused = write_letter(row, 'null', row[4], '\(DeadLetterReason.trimmed.rawValue)', '', 'the entry was trimmed while it was pending')
          if refused then return refused.err end
          settle(row[1])
        end
        """
}
