//! Encrypted values: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` (KC-SOPS-022, KC-SOPS-023).

use std::str;

use flux_golang::encoding::decode_base64;

use crate::gcm;
use crate::value::{Comment, Time, Value};

/// Why a value could not be decrypted. No variant holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is no encrypted value (KC-SOPS-017).
    #[error("Input string <redacted> does not match sops' data format")]
    Format,
    /// A part is not base64.
    #[error("Error base64-decoding {part}: {problem}")]
    Base64 {
        /// `data`, `iv` or `tag`.
        part: &'static str,
        /// Where it ends to be, in Go's words.
        problem: String,
    },
    /// The nonce is empty.
    #[error("cipher: the nonce can't have zero length")]
    Nonce,
    /// The value, its place in the document or the key is not the one that it was encrypted with.
    #[error("Could not decrypt with AES_GCM: cipher: message authentication failed")]
    Unauthentic,
    /// The type is unknown.
    #[error("Unknown datatype: {0}")]
    Type(String),
    /// The plain text is not of its type; upstream's text would quote it.
    #[error("{0}: parsing <redacted>: invalid syntax")]
    Content(&'static str),
}

/// Decrypts a value, where `place` is its path in the document.
pub(crate) fn decrypt(
    text: &[u8],
    key: &[u8; gcm::KEY],
    place: &[u8],
) -> Result<Value, ValueError> {
    if text.is_empty() {
        return Ok(Value::text(""));
    }
    let parts = Parts::of(text).ok_or(ValueError::Format)?;
    let decode =
        |part, text| decode_base64(text).map_err(|problem| ValueError::Base64 { part, problem });
    let (data, nonce, tag) = (
        decode("data", parts.data)?,
        decode("iv", parts.nonce)?,
        decode("tag", parts.tag)?,
    );
    if nonce.is_empty() {
        return Err(ValueError::Nonce);
    }
    // Upstream passes data and tag on as one, so that where one ends does not matter.
    let sealed = [data, tag].concat();
    let Some((data, tag)) = sealed.split_last_chunk::<16>() else {
        return Err(ValueError::Unauthentic);
    };
    let plain = gcm::open(key, &nonce, data, tag, place);
    let plain = plain.map_err(|gcm::Unauthentic| ValueError::Unauthentic)?;
    typed(plain, parts.kind)
}

/// The value of a type whose plain text is given.
fn typed(plain: Vec<u8>, kind: &[u8]) -> Result<Value, ValueError> {
    let text = || str::from_utf8(&plain).unwrap_or_default();
    let content = |function| ValueError::Content(function);
    Ok(match kind {
        b"str" => Value::Text(plain),
        b"int" => Value::Int(text().parse().map_err(|_| content("strconv.Atoi"))?),
        b"float" => Value::Float(float(text()).ok_or(content("strconv.ParseFloat"))?),
        b"bytes" => Value::Bytes(plain),
        b"bool" => Value::Bool(match &*plain {
            b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => true,
            b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => false,
            _ => return Err(content("strconv.ParseBool")),
        }),
        b"time" => Value::Time(Time::parse(text()).ok_or(content("time.Parse"))?),
        b"comment" => Value::Comment(Comment {
            text: plain,
            inline: false,
        }),
        other => return Err(ValueError::Type(shown(other))),
    })
}

/// A decimal number as SOPS writes it, or one of Go's words for what is not a number.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let known = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || matches!(&*unsigned.to_ascii_lowercase(), "inf" | "infinity" | "nan");
    known.then(|| text.parse().ok()).flatten()
}

/// The name of a type, unless it looks like something else that got there.
fn shown(kind: &[u8]) -> String {
    let is_word = kind.len() <= 20 && kind.iter().all(u8::is_ascii_alphanumeric);
    if is_word {
        String::from_utf8_lossy(kind).into_owned()
    } else {
        "<redacted>".to_owned()
    }
}

/// The parts of an encrypted value as they are written.
struct Parts<'t> {
    data: &'t [u8],
    nonce: &'t [u8],
    tag: &'t [u8],
    kind: &'t [u8],
}

impl<'t> Parts<'t> {
    /// The parts of what matches `^ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]`: anything may follow.
    fn of(text: &'t [u8]) -> Option<Self> {
        let rest = text.strip_prefix(b"ENC[AES256_GCM,data:")?;
        let line = rest.split(|byte| *byte == b'\n').next()?;
        let end = line.iter().rposition(|byte| *byte == b']')?;
        let (rest, kind) = split_at_last(&line[..end], b",type:")?;
        let (rest, tag) = split_at_last(rest, b",tag:")?;
        let (data, nonce) = split_at_last(rest, b",iv:")?;
        let parts = [data, nonce, tag, kind];
        let complete = parts.iter().all(|part| !part.is_empty());
        complete.then_some(Self {
            data,
            nonce,
            tag,
            kind,
        })
    }
}

fn split_at_last<'t>(text: &'t [u8], separator: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let at = text
        .windows(separator.len())
        .rposition(|part| part == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of SOPS' own tests: the key is 32 bytes of `f`, the text `foo`, the place `bar:`.
    const KEY: [u8; 32] = [b'f'; 32];
    const VALUE: &str = "ENC[AES256_GCM,data:oYyi,iv:MyIDYbT718JRr11QtBkcj3Dwm4k1aCGZBVeZf0EyV8o=,tag:t5z2Z023Up0kxwCgw1gNxg==,type:str]";

    #[test]
    fn a_value_is_decrypted_at_its_place_only() {
        // KC-SOPS-022
        let decrypt = |text: &str, place: &str| decrypt(text.as_bytes(), &KEY, place.as_bytes());
        assert_eq!(decrypt(VALUE, "bar:"), Ok(Value::text("foo")));
        assert_eq!(decrypt(VALUE, "baz:"), Err(ValueError::Unauthentic));
        assert_eq!(decrypt("", "bar:"), Ok(Value::text("")));
        assert_eq!(
            decrypt(&format!("{VALUE} and more"), "bar:"),
            Ok(Value::text("foo"))
        );
        for (changed, error) in [
            (VALUE.replace("oYyi", "oYyj"), ValueError::Unauthentic),
            (VALUE.replace("MyID", "MyIE"), ValueError::Unauthentic),
            (VALUE.replace("t5z2", "t5z3"), ValueError::Unauthentic),
            (
                VALUE.replace(":str]", ":text]"),
                ValueError::Type("text".into()),
            ),
            (
                VALUE.replace(":str]", ":int]"),
                ValueError::Content("strconv.Atoi"),
            ),
            (
                VALUE.replace(":str]", ":float]"),
                ValueError::Content("strconv.ParseFloat"),
            ),
            (
                VALUE.replace(":str]", ":bool]"),
                ValueError::Content("strconv.ParseBool"),
            ),
            (
                VALUE.replace(":str]", ":time]"),
                ValueError::Content("time.Parse"),
            ),
            (VALUE.replace(",tag:", ",gat:"), ValueError::Format),
            ("foo".to_owned(), ValueError::Format),
        ] {
            let found = decrypt(&changed, "bar:").unwrap_err();
            assert_eq!(found, error, "{changed}");
            // KC-SOPS-017
            assert!(!found.to_string().contains("foo"));
        }
        let broken = decrypt(&VALUE.replace("oYyi", "oY*i"), "bar:");
        assert!(matches!(
            broken,
            Err(ValueError::Base64 { part: "data", .. })
        ));
    }
}
