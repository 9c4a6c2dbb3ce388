//! Builds a tree of arbitrary files, each after a line `-- name --` as in the pages of `tests/golden`: no panic, no
//! endless build.
#![no_main]

use flux_kustomize::{Options, Remotes, build, flux};
use flux_tree::{Tree, TreePath};
use libfuzzer_sys::fuzz_target;

fn tree(text: &[u8]) -> Tree {
    let mut tree = Tree::new();
    let (mut name, mut content) = (b"kustomization.yaml".to_vec(), Vec::new());
    let mut put = |name: &[u8], content: &[u8]| {
        if let Ok(path) = TreePath::new(&String::from_utf8_lossy(name)) {
            let _ = tree.insert_file(path, content.to_vec(), false);
        }
    };
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let header = line.trim_ascii_end();
        match header
            .strip_prefix(b"-- ")
            .and_then(|rest| rest.strip_suffix(b" --"))
        {
            Some(next) => {
                put(&name, &content);
                name = next.to_vec();
                content.clear();
            }
            None => content.extend_from_slice(line),
        }
    }
    put(&name, &content);
    tree
}

fuzz_target!(|text: &[u8]| {
    let tree = tree(text);
    let root = TreePath::root();
    let _ = build(&tree, &root, &Options::default(), &Remotes::new());
    if let Ok(prepared) = flux::prepare(&tree, &root, &flux::Overlay::default()) {
        let _ = build(
            &prepared.tree,
            &prepared.dir,
            &Options::flux(),
            &Remotes::new(),
        );
    }
});
