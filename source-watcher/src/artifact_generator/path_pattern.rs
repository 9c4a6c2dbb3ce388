//! Directories of a source that a path pattern matches, and the artifacts that each of them makes.

use std::collections::{BTreeMap, BTreeSet};

use flux_api::extensions::{ArtifactGeneratorSpec, CopyOperation, OutputArtifact};
use flux_golang::strconv::quote;
use flux_tree::{Entry, TreePath};
use regex::Regex;

use super::copy::{SourceFiles, split_alias};
use super::names::{fault_of_label_key, fault_of_label_value, fault_of_name, fault_of_namespace};

/// The most artifacts that one generator makes.
const MAX_ARTIFACTS: usize = 10_000;

/// An artifact to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Request {
    /// The artifact, without placeholders.
    pub(super) artifact: OutputArtifact,
    /// The labels that its directory gives it (SW-GEN-114).
    pub(super) labels: BTreeMap<String, String>,
    /// The captured values as they are in the directory's path.
    pub(super) captures: BTreeMap<String, String>,
}

impl Request {
    /// The namespace of the ExternalArtifact (SW-GEN-207).
    pub(super) fn namespace<'r>(&'r self, own: &'r str) -> &'r str {
        let named = self.artifact.namespace.as_deref();
        named
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or(own)
    }
}

/// Why a path pattern makes no artifacts: only a change of the spec or of the source helps (SW-GEN-118, SW-GEN-119).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathPatternError {
    #[error("invalid pathPattern format: {0}")]
    Format(String),
    #[error("pathPattern {}: source alias {alias} not found in local sources", quote(.pattern))]
    Alias { pattern: String, alias: String },
    #[error("pathPattern {}: invalid capture starting at offset {at}: missing closing brace", quote(.pattern))]
    NotClosed { pattern: String, at: usize },
    #[error("pathPattern {}: invalid capture ending at offset {at}: missing opening brace", quote(.pattern))]
    NotOpened { pattern: String, at: usize },
    #[error("pathPattern {}: empty capture variable", quote(.0))]
    Empty(String),
    #[error("pathPattern {}: capture variable {} must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*", quote(.pattern), quote(.name))]
    CaptureName { pattern: String, name: String },
    #[error("pathPattern {}: duplicate capture variable {}", quote(.pattern), quote(.name))]
    Duplicate { pattern: String, name: String },
    #[error("pathPattern {}: failed to compile path pattern: {why}", quote(.pattern))]
    Compile { pattern: String, why: String },
    #[error("pathPattern {}: capture variable {} is not a valid Kubernetes label key: {why}", quote(.pattern), quote(.name))]
    LabelKey {
        pattern: String,
        name: String,
        why: String,
    },
    #[error("pathPattern {}: captured value {} for variable {} is not a valid Kubernetes label value: {why}", quote(.pattern), quote(.value), quote(.name))]
    LabelValue {
        pattern: String,
        name: String,
        value: String,
        why: String,
    },
    #[error("pathPattern {}: captured values {} and {} for variable {} differ only in letter case", quote(.pattern), quote(.first), quote(.second), quote(.name))]
    Case {
        pattern: String,
        name: String,
        first: String,
        second: String,
    },
    #[error("pathPattern {}: failed to render artifact {artifact} for match {directory}", quote(.pattern))]
    Render {
        pattern: String,
        artifact: String,
        directory: String,
        source: Box<TemplateError>,
    },
    #[error("pathPattern {}: rendered artifact name {} is not a valid Kubernetes object name: {why}", quote(.pattern), quote(.name))]
    Name {
        pattern: String,
        name: String,
        why: String,
    },
    #[error("pathPattern {}: rendered artifact namespace {} is not a valid Kubernetes namespace: {why}", quote(.pattern), quote(.name))]
    Namespace {
        pattern: String,
        name: String,
        why: String,
    },
    #[error("pathPattern {}: directories {} and {} both resolve to artifact name {}", quote(.pattern), quote(.first), quote(.second), quote(.name))]
    Collision {
        pattern: String,
        first: String,
        second: String,
        name: String,
    },
    #[error("pathPattern {}: the matches make more than {MAX_ARTIFACTS} artifacts", quote(.0))]
    TooMany(String),
}

/// Why a template cannot be rendered. Offsets are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("invalid template {}: capture starting at offset {at} is missing closing brace", quote(.template))]
    NotClosed { template: String, at: usize },
    #[error("invalid template {}: capture ending at offset {at} is missing opening brace", quote(.template))]
    NotOpened { template: String, at: usize },
    #[error("invalid template {}: empty capture variable", quote(.0))]
    Empty(String),
    #[error("invalid template {}: capture variable {} must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*", quote(.template), quote(.name))]
    Name { template: String, name: String },
    #[error("invalid template {}: capture variable {} is not defined by pathPattern", quote(.template), quote(.name))]
    Undefined { template: String, name: String },
}

