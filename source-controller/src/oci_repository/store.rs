//! Stores a layer as an artifact.

use std::io;
use std::time::Duration;

use flux_artifact::Stored;
use flux_publish::{Deadline, Publisher, Rules};

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

impl Storing {
    /// Archives the files that the ignore rules do not exclude, or stores the layer as it is.
    pub(super) async fn run(self, layer: Layer) -> Result<Stored, StepError> {
        tokio::task::spawn_blocking(move || self.store(layer)).await?
    }

    fn store(self, layer: Layer) -> Result<Stored, StepError> {
        let deadline = Deadline::within(self.limit);
        match layer {
            Layer::Whole(mut file) => {
                let stored = self.publisher.store_file(&self.path, deadline, |into| {
                    io::copy(&mut file, into).map(|_| ())
                });
                stored.map_err(StepError::of_copy)
            }
            Layer::Files(mut files) => {
                let content = files.content();
                let rules = Rules::OfContent(self.ignore.as_deref());
                let stored = self
                    .publisher
                    .store(&self.path, &content, &mut files, rules, deadline);
                Ok(stored?)
            }
        }
    }
}
