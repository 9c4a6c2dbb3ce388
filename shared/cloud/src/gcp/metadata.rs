//! The metadata server: which cluster this is, and tokens of the node or pod. Requests to it never use a proxy
//! (RT-WID-019).

use std::sync::Arc;

use reqwest::{Method, RequestBuilder};
use tokio::sync::OnceCell;

use super::error::{Error, reason};
use super::{SCOPES, federation};
use crate::client::{self, CallError, CloudClient};
use crate::token_cache::Token;

/// The metadata server, unless `GCE_METADATA_HOST` names another.
const HOST: &str = "169.254.169.254";

/// The GKE cluster that this process runs in: asked for when it is first needed, again while that fails, and then never
/// again (RT-WID-015). Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cluster(Arc<OnceCell<Name>>);

#[derive(Debug)]
struct Name {
    project: String,
    location: String,
    name: String,
}

impl Cluster {
    /// The audience of tokens for ServiceAccounts, which is the pool of the cluster's project (RT-WID-015).
    ///
    /// # Errors
    /// The metadata server does not say which cluster this is.
    pub async fn token_audience(&self, client: &CloudClient) -> Result<String, Error> {
        Ok(self.get(client).await?.pool())
    }

    /// The audience that such tokens are exchanged with.
    ///
    /// # Errors
    /// As [`token_audience`](Self::token_audience).
    pub async fn exchange_audience(&self, client: &CloudClient) -> Result<String, Error> {
        let name = self.get(client).await?;
        let (project, location) = (&name.project, &name.location);
        Ok(format!(
            "identitynamespace:{}:https://container.googleapis.com/v1/projects/{project}/locations/{location}/clusters/{}",
            name.pool(),
            name.name
        ))
    }

    async fn get(&self, client: &CloudClient) -> Result<&Name, Error> {
        let asked = self.0.get_or_try_init(|| async {
            Ok(Name {
                project: value(client, "project ID", "project/project-id").await?,
                location: value(client, "location", "instance/attributes/cluster-location").await?,
                name: value(client, "name", "instance/attributes/cluster-name").await?,
            })
        });
        asked.await
    }
}

impl Name {
    fn pool(&self) -> String {
        format!("{}.svc.id.goog", self.project)
    }
}

async fn value(client: &CloudClient, what: &'static str, path: &str) -> Result<String, Error> {
    let answer = client::call(get(client, path), reason, &[]).await;
    let answer = answer.map_err(|error| Error::Cluster(what, error))?;
    let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
    if text.is_empty() {
        return Err(Error::ClusterEmpty(what));
    }
    Ok(text)
}

/// A token of the node or pod.
pub(super) async fn token(client: &CloudClient) -> Result<Token, CallError> {
    let scopes: String =
        url::form_urlencoded::byte_serialize(SCOPES.join(",").as_bytes()).collect();
    let path = format!("instance/service-accounts/default/token?scopes={scopes}");
    let answer = client::call(get(client, &path), reason, &[]).await?;
    federation::token(&answer)
}

fn get(client: &CloudClient, path: &str) -> RequestBuilder {
    let host = client.environment().get("GCE_METADATA_HOST");
    let host = host.as_deref().unwrap_or(HOST);
    let url = format!("http://{host}/computeMetadata/v1/{path}");
    client
        .direct()
        .request(Method::GET, url)
        .header("metadata-flavor", "Google")
}
