//! Makes the artifacts of a run, one after the other: composed, stored, published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flux_api::extensions::{ArtifactGenerator, GeneratedKind, GeneratedReference};
use flux_api::meta::Artifact;
use flux_publish::Owner;
use flux_runtime::queue::Key;
use flux_runtime::{Action, Run};
use kube::ResourceExt as _;

use super::build::{Built, EXTERNAL_ARTIFACT};
use super::failure::{OutputError, OutputFailure};
use super::namespaces::{self, Metadata, Origin};
use super::path_pattern::Request;
use super::publish::{Desired, set_revisions};
use super::reason::GeneratorReason as R;
use super::{ArtifactGenerators, Work};

/// What came of the outputs of a run.
#[derive(Default)]
pub(super) struct Outcomes {
    /// The ExternalArtifacts, in order.
    pub(super) artifacts: Vec<GeneratedReference>,
    /// The namespaces that are managed.
    pub(super) namespaces: Vec<GeneratedReference>,
    /// What failed.
    pub(super) failures: Vec<OutputFailure>,
}

/// The path of the file of an entry of the inventory.
pub(super) fn path(entry: &GeneratedReference) -> String {
    Owner::new(EXTERNAL_ARTIFACT, &entry.namespace, &entry.name).path(&entry.filename)
}

impl Outcomes {
    /// The ExternalArtifacts.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        let artifacts = self.artifacts.iter();
        artifacts
            .map(|entry| Key::new(&*entry.namespace, &*entry.name))
            .collect()
    }

    /// The artifacts whose digest is not in the inventory `before`, as the event names them (SW-GEN-089).
    pub(super) fn changed(&self, before: &[GeneratedReference]) -> Vec<String> {
        let artifacts = self.artifacts.iter();
        let changed = artifacts.filter(|entry| !is_recorded(before, entry));
        let shown = |entry: &GeneratedReference| {
            format!("{}/{} ({})", entry.namespace, entry.name, entry.digest)
        };
        changed.map(shown).collect()
    }
}

fn is_recorded(inventory: &[GeneratedReference], entry: &GeneratedReference) -> bool {
    inventory.iter().any(|other| {
        (&other.namespace, &other.name, &other.digest)
            == (&entry.namespace, &entry.name, &entry.digest)
    })
}

impl ArtifactGenerators {
    /// Makes every artifact; one that fails does not keep the others from being made (SW-GEN-082).
    pub(super) async fn make(&self, run: &mut Run<ArtifactGenerator>, work: &Work<'_>) -> Outcomes {
        let mut made = Outcomes::default();
        for request in &work.requests {
            let name = request.artifact.name.clone();
            match Box::pin(self.output(run, work, request, &mut made.namespaces)).await {
                Ok(entry) => made.artifacts.push(entry),
                Err(error) => made.failures.push(OutputFailure { name, error }),
            }
        }
        made
    }

