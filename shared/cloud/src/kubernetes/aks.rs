//! Azure Kubernetes Service.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use regex::Regex;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;

use super::{ClusterDetails, ClusterError};
use crate::azure;
use crate::client::{self, CloudClient};
use crate::token_cache::Token;

/// The scope of tokens that clusters accept (RT-ACL-018).
pub const AKS_SCOPE: &str = "6dae42f8-4368-4678-94ff-3960e28e3630/.default";

const PATTERN: &str = r"(?i)^/subscriptions/([^/]{36})/resourceGroups/([^/]{1,200})/providers/Microsoft\.ContainerService/managedClusters/([^/]{1,200})$";
static ID: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PATTERN).ok());
/// The version of the resource manager's API for clusters.
const API_VERSION: &str = "2024-09-01";

/// What is needed of a kubeconfig, found without its credentials: address and certificate authority.
pub type ReadKubeconfig<'r> = &'r (dyn Fn(&[u8]) -> Option<ClusterDetails> + Sync);
/// The form in which addresses are compared.
pub type Canonical<'r> = &'r (dyn Fn(&str) -> Option<String> + Sync);

/// Where a cluster is. `address` is the one that its kubeconfig has to have, and `canonical` the form in which addresses
/// are compared; `read` reads a kubeconfig.
///
/// # Errors
/// The name is not that of a cluster, it has no kubeconfig with the address, or Azure refuses or cannot be reached.
pub async fn describe_aks(
    client: &CloudClient,
    token: &Token,
    cluster: &str,
    address: Option<&str>,
    (read, canonical): (ReadKubeconfig<'_>, Canonical<'_>),
) -> Result<ClusterDetails, ClusterError> {
    #[derive(Deserialize)]
    struct Kubeconfigs {
        #[serde(default)]
        kubeconfigs: Vec<Kubeconfig>,
    }
    #[derive(Deserialize)]
    struct Kubeconfig {
        value: String,
    }
    let resource = resource(client, cluster).await?;
    let send = async |method: Method, url: Url| {
        let request = client
            .http()
            .request(method, url)
            .bearer_auth(token.value.expose_text());
        client::call(request, super::reason, &[&token.value]).await
    };
    let described = send(Method::GET, resource.clone()).await;
    let described: Value = described
        .and_then(|answer| answer.json())
        .map_err(|error| ClusterError::Aks(Box::new(error)))?;
    if !described["properties"]["aadProfile"].is_object() {
        return Err(ClusterError::NoEntra(cluster.to_owned()));
    }
    let mut url = resource;
    if let Ok(mut path) = url.path_segments_mut() {
        path.push("listClusterUserCredential");
    }
    let listed = send(Method::POST, url).await;
    let listed: Kubeconfigs = listed
        .and_then(|answer| answer.json())
        .map_err(|error| ClusterError::AksCredentials(Box::new(error)))?;
    let wanted = address.and_then(canonical);
    let mut found = Vec::new();
    for (index, kubeconfig) in listed.kubeconfigs.iter().enumerate() {
        let text = BASE64_STANDARD.decode(&kubeconfig.value).ok();
        let details = text.and_then(|text| read(&text));
        let details = details.ok_or(ClusterError::Kubeconfig(index))?;
        if wanted.is_none() || canonical(&details.address) == wanted {
            return Ok(details);
        }
        found.push(format!("'{}'", details.address));
    }
    Err(match address {
        None => ClusterError::NoKubeconfig(cluster.to_owned()),
        Some(address) => ClusterError::OtherAddress {
            cluster: cluster.to_owned(),
            address: address.to_owned(),
            found: found.join(", "),
        },
    })
}

/// The address of a cluster in the resource manager.
async fn resource(client: &CloudClient, cluster: &str) -> Result<Url, ClusterError> {
    let invalid = || ClusterError::Name {
        what: "AKS cluster ID",
        name: cluster.to_owned(),
        pattern: PATTERN,
    };
    let found = ID.as_ref().and_then(|pattern| pattern.captures(cluster));
    let found = found.ok_or_else(invalid)?;
    let part = |index| found.get(index).map_or("", |part| part.as_str());
    let (endpoint, _) = azure::resource_manager(client).await?;
    let mut url = Url::parse(&endpoint).map_err(|_| invalid())?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend([
            "subscriptions",
            part(1),
            "resourceGroups",
            part(2),
            "providers",
            "Microsoft.ContainerService",
            "managedClusters",
            part(3),
        ]);
    }
    url.set_query(Some(&format!("api-version={API_VERSION}")));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flux_http::Proxy;

    #[tokio::test]
    async fn a_cluster_has_subscription_group_and_name() {
        // RT-ACL-018, KC-REMOTE-015
        let client = CloudClient::new(&Proxy::None).unwrap();
        let client = client.with_environment(crate::Environment::of_values([]));
        let subscription = "00000000-0000-0000-0000-000000000000";
        let id = format!(
            "/subscriptions/{subscription}/resourcegroups/rg/providers/microsoft.containerservice/managedclusters/prod"
        );
        let url = resource(&client, &id).await.unwrap();
        let path = format!(
            "https://management.azure.com/subscriptions/{subscription}/resourceGroups/rg/providers/\
             Microsoft.ContainerService/managedClusters/prod?api-version={API_VERSION}"
        );
        assert_eq!(url.as_str(), path);
        let said = resource(&client, "prod").await.unwrap_err().to_string();
        assert_eq!(
            said,
            format!("invalid AKS cluster ID: 'prod'. must match {PATTERN}")
        );
        // sovereign clouds
        let china = [("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn")];
        let client = client.with_environment(crate::Environment::of_values(china));
        let url = resource(&client, &id).await.unwrap();
        assert_eq!(url.host_str(), Some("management.chinacloudapi.cn"));
    }
}
