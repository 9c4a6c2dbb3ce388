//! Release records: each side reads the records that the other wrote.

mod support;

use flux_helm::{
    Chart, File, Hook, HookEvent, HookExecution, HookPhase, Info, Release, ReleaseChart,
    RenderOptions, SECRET_TYPE, Status, Time, decode, encode, load_values, render, secret_labels,
    secret_name, to_go_json,
};
use oracle::{Answer, Oracle, from_base64};
use serde_json::{Value, json};

/// A release with every kind of field; Helm writes and reads the same bytes.
fn release() -> Release {
    let time = |text| Time::parse(text).unwrap();
    let files = vec![
        // HE-REL-006, HE-REL-007, HE-REL-011
        File {
            mod_time: time("2024-01-02T03:04:05Z"),
            ..File::new(
                "Chart.yaml",
                "apiVersion: v2\nname: web\nversion: 1.0.0\nannotations: {a: '<&>'}\ndependencies: [{name: x, repository: ''}]\n",
            )
        },
        File::new(
            "Chart.lock",
            "digest: d\ngenerated: \"2024-01-02T03:04:05.5+02:00\"\ndependencies: []\n",
        ),
        File::new(
            "values.yaml",
            "a: 1.0\nb: 1e21\nc: [null, \"\u{2028}é\\u0001\"]\n",
        ),
        File::new("values.schema.json", "{}"),
        // HE-REL-004
        File::new("templates/a.yaml", "kind: Job\nx: {{ .Values.a }}\n"),
        File::new("README.md", ""),
    ];
    let chart = Chart::from_files(files).unwrap();
    let config = load_values(b"z: {b: 1e-7, a: [true, {}]}\ny: 12345678901234567890\n").unwrap();
    let rendered = render(&chart, &config, &RenderOptions::new("rel", "apps")).unwrap();
    // HE-REL-001
    Release {
        name: "rel".to_owned(),
        info: Some(Info {
            first_deployed: time("2024-01-02T03:04:05.123456789+02:00"),
            last_deployed: time("2024-01-02T03:04:06Z"),
            description: "Install complete".to_owned(),
            status: Some(Status::Deployed),
            // HE-REL-018
            rollback_revision: 2,
            notes: "a < b\n".to_owned(),
            ..Info::default()
        }),
        // HE-REL-003
        chart: Some(ReleaseChart::new(&chart, &rendered)),
        // HE-REL-009
        config,
        manifest: rendered.manifest(true),
        // HE-REL-008
        hooks: vec![Hook {
            name: "h".to_owned(),
            kind: "Job".to_owned(),
            path: "web/templates/h.yaml".to_owned(),
            manifest: "kind: Job\n".to_owned(),
            events: vec![HookEvent::PreInstall, HookEvent::Test],
            last_run: HookExecution {
                started_at: time("2024-01-02T03:04:05Z"),
                phase: HookPhase::Running,
                ..HookExecution::default()
            },
            weight: -5,
            delete_policies: vec!["hook-succeeded".to_owned()],
            ..Hook::default()
        }],
        revision: 3,
        namespace: "apps".to_owned(),
        apply_method: "ssa".to_owned(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
    }
}

fn json_text(release: &Release) -> String {
    String::from_utf8(to_go_json(release).unwrap()).unwrap()
}

#[test]
fn a_record_round_trips() {
    let mut release = release();
    let read = decode(encode(&release).unwrap().as_bytes()).unwrap();
    // Labels are part of the Secret, not of the record.
    release.labels.clear();
    assert_eq!(json_text(&read), json_text(&release));
    assert_eq!(read.info, release.info);
    assert_eq!(read.hooks, release.hooks);
}

#[test]
fn old_and_new_record_formats_are_read() {
    let old = r#"{"name":"r","info":{"first_deployed":"2020-01-01T00:00:00+01:00","deleted":"","status":"superseded","rollback_revision":2},
        "chart":{"metadata":{"name":"c"},"lock":null,"templates":null,"values":null,"schema":null,"files":null},
        "hooks":[{"name":"h","events":null,"last_run":{"started_at":"","completed_at":"","phase":""}}],"version":1,"unknown":{}}"#;
    // HE-REL-012: without compression
    let plain = oracle::base64(old);
    let read = decode(plain.as_bytes()).unwrap();
    // HE-REL-002: an empty time is zero
    let info = read.info.unwrap();
    // HE-REL-016
    assert_eq!(info.rollback_revision, 2);
    assert!(info.deleted.is_zero());
    assert_eq!(info.status, Some(Status::Superseded));
    assert_eq!(read.hooks[0].last_run, HookExecution::default());
    assert_eq!(read.apply_method, "");
    for broken in ["", "!", "bm90IGpzb24=", "H4sIAAAA"] {
        assert!(decode(broken.as_bytes()).is_err(), "{broken}");
    }
}

