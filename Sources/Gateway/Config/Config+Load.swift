// From files, environment and arguments to a checked configuration.

import Glibc
import Net

extension Config {
    /// Cores that this process may run on.
    static var cores: Int { NativeThread.availableCores }

    /// The configuration of a process.
    /// - Parameters:
    ///   - arguments: options of the command line, as `["--port", "8081"]` or `["--port=8081"]`.
    ///   - environment: `SLUICE_…` is read, and `HOME` and `XDG_STATE_HOME` for defaults.
    public static func load(arguments: [String], environment: [String: String]) throws(ConfigError) -> Config {
        let fromArguments = try argumentValues(arguments)
        let fromEnvironment = try environmentValues(environment)
        var config = Config()
        let home = environment["HOME"] ?? "."
        // Only an absolute path counts (XDG Base Directory Specification).
        let state = environment["XDG_STATE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? home + "/.local/state"
        config.dataDirectory = state + "/sluice"
        var problems: [ConfigProblem] = []

        let path = fromArguments["config"] ?? fromEnvironment["config"]
        if let document = try document(path) { problems += config.read(document) }
        for option in ConfigOption.all {
            guard let node = fromArguments[option.name] ?? fromEnvironment[option.name] else { continue }
            config.set(option, node, &problems)
        }
        if config.dataDirectory.hasPrefix("~/") { config.dataDirectory = home + config.dataDirectory.dropFirst() }
        if config.isStrictOnNetworks { for index in config.sinks.indices { config.sinks[index].isGuarded = true } }
        problems += config.contradictions(environment)
        guard problems.isEmpty else { throw ConfigError(problems: problems) }
        return config
    }

    /// One file alone, with the environment's secrets: what `sluice check-config` reads.
    public static func check(path: String, environment: [String: String]) throws(ConfigError) -> Config {
        try load(arguments: ["--config", path], environment: environment)
    }

    private mutating func set(_ option: ConfigOption, _ node: ConfigNode, _ problems: inout [ConfigProblem]) {
        do throws(ConfigProblem) {
            try option.set(node, &self)
            places[option.key] = node.place
        } catch {
            problems.append(error)
        }
    }

    // MARK: The file

    /// The file named, else sluice.yaml of the working directory where there is one.
    private static func document(_ path: ConfigNode?) throws(ConfigError) -> ConfigNode? {
        guard let path else {
            guard access("sluice.yaml", F_OK) == 0 else { return nil }
            return try .parse(yaml: try file("sluice.yaml", ConfigPlace(source: "sluice.yaml")), source: "sluice.yaml")
        }
        let name: String
        do throws(ConfigProblem) { name = try path.text("a path") } catch { throw ConfigError(problems: [error]) }
        return try .parse(yaml: try file(name, path.place), source: name)
    }

    private static func file(_ path: String, _ place: ConfigPlace) throws(ConfigError) -> String {
        func refused(_ reason: String) -> ConfigError {
            ConfigError(problems: [ConfigProblem(place: place, key: "", reason: "\(printable(path)): \(reason)")])
        }
        guard let bytes = ConfigFile.read(path) else { throw refused(String(cString: strerror(errno))) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw refused("not UTF-8") }
        return text
    }

    /// Takes over what `document` says; answers what is wrong with it.
    mutating func read(_ document: ConfigNode) -> [ConfigProblem] {
        let reader = ConfigMapReader(document)
        var problems: [ConfigProblem] = []
        var sections: [String: ConfigMapReader] = [:]
        for option in ConfigOption.all {
            let parts = option.key.split(separator: ".").map(String.init)
            var owner = reader
            if parts.count > 1 {
                if sections[parts[0]] == nil, let section = reader.take(parts[0]) {
                    sections[parts[0]] = ConfigMapReader(section)
                }
                guard let section = sections[parts[0]] else { continue }
                owner = section
            }
            if let node = owner.take(option.name) { set(option, node, &problems) }
        }
        for section in sections.values { section.finish() }
        if let node = reader.take("tokens") { problems += readTokens(node) }
        if let node = reader.take("sinks") { problems += readSinks(node) }
        reader.finish()
        return problems + reader.problems + sections.values.flatMap(\.problems)
    }

    private mutating func readTokens(_ node: ConfigNode) -> [ConfigProblem] {
        places["tokens"] = node.place
        do throws(ConfigProblem) {
            var problems: [ConfigProblem] = []
            for node in try node.list() {
                do throws(ConfigError) {
                    let token = try TokenDefinition.parse(node)
                    let isKnown = tokens.contains { $0.name == token.name }
                    if isKnown { problems.append(node.problem("two tokens of one name")) }
                    tokens.append(token)
                } catch {
                    problems += error.problems
                }
            }
            return problems
        } catch {
            return [error]
        }
    }

    private mutating func readSinks(_ node: ConfigNode) -> [ConfigProblem] {
        places["sinks"] = node.place
        do throws(ConfigProblem) {
            var problems: [ConfigProblem] = []
            for member in try node.members() {
                do throws(ConfigError) {
                    sinks.append(try .parse(name: member.name, member.value, by: .configuration))
                } catch {
                    problems += error.problems
                }
            }
            sinks.sort { $0.name < $1.name }
            if Set(sinks.map(\.name)).count < sinks.count { problems.append(node.problem("two sinks of one name")) }
            return problems
        } catch {
            return [error]
        }
    }

    // MARK: One word each

    private static func word(_ name: String, _ text: String, _ source: String) -> ConfigNode {
        let place = ConfigPlace(source: source)
        let option = ConfigOption.all.first { $0.name == name }
        if option?.shape.hasSuffix(",…") == true {
            let nodes = text.split(separator: ",").map {
                ConfigNode(content: .scalar(String($0), isQuoted: true), place: place, key: "")
            }
            return ConfigNode(content: .list(nodes), place: place, key: "")
        }
        return ConfigNode(content: .scalar(text, isQuoted: false), place: place, key: "")
    }

    private static func argumentValues(_ arguments: [String]) throws(ConfigError) -> [String: ConfigNode] {
        var values: [String: ConfigNode] = [:]
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let flag = parts.first ?? ""
            func refused(_ reason: String) -> ConfigError {
                ConfigError(problems: [ConfigProblem(place: ConfigPlace(source: printable(flag)), key: "", reason: reason)], isUsage: true)
            }
            let option = ConfigOption.all.first { $0.flag == flag }
            guard option != nil || flag == "--config" else {
                let meant = nearestName(to: flag, among: ConfigOption.all.map(\.flag) + ["--config"])
                throw refused("unknown option" + (meant.map { "; did you mean \($0)?" } ?? "; see sluice serve --help"))
            }
            let name = option?.name ?? "config"
            let value: String
            if parts.count > 1 {
                value = parts[1]
            } else if option?.isFlag == true {
                value = "true"
            } else if let next = rest.popFirst() {
                value = next
            } else {
                throw refused("expected a value after it")
            }
            guard values[name] == nil else { throw refused("given twice") }
            values[name] = word(name, value, flag)
        }
        return values
    }

