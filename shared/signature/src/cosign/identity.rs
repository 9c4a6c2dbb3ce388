//! Who may have signed: issuers and subjects of keyless certificates (SC-VER-034).

use std::sync::Arc;

use flux_der::{Reader, UTF8_STRING};
use flux_golang::regexp::Regex;

use crate::x509::Certificate;

/// The issuer as older versions of Fulcio wrote it: bytes.
const ISSUER: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x01];
/// The issuer as a text in DER.
const ISSUER_V2: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08];
/// The maximum length of an expression.
const MAX_EXPRESSION: usize = 16 << 10;

/// An expression for an issuer or a subject cannot be used; the text is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {part} in identity: {expression} : {why}")]
pub struct IdentityError {
    part: &'static str,
    expression: String,
    why: String,
}

/// An identity: Go regular expressions that match somewhere in the issuer and in one of the subject's names. An empty
/// expression matches all.
#[derive(Debug, Clone)]
pub struct Identity {
    issuer: Arc<Regex>,
    subject: Arc<Regex>,
}

impl Identity {
    /// The identity of `spec.verify.matchOIDCIdentity`.
    ///
    /// # Errors
    /// An expression is malformed, or compiles to more than 8 MiB.
    pub fn new(issuer: &str, subject: &str) -> Result<Self, IdentityError> {
        let compile = |part, expression: &str| {
            let error = |why: String| IdentityError {
                part,
                expression: expression.to_owned(),
                why,
            };
            if expression.len() > MAX_EXPRESSION {
                return Err(error("expression too large".to_owned()));
            }
            Regex::cached(expression.as_bytes()).map_err(|why| error(why.to_string()))
        };
        Ok(Self {
            issuer: compile("issuer", issuer)?,
            subject: compile("subject", subject)?,
        })
    }

    /// Whether a certificate's issuer and one of its names match.
    pub(crate) fn matches(&self, issuer: &str, subjects: &[String]) -> bool {
        let subject = |name: &String| self.subject.is_match(name);
        self.issuer.is_match(issuer) && subjects.iter().any(subject)
    }
}

/// Who logged in for a certificate, according to the provider's address: the newer extension counts first.
pub(crate) fn issuer(certificate: &Certificate) -> String {
    let newer = certificate.extension(ISSUER_V2).and_then(|extension| {
        let mut value = Reader::new(&extension.value);
        let text = value.expect(UTF8_STRING)?;
        value
            .is_empty()
            .then(|| String::from_utf8_lossy(text).into_owned())
    });
    newer
        .or_else(|| {
            let extension = certificate.extension(ISSUER)?;
            Some(String::from_utf8_lossy(&extension.value).into_owned())
        })
        .unwrap_or_default()
}
