// schemathesis makes requests out of openapi.yaml, fitting and not, and holds the answers against it: a run of
// bounded length from a printed seed.

import Support
import Testing

/// Waits are cut short: it asks for long ones.
@Suite(.gateway("--max-block-ms", "20")) struct SchemathesisTests {
    let rig = Rig.current

    @Test func `what schemathesis makes of openapi.yaml is answered as openapi.yaml says`() throws {
        let random = SeededRandom()
        let run = try PythonProgram.run(
            PythonProgram.root("Tests/Python/run_schemathesis.py"),
            [PythonProgram.root("openapi.yaml"), "http://127.0.0.1:\(rig.port)", String(random.seed % 1_000_000_000)],
            atMost: .seconds(600))
        #expect(run.code == 0, "\(run.output)")
    }
}
