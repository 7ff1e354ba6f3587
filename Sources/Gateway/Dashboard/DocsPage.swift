// One loop's way to the page of `GET /docs`. It is made at the first need, once in a process, and on a thread of its
// own: to read and to draw a document of this size takes a tenth of a second, and the loop has others to serve.

import Net

final class DocsPage: @unchecked Sendable {
    // Unchecked: the thread makes the page and hands it over; all that changes is touched on the loop only.

    private let loop: EventLoop
    private var page: Result<HTML, ConfigError>?
    private var waiting: [UnsafeContinuation<Result<HTML, ConfigError>, Never>] = []

    init(_ loop: EventLoop) { self.loop = loop }

    func get() async -> Result<HTML, ConfigError> {
        await withUnsafeContinuation { caller in
            if let page { return caller.resume(returning: page) }
            waiting.append(caller)
            if waiting.count == 1 { make() }
        }
    }

    private func make() {
        do throws(SystemError) {
            try NativeThread { [self] in
                let page = OpenAPIPage.shared
                loop.execute { [self] in made(page) }
            }.detach()
        } catch {
            made(OpenAPIPage.shared)  // There is no thread to be had; late is better than never.
        }
    }

    private func made(_ page: Result<HTML, ConfigError>) {
        self.page = page
        let all = waiting
        waiting = []
        for caller in all { caller.resume(returning: page) }
    }
}
