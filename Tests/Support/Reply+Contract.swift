// A test whose reply is not as openapi.yaml says fails, whatever else it looks at.

import Testing

extension Reply {
    func hold(to method: String, _ path: String) {
        record("\(method) \(path.prefix(200))") { $0.violations(of: self, to: method, path) }
    }

    /// For an answer to what was no call.
    func holdAsProblem() {
        record("a problem") { $0.violationsOfProblem(self) }
    }

    private func record(_ what: String, _ violations: (Contract) -> [String]) {
        switch Contract.shared {
        case .success(let contract):
            for violation in violations(contract) { Issue.record("not as openapi.yaml says: \(what): \(violation)") }
        case .failure(let error): Issue.record("openapi.yaml can't be read: \(error)")
        }
    }
}
