//! Trusted certificates.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;

use super::certificate::Certificate;

/// Certificates by subject. They are stored unparsed and parsed on demand, so that the roughly 150 authorities of a
/// system take no more memory than their bytes.
#[derive(Debug, Default)]
struct Pool {
    certificates: Vec<CertificateDer<'static>>,
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
}

impl Pool {
    /// Adds the certificate if it parses; returns whether it does.
    fn add(&mut self, certificate: CertificateDer<'static>) -> bool {
        let Ok(parsed) = Certificate::parse(&certificate) else {
            return false;
        };
        let subject = parsed.subject.to_vec();
        let known = self.by_subject.entry(subject).or_default();
        if !known
            .iter()
            .any(|&index| self.certificates.get(index) == Some(&certificate))
        {
            known.push(self.certificates.len());
            self.certificates.push(certificate);
        }
        true
    }

    fn named(&self, subject: &[u8]) -> impl Iterator<Item = &CertificateDer<'static>> {
        let indices = self.by_subject.get(subject).into_iter().flatten();
        indices.filter_map(|&index| self.certificates.get(index))
    }
}

/// The certificates that a client trusts: given ones, and optionally the system's.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    given: Arc<Pool>,
    system: Option<Arc<Pool>>,
}

impl Roots {
    /// Trusts these certificates, and the system's if `with_system`. Invalid ones are skipped, as in Go.
    pub(crate) fn new(given: Vec<CertificateDer<'static>>, with_system: bool) -> Self {
        let mut pool = Pool::default();
        for certificate in given {
            pool.add(certificate);
        }
        Self {
            given: Arc::new(pool),
            system: with_system.then(system),
        }
    }

    /// Whether none of the given certificates is valid.
    pub(crate) fn has_none_given(&self) -> bool {
        self.given.certificates.is_empty()
    }

    /// Whether this exact certificate is trusted.
    pub(super) fn contains(&self, der: &[u8]) -> bool {
        let pools = [Some(&self.given), self.system.as_ref()];
        pools.into_iter().flatten().any(|pool| {
            pool.certificates
                .iter()
                .any(|certificate| certificate.as_ref() == der)
        })
    }

    /// The trusted certificates with this subject, given ones first.
    pub(super) fn named<'a>(
        &'a self,
        subject: &'a [u8],
    ) -> impl Iterator<Item = &'a CertificateDer<'static>> {
        let system = self.system.iter().flat_map(|pool| pool.named(subject));
        self.given.named(subject).chain(system)
    }
}

/// The system's certificates, read once per process as in Go.
fn system() -> Arc<Pool> {
    static SYSTEM: OnceLock<Arc<Pool>> = OnceLock::new();
    Arc::clone(SYSTEM.get_or_init(|| {
        let mut pool = Pool::default();
        // An unreadable file or an invalid entry leaves that authority untrusted, as in Go.
        for certificate in rustls_native_certs::load_native_certs().certs {
            pool.add(certificate);
        }
        Arc::new(pool)
    }))
}
