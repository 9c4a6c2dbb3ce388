//! The target of a release, and the newest record compared with the history.

use flux_helm::{DigestAlgorithm, Info, Status};
use flux_release::snapshot::snapshot;
use serde_json::json;

use super::*;
use crate::helm_release::settings::tests::object;

// HC-ACT-025
#[test]
fn a_release_has_moved_if_any_part_of_its_target_has() {
    let history = [ReleaseSnapshot {
        name: "web".to_owned(),
        namespace: "apps".to_owned(),
        chart_name: "chart".to_owned(),
        version: 1,
        ..ReleaseSnapshot::default()
    }];
    let of =
        |spec, stored: Option<&str>, chart: &str| moved(&object(spec), stored, &history, chart);
    let apps = Some("apps");
    assert_eq!(of(json!({}), apps, "chart"), None);
    for (spec, want) in [
        (
            json!({"storageNamespace": "s", "targetNamespace": "t", "releaseName": "r"}),
            Moved::StorageNamespace,
        ),
        (
            json!({"targetNamespace": "t", "releaseName": "r"}),
            Moved::ReleaseNamespace,
        ),
        (json!({"releaseName": "r"}), Moved::ReleaseName),
        (json!({}), Moved::ChartName),
    ] {
        assert_eq!(of(spec.clone(), apps, "other"), Some(want));
        // Nothing was released yet.
        assert_eq!(of(spec.clone(), None, "other"), None);
        assert_eq!(of(spec.clone(), Some(""), "other"), None);
        assert_eq!(moved(&object(spec), apps, &[], "other"), None);
    }
    assert_eq!(
        [
            Moved::StorageNamespace,
            Moved::ReleaseNamespace,
            Moved::ReleaseName,
            Moved::ChartName
        ]
        .map(Moved::words),
        [
            "storage namespace",
            "release namespace",
            "release name",
            "chart name"
        ]
    );
}

#[test]
fn a_record_is_compared_with_the_snapshot_of_it() {
    let release = Release {
        name: "web".to_owned(),
        revision: 1,
        info: Some(Info {
            status: Some(Status::Deployed),
            ..Info::default()
        }),
        ..Release::default()
    };
    let taken = snapshot(DigestAlgorithm::Sha512, &release, "install", "sha256:1");
    let matches = |snapshot: &ReleaseSnapshot| compared(&release, Some(snapshot)).matches;
    // HC-ACT-035
    assert_eq!(matches(&taken), Match::Same);
    let other = ReleaseSnapshot {
        oci_digest: None,
        ..taken.clone()
    };
    assert_eq!(matches(&other), Match::Other);
    let odd = ReleaseSnapshot {
        digest: "none".to_owned(),
        ..taken.clone()
    };
    assert_eq!(matches(&odd), Match::NoDigest);
    // HC-ACT-036
    let old = ReleaseSnapshot {
        api_version: None,
        ..odd
    };
    assert_eq!(matches(&old), Match::Same);
    assert_eq!(compared(&release, None).status, Status::Deployed);
}
