//! Whether a webhook is from whom it should be from, by the type of its Receiver (NC-RECV-060 to NC-RECV-089).

use std::sync::Arc;

use flux_api::notification::{Receiver, ReceiverType as T};
use flux_errors::chain;
use flux_golang::strconv::quote;
use flux_references::Reader;
use flux_runtime::queue::Key;
use http::HeaderMap;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::cd_event;
use super::jwt::{
    AUDIENCE, Documents, GOOGLE, IssuerError, Issuers, Keys, bearer, unverified_issuer,
    verify_google,
};
use super::payload::{PayloadError, first, inner, of_pub_sub, only, text, texts};
use super::signature::{self, SignatureError, equal};
use crate::claims::{Claims, ClaimsError};

/// A request, its body read.
pub(super) struct Request<'r> {
    pub(super) headers: &'r HeaderMap,
    pub(super) body: &'r [u8],
}

impl Request<'_> {
    /// A header; empty if it is absent.
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    fn header_bytes(&self, name: &str) -> &[u8] {
        self.headers.get(name).map_or(&[], |value| value.as_bytes())
    }
}

/// A request that is accepted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Accepted {
    /// The log line about what it tells (NC-RECV-088).
    pub(super) line: Option<String>,
    /// What filters see as its body, if that is not the body itself (NC-RECV-081).
    pub(super) body: Option<Vec<u8>>,
    /// The claims of the caller's token (NC-RECV-102).
    pub(super) claims: Option<serde_json::Value>,
}

