//! Generates values and texts.

use serde_json::{Map, Value, json};

use super::Random;
use super::pools::{KEYS, SCALARS};

/// A value of JSON types.
#[allow(dead_code)]
pub(crate) fn value(r: &mut Random, depth: usize) -> Value {
    match r.below(if depth == 0 { 8 } else { 12 }) {
        0 => Value::Null,
        1 => json!(r.chance(50)),
        2 => json!(r.next() as i64 % 1000),
        3 => match r.below(6) {
            0 => json!(u64::MAX - r.next() % 3),
            1 => json!(i64::MIN),
            2 => json!(1e21),
            3 => json!((r.next() % 1_000_000) as f64 / 1000.0),
            4 => json!(r.next() as f64 * 1e7),
            _ => json!(f64::from_bits(r.next() << 11 ^ r.next()).clamp(-1e300, 1e300)),
        },
        4..8 => Value::String(text(r)),
        8 | 9 => Value::Array((0..r.below(4)).map(|_| value(r, depth - 1)).collect()),
        _ => {
            let mut map = Map::new();
            for _ in 0..r.below(5) {
                let key = if r.chance(80) {
                    r.pick(KEYS).to_owned()
                } else {
                    text(r)
                };
                map.insert(key, value(r, depth - 1));
            }
            Value::Object(map)
        }
    }
}

/// A string, mostly hostile.
pub(crate) fn text(r: &mut Random) -> String {
    match r.below(10) {
        0..6 => r.pick(SCALARS).to_owned(),
        6..8 => {
            let separators = [" ", "", "\n", "  ", ": ", " #", "\t", ", "];
            let separator = r.pick(&separators);
            (0..=r.below(4))
                .map(|_| r.pick(SCALARS))
                .collect::<Vec<_>>()
                .join(separator)
        }
        8 if r.chance(30) => long(r),
        8 => {
            let words = [
                "a",
                "word",
                "it's",
                "longer-word",
                "x",
                "colon:",
                "\"q\"",
                "é",
            ];
            let count = r.below(40);
            (0..count)
                .map(|_| r.pick(&words))
                .collect::<Vec<_>>()
                .join(" ")
        }
        _ => {
            let alphabet = [
                'a', 'b', ' ', '\n', ':', '#', '-', '\'', '"', '\\', '\t', 'é', '😀', ',', '?',
                '{', '1', '\r',
            ];
            let length = r.below(12);
            (0..length)
                .map(|_| alphabet[r.below(alphabet.len())])
                .collect()
        }
    }
}

/// A text that writers with folding fold.
pub(crate) fn long(r: &mut Random) -> String {
    let words = [
        "a",
        "word",
        "it's",
        "longer-word",
        "x",
        "colon:",
        "\"q\"",
        "é",
        "日本語",
        "😀",
        "#no",
        "-",
        "",
        "key: value",
        "a-very-long-word-without-any-blank-in-it-that-goes-on-and-on-and-on-and-on-and-on-and-on",
    ];
    let separators: &[&str] = match r.below(6) {
        0 => &[" ", " ", " ", " ", "\n"],
        1 => &[" ", "  "],
        2 => &[" ", " ", "\t"],
        _ => &[" "],
    };
    let plain = r.chance(50);
    let mut out = String::new();
    for at in 0..10 + r.below(60) {
        if at > 0 {
            out.push_str(r.pick(separators));
        }
        let limit = if plain { 5 } else { words.len() };
        out.push_str(words[r.below(limit)]);
    }
    out
}
