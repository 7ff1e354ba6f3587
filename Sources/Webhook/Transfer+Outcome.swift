// What a transfer came to: libcurl's code, read in the light of what the callbacks saw.

import CCurl
import Glibc

extension Transfer {
    /// Nil: the name did not resolve, and why is not known yet.
    func outcome(_ code: CURLcode) -> WebhookResult.Outcome? {
        // Reading was given up by ourselves: the head was whole, so the receiver has answered.
        if reply.headIsWhole && (code == CURLE_OK || code == CURLE_WRITE_ERROR && reply.isBodyTooLarge) {
            return .answered(reply.answer)
        }
        guard let kind = failure(code) else { return nil }
        return .failed(kind, message: message(code, kind))
    }

    private func failure(_ code: CURLcode) -> WebhookFailure? {
        switch code {
        case CURLE_OUT_OF_MEMORY, CURLE_FAILED_INIT: return .outOfMemory
        case CURLE_OPERATION_TIMEDOUT:
            // Still looking the name up: the receiver was never asked.
            return lookup != nil ? .resolverDown : .timeout
        case CURLE_COULDNT_RESOLVE_HOST: return nil
        case CURLE_COULDNT_CONNECT: return connectFailure
        // The guard's word on a connection that stood: no other callback of ours ends a transfer this way.
        case CURLE_ABORTED_BY_CALLBACK: return .refusedTarget
        case CURLE_URL_MALFORMAT, CURLE_LOGIN_DENIED: return .malformedRequest
        // A foreign scheme; after the request, a reply in HTTP/0.9.
        case CURLE_UNSUPPORTED_PROTOCOL: return hasSent ? .brokenReply : .malformedRequest
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_CRL_BADFILE, CURLE_SSL_ENGINE_NOTFOUND,
            CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_ENGINE_INITFAILED, CURLE_SSL_PINNEDPUBKEYNOTMATCH,
            CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT, CURLE_USE_SSL_FAILED:
            return .tls
        default: return hasSent ? .brokenReply : .connect
        }
    }

    /// libcurl tries the next address after a refusal or a failed socket(2): a refusal is the reason only
    /// where nothing else was tried.
    private var connectFailure: WebhookFailure {
        if refusal != nil && opened == 0 { return .refusedTarget }
        switch openError {
        case EMFILE, ENFILE, ENOBUFS: return .noDescriptors
        case ENOMEM: return .outOfMemory
        default: return .connect
        }
    }

    private func message(_ code: CURLcode, _ kind: WebhookFailure) -> String {
        if kind == .refusedTarget, let refusal { return refusal.description }
        if kind == .resolverDown { return "The resolver did not answer in time." }
        if reply.isHeadTooLarge { return "The reply's head is larger than \(client.limits.maxHeadBytes) bytes." }
        if code == CURLE_OK { return "The connection ended inside the reply's head." }
        if openError != 0 { return String(cString: strerror(openError)) }
        let text = errorMessage
        return text.isEmpty ? String(cString: curl_easy_strerror(code)) : text
    }
}
