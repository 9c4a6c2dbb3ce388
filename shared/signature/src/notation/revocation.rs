//! Whether certificates are revoked. What the network has to say is asked for as [`Request`]s.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{crl, ocsp};
use crate::x509::Certificate;

/// The maximum number of servers of one certificate that are asked.
const MAX_SERVERS: usize = 8;

/// A request that the caller sends: GET, or POST with a body of type `application/ocsp-request`. Redirects may be followed,
/// no proxy setting of an object applies (SC-VER-058). The address is of a certificate, which under the level `audit` may be
/// one that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The address; its scheme is `http`.
    pub url: String,
    /// The body of a POST, or `None` for a GET.
    pub body: Option<Vec<u8>>,
    /// The maximum size of the response in bytes.
    pub limit: usize,
    /// Seconds until the request fails.
    pub timeout: u32,
}

/// What the network said: the body of a response with status 200, or why it is absent.
pub type Responses = BTreeMap<Request, Result<Vec<u8>, String>>;

/// The responses that are known, and the requests for others.
#[derive(Debug)]
pub(super) struct Network<'a> {
    responses: &'a Responses,
    missing: RefCell<Vec<Request>>,
}

/// The status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Not revoked, or not revocable.
    Good,
    Revoked,
    Unknown,
    /// A response is missing.
    Pending,
}

impl<'a> Network<'a> {
    pub(super) fn new(responses: &'a Responses) -> Self {
        Self {
            responses,
            missing: RefCell::new(Vec::new()),
        }
    }

    /// The response to a request, or `None` if it has to be sent first.
    pub(super) fn fetch(&self, request: Request) -> Option<&'a Result<Vec<u8>, String>> {
        let known = self.responses.get(&request);
        if known.is_none() {
            self.missing.borrow_mut().push(request);
        }
        known
    }

    /// The requests whose responses were missing.
    pub(super) fn into_missing(self) -> Vec<Request> {
        let mut missing = self.missing.into_inner();
        missing.sort();
        missing.dedup();
        missing
    }
}

/// The status of a chain with the subject of the certificate that decides it, as notation-go sums it up: a revoked one
/// first, else the unknown one that is nearest to the signer. `signed_at` is the time that a signing authority vouches for.
pub(super) fn check(
    chain: &[Arc<Certificate>],
    signed_at: Option<i64>,
    now: i64,
    network: &Network<'_>,
) -> (Status, String) {
    let mut result = (Status::Good, String::new());
    let mut revoked = None;
    // The root is not revocable.
    for pair in chain.windows(2).rev() {
        let [certificate, issuer] = pair else {
            continue;
        };
        let status = check_one(certificate, issuer, signed_at, now, network);
        match status {
            Status::Good => {}
            Status::Revoked => revoked = Some(certificate.subject_text()),
            Status::Unknown | Status::Pending => result = (status, certificate.subject_text()),
        }
    }
    match revoked {
        Some(subject) => (Status::Revoked, subject),
        None => result,
    }
}

fn check_one(
    certificate: &Certificate,
    issuer: &Certificate,
    signed_at: Option<i64>,
    now: i64,
    network: &Network<'_>,
) -> Status {
    if certificate.ocsp_servers.is_empty() && certificate.crl_points.is_empty() {
        return Status::Good;
    }
    if !certificate.ocsp_servers.is_empty() {
        let status = by_ocsp(certificate, issuer, signed_at, now, network);
        if status != Status::Unknown || certificate.crl_points.is_empty() {
            return status;
        }
    }
    by_crl(certificate, issuer, signed_at, now, network)
}

/// Asks one server after the other until one gives an answer, even if that is `unknown`.
fn by_ocsp(
    certificate: &Certificate,
    issuer: &Certificate,
    signed_at: Option<i64>,
    now: i64,
    network: &Network<'_>,
) -> Status {
    for server in certificate.ocsp_servers.iter().take(MAX_SERVERS) {
        let Some(request) = ocsp::request(certificate, issuer, server) else {
            continue;
        };
        let Some(response) = network.fetch(request) else {
            return Status::Pending;
        };
        let Ok(response) = response else {
            continue;
        };
        if let Some(status) = ocsp::status(response, certificate, issuer, signed_at, now) {
            return status;
        }
    }
    Status::Unknown
}

/// All lists have to be there, and the certificate on none of them.
fn by_crl(
    certificate: &Certificate,
    issuer: &Certificate,
    signed_at: Option<i64>,
    now: i64,
    network: &Network<'_>,
) -> Status {
    if certificate.crl_points.len() > MAX_SERVERS || crl::has_freshest(certificate) {
        return Status::Unknown;
    }
    for url in &certificate.crl_points {
        let Some(request) = crl::request(url) else {
            return Status::Unknown;
        };
        let Some(response) = network.fetch(request) else {
            return Status::Pending;
        };
        let Ok(list) = response else {
            return Status::Unknown;
        };
        match crl::status(list, certificate, issuer, signed_at, now) {
            Some(Status::Good) => {}
            Some(status) => return status,
            None => return Status::Unknown,
        }
    }
    Status::Good
}
