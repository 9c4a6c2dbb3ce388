//! The controller's own token: of the environment, of a workload identity, of the machine (RT-WID-011).

use flux_http::Secret;

use super::certificate::Certificate;
use super::entra::{Credential, federated_token};
use super::{Error, managed};
use crate::client::CloudClient;
use crate::environment::Environment;
use crate::file;
use crate::token_cache::Token;

/// The token of this process for a scope: of a service principal in environment variables, else of the workload
/// identity, else of the managed identity. The first that is configured is used, and no program is run (RT-WID-011,
/// SC-AUTH-057, SC-AUTH-067).
///
/// # Errors
/// It yields no token.
pub async fn default_token(client: &CloudClient, scope: &str) -> Result<Token, Error> {
    let environment = client.environment();
    if let Some(principal) = of_variables(environment).await? {
        return principal.token(client, scope).await;
    }
    let id = environment.lookup("AZURE_CLIENT_ID");
    let authority = environment.lookup("AZURE_AUTHORITY_HOST");
    let tenant = environment.lookup("AZURE_TENANT_ID");
    let path = environment.lookup("AZURE_FEDERATED_TOKEN_FILE");
    if let (Some(id), Some(_), Some(tenant), Some(path)) = (&id, authority, tenant, path) {
        let token = file::read("the federated token", &path).await;
        let token = token.map_err(|(what, path, source)| Error::File { what, path, source })?;
        let token = Secret::new(token.trim_ascii());
        return federated_token(client, &tenant, id, &token, scope).await;
    }
    managed::token(client, id.as_deref(), scope).await
}

/// A service principal in environment variables; `None` if one of them is missing.
async fn of_variables(environment: &Environment) -> Result<Option<Credential>, Error> {
    let (Some(tenant), Some(client)) = (
        environment.get("AZURE_TENANT_ID"),
        environment.get("AZURE_CLIENT_ID"),
    ) else {
        return Ok(None);
    };
    if let Some(secret) = environment.get("AZURE_CLIENT_SECRET") {
        return Ok(Some(Credential::ClientSecret {
            tenant,
            client,
            secret: Secret::new(secret),
            authority: None,
        }));
    }
    let Some(path) = environment.get("AZURE_CLIENT_CERTIFICATE_PATH") else {
        return Ok(None);
    };
    let pem = file::read("the client certificate", &path).await;
    let pem = pem.map_err(|(what, path, source)| Error::File { what, path, source })?;
    let send = environment.get("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN");
    let send = send.is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"));
    let password = environment.get("AZURE_CLIENT_CERTIFICATE_PASSWORD");
    let password = password.map(Secret::new);
    let certificate = Certificate::new(&Secret::new(pem), password.as_ref(), send)?;
    Ok(Some(Credential::ClientCertificate {
        tenant,
        client,
        certificate: Box::new(certificate),
        authority: None,
    }))
}
