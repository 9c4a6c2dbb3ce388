//! Decides which stored files are garbage.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How many files one collection examines (SC-ART-042).
const MAX_FILES: usize = 1000;

/// How many files besides the current one are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Older files are removed (`--artifact-retention-ttl`).
    pub ttl: Duration,
    /// The most files that are kept, including the current one (`--artifact-retention-records`).
    pub records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            ttl: Duration::from_mins(1),
            records: 2,
        }
    }
}

/// A file in the folder of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFile {
    pub(crate) path: PathBuf,
    pub(crate) modified: SystemTime,
}

/// The files to remove: those older than the TTL and then, if too many remain, the oldest ones (SC-ART-040,
/// SC-ART-041). The current one is always kept.
pub(crate) fn garbage<'f>(
    files: &'f [StoredFile],
    current: &Path,
    now: SystemTime,
    retention: Retention,
) -> Vec<&'f StoredFile> {
    let seen = &files[..files.len().min(MAX_FILES)];
    let has_expired = |file: &StoredFile| {
        now.duration_since(file.modified)
            .is_ok_and(|age| age > retention.ttl)
    };
    let (mut victims, mut young): (Vec<_>, Vec<_>) = seen
        .iter()
        .filter(|file| file.path != current)
        .partition(|file| has_expired(file));
    let remaining = seen.len() - victims.len();
    let excess = remaining.saturating_sub(retention.records).min(young.len());
    // Files of the same time are sorted by name, so that none hides another (SC-ART-044).
    young.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
    victims.extend(young.drain(..excess));
    victims
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by name and age in seconds.
    fn files(ages: &[(&str, u64)], now: SystemTime) -> Vec<StoredFile> {
        let file = |(name, age): &(&str, u64)| StoredFile {
            path: PathBuf::from(name),
            modified: now - Duration::from_secs(*age),
        };
        ages.iter().map(file).collect()
    }

    // RT-ART-010
    #[test]
    fn garbage_is_selected_by_ttl_and_count() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (note, ages, records, want) in [
            (
                "nothing beside the current one",
                &[("now", 500)][..],
                2,
                &[][..],
            ),
            ("young ones stay", &[("now", 0), ("a", 10)], 2, &[]),
            // SC-ART-040
            ("the old go", &[("now", 0), ("a", 61), ("b", 10)], 2, &["a"]),
            (
                "the limit itself is not old",
                &[("now", 0), ("a", 60)],
                2,
                &[],
            ),
            (
                "the current one may be old",
                &[("now", 500), ("a", 100), ("b", 10)],
                2,
                &["a"],
            ),
            // SC-ART-041
            (
                "of the young the oldest go",
                &[("now", 0), ("a", 10), ("b", 30), ("c", 20)],
                2,
                &["b", "c"],
            ),
            (
                "old and too many",
                &[("now", 0), ("a", 90), ("b", 30), ("c", 20), ("d", 10)],
                2,
                &["a", "b", "c"],
            ),
            (
                "the current one never goes",
                &[("now", 50), ("a", 10), ("b", 5)],
                1,
                &["a", "b"],
            ),
            (
                "nor with no records kept",
                &[("now", 50), ("a", 10)],
                0,
                &["a"],
            ),
            // SC-ART-044, SW-ART-046
            (
                "equal times hide nothing",
                &[("now", 0), ("a", 10), ("b", 10), ("c", 10)],
                2,
                &["a", "b"],
            ),
            ("the future is young", &[("now", 0)], 2, &[]),
        ] {
            let files = files(ages, now);
            let retention = Retention {
                ttl: Duration::from_mins(1),
                records,
            };
            let found = garbage(&files, Path::new("now"), now, retention);
            let found: Vec<_> = found
                .iter()
                .map(|file| file.path.to_str().unwrap())
                .collect();
            assert_eq!(found, want, "{note}");
        }
    }

    // SC-ART-042, SW-ART-043
    #[test]
    fn one_garbage_collection_is_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let names: Vec<_> = (0..1500).map(|n| format!("f{n}")).collect();
        let ages: Vec<_> = names.iter().map(|name| (name.as_str(), 100)).collect();
        let found = garbage(
            &files(&ages, now),
            Path::new("none"),
            now,
            Retention::default(),
        )
        .len();
        assert_eq!(found, 1000);
    }
}
