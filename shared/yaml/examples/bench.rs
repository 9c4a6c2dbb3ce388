//! Benchmarks reading and writing against go-yaml: `cargo run --release -p flux-yaml --example bench [FILE ...]`.
//!
//! Without files, uses manifests as a chart renders them and the definitions in `manifests/crds`. Without Go, only this
//! crate is measured.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use flux_yaml::{Node, sigs, v3};
use oracle::{Answer, Oracle, base64};
use serde_json::json;

const ROUNDS: usize = 15;

/// Objects of the usual kinds, one document each.
fn manifests() -> Vec<String> {
    (0..200)
        .flat_map(|at| {
            let mut deployment = format!(
                "# Source: app/templates/deployment.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{at}\n  \
                 namespace: \"prod\"\n  labels:\n    app.kubernetes.io/name: app\n    app.kubernetes.io/version: \"1.{at}.0\"\n    \
                 helm.sh/chart: app-1.{at}.0\nspec:\n  replicas: 2\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: app\n  \
                 template:\n    metadata:\n      annotations:\n        checksum/config: 0123456789abcdef0123456789abcdef0123456789abcdef\n    \
                 spec:\n      containers:\n        - name: main\n          image: \"registry.example.com/team/app:1.{at}.0\"\n          \
                 imagePullPolicy: IfNotPresent\n          args: [\"serve\", \"--port=8080\", --verbose]\n          env:\n"
            );
            for n in 0..10 {
                let _ = write!(
                    deployment,
                    "            - name: VARIABLE_{n}\n              value: \"{n}{at}\"\n"
                );
            }
            deployment.push_str(
                "          resources:\n            limits:\n              cpu: 100m\n              memory: 128Mi\n          livenessProbe:\n            \
                 httpGet:\n              path: /healthz\n              port: 8080\n            initialDelaySeconds: 5\n",
            );
            let config = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-{at}\ndata:\n  level: info\n  timeout: 30s\n  note: This is a long line of \
                 text, as they stand in annotations and in descriptions, that goes on past the eightieth column\n  app.conf: |\n    \
                 [server]\n    listen = 0.0.0.0:8080\n    # how many\n    workers = 4\n\n    [log]\n    level = \"info\"\n    path = /var/log/app.log\n"
            );
            [deployment, config]
        })
        .collect()
}

fn definitions() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/crds");
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

/// Nanoseconds of the fastest round.
fn fastest<T>(mut step: impl FnMut() -> T) -> u128 {
    (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(step());
            began.elapsed().as_nanos()
        })
        .min()
        .unwrap_or_default()
}

fn measure(name: &str, documents: &[String]) {
    let bytes: usize = documents.iter().map(String::len).sum();
    let theirs = Oracle::start("yaml").map(|mut go| {
        let encoded: Vec<String> = documents.iter().map(base64).collect();
        go.ask(&json!({"mode": "speed", "documents": encoded, "rounds": ROUNDS}))
    });
    let mut ours = [
        ("sigs-read", 0),
        ("sigs-write", 0),
        ("v3-read", 0),
        ("v3-write", 0),
    ];
    let mut nodes = 0;
    for text in documents {
        let value = sigs::from_str(text).expect("the documents are YAML");
        let tree = v3::parse_all(text).expect("the documents are YAML");
        nodes += tree.iter().map(count).sum::<usize>();
        ours[0].1 += fastest(|| sigs::from_str(text));
        ours[1].1 += fastest(|| sigs::to_string(&value));
        ours[2].1 += fastest(|| v3::parse_all(text));
        ours[3].1 += fastest(|| v3::Encoder::kyaml().stream(&tree));
    }
    println!(
        "{name}: {} documents, {bytes} bytes, {nodes} nodes",
        documents.len()
    );
    for (step, took) in ours {
        let speed = bytes as f64 * 1e3 / took as f64;
        let beside = match &theirs {
            Some(Answer::Output(times)) => match times[step].as_f64() {
                Some(theirs) => format!("{:5.1} times go-yaml's", theirs / took as f64),
                None => "go-yaml did not say".to_owned(),
            },
            Some(other) => format!("{other:?}"),
            None => String::new(),
        };
        println!("  {step:<10} {speed:7.1} MB/s  {beside}");
    }
}

fn count(node: &Node) -> usize {
    1 + node.content.iter().map(count).sum::<usize>()
}

fn main() {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        measure("manifests", &manifests());
        measure("definitions", &definitions());
        return;
    }
    let documents: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}")))
        .collect();
    measure("files", &documents);
}
