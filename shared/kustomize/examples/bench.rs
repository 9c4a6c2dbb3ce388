//! Benchmarks builds against the real tool: `cargo run --release -p flux-kustomize --example bench [RESOURCES ...]`.
//!
//! Each overlay has that many objects, with patches, labels, images and generators. If `kubectl` is installed, its
//! `kustomize` builds the same tree from disk, and the output is compared.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use flux_kustomize::{Build, Options, Order, Remotes, build};
use flux_tree::{Tree, TreePath};

fn files(resources: usize) -> Vec<(String, String)> {
    let mut objects = String::new();
    let mut patches = String::new();
    let mut generators = String::new();
    for at in 0..resources / 4 {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{at}\n  labels: {{app: a{at}}}\nspec:\n  replicas: 2\n  \
             selector:\n    matchLabels: {{app: a{at}}}\n  template:\n    metadata:\n      labels: {{app: a{at}}}\n    spec:\n      \
             serviceAccountName: app-{at}\n      containers:\n      - name: main\n        image: nginx:1.{at}\n        args: [serve, \
             --port=80]\n        env:\n        - name: MODE\n          value: fast\n        - name: FROM\n          valueFrom:\n            \
             configMapKeyRef: {{name: cm-{at}, key: a}}\n        ports:\n        - containerPort: 80\n---\napiVersion: v1\nkind: \
             Service\nmetadata:\n  name: app-{at}\nspec:\n  selector: {{app: a{at}}}\n  ports:\n  - port: 80\n---\napiVersion: \
             v1\nkind: ServiceAccount\nmetadata:\n  name: app-{at}\n---\n"
        );
        objects.push_str(&text);
        let text = format!("- name: cm-{at}\n  literals: [a={at}, b=x]\n");
        generators.push_str(&text);
        if at % 5 == 0 {
            let text = format!(
                "- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata:\n      name: app-{at}\n    spec:\n      \
                 template:\n        spec:\n          containers:\n          - name: main\n            resources: {{limits: {{cpu: 1}}}}\n"
            );
            patches.push_str(&text);
        }
    }
    let overlay = format!(
        "resources: [../base]\nnamespace: prod\nnamePrefix: p-\nlabels:\n- pairs: {{team: x}}\n  includeTemplates: true\nimages:\n- \
         name: nginx\n  newName: reg.example/nginx\npatches:\n{patches}- target: {{kind: Service}}\n  patch: |\n    - op: add\n      \
         path: /spec/type\n      value: ClusterIP\n"
    );
    vec![
        ("base/all.yaml".into(), objects),
        (
            "base/kustomization.yaml".into(),
            format!("resources: [all.yaml]\nconfigMapGenerator:\n{generators}"),
        ),
        ("over/kustomization.yaml".into(), overlay),
    ]
}

/// Peak memory of this process in KiB, 0 if unknown.
fn peak() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("VmHWM"))?
                .to_owned();
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or_default()
}

fn main() {
    let mut sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![100, 1_000, 10_000];
    }
    for size in sizes {
        let files = files(size);
        let mut tree = Tree::new();
        for (path, text) in &files {
            let path = TreePath::new(path).expect("the paths are fixed");
            tree.insert_file(path, text.clone(), false)
                .expect("a fresh tree");
        }
        let dir = TreePath::new("over").expect("a plain name");
        let mut options = Options::default();
        options.order = Order::Legacy; // as in kubectl's kustomize
        let mut best = f64::MAX;
        let mut text = String::new();
        for _ in 0..5 {
            let started = Instant::now();
            match build(&tree, &dir, &options, &Remotes::new()) {
                Ok(Build::Done(output)) => text = output.resources.to_yaml(),
                other => panic!("the overlay does not build: {other:?}"),
            }
            best = best.min(started.elapsed().as_secs_f64());
        }
        println!(
            "{size} objects: {:.1} ms, {:.1} us each, peak {} MiB, {} bytes",
            best * 1e3,
            best * 1e6 / size as f64,
            peak() / 1024,
            text.len()
        );
        real(size, &files, &text, best);
    }
}

fn real(size: usize, files: &[(String, String)], ours: &str, best: f64) {
    let root = std::env::temp_dir().join(format!("flux-kustomize-bench-{}", std::process::id()));
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
            .expect("a folder for the benchmark");
        fs::write(&path, text).expect("a file for the benchmark");
    }
    let started = Instant::now();
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", "kubectl", "kustomize"])
        .arg(root.join("over"))
        .output();
    let took = started.elapsed().as_secs_f64();
    let _ = fs::remove_dir_all(&root);
    match output {
        Ok(output) if output.status.success() => println!(
            "  kubectl kustomize, {size} objects: {:.0} ms, peak {} KiB; {:.1} times ours; same output: {}",
            took * 1e3,
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .last()
                .unwrap_or_default(),
            took / best,
            output.stdout == ours.as_bytes()
        ),
        _ => println!("  no kubectl here to compare with"),
    }
}