    private static func environmentValues(_ environment: [String: String]) throws(ConfigError) -> [String: ConfigNode] {
        var values: [String: ConfigNode] = [:]
        var problems: [ConfigProblem] = []
        let names = ConfigOption.all.map(\.environment) + ["SLUICE_CONFIG"]
        for (variable, value) in environment.sorted(by: { $0.key < $1.key }) where variable.hasPrefix("SLUICE_") {
            if isServiceLink(variable, value) { continue }
            guard names.contains(variable) else {
                let meant = nearestName(to: variable, among: names)
                problems.append(ConfigProblem(
                    place: ConfigPlace(source: printable(variable)), key: "",
                    reason: "unknown option" + (meant.map { "; did you mean \($0)?" } ?? "; see sluice serve --help")))
                continue
            }
            let name = ConfigOption.all.first { $0.environment == variable }?.name ?? "config"
            values[name] = word(name, value, variable)
        }
        guard problems.isEmpty else { throw ConfigError(problems: problems) }
        return values
    }

    /// Kubernetes tells each pod of a Service called "sluice" by SLUICE_PORT=tcp://…, SLUICE_SERVICE_HOST,
    /// SLUICE_PORT_8080_TCP_ADDR and the like: they are not for us.
    private static func isServiceLink(_ variable: String, _ value: String) -> Bool {
        variable == "SLUICE_PORT" && value.hasPrefix("tcp://") || variable.hasPrefix("SLUICE_SERVICE_")
            || variable.hasPrefix("SLUICE_PORT_")
    }
}

enum ConfigFile {
    /// All of it, at most 16 MiB; nil with `errno` set.
    static func read(_ path: String) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        while bytes.count < 16 << 20 {
            var count = 0
            let part = [UInt8](unsafeUninitializedCapacity: 65536) { space, used in
                count = Glibc.read(file, space.baseAddress, 65536)
                used = max(count, 0)
            }
            if count < 0 { return nil }  // A directory, for one.
            if count == 0 { return bytes }
            bytes += part
        }
        errno = EFBIG
        return nil
    }
}
