//! Stores the files of a commit and of its includes as an artifact.

use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::Artifact;
use flux_api::source::GitRepository;
use flux_artifact::Stored;
use flux_budget::Budget;
use flux_publish::{Deadline, Publisher, Rules};
use kube::ResourceExt;

use super::failure::StepError;
use super::files::{Blob, Files};
use super::include;

/// The inputs for storing an artifact.
pub(super) struct Storing {
    pub(super) publisher: Publisher,
    /// Its path in the storage, relative to the root.
    pub(super) path: String,
    pub(super) object: Arc<GitRepository>,
    /// The artifacts to include.
    pub(super) included: Vec<Artifact>,
    /// The memory budget for the included files.
    pub(super) budget: Budget,
    /// Time limit for all of it.
    pub(super) limit: Duration,
}

impl Storing {
    /// Copies the includes, and archives all files that the ignore rules do not exclude.
    pub(super) async fn run(self, files: Files) -> Result<Stored, StepError> {
        tokio::task::spawn_blocking(move || self.store(files)).await?
    }

    fn store(self, mut files: Files) -> Result<Stored, StepError> {
        let spec = &self.object.spec;
        let deadline = Deadline::within(self.limit);
        let mut content = files.content();
        let copying = include::Copying {
            includes: &spec.include,
            artifacts: &self.included,
            namespace: &self.object.namespace().unwrap_or_default(),
            storage: self.publisher.storage(),
            budget: &self.budget,
            deadline,
        };
        let _included = copying.copy_into(&mut content, |bytes| Blob::Bytes(bytes.clone()))?;
        let rules = Rules::OfContent(spec.ignore.as_deref());
        let stored = self
            .publisher
            .store(&self.path, &content, &mut files, rules, deadline);
        Ok(stored?)
    }
}
