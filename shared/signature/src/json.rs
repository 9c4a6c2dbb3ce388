//! Errors of JSON documents that come from Secrets.

use serde_json::Error;
use serde_json::error::Category;

/// Where a document is invalid, and what was expected there. The parser's own text may quote the document.
pub(crate) fn place(error: &Error) -> String {
    let what = match error.classify() {
        Category::Data => "unexpected value",
        Category::Eof => "unexpected end of JSON input",
        Category::Syntax | Category::Io => "invalid syntax",
    };
    // What is expected is the text of a type. A quoted value that has the same words comes before it.
    let text = error.to_string();
    let expected = text.rsplit_once(", expected ").map(|(_, after)| after);
    let expected = expected.and_then(|after| Some(after.rsplit_once(" at line ")?.0));
    let expected = expected.map(|expected| format!(", expected {expected}"));
    let (line, column) = (error.line(), error.column());
    format!(
        "{what}{} at line {line} column {column}",
        expected.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_not_quoted() {
        #[derive(Debug, serde::Deserialize)]
        struct Known {
            #[serde(rename = "a")]
            _a: Vec<u8>,
        }
        for (json, want) in [
            (
                r#"{"a": "s3cret"}"#,
                "unexpected value, expected a sequence at line 1 column 14",
            ),
            (
                r#"{"a": "x, expected s3cret at line 1"}"#,
                "unexpected value, expected a sequence at line 1 column 36",
            ),
            (r#"{"s3cret": 1}"#, "unexpected value at line 1 column 13"),
            (
                r#"{"a": [1"#,
                "unexpected end of JSON input at line 1 column 8",
            ),
            ("s3cret", "invalid syntax at line 1 column 1"),
        ] {
            let error = serde_json::from_str::<Known>(json).unwrap_err();
            assert_eq!(place(&error), want, "{json}");
        }
    }
}
