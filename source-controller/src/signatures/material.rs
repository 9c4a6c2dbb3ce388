//! What signatures are verified with: read from the spec and its Secrets.

use std::sync::Arc;

use flux_api::meta::LocalObjectReference;
use flux_api::source::{
    HelmChartVerification, OCIRepositoryVerification, OCIVerificationProvider, OIDCIdentityMatch,
};
use flux_references::secret_data;
use flux_signature::cosign::{Identity, TrustedRoot};
use flux_signature::notation::Policy;
use k8s_openapi::api::core::v1::Secret;

use super::{Artifact, SignatureFault, TrustedRootFault, cosign, notation};
use crate::secrets::Secrets;

/// The endings of data keys with public keys, and with certificates (SC-VER-030, SC-VER-051).
const PUBLIC_KEY: &str = ".pub";
const CERTIFICATES: [&str; 2] = [".crt", ".pem"];
/// The data keys of a trusted root and of a trust policy (SC-VER-036, SC-VER-050).
const TRUSTED_ROOT: &str = "trusted_root.json";
const TRUST_POLICY: &str = "trustpolicy.json";

/// The maximum number of identities of an object, each with two expressions.
const MAX_IDENTITIES: usize = 64;

/// What the spec of an object trusts.
pub(crate) struct Trust<'s> {
    provider: &'s OCIVerificationProvider,
    secret: Option<&'s LocalObjectReference>,
    trusted_root: Option<&'s LocalObjectReference>,
    identities: &'s [OIDCIdentityMatch],
    /// What messages call the artifact or the object.
    name: &'s str,
    /// Whether a Secret without public keys is an error of its own.
    needs_keys: bool,
}

impl<'s> Trust<'s> {
    /// That of an OCIRepository, whose artifact is `reference`.
    pub(crate) fn of_repository(verify: &'s OCIRepositoryVerification, reference: &'s str) -> Self {
        Self {
            provider: &verify.provider,
            secret: verify.secret_ref.as_ref(),
            trusted_root: verify.trusted_root_secret_ref.as_ref(),
            identities: &verify.match_oidc_identity,
            name: reference,
            needs_keys: false,
        }
    }

    /// That of the HelmChart `name` (SC-HCHART-005, SC-VER-032).
    pub(crate) fn of_chart(verify: &'s HelmChartVerification, name: &'s str) -> Self {
        Self {
            provider: &verify.provider,
            secret: verify.secret_ref.as_ref(),
            trusted_root: None,
            identities: &verify.match_oidc_identity,
            name,
            needs_keys: true,
        }
    }
}

/// What is trusted.
pub(crate) enum Material {
    /// Public keys.
    Keys(Arc<flux_signature::cosign::Verifier>),
    /// Identities of Sigstore.
    Keyless(Arc<flux_signature::cosign::Verifier>),
    /// A trust policy with its certificates.
    Policy(Arc<flux_signature::notation::Verifier>),
}

impl Material {
    /// Reads what the spec trusts.
    pub(crate) async fn read(
        trust: &Trust<'_>,
        namespace: &str,
        secrets: &Secrets,
    ) -> Result<Self, SignatureFault> {
        match trust.provider {
            OCIVerificationProvider::Cosign => {
                let root = match trust.trusted_root {
                    Some(secret) => Some(trusted_root(secret, namespace, secrets).await?),
                    None => None,
                };
                match trust.secret {
                    Some(secret) => {
                        let read = secrets.read(namespace, &secret.name).await;
                        let absent = if trust.needs_keys {
                            SignatureFault::NoKeys(format!("{namespace}/{}", secret.name))
                        } else {
                            SignatureFault::NoMatch(trust.name.to_owned())
                        };
                        keys(&*read.map_err(SignatureFault::Secret)?, absent)
                    }
                    None => keyless(trust.identities, root.as_deref()),
                }
            }
            OCIVerificationProvider::Notation => {
                let Some(secret) = trust.secret else {
                    return Err(SignatureFault::NoSecret(trust.name.to_owned()));
                };
                let read = secrets.read(namespace, &secret.name).await;
                policy(
                    &*read.map_err(SignatureFault::Secret)?,
                    namespace,
                    &secret.name,
                )
            }
            OCIVerificationProvider::Other(name) => Err(SignatureFault::Provider(name.clone())),
        }
    }

