//! Small pieces of Go's library that hosts need too, so that their texts agree with a template's.

/// `strconv.Quote`, the `%q` of a string.
pub fn quote(text: &[u8]) -> String {
    crate::strconv::quote(text)
}

/// `unicode.IsPrint`
pub fn is_print(c: char) -> bool {
    crate::unicode::is_print(c)
}

/// `unicode.IsSpace`
pub const fn is_space(c: char) -> bool {
    crate::unicode::is_space(c)
}

pub use crate::gourl::Url;

/// A compiled expression of Go's `regexp`.
#[derive(Clone)]
pub struct Regexp(std::sync::Arc<crate::goregex::Regex>);

impl Regexp {
    /// `regexp.Compile`
    ///
    /// # Errors
    /// Go's text: `error parsing regexp: …`.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        crate::goregex::Regex::compile(pattern.as_bytes()).map(Self)
    }

    /// `MatchString`
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}
