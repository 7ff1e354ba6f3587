// The least that posts with libcurl: one multi, easy handles used again and again, nothing else. What
// sluicebench holds the real client against; it is here since one target alone knows libcurl.
//
// Body and headers are the caller's, and the same for every request: who posts the bytes that a sink posts, by a loop
// of his own, has to make libcurl send as many of them. He would make some of them anew each time; that is not done here.

import CCurl
import Net

package enum BareCurlLoop {
    /// Posts `body` with `headers` (`Name: value`) to `url` over `inFlight` handles for `length`, and lets what is under
    /// way finish. Blocks. Anything but a 2xx has failed.
    package static func post(
        to url: String, headers: [String], body: [UInt8], inFlight: Int, for length: Duration
    ) -> (delivered: Int, failed: Int) {
        _ = curl_start()
        guard let multi = curl_multi_init() else { return (0, inFlight) }
        _ = curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, inFlight)
        var list: UnsafeMutablePointer<curl_slist>?
        for header in headers { list = curl_slist_append(list, header) }
        defer { curl_slist_free_all(list) }
        return body.withUnsafeBytes { bytes in
            let handles = (0..<inFlight).compactMap { _ in handle(url, list, bytes) }
            for easy in handles { curl_multi_add_handle(multi, easy) }
            defer {
                for easy in handles { curl_easy_cleanup(easy) }
                curl_multi_cleanup(multi)
            }
            return drive(multi, handles.count, for: length)
        }
    }

    private static func handle(
        _ url: String, _ headers: UnsafeMutablePointer<curl_slist>?, _ body: UnsafeRawBufferPointer
    ) -> UnsafeMutableRawPointer? {
        guard let easy = curl_easy_init() else { return nil }
        _ = curl_set_string(easy, CURLOPT_URL, url)
        _ = curl_set_string(easy, CURLOPT_PROXY, "")  // Not what the environment says.
        _ = curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        _ = curl_set_long(easy, CURLOPT_POST, 1)
        _ = curl_set_headers(easy, headers)
        _ = curl_set_large(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
        _ = curl_set_pointer(easy, CURLOPT_POSTFIELDS, body.baseAddress)
        _ = curl_set_data_function(easy, CURLOPT_WRITEFUNCTION) { _, size, count, _ in size * count }
        return easy
    }

    /// Each handle that is done posts again, until time is up.
    private static func drive(_ multi: UnsafeMutableRawPointer, _ count: Int, for length: Duration) -> (delivered: Int, failed: Int) {
        let clock = MonotonicClock()
        let deadline = clock.now + length
        var (delivered, failed, running) = (0, 0, Int32(count))
        while running > 0 {
            curl_multi_perform(multi, &running)
            var result = CURLE_OK
            while let easy = curl_multi_next_done(multi, &result) {
                let status = curl_get_long(easy, CURLINFO_RESPONSE_CODE)
                if result == CURLE_OK, status / 100 == 2 { delivered += 1 } else { failed += 1 }
                curl_multi_remove_handle(multi, easy)
                if clock.now < deadline {
                    curl_multi_add_handle(multi, easy)
                    running += 1
                }
            }
            if running > 0 { curl_multi_poll(multi, nil, 0, 1000, nil) }
        }
        return (delivered, failed)
    }
}
