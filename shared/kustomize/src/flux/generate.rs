use flux_tree::{Entry, ResolveError, Tree, TreePath};
use flux_yaml::{Map, Value};

use super::GenerateError;
use crate::{node, options::Limits, target::FILE_NAMES};

/// A root kustomization for a folder without one: every folder that has one and every manifest (KC-BLD-002).
pub(super) fn root(tree: &Tree, dir: &TreePath) -> Result<Map, GenerateError> {
    let mut found = Vec::new();
    scan(tree, dir, dir, &mut found)?;
    let mut root = Map::new();
    if found.is_empty() {
        // KC-BLD-005
        root.insert("namespace".into(), "_placeholder".into());
    } else {
        root.insert("resources".into(), Value::Seq(found));
    }
    Ok(root)
}

fn scan(
    tree: &Tree,
    base: &TreePath,
    dir: &TreePath,
    found: &mut Vec<Value>,
) -> Result<(), GenerateError> {
    let prefix = if dir.is_root() {
        String::new()
    } else {
        format!("{dir}/")
    };
    // Folders are walked where their names stand among those of the files, so that the names have to be sorted again.
    let mut names: Vec<&str> = tree
        .below(dir)
        .filter_map(|(path, _)| path.as_str().strip_prefix(&prefix))
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .collect();
    names.sort_unstable();
    for name in names {
        let Ok(path) = dir.join(name) else {
            continue;
        };
        let relative = || {
            let below = path.strip_prefix(base).unwrap_or_default();
            Value::String(format!("./{}", below.as_str()))
        };
        match tree.get(&path) {
            Some(Entry::Directory) => {
                let is_kustomization = FILE_NAMES
                    .iter()
                    .any(|name| path.join(name).is_ok_and(|file| tree.file(&file).is_ok()));
                if is_kustomization {
                    found.push(relative());
                } else {
                    scan(tree, base, &path, found)?;
                }
            }
            Some(_) => {
                if matches!(tree.resolve(&path), Err(ResolveError::Escapes { .. })) {
                    return Err(GenerateError::Escapes { path });
                }
                // Extensions in capitals are none.
                if !matches!(name.rsplit_once('.'), Some((_, "yaml" | "yml"))) {
                    continue;
                }
                check(tree, &path)?;
                found.push(relative());
            }
            None => {}
        }
    }
    Ok(())
}

/// KC-BLD-003
fn check(tree: &Tree, path: &TreePath) -> Result<(), GenerateError> {
    let fail = |message: String| GenerateError::Undecodable {
        path: path.clone(),
        message,
    };
    let text = tree.read(path).map_err(|error| fail(error.to_string()))?;
    node::read_documents(text, &Limits::default())
        .map(|_| ())
        .map_err(fail)
}
