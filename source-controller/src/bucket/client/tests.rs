//! Tests of the credentials that a Secret gives, and of the token services that a provider has.

use flux_api::meta::LocalObjectReference;
use k8s_openapi::ByteString;

use super::*;

fn secret(data: &[(&str, &str)]) -> KubeSecret {
    let mut secret = KubeSecret::default();
    secret.metadata.name = Some("name".to_owned());
    let data = data.iter();
    let data = data.map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    secret.data = Some(data.collect());
    secret
}

fn sts(provider: BucketSTSProvider) -> BucketSTS {
    BucketSTS {
        provider,
        endpoint: "https://sts.example.com".to_owned(),
        ..BucketSTS::default()
    }
}

// SC-BKT-024: objects that are older than the rules of admission
#[test]
fn each_provider_has_its_token_service() {
    use {BucketProvider as P, BucketSTSProvider as S};
    let reference = || {
        Some(LocalObjectReference {
            name: "a".to_owned(),
        })
    };
    let with_secret = BucketSTS {
        secret_ref: reference(),
        ..sts(S::Aws)
    };
    let with_certificate = BucketSTS {
        cert_secret_ref: reference(),
        ..sts(S::Aws)
    };
    let malformed = BucketSTS {
        endpoint: "https://u:S3CRET@h:port".to_owned(),
        ..sts(S::Ldap)
    };
    for (provider, sts, want) in [
        (P::Aws, sts(S::Aws), None),
        (P::Generic, sts(S::Ldap), None),
        (
            P::Aws,
            sts(S::Ldap),
            Some("STS provider 'ldap' is not supported for 'aws' bucket provider"),
        ),
        (
            P::Generic,
            sts(S::Aws),
            Some("STS provider 'aws' is not supported for 'generic' bucket provider"),
        ),
        (
            P::Aws,
            with_secret,
            Some("spec.sts.secretRef is not required for the 'aws' STS provider"),
        ),
        (
            P::Aws,
            with_certificate,
            Some("spec.sts.certSecretRef is not required for the 'aws' STS provider"),
        ),
        (
            P::Other("x".to_owned()),
            sts(S::Aws),
            Some("STS configuration is not supported for 'x' bucket provider"),
        ),
        (
            P::Generic,
            malformed,
            Some("failed to parse STS endpoint 'https://***@h:port': it is not a URL"),
        ),
    ] {
        let checked = check_sts(&provider, &sts).map_err(|error| error.to_string());
        assert_eq!(checked.err().as_deref(), want);
    }
}

// SC-BKT-002
#[test]
fn a_spec_without_a_provider_is_generic() {
    let spec = |provider: Option<&str>| BucketSpec {
        provider: provider.map(Into::into),
        ..BucketSpec::default()
    };
    assert_eq!(provider(&spec(None)), BucketProvider::Generic);
    assert_eq!(provider(&spec(Some(""))), BucketProvider::Generic);
    assert_eq!(provider(&spec(Some("azure"))), BucketProvider::Azure);
}

// SC-AUTH-060
#[test]
fn empty_access_keys_are_none() {
    let is_signed = |data: &[(&str, &str)]| matches!(keys(&secret(data)), S3Credentials::Keys(_));
    assert!(is_signed(&[("accesskey", "a"), ("secretkey", "b")]));
    assert!(!is_signed(&[("accesskey", ""), ("secretkey", "b")]));
    assert!(!is_signed(&[("accesskey", "a"), ("secretkey", "")]));
}

// SC-AUTH-065, SC-AUTH-066
#[test]
fn the_credentials_for_azure_have_an_order() {
    let found = |data: &[(&str, &str)]| {
        let mut endpoint = "https://acc.blob.core.windows.net".to_owned();
        let secret = secret(data);
        if let Ok(Some(credential)) = principal(&secret) {
            return match credential {
                Credential::ClientSecret { authority, .. } => {
                    format!("secret {}", authority.unwrap_or_default())
                }
                Credential::ClientCertificate { .. } => "certificate".to_owned(),
                Credential::ManagedIdentity { client } => {
                    format!("managed {}", client.unwrap_or_default())
                }
            };
        }
        match of_azure_secret(&secret, &Access::default(), &mut endpoint) {
            Ok(AzureCredentials::Anonymous) => format!("anonymous {endpoint}"),
            Ok(AzureCredentials::SharedKey { account, .. }) => format!("key of {account}"),
            Ok(AzureCredentials::Token(_)) => "token".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    let (tenant, client) = (("tenantId", "t"), ("clientId", "c"));
    let (key, sas) = (("accountKey", "a2V5"), ("sasKey", "?sig=x"));
    let host = ("authorityHost", "https://login.example.com");
    for (data, want) in [
        (
            &[tenant, client, ("clientSecret", "s"), key, sas, host][..],
            "secret https://login.example.com",
        ),
        (&[tenant, client, ("clientSecret", ""), key], "managed c"),
        (&[client, key, sas], "managed c"),
        (&[tenant, key, sas], "key of acc"),
        (&[sas], "anonymous https://acc.blob.core.windows.net/?sig=x"),
        (&[host], "anonymous https://acc.blob.core.windows.net"),
        (
            &[tenant],
            "invalid 'name' secret data: requires a 'clientId' or 'accountKey' field, a combination of 'tenantId', 'clientId' and 'clientSecret', or 'tenantId', 'clientId' and 'clientCertificate'",
        ),
    ] {
        assert_eq!(found(data), want);
    }
    let certificate = secret(&[tenant, client, ("clientCertificate", "no PEM")]);
    assert!(principal(&certificate).is_err());
}