    /// The fingerprint of what is trusted (SC-VER-060).
    pub(crate) fn fingerprint(&self) -> String {
        match self {
            Self::Keys(verifier) | Self::Keyless(verifier) => verifier.fingerprint(),
            Self::Policy(verifier) => verifier.fingerprint().to_owned(),
        }
    }

    /// Verifies the artifact. `false` if the policy lets it pass without (SC-VER-054).
    pub(crate) async fn verify(&self, artifact: &Artifact<'_>) -> Result<bool, SignatureFault> {
        match self {
            Self::Keys(verifier) => match cosign::verify(verifier, artifact).await {
                Err(SignatureFault::Cosign(error)) => {
                    let digest = artifact.digest;
                    tracing::info!(%digest, "no signature by a key of the Secret: {error}");
                    Err(SignatureFault::NoMatch(artifact.reference.to_owned())) // SC-VER-031
                }
                other => other.map(|()| true),
            },
            Self::Keyless(verifier) => cosign::verify(verifier, artifact).await.map(|()| true),
            Self::Policy(verifier) => notation::verify(verifier, artifact).await,
        }
    }
}

/// The values of a Secret's data keys with one of these endings.
fn files<'s>(secret: &'s Secret, endings: &'s [&str]) -> impl Iterator<Item = &'s [u8]> {
    let data = secret.data.iter().flatten();
    data.filter(|(key, _)| endings.iter().any(|ending| key.ends_with(ending)))
        .map(|(_, value)| value.0.as_slice())
}

/// Public keys. Without any, nothing can match, and the registry is not asked: that is the error `absent` (SC-VER-030 to
/// SC-VER-032).
fn keys(secret: &Secret, absent: SignatureFault) -> Result<Material, SignatureFault> {
    let mut keys = files(secret, &[PUBLIC_KEY]).peekable();
    if keys.peek().is_none() {
        return Err(absent);
    }
    let verifier = flux_signature::cosign::Verifier::keyed(keys);
    let verifier = verifier.map_err(SignatureFault::Key)?;
    Ok(Material::Keys(Arc::new(verifier)))
}

/// The document of a trusted root (SC-VER-036).
async fn trusted_root(
    reference: &LocalObjectReference,
    namespace: &str,
    secrets: &Secrets,
) -> Result<Vec<u8>, SignatureFault> {
    let name = || format!("{namespace}/{}", reference.name);
    let failed = |source| SignatureFault::TrustedRootSecret {
        secret: name(),
        source,
    };
    let secret = secrets.read(namespace, &reference.name).await;
    let secret = secret.map_err(|error| failed(TrustedRootFault::Read(error)))?;
    let document = secret_data(&secret, namespace, &reference.name).get(TRUSTED_ROOT);
    match document {
        Some(document) => Ok(document.to_vec()),
        None => Err(failed(TrustedRootFault::Missing {
            key: TRUSTED_ROOT,
            secret: name(),
        })),
    }
}

/// Identities, of Sigstore's public instance unless there is a trusted root (SC-VER-034 to SC-VER-036).
fn keyless(
    identities: &[OIDCIdentityMatch],
    root: Option<&[u8]>,
) -> Result<Material, SignatureFault> {
    let root = match root {
        None => TrustedRoot::public_good(),
        Some(document) => {
            let root = TrustedRoot::parse(document).map_err(SignatureFault::TrustedRoot)?;
            root.rekor_url().map_err(SignatureFault::RekorUrl)?;
            Arc::new(root)
        }
    };
    if identities.len() > MAX_IDENTITIES {
        return Err(SignatureFault::Identities(MAX_IDENTITIES));
    }
    let identities = identities.iter();
    let identities = identities.map(|one| Identity::new(&one.issuer, &one.subject));
    let identities = identities
        .collect::<Result<_, _>>()
        .map_err(SignatureFault::Identity)?;
    let verifier = flux_signature::cosign::Verifier::keyless(root, identities);
    Ok(Material::Keyless(Arc::new(verifier)))
}

