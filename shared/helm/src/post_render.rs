//! Post-rendering: rendered files are passed to an external program as one YAML stream and read back as files
//! (HE-MAN-014..018). Documents are parsed and written as kyaml does it.

use std::collections::BTreeMap;

use flux_golang::path;
use flux_yaml::{Kind, Node, Style, v3};

use crate::manifest::{sort_manifests, split_manifests};
use crate::{KindOrder, ManifestError, Sorted, manifest, text};

/// The annotation with the path of a document's file while it is post-rendered.
pub const FILE_ANNOTATION: &str = "postrenderer.helm.sh/postrender-filename";

/// Annotations that kyaml's reader and writer use internally.
const READER_ANNOTATIONS: [&str; 3] = [
    "internal.config.kubernetes.io/index",
    "config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
];

/// Annotations that kyaml's reader sets under two names: the internal one and the legacy one.
const COPIED_ANNOTATIONS: [(&str, &str); 2] = [
    (
        "internal.config.kubernetes.io/path",
        "config.kubernetes.io/path",
    ),
    ("internal.config.kubernetes.io/id", "config.k8s.io/id"),
];

/// Changes rendered manifests.
pub trait PostRenderer {
    /// Changes a stream of manifests.
    ///
    /// # Errors
    /// Why the post-renderer failed; the text becomes part of the release's failure.
    fn run(&self, manifests: &str) -> Result<String, String>;
}

/// Which files of a chart are passed to a post-renderer, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostRenderStrategy {
    /// Hooks and manifests in one stream.
    #[default]
    Combined,
    /// Hooks in one run, manifests in another.
    Separate,
    /// Only manifests; hooks stay as rendered.
    NoHooks,
}

impl PostRenderStrategy {
    /// Parses the name of a strategy; an empty name is the default.
    ///
    /// # Errors
    /// [`PostRenderError::Strategy`] (HE-MAN-016).
    pub fn named(name: &str) -> Result<Self, PostRenderError> {
        match name {
            "" | "combined" => Ok(Self::Combined),
            "separate" => Ok(Self::Separate),
            "nohooks" => Ok(Self::NoHooks),
            other => Err(PostRenderError::Strategy(other.to_owned())),
        }
    }
}

