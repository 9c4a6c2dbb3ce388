//! The results of the last runs, `status.history` (RT-CON-021, KC-API-042..046).

use std::collections::BTreeMap;
use std::time::Duration;

use flux_api::meta::{GoDuration, Snapshot, Time};
use jiff::Timestamp;

/// Maximum number of entries.
const MAX: usize = 5;

/// One run and its inputs.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Digest of the manifests, as `sha256:<hex>`.
    pub(super) digest: String,
    /// The revisions that the manifests were built from.
    pub(super) metadata: BTreeMap<String, String>,
}

/// Records a run that ended with `status` (a reason of Ready) after `took`, at `now`. Increments the count of the newest
/// entries if one has the same digest and status, else adds an entry; newest first.
pub(super) fn record(
    history: &mut Vec<Snapshot>,
    entry: &Entry,
    status: &str,
    took: Duration,
    now: Timestamp,
) {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let known = history
        .iter()
        .position(|old| old.digest == entry.digest && old.last_reconciled_status == status);
    let mut snapshot = match known {
        Some(at) => history.remove(at),
        None => Snapshot {
            digest: entry.digest.clone(),
            first_reconciled: now,
            last_reconciled: now,
            last_reconciled_duration: GoDuration::default(),
            last_reconciled_status: status.to_owned(),
            total_reconciliations: 0,
            metadata: BTreeMap::new(),
        },
    };
    snapshot.last_reconciled = now;
    snapshot.last_reconciled_duration = took.into();
    snapshot.total_reconciliations += 1;
    snapshot.metadata.clone_from(&entry.metadata);
    history.insert(0, snapshot);
    history.truncate(MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_counts_runs_by_digest_and_status() {
        let mut history = Vec::new();
        let mut run = |digest: &str, status: &str, second: i64| {
            let metadata = BTreeMap::from([("revision".to_owned(), format!("main@sha1:{second}"))]);
            let entry = Entry {
                digest: digest.into(),
                metadata,
            };
            let now = Timestamp::from_second(second).unwrap();
            record(
                &mut history,
                &entry,
                status,
                Duration::from_millis(1500),
                now,
            );
            history
                .iter()
                .map(|snapshot| (snapshot.digest.clone(), snapshot.total_reconciliations))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            run("a", "ReconciliationSucceeded", 1),
            [("a".to_owned(), 1)]
        );
        // KC-API-044
        assert_eq!(
            run("a", "HealthCheckFailed", 2).len(),
            2,
            "another status is another entry"
        );
        // RT-CON-021
        assert_eq!(
            run("a", "ReconciliationSucceeded", 3)[0],
            ("a".to_owned(), 2),
            "moved to the front"
        );
        for digest in ["b", "c", "d", "e"] {
            run(digest, "ReconciliationSucceeded", 4);
        }
        // KC-API-042
        let newest = &history[0];
        assert_eq!((newest.digest.as_str(), history.len()), ("e", MAX));
        assert_eq!(newest.last_reconciled_duration.to_string(), "1.5s");
        assert_eq!(newest.metadata["revision"], "main@sha1:4");
        assert_eq!(history[4].first_reconciled.0.as_second(), 1);
    }
}
