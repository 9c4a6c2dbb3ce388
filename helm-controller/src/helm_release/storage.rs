//! The newest record of a release, and what is kept of it while it stays the same (HC-ACT-103, HC-ACT-104).

use flux_api::helm::{HelmRelease, ReleaseSnapshot};
use flux_helm::Release;
use flux_release::snapshot::{SnapshotError, verify_record};
use flux_release::{Newest, Records, RecordsError};
use flux_runtime::per_object::PerObject;
use flux_runtime::queue::Key;

use super::settings;
use super::snapshot::latest;
use super::state::{Match, Record};

/// What was found out about the newest record of each HelmRelease.
pub(crate) type Seen = PerObject<Known>;

/// What was found out about a record: it stays true while the record and the snapshot that it was compared with are the same.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Known {
    of: Identity,
    record: Record,
}

/// What identifies a record, and the snapshot that it is compared with.
#[derive(Clone, PartialEq, Eq)]
struct Identity {
    /// The cluster, changing with its credentials.
    cluster: String,
    namespace: String,
    name: String,
    revision: i64,
    resource_version: String,
    snapshot: Option<(Option<String>, String, Option<String>)>,
}

/// Where the records of a release are.
pub(super) struct Storage<'s> {
    pub(super) records: &'s Records,
    /// The cluster, changing with its credentials.
    pub(super) cluster: &'s str,
    /// The storage namespace.
    pub(super) namespace: &'s str,
    /// The name of the release.
    pub(super) name: &'s str,
}

impl Storage<'_> {
    /// The record that is known, if it is of this storage and was compared with this snapshot.
    fn known(&self, known: &Known, snapshot: Option<&ReleaseSnapshot>) -> Option<Newest> {
        let newest = Newest {
            revision: known.of.revision,
            resource_version: known.of.resource_version.clone(),
        };
        (self.identity(&newest, snapshot) == known.of).then_some(newest)
    }

    fn identity(&self, newest: &Newest, snapshot: Option<&ReleaseSnapshot>) -> Identity {
        Identity {
            cluster: self.cluster.to_owned(),
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
            revision: newest.revision,
            resource_version: newest.resource_version.clone(),
            snapshot: snapshot.map(|snapshot| {
                let version = snapshot.api_version.clone();
                (
                    version,
                    snapshot.digest.clone(),
                    snapshot.oci_digest.clone(),
                )
            }),
        }
    }
}

/// The newest record, compared with the latest snapshot, and what identifies it. Of a record that is known only metadata is
/// read.
///
/// # Errors
/// The records cannot be read (HC-ACT-046).
pub(super) async fn newest(
    storage: &Storage<'_>,
    history: &[ReleaseSnapshot],
    seen: &Seen,
    key: &Key,
) -> Result<Option<(Record, Newest)>, RecordsError> {
    if let Some(known) = seen.get(key)
        && let Some(newest) = storage.known(&known, latest(history))
        && storage.records.is_newest(storage.name, &newest).await?
    {
        return Ok(Some((known.record, newest)));
    }
    let Some(newest) = storage.records.newest(storage.name).await? else {
        seen.remove(key);
        return Ok(None);
    };
    let of = storage.identity(&newest, latest(history));
    if let Some(known) = seen.get(key).filter(|known| known.of == of) {
        return Ok(Some((known.record, newest)));
    }
    let Some(release) = storage.records.read(storage.name, &newest).await? else {
        return Ok(None);
    };
    let record = remember(storage, &newest, &release, history, seen, key);
    Ok(Some((record, newest)))
}

/// Keeps the newest record, read or just written, and returns it: as long as its Secret stays the same, it need not be read.
pub(super) fn remember(
    storage: &Storage<'_>,
    newest: &Newest,
    release: &Release,
    history: &[ReleaseSnapshot],
    seen: &Seen,
    key: &Key,
) -> Record {
    let snapshot = latest(history);
    let record = compared(release, snapshot);
    let known = Known {
        of: storage.identity(newest, snapshot),
        record: record.clone(),
    };
    seen.insert(key, known);
    record
}

/// What a record says, and how it compares with the latest snapshot (HC-ACT-035 to HC-ACT-037).
pub(super) fn compared(release: &Release, snapshot: Option<&ReleaseSnapshot>) -> Record {
    let matches = match snapshot.map(|snapshot| verify_record(snapshot, release)) {
        None | Some(Ok(())) => Match::Same,
        Some(Err(SnapshotError::Digest)) => Match::NoDigest,
        Some(Err(SnapshotError::NotObserved)) => Match::Other,
    };
    let chart = release.chart.as_ref();
    let metadata = chart.and_then(|chart| chart.metadata.as_ref());
    Record {
        status: release.status(),
        matches,
        chart_name: metadata.map(|m| m.name.clone()).unwrap_or_default(),
        chart_version: metadata.map(|m| m.version.clone()).unwrap_or_default(),
    }
}

/// Why the release has another target than the one in storage (HC-ACT-025).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    StorageNamespace,
    ReleaseNamespace,
    ReleaseName,
    ChartName,
}

impl Moved {
    /// The words in the log.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::StorageNamespace => "storage namespace",
            Self::ReleaseNamespace => "release namespace",
            Self::ReleaseName => "release name",
            Self::ChartName => "chart name",
        }
    }
}

/// Whether the release has another target than the one in storage, the chart's name included.
pub(super) fn moved(
    object: &HelmRelease,
    stored_in: Option<&str>,
    history: &[ReleaseSnapshot],
    chart_name: &str,
) -> Option<Moved> {
    let stored_in = stored_in.filter(|namespace| !namespace.is_empty())?;
    let current = latest(history)?;
    if settings::storage_namespace(object) != stored_in {
        Some(Moved::StorageNamespace)
    } else if settings::release_namespace(object) != current.namespace {
        Some(Moved::ReleaseNamespace)
    } else if settings::release_name(object) != current.name {
        Some(Moved::ReleaseName)
    } else if chart_name != current.chart_name {
        Some(Moved::ChartName)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
