//! What a Provider and its Secrets say about where and how to send (NC-PROV-020 to NC-PROV-051).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flux_api::notification::{Provider, ProviderType as T};
use flux_cloud::gcp::ServiceAccountKey;
use flux_http::{
    ClientOptions, GitHubAppData, Proxy, ProxyUrl, RootCertificates, Secret, SecretData,
    TlsSettings,
};
use flux_identity::Identity;
use flux_references::{Reader, secret_data};
use flux_runtime::queue::Key;
use k8s_openapi::api::core::v1;
use kube::ResourceExt;

pub(crate) use self::error::ConfigError;
use super::{Mask, sets_commit_statuses};

mod error;

/// The longest address in a Secret, in bytes (NC-PROV-021).
const MAX_ADDRESS: usize = 2048;
/// How long sending takes at most where the Provider says nothing (NC-PROV-006).
const TIMEOUT: Duration = Duration::from_secs(15);
/// The user agent of upstream's requests: Go's default (NC-HTTP-001).
const AGENT: &str = "Go-http-client/1.1";

/// What tokens of Azure are for (NC-PROV-064).
const AZURE_DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";
const EVENT_HUBS: &str = "https://eventhubs.azure.net//.default";

/// What a token of a cloud is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloudScope {
    /// Azure DevOps.
    AzureDevops,
    /// Azure Event Hubs.
    EventHub,
    /// Google Pub/Sub.
    PubSub,
}

/// The Secrets that a Provider refers to.
#[derive(Default)]
pub(crate) struct Secrets {
    own: Option<(String, Arc<v1::Secret>)>,
    proxy: Option<(String, Arc<v1::Secret>)>,
    certificates: Option<(String, Arc<v1::Secret>)>,
}

impl Secrets {
    /// Reads them (NC-PROV-008, NC-PROV-020).
    ///
    /// # Errors
    /// One cannot be read.
    pub(crate) async fn read(
        reader: &Reader<v1::Secret>,
        provider: &Provider,
    ) -> Result<Self, ConfigError> {
        let namespace = provider.namespace().unwrap_or_default();
        let get = async |reference: &Option<flux_api::meta::LocalObjectReference>| {
            let Some(reference) = reference else {
                return Ok(None);
            };
            let name = format!("{namespace}/{}", reference.name);
            match reader.get(&Key::new(&*namespace, &*reference.name)).await {
                Ok(secret) => Ok(Some((reference.name.clone(), secret))),
                Err(source) => Err(ConfigError::Secret { name, source }),
            }
        };
        Ok(Self {
            own: get(&provider.spec.secret_ref).await?,
            proxy: get(&provider.spec.proxy_secret_ref).await?,
            certificates: get(&provider.spec.cert_secret_ref).await?,
        })
    }
}

/// An Alert.
#[derive(Clone, Debug, Default)]
pub(super) struct AlertName {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// What is sent where, and with which credentials. There is no `Debug`, since the address may be a secret.
pub(crate) struct Settings {
    pub(super) kind: T,
    pub(super) uid: String,
    pub(super) address: String,
    /// Whether the address comes from a Secret.
    address_is_secret: bool,
    pub(super) channel: String,
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) token: Secret,
    /// The token of the Secret, whether it is used or not: for the mask.
    shown_token: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) github_app: Option<GitHubAppData>,
    has_app_token: bool,
    cloud_token: Secret,
    nats_creds: Secret,
    nats_seed: Secret,
    pub(super) acts_as_account: bool,
    /// The Alert that an event is sent for.
    pub(super) alert: AlertName,
    /// The identity of commit statuses; `None` for types that set none.
    pub(super) status_id: String,
    /// Whether that identity comes from an expression of the user's.
    pub(super) status_is_custom: bool,
    proxy: Option<ProxyUrl>,
    tls: Option<TlsSettings>,
    timeout: Duration,
}

