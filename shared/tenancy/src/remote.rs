//! Clusters that a ConfigMap describes: where they are, and the tokens for them (RT-ACL-014 to RT-ACL-019).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use flux_cloud::kubernetes::{
    self, AKS_SCOPE, ClusterDetails, ClusterError, EksCluster, describe_aks, describe_eks,
    describe_gke,
};
use flux_cloud::{CacheKey, Token};
use flux_http::{Proxy, Secret};
use flux_identity::{Identities, Identity, IdentityError};
use flux_objects::Objects;
use flux_runtime::client;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::Kubeconfig;
use kube::{Client, Resource};
use serde_json::json;

/// What the metrics count tokens for clusters as (KC-PROC-055).
const OPERATION: &str = "fetch_kubeconfig";
/// The controller's own token, whose subject is its ServiceAccount.
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Why a cluster that a ConfigMap describes cannot be reached. The texts are upstream's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The provider is not known.
    #[error("provider '{0}' not implemented")]
    Provider(String),
    /// The address is missing.
    #[error("cluster address is required to create a REST config")]
    NoAddress,
    /// The address is not that of a cluster.
    #[error("failed to parse cluster address {address}: {problem}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no token.
    #[error("failed to get access token for cluster")]
    Access(#[source] IdentityError),
    /// There is no token of the controller's own ServiceAccount.
    #[error(
        "failed to get access token for cluster: failed to create provider access token for the controller"
    )]
    Own(#[source] OwnTokenError),
    /// The cloud does not know the cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No request to the cloud is possible.
    #[error(transparent)]
    Http(#[from] flux_http::BuildError),
}

/// Why there is no token of the controller's own ServiceAccount.
#[derive(Debug, thiserror::Error)]
pub enum OwnTokenError {
    /// The token's file cannot be read.
    #[error("failed to read service account token file {TOKEN_FILE}")]
    File(#[source] std::io::Error),
    /// The token has no subject that is a ServiceAccount. Nothing of it is shown.
    #[error("invalid subject format in service account token")]
    Subject,
    /// The API server issues none.
    #[error("failed to create kubernetes token for controller service account '{account}'")]
    Request {
        /// Namespace and name.
        account: String,
        /// The API server's error.
        #[source]
        source: flux_objects::Error,
    },
    /// The token has no expiry.
    #[error("failed to get expiration time from service account token")]
    Expiry,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Provider {
    Aws(EksCluster),
    Azure,
    Gcp,
    Generic { audiences: Vec<String> },
}

/// What a ConfigMap says about a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    provider: Provider,
    cluster: String,
    address: Option<String>,
    ca: Option<String>,
    account: Option<String>,
}

impl Description {
    /// Reads the entries of a ConfigMap.
    ///
    /// # Errors
    /// The provider is unknown, or it needs an entry that is missing or malformed.
    pub(crate) fn of(data: &BTreeMap<String, String>) -> Result<Self, RemoteError> {
        let get = |name: &str| data.get(name).filter(|value| !value.is_empty()).cloned();
        let cluster = get("cluster").unwrap_or_default();
        let address = get("address");
        let provider = match data.get("provider").map_or("", String::as_str) {
            "aws" => Provider::Aws(EksCluster::parse(&cluster)?),
            "azure" => Provider::Azure,
            "gcp" => Provider::Gcp,
            "generic" => {
                let listed = get("audiences").unwrap_or_default();
                let audiences = listed.split('\n').map(str::trim);
                let audiences = audiences.filter(|audience| !audience.is_empty());
                let mut audiences: Vec<String> = audiences.map(str::to_owned).collect();
                if audiences.is_empty() {
                    audiences.push(address.clone().ok_or(RemoteError::NoAddress)?);
                }
                Provider::Generic { audiences }
            }
            other => return Err(RemoteError::Provider(other.to_owned())),
        };
        Ok(Self {
            provider,
            cluster,
            address,
            ca: get("ca.crt"),
            account: get("serviceAccountName"),
        })
    }
}

/// Finds clusters and their tokens for one object.
pub(crate) struct Finder<K> {
    pub(crate) client: Client,
    pub(crate) identities: Identities,
    pub(crate) object: Arc<K>,
    pub(crate) description: Description,
}

impl<K> Clone for Finder<K> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            identities: self.identities.clone(),
            object: self.object.clone(),
            description: self.description.clone(),
        }
    }
}

