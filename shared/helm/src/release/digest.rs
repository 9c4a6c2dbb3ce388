//! Digests of records, by which a controller detects that a record is not the one it wrote.

use flux_chart::Metadata;
use flux_yaml::{Map, Value, sigs};
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{Info, Release, to_go_json};
use crate::hook::{Hook, HookEvent};

/// The algorithm of a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// BLAKE3.
    Blake3,
    /// SHA-1, for digests of earlier versions.
    Sha1,
}

impl DigestAlgorithm {
    /// Parses the name of an algorithm (HC-PROC-015); `None` if unknown.
    pub fn named(name: &str) -> Option<Self> {
        [
            Self::Sha256,
            Self::Sha384,
            Self::Sha512,
            Self::Blake3,
            Self::Sha1,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name() == name)
    }

    /// The name, which is the prefix of digests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
            Self::Sha1 => "sha1",
        }
    }

    /// The digest of some bytes, with the algorithm as its prefix.
    pub fn digest(self, data: &[u8]) -> String {
        let hex = match self {
            Self::Sha256 => hex::encode(Sha256::digest(data)),
            Self::Sha384 => hex::encode(Sha384::digest(data)),
            Self::Sha512 => hex::encode(Sha512::digest(data)),
            Self::Blake3 => hex::encode(blake3::hash(data).as_bytes()),
            Self::Sha1 => hex::encode(Sha1::digest(data)),
        };
        format!("{}:{hex}", self.name())
    }
}

/// The digest of a release's values (HC-ACT-080, HC-VAL-017, RT-VAL-006), encoded as YAML with sorted keys; of the empty
/// string if there are no values. `None` if they cannot be encoded as YAML.
pub fn config_digest(algorithm: DigestAlgorithm, values: &Map) -> Option<String> {
    if values.is_empty() {
        return Some(algorithm.digest(b""));
    }
    let mut sorted = Value::Map(values.clone());
    sorted.sort_keys();
    sorted.floats_only();
    whole_numbers(&mut sorted);
    let text = sigs::to_string_directly(&sorted).ok()?;
    Some(algorithm.digest(text.as_bytes()))
}

/// Whether `digest` is that of the values, for whichever algorithm it names; never if the text is not a digest
/// (HC-VAL-019).
pub fn is_config_of(digest: &str, values: &Map) -> bool {
    let algorithm = algorithm_of(digest);
    algorithm.is_some_and(|algorithm| config_digest(algorithm, values).as_deref() == Some(digest))
}

