//! The rules of the Notary Project for certificate chains, with the texts of notation-core-go.

use std::sync::Arc;

use flux_golang::strconv::quote;

use super::signer::Algorithm;
use crate::x509::{
    CERT_SIGN, CRL_SIGN, Certificate, DATA_ENCIPHERMENT, DECIPHER_ONLY, DIGITAL_SIGNATURE,
    ENCIPHER_ONLY, EXTENDED_USAGE, KEY_AGREEMENT, KEY_ENCIPHERMENT, KEY_USAGE, USAGE_TIMESTAMPING,
};

/// `id-kp`, the arc of the extended usages.
const USAGES: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];

/// What a chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    CodeSigning,
    Timestamping,
}

/// `ValidateCodeSigningCertChain`, without a time: a chain from the signer to a self-signed root, complete and in order.
pub(super) fn check_signing_chain(chain: &[Arc<Certificate>]) -> Result<(), String> {
    check(chain, Purpose::CodeSigning)
}

/// `ValidateTimestampingCertChain`.
pub(super) fn check_stamping_chain(chain: &[Arc<Certificate>]) -> Result<(), String> {
    check(chain, Purpose::Timestamping)
}

fn check(chain: &[Arc<Certificate>], purpose: Purpose) -> Result<(), String> {
    let [leaf, authorities @ ..] = chain else {
        return Err("certificate chain must contain at least one certificate".to_owned());
    };
    if authorities.is_empty() {
        return check_alone(leaf, purpose);
    }
    for (at, certificate) in chain.iter().enumerate() {
        check_issuer(at, certificate, chain.get(at + 1))?;
        if at == 0 {
            check_leaf(certificate, purpose)?;
        } else {
            check_authority(certificate, at as u64 - 1, purpose)?;
        }
    }
    Ok(())
}

/// The rules for a self-signed certificate that signs itself.
fn check_alone(leaf: &Certificate, purpose: Purpose) -> Result<(), String> {
    let name = quoted(leaf);
    leaf.check_signature(leaf.algorithm, &leaf.signed, &leaf.signature)
        .map_err(|why| format!("invalid self-signed certificate. subject: {name}. Error: {why}"))?;
    if leaf.subject != leaf.issuer {
        let (space, issuer) = (
            if purpose == Purpose::Timestamping {
                " "
            } else {
                ""
            },
            crate::x509::distinguished(&leaf.issuer),
        );
        return Err(format!(
            "invalid self-signed certificate. subject: {name}. Error: issuer{space}({issuer}) and subject{space}({}) are not the same",
            leaf.subject_text()
        ));
    }
    check_leaf(leaf, purpose)
        .map_err(|why| format!("invalid self-signed certificate. Error: {why}"))
}

/// Whether a certificate is issued by the next of the chain, and only the last by itself.
fn check_issuer(
    at: usize,
    certificate: &Certificate,
    parent: Option<&Arc<Certificate>>,
) -> Result<(), String> {
    let name = quoted(certificate);
    let by_itself = issued_by(certificate, certificate);
    let Some(parent) = parent else {
        return match by_itself {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "root certificate with subject {name} is not self-signed. Certificate chain must end with a valid self-signed root certificate"
            )),
            Err(why) => Err(format!(
                "root certificate with subject {name} is invalid or not self-signed. Certificate chain must end with a valid self-signed root certificate. Error: {why}"
            )),
        };
    };
    if by_itself == Ok(true) {
        let which = if at == 0 { "leaf" } else { "intermediate" };
        return Err(format!(
            "{which} certificate with subject {name} is self-signed. Certificate chain must not contain self-signed {which} certificate"
        ));
    }
    let parent_name = quoted(parent);
    match issued_by(certificate, parent) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "certificate with subject {name} is not issued by {parent_name}"
        )),
        Err(why) => Err(format!(
            "invalid certificates or certificate with subject {name} is not issued by {parent_name}. Error: {why}"
        )),
    }
}

fn issued_by(certificate: &Certificate, issuer: &Certificate) -> Result<bool, String> {
    certificate.check_signature_from(issuer)?;
    Ok(issuer.subject == certificate.issuer)
}

fn quoted(certificate: &Certificate) -> String {
    quote(certificate.subject_text())
}

