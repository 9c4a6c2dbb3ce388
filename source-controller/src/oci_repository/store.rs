//! Stores a layer as an artifact.

use std::io;
use std::time::Duration;

use flux_artifact::{StorageError, Stored};
use flux_publish::{Deadline, Publisher, Rules};

use super::LATEST;
use super::failure::StepError;
use super::layer::Layer;

/// The inputs for storing an artifact.
pub(super) struct Storing {
    pub(super) publisher: Publisher,
    /// Its path in the storage, relative to the root.
    pub(super) path: String,
    /// The ignore rules of the spec.
    pub(super) ignore: Option<String>,
    /// Time limit for all of it.
    pub(super) limit: Duration,
}

/// An artifact in the storage.
pub(super) struct InStorage {
    pub(super) file: Stored,
    /// The URL of the link to it (SC-ART-009).
    pub(super) link: Result<String, StorageError>,
}

impl Storing {
    /// Archives the files that the ignore rules do not exclude, or stores the layer as it is.
    pub(super) async fn run(self, layer: Layer) -> Result<InStorage, StepError> {
        tokio::task::spawn_blocking(move || self.store(layer)).await?
    }

    fn store(self, layer: Layer) -> Result<InStorage, StepError> {
        let deadline = Deadline::within(self.limit);
        let file = match layer {
            Layer::Whole(mut file) => {
                let stored = self.publisher.store_file(&self.path, deadline, |into| {
                    io::copy(&mut file, into).map(|_| ())
                });
                stored.map_err(StepError::of_copy)?
            }
            Layer::Files(mut files) => {
                let content = files.content();
                let rules = Rules::OfContent(self.ignore.as_deref());
                self.publisher
                    .store(&self.path, &content, &mut files, rules, deadline)?
            }
        };
        let link = self.publisher.storage().link(&self.path, LATEST);
        Ok(InStorage { file, link })
    }
}