/// Converts floats without a fraction to integers if they fit into 64 bits.
fn whole_numbers(value: &mut Value) {
    const SIGNED: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Float(float) if float.fract() == 0.0 => {
            let number = *float;
            if (-SIGNED..SIGNED).contains(&number) {
                *value = Value::Int(number as i64);
            } else if (SIGNED..2.0 * SIGNED).contains(&number) {
                *value = Value::Uint(number as u64);
            }
        }
        Value::Map(map) => map.values_mut().for_each(whole_numbers),
        Value::Seq(items) => items.iter_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// The digest of a record (HE-TEST-004, HC-ACT-035): of all its content, except the chart other than Chart.yaml, and except
/// test hooks, which other clients may run (HC-TEST-013). `oci_digest` is that of the chart's artifact, empty if it has
/// none. `None` if the record cannot be encoded as JSON.
pub fn snapshot_digest(
    algorithm: DigestAlgorithm,
    release: &Release,
    oci_digest: &str,
) -> Option<String> {
    let (no_info, no_metadata) = (Info::default(), Metadata::default());
    let chart = release.chart.as_ref();
    let is_test = |hook: &&Hook| hook.events.contains(&HookEvent::Test);
    let hooks: Vec<&Hook> = release.hooks.iter().filter(|hook| !is_test(hook)).collect();
    let observed = Observed {
        name: &release.name,
        version: release.revision,
        info: release.info.as_ref().unwrap_or(&no_info),
        chart_metadata: chart
            .and_then(|chart| chart.metadata.as_ref())
            .unwrap_or(&no_metadata),
        config: (!release.config.is_empty()).then_some(Config(&release.config)),
        manifest: &release.manifest,
        hooks: (!hooks.is_empty()).then_some(hooks),
        namespace: &release.namespace,
        oci_digest,
    };
    let mut json = to_go_json(&observed).ok()?;
    json.push(b'\n');
    Some(algorithm.digest(&json))
}

/// The text is not a digest. The message is upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("release digest verification error")]
pub struct InvalidDigest;

/// Whether `digest` is that of the record, as [`snapshot_digest`] returned it for any algorithm (HC-ACT-035).
///
/// # Errors
/// The text is not a digest.
pub fn is_snapshot_of(
    digest: &str,
    release: &Release,
    oci_digest: &str,
) -> Result<bool, InvalidDigest> {
    let algorithm = algorithm_of(digest).ok_or(InvalidDigest)?;
    Ok(snapshot_digest(algorithm, release, oci_digest).as_deref() == Some(digest))
}

/// The algorithm of a digest; `None` if the text is not a digest.
fn algorithm_of(digest: &str) -> Option<DigestAlgorithm> {
    let (name, hex) = digest.split_once(':')?;
    let algorithm = DigestAlgorithm::named(name)?;
    let wanted = algorithm.digest(b"").len() - name.len() - 1;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (hex.len() == wanted && hex.bytes().all(is_hex)).then_some(algorithm)
}

/// The parts of a record that the digest covers, in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Observed<'r> {
    name: &'r str,
    version: i64,
    info: &'r Info,
    chart_metadata: &'r Metadata,
    config: Option<Config<'r>>,
    manifest: &'r str,
    hooks: Option<Vec<&'r Hook>>,
    namespace: &'r str,
    #[serde(rename = "ociDigest", skip_serializing_if = "str::is_empty")]
    oci_digest: &'r str,
}

struct Config<'r>(&'r Map);

impl Serialize for Config<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        flux_chart::yaml::map::serialize(self.0, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::{DigestAlgorithm, InvalidDigest, config_digest, is_snapshot_of, snapshot_digest};
    use crate::{Hook, HookEvent, Release};

    #[test]
    fn algorithm_names_match_upstream() {
        for name in ["sha256", "sha384", "sha512", "blake3", "sha1"] {
            assert_eq!(DigestAlgorithm::named(name).unwrap().name(), name);
        }
        for name in ["", "md5", "SHA256"] {
            assert_eq!(DigestAlgorithm::named(name), None, "{name}");
        }
    }

    #[test]
    fn empty_values_have_the_digest_of_no_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = config_digest(DigestAlgorithm::Sha256, &flux_yaml::Map::new());
        // HC-VAL-017
        assert_eq!(digest.as_deref(), Some(empty));
    }

    // HC-TEST-013
    #[test]
    fn a_release_record_matches_its_digest() {
        let release = Release {
            name: "foo".to_owned(),
            ..Release::default()
        };
        let known = "sha256:f1498f27a16a09cd7e1ee610d924df065c03d30035638babc95dd9a8d412ce4d";
        let digest = snapshot_digest(DigestAlgorithm::Sha256, &release, "");
        assert_eq!(digest.as_deref(), Some(known));
        assert_eq!(is_snapshot_of(known, &release, ""), Ok(true));
        assert_eq!(is_snapshot_of(known, &release, "sha256:x"), Ok(false));

        let hook = |event| Hook {
            events: vec![event],
            ..Hook::default()
        };
        let tested = Release {
            hooks: vec![hook(HookEvent::Test)],
            ..release.clone()
        };
        assert_eq!(is_snapshot_of(known, &tested, ""), Ok(true));
        let hooked = Release {
            hooks: vec![hook(HookEvent::PreInstall)],
            ..release.clone()
        };
        assert_eq!(is_snapshot_of(known, &hooked, ""), Ok(false));

        for none in ["", "sha256", "sha256:", "md5:00", "sha256:zz", &known[..70]] {
            assert_eq!(
                is_snapshot_of(none, &release, ""),
                Err(InvalidDigest),
                "{none}"
            );
        }
    }
}
