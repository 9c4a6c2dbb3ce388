//! The state of stored objects as their metadata shows it: compared, listed and watched without the objects themselves.

use std::collections::BTreeMap;

use futures::stream::{BoxStream, StreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cluster::{Cluster, PAGE};
use crate::discovery::Resource;
use crate::error::RequestError;
use crate::object::{Metadata, Object, ObjectId};

/// What versions that are no numbers are marked with: no number of the server is that high.
const OPAQUE: u64 = 1 << 63;

/// In place of a generation: an option would take twice the memory.
const UNCOUNTED: i64 = i64::MIN;

/// The uid of a stored object, as 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u64; 2]);

impl Uid {
    /// The uid with this text.
    pub fn of(text: &str) -> Self {
        Self(halves(&blake3::hash(text.as_bytes())))
    }
}

/// The first 128 bits of a digest: nothing gains from two states that look alike but the one who wrote both.
fn halves(digest: &blake3::Hash) -> [u64; 2] {
    let mut halves = [0; 2];
    for (half, bytes) in halves.iter_mut().zip(digest.as_bytes().chunks_exact(8)) {
        *half = bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    }
    halves
}

/// The state of an object on the server, as its metadata shows it: 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// An object that was deleted and recreated has another one.
    pub uid: Uid,
    version: u64,
    /// [`UNCOUNTED`] of kinds that do not count their generations.
    generation: i64,
    /// The digest of the labels and annotations that only users and appliers write.
    metadata: [u64; 2],
}

impl Live {
    /// The state of an object as the server returned it; `None` if it lacks a uid or a resource version.
    pub fn of(object: &Object) -> Option<Self> {
        let pairs = |part| {
            let held = object.metadata(part).into_iter().flatten();
            held.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        };
        Self::new(
            (object.uid(), object.resource_version()),
            object
                .at(&["metadata", "generation"])
                .and_then(Value::as_i64),
            pairs(Metadata::Labels),
            pairs(Metadata::Annotations),
        )
    }

    fn new<'p>(
        (uid, version): (&str, &str),
        generation: Option<i64>,
        labels: impl Iterator<Item = (&'p str, &'p str)>,
        annotations: impl Iterator<Item = (&'p str, &'p str)>,
    ) -> Option<Self> {
        if uid.is_empty() || version.is_empty() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        hash(&mut hasher, labels);
        hash(&mut hasher, annotations);
        Some(Self {
            uid: Uid::of(uid),
            version: number(version),
            generation: generation.unwrap_or(UNCOUNTED),
            metadata: halves(&hasher.finalize()),
        })
    }

    /// Whether nothing that applying could affect has changed since: the resource version is the same, or the generation
    /// and the metadata are.
    pub fn is_untouched_since(&self, then: &Self) -> bool {
        self.uid == then.uid
            && (self.version == then.version
                || (self.generation != UNCOUNTED
                    && self.generation == then.generation
                    && self.metadata == then.metadata))
    }

    /// Whether this state of the same object is an earlier one. Versions of one object compare as numbers (KEP-5504);
    /// those that are no numbers have no order.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.uid == other.uid
            && self.version < other.version
            && (self.version | other.version) & OPAQUE == 0
    }

    /// The stored state, whatever its metadata.
    pub fn stored(&self) -> Version {
        Version {
            uid: self.uid,
            number: self.version,
        }
    }

    /// The resource version, unless it is no number.
    pub fn resource_version(&self) -> Option<u64> {
        (self.version & OPAQUE == 0).then_some(self.version)
    }
}

/// A stored state of an object: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// An object that was deleted and recreated has another one.
    uid: Uid,
    /// The resource version, which every write changes.
    number: u64,
}

impl Version {
    /// The state of an object as the server returned it; `None` if it lacks a uid or a resource version.
    pub fn of(object: &Map<String, Value>) -> Option<Self> {
        let metadata = object.get("metadata")?;
        let text = |key| metadata.get(key)?.as_str();
        Some(Self {
            uid: Uid::of(text("uid")?),
            number: number(text("resourceVersion")?),
        })
    }
}

/// A resource version as a number, or marked as none.
fn number(version: &str) -> u64 {
    let number = version.parse().ok().filter(|number| number & OPAQUE == 0);
    number.unwrap_or_else(|| halves(&blake3::hash(version.as_bytes()))[0] | OPAQUE)
}

