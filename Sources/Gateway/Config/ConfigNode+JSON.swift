// The same tree from JSON: what comes in by `PUT /v1/sinks/{name}` is read by the code that reads sluice.yaml.

extension ConfigNode {
    /// The document in `bytes`; `source` is what to call it in errors.
    static func parse(json bytes: UnsafeRawBufferPointer, source: String) throws(JSONError) -> ConfigNode {
        var reader = JSONReader(bytes)
        let node = try ConfigNode(&reader, ConfigPlace(source: source, pointer: ""), key: "")
        try reader.end()
        return node
    }

    private init(_ reader: inout JSONReader, _ place: ConfigPlace, key: String) throws(JSONError) {
        self.place = place
        self.key = key
        switch try reader.peek() {
        case .object:
            var members: [Member] = []
            try reader.enterObject()
            while let name = try reader.nextMember()?.text() {
                let value = try ConfigNode(&reader, place.member(name), key: key.isEmpty ? name : "\(key).\(name)")
                members.append(Member(name: name, place: value.place, value: value))
            }
            content = .map(members)
        case .array:
            var nodes: [ConfigNode] = []
            try reader.enterArray()
            while try reader.nextElement() { nodes.append(try ConfigNode(&reader, place.member("\(nodes.count)"), key: "\(key)[\(nodes.count)]")) }
            content = .list(nodes)
        case .string: content = .scalar(try reader.string().text(), isQuoted: true)
        case .number: content = .scalar(String(decoding: try reader.number(), as: UTF8.self), isQuoted: false)
        case .boolean: content = .scalar(try reader.boolean() ? "true" : "false", isQuoted: false)
        case .null:
            try reader.null()
            content = .null
        }
    }
}

extension ConfigPlace {
    fileprivate func member(_ name: String) -> ConfigPlace {
        ConfigPlace(source: source, pointer: "\(pointer ?? "")/\(JSONObject.pointerToken(name))")
    }
}
