//! Whether the tags of an image are listed in this run.

use std::fmt;
use std::time::Duration;

use flux_api::image::{ImageRepository, ImageRepositorySpec};
use flux_api::meta::{GoDuration, Time};
use flux_runtime::run::REQUESTED_AT;
use jiff::Timestamp;
use kube::ResourceExt as _;

/// What is left out if the spec names nothing (IR-REPO-021): the signatures of cosign.
const DEFAULT_EXCLUSIONS: &str = r"^.*\.sig$";
/// A scan that would be due within this time is made now.
const SOON: Duration = Duration::from_secs(1);

/// Why the tags are listed, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanReason {
    /// They never were.
    First,
    /// A request asks for it.
    Requested,
    /// The image is another one than before.
    NewImage,
    /// The exclusions are others than before.
    NewExclusions,
    /// The store has no tags, or others than the last scan found.
    NoTags,
    /// The interval is over.
    Interval,
}

impl fmt::Display for ScanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first scan",
            Self::Requested => "reconcile requested",
            Self::NewImage => "new image name",
            Self::NewExclusions => "updated exclusion list",
            Self::NoTags => "no tags in database",
            Self::Interval => "triggered by interval",
        })
    }
}

/// What is done in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The tags are listed.
    Scan(ScanReason),
    /// They are listed when this time is over.
    Wait(Duration),
}

/// The expressions for tags that are left out (IR-REPO-020, IR-REPO-021).
pub(super) fn exclusions(spec: &ImageRepositorySpec) -> Vec<String> {
    if spec.exclusion_list.is_empty() {
        return vec![DEFAULT_EXCLUSIONS.to_owned()];
    }
    spec.exclusion_list.clone()
}

/// Why the image `canonical` is scanned whatever the store holds, if it is (IR-REPO-070 to IR-REPO-073).
pub(super) fn before_the_store(
    object: &ImageRepository,
    canonical: &str,
    exclusions: &[String],
) -> Option<ScanReason> {
    let status = object.status.clone().unwrap_or_default();
    if status.last_scan_result.is_none() {
        return Some(ScanReason::First);
    }
    let requested = object.annotations().get(REQUESTED_AT);
    if requested.is_some() && requested != status.last_handled_reconcile_at.as_ref() {
        return Some(ScanReason::Requested);
    }
    if status.canonical_image_name.as_deref().unwrap_or_default() != canonical {
        return Some(ScanReason::NewImage);
    }
    let observed = &status.observed_exclusion_list;
    let is_equal = exclusions.len() == observed.len()
        && exclusions.iter().all(|pattern| observed.contains(pattern));
    (!is_equal).then_some(ScanReason::NewExclusions)
}

/// What is done where the store holds the tags of the revision `stored` (IR-REPO-075, IR-REPO-076). Tags of another revision
/// than the status names are those of a scan that this process knows nothing of, and count as none (FR-N-077).
pub(super) fn after_the_store(
    object: &ImageRepository,
    stored: Option<&str>,
    now: Timestamp,
) -> Decision {
    let status = object.status.as_ref();
    let last = status.and_then(|status| status.last_scan_result.clone());
    let last = last.unwrap_or_default();
    if stored.is_none() || stored != last.revision.as_deref() {
        return Decision::Scan(ScanReason::NoTags);
    }
    let Time(scanned) = last.scan_time.unwrap_or_default();
    let passed = i64::try_from(now.duration_since(scanned).as_nanos()).unwrap_or(i64::MAX);
    let left = object.spec.interval.nanoseconds().saturating_sub(passed);
    let left = GoDuration::from_nanoseconds(left).to_std();
    if left < SOON {
        Decision::Scan(ScanReason::Interval)
    } else {
        Decision::Wait(left)
    }
}

#[cfg(test)]
mod tests {
    use flux_api::image::{ImageRepositoryStatus, ScanResult};

    use super::*;

    const IMAGE: &str = "ghcr.io/org/app";