/// The artifacts that a generator makes, in order (SW-GEN-085): those of its spec, or with a path pattern those of the spec
/// for each directory that it matches, in the order of a walk.
pub(super) fn requests(
    spec: &ArtifactGeneratorSpec,
    sources: &SourceFiles,
) -> Result<Vec<Request>, PathPatternError> {
    let pattern = spec.path_pattern.as_deref().unwrap_or_default();
    if pattern.is_empty() {
        let artifacts = spec.artifacts.iter().cloned();
        let request = |artifact| Request {
            artifact,
            ..Request::default()
        };
        return Ok(artifacts.map(request).collect());
    }
    Expansion::new(pattern)?.requests(&spec.artifacts, sources)
}

struct Expansion<'p> {
    pattern: &'p str,
    alias: &'p str,
    matcher: Regex,
    /// The names of the captures, in order.
    captures: Vec<String>,
}

impl<'p> Expansion<'p> {
    fn new(pattern: &'p str) -> Result<Self, PathPatternError> {
        let format = || PathPatternError::Format(pattern.to_owned());
        let (alias, path) = split_alias(pattern).ok_or_else(format)?;
        let (captures, expression) = parse(pattern, path)?;
        // Their number is bounded by the length of the pattern.
        let matcher = Regex::new(&expression).map_err(|error| PathPatternError::Compile {
            pattern: pattern.to_owned(),
            why: error.to_string(),
        })?;
        for name in &captures {
            if let Some(why) = fault_of_label_key(name) {
                return Err(PathPatternError::LabelKey {
                    pattern: pattern.to_owned(),
                    name: name.clone(),
                    why,
                });
            }
        }
        Ok(Self {
            pattern,
            alias,
            matcher,
            captures,
        })
    }

    fn requests(
        &self,
        artifacts: &[OutputArtifact],
        sources: &SourceFiles,
    ) -> Result<Vec<Request>, PathPatternError> {
        let files = sources.get(self.alias);
        let files = files.ok_or_else(|| PathPatternError::Alias {
            pattern: self.pattern.to_owned(),
            alias: self.alias.to_owned(),
        })?;
        let mut directories: Vec<&TreePath> = files
            .handles()
            .iter()
            .filter(|(_, entry)| **entry == Entry::Directory)
            .map(|(path, _)| path)
            .filter(|path| self.matcher.is_match(path.as_str()))
            .collect();
        directories.sort_by(|a, b| a.as_str().split('/').cmp(b.as_str().split('/')));

        let mut requests = Vec::new();
        let mut names: BTreeMap<(String, String), &str> = BTreeMap::new();
        let mut values: BTreeMap<(String, String), String> = BTreeMap::new();
        for directory in directories.iter().map(|path| path.as_str()) {
            let captures = self.captured(directory);
            let labels = self.labels(&captures, &mut values)?;
            for artifact in artifacts {
                let request = self.render(artifact, directory, &captures, &labels)?;
                let namespace = request.artifact.namespace.clone().unwrap_or_default();
                let name = request.artifact.name.clone();
                if let Some(other) = names.insert((namespace, name.clone()), directory) {
                    return Err(PathPatternError::Collision {
                        pattern: self.pattern.to_owned(),
                        first: other.to_owned(),
                        second: directory.to_owned(),
                        name,
                    });
                }
                requests.push(request);
                if requests.len() > MAX_ARTIFACTS {
                    return Err(PathPatternError::TooMany(self.pattern.to_owned()));
                }
            }
        }
        Ok(requests)
    }

    fn captured(&self, directory: &str) -> BTreeMap<String, String> {
        let Some(found) = self.matcher.captures(directory) else {
            return BTreeMap::new();
        };
        let groups = found.iter().skip(1).flatten();
        let values = groups.map(|group| group.as_str().to_owned());
        self.captures.iter().cloned().zip(values).collect()
    }

    /// The captured values as labels (SW-GEN-114, SW-GEN-217). `seen` has the values of the directories before.
    fn labels(
        &self,
        captures: &BTreeMap<String, String>,
        seen: &mut BTreeMap<(String, String), String>,
    ) -> Result<BTreeMap<String, String>, PathPatternError> {
        let mut labels = BTreeMap::new();
        for (name, raw) in captures {
            let value = raw.to_lowercase();
            if let Some(why) = fault_of_label_value(&value) {
                return Err(PathPatternError::LabelValue {
                    pattern: self.pattern.to_owned(),
                    name: name.clone(),
                    value,
                    why,
                });
            }
            let other = seen.entry((name.clone(), value.clone()));
            let other = other.or_insert_with(|| raw.clone());
            if other != raw {
                return Err(PathPatternError::Case {
                    pattern: self.pattern.to_owned(),
                    name: name.clone(),
                    first: other.clone(),
                    second: raw.clone(),
                });
            }
            labels.insert(name.clone(), value);
        }
        Ok(labels)
    }

