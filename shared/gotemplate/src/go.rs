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
