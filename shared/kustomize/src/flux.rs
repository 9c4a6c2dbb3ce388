//! Flux's root kustomization: generated if it is missing, otherwise rewritten, with the overlay of a Flux
//! Kustomization's `spec` (KC-BLD rows).
//!
//! ```
//! use flux_kustomize::{Build, Options, Remotes, build, flux};
//! use flux_tree::{Tree, TreePath};
//!
//! let mut tree = Tree::new();
//! let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n";
//! tree.insert_file(TreePath::new("apps/settings.yaml").unwrap(), text, false).unwrap();
//!
//! let overlay = flux::Overlay { target_namespace: Some("prod".into()), ..flux::Overlay::default() };
//! let prepared = flux::prepare(&tree, &TreePath::new("apps").unwrap(), &overlay).unwrap();
//! let built = build(&prepared.tree, &prepared.dir, &Options::flux(), &Remotes::new()).unwrap();
//! let Build::Done(output) = built else { unreachable!("nothing here is remote") };
//! assert_eq!(output.resources.iter().next().unwrap().namespace(), "prod");
//! ```

mod generate;
mod shape;

use std::rc::Rc;

use flux_tree::{Entry, Tree, TreePath};
use flux_yaml::{Map, Value};

use crate::error::Error;
use crate::meter::{Allowance, Meter};
use crate::options::Limits;
use crate::secrecy::unreadable;
use crate::stack::with_stack;
use crate::target::FILE_NAMES;

/// The part of a Flux Kustomization's `spec` that changes the root kustomization.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    /// Replaces `namespace` (KC-BLD-008).
    pub target_namespace: Option<String>,
    /// Replaces `namePrefix` (KC-BLD-009).
    pub name_prefix: Option<String>,
    /// Replaces `nameSuffix` (KC-BLD-009).
    pub name_suffix: Option<String>,
    /// Appended to `patches` (KC-BLD-010).
    pub patches: Vec<Patch>,
    /// Appended to `components` (KC-BLD-012).
    pub components: Vec<String>,
    /// Skips those of `components` that do not exist (KC-BLD-014).
    pub ignore_missing_components: bool,
    /// Merged into `images` by name (KC-BLD-015).
    pub images: Vec<Image>,
    /// Replaces `buildMetadata` unless empty (KC-BLD-016).
    pub build_metadata: Vec<String>,
    /// Appended to `patchesStrategicMerge`: whole objects, from old versions of the API (KC-BLD-017).
    pub patches_strategic_merge: Vec<Value>,
    /// Appended to `patchesJson6902`: operations, from old versions of the API (KC-BLD-017).
    pub patches_json6902: Vec<(Value, Selector)>,
}

/// An inline patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// The text of a strategic merge or JSON patch.
    pub patch: String,
    /// The objects to patch; optional for a strategic merge patch that names its object.
    pub target: Option<Selector>,
}

/// Selects objects; empty parts match everything (KC-BLD-011).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the API, one for one")]
pub struct Selector {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub label_selector: String,
    pub annotation_selector: String,
}

/// A change to an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the API, one for one")]
pub struct Image {
    pub name: String,
    pub new_name: String,
    pub new_tag: String,
    pub digest: String,
}

/// A tree that is ready to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The tree with the root kustomization generated or rewritten.
    pub tree: Tree,
    /// The folder to build.
    pub dir: TreePath,
}

/// Why the root kustomization could not be generated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The folder does not exist.
    #[error("kustomization path not found: '/{path}'")]
    NotFound {
        /// The folder.
        path: TreePath,
    },
    /// The root kustomization file is malformed.
    #[error("{message}")]
    Malformed {
        /// The file.
        path: TreePath,
        /// What is wrong with it, in the decoder's words.
        message: String,
    },
    /// A manifest contains something that is not a Kubernetes object (KC-BLD-003).
    #[error("failed to decode Kubernetes YAML from /{path}: {message}")]
    Undecodable {
        /// The file.
        path: TreePath,
        /// What is wrong with it.
        message: String,
    },
    /// A component is remote or absolute (KC-BLD-012).
    #[error("component path '{path}' must be local and relative")]
    Component {
        /// The path as given.
        path: String,
    },
    /// The files need more memory or work than a build may use.
    #[error(transparent)]
    Bound(Error),
    /// A link leads out of the tree (KC-BLD-021).
    #[error("fs-security-constraint walk /{path}: path '/{path}' is not in or below '/'")]
    Escapes {
        /// The link.
        path: TreePath,
    },
}

