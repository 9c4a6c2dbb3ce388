//! Applies a strategic or JSON patch, after a line `-- patch --`, to an object: no panic.
#![no_main]

use flux_kustomize::{Options, Remotes, build};
use flux_tree::{Tree, TreePath};
use libfuzzer_sys::fuzz_target;

const ROOT: &str = "resources: [object.yaml]\npatches:\n- path: patch.yaml\n  target: {}\n";
const BETWEEN: &[u8] = b"-- patch --\n";

fuzz_target!(|text: &[u8]| {
    let at = text
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN)
        .unwrap_or(text.len());
    let (object, patch) = text.split_at(at);
    let patch = patch.strip_prefix(BETWEEN).unwrap_or(patch);
    let mut tree = Tree::new();
    let all = [
        ("kustomization.yaml", ROOT.as_bytes()),
        ("object.yaml", object),
        ("patch.yaml", patch),
    ];
    for (name, text) in all {
        if let Ok(path) = TreePath::new(name) {
            let _ = tree.insert_file(path, text.to_vec(), false);
        }
    }
    let _ = build(&tree, &TreePath::root(), &Options::flux(), &Remotes::new());
});
