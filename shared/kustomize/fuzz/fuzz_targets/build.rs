//! A kustomization file and a manifest of any bytes: no panic, no build without end.
#![no_main]

use flux_kustomize::{Options, Remotes, build, flux};
use flux_tree::{Tree, TreePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|files: (&[u8], &[u8])| {
    let mut tree = Tree::new();
    for (name, text) in [("kustomization.yaml", files.0), ("a.yaml", files.1)] {
        if let Ok(path) = TreePath::new(name) {
            let _ = tree.insert_file(path, text.to_vec(), false);
        }
    }
    let root = TreePath::root();
    let _ = build(&tree, &root, &Options::default(), &Remotes::new());
    if let Ok(prepared) = flux::prepare(&tree, &root, &flux::Overlay::default()) {
        let _ = build(&prepared.tree, &prepared.dir, &Options::flux(), &Remotes::new());
    }
});
