//! The controller's own token: of the file that the environment names, or of the metadata server.

use flux_http::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::error::Error;
use super::federation::{self, Exchange, impersonated};
use super::key::ServiceAccountKey;
use super::{SCOPES, metadata};
use crate::client::CloudClient;
use crate::file;
use crate::token_cache::Token;

/// The variable with the path of a credential configuration.
const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// The token of this process: of the credential configuration that `GOOGLE_APPLICATION_CREDENTIALS` names (a service
/// account's key, or a workload identity with a token in a file), or of the metadata server.
///
/// # Errors
/// There is neither, or it yields no token.
pub async fn default_token(client: &CloudClient) -> Result<Token, Error> {
    let Some(path) = client.environment().get(FILE) else {
        return metadata::token(client).await.map_err(Error::Metadata);
    };
    let content = file::read("the Google credentials", &path).await;
    let content = content.map_err(|(what, path, source)| Error::File { what, path, source })?;
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type", default)]
        kind: String,
    }
    let kind: Kind =
        serde_json::from_slice(&content).map_err(|_| Error::Key("it is not valid JSON"))?;
    match kind.kind.as_str() {
        "service_account" => ServiceAccountKey::parse(&content)?.token(client).await,
        "external_account" => external(client, &content).await,
        other => Err(Error::DefaultType(other.chars().take(100).collect())),
    }
}

/// A workload identity, whose token is in a file that is renewed.
async fn external(client: &CloudClient, content: &[u8]) -> Result<Token, Error> {
    #[derive(Deserialize)]
    struct External {
        audience: String,
        subject_token_type: String,
        token_url: String,
        service_account_impersonation_url: Option<String>,
        credential_source: Source,
    }
    #[derive(Deserialize)]
    struct Source {
        file: Option<String>,
        #[serde(default)]
        format: Format,
    }
    #[derive(Default, Deserialize)]
    struct Format {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        subject_token_field_name: String,
    }
    let external: External = serde_json::from_slice(content)
        .map_err(|_| Error::Key("it lacks a field of an external account"))?;
    let impersonation = external.service_account_impersonation_url;
    let urls = [Some(&external.token_url), impersonation.as_ref()];
    if !urls
        .into_iter()
        .flatten()
        .all(|url| federation::is_usable(url))
    {
        return Err(Error::Key("its addresses are not https URLs"));
    }
    let path = external.credential_source.file;
    let path = path.ok_or(Error::Key("its credential_source has no file"))?;
    let token = file::read("the subject token", &path).await;
    let token = token.map_err(|(what, path, source)| Error::File { what, path, source })?;
    let format = external.credential_source.format;
    let subject = if format.kind == "json" {
        let value: Value = serde_json::from_slice(&token)
            .map_err(|_| Error::Key("the subject token's file is not valid JSON"))?;
        let field = value[format.subject_token_field_name.as_str()].as_str();
        Secret::new(field.ok_or(Error::Key("the subject token's file lacks its field"))?)
    } else {
        Secret::new(token.trim_ascii())
    };
    let exchange = Exchange {
        url: &external.token_url,
        audience: &external.audience,
        subject_type: &external.subject_token_type,
        subject: &subject,
    };
    match impersonation {
        None => exchange
            .token(client, &SCOPES)
            .await
            .map_err(Error::Exchange),
        Some(url) => {
            let token = exchange.token(client, &SCOPES[..1]).await;
            let token = token.map_err(Error::Exchange)?;
            let token = impersonated(client, &url, &token.value).await;
            token.map_err(Error::Impersonation)
        }
    }
}