    /// The artifact of the spec for one directory (SW-GEN-113).
    fn render(
        &self,
        artifact: &OutputArtifact,
        directory: &str,
        captures: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Request, PathPatternError> {
        let failed = |source: TemplateError| PathPatternError::Render {
            pattern: self.pattern.to_owned(),
            artifact: artifact.name.clone(),
            directory: directory.to_owned(),
            source: Box::new(source),
        };
        let rendered = rendered(artifact, captures, labels).map_err(failed)?;
        if let Some(why) = fault_of_name(&rendered.name) {
            return Err(PathPatternError::Name {
                pattern: self.pattern.to_owned(),
                name: rendered.name,
                why,
            });
        }
        if let Some(name) = rendered.namespace.clone().filter(|name| !name.is_empty())
            && let Some(why) = fault_of_namespace(&name)
        {
            let pattern = self.pattern.to_owned();
            return Err(PathPatternError::Namespace { pattern, name, why });
        }
        Ok(Request {
            artifact: rendered,
            labels: labels.clone(),
            captures: captures.clone(),
        })
    }
}

fn rendered(
    artifact: &OutputArtifact,
    captures: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> Result<OutputArtifact, TemplateError> {
    let optional = |text: &Option<String>, values| {
        let text = text.as_deref().map(|text| render(text, values));
        text.transpose()
    };
    let copy = artifact.copy.iter().map(|operation| {
        Ok(CopyOperation {
            from: render(&operation.from, captures)?,
            to: render(&operation.to, captures)?,
            ..operation.clone()
        })
    });
    Ok(OutputArtifact {
        name: render(&artifact.name, labels)?,
        namespace: optional(&artifact.namespace, labels)?,
        copy: copy.collect::<Result<_, _>>()?,
        inputs_from: optional(&artifact.inputs_from, captures)?,
        ..artifact.clone()
    })
}

/// The names of the captures of a pattern, and the regular expression for what it matches (SW-GEN-110).
fn parse(pattern: &str, path: &str) -> Result<(Vec<String>, String), PathPatternError> {
    let whole = || pattern.to_owned();
    let (mut names, mut expression) = (Vec::new(), String::from("^"));
    let mut literal = 0;
    let mut at = 0;
    while let Some(byte) = path.as_bytes().get(at) {
        match byte {
            b'{' => {
                let name = path[at + 1..].split_once('}');
                let (name, _) = name.ok_or_else(|| PathPatternError::NotClosed {
                    pattern: whole(),
                    at,
                })?;
                if name.is_empty() {
                    return Err(PathPatternError::Empty(whole()));
                }
                let named = name.to_owned();
                if !is_capture_name(name) {
                    let pattern = whole();
                    return Err(PathPatternError::CaptureName {
                        pattern,
                        name: named,
                    });
                }
                if names.contains(&named) {
                    let pattern = whole();
                    return Err(PathPatternError::Duplicate {
                        pattern,
                        name: named,
                    });
                }
                expression.push_str(&regex::escape(&path[literal..at]));
                expression.push_str("([^/]+)");
                at += name.len() + 1;
                literal = at + 1;
                names.push(named);
            }
            b'}' => {
                let pattern = whole();
                return Err(PathPatternError::NotOpened { pattern, at });
            }
            _ => {}
        }
        at += 1;
    }
    expression.push_str(&regex::escape(&path[literal..]));
    expression.push('$');
    Ok((names, expression))
}

fn is_capture_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(is_first) && bytes.all(|byte| is_first(byte) || byte.is_ascii_digit())
}

/// A text with its placeholders replaced.
pub(super) fn render(
    template: &str,
    values: &BTreeMap<String, String>,
) -> Result<String, TemplateError> {
    let whole = || template.to_owned();
    let mut rendered = String::new();
    let mut rest = template;
    loop {
        let Some(brace) = rest.find(['{', '}']) else {
            rendered.push_str(rest);
            return Ok(rendered);
        };
        rendered.push_str(&rest[..brace]);
        let at = template.len() - rest.len() + brace;
        let template = whole();
        if rest.as_bytes()[brace] == b'}' {
            return Err(TemplateError::NotOpened { template, at });
        }
        let Some((name, after)) = rest[brace + 1..].split_once('}') else {
            return Err(TemplateError::NotClosed { template, at });
        };
        if name.is_empty() {
            return Err(TemplateError::Empty(template));
        }
        let named = name.to_owned();
        if !is_capture_name(name) {
            return Err(TemplateError::Name {
                template,
                name: named,
            });
        }
        let value = values.get(name);
        let value = value.ok_or(TemplateError::Undefined {
            template,
            name: named,
        })?;
        rendered.push_str(value);
        rest = after;
    }
}

/// The placeholders of a template; those of a malformed one as far as they can be read.
pub(super) fn placeholders(template: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut rest = template;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        names.insert(name);
        rest = after;
    }
    names
}

#[cfg(test)]
mod tests;
