//! Compares the digests that helm-controller stores for a record with its own libraries: they are equal, so that this crate
//! can take over a release without a new revision.

use flux_helm::{
    DigestAlgorithm, Hook, HookEvent, HookExecution, HookPhase, Info, Release, ReleaseChart,
    Status, Time, Values, config_digest, decode, encode, is_snapshot_of, load_values,
    snapshot_digest, to_go_json,
};
use oracle::{Answer, Oracle};
use serde_json::json;

/// Values whose text or order is surprising.
const VALUES: &[&str] = &[
    "{}",
    "a: 1\n",
    "b: 1\na: 2\nB: 3\n\"10\": x\n\"9\": y\na-b: 1\na.b: 2\na/b: 3\n",
    "a: [1, 1.0, 1.5, -0.0, 1e3, 1e21, 1e-7, 123456789012345678, 12345678901234567890, 9007199254740993, 0.1, -9223372036854775808, 9223372036854775807, 18446744073709551615, 18446744073709549568, 1e20, -1e19, 1.7976931348623157e308]\n",
    "a: [true, false, null, ~, 'true', 'null', 'yes', 'on', 'y', '~', '']\n",
    "a: ['1', '1.0', '0x10', '0o7', '1_000', '1e3', '.inf', '2024-01-02', '12:30:45', '=', '<<']\n",
    // FR-H-014: tables within lists, and below text that is long or foreign
    "a: {z: {y: {x: [{b: 1, a: 2}, [{d: 1, c: 2}]]}}, empty: {}, none: []}\n",
    "a: |\n  two\n  lines\nb: \"trailing \"\nc: ' leading'\nd: \"\\ttab\"\ne: \"line\\n\\nline\\n\\n\"\nf: '# x'\ng: 'a: b'\nh: '- x'\n",
    "a: 'a text of many words that goes on for more than eighty columns, so that somebody may want to fold it at a blank'\n",
    "a: \"é 日本 \\u2028 \\u00a0 \\U0001F600 \\u0001 \\u0085 <&> ' \\\" \\\\\"\n",
    "\"a b\": 1\n'a: b': 2\n'': 3\n'#': 4\n\"é\": 5\ntrue: 6\n1: 7\n",
    "'a text of many words that goes on for more than a hundred and twenty-eight columns, so that as a key it cannot stand simply before its colon': x\n",
];

fn release(config: Values) -> Release {
    let time = |text: &str| Time::parse(text).unwrap();
    let hook = |name: &str, events: Vec<HookEvent>| Hook {
        name: name.to_owned(),
        kind: "Job".to_owned(),
        path: "web/templates/hook.yaml".to_owned(),
        manifest: "kind: Job # <&>\n".to_owned(),
        events,
        last_run: HookExecution {
            started_at: time("2024-01-02T03:04:05.5Z"),
            phase: HookPhase::Succeeded,
            ..HookExecution::default()
        },
        weight: -1,
        delete_policies: vec!["before-hook-creation".to_owned()],
        output_log_policies: Vec::new(),
    };
    let chart = json!({
        "metadata": {
            "name": "web", "version": "1.2.3+build", "apiVersion": "v2", "appVersion": "<2>",
            "annotations": {"b": "x", "a": "&"}, "dependencies": [{"name": "d", "repository": ""}],
            "maintainers": [{"name": "m"}],
        },
        "lock": null, "templates": [{"name": "a", "data": "eA=="}], "values": {"x": 1}, "schema": null, "files": null,
    });
    Release {
        name: "web".to_owned(),
        info: Some(Info {
            first_deployed: time("2024-01-02T03:04:05.123456789+02:00"),
            last_deployed: time("2024-01-02T03:04:06Z"),
            description: "Upgrade \"web\" failed: <x>".to_owned(),
            status: Some(Status::Failed),
            notes: "n & n\n".to_owned(),
            ..Info::default()
        }),
        chart: Some(serde_json::from_value::<ReleaseChart>(chart).unwrap()),
        config,
        manifest: "---\n# Source: web/templates/a.yaml\nx: \"\u{2029}\"\n".to_owned(),
        hooks: vec![
            hook("tested", vec![HookEvent::PreInstall, HookEvent::Test]),
            hook("ran", vec![HookEvent::PreInstall]),
            hook("test", vec![HookEvent::Test]),
        ],
        revision: 7,
        namespace: "apps".to_owned(),
        apply_method: "ssa".to_owned(),
        ..Release::default()
    }
}

