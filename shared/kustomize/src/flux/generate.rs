//! Generates a kustomization for a folder without one.

use std::rc::Rc;

use flux_tree::{Entry, ResolveError, Tree, TreePath};
use flux_yaml::{Map, Value};

use super::GenerateError;
use crate::meter::Meter;
use crate::node;
use crate::options::Limits;
use crate::target::FILE_NAMES;

/// A root kustomization for a folder without one: it lists every folder that has one, and every manifest (KC-BLD-002).
pub(super) fn root(tree: &Tree, dir: &TreePath, meter: &Rc<Meter>) -> Result<Map, GenerateError> {
    let found = scan(tree, dir, meter)?;
    let mut root = Map::new();
    if found.is_empty() {
        // KC-BLD-005
        root.insert("namespace".into(), "_placeholder".into());
    } else {
        root.insert("resources".into(), Value::Seq(found));
    }
    Ok(root)
}

/// Walks the folders, each at the position of its name among the files next to it, without recursion: folders may be
/// nested deeper than the stack permits.
fn scan(tree: &Tree, base: &TreePath, meter: &Rc<Meter>) -> Result<Vec<Value>, GenerateError> {
    let below = |dir: &TreePath| {
        let all: Vec<TreePath> = tree.children(dir).map(|(path, _)| path.clone()).collect();
        all.into_iter()
    };
    let mut found = Vec::new();
    let mut open = vec![below(base)];
    while let Some(folder) = open.last_mut() {
        let Some(path) = folder.next() else {
            open.pop();
            continue;
        };
        meter
            .work(path.as_str().len() / 16)
            .map_err(|stop| GenerateError::Bound(stop.into_error()))?;
        let relative = || {
            let below = path.strip_prefix(base).unwrap_or_default();
            Value::String(format!("./{}", below.as_str()))
        };
        match tree.get(&path) {
            Some(Entry::Directory) => {
                // The walk visits folders, not links to folders, so only the last part of a path can be a link.
                let is_file = |file: &TreePath| match tree.get(file) {
                    Some(Entry::File(_)) => true,
                    Some(Entry::Symlink(_)) => tree.file(file).is_ok(),
                    _ => false,
                };
                let is_kustomization = FILE_NAMES
                    .iter()
                    .any(|name| path.join(name).is_ok_and(|file| is_file(&file)));
                if is_kustomization {
                    found.push(relative());
                } else {
                    open.push(below(&path));
                }
            }
            Some(entry) => {
                let is_link = matches!(entry, Entry::Symlink(_));
                if is_link && matches!(tree.resolve(&path), Err(ResolveError::Escapes { .. })) {
                    return Err(GenerateError::Escapes { path });
                }
                // Extensions in capitals do not count.
                if !matches!(path.file_name().rsplit_once('.'), Some((_, "yaml" | "yml"))) {
                    continue;
                }
                check(tree, &path, meter)?;
                found.push(relative());
            }
            None => {}
        }
    }
    Ok(found)
}

/// KC-BLD-003
fn check(tree: &Tree, path: &TreePath, meter: &Rc<Meter>) -> Result<(), GenerateError> {
    let fail = |message: String| GenerateError::Undecodable {
        path: path.clone(),
        message,
    };
    let text = tree.read(path).map_err(|error| fail(error.to_string()))?;
    node::read_documents(text, &Limits::default(), meter)
        .map(|_| ())
        .map_err(|error| fail(error.message))
}
