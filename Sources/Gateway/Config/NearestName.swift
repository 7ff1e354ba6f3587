// "Did you mean …?": the known name that is fewest edits away.

/// The one of `names` nearest to `name`, if it is near enough to have been meant: at most two edits, and
/// fewer than half of the letters; or only its `_ms` forgotten.
func nearestName<Names: Sequence<String>>(to name: String, among names: Names) -> String? {
    let wanted = Array(name.utf8)
    guard wanted.count <= 64 else { return nil }  // What a stranger sends must not cost us; no name of ours is that long.
    var best: (name: String, distance: Int)?
    for candidate in names {
        if candidate == name + "_ms" { return candidate }  // The unit forgotten: more edits than a slip, and surely meant.
        let distance = editDistance(wanted, Array(candidate.utf8))
        if distance <= 2, distance * 2 < max(wanted.count, 2), distance < best?.distance ?? .max { best = (candidate, distance) }
    }
    return best?.name
}

/// Insertions, deletions, substitutions and swaps of neighbours (Damerau's, each pair swapped at most once).
func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
    var before: [Int] = [], last = Array(0...b.count)
    for i in 1...a.count {
        var row = [i]
        for j in 1...b.count {
            var cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { cost = min(cost, before[j - 2] + 1) }
            row.append(cost)
        }
        (before, last) = (last, row)
    }
    return last[b.count]
}
