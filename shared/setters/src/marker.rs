//! Markers: comments that name a setter.

use serde_json::{Map, Value};

/// The key of the short form.
const KEY: &str = "$imagepolicy";
/// The key of the long form, and what its value begins with (IA-UPD-033).
const REFERENCE: &str = "$ref";
const DEFINITIONS: &str = "#/definitions/io.k8s.cli.setters.";

/// The comment that counts for a value: that next to it, else the one above it (IA-UPD-029, IA-UPD-030).
pub(crate) fn comment<'c>(line: &'c str, head: &'c str) -> &'c str {
    if line.is_empty() { head } else { line }
}

/// The setter that a comment names, if it is a marker: one JSON object behind the leading `#` characters (IA-UPD-020,
/// IA-UPD-027, IA-UPD-028).
pub(crate) fn setter(comment: &str) -> Option<String> {
    let text = comment.trim_start_matches('#');
    let members: Map<String, Value> = serde_json::from_str(text).ok()?;
    short_form(&members).or_else(|| long_form(&members))
}

/// All members are texts; null leaves the text of a member empty, as in Go.
fn short_form(members: &Map<String, Value>) -> Option<String> {
    let is_text = |value: &Value| value.is_string() || value.is_null();
    if !members.values().all(is_text) {
        return None;
    }
    let setter = members.get(KEY)?.as_str()?;
    (!setter.is_empty()).then(|| setter.to_owned())
}

fn long_form(members: &Map<String, Value>) -> Option<String> {
    let setter = members
        .get(REFERENCE)?
        .as_str()?
        .strip_prefix(DEFINITIONS)?;
    Some(setter.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_one_object_of_texts() {
        for (comment, found) in [
            // IA-UPD-020
            (r#"# {"$imagepolicy": "ns:app"}"#, Some("ns:app")),
            (r#"# {"$imagepolicy": "ns:app:tag"}"#, Some("ns:app:tag")),
            // IA-UPD-027
            (r#"#{ "$imagepolicy" :"ns:app"  }  "#, Some("ns:app")),
            (r#"# {"a": "b", "$imagepolicy": "ns:app"}"#, Some("ns:app")),
            (
                r#"# {"$imagepolicy": "a:b", "$imagepolicy": "ns:app"}"#,
                Some("ns:app"),
            ),
            (r#"# {"a": null, "$imagepolicy": "ns:app"}"#, Some("ns:app")),
            (r#"# {"$imagepolicy": "ns:\u0061pp"}"#, Some("ns:app")),
            (r#"# {"a": 1, "$imagepolicy": "ns:app"}"#, None),
            (r#"# {"$imagepolicy": "ns:app"} x"#, None),
            (
                r#"# {"$imagepolicy": "ns:app"} {"$imagepolicy": "ns:app"}"#,
                None,
            ),
            (r#"# x {"$imagepolicy": "ns:app"}"#, None),
            (r#"# ["$imagepolicy"]"#, None),
            (r#"# {"$imagepolicy": ""}"#, None),
            (r#"# {"$imagepolicy": ["ns:app"]}"#, None),
            (r#"# {"$ImagePolicy": "ns:app"}"#, None),
            (r"# {'$imagepolicy': 'ns:app'}", None),
            ("", None),
            ("# text", None),
            // IA-UPD-028
            (r#"### {"$imagepolicy": "ns:app"}"#, Some("ns:app")),
            (r#"# # {"$imagepolicy": "ns:app"}"#, None),
            // IA-UPD-032
            ("# {\"$imagepolicy\": \"ns:app\"}\n# more", None),
            // IA-UPD-033
            (
                r##"# {"$ref": "#/definitions/io.k8s.cli.setters.ns:app:name"}"##,
                Some("ns:app:name"),
            ),
            (
                r##"# {"$ref": "#/definitions/io.k8s.cli.substitutions.ns:app"}"##,
                None,
            ),
            (r#"# {"$ref": "ns:app"}"#, None),
        ] {
            assert_eq!(setter(comment).as_deref(), found, "{comment}");
        }
    }

    #[test]
    fn the_comment_above_counts_only_without_one_next_to_it() {
        // IA-UPD-029
        assert_eq!(comment("", "# above"), "# above");
        // IA-UPD-030
        assert_eq!(comment("# text", "# above"), "# text");
    }
}