    async fn output(
        &self,
        run: &mut Run<ArtifactGenerator>,
        work: &Work<'_>,
        request: &Arc<Request>,
        namespaces: &mut Vec<GeneratedReference>,
    ) -> Result<GeneratedReference, OutputError> {
        let own = run.key();
        let namespace = request.namespace(&own.namespace).to_owned();
        let key = Key::new(&*namespace, &*request.artifact.name);
        // Its folder in the storage is the owner's too, so that this comes first.
        let conflict = |owner: String| OutputError::Conflict {
            key: key.clone(),
            owner,
        };
        let _held = self
            .outputs
            .take(key.clone(), &work.uid)
            .map_err(conflict)?;
        let other = self.external.other_owner(&key, work.object).await;
        if let Some(other) = other.map_err(OutputError::Publish)? {
            return Err(conflict(other.to_string()));
        }

        run.step(Action::Build);
        let known = self.memory.get(&own);
        let known = known.and_then(|known| known.get(&key).cloned());
        let built = work.workshop.build(request.clone(), namespace, known).await;
        let built = built.map_err(OutputError::Build)?;
        let output = built.output.clone();
        self.memory.update(&own, |known| {
            known.insert(key.clone(), output.clone());
        });

        run.step(Action::Publish);
        self.namespace(run, work, request, &built, namespaces)
            .await?;
        let mut artifact = Artifact {
            url: self.publisher.storage().url(&built.path),
            path: built.path,
            digest: output.digest.clone(),
            size: i64::try_from(output.size).ok(),
            last_update_time: jiff::Timestamp::now().into(),
            revision: String::new(),
            metadata: BTreeMap::new(),
        };
        set_revisions(&mut artifact, request, work.observed);
        let desired = Desired::new(work.object, request, artifact, built.inputs);
        let applied = self.external.apply(&desired).await;
        let is_changed = applied.map_err(OutputError::Publish)?;
        let entry = GeneratedReference {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            digest: output.digest,
            filename: output.file,
            kind: None,
        };
        let before = work.object.status.as_ref();
        let before = before.map_or(&[][..], |status| &status.inventory);
        let shown = format!("{EXTERNAL_ARTIFACT}/{key}");
        if is_recorded(before, &entry) {
            tracing::info!(
                kept = built.is_kept,
                applied = is_changed,
                "{shown} is up to date"
            );
        } else {
            let revision = &desired.artifact.revision;
            let message = format!("{shown} reconciled with revision {revision}");
            tracing::info!("{message}");
            run.trace(R::Ready, message); // SW-GEN-088
        }
        Ok(entry)
    }

    /// Makes the namespace of a request, if it is one that the generator manages: named by the spec, and not its own.
    async fn namespace(
        &self,
        run: &Run<ArtifactGenerator>,
        work: &Work<'_>,
        request: &Request,
        built: &Built,
        namespaces: &mut Vec<GeneratedReference>,
    ) -> Result<(), OutputError> {
        let (Some(rules), own) = (work.rules, run.namespace()) else {
            return Ok(());
        };
        let name = request.namespace(own);
        if name == own || namespaces.iter().any(|entry| entry.name == name) {
            return Ok(());
        }
        let origin = Origin {
            captures: &request.captures,
            sources: &work.workshop.sources,
            staging: &built.staging,
        };
        let metadata = Metadata::of(work.object, rules, name, Some(origin));
        let metadata = metadata.map_err(OutputError::Metadata)?;
        let before = work.object.status.as_ref();
        let before = before.map_or(&[][..], |status| &status.inventory);
        let recorded = before
            .iter()
            .find(|entry| entry.kind == Some(GeneratedKind::Namespace) && entry.name == name);
        let recorded = recorded.map(|entry| entry.digest.as_str());
        let applied = self
            .namespaces
            .apply(name, &metadata, &work.uid, recorded)
            .await;
        let generator = format!("{own}/{}", work.object.name_any());
        match applied.map_err(OutputError::Namespace)? {
            namespaces::Action::Created => run.trace(R::Ready, format!("Namespace {name} created")),
            namespaces::Action::Configured => {
                run.trace(R::Ready, format!("Namespace {name} reconciled"));
            }
            namespaces::Action::Adopted => run.warn(
                R::Adopted,
                format!(
                    "Namespace {name} is not managed by any ArtifactGenerator and is being adopted by {generator}"
                ),
                &BTreeMap::new(),
            ),
            namespaces::Action::Unchanged => {
                tracing::debug!(namespace = name, "Namespace is up to date");
            }
            namespaces::Action::Skipped => tracing::info!(
                namespace = name,
                "Namespace apply skipped, reconciliation is disabled"
            ),
        }
        namespaces.push(GeneratedReference {
            kind: Some(GeneratedKind::Namespace),
            name: name.to_owned(),
            digest: metadata.digest(),
            ..GeneratedReference::default()
        });
        Ok(())
    }
}
