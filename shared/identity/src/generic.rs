//! The annotations by which a ServiceAccount is itself the identity at a registry (RT-WID-031).

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt as _;

use crate::error::CloudError;

const PREFIX: &str = "credential.auth.fluxcd.io";
/// The only provider: the API server.
const KUBERNETES: &str = "kubernetes";
/// The only type.
const JWT: &str = "jwt";
/// The shortest and longest lifetime that is asked for, in seconds: the API server's own minimum, and a day.
const SECONDS: std::ops::RangeInclusive<i64> = 600..=86400;
/// The most audiences.
const MAX_AUDIENCES: usize = 16;

/// What the annotations say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generic {
    /// Who the token is for.
    pub(crate) audiences: Vec<String>,
    /// The user that the token is the password of; without it the token is sent as it is.
    pub(crate) username: Option<String>,
    /// The lifetime of the token.
    pub(crate) seconds: Option<i64>,
}

impl Generic {
    /// The token of a ServiceAccount for these audiences, whatever its annotations say.
    pub(crate) fn for_audiences(audiences: &[String]) -> Self {
        Self {
            audiences: audiences.to_vec(),
            ..Self::default()
        }
    }

    /// Reads the annotations; `None` if the ServiceAccount has none. Without an audience it is the registry's host.
    ///
    /// # Errors
    /// One of them has a value that it cannot have.
    pub(crate) fn of_annotations(
        account: &ServiceAccount,
        host: &str,
    ) -> Result<Option<Self>, CloudError> {
        let annotations = account.annotations();
        let get = |name: &str| {
            let value = annotations.get(&format!("{PREFIX}/{name}"));
            value
                .map(|value| value.trim())
                .filter(|value| !value.is_empty())
        };
        let invalid =
            |name: &'static str, value: &str, expected: &'static str| CloudError::Annotation {
                name,
                value: value.chars().take(200).collect(),
                expected,
            };
        match get("provider") {
            None => return Ok(None),
            Some(KUBERNETES) => {}
            Some(other) => return Err(invalid("provider", other, "must be 'kubernetes'")),
        }
        if let Some(kind) = get("type").filter(|kind| *kind != JWT) {
            return Err(invalid("type", kind, "must be 'jwt'"));
        }
        let listed = get("audiences").unwrap_or_default();
        let mut audiences: Vec<String> = listed
            .split([',', '\n'])
            .map(str::trim)
            .filter(|audience| !audience.is_empty())
            .map(str::to_owned)
            .collect();
        if audiences.len() > MAX_AUDIENCES {
            return Err(invalid("audiences", listed, "there may be sixteen"));
        }
        if audiences.is_empty() {
            audiences.push(host.to_owned());
        }
        let seconds = match get("expiration") {
            None => None,
            Some(text) => {
                let seconds = flux_runtime::flags::parse_duration(text).ok();
                let seconds = seconds.and_then(|life| i64::try_from(life.as_secs()).ok());
                let seconds = seconds.filter(|seconds| SECONDS.contains(seconds));
                let expected = "must be a duration from 10m to 24h";
                Some(seconds.ok_or_else(|| invalid("expiration", text, expected))?)
            }
        };
        Ok(Some(Self {
            audiences,
            username: get("username").map(str::to_owned),
            seconds,
        }))
    }

    /// The parts of cache keys (RT-WID-032).
    pub(crate) fn key_parts(&self) -> Vec<(&'static str, String)> {
        let seconds = self.seconds.map(|seconds| seconds.to_string());
        vec![
            ("credential provider", KUBERNETES.to_owned()),
            ("credential type", JWT.to_owned()),
            ("user name", self.username.clone().unwrap_or_default()),
            ("expiration", seconds.unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(annotations: &[(&str, &str)]) -> ServiceAccount {
        let mut account = ServiceAccount::default();
        let named =
            |(name, value): &(&str, &str)| (format!("{PREFIX}/{name}"), (*value).to_owned());
        account.metadata.annotations = Some(annotations.iter().map(named).collect());
        account
    }

    fn read(annotations: &[(&str, &str)]) -> Result<Option<Generic>, String> {
        Generic::of_annotations(&account(annotations), "registry.example.com")
            .map_err(|error| error.to_string())
    }

    // RT-WID-031, RT-WID-004
    #[test]
    fn annotations_are_read() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("username", "flux")]), Ok(None));
        let plain = read(&[("provider", "kubernetes")]).unwrap().unwrap();
        assert_eq!(
            plain,
            Generic::for_audiences(&["registry.example.com".into()])
        );
        let full = read(&[
            ("provider", "kubernetes"),
            ("type", "jwt"),
            ("username", "flux"),
            ("audiences", "a, b"),
            ("expiration", "20m"),
        ]);
        let want = Generic {
            audiences: vec!["a".into(), "b".into()],
            username: Some("flux".into()),
            seconds: Some(1200),
        };
        assert_eq!(full, Ok(Some(want)));
        for (name, value, said) in [
            ("provider", "spiffe", "must be 'kubernetes'"),
            ("type", "x509", "must be 'jwt'"),
            ("expiration", "1m", "must be a duration from 10m to 24h"),
            ("expiration", "long", "must be a duration from 10m to 24h"),
        ] {
            let error = read(&[("provider", "kubernetes"), (name, value)]).unwrap_err();
            let want =
                format!("invalid credential.auth.fluxcd.io/{name} annotation: '{value}'. {said}");
            assert_eq!(error, want);
        }
    }

    // RT-WID-032
    #[test]
    fn each_annotation_changes_the_cache_key() {
        let base = [("provider", "kubernetes"), ("username", "a")];
        let parts = |annotations: &[(&str, &str)]| read(annotations).unwrap().unwrap().key_parts();
        let of_base = parts(&base);
        assert_ne!(of_base, parts(&[base[0], ("username", "b")]));
        assert_ne!(of_base, parts(&[base[0]]));
        assert_ne!(of_base, parts(&[base[0], base[1], ("expiration", "10m")]));
    }
}
