//! The client of a Bucket's store, with the credentials of its Secret.

use flux_api::source::{BucketProvider, BucketSTS, BucketSTSProvider, BucketSpec};
use flux_bucket::{
    Azure, AzureCredentials, AzureOptions, ClientOptions, EMULATOR, Google, GoogleCredentials,
    GoogleOptions, Ldap, S3, S3Credentials, S3Options, Store, TokenSource, account_of, with_sas,
};
use flux_cloud::azure::{Certificate, Credential, SCOPE_BLOB_STORAGE};
use flux_cloud::gcp::ServiceAccountKey;
use flux_cloud::{CloudClient, aws};
use flux_golang::url::Url;
use flux_http::Secret;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::ResourceExt as _;

use super::access::Access;
use super::failure::{CredentialFault, StepError};
use super::identity::Identity;

/// The provider of a spec, by default any that speaks the protocol of S3 (SC-BKT-002).
fn provider(spec: &BucketSpec) -> BucketProvider {
    match &spec.provider {
        None => BucketProvider::Generic,
        Some(BucketProvider::Other(text)) if text.is_empty() => BucketProvider::Generic,
        Some(provider) => provider.clone(),
    }
}

/// A client for the bucket of this spec (SC-BKT-020, SC-BKT-023 to SC-BKT-025, SC-BKT-060 to SC-BKT-066).
pub(super) async fn store(
    spec: &BucketSpec,
    access: Access,
    identity: Identity,
) -> Result<Store, StepError> {
    match provider(spec) {
        BucketProvider::Gcp => google(spec, access, identity),
        BucketProvider::Azure => azure(spec, access, identity),
        provider => s3(spec, &provider, access, identity).await,
    }
}

async fn s3(
    spec: &BucketSpec,
    provider: &BucketProvider,
    access: Access,
    identity: Identity,
) -> Result<Store, StepError> {
    let secret = access.secret.as_deref();
    // SC-AUTH-060
    if let Some(secret) = secret
        && ["accesskey", "secretkey"]
            .iter()
            .any(|key| get(secret, key).is_none())
    {
        return Err(invalid(
            secret,
            "required fields 'accesskey' and 'secretkey'",
        ));
    }
    let sts = spec.sts.as_ref();
    if let Some(sts) = sts {
        check_sts(provider, sts)?;
        let ldap = sts.provider == BucketSTSProvider::Ldap;
        if let Some(secret) = access.sts_secret.as_deref().filter(|_| ldap)
            && ["username", "password"]
                .iter()
                .any(|key| get(secret, key).is_none_or(<[u8]>::is_empty))
        {
            // SC-AUTH-062
            let why = "for 'ldap' STS provider: required fields username, password";
            return Err(StepError::SecretData(format!(
                "invalid '{}' secret data {why}",
                secret.name_any()
            )));
        }
    }
    let credentials = match (secret, provider, sts) {
        (Some(secret), ..) => keys(secret),
        (None, BucketProvider::Aws, _) => {
            let endpoint = sts.map(|sts| sts.endpoint.as_str());
            let keys = identity.aws(spec.region.as_deref(), endpoint).await;
            S3Credentials::Keys(keys.map_err(StepError::Aws)?)
        }
        (None, BucketProvider::Generic, Some(sts)) if sts.provider == BucketSTSProvider::Ldap => {
            S3Credentials::Ldap(Box::new(ldap(sts, &access)?))
        }
        (None, ..) => S3Credentials::Anonymous,
    };
    let options = S3Options {
        endpoint: spec.endpoint.clone(),
        bucket: spec.bucket_name.clone(),
        secure: !spec.insecure,
        region: spec.region.clone().unwrap_or_default(),
        credentials,
        http: ClientOptions {
            tls: access.tls, // of no effect over HTTP (SC-BKT-063)
            proxy: access.proxy,
            ..ClientOptions::default()
        },
    };
    Ok(Store::S3(S3::new(options).map_err(StepError::Client)?))
}

/// The access keys of a Secret; empty ones count as absent (SC-AUTH-060).
fn keys(secret: &KubeSecret) -> S3Credentials {
    let (id, key) = (
        text(secret, "accesskey").unwrap_or_default(),
        get(secret, "secretkey").unwrap_or_default(),
    );
    if id.is_empty() || key.is_empty() {
        return S3Credentials::Anonymous;
    }
    S3Credentials::Keys(aws::Credentials {
        access_key_id: id,
        secret_access_key: Secret::new(key),
        session_token: None,
        expires: None,
    })
}