impl Settings {
    /// The settings of a Provider, with the data of its Secrets.
    ///
    /// # Errors
    /// A Secret is not of the form that it should have.
    pub(crate) fn new(provider: &Provider, secrets: &Secrets) -> Result<Self, ConfigError> {
        let spec = &provider.spec;
        let namespace = provider.namespace().unwrap_or_default();
        let data = |secret: &Option<(String, Arc<v1::Secret>)>| {
            secret
                .as_ref()
                .map(|(name, secret)| (name.clone(), secret.clone()))
        };
        let mut settings = Self {
            kind: spec.type_.clone(),
            uid: provider.uid().unwrap_or_default(),
            address: spec.address.clone().unwrap_or_default(),
            address_is_secret: false,
            channel: spec.channel.clone().unwrap_or_default(),
            username: spec.username.clone().unwrap_or_default(),
            password: Secret::default(),
            token: Secret::default(),
            shown_token: String::new(),
            headers: BTreeMap::new(),
            github_app: None,
            has_app_token: false,
            cloud_token: Secret::default(),
            nats_creds: Secret::default(),
            nats_seed: Secret::default(),
            alert: AlertName::default(),
            acts_as_account: spec
                .service_account_name
                .as_deref()
                .is_some_and(|name| !name.is_empty()),
            status_id: String::new(),
            status_is_custom: false,
            proxy: None,
            tls: None,
            timeout: spec
                .timeout
                .map_or(TIMEOUT, flux_api::meta::GoDuration::to_std),
        };
        if let Some(proxy) = spec.proxy.as_deref().filter(|proxy| !proxy.is_empty()) {
            // NC-PROV-037
            tracing::error!(
                logger = "event-server",
                "warning: spec.proxy is deprecated, please use spec.proxySecretRef instead. Support for this field will be removed in v1."
            );
            settings.proxy = Some(ProxyUrl::parse(proxy).map_err(ConfigError::Proxy)?);
        }
        if let Some((name, secret)) = data(&secrets.own) {
            settings.add(&secret_data(&secret, &namespace, &name))?;
        }
        if let Some((name, secret)) = data(&secrets.proxy) {
            let proxy = secret_data(&secret, &namespace, &name).proxy();
            settings.proxy = Some(proxy.map_err(ConfigError::ProxySecret)?);
        }
        // NC-PROV-049, NC-PROV-050
        if let Some((name, secret)) = data(&secrets.certificates) {
            let data = secret_data(&secret, &namespace, &name);
            for legacy in data.legacy_tls_keys() {
                tracing::info!(
                    logger = "event-server",
                    secret = data.name(),
                    key = legacy.key,
                    preferred = legacy.preferred,
                    "using legacy key in secret data"
                );
            }
            let tls = data.tls(RootCertificates::ReplaceSystem);
            settings.tls = Some(tls.map_err(ConfigError::Tls)?);
        } else if sets_commit_statuses(&spec.type_)
            && let Some((name, secret)) = data(&secrets.own)
        {
            let methods = secret_data(&secret, &namespace, &name)
                .auth_methods(RootCertificates::ReplaceSystem);
            settings.tls = methods.map_err(ConfigError::Tls)?.tls;
        }
        Ok(settings)
    }

    /// Takes over what the Provider's own Secret says.
    fn add(&mut self, data: &SecretData<'_>) -> Result<(), ConfigError> {
        let text = |key: &str| data.get(key).map(String::from_utf8_lossy);
        if let Some(address) = text("address") {
            if data
                .get("address")
                .is_some_and(|address| address.len() > MAX_ADDRESS)
            {
                return Err(ConfigError::AddressTooLong);
            }
            address.trim().clone_into(&mut self.address);
            self.address_is_secret = true;
        }
        if let Some(proxy) = text("proxy") {
            // NC-PROV-028
            let parsed = ProxyUrl::parse(proxy.trim());
            let refused = |_| ConfigError::ProxyInSecret(data.name().to_owned());
            self.proxy = Some(parsed.map_err(refused)?);
            tracing::error!(
                logger = "event-server",
                "warning: specifying proxy with 'proxy' key in the referenced secret is deprecated, use spec.proxySecretRef with 'address' key instead. Support for the 'proxy' key will be removed in v1."
            );
        }
        if let Some(headers) = data.get("headers") {
            self.headers = read_headers(headers)?;
        }
        // NC-PROV-029
        let secret = |key: &str| data.get(key).map(Secret::new).unwrap_or_default();
        self.nats_creds = secret("creds");
        self.nats_seed = secret("nkey");
        self.shown_token = text("token").unwrap_or_default().into_owned();
        // NC-PROV-025, NC-PROV-026: with malformed credentials, none is used
        if let Ok(methods) = data.auth_methods(RootCertificates::ReplaceSystem) {
            self.token = methods.token.unwrap_or_default();
            if let Some(basic) = methods.basic {
                self.username = basic.username;
                self.password = basic.password;
            }
        }
        // As upstream, which looks for the App's ID first.
        if data.names_github_app() {
            self.github_app = Some(data.github_app().map_err(ConfigError::GitHubAppData)?);
        }
        Ok(())
    }

