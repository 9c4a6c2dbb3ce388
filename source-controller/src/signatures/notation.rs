//! Finds the signatures by notation in the registry, and verifies them by the trust policy.

use std::time::Duration;

use flux_http::{ClientOptions, Repeat, read_body_within};
use flux_signature::notation::{
    Artifact as Target, Outcome, Request, Responses, Signature, Verifier,
};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::time::timeout;

use super::{Artifact, SignatureFault};

/// The artifact type of signatures.
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";
/// The number of signatures that are fetched: as many as are examined (SC-VER-053).
const MAX_SIGNATURES: usize = 3;
/// The maximum size of an envelope.
const MAX_ENVELOPE: u64 = 4 << 20;
/// The maximum number of questions about revocation: more than the chains of three signatures lead to.
const MAX_REQUESTS: usize = 64;

/// Verifies the artifact by the policy; `false` if the policy lets it pass unverified (SC-VER-054).
pub(super) async fn verify(
    verifier: &Verifier,
    artifact: &Artifact<'_>,
) -> Result<bool, SignatureFault> {
    if verifier
        .skips(artifact.reference)
        .map_err(SignatureFault::Policy)?
    {
        return Ok(false);
    }
    let content = artifact.manifest(artifact.digest).await?;
    let target = Target {
        reference: artifact.reference.to_owned(),
        media_type: content.media_type.clone(),
        digest: artifact.digest.to_string(),
        size: content.content.len() as u64,
    };
    let claim = artifact.budget.claim();
    let mut signatures = Vec::new();
    let referrers = artifact.client.referrers(artifact.digest, Some(SIGNATURE));
    for descriptor in referrers.await?.iter().take(MAX_SIGNATURES) {
        let retrieval = |why: String| SignatureFault::Retrieval {
            digest: descriptor.digest.to_string(),
            reference: artifact.reference.to_owned(),
            why,
        };
        let manifest = artifact.manifest(&descriptor.digest).await?.manifest();
        let manifest = manifest.map_err(|_| retrieval("the manifest is not valid JSON".into()))?;
        let [envelope] = &*manifest.layers else {
            return Err(retrieval(format!(
                "signature manifest requires exactly one signature envelope blob, got {}",
                manifest.layers.len()
            )));
        };
        let content = artifact.blob(envelope, MAX_ENVELOPE, &claim).await?;
        signatures.push(Signature {
            digest: descriptor.digest.to_string(),
            media_type: envelope.media_type.clone(),
            envelope: content.to_vec(),
        });
    }

    let mut responses = Responses::new();
    loop {
        let now = Timestamp::now();
        let outcome = verifier.verify(&target, &signatures, &responses, now);
        let (verified, tolerated) = match outcome.map_err(SignatureFault::Notation)? {
            Outcome::Verified(tolerated) => (true, tolerated),
            Outcome::Ignored(tolerated) => (false, tolerated),
            Outcome::Needs(requests) => {
                if requests.is_empty() || responses.len() + requests.len() > MAX_REQUESTS {
                    return Err(SignatureFault::Revocations(MAX_REQUESTS));
                }
                let http = ClientOptions {
                    user_agent: Some("flux".to_owned()),
                    ..ClientOptions::default()
                };
                let http = http.build().map_err(flux_oci::Error::Build)?;
                for request in requests {
                    let claim = artifact.budget.claim();
                    let answer = answer(&http, &request, &claim).await;
                    responses.insert(request, answer);
                }
                continue;
            }
        };
        for failure in tolerated {
            tracing::info!(digest = %artifact.digest, "{failure}");
        }
        return Ok(verified);
    }
}

/// The answer to a question about revocation, or why it is missing. The object's proxy and certificates are not for it
/// (SC-VER-058).
async fn answer(
    http: &reqwest::Client,
    request: &Request,
    claim: &flux_budget::Claim,
) -> Result<Vec<u8>, String> {
    let builder = match &request.body {
        None => http.get(&request.url),
        Some(body) => http
            .post(&request.url)
            .header(CONTENT_TYPE, "application/ocsp-request")
            .body(body.clone()),
    };
    let work = async {
        let sent = flux_http::send(builder, Repeat::Idempotent).await;
        let response = sent.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status()));
        }
        let body = read_body_within(response, request.limit, claim).await;
        Ok(body.map_err(|error| error.to_string())?.to_vec())
    };
    let limit = Duration::from_secs(request.timeout.into());
    let answered = timeout(limit, work).await;
    answered.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))
}