fn check_authority(certificate: &Certificate, below: u64, purpose: Purpose) -> Result<(), String> {
    let name = quoted(certificate);
    let Some((true, limit)) = certificate.constraints else {
        return Err(format!(
            "certificate with subject {name}: ca field in basic constraints must be present, critical, and set to true"
        ));
    };
    if let Some(limit) = limit
        && limit < below
    {
        return Err(format!(
            "certificate with subject {name}: expected path length of {below} but certificate has path length {limit} instead"
        ));
    }
    check_key_usage_present(certificate, purpose)?;
    if certificate.key_usage & CERT_SIGN == 0 {
        return Err(format!(
            "certificate with subject {name}: key usage must have the bit positions for key cert sign set"
        ));
    }
    Ok(())
}

fn check_leaf(certificate: &Certificate, purpose: Purpose) -> Result<(), String> {
    let name = quoted(certificate);
    if matches!(certificate.constraints, Some((true, _))) {
        return Err(format!(
            "certificate with subject {name}: if the basic constraints extension is present, the ca field must be set to false"
        ));
    }
    check_key_usage_present(certificate, purpose)?;
    check_key_usage(certificate)?;
    match purpose {
        Purpose::CodeSigning => check_signing_usage(certificate)?,
        Purpose::Timestamping => check_stamping_usage(certificate)?,
    }
    Algorithm::of_key(certificate)
        .map(|_| ())
        .map_err(|why| format!("certificate with subject {name}: {why}"))
}

fn check_key_usage_present(certificate: &Certificate, purpose: Purpose) -> Result<(), String> {
    let name = quoted(certificate);
    match certificate.extension(KEY_USAGE) {
        None => Err(format!(
            "certificate with subject {name}: key usage extension must be present"
        )),
        Some(extension) if !extension.critical && purpose == Purpose::CodeSigning => Err(format!(
            "certificate with subject {name}: key usage extension must be marked critical"
        )),
        Some(_) => Ok(()),
    }
}

/// Whether the key is for signatures and nothing else.
fn check_key_usage(certificate: &Certificate) -> Result<(), String> {
    let name = quoted(certificate);
    if certificate.key_usage & DIGITAL_SIGNATURE == 0 {
        return Err(format!(
            r#"the certificate with subject {name} is invalid. The key usage must have the bit positions for "Digital Signature" set"#
        ));
    }
    let others = [
        (KEY_ENCIPHERMENT, r#""KeyEncipherment""#),
        (DATA_ENCIPHERMENT, r#""DataEncipherment""#),
        (KEY_AGREEMENT, r#""KeyAgreement""#),
        (CERT_SIGN, r#""CertSign""#),
        (CRL_SIGN, r#""CRLSign""#),
        (ENCIPHER_ONLY, r#""EncipherOnly""#),
        (DECIPHER_ONLY, r#""DecipherOnly""#),
    ];
    let found: Vec<&str> = others
        .iter()
        .filter(|(bit, _)| certificate.key_usage & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(format!(
        r#"the certificate with subject {name} is invalid. The key usage must be "Digital Signature" only, but found {}"#,
        found.join(", ")
    ))
}

fn check_signing_usage(certificate: &Certificate) -> Result<(), String> {
    let excluded = [
        (1, "ServerAuth"),
        (2, "ClientAuth"),
        (4, "EmailProtection"),
        (8, "Timestamping"),
        (9, "OCSPSigning"),
    ];
    for usage in &certificate.usages {
        let Some([number]) = usage.strip_prefix(USAGES) else {
            continue;
        };
        if let Some((_, what)) = excluded.iter().find(|(known, _)| known == number) {
            return Err(format!(
                "certificate with subject {}: extended key usage must not contain {what} eku",
                quoted(certificate)
            ));
        }
    }
    Ok(())
}

fn check_stamping_usage(certificate: &Certificate) -> Result<(), String> {
    let name = quoted(certificate);
    if certificate.usages != [USAGE_TIMESTAMPING] {
        return Err(format!(
            "timestamp signing certificate with subject {name} must have and only have Timestamping as extended key usage"
        ));
    }
    let critical = certificate.extension(EXTENDED_USAGE);
    if critical.is_some_and(|extension| extension.critical) {
        Ok(())
    } else {
        Err(format!(
            "timestamp signing certificate with subject {name} must have extended key usage extension marked as critical"
        ))
    }
}
