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
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The civil date of a day number, counting years from March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
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
