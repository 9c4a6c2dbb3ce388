//! Requests for objects by name.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display, Formatter};

use flux_http::RequestError;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::AuthError;
use kube::config::{KubeconfigError, LoadDataError};
use kube::core::{ClusterResourceScope, NamespaceResourceScope, ObjectList, PartialObjectMeta};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::path::{self, InvalidPath};

/// Why a request for an object failed. Its text is the API server's own message if the server rejected the request.
#[derive(Debug)]
pub enum Error {
    /// The name or namespace is not a path segment; nothing was sent.
    Invalid(InvalidPath),
    /// The API server rejected the request, or did not respond.
    Request(kube::Error),
}

impl Error {
    /// The HTTP status of the rejection.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Request(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// Whether the API server reports that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => Display::fmt(error, f),
            Self::Request(error) => match words(error) {
                Some(words) => f.write_str(&words),
                None => Display::fmt(error, f),
            },
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Invalid(_) => None,
            Self::Request(error) => words(error).map_or_else(|| error.source(), |_| None),
        }
    }
}

/// The complete text of an error, for those of kube's errors whose own text must not be shown: a rejection is the
/// server's message without kube's additions, a proxy is named without its password, and the output of a credential
/// plugin and values of a response that cannot be decoded are left out.
pub fn words(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) => Some(status.message.clone()),
        kube::Error::Auth(error) => Some(words_of_auth(error)),
        kube::Error::InferKubeconfig(error) => Some(words_of_kubeconfig(error)),
        kube::Error::ProxyProtocolUnsupported { proxy_url }
        | kube::Error::ProxyProtocolDisabled { proxy_url, .. } => {
            let scheme = proxy_url.scheme_str().unwrap_or_default();
            let host = proxy_url.host().unwrap_or_default();
            Some(format!(
                "the proxy {host} has the scheme {scheme:?}; use http, https or socks5"
            ))
        }
        kube::Error::Service(error) => {
            if let Some(error) = error.downcast_ref::<RequestError>() {
                return Some(error.to_string());
            }
            error.downcast_ref().map(words_of_auth)
        }
        // serde's own text quotes a value of the wrong type, which may be one of a Secret.
        kube::Error::SerdeError(error) => Some(format!(
            "failed to decode the response at line {}, column {}",
            error.line(),
            error.column()
        )),
        _ => None,
    }
}

/// The text of a kubeconfig error: where the file is and what is wrong with it. Its content is left out, since it may
/// contain a token or key.
pub fn words_of_kubeconfig(error: &KubeconfigError) -> String {
    use KubeconfigError as E;
    let data = |what: &str, error: &LoadDataError| match error {
        LoadDataError::DecodeBase64(_) => format!("the {what} is not base64"),
        error => format!("failed to load the {what}: {error}"),
    };
    match error {
        // The text of this one quotes the lines around the fault.
        E::Parse(error) => match error.location() {
            Some(at) => format!(
                "line {}, column {}: it is not the YAML of a kubeconfig",
                at.line(),
                at.column()
            ),
            None => "it is not the YAML of a kubeconfig".to_owned(),
        },
        E::LoadCertificateAuthority(error) => data("certificate authority", error),
        E::LoadClientCertificate(error) => data("client certificate", error),
        E::LoadClientKey(error) => data("client key", error),
        error => error.to_string(),
    }
}

fn words_of_auth(error: &AuthError) -> String {
    match error {
        // `out` holds the command with its arguments and variables.
        AuthError::AuthExecRun { out, .. } => {
            format!(
                "the command under `exec` in the kubeconfig failed with {}",
                out.status
            )
        }
        AuthError::AuthExecParse(_) => "failed to parse auth exec output".to_owned(),
        AuthError::ParseTokenKey(_) => "failed to parse token-key".to_owned(),
        error => error.to_string(),
    }
}

impl From<InvalidPath> for Error {
    fn from(error: InvalidPath) -> Self {
        Self::Invalid(error)
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Request(error)
    }
}

