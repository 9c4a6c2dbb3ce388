//! AWS KMS (KC-SOPS-041).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_cloud::{Environment, aws};
use flux_errors::chain;
use flux_golang::encoding::decode_base64;
use serde_json::{Value, json};
use url::Url;

use super::services::{Failure, Services};

/// The longest name of a session at STS.
const MAX_SESSION: usize = 64;

/// Asks KMS for a data key, as the role if there is one.
pub(super) async fn decrypt(
    services: &Services<'_>,
    arn: &str,
    role: &str,
    context: &BTreeMap<String, String>,
    encrypted: &str,
) -> Result<Vec<u8>, Failure> {
    let blob = decode_base64(encrypted.as_bytes()).map_err(|error| {
        Failure::once(format!("error base64-decoding encrypted data key: {error}"))
    })?;
    let region = region(arn);
    let region = region.ok_or_else(|| Failure::once(format!("no valid ARN found in '{arn}'")))?;
    let identity = services.identity("decrypt_with_aws")?;
    let cloud = identity.cloud();
    let environment = &services.process.environment;
    let mut credentials = match &services.keys.aws {
        Some(credentials)
            if credentials.access_key_id.is_empty() || credentials.secret_access_key.is_empty() =>
        {
            return Err(no_credentials("static credentials are empty"));
        }
        Some(credentials) => credentials.clone(),
        None => {
            let credentials = identity.aws_credentials(Some(region), None).await;
            credentials.map_err(|error| no_credentials(&chain(&error)))?
        }
    };
    if !role.is_empty() {
        let endpoint = configured(environment, "STS");
        let sts = aws::Sts {
            region,
            endpoint: endpoint.as_deref(),
        };
        let session = session_name(environment);
        let assumed = aws::assume_role(cloud, &sts, &credentials, role, &session, None).await;
        credentials = assumed.map_err(|error| {
            Failure::lasting(format!("failed to assume role '{role}': {}", chain(&error)))
        })?;
    }
    let failed = |text: String| format!("failed to decrypt sops data key with AWS KMS: {text}");
    let url = match configured(environment, "KMS") {
        Some(url) => Url::parse(&url).map_err(|_| "the endpoint of KMS is no URL".to_owned()),
        None => aws::endpoint("kms", region).map_err(|error| chain(&error)),
    };
    let url = url.map_err(|text| Failure::lasting(failed(text)))?;
    let call = aws::Call {
        name: "KMS",
        service: "kms",
        region,
        url: &url,
        target: "TrentService.Decrypt",
    };
    let body = json!({
        "CiphertextBlob": STANDARD.encode(blob),
        "EncryptionContext": context,
        "KeyId": arn,
    });
    let answer = aws::call(cloud, &credentials, &call, &body).await;
    let answer = answer.map_err(|error| {
        let text = failed(chain(&error));
        match error {
            aws::Error::Operation { cause, .. } if cause.status().is_some() => Failure::once(text),
            _ => Failure::lasting(text),
        }
    })?;
    let plain = answer.get("Plaintext").and_then(Value::as_str);
    let plain = plain.and_then(|plain| STANDARD.decode(plain).ok());
    plain.ok_or_else(|| Failure::once(failed("the answer has no Plaintext".to_owned())))
}

fn no_credentials(text: &str) -> Failure {
    Failure::lasting(format!(
        "failed to decrypt sops data key with AWS KMS: operation error KMS: Decrypt, get identity: get credentials: failed to \
         refresh cached credentials, {text}"
    ))
}

/// The region of a key: what matches `^arn:aws[\w-]*:kms:(.+):[0-9]+:(key|alias)/.+$`.
fn region(arn: &str) -> Option<&str> {
    let (partition, rest) = arn.strip_prefix("arn:aws")?.split_once(":kms:")?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let (rest, resource) = rest.rsplit_once(':')?;
    let (region, account) = rest.rsplit_once(':')?;
    let name = resource
        .strip_prefix("key/")
        .or_else(|| resource.strip_prefix("alias/"))?;
    let is_valid = partition.chars().all(is_word)
        && !region.is_empty()
        && !name.is_empty()
        && !account.is_empty()
        && account.bytes().all(|byte| byte.is_ascii_digit());
    is_valid.then_some(region)
}

/// The address of a service that the environment sets, as the SDK reads it.
fn configured(environment: &Environment, service: &str) -> Option<String> {
    let ignored = environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    if ignored.is_some_and(|ignored| ignored.eq_ignore_ascii_case("true")) {
        return None;
    }
    let own = environment.get(&format!("AWS_ENDPOINT_URL_{service}"));
    own.or_else(|| environment.get("AWS_ENDPOINT_URL"))
}

/// `sops@<host>` of the characters that STS permits.
fn session_name(environment: &Environment) -> String {
    let host = environment
        .get("HOSTNAME")
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .unwrap_or_default();
    // Upstream's `@-_` is a range of characters, which has the upper-case letters.
    let permitted =
        |c: &char| c.is_ascii_alphanumeric() || matches!(c, '=' | ',' | '.' | '@'..='_');
    let name = host.trim().chars().filter(permitted);
    "sops@".chars().chain(name).take(MAX_SESSION).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_that_of_the_key() {
        // KC-SOPS-041
        for (arn, expected) in [
            (
                "arn:aws:kms:us-west-2:107501996527:key/612d5f0p",
                Some("us-west-2"),
            ),
            (
                "arn:aws:kms:us-west-2:107501996527:alias/a/b",
                Some("us-west-2"),
            ),
            (
                "arn:aws-us-gov:kms:us-gov-west-1:1:key/a",
                Some("us-gov-west-1"),
            ),
            ("arn:aws-cn:kms:cn-north-1:1:key/a", Some("cn-north-1")),
            ("arn:aws:kms::1:key/a", None),
            ("arn:aws:kms:us-west-2:a:key/b", None),
            ("arn:aws:s3:us-west-2:1:key/b", None),
            ("arn:aws:kms:us-west-2:1:other/b", None),
            ("arn:aws:kms:us-west-2:1:key/", None),
            ("", None),
        ] {
            assert_eq!(region(arn), expected, "{arn}");
        }
    }

    #[test]
    fn services_may_be_elsewhere() {
        let environment = |values: &[(&str, &str)]| Environment::of_values(values.iter().copied());
        let all = [
            ("AWS_ENDPOINT_URL", "http://a"),
            ("AWS_ENDPOINT_URL_KMS", "http://b"),
        ];
        assert_eq!(
            configured(&environment(&all), "KMS").as_deref(),
            Some("http://b")
        );
        assert_eq!(
            configured(&environment(&all), "STS").as_deref(),
            Some("http://a")
        );
        let ignored = [all[0], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True")];
        assert_eq!(configured(&environment(&ignored), "KMS"), None);
        assert_eq!(
            session_name(&environment(&[("HOSTNAME", "pod-1.example")])),
            "sops@pod1.example"
        );
    }
}
