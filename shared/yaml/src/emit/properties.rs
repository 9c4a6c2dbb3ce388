//! Anchors and tags.

use super::{Emit, Emitter};
use crate::error::Error;

/// What precedes a node: its anchor, and its tag if it is explicit.
#[derive(Clone, Copy, Default)]
pub(crate) struct Properties<'s> {
    pub(crate) anchor: &'s str,
    pub(crate) tag: &'s str,
}

impl Emitter<'_> {
    pub(super) fn write_properties(&mut self, properties: Properties<'_>) {
        if !properties.anchor.is_empty() {
            self.write_indicator("&", true, false, false);
            self.write_raw(properties.anchor);
        }
        if properties.tag.is_empty() {
            return;
        }
        let (handle, suffix) = split_tag(properties.tag);
        if handle.is_empty() {
            self.write_indicator("!<", true, false, false);
            self.write_tag_content(suffix);
            self.write_indicator(">", false, false, false);
        } else {
            if !self.whitespace {
                self.put(' ');
            }
            self.write_raw(handle);
            self.write_tag_content(suffix);
        }
    }
}

impl Properties<'_> {
    pub(super) fn length(&self) -> usize {
        if self.tag.is_empty() {
            return self.anchor.len();
        }
        let (handle, suffix) = split_tag(self.tag);
        self.anchor.len() + handle.len() + suffix.len()
    }
}

/// The handle and suffix that a tag, short or long, is written with.
fn split_tag(tag: &str) -> (&'static str, &str) {
    for (handle, prefix) in [("!!", "!!"), ("!", "!"), ("!!", "tag:yaml.org,2002:")] {
        if let Some(suffix) = tag.strip_prefix(prefix) {
            return (handle, suffix);
        }
    }
    ("", tag)
}

pub(super) fn check_anchor(name: &str, what: &str) -> Emit {
    if name.is_empty() {
        return Err(Error::Invalid(format!("{what} value must not be empty")));
    }
    if name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{what} value must contain alphanumerical characters only"
    )))
}