/// Generates or rewrites the root kustomization of `dir`.
///
/// # Errors
/// [`GenerateError`].
pub fn prepare(tree: &Tree, dir: &TreePath, overlay: &Overlay) -> Result<Prepared, GenerateError> {
    prepare_within(tree, dir, overlay, &Allowance::unlimited())
}

/// As [`prepare`], with its memory claimed, on a separate thread like [`build_within`](crate::build_within).
/// Afterwards nothing is claimed: the prepared tree shares its files with the given one.
///
/// # Errors
/// As [`prepare`], and [`GenerateError::Bound`].
pub fn prepare_within(
    tree: &Tree,
    dir: &TreePath,
    overlay: &Overlay,
    allowance: &Allowance,
) -> Result<Prepared, GenerateError> {
    let prepare = || {
        let meter = Meter::new(allowance, Limits::default().steps);
        let prepared = on_this_thread(tree, dir, overlay, &meter);
        match meter.stopped() {
            Some(fail) => Err(GenerateError::Bound(fail.into_error())),
            None => prepared,
        }
    };
    with_stack(prepare).unwrap_or_else(|error| {
        Err(GenerateError::Bound(Error::Thread {
            message: format!("cannot start a thread for the build: {error}"),
        }))
    })
}

fn on_this_thread(
    tree: &Tree,
    dir: &TreePath,
    overlay: &Overlay,
    meter: &Rc<Meter>,
) -> Result<Prepared, GenerateError> {
    let dir = tree
        .resolve(dir)
        .ok()
        .filter(|at| matches!(tree.get(at), Some(Entry::Directory)))
        .ok_or_else(|| GenerateError::NotFound { path: dir.clone() })?;
    let (file, mut root) = if let Some((file, text)) = existing(tree, &dir) {
        let mut root = read(&file, &text, meter)?;
        // KC-BLD-006
        if !root.contains_key("resources") {
            root.insert("buildMetadata".into(), strings(&["originAnnotations"]));
        }
        (file, root)
    } else {
        let file = dir.join(FILE_NAMES[0]).unwrap_or_default();
        (file, generate::root(tree, &dir, meter)?)
    };
    for (field, value) in [
        ("apiVersion", "kustomize.config.k8s.io/v1beta1"),
        ("kind", "Kustomization"),
    ] {
        // KC-BLD-018
        root.entry(field.to_owned()).or_insert_with(|| value.into());
    }
    lay_over(&mut root, overlay, tree, &dir)?;
    let text = flux_yaml::sigs::to_string(&Value::Map(root)).map_err(|error| {
        GenerateError::Malformed {
            path: file.clone(),
            message: error.to_string(),
        }
    })?;
    let mut tree = tree.clone();
    // Links are followed to the file to write.
    let place = tree.resolve(&file).unwrap_or_else(|_| file.clone());
    tree.insert_file(place, text, false)
        .map_err(|error| GenerateError::Malformed {
            path: file,
            message: error.to_string(),
        })?;
    Ok(Prepared { tree, dir })
}

/// KC-BLD-001
fn existing(tree: &Tree, dir: &TreePath) -> Option<(TreePath, bytes::Bytes)> {
    FILE_NAMES.iter().find_map(|name| {
        let file = dir.join(name).ok()?;
        let text = tree.read(&file).ok()?.clone();
        Some((file, text))
    })
}

/// Reads the file as leniently as Flux does: unknown fields are dropped, scalars in text fields become text
/// (KC-BLD-007, KC-BLD-036).
fn read(file: &TreePath, text: &[u8], meter: &Rc<Meter>) -> Result<Map, GenerateError> {
    let fail = |message: String| GenerateError::Malformed {
        path: file.clone(),
        message,
    };
    let read = meter.read(text, |text, claim| {
        flux_yaml::sigs::from_str_within(text, claim)
    });
    let (value, _charge) = read.map_err(|stop| GenerateError::Bound(stop.into_error()))?;
    let value = value.map_err(|error| fail(unreadable(&error, text)))?;
    shape::kustomization(&value).map_err(|error| {
        fail(format!(
            "error unmarshaling JSON: while decoding JSON: {error}"
        ))
    })
}

