//! One line of an ignore file.

use crate::glob::Glob;

/// What a pattern says of a path that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Exclude,
    Include,
}

/// A pattern with the folder below which it counts.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    scope: Vec<Box<[u8]>>,
    verdict: Verdict,
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
    /// Between doubled slashes, or before the first: says nothing, but ends the reach of a `**` before it.
    Empty,
    /// `**`: any number of folders.
    AnyDepth,
    Name(Glob),
}

impl Pattern {
    /// Reads a pattern as it stands in the file (SC-ART-075).
    pub(crate) fn parse(line: &[u8], scope: &[&[u8]]) -> Self {
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
            scope: scope.iter().map(|part| Box::from(*part)).collect(),
            verdict,
            directories_only,
            form,
        }
    }

    /// What the pattern says of a path, given as its segments.
    pub(crate) fn verdict(&self, path: &[&[u8]], is_dir: bool) -> Option<Verdict> {
        let (folder, below) = path.split_at_checked(self.scope.len())?;
        let in_scope = self
            .scope
            .iter()
            .zip(folder)
            .all(|(want, have)| &**want == *have);
        if below.is_empty() || !in_scope {
            return None;
        }
        let matched = match &self.form {
            Form::Name(glob) => self.matches_name(glob, below, is_dir),
            Form::Segments(segments) => self.matches_segments(segments, below, is_dir),
            Form::Nothing => false,
        };
        matched.then_some(self.verdict)
    }

    /// The first segment that fits decides; where it is the path's last, a pattern for folders asks that it is one.
    fn matches_name(&self, glob: &Glob, path: &[&[u8]], is_dir: bool) -> bool {
        path.iter()
            .position(|name| glob.matches(name))
            .is_some_and(|at| !self.directories_only || is_dir || at + 1 < path.len())
    }

    /// A path matches once all segments of the pattern are used up, whatever follows in the path (SC-ART-077).
    fn matches_segments(&self, segments: &[Segment], mut path: &[&[u8]], is_dir: bool) -> bool {
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
                return false;
            };
            if std::mem::take(&mut any_depth) {
                let found = path.iter().position(|name| glob.matches(name));
                matched = found.is_some();
                path = found.map_or(&[], |found| &path[found + 1..]);
            } else if glob.matches(first) {
                matched = true;
                path = rest;
            } else {
                return false;
            }
        }
        matched && (!self.directories_only || is_dir || !path.is_empty())
    }
}

fn segments(text: &[u8]) -> Form {
    let segments = text
        .split(|byte| *byte == b'/')
        .map(|segment| match segment {
            b"" => Some(Segment::Empty),
            b"**" => Some(Segment::AnyDepth),
            // SC-ART-076: a segment that merely holds `**` is never matched
            segment if segment.windows(2).any(|two| two == b"**") => None,
            segment => Glob::compile(segment).ok().map(Segment::Name),
        })
        .collect::<Option<Vec<_>>>();
    segments.map_or(Form::Nothing, Form::Segments)
}