/// Why post-rendering failed. Printed with its sources, joined by `: `, the text is Helm's (HE-MAN-017).
#[derive(Debug, thiserror::Error)]
pub enum PostRenderError {
    /// Rendered files are not YAML documents with metadata.
    #[error("error merging {0}")]
    Merge(&'static str, #[source] Document),
    /// The post-renderer failed.
    #[error("error while running post render on {0}")]
    Run(&'static str, #[source] Document),
    /// The output of the post-renderer is not YAML.
    #[error("error while parsing post rendered output{0}")]
    Parse(&'static str, #[source] Document),
    /// The strategy is unknown.
    #[error("unknown post-render strategy: '{0}'")]
    Strategy(String),
    /// A rendered file is not YAML.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The error of an invalid document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Document(String);

type Files = BTreeMap<String, String>;

/// The first error that Helm reports on the way to a post-renderer, for rendered files of which some are not UTF-8. `raw`
/// has the bytes of those, while `files` have replacement characters.
pub(crate) fn first_fault(
    files: &Files,
    raw: &BTreeMap<String, Vec<u8>>,
    strategy: PostRenderStrategy,
) -> Option<PostRenderError> {
    if strategy != PostRenderStrategy::Combined {
        return manifest::first_fault(files, raw).map(PostRenderError::Manifest);
    }
    for (path, content) in files {
        if path::base(path.as_str()).starts_with('_') || text::is_blank(content) {
            continue;
        }
        for document in split_manifests(content) {
            let fault = match raw.get(path) {
                None => read(document).err(),
                Some(raw) => {
                    let raw = manifest::raw_document(raw, content, document);
                    if let Ok(document) = std::str::from_utf8(&raw) {
                        read(document).err()
                    } else {
                        let fault = v3::parse(&raw).err();
                        fault.map(|error| format!("MalformedYAMLError: {error}"))
                    }
                }
            };
            if let Some(fault) = fault {
                let fault = Document(format!("parsing {path}: {fault}"));
                return Some(PostRenderError::Merge("manifests", fault));
            }
        }
    }
    None
}

/// Passes rendered files (by path) through a post-renderer.
///
/// # Errors
/// [`PostRenderError`]
pub(crate) fn post_render(
    files: &Files,
    strategy: PostRenderStrategy,
    renderer: &dyn PostRenderer,
) -> Result<Files, PostRenderError> {
    if strategy == PostRenderStrategy::Combined {
        let merged = merge(files).map_err(|e| PostRenderError::Merge("manifests", e))?;
        let run = |e| PostRenderError::Run("files", Document(e));
        let changed = renderer.run(&merged).map_err(run)?;
        return split(&changed, "").map_err(|e| PostRenderError::Parse("", e));
    }
    let sorted = sort_manifests(files, KindOrder::Install)?;
    let (hooks, manifests) = by_file(&sorted);
    let mut out = Files::new();
    if strategy == PostRenderStrategy::NoHooks {
        out = hooks;
    } else if !hooks.is_empty() {
        out = group(&hooks, "hooks", " for hooks", renderer)?;
    }
    if !manifests.is_empty() {
        for (path, text) in group(&manifests, "manifests", " for manifests", renderer)? {
            append(&mut out, path, &text);
        }
    }
    Ok(out)
}

fn group(
    files: &Files,
    name: &'static str,
    of: &'static str,
    renderer: &dyn PostRenderer,
) -> Result<Files, PostRenderError> {
    let merged = merge(files).map_err(|e| PostRenderError::Merge(name, e))?;
    let run = |e| PostRenderError::Run(name, Document(e));
    let changed = renderer.run(&merged).map_err(run)?;
    split(&changed, name).map_err(|e| PostRenderError::Parse(of, e))
}

/// Hooks and manifests, joined file by file.
fn by_file(sorted: &Sorted) -> (Files, Files) {
    let (mut hooks, mut manifests) = (Files::new(), Files::new());
    for hook in &sorted.hooks {
        append(&mut hooks, hook.path.clone(), &hook.manifest);
    }
    for manifest in &sorted.manifests {
        append(&mut manifests, manifest.name.clone(), &manifest.content);
    }
    (hooks, manifests)
}

fn append(files: &mut Files, path: String, document: &str) {
    let file = files.entry(path).or_default();
    if !file.is_empty() {
        file.push_str("\n---\n");
    }
    file.push_str(document);
}

/// All documents of all files as one stream, each annotated with the name of its file.
fn merge(files: &Files) -> Result<String, Document> {
    let mut documents = Vec::new();
    for (path, content) in files {
        if path::base(path.as_str()).starts_with('_') || text::is_blank(content) {
            continue;
        }
        for document in split_manifests(content) {
            let read = read(document).map_err(|e| Document(format!("parsing {path}: {e}")))?;
            for mut node in read {
                set_annotation(&mut node, FILE_ANNOTATION, path)
                    .map_err(|e| Document(format!("annotating {path}: {e}")))?;
                documents.push(node);
            }
        }
    }
    write(documents).map_err(|e| Document(format!("writing merged docs: {e}")))
}

/// Splits a stream into files; documents without a file name get one (HE-MAN-015).
fn split(stream: &str, group: &str) -> Result<Files, Document> {
    let documents = read(stream).map_err(|e| Document(format!("error parsing YAML: {e}")))?;
    let mut files: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    for (i, mut document) in documents.into_iter().enumerate() {
        let named = annotation(&document, FILE_ANNOTATION).filter(|name| !name.is_empty());
        let name = named.map_or_else(
            || match group {
                "" => format!("generated-by-postrender-{i}.yaml"),
                group => format!("generated-by-postrender-{group}-{i}.yaml"),
            },
            ToOwned::to_owned,
        );
        clear_annotation(&mut document, FILE_ANNOTATION);
        files.entry(name).or_default().push(document);
    }
    let written = files.into_iter().map(|(name, documents)| {
        let text = write(documents).map_err(|e| Document(format!("re-writing {name}: {e}")))?;
        Ok((name, text))
    });
    written.collect()
}

/// The documents of a stream, as kyaml's reader returns them: a single list is replaced by its items.
fn read(stream: &str) -> Result<Vec<Node>, String> {
    let stream = stream.replace("\r\n", "\n");
    let parts = parts(&stream)?;
    let mut documents = Vec::new();
    let mut index = 0;
    for part in &parts {
        let Some(mut document) =
            v3::parse(part).map_err(|error| format!("MalformedYAMLError: {error}"))?
        else {
            continue;
        };
        if document.root().is_none_or(Node::is_null) {
            continue;
        }
        annotate(&mut document, index)?;
        let root = document.root();
        let list = root.filter(|root| {
            let kind = root.get("kind").map_or("", |kind| kind.value.as_str());
            let has = |field| root.get(field).is_some();
            matches!(kind, "List" | "ResourceList") && (has("items") || has("functionConfig"))
        });
        match list {
            Some(list) if parts.len() == 1 => {
                let items = list.get("items").map(|items| items.content.clone());
                documents.extend(items.unwrap_or_default());
            }
            _ => {
                documents.push(document);
                index += 1;
            }
        }
    }
    Ok(documents)
}

/// Sets the annotations of kyaml's reader on a document. Their effect is visible in errors about invalid metadata.
fn annotate(document: &mut Node, index: usize) -> Result<(), String> {
    for (internal, legacy) in COPIED_ANNOTATIONS {
        let value = |name| annotation(document, name).filter(|value| !value.is_empty());
        let (from, to) = match (value(internal), value(legacy)) {
            (Some(value), None) => (value.to_owned(), legacy),
            (None, Some(value)) => (value.to_owned(), internal),
            _ => continue,
        };
        set_annotation(document, to, &from)?;
    }
    for name in [
        "config.kubernetes.io/index",
        "internal.config.kubernetes.io/index",
    ] {
        set_annotation(document, name, &index.to_string())?;
    }
    Ok(())
}

/// Splits at lines that begin with `---`, even inside a block scalar.
fn parts(stream: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    if stream.is_empty() {
        return Ok(parts);
    }
    let (mut from, mut at) = (0, 0);
    while let Some(found) = stream.get(at..).and_then(|rest| rest.find("\n---")) {
        let found = at + found;
        let after = stream.get(found + 4..).unwrap_or_default();
        let Some(length) = after.find('\n') else {
            break;
        };
        let rest = after.get(..length).unwrap_or_default();
        let trimmed = rest.trim();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            return Err(format!(
                "invalid document separator: ---{}",
                rest.trim_end()
            ));
        }
        let part = stream.get(from..found).unwrap_or_default();
        parts.push(format!("{part}\n"));
        from = found + 4 + length + 1;
        // The newline that ends one separator cannot begin the next.
        at = from;
    }
    parts.push(stream.get(from..).unwrap_or_default().to_owned());
    Ok(parts)
}

/// Writes documents without the annotations of the reader.
fn write(mut documents: Vec<Node>) -> Result<String, String> {
    for document in &mut documents {
        for name in READER_ANNOTATIONS {
            clear_annotation(document, name);
        }
        clear_empty(document)?;
    }
    let encoder = v3::Encoder::kyaml();
    encoder.stream(&documents).map_err(|e| e.to_string())
}

fn body(document: &Node) -> &Node {
    document.root().unwrap_or(document)
}

fn body_mut(document: &mut Node) -> &mut Node {
    if document.kind != Kind::Document || document.content.is_empty() {
        return document;
    }
    &mut document.content[0]
}

fn annotation<'n>(document: &'n Node, name: &str) -> Option<&'n str> {
    let value = body(document).at(["metadata", "annotations", name])?;
    Some(value.value.as_str())
}

fn clear_annotation(document: &mut Node, name: &str) {
    let annotations = body_mut(document)
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(annotations) = annotations.filter(|a| a.is_mapping()) {
        annotations.remove(name);
    }
}

/// Removes annotations and metadata if they are empty.
fn clear_empty(document: &mut Node) -> Result<(), String> {
    let body = body_mut(document);
    expect_mapping(body)?;
    if let Some(metadata) = body.get_mut("metadata") {
        expect_mapping(metadata)?;
        remove_empty(metadata, "annotations");
    }
    remove_empty(body, "metadata");
    Ok(())
}

fn remove_empty(node: &mut Node, name: &str) {
    if node.get(name).is_some_and(|value| value.content.is_empty()) {
        node.remove(name);
    }
}

fn set_annotation(document: &mut Node, name: &str, value: &str) -> Result<(), String> {
    clear_empty(document)?;
    let mut at = body_mut(document);
    for field in ["metadata", "annotations"] {
        expect_mapping(at)?;
        if at.get(field).is_none_or(Node::is_null) {
            at.remove(field);
            at.content.push(Node::scalar("", field));
            at.content.push(Node::new(Kind::Mapping));
        }
        let Some(next) = at.get_mut(field) else {
            return Ok(());
        };
        at = next;
    }
    expect_mapping(at)?;
    if let Some(present) = at.get_mut(name) {
        let style = present.style;
        *present = Node::string(value);
        present.style = style;
    } else {
        let mut text = Node::string(value);
        text.style = Style::SINGLE_QUOTED;
        at.content.push(Node::scalar("", name));
        at.content.push(text);
    }
    Ok(())
}

fn expect_mapping(node: &Node) -> Result<(), String> {
    let kind = match node.kind {
        _ if node.is_null() => return Ok(()),
        Kind::Mapping => return Ok(()),
        Kind::Document => "DocumentNode",
        Kind::Sequence => "SequenceNode",
        Kind::Scalar => "ScalarNode",
        Kind::Alias => "AliasNode",
    };
    let contents = v3::to_string(node).unwrap_or_default();
    Err(format!(
        "wrong node kind: expected MappingNode but got {kind}: node contents:\n{contents}"
    ))
}