fn strings(items: &[&str]) -> Value {
    Value::Seq(items.iter().map(|item| Value::from(*item)).collect())
}

/// Adds an item to a list, which is created if it does not exist.
fn push(root: &mut Map, field: &str, item: Value) {
    match root.get_mut(field).and_then(Value::as_seq_mut) {
        Some(items) => items.push(item),
        None => {
            root.insert(field.to_owned(), Value::Seq(vec![item]));
        }
    }
}

fn lay_over(
    root: &mut Map,
    overlay: &Overlay,
    tree: &Tree,
    dir: &TreePath,
) -> Result<(), GenerateError> {
    for (field, value) in [
        ("namespace", &overlay.target_namespace),
        ("namePrefix", &overlay.name_prefix),
        ("nameSuffix", &overlay.name_suffix),
    ] {
        if let Some(value) = value {
            root.insert(field.into(), value.as_str().into());
        }
    }
    for patch in &overlay.patches {
        let mut entry = fields([("patch", &patch.patch)]);
        if let Some(target) = &patch.target {
            entry.insert("target".into(), Value::Map(target.to_map()));
        }
        push(root, "patches", Value::Map(entry));
    }
    for component in &overlay.components {
        if !is_local(component) {
            return Err(GenerateError::Component {
                path: component.clone(),
            });
        }
        // KC-BLD-013, KC-BLD-014
        let exists = dir
            .join(component)
            .ok()
            .and_then(|path| tree.resolve(&path).ok())
            .is_some_and(|path| tree.get(&path).is_some());
        if exists || !overlay.ignore_missing_components {
            push(root, "components", component.as_str().into());
        }
    }
    for patch in &overlay.patches_strategic_merge {
        push(root, "patchesStrategicMerge", crate::go::json(patch).into());
    }
    for (operations, target) in &overlay.patches_json6902 {
        let mut entry = fields([("patch", &crate::go::json(operations))]);
        entry.insert("target".into(), Value::Map(target.to_map()));
        push(root, "patchesJson6902", Value::Map(entry));
    }
    for image in &overlay.images {
        merge_image(root, image);
    }
    if !overlay.build_metadata.is_empty() {
        let items: Vec<_> = overlay.build_metadata.iter().map(String::as_str).collect();
        root.insert("buildMetadata".into(), strings(&items));
    }
    Ok(())
}

fn fields<const N: usize>(entries: [(&str, &String); N]) -> Map {
    entries
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), Value::String(text.clone())))
        .collect()
}

impl Selector {
    fn to_map(&self) -> Map {
        fields([
            ("group", &self.group),
            ("version", &self.version),
            ("kind", &self.kind),
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("labelSelector", &self.label_selector),
            ("annotationSelector", &self.annotation_selector),
        ])
    }
}

/// KC-BLD-015
fn merge_image(root: &mut Map, image: &Image) {
    let entries = root.get_mut("images").and_then(Value::as_seq_mut);
    let present = entries.into_iter().flatten().find_map(|entry| {
        let map = entry.as_map_mut()?;
        let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
        (name == image.name).then_some(map)
    });
    let Some(map) = present else {
        let entry = fields([
            ("name", &image.name),
            ("newName", &image.new_name),
            ("newTag", &image.new_tag),
            ("digest", &image.digest),
        ]);
        push(root, "images", Value::Map(entry));
        return;
    };
    if !image.new_name.is_empty() {
        map.insert("newName".into(), image.new_name.as_str().into());
    }
    if !image.new_tag.is_empty() || !image.digest.is_empty() {
        for (field, text) in [("newTag", &image.new_tag), ("digest", &image.digest)] {
            map.shift_remove(field);
            if !text.is_empty() {
                map.insert(field.into(), text.as_str().into());
            }
        }
    }
}

/// KC-BLD-012
fn is_local(path: &str) -> bool {
    const REMOTE: [&str; 8] = [
        "git::",
        "gh:",
        "ssh://",
        "https://",
        "http://",
        "git@",
        "github.com:",
        "github.com/",
    ];
    let lower = path.to_lowercase();
    let remote = REMOTE
        .iter()
        .any(|prefix| prefix.len() < path.len() && lower.starts_with(prefix));
    let bare = lower.strip_prefix("file://").unwrap_or(&lower);
    !remote && !path.starts_with('/') && !bare.starts_with('/')
}

#[cfg(test)]
mod tests;
