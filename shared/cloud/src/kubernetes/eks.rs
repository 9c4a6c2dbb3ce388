//! Elastic Kubernetes Service.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use flux_http::Secret;
use regex::Regex;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{ClusterDetails, ClusterError, decoded};
use crate::aws::{self, Credentials, Payload, Scope, presign};
use crate::client::CloudClient;
use crate::token_cache::Token;

const PATTERN: &str = r"^arn:aws[\w-]*:eks:([^:]{1,100}):[0-9]{1,30}:cluster/(.{1,200})$";
static ARN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PATTERN).ok());

/// How long a token is valid: the time for which the request in it is signed.
const LIFE: Duration = Duration::from_mins(15);

/// A cluster by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EksCluster {
    /// The whole ARN.
    pub arn: String,
    /// The region.
    pub region: String,
    /// The name.
    pub name: String,
}

impl EksCluster {
    /// Reads an ARN.
    ///
    /// # Errors
    /// It is not that of a cluster.
    pub fn parse(arn: &str) -> Result<Self, ClusterError> {
        let found = ARN.as_ref().and_then(|pattern| pattern.captures(arn));
        let part = |index| Some(found.as_ref()?.get(index)?.as_str().to_owned());
        match (part(1), part(2)) {
            (Some(region), Some(name)) => Ok(Self {
                arn: arn.to_owned(),
                region,
                name,
            }),
            _ => Err(ClusterError::Name {
                what: "EKS cluster ARN",
                name: arn.to_owned(),
                pattern: PATTERN,
            }),
        }
    }
}

/// Where a cluster is.
///
/// # Errors
/// The region is invalid, or EKS refuses or cannot be reached.
pub async fn describe_eks(
    client: &CloudClient,
    credentials: &Credentials,
    cluster: &EksCluster,
) -> Result<ClusterDetails, ClusterError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cluster {
        endpoint: String,
        certificate_authority: Authority,
    }
    #[derive(Deserialize)]
    struct Authority {
        data: String,
    }
    #[derive(Deserialize)]
    struct Answer {
        cluster: Cluster,
    }
    let failed = |error| ClusterError::Eks(cluster.arn.clone(), Box::new(error));
    let mut url = aws::endpoint("eks", &cluster.region).map_err(failed)?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().extend(["clusters", &cluster.name]);
    }
    let (scope, operation) = ((&*cluster.region, "eks"), ("EKS", "DescribeCluster"));
    let answer: Result<Answer, _> = aws::get(client, credentials, scope, operation, &url).await;
    let found = answer.map_err(failed)?.cluster;
    Ok(ClusterDetails {
        ca: decoded("EKS", &found.certificate_authority.data)?,
        address: found.endpoint,
    })
}

/// A token for a cluster: a signed request that says who the caller is (RT-ACL-017).
///
/// # Errors
/// The region is invalid, or the credentials cannot sign.
pub fn eks_token(
    credentials: &Credentials,
    cluster: &EksCluster,
    now: SystemTime,
) -> Result<Token, ClusterError> {
    let failed = |error| ClusterError::Eks(cluster.arn.clone(), Box::new(error));
    let mut url = aws::endpoint("sts", &cluster.region).map_err(failed)?;
    url.set_query(Some("Action=GetCallerIdentity&Version=2011-06-15"));
    let mut headers = HeaderMap::new();
    let name = HeaderValue::from_str(&cluster.name).map_err(|_| ClusterError::Name {
        what: "EKS cluster ARN",
        name: cluster.arn.clone(),
        pattern: PATTERN,
    })?;
    headers.insert("x-k8s-aws-id", name);
    let scope = Scope {
        region: &cluster.region,
        service: "sts",
        time: now,
    };
    let method = Method::GET;
    let signed = presign(
        method.as_str(),
        &url,
        &headers,
        credentials,
        &scope,
        LIFE,
        Payload::Bytes(b""),
    );
    let signed = signed.map_err(ClusterError::Presign)?;
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(signed.as_str());
    Ok(Token {
        value: Secret::new(format!("k8s-aws-v1.{encoded}")),
        expires: now + LIFE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> EksCluster {
        EksCluster::parse("arn:aws:eks:eu-west-1:111122223333:cluster/prod").unwrap()
    }

    #[test]
    fn a_cluster_is_named_by_its_arn() {
        // RT-ACL-017, KC-REMOTE-014
        assert_eq!(
            (&*cluster().region, &*cluster().name),
            ("eu-west-1", "prod")
        );
        for arn in [
            "",
            "prod",
            "arn:aws:iam::1:role/x",
            "arn:aws:eks:eu-west-1:x:cluster/prod",
        ] {
            let said = EksCluster::parse(arn).unwrap_err().to_string();
            let want = format!(
                r"invalid EKS cluster ARN: '{arn}'. must match ^arn:aws[\w-]*:eks:([^:]{{1,100}}):[0-9]{{1,30}}:cluster/(.{{1,200}})$"
            );
            assert_eq!(said, want);
        }
        EksCluster::parse("arn:aws-us-gov:eks:us-gov-west-1:1:cluster/a/b").unwrap();
    }

    #[test]
    fn a_token_is_a_signed_request() {
        // RT-ACL-017, KC-REMOTE-014
        let credentials = Credentials {
            access_key_id: "AKID".into(),
            secret_access_key: Secret::new("secret"),
            session_token: Some(Secret::new("session")),
            expires: None,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(490_896);
        let token = eks_token(&credentials, &cluster(), now).unwrap();
        assert_eq!(token.expires, now + Duration::from_mins(15));
        let text = token.value.expose_text().into_owned();
        let encoded = text.strip_prefix("k8s-aws-v1.").unwrap();
        assert!(!encoded.contains('='));
        let url = BASE64_URL_SAFE_NO_PAD.decode(encoded).unwrap();
        let url = String::from_utf8(url).unwrap();
        assert!(
            url.starts_with("https://sts.eu-west-1.amazonaws.com/?"),
            "{url}"
        );
        for part in [
            "Action=GetCallerIdentity",
            "Version=2011-06-15",
            "X-Amz-Expires=900",
            "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id",
            "X-Amz-Security-Token=session",
            "X-Amz-Credential=AKID%2F20260101%2Feu-west-1%2Fsts%2Faws4_request",
            "X-Amz-Signature=",
        ] {
            assert!(url.contains(part), "{part} in {url}");
        }
    }
}
