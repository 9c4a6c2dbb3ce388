//! The computation of a build: kustomize, then each object decrypted, substituted and prepared.

use std::collections::BTreeSet;
use std::sync::Arc;

use flux_apply::parse;
use flux_budget::Claim;
use flux_kustomize::{
    Allowance, Build, Options, Output, RemoteBase, Remotes, build_within, flux, memory_of,
    substitute,
};
use flux_sops::{Answers, Keyring};
use flux_yaml::Value;
use sha2::{Digest, Sha256};

use super::prepared::{Owner, Prepared};
use super::{BuildError, Built, TREE_ENTRY, note};
use crate::kustomization::decryption::decrypt_object;
use crate::kustomization::fetch::Files;
use crate::kustomization::variables::VariablesError;

/// The result of a round.
pub(super) enum Step {
    /// All objects, to finish the build with.
    Built(Box<(Job, Output)>),
    Needs(Vec<RemoteBase>),
}

/// The computation of one round, with all its inputs.
pub(super) struct Job {
    pub(super) files: Files,
    pub(super) overlay: flux::Overlay,
    pub(super) known: Remotes,
    /// Bytes claimed for the bases fetched so far.
    pub(super) fetched: u64,
    pub(super) options: Option<substitute::SubstituteOptions>,
    pub(super) variables: Result<substitute::Variables, Arc<VariablesError>>,
    pub(super) owner: Owner,
    /// Whether the result may change although its inputs do not.
    pub(super) from_elsewhere: bool,
    /// The keys to decrypt objects with.
    pub(super) decrypting: Option<(Arc<Keyring>, Answers)>,
    /// Decrypted texts that are in the files.
    pub(super) confidential: BTreeSet<String>,
    pub(super) allowance: Allowance,
}

impl Job {
    pub(super) fn run(self) -> Result<Step, BuildError> {
        let claim = self.allowance.claim();
        let Files { tree, path } = &self.files;
        let entries = tree.len() as u64 * TREE_ENTRY;
        claim.take(entries).map_err(BuildError::Memory)?;
        let prepared = flux::prepare_within(tree, path, &self.overlay, &self.allowance)
            .map_err(BuildError::Generate)?;
        let build = build_within(
            &prepared.tree,
            &prepared.dir,
            &Options::flux(),
            &self.known,
            &self.allowance,
        );
        drop(prepared);
        claim.give_back(entries);
        match build.map_err(BuildError::Kustomize)? {
            Build::Needs(bases) => Ok(Step::Needs(bases)),
            Build::Done(output) => Ok(Step::Built(Box::new((self, output)))),
        }
    }

    /// Decrypts objects and substitutes variables, object by object, splits the objects into documents (KC-BLD-031..034, KC-SUB-001..003) and
    /// prepares them.
    pub(super) fn finish(self, output: Output) -> Result<Built, BuildError> {
        let claim = self.allowance.claim();
        drop(self.known);
        claim.give_back(self.fetched);
        let mut digest = Sha256::new();
        let mut values: Vec<serde_json::Value> = Vec::new();
        let (mut memory, mut largest) = (0, 0);
        let (mut confidential, mut identities) = (self.confidential, BTreeSet::new());
        for resource in output.resources {
            let incomplete = [resource.api_version(), resource.kind(), resource.name()]
                .iter()
                .any(|part| part.is_empty());
            if incomplete {
                return Err(BuildError::Incomplete(format!("{resource:?}")));
            }
            let object = || {
                let kind = gvk(resource.api_version(), resource.kind());
                format!("{kind}/{}", resource.name())
            };
            let mut decrypted = None;
            if let Some((ring, answers)) = &self.decrypting {
                let result = decrypt_object(resource.value(), ring, answers);
                let result = result.map_err(|source| BuildError::Decrypt {
                    object: object(),
                    source: Box::new(source),
                })?;
                decrypted = result.map(|result| {
                    note(&mut confidential, result.secrets);
                    result.value
                });
            }
            let current = decrypted.as_ref().unwrap_or_else(|| resource.value());
            let mut substituted = None;
            if let Some(options) = self.options
                && !substitute::is_disabled(current)
            {
                let variables = self.variables.as_ref();
                let variables = variables.map_err(|source| BuildError::Variables {
                    object: object(),
                    source: source.clone(),
                })?;
                substituted = substitute::substitute_object_within(
                    current,
                    variables,
                    options,
                    &self.allowance,
                )
                .map_err(|source| BuildError::Substitute {
                    object: object(),
                    source,
                })?;
                if let Some(after) = &substituted {
                    confidential.extend(substitute::secret_texts(current, after, variables));
                    identities.extend(substitute::secret_identities(current, after, variables));
                }
            }
            let is_secret = resource.kind() == "Secret";
            let object = object();
            let value = substituted
                .or(decrypted)
                .unwrap_or_else(|| resource.into_value());
            let bytes = memory_of(&value);
            memory += bytes;
            largest = bytes.max(largest);
            if !values.is_empty() {
                digest.update("---\n");
            }
            let text = flux_yaml::sigs::to_string(&value).map_err(|source| BuildError::Write {
                object,
                source: if is_secret {
                    source.without_text()
                } else {
                    source
                },
            })?;
            digest.update(text.as_bytes());
            values.push(to_json(value));
        }
        let texts = confidential.iter().chain(&identities);
        let texts: u64 = texts.map(|text| text.len() as u64).sum();
        // From here on only the memory of the result counts, and one object more: each is packed and read back.
        hold(claim, memory + largest + texts)?;
        let prepared = Prepared::new(parse::objects(values), &self.owner);
        hold(claim, prepared.bytes() + texts)?;
        Ok(Built {
            prepared,
            digest: format!("sha256:{}", hex::encode(digest.finalize())),
            confidential,
            identities,
            from_elsewhere: self.from_elsewhere,
            claim: self.allowance.shared_claim(),
        })
    }
}

/// Adjusts `claim` to exactly `bytes`.
fn hold(claim: &Claim, bytes: u64) -> Result<(), BuildError> {
    if let Some(more) = bytes.checked_sub(claim.held()) {
        claim.take(more).map_err(BuildError::Memory)
    } else {
        claim.give_back(claim.held() - bytes);
        Ok(())
    }
}

/// A kind as kustomize names it: `Deployment.v1.apps`, `ConfigMap.v1.[noGrp]`.
fn gvk(api_version: &str, kind: &str) -> String {
    match api_version.split_once('/') {
        Some((group, version)) => format!("{kind}.{version}.{group}"),
        None => format!("{kind}.{api_version}.[noGrp]"),
    }
}

/// Converts to the JSON value that the API client uses. A build has no numbers beyond the range of JSON.
fn to_json(value: Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Uint(value) => value.into(),
        Value::Float(value) => value.into(),
        Value::String(value) => value.into(),
        Value::Seq(items) => items.into_iter().map(to_json).collect(),
        Value::Map(map) => map
            .into_iter()
            .map(|(key, value)| (key, to_json(value)))
            .collect(),
    }
}