/// The objects of a kind in one namespace, or of a kind without namespaces. Names are checked before any request.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the client has none")]
pub struct Objects<K> {
    api: Api<K>,
}

impl<K> Objects<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    /// The objects in a namespace.
    ///
    /// # Errors
    ///
    /// If the namespace is not a path segment.
    #[expect(clippy::disallowed_methods, reason = "the namespace is checked here")]
    pub fn in_namespace(client: Client, namespace: &str) -> Result<Self, InvalidPath> {
        let namespace = path::namespace(namespace)?;
        Ok(Self {
            api: Api::namespaced(client, &namespace),
        })
    }
}

impl<K> Objects<K>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
{
    /// The objects of a kind that has no namespaces.
    pub fn of_cluster(client: Client) -> Self {
        Self {
            api: Api::all(client),
        }
    }
}

impl<K> Objects<K> {
    /// kube's type for the same objects, to list and watch.
    pub fn into_api(self) -> Api<K> {
        self.api
    }
}

#[expect(clippy::disallowed_methods, reason = "each name is checked here")]
impl<K> Objects<K>
where
    K: Clone + DeserializeOwned + Debug,
{
    /// Reads an object.
    ///
    /// # Errors
    ///
    /// If the name is not a path segment, or the server's; [`Error::is_not_found`] if the object does not exist.
    pub async fn get(&self, name: &str) -> Result<K, Error> {
        let name = path::name(name)?;
        Ok(self.api.get(&name).await?)
    }

    /// Reads an object; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`Objects::get`].
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>, Error> {
        let name = path::name(name)?;
        Ok(self.api.get_opt(&name).await?)
    }

    /// Reads an object's metadata; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`Objects::get`].
    pub async fn get_metadata_opt(
        &self,
        name: &str,
    ) -> Result<Option<PartialObjectMeta<K>>, Error> {
        let name = path::name(name)?;
        Ok(self.api.get_metadata_opt(&name).await?)
    }

    /// A page of the objects.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn list(&self, params: &ListParams) -> Result<ObjectList<K>, Error> {
        Ok(self.api.list(params).await?)
    }

    /// Creates an object.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn create(&self, params: &PostParams, object: &K) -> Result<K, Error>
    where
        K: Serialize,
    {
        Ok(self.api.create(params, object).await?)
    }

    /// Replaces an object.
    ///
    /// # Errors
    ///
    /// As [`Objects::get`].
    pub async fn replace(&self, name: &str, params: &PostParams, object: &K) -> Result<K, Error>
    where
        K: Serialize,
    {
        let name = path::name(name)?;
        Ok(self.api.replace(&name, params, object).await?)
    }

    /// Patches an object.
    ///
    /// # Errors
    ///
    /// As [`Objects::get`].
    pub async fn patch<P: Serialize + Debug>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<K, Error> {
        let name = path::name(name)?;
        Ok(self.api.patch(&name, params, patch).await?)
    }

    /// Patches an object's status.
    ///
    /// # Errors
    ///
    /// As [`Objects::get`].
    pub async fn patch_status<P: Serialize + Debug>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<K, Error> {
        let name = path::name(name)?;
        Ok(self.api.patch_status(&name, params, patch).await?)
    }

    /// Creates a subresource of an object, such as the `token` of a ServiceAccount, and returns the server's version of it.
    ///
    /// # Errors
    ///
    /// As [`Objects::get`].
    pub async fn create_subresource<I, T>(
        &self,
        subresource: &'static str,
        name: &str,
        body: &I,
    ) -> Result<T, Error>
    where
        I: Serialize,
        T: DeserializeOwned,
    {
        let (name, params) = (path::name(name)?, PostParams::default());
        let created = self
            .api
            .create_subresource(subresource, &name, &params, body);
        Ok(created.await?)
    }

    /// Deletes an object.
    ///
    /// # Errors
    ///
    /// As [`Objects::get`].
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<(), Error> {
        let name = path::name(name)?;
        Ok(self.api.delete(&name, params).await.map(drop)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Secret;
    use kube::client::Body;

    use super::*;

    /// A client of a server without objects, and the requests that it received.
    fn server() -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (method, uri) = (request.method(), request.uri());
            log.lock().unwrap().push(format!("{method} {uri}"));
            let status = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                "reason": "NotFound", "message": "secrets \"x\" not found",
            });
            let body = Body::from(status.to_string().into_bytes());
            let answer = Response::builder().status(404).body(body).unwrap();
            async { Ok::<_, std::convert::Infallible>(answer) }
        });
        (Client::new(service, "default"), asked)
    }

    async fn every_request(objects: &Objects<Secret>, name: &str) -> Vec<Result<(), Error>> {
        let object = Secret::default();
        let merge = Patch::Merge(serde_json::json!({}));
        let (patch, post) = (PatchParams::default(), PostParams::default());
        vec![
            objects.get(name).await.map(drop),
            objects.get_opt(name).await.map(drop),
            objects.get_metadata_opt(name).await.map(drop),
            objects.replace(name, &post, &object).await.map(drop),
            objects.patch(name, &patch, &merge).await.map(drop),
            objects.patch_status(name, &patch, &merge).await.map(drop),
            objects.delete(name, &DeleteParams::default()).await,
            objects
                .create_subresource::<_, Secret>("token", name, &object)
                .await
                .map(drop),
        ]
    }

    #[tokio::test]
    async fn path_like_names_are_refused_without_a_request() {
        let (client, asked) = server();
        for name in ["a/b", "..", "%2e", ""] {
            let objects = Objects::<Secret>::in_namespace(client.clone(), "apps").unwrap();
            for result in every_request(&objects, name).await {
                assert!(
                    matches!(result, Err(Error::Invalid(_))),
                    "{name} {result:?}"
                );
            }
            assert!(Objects::<Secret>::in_namespace(client.clone(), name).is_err());
        }
        assert_eq!(*asked.lock().unwrap(), [""; 0]);
    }

    #[test]
    fn errors_show_no_credentials() {
        use std::os::unix::process::ExitStatusExt as _;
        let printed = || {
            Box::new(std::process::Output {
                status: std::process::ExitStatus::from_raw(256),
                stdout: b"{token: s3cret}".to_vec(),
                stderr: b"s3cret".to_vec(),
            })
        };
        let failed = || AuthError::AuthExecRun {
            cmd: "TOKEN=s3cret login s3cret".into(),
            out: printed(),
        };
        let proxy: http::Uri = "ftp://user:s3cret@proxy.example.com".parse().unwrap();
        for error in [
            kube::Error::Auth(failed()),
            kube::Error::Service(Box::new(failed())),
            kube::Error::ProxyProtocolUnsupported {
                proxy_url: Box::new(proxy),
            },
        ] {
            assert!(
                error.to_string().contains("s3cret") || format!("{error:?}").contains("s3cret")
            );
            let text = Error::from(error);
            assert!(StdError::source(&text).is_none());
            let text = text.to_string();
            assert!(!text.contains("s3cret") && !text.is_empty(), "{text}");
            assert!(
                text.contains("exec") || text.contains("proxy.example.com"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_with_query_characters_is_escaped() {
        let (client, asked) = server();
        let objects = Objects::<Secret>::in_namespace(client, "a?b#c").unwrap();
        for result in every_request(&objects, "?watch=true").await {
            assert!(result.is_ok() || result.unwrap_err().is_not_found());
        }
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 8);
        for request in &asked {
            let path = "/api/v1/namespaces/a%3Fb%23c/secrets/%3Fwatch%3Dtrue";
            assert!(
                request.contains(path) && !request.contains("watch=true"),
                "{request}"
            );
        }
        let error = objects.get("?watch=true").await.unwrap_err();
        assert_eq!(error.to_string(), "secrets \"x\" not found");
    }
}
