//! Snapshots, and their comparison with records.

use std::collections::BTreeMap;

use flux_api::helm::TestFilter;
use flux_helm::{
    DigestAlgorithm, Hook, HookEvent, HookExecution, HookPhase, Info, Release, ReleaseChart,
    Status, Time,
};

use super::{
    SNAPSHOT_API_VERSION, SnapshotError, snapshot, test_hooks, test_options, verify_record,
};

fn time(text: &str) -> Time {
    Time::parse(text).unwrap()
}

fn release() -> Release {
    let metadata = flux_chart_metadata("1.2.3+0cc9a8446c95");
    let mut release = Release {
        name: "web".to_owned(),
        namespace: "apps".to_owned(),
        revision: 7,
        info: Some(Info {
            first_deployed: time("2026-05-04T10:00:00.123456789Z"),
            last_deployed: time("2026-05-05T10:00:00Z"),
            ..Info::default()
        }),
        chart: Some(ReleaseChart {
            metadata: Some(metadata),
            ..ReleaseChart::default()
        }),
        config: [("a".to_owned(), 1.0.into())].into_iter().collect(),
        manifest: "---\nkind: A\n".to_owned(),
        hooks: vec![
            hook("up", HookEvent::PreUpgrade, HookPhase::Succeeded),
            hook("first", HookEvent::Test, HookPhase::Succeeded),
            hook("second", HookEvent::Test, HookPhase::Failed),
            hook("third", HookEvent::Test, HookPhase::None),
        ],
        ..Release::default()
    };
    release.set_status(Status::Deployed, "Upgrade complete");
    release
}

fn flux_chart_metadata(version: &str) -> flux_helm::Metadata {
    let mut metadata = flux_helm::Metadata::default();
    metadata.name = "podinfo".to_owned();
    metadata.version = version.to_owned();
    metadata.app_version = "6.0".to_owned();
    metadata
}

fn hook(name: &str, event: HookEvent, phase: HookPhase) -> Hook {
    let ran = phase != HookPhase::None;
    let at = |text| if ran { time(text) } else { Time::zero() };
    Hook {
        name: name.to_owned(),
        events: vec![event],
        last_run: HookExecution {
            started_at: at("2026-05-05T10:00:01Z"),
            completed_at: at("2026-05-05T10:00:02Z"),
            phase,
        },
        ..Hook::default()
    }
}

#[test]
fn a_snapshot_has_what_upstream_records() {
    let release = release();
    let taken = snapshot(DigestAlgorithm::Sha256, &release, "upgrade", "sha256:ab");
    let mut json = serde_json::to_value(&taken).unwrap();
    let digest = json["digest"].take();
    assert!(digest.as_str().unwrap().starts_with("sha256:"), "{digest}");
    assert_eq!(
        json,
        serde_json::json!({
            // HC-ACT-080
            "action": "upgrade", "apiVersion": "v2", "appVersion": "6.0", "chartName": "podinfo",
            "chartVersion": "1.2.3+0cc9a8446c95", "digest": null,
            "configDigest": "sha256:37b128c59f1f5097f73f82691cb519f1f568667faab5ced1b4ab979d36837eae",
            "firstDeployed": "2026-05-04T10:00:00Z", "lastDeployed": "2026-05-05T10:00:00Z",
            "name": "web", "namespace": "apps", "ociDigest": "sha256:ab", "status": "deployed", "version": 7,
        }),
    );
    // HC-ACT-081, HC-PROC-015
    let bare = snapshot(DigestAlgorithm::Blake3, &Release::default(), "", "");
    assert_eq!(
        (bare.action, bare.oci_digest, bare.deleted),
        (None, None, None)
    );
    assert!(bare.digest.starts_with("blake3:"), "{}", bare.digest);
    assert!(
        bare.config_digest.starts_with("blake3:af1349b9"),
        "{}",
        bare.config_digest
    );
}

