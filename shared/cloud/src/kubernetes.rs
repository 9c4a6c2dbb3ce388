//! Kubernetes clusters of clouds: where they are, and the tokens that they accept (RT-ACL-017 to RT-ACL-019).

mod aks;
mod eks;
mod gke;

pub use aks::{AKS_SCOPE, Canonical, ReadKubeconfig, describe_aks};
pub use eks::{EksCluster, describe_eks, eks_token};
pub use gke::describe_gke;

use crate::client::CallError;

/// Where a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDetails {
    /// The address of its API server.
    pub address: String,
    /// The certificate authority of its API server, PEM.
    pub ca: Vec<u8>,
}

/// Why a cluster is not found. The texts are upstream's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The name of the cluster is not one of the provider's.
    #[error("invalid {what}: '{name}'. must match {pattern}")]
    Name {
        /// What the name should be.
        what: &'static str,
        /// The name.
        name: String,
        /// The pattern.
        pattern: &'static str,
    },
    /// The provider does not describe an EKS cluster.
    #[error("failed to describe EKS cluster '{0}'")]
    Eks(String, #[source] Box<crate::aws::Error>),
    /// The provider does not describe an AKS cluster.
    #[error("failed to describe AKS cluster")]
    Aks(#[source] Box<CallError>),
    /// The provider does not list the kubeconfigs of an AKS cluster.
    #[error("failed to list the kubeconfigs of the AKS cluster")]
    AksCredentials(#[source] Box<CallError>),
    /// The cloud of the cluster is not known.
    #[error(transparent)]
    Azure(Box<crate::azure::Error>),
    /// An AKS cluster does not accept tokens of Entra ID.
    #[error(
        "AKS cluster {0} does not have Microsoft Entra ID integration enabled. See docs for enabling: https://learn.microsoft.com/en-us/azure/aks/enable-authentication-microsoft-entra-id"
    )]
    NoEntra(String),
    /// A kubeconfig of an AKS cluster is malformed.
    #[error("failed to parse kubeconfig[{0}]")]
    Kubeconfig(usize),
    /// An AKS cluster has no kubeconfig.
    #[error("no kubeconfig found for AKS cluster {0}")]
    NoKubeconfig(String),
    /// An AKS cluster has no kubeconfig with the address that is given.
    #[error(
        "no kubeconfig found for AKS cluster {cluster} matching the specified address '{address}'. cluster addresses: [{found}]"
    )]
    OtherAddress {
        /// The cluster.
        cluster: String,
        /// The address that is given.
        address: String,
        /// The addresses of its kubeconfigs.
        found: String,
    },
    /// The provider does not describe a GKE cluster.
    #[error("failed to describe GKE cluster '{0}'")]
    Gke(String, #[source] Box<CallError>),
    /// The certificate authority is not base64.
    #[error("failed to decode {0} CA certificate")]
    Ca(&'static str),
    /// A request for a token cannot be signed.
    #[error("failed to presign GetCallerIdentity request")]
    Presign(#[source] crate::aws::SignError),
}

/// Code and explanation of a refusal by Azure's resource manager, or by an API of Google.
fn reason(body: &[u8]) -> Option<String> {
    let refusal: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = refusal.get("error")?;
    let code = error["status"].as_str().or(error["code"].as_str())?;
    Some(format!(
        "{code}: {}",
        error["message"].as_str().unwrap_or_default()
    ))
}

impl From<crate::azure::Error> for ClusterError {
    fn from(error: crate::azure::Error) -> Self {
        Self::Azure(Box::new(error))
    }
}

fn decoded(provider: &'static str, base64: &str) -> Result<Vec<u8>, ClusterError> {
    use base64::Engine as _;
    let decoded = base64::prelude::BASE64_STANDARD.decode(base64);
    decoded.map_err(|_| ClusterError::Ca(provider))
}
