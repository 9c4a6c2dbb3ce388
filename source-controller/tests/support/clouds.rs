//! Shared by the scenarios with cloud identities: the clouds, a controller that trusts them, and ServiceAccounts.

#![allow(dead_code, reason = "no scenario file needs all of it")]

use clouds::Clouds;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kind_tests::controller::Settings;
use kind_tests::{Failure, Kind, Namespace, Result};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/puller";
pub(crate) const OTHER_ROLE: &str = "arn:aws:iam::123456789012:role/other";
pub(crate) const AWS_ROLE: &str = "eks.amazonaws.com/role-arn";
pub(crate) const STS: &str = "sts.eu-west-1.amazonaws.com";
pub(crate) const ACCOUNT: Kind = Kind("v1", "ServiceAccount");

/// The clouds, and the file with their authority.
pub(crate) struct CloudSettings {
    pub(crate) clouds: Clouds,
    folder: TempDir,
}

impl CloudSettings {
    pub(crate) fn start() -> Result<Self> {
        let (clouds, folder) = (Clouds::start(), TempDir::new()?);
        std::fs::write(folder.path().join("ca.pem"), clouds.authority().pem())?;
        Ok(Self { clouds, folder })
    }

    /// The settings of a controller that trusts the clouds' authority. No proxy leads to them yet.
    pub(crate) fn settings(&self) -> Settings {
        let path = self.folder.path().join("ca.pem");
        Settings::default().env("SSL_CERT_FILE", path.to_string_lossy())
    }
}

/// Applies a ServiceAccount with these annotations.
pub(crate) async fn account(namespace: &Namespace, name: &str, annotations: Value) -> Result {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "annotations": annotations}});
    namespace.apply(&account.to_string()).await?;
    Ok(())
}

/// Applies the Secret of the proxy that leads to the clouds.
pub(crate) async fn proxy(namespace: &Namespace, clouds: &Clouds) -> Result {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "proxy"},
        "stringData": {"address": clouds.proxy().url()}});
    namespace.apply(&secret.to_string()).await?;
    Ok(())
}

/// The subject of a ServiceAccount's tokens.
pub(crate) fn subject(namespace: &Namespace, account: &str) -> String {
    format!("system:serviceaccount:{}:{account}", namespace.name())
}

/// The user whom the API server says that a token stands for, for this audience or for itself; `None` if the token is
/// not valid for it.
pub(crate) async fn reviewed(
    namespace: &Namespace,
    token: &str,
    audience: Option<&str>,
) -> Result<Option<String>> {
    let reviews: Api<TokenReview> = Api::all(namespace.client().clone());
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: token.to_owned(),
            audiences: audience.map(|audience| vec![audience.to_owned()]),
        },
        ..TokenReview::default()
    };
    let status = reviews
        .create(&PostParams::default(), &review)
        .await?
        .status;
    let status = status.ok_or_else(|| Failure::new("no status of a TokenReview"))?;
    if status.authenticated != Some(true) {
        return Ok(None);
    }
    Ok(status.user.and_then(|user| user.username))
}
