//! Google Kubernetes Engine.

use reqwest::Method;
use serde::Deserialize;

use super::{ClusterDetails, ClusterError, decoded};
use crate::client::{self, CloudClient};
use crate::pattern;
use crate::token_cache::Token;

const PATTERN: &str = "^projects/[^/]{1,200}/locations/[^/]{1,200}/clusters/[^/]{1,200}$";

/// Where a cluster is (RT-ACL-019).
///
/// # Errors
/// The name is not that of a cluster, or GKE refuses or cannot be reached.
pub async fn describe_gke(
    client: &CloudClient,
    token: &Token,
    cluster: &str,
) -> Result<ClusterDetails, ClusterError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        endpoint: String,
        master_auth: MasterAuth,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct MasterAuth {
        cluster_ca_certificate: String,
    }
    check(cluster)?;
    let failed = |error| ClusterError::Gke(cluster.to_owned(), Box::new(error));
    let mut url = reqwest::Url::parse("https://container.googleapis.com/v1/")
        .map_err(|_| check_failed(cluster))?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(cluster.split('/'));
    }
    let request = client
        .http()
        .request(Method::GET, url)
        .bearer_auth(token.value.expose_text());
    let answer = client::call(request, super::reason, &[&token.value]).await;
    let answer: Answer = answer.and_then(|answer| answer.json()).map_err(failed)?;
    Ok(ClusterDetails {
        ca: decoded("GKE", &answer.master_auth.cluster_ca_certificate)?,
        address: answer.endpoint,
    })
}

fn check(cluster: &str) -> Result<(), ClusterError> {
    if pattern::is_match(PATTERN, cluster) {
        Ok(())
    } else {
        Err(check_failed(cluster))
    }
}

fn check_failed(cluster: &str) -> ClusterError {
    ClusterError::Name {
        what: "GKE cluster ID",
        name: cluster.to_owned(),
        pattern: PATTERN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_project_location_and_name() {
        // RT-ACL-019, KC-REMOTE-016
        check("projects/p/locations/europe-west1/clusters/prod").unwrap();
        for name in [
            "",
            "prod",
            "projects/p/clusters/prod",
            "projects/p/locations/l/clusters/a/b",
        ] {
            let said = check(name).unwrap_err().to_string();
            assert_eq!(
                said,
                format!("invalid GKE cluster ID: '{name}'. must match {PATTERN}")
            );
        }
    }
}
