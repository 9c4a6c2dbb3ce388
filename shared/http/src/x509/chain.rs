//! Path building and validation, with the results of Go's `Certificate.Verify`.

use flux_der::x509::Malformed;

use super::certificate::Certificate;
use super::names::{check_constraints, check_host};
use super::roots::Roots;

/// The maximum number of signature checks for one server, as in Go: certificates with equal names could otherwise
/// multiply them.
const MAX_SIGNATURES: usize = 100;

/// The certificates that a server presented.
pub(super) struct Shown<'a> {
    pub(super) server: Certificate<'a>,
    pub(super) others: Vec<Certificate<'a>>,
}

impl<'a> Shown<'a> {
    /// Parses the presented certificates. Invalid ones after the first are skipped.
    pub(super) fn parse(
        server: &'a [u8],
        others: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, String> {
        let server = Certificate::parse(server).map_err(|Malformed(why)| {
            format!("tls: failed to parse certificate from server: {why}")
        })?;
        let others = others
            .filter_map(|der| Certificate::parse(der).ok())
            .collect();
        Ok(Self { server, others })
    }

    /// Verifies that the server is `host`, at a time in seconds since 1970. The error is Go's text.
    pub(super) fn verify(&self, roots: &Roots, host: &str, now: i64) -> Result<(), String> {
        let server = &self.server;
        check_standalone(server, now)?;
        check_host(server, host)?;
        // A certificate that is itself trusted needs no authority: a pinned server, self-signed or not.
        if roots.contains(server.der) {
            return check_usage(&[server]);
        }
        let mut search = Search {
            shown: &self.others,
            roots,
            now,
            signatures: 0,
            refused: None,
        };
        match search.extend(&[server]) {
            Ok(()) => Ok(()),
            // A complete chain that is not allowed for servers explains more than an incomplete one.
            Err(why) => Err(search.refused.unwrap_or(why)),
        }
    }
}

/// Checks that apply to a certificate in any position of a chain.
fn check_standalone(certificate: &Certificate<'_>, now: i64) -> Result<(), String> {
    if certificate.unhandled_critical {
        return Err("x509: unhandled critical extension".to_owned());
    }
    let (limit, side) = if now < certificate.not_before {
        (certificate.not_before, "before")
    } else if now > certificate.not_after {
        (certificate.not_after, "after")
    } else {
        return Ok(());
    };
    Err(format!(
        "x509: certificate has expired or is not yet valid: current time {} is {side} {}",
        super::rfc3339(now),
        super::rfc3339(limit)
    ))
}

/// Whether every certificate of a chain is allowed for servers.
fn check_usage(chain: &[&Certificate<'_>]) -> Result<(), String> {
    if chain.iter().any(|certificate| certificate.may_not_serve) {
        return Err("x509: certificate specifies an incompatible key usage".to_owned());
    }
    check_constraints(chain).map_err(|why| {
        format!("x509: a root or intermediate certificate is not authorized to sign for this name: {why}")
    })
}

/// A search for a chain from the server to a root.
struct Search<'s, 'a> {
    shown: &'s [Certificate<'a>],
    roots: &'s Roots,
    now: i64,
    signatures: usize,
    /// Why the first complete chain was rejected.
    refused: Option<String>,
}

/// Why a candidate is not the issuer of a certificate.
enum NotIssuer {
    /// The signature is not by this candidate.
    Signature(String),
    /// The signature is, but the candidate may not sign or is not valid.
    Invalid(String),
}

/// The results of a search at one level, to choose its error as Go does: the last invalid candidate, otherwise the
/// first unsuitable one.
#[derive(Default)]
struct Candidates {
    last: Option<String>,
    hint: Option<(String, String)>,
}

impl Candidates {
    fn note(&mut self, candidate: &Certificate<'_>, unfit: NotIssuer) {
        let why = match unfit {
            NotIssuer::Signature(why) => why,
            NotIssuer::Invalid(why) => {
                self.last = Some(why.clone());
                why
            }
        };
        self.hint
            .get_or_insert_with(|| (why, candidate.display_name()));
    }