/// Checks that the token service is one of this provider. Admission does, too, but not for objects that are older than its rules
/// (SC-BKT-024).
fn check_sts(provider: &BucketProvider, sts: &BucketSTS) -> Result<(), StepError> {
    use {BucketProvider as P, BucketSTSProvider as S};
    let name = sts.provider.as_str();
    let problem = match (provider, &sts.provider) {
        (P::Aws, S::Aws) if sts.secret_ref.is_some() => {
            format!("spec.sts.secretRef is not required for the '{name}' STS provider")
        }
        (P::Aws, S::Aws) if sts.cert_secret_ref.is_some() => {
            format!("spec.sts.certSecretRef is not required for the '{name}' STS provider")
        }
        (P::Aws, S::Aws) | (P::Generic, S::Ldap) => String::new(),
        (P::Aws | P::Generic, _) => {
            format!("STS provider '{name}' is not supported for '{provider}' bucket provider")
        }
        _ => format!("STS configuration is not supported for '{provider}' bucket provider"),
    };
    if !problem.is_empty() {
        return Err(StepError::Sts(problem));
    }
    let shown = flux_http::shown_text(&sts.endpoint);
    match Url::parse(sts.endpoint.as_bytes()) {
        Ok(_) => Ok(()),
        Err(why) => Err(StepError::StsEndpoint {
            why: if shown == sts.endpoint {
                why
            } else {
                "it is not a URL".to_owned() // Go quotes it, with its password
            },
            endpoint: shown,
        }),
    }
}

/// The token service of MinIO, with its own certificates and the object's proxy (SC-AUTH-062).
fn ldap(sts: &BucketSTS, access: &Access) -> Result<Ldap, StepError> {
    let http = ClientOptions {
        tls: access.sts_tls.clone(),
        proxy: access.proxy.clone(),
        ..ClientOptions::default()
    };
    let secret = access.sts_secret.as_deref();
    let username = secret.and_then(|secret| text(secret, "username"));
    let password = secret.and_then(|secret| get(secret, "password"));
    Ok(Ldap {
        endpoint: sts.endpoint.clone(),
        username: username.unwrap_or_default(),
        password: Secret::new(password.unwrap_or_default()),
        http: http
            .build()
            .map_err(|error| StepError::Client(error.into()))?,
    })
}

/// Google's store: certificates are ignored (SC-BKT-063), the endpoint, too (SC-BKT-064).
fn google(spec: &BucketSpec, access: Access, identity: Identity) -> Result<Store, StepError> {
    let emulator = std::env::var(EMULATOR).ok();
    let credentials = match access.secret.as_deref() {
        Some(secret) => {
            // SC-AUTH-064
            let key = get(secret, "serviceaccount")
                .ok_or_else(|| invalid(secret, "required fields 'serviceaccount'"))?;
            let key = ServiceAccountKey::parse(key).map_err(StepError::ServiceAccount)?;
            let cloud = cloud(&access)?;
            GoogleCredentials::Token(token(move || {
                let (key, cloud) = (key.clone(), cloud.clone());
                async move { Ok(key.token(&cloud).await?.value) }
            }))
        }
        None if emulator.as_deref().is_some_and(|host| !host.is_empty()) => {
            GoogleCredentials::Anonymous // as Google's clients do
        }
        None => GoogleCredentials::Token(identity.google()),
    };
    let options = GoogleOptions {
        bucket: spec.bucket_name.clone(),
        emulator,
        credentials,
        http: ClientOptions {
            proxy: access.proxy,
            ..ClientOptions::default()
        },
    };
    let google = Google::new(options).map_err(StepError::Client)?;
    Ok(Store::Google(google))
}

/// Azure's store: certificates are ignored (SC-BKT-063).
fn azure(spec: &BucketSpec, access: Access, identity: Identity) -> Result<Store, StepError> {
    let mut endpoint = spec.endpoint.clone();
    let credentials = match access.secret.as_deref() {
        None => AzureCredentials::Token(identity.azure()),
        Some(secret) => of_azure_secret(secret, &access, &mut endpoint)?,
    };
    let options = AzureOptions {
        endpoint,
        container: spec.bucket_name.clone(),
        credentials,
        http: ClientOptions {
            proxy: access.proxy,
            ..ClientOptions::default()
        },
    };
    Ok(Store::Azure(
        Azure::new(options).map_err(StepError::Client)?,
    ))
}

