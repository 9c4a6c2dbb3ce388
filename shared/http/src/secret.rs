//! Values that must not be shown.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Shows only the number of bytes: for values from a Secret that should be public, but need not be.
pub struct Hidden<'a>(pub &'a [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// Bytes that must not reach a log, an event, a status or a panic message. Cloning shares them.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Copies the bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(bytes.as_ref().into())
    }

    /// The bytes. The caller is responsible for where they go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text; invalid UTF-8 is replaced.
    pub fn expose_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(empty)" } else { "***" })
    }
}
