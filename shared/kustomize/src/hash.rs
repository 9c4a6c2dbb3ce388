//! The name suffix derived from the content of a ConfigMap or Secret (KZ-HASH rows).

use flux_yaml::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::go;
use crate::node::{self, Kind, Node};

/// The hash of an object's content.
pub(crate) fn hash(object: &Node) -> Result<String> {
    let text = match node::kind_field(object) {
        kind @ "ConfigMap" => encode(object, kind, &["data"], "binaryData")?,
        kind @ "Secret" => encode(object, kind, &["data", "type"], "stringData")?,
        _ => tree(object),
    };
    let digest = Sha256::digest(text.as_bytes());
    Ok(digest
        .iter()
        .take(5)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(letter)
        .collect())
}

/// Hexadecimal digits without those that could spell a word (KZ-HASH-007).
fn letter(digit: u8) -> char {
    match digit {
        0 => 'g',
        1 => 'h',
        3 => 'k',
        10 => 'm',
        14 => 't',
        other => char::from_digit(u32::from(other), 16).unwrap_or('0'),
    }
}

fn encode(object: &Node, kind: &str, fields: &[&str], optional: &str) -> Result<String> {
    let mut map = Map::new();
    map.insert("kind".into(), kind.into());
    // KZ-HASH-004
    map.insert("name".into(), "".into());
    for field in fields {
        map.insert((*field).into(), content(object, field)?);
    }
    if node::field(object, optional).is_some_and(|value| value.kind != Kind::Scalar) {
        map.insert(optional.into(), content(object, optional)?);
    }
    Ok(go::json(&Value::Map(map)))
}

/// KZ-HASH-005: missing fields count as empty text, scalars as their text.
fn content(object: &Node, field: &str) -> Result<Value> {
    let Some(value) = node::field(object, field) else {
        return Ok("".into());
    };
    match value.kind {
        Kind::Scalar => Ok(value.value.as_str().into()),
        Kind::Mapping => {
            let mut value = node::to_value(value)?;
            value.floats_only();
            Ok(value)
        }
        _ => Ok(Value::Null),
    }
}

/// The JSON of yaml.v3's node, for kinds that are hashed only because of a manual annotation (KZ-HASH-010).
fn tree(node: &Node) -> String {
    let kind = match node.kind {
        Kind::Document => 1,
        Kind::Sequence => 2,
        Kind::Mapping => 4,
        Kind::Scalar => 8,
        Kind::Alias => 16,
    };
    let style = [
        node::Style::TAGGED,
        node::Style::DOUBLE_QUOTED,
        node::Style::SINGLE_QUOTED,
        node::Style::LITERAL,
        node::Style::FOLDED,
        node::Style::FLOW,
    ]
    .iter()
    .enumerate()
    .map(|(bit, flag)| u8::from(node.style.has(*flag)) << bit)
    .sum::<u8>();
    let text = |text: &str| go::json(&text.into());
    let content: Vec<_> = node.content.iter().map(tree).collect();
    let content = if content.is_empty() {
        "null".to_owned()
    } else {
        format!("[{}]", content.join(","))
    };
    let column = if node.line == 0 { 0 } else { node.column };
    format!(
        "{{\"Kind\":{kind},\"Style\":{style},\"Tag\":{},\"Value\":{},\"Anchor\":\"\",\"Alias\":null,\"Content\":{content},\
         \"HeadComment\":{},\"LineComment\":{},\"FootComment\":{},\"Line\":{},\"Column\":{column}}}",
        text(&node.tag),
        text(&node.value),
        text(node.head_comment()),
        text(node.line_comment()),
        text(node.foot_comment()),
        node.line,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_the_known_vectors() {
        // KZ-HASH-009
        for (text, want) in [
            // KZ-HASH-002, KZ-HASH-007
            ("kind: ConfigMap\ndata: {one: \"\"}", "9g67k2htb6"),
            ("kind: ConfigMap\nbinaryData: {one: \"\"}", "6mtk2m274t"),
            // KZ-HASH-005
            ("kind: ConfigMap", "6ct58987ht"),
            (
                "kind: ConfigMap\ndata: {two: 2, one: \"\", three: 3}",
                "7757f9kkct",
            ),
            ("kind: Secret\ntype: my-type", "5gmgkf8578"),
            // KZ-HASH-003
            (
                "kind: Secret\ntype: my-type\ndata: {one: \"\"}",
                "74bd68bm66",
            ),
        ] {
            let node = flux_yaml::v3::parse(text)
                .unwrap()
                .unwrap()
                .into_root()
                .unwrap();
            assert_eq!(hash(&node).unwrap(), want, "{text}");
        }
    }
}