    /// The file with credentials for NATS.
    pub(super) fn nats_creds(&self) -> Option<String> {
        let creds = self.nats_creds.expose_text();
        (!creds.is_empty()).then(|| creds.into_owned())
    }

    /// The seed of a key for NATS.
    pub(super) fn nats_seed(&self) -> Option<String> {
        let seed = self.nats_seed.expose_text();
        (!seed.is_empty()).then(|| seed.into_owned())
    }

    /// Sets the Alert that an event is sent for.
    pub(crate) fn with_alert(mut self, namespace: &str, name: &str, uid: &str) -> Self {
        self.alert = AlertName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        self
    }

    /// Sets what identifies the commit statuses of this Provider.
    pub(crate) fn with_status(mut self, id: String, is_custom: bool) -> Self {
        self.status_id = id;
        self.status_is_custom = is_custom;
        self
    }

    /// What identifies the commit statuses of this Provider.
    pub(crate) fn status_id(&self) -> &str {
        &self.status_id
    }

    /// The token without line breaks at its end, which no header can carry (FR-N-044); in the Git types the password stands
    /// in for a missing token (NC-PROV-030).
    pub(super) fn header_token(&self) -> String {
        self.token
            .expose_text()
            .trim_end_matches(['\r', '\n'])
            .to_owned()
    }

    /// As [`Settings::header_token`], or the password.
    pub(super) fn token_or_password(&self) -> String {
        let token = self.header_token();
        if token.is_empty() {
            let password = self.password.expose_text();
            return password.trim_end_matches(['\r', '\n']).to_owned();
        }
        token
    }

    /// Sets the token that the GitHub App of the Secret has got (NC-GITHUB-004).
    pub(crate) fn with_app_token(mut self, token: Secret) -> Self {
        self.token = token;
        self.has_app_token = true;
        self
    }

    /// Whether the token is that of a GitHub App.
    pub(super) fn token_is_of_app(&self) -> bool {
        self.has_app_token
    }

    /// The GitHub App to get a token for: if the type uses one and the Secret has neither token nor password.
    pub(crate) fn wanted_app(&self) -> Option<&GitHubAppData> {
        let uses = matches!(
            self.kind,
            T::Github | T::GithubDispatch | T::GithubPullRequestComment
        );
        self.github_app
            .as_ref()
            .filter(|_| uses && self.token_or_password().is_empty())
    }

    /// The cloud to get a token of: if the type can use one and the Secret has none (NC-PROV-061, NC-PROV-067).
    pub(crate) fn wanted_cloud(&self) -> Option<CloudScope> {
        let scope = match self.kind {
            T::AzureDevops => CloudScope::AzureDevops,
            T::AzureEventHub if !super::event_hub::has_key(&self.address) => CloudScope::EventHub,
            T::GooglePubSub if !super::pub_sub::is_emulated() => CloudScope::PubSub,
            _ => return None,
        };
        let is_needed = match scope {
            CloudScope::PubSub => true, // a key in the Secret has to be exchanged, too
            CloudScope::AzureDevops | CloudScope::EventHub => self.token.is_empty(),
        };
        is_needed.then_some(scope)
    }

    /// A token of a cloud for an object that acts as `identity`.
    ///
    /// # Errors
    /// The cloud gives none.
    pub(crate) async fn cloud_token(
        &self,
        identity: &Identity<'_, Provider>,
        scope: CloudScope,
    ) -> Result<Secret, ConfigError> {
        let token = match scope {
            CloudScope::AzureDevops => identity.azure_token(AZURE_DEVOPS).await,
            CloudScope::EventHub => identity.azure_token(EVENT_HUBS).await,
            CloudScope::PubSub if !self.token.is_empty() => {
                let key = ServiceAccountKey::parse(self.token.expose());
                let key = key.map_err(ConfigError::PubSubKey)?;
                let token = key.token(identity.cloud()).await;
                return Ok(token.map_err(ConfigError::PubSubKey)?.value);
            }
            CloudScope::PubSub => identity.gcp_token().await,
        };
        let token = token.map_err(|source| match scope {
            CloudScope::AzureDevops => ConfigError::AzureDevopsToken(source),
            CloudScope::EventHub => ConfigError::EventHubToken(source),
            CloudScope::PubSub => ConfigError::PubSubToken(source),
        })?;
        Ok(token.value)
    }

