//! Objects of a build that are encrypted as a whole, and Secrets with encrypted values (KC-SOPS-011 to KC-SOPS-014).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_golang::encoding::decode_base64;
use flux_sops::{Answers, Format, Keyring, LoadError, MasterKey, SopsFile};
use flux_yaml::Value;

use super::file::{self, Attempt, FileError};
use crate::kustomization::owner::GROUP;

/// Why an object was not decrypted.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("failed to decrypt and format '{object}' {kind} data")]
    Whole {
        /// `namespace/name`.
        object: String,
        kind: String,
        #[source]
        source: FileError,
    },
    #[error("failed to decrypt and format '{object}' Secret field '{field}'")]
    Field {
        /// `namespace/name`.
        object: String,
        field: String,
        #[source]
        source: FileError,
    },
    #[error(
        "failed to unmarshal decrypted '{object}' {kind} to JSON: it is not a Kubernetes object"
    )]
    NoObject {
        /// `namespace/name`.
        object: String,
        kind: String,
    },
}

/// A decrypted object.
pub(crate) struct Decrypted {
    pub(crate) value: Value,
    /// The texts in it that were encrypted.
    pub(crate) secrets: Vec<Vec<u8>>,
}

/// The keys that services have to be asked for before `value` can be decrypted. Errors are left to the decryption.
pub(crate) fn needs(value: &Value, ring: &Keyring, answers: &Answers) -> Vec<MasterKey> {
    let needed = |file: Result<SopsFile, LoadError>| {
        let search = file.ok()?.data_key(ring, answers).ok()?;
        match search {
            flux_sops::Search::Needs(key) => Some(*key),
            flux_sops::Search::Found(_) => None,
        }
    };
    if is_disabled(value) {
        return Vec::new();
    }
    if is_encrypted(value) {
        return needed(SopsFile::from_value(value)).into_iter().collect();
    }
    encrypted_fields(value)
        .filter_map(|(_, format, data)| needed(SopsFile::read(&data, format)))
        .collect()
}

/// Decrypts an object; `None` if nothing in it is encrypted.
pub(crate) fn decrypt(
    value: &Value,
    ring: &Keyring,
    answers: &Answers,
) -> Result<Option<Decrypted>, ObjectError> {
    if is_disabled(value) {
        return Ok(None);
    }
    if is_encrypted(value) {
        return whole(value, ring, answers).map(Some);
    }
    let mut secrets = Vec::new();
    let mut fields = Vec::new();
    for (key, format, data) in encrypted_fields(value) {
        let to = Format::of_path(key);
        let attempt = file::decrypt(&data, (format, to), ring, answers);
        let decrypted = attempt
            .and_then(answered)
            .map_err(|source| ObjectError::Field {
                object: name(value),
                field: key.to_owned(),
                source,
            })?;
        secrets.extend(decrypted.secrets);
        fields.push((key.to_owned(), STANDARD.encode(decrypted.content)));
    }
    if fields.is_empty() {
        return Ok(None);
    }
    let mut value = value.clone();
    let data = value.as_map_mut().and_then(|map| map.get_mut("data"));
    if let Some(data) = data.and_then(Value::as_map_mut) {
        for (key, text) in fields {
            data.insert(key, Value::String(text));
        }
    }
    Ok(Some(Decrypted { value, secrets }))
}

fn whole(value: &Value, ring: &Keyring, answers: &Answers) -> Result<Decrypted, ObjectError> {
    let kind = || text(value, &["kind"]).to_owned();
    let failed = |source| ObjectError::Whole {
        object: name(value),
        kind: kind(),
        source,
    };
    let format = Format::Json;
    let file = SopsFile::from_value(value);
    let file = file.map_err(|source| failed(FileError::Load { format, source }))?;
    let plain = file::open(file, ring, answers).and_then(answered);
    let written = plain.and_then(|plain| file::written(&plain, format, format));
    let file::Decrypted { content, secrets } = written.map_err(failed)?;
    let no_object = || ObjectError::NoObject {
        object: name(value),
        kind: kind(),
    };
    let value = flux_yaml::json::from_str(&content).map_err(|_| no_object())?;
    let is_named = ["apiVersion", "kind"]
        .iter()
        .all(|field| !text(&value, &[field]).is_empty())
        && !text(&value, &["metadata", "name"]).is_empty();
    if !is_named {
        return Err(no_object());
    }
    Ok(Decrypted { value, secrets })
}

/// The services were asked before for all that an object needs; one that needs more was changed meanwhile, or named no
/// usable key.
fn answered<T>(attempt: Attempt<T>) -> Result<T, FileError> {
    match attempt {
        Attempt::Done(done) => Ok(done),
        Attempt::Needs(key) => Err(FileError::DataKey(flux_sops::DataKeyError::Groups {
            required: 0,
            groups: vec![Some(vec![(key.to_string(), "not asked".to_owned())])],
        })),
    }
}

/// Whether the object is annotated to stay encrypted (KC-SOPS-013).
fn is_disabled(value: &Value) -> bool {
    let annotation = format!("{GROUP}/decrypt");
    let mark = value.at(["metadata", "annotations", &annotation]);
    mark.and_then(Value::as_str)
        .is_some_and(|mark| mark.eq_ignore_ascii_case("disabled"))
}

/// Whether the object has the metadata of SOPS.
fn is_encrypted(value: &Value) -> bool {
    let filled = |value: Option<&Value>| match value {
        None | Some(Value::Null) => false,
        Some(Value::Map(map)) => !map.is_empty(),
        Some(Value::Seq(items)) => !items.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    let sops = value.get("sops");
    filled(sops) && filled(sops.and_then(|sops| sops.get("mac")))
}

/// The values of a Secret that are encrypted, with their keys and formats. What is not base64 is left to the API server.
fn encrypted_fields(value: &Value) -> impl Iterator<Item = (&str, Format, Vec<u8>)> {
    let data = value
        .get("data")
        .filter(|_| text(value, &["kind"]) == "Secret");
    let entries = data.and_then(Value::as_map).into_iter().flatten();
    entries.filter_map(|(key, value)| {
        let data = decode_base64(value.as_str()?.as_bytes()).ok()?;
        let format = Format::detect(&data)?;
        Some((key.as_str(), format, data))
    })
}

fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    let found = value.at(path.iter().copied());
    found.and_then(Value::as_str).unwrap_or_default()
}

/// `namespace/name`.
fn name(value: &Value) -> String {
    let metadata = |field| text(value, &["metadata", field]);
    format!("{}/{}", metadata("namespace"), metadata("name"))
}