impl<K: Resource<DynamicType = ()> + Send + Sync> Finder<K> {
    /// Where the cluster is. A token for it is obtained too, so that it is known whether that is possible.
    ///
    /// # Errors
    /// There is no token, or the cloud does not know the cluster.
    pub(crate) async fn find(&self) -> Result<ClusterDetails, RemoteError> {
        self.token().await?;
        let description = &self.description;
        let (address, ca) = (description.address.clone(), description.ca.clone());
        let found = match (&address, &ca) {
            (Some(address), Some(ca)) => ClusterDetails {
                address: address.clone(),
                ca: ca.clone().into_bytes(),
            },
            _ => self.described().await?,
        };
        let address = address.unwrap_or(found.address);
        let address = match description.provider {
            Provider::Generic { .. } => {
                canonical(&address).map_err(|problem| RemoteError::Address {
                    address: address.clone(),
                    problem,
                })?
            }
            _ if address.contains("://") => address,
            _ => format!("https://{address}"),
        };
        Ok(ClusterDetails {
            address,
            ca: ca.map_or(found.ca, String::into_bytes),
        })
    }

    /// What the cloud says about the cluster.
    async fn described(&self) -> Result<ClusterDetails, RemoteError> {
        let identity = self.identity()?;
        let description = &self.description;
        let cluster = &description.cluster;
        Ok(match &description.provider {
            Provider::Aws(cluster) => {
                let credentials = identity.aws_credentials(Some(&cluster.region), None).await;
                let credentials = credentials.map_err(RemoteError::Access)?;
                describe_eks(identity.cloud(), &credentials, cluster).await?
            }
            Provider::Azure => {
                let scope = flux_cloud::azure::resource_manager_scope(identity.cloud()).await;
                let scope = scope.map_err(ClusterError::from)?;
                let token = identity.azure_token(&scope).await;
                let token = token.map_err(RemoteError::Access)?;
                let address = description.address.as_deref();
                let canonical = |address: &str| canonical(address).ok();
                let how = (
                    &details_of as kubernetes::ReadKubeconfig<'_>,
                    &canonical as _,
                );
                describe_aks(identity.cloud(), &token, cluster, address, how).await?
            }
            Provider::Gcp => {
                let token = identity.gcp_token().await.map_err(RemoteError::Access)?;
                describe_gke(identity.cloud(), &token, cluster).await?
            }
            // the certificate authority may be one that the system trusts
            Provider::Generic { .. } => ClusterDetails {
                address: description.address.clone().ok_or(RemoteError::NoAddress)?,
                ca: Vec::new(),
            },
        })
    }