/// A trust policy with its certificates (SC-VER-050 to SC-VER-052).
fn policy(secret: &Secret, namespace: &str, name: &str) -> Result<Material, SignatureFault> {
    let full_name = || format!("{namespace}/{name}");
    let document = secret_data(secret, namespace, name).get(TRUST_POLICY);
    let document = document.ok_or_else(|| SignatureFault::KeyMissing {
        key: TRUST_POLICY,
        secret: full_name(),
    })?;
    let policy = Policy::parse(document).map_err(SignatureFault::Policy)?;
    let mut certificates = files(secret, &CERTIFICATES).peekable();
    if certificates.peek().is_none() {
        return Err(SignatureFault::NoCertificates(full_name()));
    }
    for statement in policy.ignored() {
        tracing::info!(
            secret = full_name(),
            statement,
            "trust stores and identities of a statement that skips verification are ignored"
        );
    }
    let verifier = flux_signature::notation::Verifier::new(policy, certificates);
    Ok(Material::Policy(Arc::new(verifier)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----";
    const SKIP: &str = r#"{"version": "1.0", "trustPolicies": [{
        "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "skip"}}]}"#;

    fn secret(data: &[(&str, &str)]) -> Secret {
        let value = |text: &str| ByteString(text.as_bytes().to_vec());
        let data = data.iter().map(|(key, text)| ((*key).into(), value(text)));
        Secret {
            data: Some(data.collect::<BTreeMap<_, _>>()),
            ..Secret::default()
        }
    }

    fn outcome(read: Result<Material, SignatureFault>) -> Result<String, String> {
        read.map(|material| material.fingerprint())
            .map_err(|error| flux_runtime::outcome::chain(&error))
    }

    // SC-VER-030, SC-VER-031, SC-VER-060
    #[test]
    fn keys_of_a_secret() {
        let absent = || SignatureFault::NoMatch("r.io/app@sha256:00".to_owned());
        let read = |data: &[(&str, &str)]| outcome(keys(&secret(data), absent()));
        let one = read(&[("cosign.pub", KEY)]).unwrap();
        assert_eq!(read(&[("b.pub", KEY), ("cosign.key", "x")]).unwrap(), one);
        let none = "no matching signatures were found for 'r.io/app@sha256:00'";
        assert_eq!(read(&[("key", KEY)]).unwrap_err(), none);
        assert_eq!(
            read(&[("a.pub", KEY), ("b.pub", "x")]).unwrap_err(),
            "PEM decoding failed"
        );
    }

    // SC-VER-034, SC-VER-036
    #[test]
    fn keyless_settings() {
        let verify = |issuer: &str| {
            [OIDCIdentityMatch {
                issuer: issuer.to_owned(),
                subject: String::new(),
            }]
        };
        assert!(outcome(keyless(&verify("^https"), None)).is_ok());
        let many = vec![verify(""); 65].concat();
        assert_eq!(
            outcome(keyless(&many, None)).unwrap_err(),
            "more than 64 identities"
        );
        assert!(outcome(keyless(&many[1..], None)).is_ok());
        let error = outcome(keyless(&verify("["), None)).unwrap_err();
        assert!(
            error.starts_with("malformed issuer in identity: [ :"),
            "{error}"
        );
        let root = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
        let empty = format!(r#"{{"mediaType": "{root}"}}"#);
        for (document, expected) in [
            ("{", "unable to parse trusted root: "),
            (
                &*empty,
                "unable to extract Rekor URL from trusted root: no transparency log entries",
            ),
        ] {
            let read = keyless(&verify(""), Some(document.as_bytes()));
            let error = outcome(read).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    // SC-VER-050, SC-VER-051, SC-VER-060
    #[test]
    fn policies_of_a_secret() {
        let read = |data: &[(&str, &str)]| outcome(policy(&secret(data), "ns", "name"));
        let one = read(&[(TRUST_POLICY, SKIP), ("a.crt", "x")]).unwrap();
        assert_eq!(read(&[(TRUST_POLICY, SKIP), ("b.pem", "x")]).unwrap(), one);
        assert_ne!(read(&[(TRUST_POLICY, SKIP), ("a.crt", "y")]).unwrap(), one);
        for (data, expected) in [
            (
                &[("a.crt", "x")][..],
                "'trustpolicy.json' not found in secret 'ns/name'",
            ),
            (
                &[(TRUST_POLICY, "{"), ("a.crt", "x")],
                "error occurred while parsing trustpolicy.json: ",
            ),
            (
                &[(TRUST_POLICY, SKIP), ("a.pub", "x")],
                "no certificates found in secret 'ns/name'",
            ),
        ] {
            let error = read(data).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
