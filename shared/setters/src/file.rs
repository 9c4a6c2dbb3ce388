//! Updates one file.

mod identity;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use flux_yaml::edit::{self, RepeatedKey, Scalar};

use self::identity::Identities;
use crate::changes::{Change, ObjectId};
use crate::setters::{Found, Setters};
use crate::{TOKEN, documents, marker};

/// The result of [`update`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// The new content; `None` if it is the same (IA-UPD-010).
    pub content: Option<String>,
    /// What was changed, in the order of the file. There may be changes without new content: of a value that cannot be
    /// written otherwise than it is.
    pub changes: Vec<(ObjectId, Change)>,
    /// What looks like a marker and has no effect, in the order of the file.
    pub skipped: Vec<Skipped>,
}

/// A marker without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The line, from 1.
    pub line: usize,
    /// Why.
    pub why: Skip,
}

/// Why a marker has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// The text is not a comment next to a value: within a block of text, next to a mapping, not one JSON object
    /// (IA-UPD-029).
    #[error("the text of a marker is not a comment next to a value")]
    NotAMarker,
    /// The policy has no digest: an empty value would break the file (IA-UPD-025).
    #[error("the policy of '{0}' has no digest")]
    NoDigest(String),
    /// The value is written in a way that cannot hold the new text.
    #[error("the value of '{setter}' cannot be replaced: {reason}")]
    Layout {
        /// The setter.
        setter: String,
        /// What is in the way.
        reason: String,
    },
}

/// Why a file is left as it is (IA-UPD-009).
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A line of dashes with other text than a comment (IA-UPD-066).
    #[error("invalid document separator: {0}")]
    Separator(String),
    /// It is not YAML.
    #[error(transparent)]
    Yaml(#[from] flux_yaml::Error),
    /// A mapping has a key twice, so that it is not clear which value counts.
    #[error("line {line}: mapping key {key:?} already defined")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line of its second appearance, from 1.
        line: usize,
    },
    /// The edited file would not read as intended.
    #[error("line {0}: the value cannot be replaced without changing others")]
    Entangled(usize),
}

/// Replaces the marked values of a file. Values whose setter is not known stay as they are, without a report (IA-UPD-026).
///
/// # Errors
/// The file is not YAML as kyaml reads it, or not unambiguous: then nothing of it is changed.
pub fn update(text: &str, setters: &Setters) -> Result<Updated, Problem> {
    let ranges = documents::split(text).map_err(|error| Problem::Separator(error.0))?;
    let is_single = ranges.len() == 1;
    let mut updated = Updated::default();
    let mut content = String::with_capacity(text.len() + 64);
    let mut markers = BTreeSet::new();
    let mut from = 0;
    for range in ranges {
        content.push_str(text.get(from..range.start).unwrap_or_default());
        from = range.end;
        let part = Part::read(text, range, is_single)?;
        markers.extend(part.marked.iter().map(|marked| marked.comment_line));
        content.push_str(&part.apply(setters, &mut updated)?);
    }
    content.push_str(text.get(from..).unwrap_or_default());
    updated.skipped.extend(strays(text, &markers));
    updated.skipped.sort_by_key(|skipped| skipped.line);
    updated.content = (content != text).then_some(content);
    Ok(updated)
}

/// The lines with the text of a marker that are no markers.
fn strays(text: &str, markers: &BTreeSet<usize>) -> Vec<Skipped> {
    let lines = text.split('\n').enumerate();
    lines
        .filter(|(at, line)| line.contains(TOKEN) && !markers.contains(&(at + 1)))
        .map(|(at, _)| Skipped {
            line: at + 1,
            why: Skip::NotAMarker,
        })
        .collect()
}

/// What is between two separators: one document, or several with `...` between them.
struct Part<'t> {
    text: &'t str,
    /// The lines of the file before it.
    lines_before: usize,
    scalars: Vec<Scalar>,
    repeated_key: Option<RepeatedKey>,
    marked: Vec<Marked>,
    identities: Identities,
}

/// A value with a marker.
struct Marked {
    /// Its index among the scalars.
    scalar: usize,
    setter: String,
    /// The line of the comment in the file, from 1.
    comment_line: usize,
}

impl<'t> Part<'t> {
    fn read(file: &'t str, range: Range<usize>, is_single: bool) -> Result<Self, Problem> {
        let lines_before = breaks(file.get(..range.start).unwrap_or_default());
        let text = file.get(range).unwrap_or_default();
        let (mut scalars, repeated_key) = edit::read(&normal(text))?;
        move_back(&mut scalars, text);
        let mut marked = Vec::new();
        for (index, scalar) in scalars.iter().enumerate() {
            let comment = marker::comment(&scalar.line_comment, &scalar.head_comment);
            if comment.is_empty() {
                continue;
            }
            let Some(setter) = marker::setter(comment) else {
                continue;
            };
            marked.push(Marked {
                scalar: index,
                setter,
                comment_line: lines_before + comment_line(text, scalar, comment),
            });
        }
        let identities = Identities::of(&scalars, is_single);
        Ok(Self {
            text,
            lines_before,
            scalars,
            repeated_key,
            marked,
            identities,
        })
    }

