// The digests of OpenSSL's libcrypto (3.0 and later).
//
// HMAC over several pieces is EVP_MAC since 3.0 (HMAC_CTX is deprecated), and its parameters are C
// string plumbing: the one piece that is clearer here than in Swift.
#pragma once
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stddef.h>

// A started HMAC-SHA256, or NULL when memory is out. The context owns a reference to its algorithm.
static inline EVP_MAC_CTX *sluice_hmac_sha256(const void *key, size_t length) {
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (!context) return NULL;
    char digest[] = "SHA256";
    OSSL_PARAM parameters[2] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    // A NULL key means "the key of before": an empty key must still be an address.
    if (EVP_MAC_init(context, length ? (const unsigned char *)key : (const unsigned char *)"", length, parameters))
        return context;
    EVP_MAC_CTX_free(context);
    return NULL;
}