/// The credentials of a Secret for Azure, in upstream's order (SC-AUTH-065, SC-AUTH-066). A SAS token becomes part of the
/// endpoint.
fn of_azure_secret(
    secret: &KubeSecret,
    access: &Access,
    endpoint: &mut String,
) -> Result<AzureCredentials, StepError> {
    let has = |key: &str| get(secret, key).is_some();
    if !["clientId", "accountKey", "sasKey", "authorityHost"]
        .iter()
        .any(|key| has(key))
    {
        return Err(invalid(
            secret,
            "requires a 'clientId' or 'accountKey' field, a combination of 'tenantId', 'clientId' and 'clientSecret', or 'tenantId', 'clientId' and 'clientCertificate'",
        ));
    }
    let fault = |fault: CredentialFault| StepError::Credential {
        secret: secret.name_any(),
        fault: Box::new(fault),
    };
    if let Some(credential) = principal(secret).map_err(|error| fault(error.into()))? {
        let cloud = cloud(access)?;
        return Ok(AzureCredentials::Token(token(move || {
            let (credential, cloud) = (credential.clone(), cloud.clone());
            async move {
                let token = credential.token(&cloud, SCOPE_BLOB_STORAGE).await;
                Ok(token?.value)
            }
        })));
    }
    if let Some(key) = get(secret, "accountKey") {
        let account = account_of(endpoint);
        return Ok(AzureCredentials::SharedKey {
            account: account.map_err(|error| fault(CredentialFault::Account(error)))?,
            key: Secret::new(key),
        });
    }
    if let Some(key) = get(secret, "sasKey") {
        let merged = with_sas(endpoint, &Secret::new(key));
        *endpoint = merged.map_err(StepError::Sas)?;
    }
    Ok(AzureCredentials::Anonymous)
}

/// The service principal or managed identity of a Secret.
fn principal(secret: &KubeSecret) -> Result<Option<Credential>, flux_cloud::azure::Error> {
    let Some(client) = text(secret, "clientId") else {
        return Ok(None);
    };
    let authority = text(secret, "authorityHost");
    let given = |key: &str| get(secret, key).filter(|value| !value.is_empty());
    if let Some(tenant) = text(secret, "tenantId") {
        if let Some(value) = given("clientSecret") {
            return Ok(Some(Credential::ClientSecret {
                tenant,
                client,
                secret: Secret::new(value),
                authority,
            }));
        }
        if let Some(pem) = given("clientCertificate") {
            let password = get(secret, "clientCertificatePassword").map(Secret::new);
            let send = text(secret, "clientCertificateSendChain");
            let send = send.is_some_and(|send| send == "1" || send.to_lowercase() == "true");
            let certificate = Certificate::new(&Secret::new(pem), password.as_ref(), send)?;
            return Ok(Some(Credential::ClientCertificate {
                tenant,
                client,
                certificate: Box::new(certificate),
                authority,
            }));
        }
    }
    Ok(Some(Credential::ManagedIdentity {
        client: Some(client),
    }))
}

/// The client for requests for tokens, which leave through the object's proxy (SC-BKT-066).
fn cloud(access: &Access) -> Result<CloudClient, StepError> {
    CloudClient::new(&access.proxy).map_err(|error| StepError::Client(error.into()))
}

/// A source of tokens that a function gets.
fn token<F>(fetch: impl Fn() -> F + Send + Sync + 'static) -> TokenSource
where
    F: Future<Output = Result<Secret, flux_bucket::BoxError>> + Send + 'static,
{
    TokenSource::new(move || Box::pin(fetch()))
}

fn get<'s>(secret: &'s KubeSecret, key: &str) -> Option<&'s [u8]> {
    let value = secret.data.as_ref()?.get(key)?;
    Some(&value.0)
}

fn text(secret: &KubeSecret, key: &str) -> Option<String> {
    get(secret, key).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn invalid(secret: &KubeSecret, why: &str) -> StepError {
    StepError::SecretData(format!(
        "invalid '{}' secret data: {why}",
        secret.name_any()
    ))
}

#[cfg(test)]
mod tests;
