//! Why no credentials could be obtained from AWS, with the texts of its SDK for Go.

use flux_http::RequestError;
use reqwest::StatusCode;
use serde::Deserialize;

use super::SignError;
use crate::client::CallError;

/// Why no credentials could be obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No region is known for the controller's own credentials (RT-WID-007).
    #[error(
        "AWS_REGION environment variable is not set in the Flux controller. if you have properly configured IAM Roles for Service Accounts (IRSA) or EKS Pod Identity, please delete/replace the controller pod so the EKS admission controllers can inject this environment variable, or set it manually if the cluster is not EKS"
    )]
    ControllerRegion,
    /// No region is known for a ServiceAccount's credentials (SC-AUTH-054).
    #[error(
        "an AWS region is required for authenticating with a service account. please configure one in the object spec"
    )]
    Region,
    /// A name or region that is part of a host name or a signature has characters that these cannot have.
    #[error("invalid AWS region: '{0}'")]
    InvalidRegion(String),
    /// Not an endpoint of the Security Token Service (RT-WID-006).
    #[error("invalid STS endpoint: '{0}'. must match {pattern}", pattern = super::sts::ENDPOINT_PATTERN)]
    StsEndpoint(String),
    /// The role in a ServiceAccount's annotation is none (RT-WID-005).
    #[error("invalid eks.amazonaws.com/role-arn annotation: '{0}'. must match {pattern}", pattern = super::sts::ROLE_PATTERN)]
    RoleArn(String),
    /// Not a host of ECR (RT-WID-008).
    #[error("invalid AWS registry: '{0}'. must match {pattern}", pattern = super::registry::REGISTRY_PATTERN)]
    Registry(String),
    /// The token of ECR is not base64.
    #[error("failed to parse authorization token")]
    RegistryToken,
    /// The token of ECR is not a user and a password.
    #[error("invalid authorization token format")]
    RegistryTokenFormat,
    /// Git credentials need an HTTPS address (RT-WID-009).
    #[error("AWS CodeCommit authentication requires an HTTPS Git URL")]
    GitScheme,
    /// The host is none of CodeCommit (RT-WID-009).
    #[error("invalid AWS CodeCommit Git URL: {0}")]
    GitHost(String),
    /// A request could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// An operation of a service failed.
    #[error("{}", operation_text(service, operation, cause))]
    Operation {
        /// The service, as the SDK names it.
        service: String,
        /// The operation.
        operation: String,
        /// Why it failed. It is part of the text, and so not a source of this error.
        cause: Box<CallError>,
    },
    /// A file of the environment or of a profile cannot be read. Its content is not shown.
    #[error("failed to read {what} {path}")]
    File {
        /// What the file is.
        what: &'static str,
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A profile cannot be used.
    #[error("failed to load AWS profile '{profile}': {reason}")]
    Profile {
        /// Its name.
        profile: String,
        /// Why.
        reason: &'static str,
    },
    /// The address that the environment names for container credentials is none that may have the token (RT-WID-007).
    #[error(
        "invalid endpoint host, \"{0}\", only https or a loopback, ECS or EKS container address is allowed"
    )]
    ContainerEndpoint(String),
    /// Container credentials could not be obtained.
    #[error("failed to load credentials")]
    Container(#[source] CallError),
    /// The instance's metadata has no credentials.
    #[error("no EC2 IMDS role found")]
    Instance(#[source] CallError),
    /// The environment forbids the use of the instance's metadata.
    #[error(
        "no EC2 IMDS role found: access disabled to EC2 IMDS via client option, or \"AWS_EC2_METADATA_DISABLED\" environment variable"
    )]
    InstanceDisabled,
}

impl Error {
    pub(super) fn operation(service: &str, operation: &str, cause: CallError) -> Self {
        Self::Operation {
            service: service.to_owned(),
            operation: operation.to_owned(),
            cause: Box::new(cause),
        }
    }
}

fn operation_text(service: &str, operation: &str, source: &CallError) -> String {
    let head = format!("operation error {service}: {operation}");
    match source {
        CallError::Refused {
            status,
            reason,
            request_id,
            ..
        } => {
            let status = status.as_u16();
            format!(
                "{head}, https response error StatusCode: {status}, RequestID: {request_id}, api error {reason}"
            )
        }
        CallError::Request(source) => format!("{head}, {}", unsent(source)),
        source @ CallError::Answer { .. } => {
            format!(
                "{head}, deserialization failed, {}",
                flux_errors::chain(source)
            )
        }
    }
}

fn unsent(source: &RequestError) -> String {
    format!("https response error StatusCode: 0, RequestID: , request send failed, {source}")
}

/// Code and explanation of an API of JSON.
pub(super) fn json_reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "__type", alias = "code")]
        code: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let code = refusal.code.unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let message = refusal.message.unwrap_or_default();
    Some(format!("{}: {message}", known(code)))
}

/// Code and explanation of an API of XML.
pub(super) fn xml_reason(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let code = crate::xml::element(text, "Code").unwrap_or_default();
    let message = crate::xml::element(text, "Message").unwrap_or_default();
    Some(format!("{}: {message}", known(&code)))
}

fn known(code: &str) -> &str {
    if code.is_empty() {
        "UnknownError"
    } else {
        code
    }
}

/// Whether a status of the metadata server says that it has no sessions.
pub(super) fn is_without_sessions(error: &CallError) -> bool {
    let status = error.status();
    status.is_some_and(|status| {
        matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED
        )
    })
}