/// Hashes entries in the order of their keys, each with its length. The Deployment controller counts revisions in an
/// annotation, which is left out.
fn hash<'p>(hasher: &mut blake3::Hasher, pairs: impl Iterator<Item = (&'p str, &'p str)>) {
    let mut pairs: Vec<(&str, &str)> = pairs
        .filter(|(key, _)| !key.starts_with("deployment.kubernetes.io/"))
        .collect();
    pairs.sort_unstable();
    hasher.update(&pairs.len().to_le_bytes());
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    }
}

/// An object of a list or a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its state.
    pub live: Live,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A page of a list of metadata.
#[derive(Debug)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Seen>,
    /// The version of the list, from which a watch continues.
    pub version: String,
    /// Asks for the next page, if there is one.
    pub next: Option<String>,
}

/// What a watch of metadata reports.
#[derive(Debug)]
pub enum Event {
    /// The object was stored.
    Stored(Seen),
    /// The object was deleted, or has lost the labels of the selector.
    Deleted(Seen),
    /// Nothing has happened.
    Bookmark,
}

/// An event, and the version from which a watch continues behind it.
#[derive(Debug)]
pub struct Versioned {
    /// The event.
    pub event: Event,
    /// The version.
    pub version: String,
}

/// The parts of an object that are read.
#[derive(Clone, Deserialize)]
struct Partial {
    metadata: Meta,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    uid: String,
    resource_version: String,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    /// None on a page without objects, such as the one after a full page that happens to be the last with any.
    items: Option<Vec<Partial>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    r#continue: String,
}

impl Partial {
    fn seen(self) -> Option<Seen> {
        let Meta {
            uid,
            resource_version,
            generation,
            labels,
            annotations,
        } = self.metadata;
        let (labels, annotations) = (labels.unwrap_or_default(), annotations.unwrap_or_default());
        let live = Live::new(
            (&uid, &resource_version),
            generation,
            labels.iter().map(|(key, value)| (&**key, &**value)),
            annotations.iter().map(|(key, value)| (&**key, &**value)),
        )?;
        Some(Seen { live, labels })
    }

    fn versioned(self, event: impl FnOnce(Seen) -> Event) -> Option<Versioned> {
        let version = self.metadata.resource_version.clone();
        let event = event(self.seen()?);
        Some(Versioned { event, version })
    }
}

impl Cluster {
    /// A page of the states of all objects of a kind that match a label selector.
    ///
    /// # Errors
    ///
    /// The server's; its code is 410 if the list cannot be continued.
    pub async fn list_live(
        &self,
        resource: &Resource,
        selector: &str,
        next: Option<&str>,
    ) -> Result<Page, RequestError> {
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        if let Some(next) = next {
            params = params.continue_token(next);
        }
        let request = Self::collection(resource, None)?.list_metadata(&params);
        let id = ObjectId {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            ..ObjectId::default()
        };
        let list: List = self.send_for(request, resource, &id).await?;
        Ok(Page {
            objects: (list.items.into_iter().flatten())
                .filter_map(Partial::seen)
                .collect(),
            version: list.metadata.resource_version,
            next: Some(list.metadata.r#continue).filter(|next| !next.is_empty()),
        })
    }

    /// Watches the states of all objects of a kind that match a label selector, from a version on, until the server ends
    /// the watch after about `seconds`. With bookmarks, so that an event comes at least every other minute.
    ///
    /// # Errors
    ///
    /// The server's; its code is 410 if the version is too old. An error of the stream ends it.
    pub async fn watch_live(
        &self,
        resource: &Resource,
        selector: &str,
        from: &str,
        seconds: u32,
    ) -> Result<BoxStream<'static, Result<Versioned, RequestError>>, RequestError> {
        let params = WatchParams::default().labels(selector).timeout(seconds);
        let request = Self::collection(resource, None)?.watch_metadata(&params, from);
        let request = request.map_err(|error| RequestError::local(error.to_string()))?;
        let events = self.client().request_events::<Partial>(request).await?;
        let events = events.map(|event: kube::Result<WatchEvent<Partial>>| match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                Ok(object.versioned(Event::Stored))
            }
            WatchEvent::Deleted(object) => Ok(object.versioned(Event::Deleted)),
            WatchEvent::Bookmark(bookmark) => Ok(Some(Versioned {
                event: Event::Bookmark,
                version: bookmark.metadata.resource_version,
            })),
            WatchEvent::Error(status) => Err(RequestError::from(*status)),
        });
        Ok(events
            .filter_map(|event| std::future::ready(event.transpose()))
            .boxed())
    }
}

#[cfg(test)]
mod tests;
