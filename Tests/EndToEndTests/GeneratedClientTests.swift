// A client that others' program generates from openapi.yaml goes through a consumer's day: what openapi.yaml says
// is enough to work with.

import Support
import Testing

@Suite(.gateway()) struct GeneratedClientTests {
    let rig = Rig.current

    @Test func `a client generated from openapi.yaml adds, reads, acknowledges, and is told what is missing`() throws {
        let folder = try TemporaryDirectory()
        let run = try PythonProgram.run(
            PythonProgram.root("Tests/Python/generated_client.py"),
            [PythonProgram.root("openapi.yaml"), folder.path, "http://127.0.0.1:\(rig.port)", rig.newStream()])
        #expect(run.code == 0, "\(run.output)")
        #expect(run.output.hasSuffix("every call of the generated client went well\n"), "\(run.output)")
    }
}
