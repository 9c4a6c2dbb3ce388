//! The values of a release: put together from `spec.valuesFrom` and `spec.values` (HC-VAL rows).

use std::collections::HashMap;
use std::sync::Arc;

use flux_api::helm::{HelmRelease, ValuesReference};
use flux_api::meta::ValuesKind;
use flux_budget::{Claim, Exhausted};
use flux_cluster::Confidential;
use flux_helm::{
    ComposeError, DEFAULT_VALUES_KEY, SourceData, Values, ValuesSource, compose_values, load_values,
};
use flux_references::{Configs, MAX_VALUES};
use flux_runtime::queue::Key;
use flux_yaml::Value;

use super::settings::own_namespace;

/// The values of a release.
pub(super) struct Composed {
    pub(super) values: Values,
    /// Those that come from Secrets, which no message may show.
    pub(super) confidential: Confidential,
}

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValuesError {
    /// A reference cannot be resolved (HC-VAL-007), or the values do not fit into memory.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// An object cannot be read.
    #[error(transparent)]
    Read(flux_references::ValuesError),
    /// What no message may show does not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// The shortest value that is masked: shorter ones would mask parts of ordinary words.
const SHORTEST: usize = 3;

/// What one referenced object has.
enum Read {
    Entries(Vec<(String, Arc<[u8]>)>),
    Missing(String),
}

impl Read {
    fn entries(read: Vec<(String, Vec<u8>)>) -> Self {
        let entries = read.into_iter();
        Self::Entries(entries.map(|(key, data)| (key, data.into())).collect())
    }
}

/// Puts the values together. Each object is read once (HC-VAL-006), with the controller's own identity (HC-VAL-021). All
/// references together are bounded as all objects are: each one is parsed, whether or not others refer to the same key.
///
/// # Errors
/// [`ValuesError`]
pub(super) async fn compose(
    configs: &Configs,
    object: &HelmRelease,
    claim: &Arc<Claim>,
) -> Result<Composed, ValuesError> {
    let own = own_namespace(object);
    let mut reading = configs.reading(claim);
    let mut objects: HashMap<(bool, &str), Read> = HashMap::new();
    let mut sources = Vec::with_capacity(object.spec.values_from.len());
    for reference in &object.spec.values_from {
        let is_secret = reference.kind == ValuesKind::Secret;
        let known = matches!(reference.kind, ValuesKind::Secret | ValuesKind::ConfigMap);
        let place = (is_secret, &*reference.name);
        if known && !objects.contains_key(&place) {
            let key = Key::new(own, &*reference.name);
            let read = match reading.values(&reference.kind, &key, false).await {
                Ok(found) => Read::entries(found.unwrap_or_default().entries),
                Err(flux_references::ValuesError::Read(error)) if error.is_not_found() => {
                    Read::Missing(error.to_string())
                }
                Err(error) => return Err(ValuesError::Read(error)),
            };
            objects.insert(place, read);
        }
        sources.push(source(own, reference, objects.get(&place)));
    }
    let inline = object.spec.values.as_ref();
    let inline = inline.map(flux_release::values_of).unwrap_or_default();
    check_size(&sources)?;
    let claim = Arc::clone(claim);
    let composing = tokio::task::spawn_blocking(move || put_together(&inline, &sources, &claim));
    match composing.await {
        Ok(composed) => composed,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

/// Refuses references whose data take more than objects may that are read.
fn check_size(sources: &[ValuesSource]) -> Result<(), ValuesError> {
    let size = |source: &ValuesSource| match &source.data {
        SourceData::Found(data) => data.len(),
        _ => 0,
    };
    if sources.iter().map(size).sum::<usize>() > MAX_VALUES {
        return Err(ValuesError::Read(flux_references::ValuesError::TooLarge));
    }
    Ok(())
}

fn put_together(
    inline: &Values,
    sources: &[ValuesSource],
    claim: &Claim,
) -> Result<Composed, ValuesError> {
    let composed = compose_values(inline, sources, claim)?;
    for skipped in &composed.skipped {
        tracing::info!("{skipped}");
    }
    let mut confidential = Confidential::default();
    for source in sources.iter().filter(|source| source.kind == "Secret") {
        if let SourceData::Found(data) = &source.data {
            claim.take(Confidential::bytes(data))?;
            add_confidential(&mut confidential, data, source.target_path.is_some());
        }
    }
    Ok(Composed {
        values: composed.values,
        confidential,
    })
}

/// A reference with what it refers to.
fn source(own: &str, reference: &ValuesReference, read: Option<&Read>) -> ValuesSource {
    let key = reference
        .values_key
        .as_deref()
        .filter(|key| !key.is_empty());
    let key = key.unwrap_or(DEFAULT_VALUES_KEY);
    let data = match read {
        Some(Read::Missing(why)) => SourceData::NoObject(why.clone()),
        Some(Read::Entries(entries)) => {
            let found = entries.iter().find(|(name, _)| name == key);
            found.map_or(SourceData::NoKey, |(_, data)| {
                SourceData::Found(Arc::clone(data))
            })
        }
        None => SourceData::NoKey,
    };
    let path = reference.target_path.as_deref();
    ValuesSource {
        kind: reference.kind.as_str().to_owned(),
        object: format!("{own}/{}", reference.name),
        key: key.to_owned(),
        target_path: path.filter(|path| !path.is_empty()).map(str::to_owned),
        literal: reference.literal,
        optional: reference.optional,
        data,
    }
}

/// Adds what a Secret's entry has: the entry as it is, or the texts and numbers of its YAML.
fn add_confidential(confidential: &mut Confidential, data: &[u8], whole: bool) {
    if whole {
        if data.len() >= SHORTEST {
            confidential.add(data);
        }
        return;
    }
    if let Ok(values) = load_values(data) {
        for value in values.values() {
            add_leaves(confidential, value);
        }
    }
}

fn add_leaves(confidential: &mut Confidential, value: &Value) {
    match value {
        Value::Map(map) => map
            .values()
            .for_each(|value| add_leaves(confidential, value)),
        Value::Seq(items) => items
            .iter()
            .for_each(|value| add_leaves(confidential, value)),
        Value::String(text) if text.len() >= SHORTEST && !is_word(text) => {
            confidential.add(text.as_bytes());
        }
        // Smaller ones are parts of other numbers.
        Value::Int(number) if number.unsigned_abs() >= 1000 => {
            confidential.add(number.to_string().as_bytes());
        }
        Value::Float(number) if number.abs() >= 1000.0 => {
            confidential.add(number.to_string().as_bytes());
        }
        _ => {}
    }
}

/// Words of YAML that messages have anyway.
fn is_word(text: &str) -> bool {
    matches!(text, "true" | "false" | "null" | "yes" | "off")
}

#[cfg(test)]
mod tests;
