//! The bodies of registries' webhooks, read as Go's `encoding/json` reads them into a struct.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Why a body is not what the sender sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PayloadError {
    /// It is not JSON.
    #[error("it is not JSON")]
    Json,
    /// A part of it has another type.
    #[error("cannot unmarshal the field {0}")]
    Field(&'static str),
    /// Its data is not base64.
    #[error("illegal base64 data")]
    Base64,
}

/// The first JSON document of a body; data behind it is ignored (NC-RECV-074).
pub(super) fn first(body: &[u8]) -> Result<Value, PayloadError> {
    let text = String::from_utf8_lossy(body);
    let mut documents = serde_json::Deserializer::from_str(&text).into_iter();
    match documents.next() {
        Some(Ok(value)) => object("the body", value),
        _ => Err(PayloadError::Json),
    }
}

/// The one JSON document of a body.
pub(super) fn only(body: &[u8]) -> Result<Value, PayloadError> {
    let text = String::from_utf8_lossy(body);
    let value = serde_json::from_str(&text).map_err(|_| PayloadError::Json)?;
    object("the body", value)
}

fn object(name: &'static str, value: Value) -> Result<Value, PayloadError> {
    match value {
        Value::Object(_) | Value::Null => Ok(value),
        _ => Err(PayloadError::Field(name)),
    }
}

/// A member by its name in any case; `None` if it is absent or null.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let members = value.as_object()?;
    let mut found = members
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let exact = members
        .get(name)
        .or_else(|| found.next().map(|(_, value)| value));
    exact.filter(|value| !value.is_null())
}

/// An inner object (NC-RECV-078).
pub(super) fn inner<'v>(value: &'v Value, name: &'static str) -> Result<&'v Value, PayloadError> {
    match member(value, name) {
        None => Ok(&Value::Null),
        Some(inner @ Value::Object(_)) => Ok(inner),
        Some(_) => Err(PayloadError::Field(name)),
    }
}

/// A text; empty if absent.
pub(super) fn text<'v>(value: &'v Value, name: &'static str) -> Result<&'v str, PayloadError> {
    match member(value, name) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(PayloadError::Field(name)),
    }
}

/// Checks a list of texts.
pub(super) fn texts(value: &Value, name: &'static str) -> Result<(), PayloadError> {
    match member(value, name) {
        None => Ok(()),
        Some(Value::Array(items))
            if items.iter().all(|item| item.is_string() || item.is_null()) =>
        {
            Ok(())
        }
        Some(_) => Err(PayloadError::Field(name)),
    }
}

/// What happened in Google's registry, from the envelope of Pub/Sub (NC-RECV-081): action, digest and tag.
pub(super) fn of_pub_sub(body: &[u8]) -> Result<[String; 3], PayloadError> {
    let envelope = first(body)?;
    let message = inner(&envelope, "message")?;
    for name in ["messageId", "subscription", "publishTime"] {
        text(message, name)?;
    }
    let data = STANDARD.decode(text(message, "data")?);
    let data = only(&data.map_err(|_| PayloadError::Base64)?)?;
    Ok([
        text(&data, "action")?.to_owned(),
        text(&data, "digest")?.to_owned(),
        text(&data, "tag")?.to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_go_reads_them() {
        // NC-RECV-074: the first document counts
        assert!(first(b"{\"a\":1} trailing").is_ok());
        assert_eq!(only(b"{\"a\":1} trailing"), Err(PayloadError::Json));
        for body in [&b""[..], b"x", b"[1]", b"\"text\""] {
            assert!(first(body).is_err(), "{body:?}");
        }
        // NC-RECV-078
        let value =
            first(br#"{"Docker_URL":"u","updated_tags":["a"],"push_data":{"tag":null},"n":1}"#);
        let value = value.unwrap();
        assert_eq!(text(&value, "docker_url"), Ok("u"));
        assert_eq!(text(&value, "absent"), Ok(""));
        assert_eq!(text(&value, "n"), Err(PayloadError::Field("n")));
        assert_eq!(texts(&value, "updated_tags"), Ok(()));
        assert_eq!(
            texts(&value, "docker_url"),
            Err(PayloadError::Field("docker_url"))
        );
        let push = inner(&value, "push_data").unwrap();
        assert_eq!(text(push, "tag"), Ok(""));
        assert_eq!(inner(&value, "n"), Err(PayloadError::Field("n")));
    }

    #[test]
    fn the_envelope_of_pub_sub_is_unwrapped() {
        // NC-RECV-081
        let data = STANDARD.encode(r#"{"action":"INSERT","digest":"d","tag":"t","more":1}"#);
        let body = format!(r#"{{"message":{{"data":"{data}","messageId":"1"}}}}"#);
        let found = of_pub_sub(body.as_bytes()).unwrap();
        assert_eq!(found, ["INSERT", "d", "t"].map(str::to_owned));
        for body in [
            "{}",
            r#"{"message":{"data":"***"}}"#,
            r#"{"message":{"data":"eA=="}}"#,
            r#"{"message":[]}"#,
        ] {
            assert!(of_pub_sub(body.as_bytes()).is_err(), "{body}");
        }
    }
}