    fn into_error(self) -> String {
        let unknown = "x509: certificate signed by unknown authority";
        match (self.last, self.hint) {
            (Some(why), _) => why,
            (None, None) => unknown.to_owned(),
            (None, Some((why, name))) => format!(
                "{unknown} (possibly because of {why:?} while trying to verify candidate authority certificate {name:?})"
            ),
        }
    }
}

impl Search<'_, '_> {
    /// Searches for issuers of the chain's last certificate until a chain is complete and valid.
    fn extend(&mut self, chain: &[&Certificate<'_>]) -> Result<(), String> {
        let mut met = Candidates::default();
        let Some(last) = chain.last() else {
            return Err(met.into_error());
        };
        let (roots, shown) = (self.roots, self.shown);
        for der in roots.named(last.issuer) {
            let Ok(root) = Certificate::parse(der) else {
                continue;
            };
            self.count()?;
            if is_in(chain, &root) {
                continue;
            }
            if let Err(unfit) = self.check_authority(chain, &root, false) {
                met.note(&root, unfit);
                continue;
            }
            let mut complete = chain.to_vec();
            complete.push(&root);
            match check_usage(&complete) {
                Ok(()) => return Ok(()),
                Err(why) => {
                    self.refused.get_or_insert(why);
                }
            }
        }
        for candidate in shown.iter().filter(|one| one.subject == last.issuer) {
            self.count()?;
            if is_in(chain, candidate) {
                continue;
            }
            if let Err(unfit) = self.check_authority(chain, candidate, true) {
                met.note(candidate, unfit);
                continue;
            }
            let mut longer = chain.to_vec();
            longer.push(candidate);
            match self.extend(&longer) {
                Ok(()) => return Ok(()),
                Err(why) => met.last = Some(why),
            }
        }
        Err(met.into_error())
    }

    /// Counts a candidate against the maximum.
    fn count(&mut self) -> Result<(), String> {
        self.signatures += 1;
        if self.signatures > MAX_SIGNATURES {
            return Err(
                "x509: signature check attempts limit reached while verifying certificate chain"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Whether `candidate` signed the chain's last certificate and was allowed to.
    fn check_authority(
        &self,
        chain: &[&Certificate<'_>],
        candidate: &Certificate<'_>,
        intermediate: bool,
    ) -> Result<(), NotIssuer> {
        let cannot_sign =
            "x509: invalid signature: parent certificate cannot sign this kind of certificate";
        // Only version 3 has the authority flag; a root of an older version is trusted as it was given.
        let is_authority = match candidate.basic_constraints {
            Some(constraints) => constraints.is_ca,
            None => candidate.version < 3,
        };
        if !is_authority || candidate.may_not_sign {
            return Err(NotIssuer::Signature(cannot_sign.to_owned()));
        }
        if let Some(child) = chain.last() {
            candidate
                .key
                .verify(child.scheme, child.signed, child.signature)
                .map_err(|refused| NotIssuer::Signature(refused.0.to_owned()))?;
        }
        check_standalone(candidate, self.now).map_err(NotIssuer::Invalid)?;
        if intermediate && candidate.basic_constraints.is_none() {
            let why = "x509: certificate is not authorized to sign other certificates";
            return Err(NotIssuer::Invalid(why.to_owned()));
        }
        let below = chain.len() as u64 - 1;
        if let Some(limit) = candidate.basic_constraints.and_then(|c| c.path_length)
            && below > limit
        {
            let why = "x509: too many intermediates for path length constraint";
            return Err(NotIssuer::Invalid(why.to_owned()));
        }
        Ok(())
    }
}

/// Whether a chain contains the certificate, or one that differs only in its issuer.
fn is_in(chain: &[&Certificate<'_>], candidate: &Certificate<'_>) -> bool {
    chain.iter().any(|one| {
        one.subject == candidate.subject
            && one.key_info == candidate.key_info
            && one.subject_alternative_names == candidate.subject_alternative_names
    })
}