/// Compares the digests of both sides for the record as decoded from its Secret.
fn compare(go: &mut Oracle, release: &Release, oci_digest: &str) {
    let read = decode(encode(release).unwrap().as_bytes()).unwrap();
    let record = String::from_utf8(to_go_json(release).unwrap()).unwrap();
    let request = json!({"mode": "digests", "record": record, "ociDigest": oci_digest});
    let Answer::Output(theirs) = go.ask(&request) else {
        panic!("no digests of {record}");
    };
    let algorithm = DigestAlgorithm::Sha256;
    let config = config_digest(algorithm, &read.config);
    assert_eq!(config.as_deref(), theirs["config"].as_str(), "{record}");
    let snapshot = snapshot_digest(algorithm, &read, oci_digest);
    assert_eq!(snapshot.as_deref(), theirs["snapshot"].as_str(), "{record}");
    let known = is_snapshot_of(theirs["snapshot"].as_str().unwrap(), &read, oci_digest);
    assert_eq!(known, Ok(true));
    // Values from a spec have the same digest as those in the record.
    assert_eq!(
        config_digest(algorithm, &release.config),
        config,
        "{record}"
    );
}

// HE-TEST-004 HC-TEST-013
#[test]
fn record_digests_match_helm_controller() {
    let Some(mut go) = Oracle::start("helm-digests") else {
        return;
    };
    for text in VALUES {
        let config = load_values(text.as_bytes()).unwrap();
        // HC-ACT-079, HC-VAL-017
        compare(&mut go, &release(config), "");
    }
    let config = load_values(b"a: b\n").unwrap();
    compare(&mut go, &release(config.clone()), "sha256:0a");
    let bare = Release {
        config,
        ..Release::default()
    };
    compare(&mut go, &bare, "");
    let only_tests = Release {
        hooks: vec![Hook {
            events: vec![HookEvent::Test],
            ..Hook::default()
        }],
        chart: None,
        info: None,
        ..bare
    };
    compare(&mut go, &only_tests, "");
}

#[test]
fn a_modified_record_has_another_digest() {
    let mine = release(load_values(b"a: b\n").unwrap());
    let digest = snapshot_digest(DigestAlgorithm::Blake3, &mine, "").unwrap();
    assert!(digest.starts_with("blake3:"), "{digest}");
    assert_eq!(is_snapshot_of(&digest, &mine, ""), Ok(true));
    let changes: [fn(&mut Release); 6] = [
        |r| r.revision += 1,
        |r| r.manifest.push('\n'),
        |r| r.set_status(Status::Deployed, "x"),
        |r| r.config.clear(),
        |r| r.hooks[1].last_run.phase = HookPhase::Failed,
        |r| r.namespace.push('x'),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut other = mine.clone();
        change(&mut other);
        assert_eq!(
            is_snapshot_of(&digest, &other, ""),
            Ok(false),
            "change {at}"
        );
    }
    // The chart's templates and defaults are not part of the digest, nor are the runs of tests.
    let mut same = mine.clone();
    same.chart.as_mut().unwrap().templates.clear();
    same.chart.as_mut().unwrap().values = None;
    same.hooks[2].last_run.phase = HookPhase::Failed;
    assert_eq!(is_snapshot_of(&digest, &same, ""), Ok(true));
}
