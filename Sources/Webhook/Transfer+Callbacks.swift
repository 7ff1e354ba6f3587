// What libcurl calls during a transfer. These note and decide; none of them calls libcurl's multi back.

import CCurl
import Glibc

extension Transfer {
    static let headerCallback: curl_data_function = { bytes, size, count, me in
        let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
        return Transfer.from(me).reply.head(line) ? line.count : 0
    }

    static let writeCallback: curl_data_function = { bytes, size, count, me in
        let part = UnsafeRawBufferPointer(start: bytes, count: size * count)
        // Anything but the count ends the transfer with CURLE_WRITE_ERROR.
        return Transfer.from(me).reply.body(part) ? part.count : part.count &+ 1
    }

    static let openCallback: curl_opensocket_callback = { me, _, address in
        guard let address else { return curl_no_socket() }
        return Transfer.from(me).open(address.pointee, curl_address(address))
    }

    static let closeCallback: curl_closesocket_callback = { multi, file in
        guard let multi else { return 0 }
        Unmanaged<CurlMulti>.fromOpaque(multi).takeUnretainedValue().closeSocket(file)
        return 0
    }

    static let prereqCallback: curl_prereq_callback = { me, peer, _, _, _ in
        Transfer.from(me).mayUseConnection(peer) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
    }

    /// Called when the name is not in libcurl's cache, before the thread is started.
    static let resolverCallback: curl_resolver_start_callback = { _, _, me in
        Transfer.from(me).mayLookUp() ? 0 : 1
    }

    private static func from(_ pointer: UnsafeMutableRawPointer?) -> Transfer {
        guard let pointer else { preconditionFailure("libcurl lost the pointer it was given.") }
        return Unmanaged<Transfer>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Called for each address that libcurl tries: the one place where a new connection can be refused after
    /// resolution and before a packet leaves.
    private func open(_ wanted: curl_sockaddr, _ address: UnsafePointer<sockaddr>?) -> Int32 {
        client.lookupFound(self)
        guard let address else { return curl_no_socket() }
        if let refusal = endpoint?.target?.check(address) {
            self.refusal = refusal
            return curl_no_socket()
        }
        let file = client.multi.openSocket(
            family: wanted.family, kind: wanted.socktype, protocol: wanted.protocol)
        guard file >= 0 else {
            openError = errno
            return curl_no_socket()
        }
        opened += 1
        return file
    }

    /// Called when a connection, new or kept, is about to carry the request.
    private func mayUseConnection(_ peer: UnsafePointer<CChar>?) -> Bool {
        if let target = endpoint?.target, let peer, !isAccepted(peer) {
            if let refusal = target.check(literal: String(cString: peer)) {
                self.refusal = refusal
                return false
            }
            acceptedPeer = Array(UnsafeBufferPointer(start: peer, count: strlen(peer) + 1))
        }
        hasSent = true
        return true
    }

    /// The guard was content with this very address, for this endpoint: it says the same again.
    private func isAccepted(_ peer: UnsafePointer<CChar>) -> Bool {
        acceptedPeer.withUnsafeBufferPointer { accepted in accepted.baseAddress.map { strcmp($0, peer) == 0 } == true && !accepted.isEmpty }
    }

    private func mayLookUp() -> Bool {
        guard lookup == nil, let name = endpoint.flatMap({ RequestRules.nameToResolve($0.url) }) else { return true }
        guard client.beginLookup(name, self) else {
            mustWaitForName = true
            return false
        }
        lookup = name
        return true
    }
}
