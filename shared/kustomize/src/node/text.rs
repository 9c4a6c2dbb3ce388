use super::Node;

/// The node as kyaml prints it, for messages and for the regular expressions of field paths.
pub(crate) fn contents(node: &Node) -> String {
    flux_yaml::v3::to_string(node).unwrap_or_default()
}

/// Whether a YAML 1.1 reader takes the text for anything but a string.
pub(crate) fn is_yaml11_non_string(text: &str) -> bool {
    if text.is_empty() || text.contains('\n') {
        return false;
    }
    // Plain words are the rule, and need no parser.
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let first = text.bytes().next().unwrap_or_default();
    let word = first.is_ascii_alphabetic();
    if plain && word && (text.len() > 5 || !b"yYnNtTfFoO".contains(&first)) {
        return false;
    }
    match flux_yaml::sigs::from_str(text) {
        Ok(value) => value.as_str().is_none(),
        Err(_) => false,
    }
}