    fn scanned() -> ImageRepository {
        let spec = ImageRepositorySpec {
            image: IMAGE.to_owned(),
            interval: "5m".parse().unwrap(),
            ..ImageRepositorySpec::default()
        };
        let mut object = ImageRepository::new("app", spec);
        object.status = Some(ImageRepositoryStatus {
            canonical_image_name: Some(IMAGE.to_owned()),
            observed_exclusion_list: vec![DEFAULT_EXCLUSIONS.to_owned()],
            last_scan_result: Some(ScanResult {
                revision: Some("sha256:1".to_owned()),
                scan_time: Some("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().into()),
                ..ScanResult::default()
            }),
            ..ImageRepositoryStatus::default()
        });
        object
    }

    fn early(object: &ImageRepository) -> Option<ScanReason> {
        before_the_store(object, IMAGE, &exclusions(&object.spec))
    }

    #[test]
    fn the_status_and_the_spec_ask_for_a_scan() {
        assert_eq!(early(&scanned()), None);
        // IR-REPO-070
        assert_eq!(
            early(&ImageRepository::new("app", ImageRepositorySpec::default())),
            Some(ScanReason::First)
        );
        // IR-REPO-071
        let mut object = scanned();
        object
            .annotations_mut()
            .insert(REQUESTED_AT.into(), "a".into());
        assert_eq!(early(&object), Some(ScanReason::Requested));
        let status = object.status.as_mut().unwrap();
        status.last_handled_reconcile_at = Some("a".into());
        assert_eq!(early(&object), None);
        // IR-REPO-072
        let moved = before_the_store(&object, "ghcr.io/org/b", &exclusions(&object.spec));
        assert_eq!(moved, Some(ScanReason::NewImage));
    }

    // IR-REPO-073, IR-REPO-020
    #[test]
    fn exclusions_are_compared_without_their_order() {
        let list = |patterns: &[&str]| patterns.iter().map(|&text| text.to_owned()).collect();
        for (spec, observed, expected) in [
            (&["a", "b"][..], &["b", "a"][..], None),
            (&["a", "a"], &["a", "b"], None),
            (&["a"], &["a", "b"], Some(ScanReason::NewExclusions)),
            (&["a", "c"], &["a", "b"], Some(ScanReason::NewExclusions)),
            // IR-REPO-021
            (&[], &[DEFAULT_EXCLUSIONS], None),
            (&[], &[], Some(ScanReason::NewExclusions)),
        ] {
            let mut object = scanned();
            object.spec.exclusion_list = list(spec);
            object.status.as_mut().unwrap().observed_exclusion_list = list(observed);
            assert_eq!(early(&object), expected, "{spec:?} {observed:?}");
        }
    }

    #[test]
    fn the_store_and_the_interval_ask_for_a_scan() {
        let decide = |stored: Option<&str>, now: &str| {
            after_the_store(&scanned(), stored, now.parse().unwrap())
        };
        let at = "2026-01-01T00:01:00Z";
        let left = Decision::Wait(Duration::from_mins(4));
        assert_eq!(decide(Some("sha256:1"), at), left);
        // IR-REPO-075, IR-DB-002
        assert_eq!(decide(None, at), Decision::Scan(ScanReason::NoTags));
        // FR-N-077
        let other = decide(Some("sha256:2"), at);
        assert_eq!(other, Decision::Scan(ScanReason::NoTags));
        // IR-REPO-076
        for (now, expected) in [
            (
                "2026-01-01T00:04:59Z",
                Decision::Wait(Duration::from_secs(1)),
            ),
            (
                "2026-01-01T00:04:59.1Z",
                Decision::Scan(ScanReason::Interval),
            ),
            ("2026-01-01T02:00:00Z", Decision::Scan(ScanReason::Interval)),
        ] {
            assert_eq!(decide(Some("sha256:1"), now), expected, "{now}");
        }
    }

    // FR-N-073: a status of an older release, which had no revision
    #[test]
    fn a_scan_without_a_revision_is_made_again() {
        let mut object = scanned();
        let status = object.status.as_mut().unwrap();
        status.last_scan_result.as_mut().unwrap().revision = None;
        for stored in [None, Some("sha256:1")] {
            let decision = after_the_store(&object, stored, Timestamp::now());
            assert_eq!(decision, Decision::Scan(ScanReason::NoTags));
        }
    }
}