#[test]
fn only_the_record_of_a_snapshot_is_verified() {
    type Edit = fn(&mut Release);
    // HC-ACT-035, HC-ACT-078
    let release = release();
    let taken = snapshot(DigestAlgorithm::Sha512, &release, "install", "sha256:ab");
    assert_eq!(verify_record(&taken, &release), Ok(()));
    let edits: [(&str, Edit, bool); 9] = [
        ("name", |r| r.name = "other".to_owned(), false),
        ("revision", |r| r.revision = 8, false),
        ("status", |r| r.set_status(Status::Superseded, "x"), false),
        ("values", |r| r.config.clear(), false),
        ("manifest", |r| r.manifest.push('\n'), false),
        (
            "rollback",
            |r| r.info.get_or_insert_default().rollback_revision = 3,
            false,
        ),
        ("hook", |r| r.hooks[0].weight = 1, false),
        // HC-ACT-038, HC-TEST-013
        (
            "test",
            |r| r.hooks[2].last_run.phase = HookPhase::Succeeded,
            true,
        ),
        // The labels of the Secret and the apply method are not part of it.
        ("method", |r| r.apply_method = "ssa".to_owned(), true),
    ];
    for (what, edit, is_same) in edits {
        let mut edited = release.clone();
        edit(&mut edited);
        let want = if is_same {
            Ok(())
        } else {
            Err(SnapshotError::NotObserved)
        };
        assert_eq!(verify_record(&taken, &edited), want, "{what}");
    }
    let mut other = taken.clone();
    other.oci_digest = Some("sha256:cd".to_owned());
    assert_eq!(
        verify_record(&other, &release),
        Err(SnapshotError::NotObserved)
    );
    other.digest = "sha256:short".to_owned();
    assert_eq!(verify_record(&other, &release), Err(SnapshotError::Digest));
    // HC-ACT-036
    for version in [None, Some("v1".to_owned())] {
        other.api_version = version;
        assert_eq!(verify_record(&other, &release), Ok(()));
    }
    assert_eq!(SNAPSHOT_API_VERSION, "v2");
    let texts = [SnapshotError::Digest, SnapshotError::NotObserved].map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            "release digest verification error",
            "release not observed to be made for object"
        ]
    );
}

fn filter(name: &str, exclude: bool) -> TestFilter {
    TestFilter {
        exclude,
        name: name.to_owned(),
    }
}

#[test]
fn filters_select_tests_and_their_results() {
    let release = release();
    let names = |filters: &[TestFilter]| {
        let hooks = test_hooks(&release, filters);
        hooks.into_keys().collect::<Vec<_>>().join(" ")
    };
    for (filters, want) in [
        // HC-TEST-005
        (vec![], "first second third"),
        // HC-TEST-003
        (vec![filter("first", false)], "first"),
        (vec![filter("first", true)], "second third"),
        (vec![filter("first", true), filter("first", false)], ""),
        (
            vec![
                filter("third", false),
                filter("first", true),
                filter("second", false),
            ],
            "second third",
        ),
        (vec![filter("unknown", false)], ""),
        (vec![filter("up", false)], ""),
    ] {
        assert_eq!(names(&filters), want, "{filters:?}");
    }
    let options = test_options(&[filter("a", true), filter("b", false), filter("c", true)]);
    assert_eq!(options.include, ["b"]);
    assert_eq!(options.exclude, ["a", "c"]);
    // HC-TEST-009
    let results: BTreeMap<String, serde_json::Value> = test_hooks(&release, &[])
        .into_iter()
        .map(|(name, hook)| (name, serde_json::to_value(hook).unwrap()))
        .collect();
    assert_eq!(
        results["second"],
        serde_json::json!({
            "lastStarted": "2026-05-05T10:00:01Z", "lastCompleted": "2026-05-05T10:00:02Z", "phase": "Failed",
        })
    );
    assert_eq!(results["third"], serde_json::json!({}));
}