// HE-REL-010
#[test]
fn every_status_has_its_name_in_records_and_labels() {
    let names = [
        "unknown",
        "deployed",
        "uninstalled",
        "superseded",
        "failed",
        "uninstalling",
        "pending-install",
        "pending-upgrade",
        "pending-rollback",
    ];
    for name in names {
        let text = json!({ "name": "r", "info": { "status": name }, "version": 1 }).to_string();
        let read = decode(oracle::base64(text).as_bytes()).unwrap();
        assert_eq!(read.status().as_str(), name);
        assert_eq!(secret_labels(&read)["status"], name);
        assert!(json_text(&read).contains(&format!("\"status\":\"{name}\"")));
        assert_eq!(
            read.status().is_pending(),
            name.starts_with("pending"),
            "{name}"
        );
    }
    let odd = json!({ "name": "r", "info": { "status": "odd" } }).to_string();
    assert!(decode(oracle::base64(odd).as_bytes()).is_err());
}

// HE-REL-005, FR-H-010
#[test]
fn a_record_has_only_the_files_of_the_root_chart() {
    let file = |name: &str, text: &str| File::new(name, text.to_owned());
    let chart = Chart::from_files(vec![
        file("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        file("templates/root.yaml", "a: 1\n"),
        file("README.md", "of the root\n"),
        file(
            "charts/db/Chart.yaml",
            "apiVersion: v2\nname: db\nversion: 1.0.0\n",
        ),
        file("charts/db/templates/sub.yaml", "b: 1\n"),
        file("charts/db/README.md", "of the subchart\n"),
    ])
    .unwrap();
    let rendered = render(
        &chart,
        &flux_helm::Values::new(),
        &RenderOptions::new("rel", "apps"),
    );
    let rendered = rendered.unwrap();
    let record = Release {
        chart: Some(ReleaseChart::new(&chart, &rendered)),
        manifest: rendered.manifest(false),
        ..Release::default()
    };
    let read = decode(encode(&record).unwrap().as_bytes()).unwrap();
    let chart = read.chart.unwrap();
    let names = |files: &[File]| {
        files
            .iter()
            .map(|file| file.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&chart.templates), ["templates/root.yaml"]);
    assert_eq!(names(&chart.files), ["README.md"]);
    assert!(read.manifest.contains("b: 1"), "{}", read.manifest);
}

#[test]
fn helm_stores_the_same_record() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let release = release();
    let name = secret_name("rel", 3);
    let Answer::Output(secret) =
        go.ask(&json!({"mode": "store", "name": name, "text": json_text(&release)}))
    else {
        panic!("Helm does not store the release");
    };
    assert_eq!(secret["type"], SECRET_TYPE);
    let mut labels = secret["metadata"]["labels"].clone();
    labels.as_object_mut().unwrap().remove("createdAt");
    let mut ours = secret_labels(&release);
    // Labels are not in the JSON that Helm was given.
    ours.remove("team");
    assert_eq!(labels, json!(ours));
    let theirs = from_base64(secret["data"]["release"].as_str().unwrap()).unwrap();
    assert_eq!(json_text(&decode(&theirs).unwrap()), json_text(&release));
}

#[test]
fn helm_decodes_our_record_byte_for_byte() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let release = release();
    let text = encode(&release).unwrap();
    let Answer::Output(Value::String(theirs)) =
        go.ask(&json!({"mode": "read", "name": "r", "text": text}))
    else {
        panic!("Helm does not read the record");
    };
    assert_eq!(theirs, json_text(&release));
}

#[test]
fn globs_match_as_in_helm() {
    // HE-OBJ-005
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let paths = [
        "a.txt",
        "b.yaml",
        "conf/a.txt",
        "conf/b/c.txt",
        "conf/[x].txt",
        "a*b",
        ".dot",
    ];
    for pattern in [
        "*",
        "**",
        "*.txt",
        "conf/*",
        "conf/**",
        "**.txt",
        "{a,b}.*",
        "?.txt",
        "conf/?.txt",
        "[ab].*",
        "[!a].*",
        "a\\*b",
        ".*",
        "conf/**/*.txt",
    ] {
        let template =
            format!("{{{{ range $n, $_ := .Files.Glob {pattern:?} }}}}{{{{ $n }}}}|{{{{ end }}}}");
        let mut files = vec![
            File::new("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            File::new("templates/a.yaml", template),
        ];
        files.extend(paths.iter().map(|path| File::new(*path, "")));
        let chart = Chart::from_files(files).unwrap();
        let rendered = render(
            &chart,
            &flux_helm::Values::new(),
            &RenderOptions::new("rel", "apps"),
        );
        let ours = match rendered {
            Ok(rendered) => rendered
                .manifests
                .first()
                .map(|m| m.content.clone())
                .unwrap_or_default(),
            // A list of names is not always valid YAML; that message is not compared here.
            Err(_) => continue,
        };
        let Answer::Output(theirs) =
            go.ask(&json!({"mode": "glob", "pattern": pattern, "paths": paths}))
        else {
            panic!("{pattern}");
        };
        let mut matching: Vec<_> = paths
            .iter()
            .enumerate()
            .filter(|(i, _)| theirs[i] == json!(true))
            .map(|(_, path)| *path)
            .collect();
        matching.sort_unstable();
        let matching: String = matching.iter().flat_map(|path| [*path, "|"]).collect();
        assert_eq!(ours, matching, "{pattern}");
    }
}
