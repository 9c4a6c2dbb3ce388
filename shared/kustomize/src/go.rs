//! Lists and JSON as Go prints them.

use flux_yaml::Value;
use flux_yaml::json::Escape;

/// The value as `json.Marshal` writes it: keys sorted by bytes, `<`, `>` and `&` escaped (KZ-HASH-006).
pub(crate) fn json(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_keys();
    compact(&sorted)
}

fn compact(value: &Value) -> String {
    // Only NaN and infinities have no JSON form, and no parsed value holds one.
    flux_yaml::json::to_string(value, Escape::Html).unwrap_or_default()
}

/// Like [`json`], on several lines with an indentation of two spaces.
pub(crate) fn json_indented(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_keys();
    let mut out = String::new();
    indented(&sorted, 0, &mut out);
    out
}

fn indented(value: &Value, level: usize, out: &mut String) {
    let (open, close, length) = match value {
        Value::Seq(items) if !items.is_empty() => ('[', ']', items.len()),
        Value::Map(map) if !map.is_empty() => ('{', '}', map.len()),
        other => return out.push_str(&compact(other)),
    };
    out.push(open);
    for at in 0..length {
        if at > 0 {
            out.push(',');
        }
        out.push('\n');
        out.push_str(&"  ".repeat(level + 1));
        match value {
            Value::Seq(items) => items
                .get(at)
                .into_iter()
                .for_each(|item| indented(item, level + 1, out)),
            Value::Map(map) => {
                if let Some((key, item)) = map.get_index(at) {
                    out.push_str(&compact(&key.as_str().into()));
                    out.push_str(": ");
                    indented(item, level + 1, out);
                }
            }
            _ => {}
        }
    }
    out.push('\n');
    out.push_str(&"  ".repeat(level));
    out.push(close);
}

/// A list of strings as `%v` prints it.
pub(crate) fn list_of<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<_> = items.iter().map(AsRef::as_ref).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_for_html() {
        let value: Value = [("b", Value::from("<&>\u{2028}")), ("a", Value::Null)]
            .into_iter()
            .collect();
        assert_eq!(json(&value), r#"{"a":null,"b":"\u003c\u0026\u003e\u2028"}"#);
        assert_eq!(
            json_indented(&value),
            "{\n  \"a\": null,\n  \"b\": \"\\u003c\\u0026\\u003e\\u2028\"\n}"
        );
        assert_eq!(json_indented(&Value::map()), "{}");
    }
}
