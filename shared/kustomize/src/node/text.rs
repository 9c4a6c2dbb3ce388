//! The text of nodes, and whether it reads as a string.

use flux_budget::Budget;

use super::Node;

/// The memory limit for resolving the type of a text, in bytes.
const ROOM: u64 = 8 << 20;

/// The node as kyaml prints it, for messages and for the regular expressions of field paths.
pub(crate) fn contents(node: &Node) -> String {
    flux_yaml::v3::to_string(node).unwrap_or_default()
}

/// Whether a YAML 1.1 reader resolves the text to anything but a string.
pub(crate) fn is_yaml11_non_string(text: &str) -> bool {
    if text.is_empty() || text.contains('\n') {
        return false;
    }
    // Fast path: plain words need no parser.
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let first = text.bytes().next().unwrap_or_default();
    let word = first.is_ascii_alphabetic();
    if plain && word && (text.len() > 5 || !b"yYnNtTfFoO".contains(&first)) {
        return false;
    }
    // A short text may expand without limit through its aliases; such a text is not a string.
    let room = Budget::new(ROOM).claim();
    match flux_yaml::sigs::yaml_to_json_within(text, &room) {
        Ok(value) => value.as_str().is_none(),
        Err(flux_yaml::Error::Memory(_)) => true,
        Err(_) => false,
    }
}