    /// As whom the object reaches the cluster: the ServiceAccount that the ConfigMap names, the default one, or the
    /// controller (KC-REMOTE-011).
    fn identity(&self) -> Result<Identity<'_, K>, RemoteError> {
        let account = self.description.account.as_deref();
        let identity = self
            .identities
            .of(&*self.object, account, &Proxy::Environment)?;
        Ok(identity.counted_as(OPERATION))
    }

    /// The token for a request to the cluster, from the cache if it is valid (RT-ACL-015, KC-REMOTE-017).
    ///
    /// # Errors
    /// The API server or the cloud refuses.
    pub(crate) async fn token(&self) -> Result<Secret, RemoteError> {
        let identity = self.identity()?;
        let token = match &self.description.provider {
            Provider::Aws(cluster) => {
                let credentials = identity.aws_credentials(Some(&cluster.region), None).await;
                let credentials = credentials.map_err(RemoteError::Access)?;
                kubernetes::eks_token(&credentials, cluster, SystemTime::now())?
            }
            Provider::Azure => {
                let token = identity.azure_token(AKS_SCOPE).await;
                token.map_err(RemoteError::Access)?
            }
            Provider::Gcp => identity.gcp_token().await.map_err(RemoteError::Access)?,
            Provider::Generic { audiences } => {
                let token = identity.kubernetes_token(audiences).await;
                match token.map_err(RemoteError::Access)? {
                    Some(token) => token,
                    None => self.own_token(audiences).await.map_err(RemoteError::Own)?,
                }
            }
        };
        Ok(token.value)
    }

    /// A token of the controller's own ServiceAccount for these audiences (RT-ACL-016).
    async fn own_token(&self, audiences: &[String]) -> Result<Token, OwnTokenError> {
        let mut parts: Vec<(&str, &[u8])> = vec![("own token for a cluster", b"")];
        let of_audience = |audience: &'_ String| ("audience", audience.clone());
        let named: Vec<(&str, String)> = audiences.iter().map(of_audience).collect();
        parts.extend(named.iter().map(|(name, value)| (*name, value.as_bytes())));
        let fetch = || async {
            let own = tokio::fs::read(TOKEN_FILE)
                .await
                .map_err(OwnTokenError::File)?;
            let (namespace, name) = account_of(&own).ok_or(OwnTokenError::Subject)?;
            let request = TokenRequest {
                spec: Some(TokenRequestSpec {
                    audiences: Some(audiences.to_vec()),
                    expiration_seconds: None,
                    bound_object_ref: None,
                }),
                ..TokenRequest::default()
            };
            let issued = async {
                let client = self.client.clone();
                let accounts = Objects::<ServiceAccount>::in_namespace(client, &namespace)?;
                accounts.create_subresource("token", &name, &request).await
            };
            let issued: TokenRequest = issued.await.map_err(|source| OwnTokenError::Request {
                account: format!("{namespace}/{name}"),
                source,
            })?;
            let value = issued.status.and_then(|status| status.token);
            let value = value.map(Secret::new).unwrap_or_default();
            let expires = flux_cloud::expiry(&value).ok_or(OwnTokenError::Expiry)?;
            Ok(Token { value, expires })
        };
        let tokens = self.identities.tokens();
        tokens
            .get_for(OPERATION, &*self.object, CacheKey::of(&parts), fetch)
            .await
    }
}

/// Namespace and name of the ServiceAccount that is the subject of a token.
fn account_of(token: &[u8]) -> Option<(String, String)> {
    use base64::Engine as _;
    let payload = token.split(|byte| *byte == b'.').nth(1)?;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let parts: Vec<&str> = claims["sub"].as_str()?.split(':').collect();
    match parts.as_slice() {
        [_, _, namespace, name] => Some(((*namespace).to_owned(), (*name).to_owned())),
        _ => None,
    }
}

/// An address as `https://<host>:<port>` (RT-ACL-016).
fn canonical(address: &str) -> Result<String, String> {
    if address.is_empty() {
        return Err("empty address".to_owned());
    }
    let address = if address.starts_with("http") {
        address.to_owned()
    } else {
        format!("https://{address}")
    };
    let url = flux_golang::url::Url::parse(address.as_bytes()).map_err(|problem| {
        format!("failed to parse Kubernetes API server address '{address}': {problem}")
    })?;
    if url.scheme != b"https" {
        return Err(format!(
            "the Kubernetes API server address '{address}' must use https scheme"
        ));
    }
    let host = String::from_utf8_lossy(&url.host).to_lowercase();
    let after_brackets = host.rsplit_once(']').map_or(&*host, |(_, rest)| rest);
    let has_port = after_brackets
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty());
    let port = if has_port { "" } else { ":443" };
    Ok(format!("https://{host}{port}"))
}

/// Where the cluster of a kubeconfig's current context is.
fn details_of(kubeconfig: &[u8]) -> Option<ClusterDetails> {
    use base64::Engine as _;
    let kubeconfig = Kubeconfig::from_yaml(std::str::from_utf8(kubeconfig).ok()?).ok()?;
    let cluster = client::current_cluster(&kubeconfig)?;
    let ca = cluster
        .certificate_authority_data
        .as_deref()
        .unwrap_or_default();
    Some(ClusterDetails {
        address: cluster.server.clone()?,
        ca: base64::prelude::BASE64_STANDARD.decode(ca).ok()?,
    })
}

