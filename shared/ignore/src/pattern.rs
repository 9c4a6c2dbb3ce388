//! A pattern: one line of an ignore file.

use flux_golang::path::Pattern as Glob;

use crate::steps::{Spent, Steps};

/// The effect of a pattern on a path that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Exclude,
    Include,
}

/// A pattern, relative to its folder.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) verdict: Verdict,
    directories_only: bool,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// Without a slash: the name of any segment below the scope.
    Name(Glob),
    /// With a slash: segment by segment from the scope.
    Segments(Vec<Segment>),
    /// Malformed: it matches nothing (SC-ART-078).
    Nothing,
}

#[derive(Clone, Debug)]
enum Segment {
    /// Between doubled slashes, or before the first one: matches nothing, but ends the range of a preceding `**`.
    Empty,
    /// `**`: any number of folders.
    AnyDepth,
    Name(Glob),
}

/// What a path must contain to be worth matching, so that most patterns of a long list are skipped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A segment of this name.
    Name(Box<[u8]>),
    /// This name as its first segment.
    First(Box<[u8]>),
    /// Any path.
    Any,
}

impl Pattern {
    /// Parses a line of an ignore file (SC-ART-075).
    pub(crate) fn parse(line: &[u8]) -> Self {
        let mut text = line;
        let mut verdict = Verdict::Exclude;
        if let Some(rest) = text.strip_prefix(b"!") {
            verdict = Verdict::Include;
            text = rest;
        }
        if !text.ends_with(b"\\ ") {
            while let Some(rest) = text.strip_suffix(b" ") {
                text = rest;
            }
        }
        let mut directories_only = false;
        if let Some(rest) = text.strip_suffix(b"/") {
            directories_only = true;
            text = rest;
        }
        let form = if text.contains(&b'/') {
            segments(text)
        } else {
            Glob::compile(text).map_or(Form::Nothing, Form::Name)
        };
        Self {
            verdict,
            directories_only,
            form,
        }
    }

    /// What a path must contain to match; `None` if no path can match.
    pub(crate) fn key(&self) -> Option<Key> {
        match &self.form {
            Form::Name(glob) => Some(glob.literal().map_or(Key::Any, Key::Name)),
            Form::Segments(segments) => {
                let first = segments
                    .iter()
                    .find(|segment| !matches!(segment, Segment::Empty));
                let literal = match first {
                    Some(Segment::Name(glob)) => glob.literal(),
                    _ => None,
                };
                Some(literal.map_or(Key::Any, Key::First))
            }
            Form::Nothing => None,
        }
    }

    /// Whether the pattern matches a path, given as its segments below the pattern's folder (at least one).
    pub(crate) fn matches(
        &self,
        path: &[&[u8]],
        is_dir: bool,
        steps: &Steps,
    ) -> Result<bool, Spent> {
        match &self.form {
            Form::Name(glob) => self.matches_name(glob, path, is_dir, steps),
            Form::Segments(segments) => self.matches_segments(segments, path, is_dir, steps),
            Form::Nothing => Ok(false),
        }
    }

    /// The first matching segment decides; if it is the path's last, a pattern for folders requires a folder.
    fn matches_name(
        &self,
        glob: &Glob,
        path: &[&[u8]],
        is_dir: bool,
        steps: &Steps,
    ) -> Result<bool, Spent> {
        let first = position(glob, path, steps)?;
        Ok(first.is_some_and(|at| !self.directories_only || is_dir || at + 1 < path.len()))
    }

    /// A path matches once all segments of the pattern are consumed, whatever follows in the path (SC-ART-077).
    fn matches_segments(
        &self,
        segments: &[Segment],
        mut path: &[&[u8]],
        is_dir: bool,
        steps: &Steps,
    ) -> Result<bool, Spent> {
        let mut matched = false;
        let mut any_depth = false;
        for (at, segment) in segments.iter().enumerate() {
            let glob = match segment {
                Segment::Empty => {
                    any_depth = false;
                    continue;
                }
                Segment::AnyDepth if at + 1 == segments.len() => break,
                Segment::AnyDepth => {
                    any_depth = true;
                    continue;
                }
                Segment::Name(glob) => glob,
            };
            let Some((first, rest)) = path.split_first() else {
                return Ok(false);
            };
            if std::mem::take(&mut any_depth) {
                let found = position(glob, path, steps)?;
                matched = found.is_some();
                path = found.map_or(&[], |found| &path[found + 1..]);
            } else if glob.matches_within(first, |taken| steps.spend(taken))? {
                matched = true;
                path = rest;
            } else {
                return Ok(false);
            }
        }
        Ok(matched && (!self.directories_only || is_dir || !path.is_empty()))
    }
}

/// The first matching segment.
fn position(glob: &Glob, path: &[&[u8]], steps: &Steps) -> Result<Option<usize>, Spent> {
    for (at, name) in path.iter().enumerate() {
        if glob.matches_within(name, |taken| steps.spend(taken))? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn segments(text: &[u8]) -> Form {
    let segments = text
        .split(|byte| *byte == b'/')
        .map(|segment| match segment {
            b"" => Some(Segment::Empty),
            b"**" => Some(Segment::AnyDepth),
            // SC-ART-076: a segment that only contains `**` is never matched
            segment if segment.windows(2).any(|two| two == b"**") => None,
            segment => Glob::compile(segment).ok().map(Segment::Name),
        })
        .collect::<Option<Vec<_>>>();
    segments.map_or(Form::Nothing, Form::Segments)
}
