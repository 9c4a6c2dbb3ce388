//! Verification of server certificates, with the results and texts of Go's `crypto/x509`.
//!
//! rustls' own verifier (webpki) is made for the public web: it rejects a server certificate that is marked as an
//! authority, one that is trusted itself although another authority issued it, critical policies, the usage `any`, RSA
//! below 2,048 bits and P-521. Private authorities use all of these. This module checks the rules of RFC 5280 as Go
//! does; `tests/certificates.rs` compares the two over certificates made by OpenSSL.
//!
//! Accepted by Go but not here: P-224 keys, and critical policy constraints or mappings.

mod certificate;
mod chain;
mod names;
mod roots;
mod signature;
mod verifier;

pub(crate) use roots::Roots;
pub(crate) use verifier::{Refusal, Verifier, is_for_key};

/// A time as shown in messages.
fn rfc3339(seconds: i64) -> String {
    let layout = b"2006-01-02T15:04:05Z07:00";
    let text = flux_golang::time::format(layout, seconds, 0, 0, "UTC");
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_formatted_as_rfc3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (67_090_118_400, "4096-01-01T00:00:00Z"),
            (-631_152_000, "1950-01-01T00:00:00Z"),
        ] {
            assert_eq!(super::rfc3339(seconds), text);
        }
    }
}
