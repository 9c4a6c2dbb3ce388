//! Finds the signatures by notation in the registry, and verifies them by the trust policy.

use std::sync::Arc;
use std::time::Duration;

use flux_budget::Claim;
use flux_http::{ClientOptions, Proxy, Repeat, read_body_within};
use flux_runtime::outcome::chain;
use flux_signature::notation::{
    Artifact as Target, Outcome, Request, Responses, Signature, Verifier,
};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};
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
/// The maximum size of all answers together: that of the largest one.
const MAX_ANSWERS: usize = 32 << 20;

/// Verifies the artifact by the policy; `false` if the policy lets it pass unverified (SC-VER-054).
pub(super) async fn verify(
    verifier: &Arc<Verifier>,
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
            envelope: content.into(),
        });
    }

    let signatures: Arc<[Signature]> = signatures.into();
    let target = Arc::new(target);
    let mut answers = Answers::new(artifact.budget.claim(), MAX_ANSWERS);
    loop {
        let (verifier, target, signatures) = (verifier.clone(), target.clone(), signatures.clone());
        let responses = std::mem::take(&mut answers.responses);
        let verify = move || {
            let outcome = verifier.verify(&target, &signatures, &responses, Timestamp::now());
            (outcome, responses)
        };
        let (outcome, responses) = tokio::task::spawn_blocking(verify).await?;
        answers.responses = responses;
        let (verified, tolerated) = match outcome.map_err(SignatureFault::Notation)? {
            Outcome::Verified(tolerated) => (true, tolerated),
            Outcome::Ignored(tolerated) => (false, tolerated),
            Outcome::Needs(requests) => {
                if requests.is_empty() || answers.responses.len() + requests.len() > MAX_REQUESTS {
                    return Err(SignatureFault::Revocations(MAX_REQUESTS));
                }
                answers.fetch(requests, Proxy::Environment).await?;
                continue;
            }
        };
        for failure in tolerated {
            tracing::info!(digest = %artifact.digest, "{failure}");
        }
        return Ok(verified);
    }
}

/// The answers to questions about revocation, and the memory that they take as long as they are needed.
struct Answers {
    responses: Responses,
    claim: Claim,
    /// The bytes that further answers may have.
    left: usize,
}

impl Answers {
    fn new(claim: Claim, left: usize) -> Self {
        Self {
            responses: Responses::new(),
            claim,
            left,
        }
    }

    /// Sends these requests. The object's proxy and certificates are not for them (SC-VER-058); their addresses come from
    /// certificates, and must not lead to the metadata service of a cloud.
    async fn fetch(&mut self, requests: Vec<Request>, proxy: Proxy) -> Result<(), flux_oci::Error> {
        let options = ClientOptions {
            user_agent: Some("flux".to_owned()),
            refuse_link_local: true,
            proxy,
            ..ClientOptions::default()
        };
        let http = options.build().map_err(flux_oci::Error::Build)?;
        for request in requests {
            let is_allowed = Url::parse(&request.url).is_ok_and(|url| options.allows(&url));
            let answer = if is_allowed {
                let limit = request.limit.min(self.left);
                answer(&http, &request, limit, &self.claim).await
            } else {
                Err("the address is not allowed".to_owned())
            };
            self.left -= answer.as_ref().map_or(0, Vec::len);
            self.responses.insert(request, answer);
        }
        Ok(())
    }
}

/// The answer to a question, of at most `limit` bytes, or why it is missing.
async fn answer(
    http: &reqwest::Client,
    request: &Request,
    limit: usize,
    claim: &Claim,
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
        let body = read_body_within(response, limit, claim).await;
        Ok(body.map_err(|error| chain(&error))?.into())
    };
    let limit = Duration::from_secs(request.timeout.into());
    let answered = timeout(limit, work).await;
    answered.unwrap_or_else(|_| Err(flux_http::DEADLINE.to_owned()))
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;
    use registries::Registry;

    use super::*;

    // SC-VER-058
    #[tokio::test]
    async fn answers_share_one_claim_and_one_bound() {
        let list = "x".repeat(1 << 20);
        let server = Registry::builder()
            .answer(9, "GET", "/crl/", 200, &list)
            .start();
        let request = |url: String| Request {
            url,
            body: None,
            limit: 32 << 20,
            timeout: 30,
        };
        let urls = ["a", "b", "c"].map(|name| request(format!("{}/crl/{name}", server.url())));
        let budget = Budget::new(16 << 20);
        let mut answers = Answers::new(budget.claim(), (2 << 20) + 1);
        let fetched = answers.fetch(urls.to_vec(), Proxy::None).await;
        fetched.unwrap();
        let sizes = urls.each_ref().map(|url| match &answers.responses[url] {
            Ok(answer) => Ok(answer.len()),
            Err(why) => Err(why.as_str()),
        });
        let too_large = Err("response body exceeds the limit of 1 bytes");
        assert_eq!(sizes, [Ok(1 << 20), Ok(1 << 20), too_large]);
        assert!(budget.used() >= 2 << 20, "{}", budget.used());
        drop(answers);
        assert_eq!(budget.used(), 0);

        let small = Budget::new(3 << 20);
        let mut answers = Answers::new(small.claim(), MAX_ANSWERS);
        answers.fetch(urls.to_vec(), Proxy::None).await.unwrap();
        let failed = answers.responses.values().filter(|answer| answer.is_err());
        assert_eq!(failed.count(), 2);
    }

    // SC-VER-058
    #[tokio::test]
    async fn the_metadata_service_is_not_asked_about_revocation() {
        let server = Registry::builder()
            .answer_with(
                9,
                "GET",
                "/crl",
                302,
                &[("location", "http://169.254.169.254/")],
                "",
            )
            .start();
        let request = |url: &str| Request {
            url: url.to_owned(),
            body: None,
            limit: 1,
            timeout: 30,
        };
        let redirected = request(&format!("{}/crl", server.url()));
        for (request, why) in [
            (
                request("http://169.254.169.254/crl"),
                "the address is not allowed",
            ),
            (redirected, "status 302 Found"),
        ] {
            let mut answers = Answers::new(Claim::unlimited(), MAX_ANSWERS);
            let fetched = answers.fetch(vec![request.clone()], Proxy::None).await;
            fetched.unwrap();
            assert_eq!(answers.responses[&request], Err(why.to_owned()));
        }
    }
}