    /// Sets the token of a cloud.
    pub(crate) fn with_cloud_token(mut self, token: Secret) -> Self {
        self.cloud_token = token;
        self
    }

    /// The token of a cloud, or that of the Secret.
    pub(super) fn cloud_or_own_token(&self) -> String {
        if self.cloud_token.is_empty() {
            self.header_token()
        } else {
            self.cloud_token.expose_text().into_owned()
        }
    }

    /// The proxy of all requests.
    pub(crate) fn proxy(&self) -> Proxy {
        self.client_options().proxy
    }

    /// How long sending may take in all (NC-EVT-051).
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The options of the HTTP client.
    pub(crate) fn client_options(&self) -> ClientOptions {
        let own_proxy = self.proxy.clone().map(Proxy::from);
        // NC-SENTRY-005, NC-GITEA-006: these two do not look at the environment
        let elsewhere = match self.kind {
            T::Sentry | T::Gitea | T::GiteaPullRequestComment => Proxy::None,
            _ => Proxy::Environment,
        };
        ClientOptions {
            proxy: own_proxy.unwrap_or(elsewhere),
            tls: self.tls_in_use().unwrap_or_default(),
            user_agent: Some(AGENT.to_owned()),
            ..ClientOptions::default()
        }
    }

    /// The TLS settings, for the types that use them (NC-PROV-051).
    fn tls_in_use(&self) -> Option<TlsSettings> {
        let ignored = match self.kind {
            T::Discord | T::GoogleChat | T::Telegram | T::Lark => true,
            T::Github | T::GithubDispatch | T::GithubPullRequestComment => {
                super::address::parse_git(&self.address).host == "https://github.com"
            }
            _ => false,
        };
        self.tls.clone().filter(|_| !ignored)
    }

    /// What has to be removed from texts about this Provider.
    pub(crate) fn mask(&self) -> Mask {
        let mut secrets = vec![self.password.expose_text().into_owned()];
        if self.address_is_secret {
            secrets.push(self.address.clone());
            if let Ok(url) = url::Url::parse(&self.address) {
                secrets.push(url.path().to_owned());
                secrets.extend(url.query().map(str::to_owned));
                secrets.push(url.username().to_owned());
            }
        }
        let public = ["accept", "content-type", "user-agent"];
        let headers = self.headers.iter();
        let headers = headers.filter(|(name, _)| !public.contains(&&*name.to_ascii_lowercase()));
        secrets.extend(headers.map(|(_, value)| value.clone()));
        secrets.push(self.cloud_token.expose_text().into_owned());
        let token = match self.shown_token.trim() {
            "" => self.token.expose_text().into_owned(),
            shown => shown.to_owned(),
        };
        Mask::new(&token, secrets)
    }
}

/// A YAML map of texts; other scalars become texts, as they are written (NC-PROV-027).
fn read_headers(text: &[u8]) -> Result<BTreeMap<String, String>, ConfigError> {
    use flux_yaml::Value as V;
    // The parser's own text may quote a header.
    let refused = || ConfigError::Headers("it is not a YAML map of strings".to_owned());
    match flux_yaml::sigs::from_str_as_written(text).map_err(|_| refused())? {
        V::Null => Ok(BTreeMap::new()),
        V::Map(members) => members
            .into_iter()
            .map(|(key, value)| match value {
                V::String(text) => Ok((key, text)),
                V::Null => Ok((key, String::new())),
                V::Bool(value) => Ok((key, value.to_string())),
                V::Int(value) => Ok((key, value.to_string())),
                V::Uint(value) => Ok((key, value.to_string())),
                V::Float(value) => Ok((key, value.to_string())),
                V::Seq(_) | V::Map(_) => Err(refused()),
            })
            .collect(),
        _ => Err(refused()),
    }
}

#[cfg(test)]
pub(super) mod tests;