/// The kubeconfig of a cluster, without credentials.
///
/// # Errors
/// The address is not one.
pub(crate) fn kubeconfig(details: &ClusterDetails) -> Result<Kubeconfig, String> {
    use base64::Engine as _;
    let mut cluster = json!({ "server": details.address });
    if !details.ca.is_empty() {
        let ca = base64::prelude::BASE64_STANDARD.encode(&details.ca);
        cluster["certificate-authority-data"] = ca.into();
    }
    let whole = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "remote",
        "clusters": [{ "name": "remote", "cluster": cluster }],
        "users": [{ "name": "remote", "user": {} }],
        "contexts": [{ "name": "remote", "context": { "cluster": "remote", "user": "remote" } }],
    });
    Kubeconfig::from_yaml(&whole.to_string())
        .map_err(|error| flux_objects::words_of_kubeconfig(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, &str)]) -> Result<Description, String> {
        let entry = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let data: BTreeMap<String, String> = entries.iter().map(entry).collect();
        Description::of(&data).map_err(|error| error.to_string())
    }

    #[test]
    fn a_config_map_describes_a_cluster() {
        // RT-ACL-014, KC-REMOTE-010
        assert_eq!(read(&[]).unwrap_err(), "provider '' not implemented");
        assert_eq!(
            read(&[("provider", "oracle")]).unwrap_err(),
            "provider 'oracle' not implemented"
        );
        // KC-REMOTE-013
        assert_eq!(
            read(&[("provider", "generic")]).unwrap_err(),
            "cluster address is required to create a REST config"
        );
        let described = read(&[
            ("provider", "generic"),
            ("address", "https://10.0.0.1"),
            ("ca.crt", "PEM"),
            ("audiences", " a \n\n b\n"),
            ("serviceAccountName", "sa"),
        ]);
        let described = described.unwrap();
        let audiences = vec!["a".to_owned(), "b".to_owned()];
        // HC-REMOTE-006
        assert_eq!(described.provider, Provider::Generic { audiences });
        assert_eq!(described.account.as_deref(), Some("sa"));
        // RT-ACL-016
        let described = read(&[("provider", "generic"), ("address", "10.0.0.1")]).unwrap();
        let audiences = vec!["10.0.0.1".to_owned()];
        assert_eq!(described.provider, Provider::Generic { audiences });
        // KC-REMOTE-014
        assert!(
            read(&[("provider", "aws")])
                .unwrap_err()
                .starts_with("invalid EKS cluster ARN: ''")
        );
        read(&[("provider", "azure")]).unwrap();
        read(&[("provider", "gcp")]).unwrap();
    }

    // KC-REMOTE-015
    #[test]
    fn a_kubeconfig_describes_the_cluster_of_its_current_context() {
        let config = "{apiVersion: v1, kind: Config, current-context: second,
            contexts: [{name: first, context: {cluster: a}}, {name: second, context: {cluster: b}}],
            clusters: [{name: a, cluster: {server: 'https://a', certificate-authority-data: QQ==}},
                {name: b, cluster: {server: 'https://b', certificate-authority-data: Qg==}}]}";
        let found = details_of(config.as_bytes()).unwrap();
        assert_eq!((&*found.address, &*found.ca), ("https://b", &b"B"[..]));
        let none = config.replace("current-context: second", "current-context: third");
        assert!(details_of(none.as_bytes()).is_none());
    }

    #[test]
    fn addresses_are_made_canonical() {
        // RT-ACL-016, KC-REMOTE-013
        for (address, made) in [
            ("10.0.0.1", "https://10.0.0.1:443"),
            (
                "https://API.Example.com/path",
                "https://api.example.com:443",
            ),
            (
                "https://api.example.com:6443",
                "https://api.example.com:6443",
            ),
            ("https://[::1]:6443", "https://[::1]:6443"),
            ("[::1]", "https://[::1]:443"),
        ] {
            assert_eq!(canonical(address).as_deref(), Ok(made));
        }
        assert_eq!(
            canonical("http://a"),
            Err("the Kubernetes API server address 'http://a' must use https scheme".into())
        );
        assert_eq!(canonical(""), Err("empty address".into()));
        assert!(
            canonical("https://%zz")
                .unwrap_err()
                .starts_with("failed to parse")
        );
    }

    #[test]
    fn the_subject_of_a_token_is_its_account() {
        use base64::Engine as _;
        let token = |sub: &str| {
            let claims = json!({ "sub": sub }).to_string();
            let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims);
            format!("h.{claims}.s")
        };
        let own = token("system:serviceaccount:flux-system:kustomize-controller");
        let account = ("flux-system".to_owned(), "kustomize-controller".to_owned());
        assert_eq!(account_of(own.as_bytes()), Some(account));
        for other in [&*token("admin"), "", "a.b.c"] {
            assert_eq!(account_of(other.as_bytes()), None);
        }
    }
}
