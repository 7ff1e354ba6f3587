// The Lua that scripts share which look at the time. It is Redis' own: gateways' clocks differ.

enum ClockFragment {
    static let lua = """
        -- Milliseconds since 1970.
        local function now_ms()
          local time = redis.call('TIME')
          return time[1] * 1000 + math.floor(time[2] / 1000)
        end

        -- A number as Redis takes it: Lua would write the time as 1.7e+12.
        local function whole(number) return string.format('%.0f', number) end
        """
}
