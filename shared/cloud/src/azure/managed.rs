//! Managed identities: tokens of the machine's metadata server.

use reqwest::Method;

use super::{Error, entra};
use crate::client::{self, CloudClient};
use crate::token_cache::Token;

/// The metadata server, unless `AZURE_POD_IDENTITY_AUTHORITY_HOST` names another.
const METADATA: &str = "http://169.254.169.254";
const PATH: &str = "/metadata/identity/oauth2/token";
const VERSION: &str = "2018-02-01";

/// Requests a token of the identity with this client ID, or of the only one.
///
/// # Errors
/// There is no metadata server, or it knows no such identity.
pub(super) async fn token(
    cloud: &CloudClient,
    id: Option<&str>,
    scope: &str,
) -> Result<Token, Error> {
    let base = cloud.environment().get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
    let base = base.unwrap_or_else(|| METADATA.to_owned());
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let mut query = vec![("api-version", VERSION), ("resource", resource)];
    query.extend(id.map(|id| ("client_id", id)));
    let query = client::form(&query);
    let base = base.trim_end_matches('/');
    let request = cloud
        .http()
        .request(Method::GET, format!("{base}{PATH}?{query}"))
        .header("metadata", "true");
    let answer = client::call(request, entra::reason, &[]).await;
    let token = answer.and_then(|answer| entra::token(&answer));
    token.map_err(|source| Error::Token {
        credential: "ManagedIdentityCredential",
        source,
    })
}