    /// The text with new values.
    fn apply(&self, setters: &Setters, updated: &mut Updated) -> Result<String, Problem> {
        let mut edits = Vec::new();
        for marked in &self.marked {
            let Some(scalar) = self.scalars.get(marked.scalar) else {
                continue;
            };
            match setters.find(&marked.setter) {
                Found::Unknown => {}
                Found::Text(new) if new == scalar.value => {} // IA-UPD-055
                Found::Text(new) => edits.push((marked, scalar.as_exact_string(), new)),
                Found::Empty => {
                    let why = Skip::NoDigest(marked.setter.clone());
                    updated.skipped.push(self.skipped(scalar, why));
                }
            }
        }
        if edits.is_empty() {
            return Ok(self.text.to_owned());
        }
        self.check_keys()?;
        let mut possible = Vec::new();
        for (marked, scalar, new) in edits {
            match edit::replace(self.text, [(&scalar, new)]) {
                Ok(_) => possible.push((marked, scalar, new)),
                Err(error) => {
                    let why = Skip::Layout {
                        setter: marked.setter.clone(),
                        reason: error.to_string(),
                    };
                    updated.skipped.push(self.skipped(&scalar, why));
                }
            }
        }
        let replaced = possible.iter().map(|(_, scalar, new)| (scalar, *new));
        let content = edit::replace(self.text, replaced)?;
        self.check_edited(&content, &possible)?;
        for (marked, scalar, new) in possible {
            let change = Change {
                old_value: scalar.value.clone(),
                new_value: new.to_owned(),
                setter: marked.setter.clone(),
            };
            updated
                .changes
                .push((self.identities.of_scalar(&scalar), change));
        }
        Ok(content)
    }

    fn skipped(&self, scalar: &Scalar, why: Skip) -> Skipped {
        Skipped {
            line: self.lines_before + scalar.line as usize,
            why,
        }
    }

    /// Refuses a text in which a mapping has a key twice.
    fn check_keys(&self) -> Result<(), Problem> {
        match &self.repeated_key {
            None => Ok(()),
            Some(RepeatedKey { key, line }) => Err(Problem::DuplicateKey {
                key: key.clone(),
                line: self.lines_before + *line as usize,
            }),
        }
    }

    /// Checks that the edited text has the new values, and all others as they were.
    fn check_edited(
        &self,
        content: &str,
        edits: &[(&Marked, Scalar, &str)],
    ) -> Result<(), Problem> {
        let first = edits
            .first()
            .map_or(0, |(_, scalar, _)| scalar.line as usize);
        let entangled = |line: usize| Problem::Entangled(self.lines_before + line);
        let after = edit::scalars(&normal(content)).map_err(|_| entangled(first))?;
        if after.len() != self.scalars.len() {
            return Err(entangled(first));
        }
        let mut edits = edits.iter().peekable();
        for (index, (before, after)) in self.scalars.iter().zip(&after).enumerate() {
            let edit = edits.next_if(|(marked, ..)| marked.scalar == index);
            let wanted = edit.map_or(before.value.as_str(), |(_, _, new)| *new);
            let same = after.value == wanted
                && after.path == before.path
                && after.line_comment == before.line_comment
                && (edit.is_some() || after.is_null() == before.is_null());
            if !same {
                return Err(entangled(before.line as usize));
            }
        }
        Ok(())
    }
}

/// The text with line feeds only, as kyaml reads it: to its parser a comment above an item with CRLF is apart from it.
fn normal(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") {
        text.replace("\r\n", "\n").into()
    } else {
        text.into()
    }
}

/// Gives scalars of the normal text their positions in the text itself.
fn move_back(scalars: &mut [Scalar], text: &str) {
    // The offsets of the line breaks that lost a carriage return, after it was lost.
    let breaks = memchr::memmem::find_iter(text.as_bytes(), b"\r\n");
    let lost: Vec<usize> = breaks.enumerate().map(|(before, at)| at - before).collect();
    if lost.is_empty() {
        return;
    }
    let back = |offset: usize| offset + lost.partition_point(|at| *at < offset);
    for scalar in scalars {
        scalar.range = back(scalar.range.start)..back(scalar.range.end);
    }
}

/// The line of a scalar's comment within the text, from 1.
fn comment_line(text: &str, scalar: &Scalar, comment: &str) -> usize {
    let find = |from: usize| Some(from + text.get(from..)?.find(comment)?);
    let above = || text.get(..scalar.range.start)?.rfind(comment);
    let at = if scalar.line_comment.is_empty() {
        above()
    } else {
        // The comment of a block of text is in its first line.
        let of_header = find(scalar.range.start).filter(|at| *at < scalar.range.end);
        of_header.or_else(|| find(scalar.range.end)).or_else(above)
    };
    at.map_or(scalar.line as usize, |at| {
        breaks(text.get(..at).unwrap_or_default()) + 1
    })
}

fn breaks(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

#[cfg(test)]
mod tests;
