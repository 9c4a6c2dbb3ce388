//! An object and a patch of any bytes, strategic or JSON: no panic.
#![no_main]

use flux_kustomize::{Options, Remotes, build};
use flux_tree::{Tree, TreePath};
use libfuzzer_sys::fuzz_target;

const ROOT: &str = "resources: [object.yaml]\npatches:\n- path: patch.yaml\n  target: {}\n";

fuzz_target!(|files: (&[u8], &[u8])| {
    let mut tree = Tree::new();
    let all = [
        ("kustomization.yaml", ROOT.as_bytes()),
        ("object.yaml", files.0),
        ("patch.yaml", files.1),
    ];
    for (name, text) in all {
        if let Ok(path) = TreePath::new(name) {
            let _ = tree.insert_file(path, text.to_vec(), false);
        }
    }
    let _ = build(&tree, &TreePath::root(), &Options::flux(), &Remotes::new());
});
