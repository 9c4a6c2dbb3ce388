//! Path building and validation, with the results of Go's `Certificate.Verify`.

use std::sync::Arc;

use super::{Certificate, NAME_CONSTRAINTS};

/// The maximum number of signature checks of one search, as in Go: certificates with equal names could otherwise
/// multiply them.
const MAX_SIGNATURES: usize = 100;

/// What a chain is for: the usage that each certificate of it must allow.
pub(crate) type Usage = &'static [u8];

/// A chain from the certificate to one of the roots, valid at a time and for a usage. `ignored` critical extensions of
/// the certificate itself do not matter.
pub(crate) fn chain(
    leaf: &Arc<Certificate>,
    roots: &[Arc<Certificate>],
    intermediates: &[Arc<Certificate>],
    at: i64,
    usage: Usage,
    ignored: &[u8],
) -> Result<Vec<Arc<Certificate>>, String> {
    if leaf.unhandled.iter().any(|oid| oid != ignored) {
        return Err("x509: unhandled critical extension".to_owned());
    }
    check_time(leaf, at)?;
    if roots.contains(leaf) {
        let chain = vec![Arc::clone(leaf)];
        return check_usage(&chain, usage).map(|()| chain);
    }
    let mut search = Search {
        roots,
        intermediates,
        at,
        usage,
        signatures: 0,
    };
    search.extend(&[Arc::clone(leaf)])
}

fn check_time(certificate: &Certificate, at: i64) -> Result<(), String> {
    let (limit, side) = if at < certificate.not_before {
        (certificate.not_before, "before")
    } else if at > certificate.not_after {
        (certificate.not_after, "after")
    } else {
        return Ok(());
    };
    Err(format!(
        "x509: certificate has expired or is not yet valid: current time {} is {side} {}",
        crate::time::rfc3339(at),
        crate::time::rfc3339(limit)
    ))
}

fn check_usage(chain: &[Arc<Certificate>], usage: Usage) -> Result<(), String> {
    if chain.iter().all(|certificate| certificate.allows(usage)) {
        Ok(())
    } else {
        Err("x509: certificate specifies an incompatible key usage".to_owned())
    }
}

struct Search<'s> {
    roots: &'s [Arc<Certificate>],
    intermediates: &'s [Arc<Certificate>],
    at: i64,
    usage: Usage,
    signatures: usize,
}

impl Search<'_> {
    /// Searches for issuers of the chain's last certificate until a chain is complete and valid.
    fn extend(&mut self, chain: &[Arc<Certificate>]) -> Result<Vec<Arc<Certificate>>, String> {
        let mut why = "x509: certificate signed by unknown authority".to_owned();
        let Some(last) = chain.last() else {
            return Err(why);
        };
        let (roots, intermediates) = (self.roots, self.intermediates);
        let candidates = roots.iter().map(|one| (one, true));
        let candidates = candidates.chain(intermediates.iter().map(|one| (one, false)));
        for (candidate, root) in candidates.filter(|(one, _)| one.subject == last.issuer) {
            self.signatures += 1;
            if self.signatures > MAX_SIGNATURES {
                return Err(
                    "x509: signature check attempts limit reached while verifying certificate chain"
                        .to_owned(),
                );
            }
            if chain
                .iter()
                .any(|one| one.key_info == candidate.key_info && one.subject == candidate.subject)
            {
                continue;
            }
            if let Err(unfit) = self.check_authority(chain, candidate, root) {
                why = unfit;
                continue;
            }
            let mut longer = chain.to_vec();
            longer.push(Arc::clone(candidate));
            let found = if root {
                check_usage(&longer, self.usage).map(|()| longer)
            } else {
                self.extend(&longer)
            };
            match found {
                Ok(chain) => return Ok(chain),
                Err(unfit) => why = unfit,
            }
        }
        Err(why)
    }

    /// Whether the candidate signed the chain's last certificate and was allowed to.
    fn check_authority(
        &self,
        chain: &[Arc<Certificate>],
        candidate: &Certificate,
        root: bool,
    ) -> Result<(), String> {
        if let Some(child) = chain.last() {
            child.check_signature_from(candidate)?;
        }
        // Name constraints are not evaluated, so that an authority that has them is refused.
        if !candidate.unhandled.is_empty() || candidate.extension(NAME_CONSTRAINTS).is_some() {
            return Err("x509: unhandled critical extension".to_owned());
        }
        check_time(candidate, self.at)?;
        if !root && candidate.constraints.is_none() {
            return Err(
                "x509: certificate is not authorized to sign other certificates".to_owned(),
            );
        }
        let below = chain.len() as u64 - 1;
        if let Some((_, Some(limit))) = candidate.constraints
            && below > limit
        {
            return Err("x509: too many intermediates for path length constraint".to_owned());
        }
        Ok(())
    }
}