/// Why a request is not accepted: the log says it, the response does not (NC-RECV-055, NC-RECV-058).
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("unable to read secret, error: unable to read secret {name}: {error}")]
    Secret { name: String, error: String },
    #[error("invalid {0} secret data: required field 'token'")]
    NoToken(String),
    #[error("unable to validate HMAC signature")]
    Hmac(#[source] SignatureError),
    #[error("the {sender} signature header is invalid, err: {error}")]
    Signature { sender: &'static str, error: String },
    #[error("the {sender} {event} is not authorised")]
    Event { sender: &'static str, event: String },
    #[error("the {0} header value does not match the receiver token")]
    Token(&'static str),
    #[error("cannot decode {sender} webhook payload")]
    Payload {
        sender: &'static str,
        #[source]
        error: PayloadError,
    },
    #[error("the Nexus signature is missing from header")]
    NexusMissing,
    #[error("invalid Nexus signature")]
    Nexus,
    #[error("invalid secret data: required field '{0}' for GCR receiver")]
    GcrField(&'static str),
    #[error("cannot authenticate GCR request")]
    Gcr(#[source] IssuerError),
    #[error("unable to validate CDEvent event: {0}")]
    CdEvent(String),
    #[error(transparent)]
    Oidc(#[from] IssuerError),
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    #[error("invalid oidcProvider configuration for issuer {issuer}: {error}")]
    Issuer { issuer: String, error: String },
    #[error("no oidcProvider configured for issuer {0}")]
    UnknownIssuer(String),
    #[error("recevier type {0} not supported")]
    Type(String),
}

/// Checks requests.
pub(super) struct Validator {
    secrets: Reader<Secret>,
    google: Keys,
    issuers: Issuers,
}

impl Validator {
    /// A validator that reads Secrets at each use.
    pub(super) fn new(secrets: Reader<Secret>, client: reqwest::Client) -> Self {
        let documents = Documents::new(client);
        Self {
            secrets,
            google: Keys::new(documents.clone(), GOOGLE),
            issuers: Issuers::new(documents),
        }
    }

    /// Checks a request.
    pub(super) async fn validate(
        &self,
        receiver: &Receiver,
        request: &Request<'_>,
    ) -> Result<Accepted, Refusal> {
        let (secret, token) = self.secret(receiver).await?;
        let spec = &receiver.spec;
        match spec.type_ {
            T::Gcr => self.gcr(secret.as_deref(), request).await,
            T::GenericOidc => self.oidc(receiver, request).await,
            _ => {
                let line = check(&spec.type_, &spec.events, &token, request)?;
                Ok(Accepted {
                    line,
                    ..Accepted::default()
                })
            }
        }
    }

    /// Any caller with a token of a trusted issuer (NC-RECV-083 to NC-RECV-085).
    async fn oidc(&self, receiver: &Receiver, request: &Request<'_>) -> Result<Accepted, Refusal> {
        let providers = &receiver.spec.oidc_providers;
        let token = bearer(request.header("Authorization"))?.trim();
        let issuer = unverified_issuer(token)?;
        let provider = providers
            .iter()
            .find(|provider| provider.issuer_url == issuer);
        let provider = provider.ok_or_else(|| Refusal::UnknownIssuer(quote(&issuer)))?;
        let audience = provider.audience.as_deref().filter(|name| !name.is_empty());
        let audience = audience.unwrap_or(AUDIENCE);
        let verified = self.issuers.verify(&issuer, token, audience).await?;
        let claims = Claims::new(provider).map_err(|error| Refusal::Issuer {
            issuer: quote(&issuer),
            error,
        })?;
        claims.check(&verified)?;
        Ok(Accepted {
            claims: Some(verified),
            ..Accepted::default()
        })
    }

    /// The Secret of a Receiver with its token (NC-RECV-060).
    async fn secret(&self, receiver: &Receiver) -> Result<(Option<Arc<Secret>>, Vec<u8>), Refusal> {
        let Some(reference) = &receiver.spec.secret_ref else {
            return Ok((None, Vec::new()));
        };
        let namespace = receiver.namespace().unwrap_or_default();
        let name = quote(format!("{namespace}/{}", reference.name));
        let key = Key::new(namespace, &*reference.name);
        let secret = self
            .secrets
            .get(&key)
            .await
            .map_err(|error| Refusal::Secret {
                name: name.clone(),
                error: chain(&error),
            })?;
        let token = secret.data.as_ref().and_then(|data| data.get("token"));
        let token = token.ok_or(Refusal::NoToken(name))?.0.clone();
        Ok((Some(secret), token))
    }

    /// Google's registry, over Pub/Sub (NC-RECV-079 to NC-RECV-081).
    async fn gcr(
        &self,
        secret: Option<&Secret>,
        request: &Request<'_>,
    ) -> Result<Accepted, Refusal> {
        let data = secret.and_then(|secret| secret.data.as_ref());
        let field = |name: &'static str| {
            let value = data.and_then(|data| data.get(name));
            let value = value.map(|value| String::from_utf8_lossy(&value.0).into_owned());
            let value = value.filter(|value| !value.is_empty());
            value.ok_or(Refusal::GcrField(name))
        };
        let (email, audience) = (field("email")?, field("audience")?);
        let bearer = request.header("Authorization");
        let verified = verify_google(&self.google, bearer, &email, &audience).await;
        verified.map_err(Refusal::Gcr)?;
        let read = of_pub_sub(request.body).map_err(|error| Refusal::Payload {
            sender: "GCR",
            error,
        });
        let [action, digest, tag] = read?;
        let body = serde_json::json!({"action": action, "digest": digest, "tag": tag});
        Ok(Accepted {
            line: Some(format!("handling GCR event from {digest} for tag {tag}")),
            body: Some(body.to_string().into_bytes()),
            claims: None,
        })
    }
}

/// The checks that need nothing but the request and the token.
fn check(
    kind: &T,
    events: &[String],
    token: &[u8],
    request: &Request<'_>,
) -> Result<Option<String>, Refusal> {
    let payload = |sender| move |error| Refusal::Payload { sender, error };
    match kind {
        // NC-RECV-065, FR-N-056
        T::Generic => Ok(None),
        T::GenericHmac => {
            let signature = request.header("X-Signature");
            signature::check(signature, token, request.body).map_err(Refusal::Hmac)?;
            Ok(None)
        }
        T::Github => {
            check_hub_signature("GitHub", token, request)?;
            let event = request.header("X-GitHub-Event");
            authorise("GitHub", "event", event, events)?;
            Ok(Some(format!("handling GitHub event: {event}")))
        }
        T::Bitbucket => {
            check_hub_signature("Bitbucket server", token, request)?;
            let event = request.header("X-Event-Key");
            authorise("Bitbucket server", "event", event, events)?;
            Ok(Some(format!("handling Bitbucket server event: {event}")))
        }
        T::Gitlab => {
            if !equal(request.header_bytes("X-Gitlab-Token"), token) {
                return Err(Refusal::Token("X-Gitlab-Token"));
            }
            let event = request.header("X-Gitlab-Event");
            authorise("GitLab", "event", event, events)?;
            Ok(Some(format!("handling GitLab event: {event}")))
        }
        T::Harbor => {
            if !equal(request.header_bytes("Authorization"), token) {
                return Err(Refusal::Token("Harbor Authorization"));
            }
            Ok(Some("handling Harbor event".to_owned()))
        }
        T::DockerHub => {
            let body = first(request.body).map_err(payload("DockerHub"))?;
            let read = || {
                let tag = text(inner(&body, "push_data")?, "tag")?;
                Ok((text(inner(&body, "repository")?, "repo_url")?, tag))
            };
            let (url, tag) = read().map_err(payload("DockerHub"))?;
            Ok(Some(format!(
                "handling DockerHub event from {url} for tag {tag}"
            )))
        }
        T::Quay => {
            let body = first(request.body).map_err(payload("Quay"))?;
            texts(&body, "updated_tags").map_err(payload("Quay"))?;
            let url = text(&body, "docker_url").map_err(payload("Quay"))?;
            Ok(Some(format!("handling Quay event from {url}")))
        }
        T::Acr => {
            let body = first(request.body).map_err(payload("ACR"))?;
            let read = || {
                text(&body, "action")?;
                let target = inner(&body, "target")?;
                Ok((text(target, "repository")?, text(target, "tag")?))
            };
            let (repository, tag) = read().map_err(payload("ACR"))?;
            Ok(Some(format!(
                "handling ACR event from {repository} for tag {tag}"
            )))
        }
        T::Nexus => {
            let signature = request.header("X-Nexus-Webhook-Signature");
            match signature::check_sha1(signature, token, request.body) {
                Ok(()) => {}
                Err(SignatureError::Missing) => return Err(Refusal::NexusMissing),
                Err(_) => return Err(Refusal::Nexus),
            }
            let body = only(request.body).map_err(payload("Nexus"))?;
            text(&body, "action").map_err(payload("Nexus"))?;
            let name = text(&body, "repositoryName").map_err(payload("Nexus"))?;
            Ok(Some(format!("handling Nexus event from {name}")))
        }
        T::Cdevents => {
            cd_event::check(request.body).map_err(Refusal::CdEvent)?;
            let event = request.header("Ce-Type");
            authorise("CDEvent", "", event, events)?;
            Ok(Some(format!("handling CDEvent: {event}")))
        }
        T::GenericOidc | T::Gcr | T::Other(_) => Err(Refusal::Type(quote(kind.as_str()))),
    }
}

/// GitHub's signature, of the raw body (NC-RECV-067, NC-RECV-068, NC-RECV-072).
fn check_hub_signature(
    sender: &'static str,
    token: &[u8],
    request: &Request<'_>,
) -> Result<(), Refusal> {
    let refuse = |error: String| Err(Refusal::Signature { sender, error });
    let kind = request.header("Content-Type");
    let media = kind.split(';').next().unwrap_or_default().trim();
    // FR-N-046
    let known = ["application/json", "application/x-www-form-urlencoded"];
    if !known.iter().any(|known| media.eq_ignore_ascii_case(known)) {
        let kind = quote(media);
        return refuse(format!(
            "webhook request has unsupported Content-Type {kind}"
        ));
    }
    let newer = request.header("X-Hub-Signature-256");
    let signature = if newer.is_empty() {
        request.header("X-Hub-Signature")
    } else {
        newer
    };
    match signature::check(signature, token, request.body) {
        Ok(()) => Ok(()),
        Err(error) => refuse(error.to_string()),
    }
}

/// Whether the Receiver wants events of this name; it wants all if it names none (NC-RECV-069).
fn authorise(
    sender: &'static str,
    noun: &str,
    event: &str,
    wanted: &[String],
) -> Result<(), Refusal> {
    let is_wanted = |name: &String| name.to_lowercase() == event.to_lowercase();
    if wanted.is_empty() || wanted.iter().any(is_wanted) {
        return Ok(());
    }
    let event = format!("{noun} {}", quote(event));
    let event = event.trim_start().to_owned();
    Err(Refusal::Event { sender, event })
}

#[cfg(test)]
mod tests;
