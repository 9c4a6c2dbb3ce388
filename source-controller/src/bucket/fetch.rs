//! Downloads the objects of a bucket that are not in its last artifact.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flux_artifact::Content;
use flux_bucket::{Downloaded, Room, Store};
use flux_budget::{Budget, Claim};
use futures::stream::{self, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::failure::{Fault, StepError};
use super::files::{self, Files, Place};
use super::index::{Index, Object};
use super::list::{Listed, within};

/// The most bytes of all objects together, as for the layers of registries.
const MAX_BYTES: u64 = 4 << 30;
/// How many objects are downloaded at once (SC-BKT-032 allows a hundred), and how many of them may be large: each has buffers
/// that grow with its size.
const CONCURRENT: usize = 64;
const CONCURRENT_LARGE: usize = 8;
/// The size from which an object is large.
const LARGE: u64 = 1 << 20;
/// What an object takes while it is fetched and archived, besides its path in three lists.
const OBJECT_BYTES: u64 = 400;
/// How often an object is downloaded whose content ends early.
const MAX_TRIES: usize = 3;

/// The last artifact, and the objects that it was made of.
pub(super) struct Last {
    pub(super) index: Arc<Index>,
    pub(super) archive: File,
}

/// What the artifact is made of.
pub(super) struct Fetched {
    /// The objects as they were downloaded.
    pub(super) index: Index,
    pub(super) content: Content<Place>,
    pub(super) files: Files,
    /// The memory of the content.
    pub(super) working: Claim,
}

/// How objects are fetched.
pub(super) struct Fetching<'f> {
    pub(super) store: &'f Store,
    pub(super) bucket: &'f str,
    pub(super) folder: &'f Path,
    pub(super) budget: &'f Budget,
    pub(super) deadline: Instant,
}

impl Fetching<'_> {
    /// Downloads what changed since the `last` artifact, and takes the rest from there. An object that is gone is dropped from the
    /// index, and the ETag of one that was replaced is that of its content (SC-BKT-033).
    pub(super) async fn run(
        self,
        listed: Listed,
        last: Option<Last>,
    ) -> Result<Fetched, StepError> {
        let Listed {
            mut index,
            has_rules,
        } = listed;
        let failed = |key: String, source: Fault| StepError::Fetch {
            bucket: self.bucket.to_owned(),
            key,
            source,
        };
        let working = self.budget.claim();
        let bytes = index
            .iter()
            .map(|(key, _)| 3 * key.len() as u64 + OBJECT_BYTES);
        working
            .take(bytes.sum())
            .map_err(|error| StepError::Index {
                bucket: self.bucket.to_owned(),
                source: error.into(),
            })?;
        let paths = files::paths(&index, has_rules).map_err(|(key, fault)| failed(key, fault))?;
        let room = Room::new(MAX_BYTES);
        let held = self.unchanged(&index, &paths, last).await;
        let (spooled, mut places) = held.unwrap_or_default();

        let wanted: Vec<(usize, String, u64)> = index
            .iter()
            .filter(|(key, _)| !places.contains_key(*key))
            .enumerate()
            .map(|(number, (key, object))| (number, key.clone(), object.size))
            .collect();
        let permits = Semaphore::new(CONCURRENT);
        let downloads = wanted.into_iter().map(|(number, key, size)| {
            let (permits, room, this) = (&permits, &room, &self);
            async move {
                let weight = if size < LARGE {
                    1
                } else {
                    CONCURRENT / CONCURRENT_LARGE
                };
                // It is never closed.
                let _permit = permits.acquire_many(weight as u32).await;
                let file = Files::path(this.folder, number);
                let result = this.download(&key, &file, room).await;
                (number, key, result)
            }
        });
        let downloads = stream::iter(downloads).buffer_unordered(CONCURRENT);
        let mut downloads = Box::pin(downloads);
        while let Some((number, key, result)) = downloads.next().await {
            match result {
                Ok(Downloaded { etag, size }) => {
                    let is_listed = index.get(&key).is_some_and(|object| object.etag == etag);
                    if !is_listed {
                        let object = Object { etag, size };
                        let added = index.add(key.clone(), object);
                        added.map_err(|error| failed(key.clone(), error.into()))?;
                    }
                    places.insert(key, Place::Fetched(number));
                }
                Err(Fault::Store(error)) if error.is_missing_object() => {
                    let bucket = self.bucket;
                    tracing::info!("indexed object '{key}' disappeared from '{bucket}' bucket");
                    index.remove(&key);
                }
                Err(fault) => return Err(failed(key, fault)),
            }
        }
        drop(downloads);
        let files = places
            .into_iter()
            .filter_map(|(key, place)| Some((paths.get(&key)?.clone(), place)));
        let content = files::content(files, has_rules);
        Ok(Fetched {
            index,
            content,
            working,
            files: Files {
                folder: self.folder.to_owned(),
                held: spooled,
                text: Vec::new(),
            },
        })
    }

    async fn download(&self, key: &str, file: &Path, room: &Room) -> Result<Downloaded, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            match within(self.deadline, self.store.download(key, file, room)).await {
                Err(Fault::Store(error)) if error.is_cut() && tries < MAX_TRIES => {}
                result => return result,
            }
        }
    }

    /// Unpacks the last artifact if it has something that is wanted: the objects whose ETag did not change. Where it cannot be
    /// read, everything is downloaded.
    async fn unchanged(
        &self,
        index: &Index,
        paths: &BTreeMap<String, String>,
        last: Option<Last>,
    ) -> Option<(Option<flux_artifact::Spooled>, BTreeMap<String, Place>)> {
        let last = last?;
        let is_same = |key: &String, object: &Object| {
            let before = last.index.get(key);
            before.is_some_and(|before| before.etag == object.etag)
        };
        let same = index.iter().filter(|(key, object)| is_same(key, object));
        let same: Vec<&String> = same.map(|(key, _)| key).collect();
        if same.is_empty() {
            return None;
        }
        let (archive, folder) = (last.archive, self.folder.to_owned());
        let claim: Claim = self.budget.claim();
        let unpacking = move || {
            let spooled = files::unpack(archive, &folder, claim)?;
            let handles = files::handles(&spooled);
            Ok::<_, flux_artifact::ExtractError>((spooled, handles))
        };
        let unpacked = tokio::task::spawn_blocking(unpacking).await.ok()?;
        let (spooled, mut handles): (_, BTreeMap<Vec<u8>, Bytes>) = match unpacked {
            Ok(unpacked) => unpacked,
            Err(error) => {
                tracing::debug!(%error, "the last artifact is not used again");
                return None;
            }
        };
        let places = same.into_iter().filter_map(|key| {
            let handle = handles.remove(paths.get(key)?.as_bytes())?;
            Some((key.clone(), Place::Held(handle)))
        });
        let places = places.collect();
        Some((Some(spooled), places))
    }
}
