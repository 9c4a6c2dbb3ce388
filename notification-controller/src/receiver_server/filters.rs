//! Which objects of a Receiver a request concerns, by the expressions of its owner (NC-RECV-101 to NC-RECV-106).

use flux_api::notification::ReceiverSpec;
use flux_cel::{CompileError, EvaluateError, Expression, Value};
use serde_json::Value as Json;

use super::validate::{Accepted, Request};
use crate::expression::{accepts, filter, value};

/// The filters of a Receiver, and what they see of a request.
pub(super) struct Filters {
    top: Option<Expression>,
    each: Vec<Option<Expression>>,
    request: Value,
    claims: Option<Value>,
}

impl Filters {
    /// Compiles the filters of a Receiver for a request.
    ///
    /// # Errors
    /// One is no expression, or the body is not the JSON that it is said to be.
    pub(super) fn new(
        spec: &ReceiverSpec,
        request: &Request<'_>,
        accepted: &Accepted,
    ) -> Result<Self, String> {
        let compile = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            let compiled = text.map(|text| filter(text, accepted.claims.is_some()));
            compiled
                .transpose()
                .map_err(|error: CompileError| error.to_string())
        };
        let top = compile(&spec.resource_filter)?;
        let each = spec.resources.iter();
        let each = each
            .map(|resource| compile(&resource.filter))
            .collect::<Result<Vec<_>, _>>()?;
        // NC-RECV-104
        let is_needed = top.is_some() || each.iter().any(Option::is_some);
        let empty = || Json::Object(serde_json::Map::new());
        let body = if is_needed && is_json(request) {
            let body = accepted.body.as_deref().unwrap_or(request.body);
            // NC-RECV-103
            let refuse = |why: &str| format!("failed to parse request body as JSON: {why}");
            let mut documents = serde_json::Deserializer::from_slice(body).into_iter::<Json>();
            match documents.next() {
                None => return Err(refuse("EOF")),
                Some(Ok(body @ Json::Object(_))) => body,
                Some(Ok(Json::Null)) => empty(),
                Some(Ok(_)) => return Err(refuse("it is not an object")),
                Some(Err(_)) => return Err(refuse("it is not JSON")),
            }
        } else {
            empty()
        };
        Ok(Self {
            top,
            each,
            request: value(&body),
            claims: accepted.claims.as_ref().map(value),
        })
    }

    /// Whether an object of the entry at this place is accepted: by the filter of the Receiver, then by the entry's
    /// (NC-RECV-101).
    ///
    /// # Errors
    /// A filter cannot be evaluated (NC-RECV-105).
    pub(super) fn accept(&self, at: usize, object: &Json) -> Result<bool, EvaluateError> {
        let own = self.each.get(at).and_then(Option::as_ref);
        if self.top.is_none() && own.is_none() {
            return Ok(true);
        }
        let object = value(object);
        let mut variables = vec![("res", &object), ("req", &self.request)];
        variables.extend(self.claims.as_ref().map(|claims| ("claims", claims)));
        for filter in self.top.iter().chain(own) {
            if !accepts(filter, &variables)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a request says that its body is JSON.
fn is_json(request: &Request<'_>) -> bool {
    let kind = request.headers.get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(',').any(|kind| {
        let media = kind.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("application/json")
    })
}

#[cfg(test)]
mod tests {
    use flux_api::notification::ReceiverResource;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn spec(top: &str, each: &[&str]) -> ReceiverSpec {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        ReceiverSpec {
            resource_filter: some(top),
            resources: each
                .iter()
                .map(|filter| ReceiverResource {
                    filter: some(filter),
                    ..ReceiverResource::default()
                })
                .collect(),
            ..ReceiverSpec::default()
        }
    }

    fn made(
        spec: &ReceiverSpec,
        kind: &str,
        body: &str,
        accepted: &Accepted,
    ) -> Result<Filters, String> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        let request = Request {
            headers: &headers,
            body: body.as_bytes(),
        };
        Filters::new(spec, &request, accepted)
    }

    fn object() -> Json {
        json!({"kind": "GitRepository", "metadata": {"name": "app"}})
    }

    #[test]
    fn filters_of_receiver_and_entry_are_stacked() {
        let none = Accepted::default();
        let body = r#"{"name":"app"}"#;
        for (top, own, want) in [
            // NC-RECV-101
            ("", "", Ok(true)),
            ("res.metadata.name == req.name", "", Ok(true)),
            ("", "res.metadata.name == 'x'", Ok(false)),
            ("true", "false", Ok(false)),
            ("false", "req.absent == 1", Ok(false)),
            // NC-RECV-105
            ("true", "req.absent == 1", Err(())),
        ] {
            let filters = made(&spec(top, &[own]), "application/json", body, &none).unwrap();
            let accepted = filters.accept(0, &object());
            assert_eq!(accepted.map_err(drop), want, "{top} {own}");
        }
    }

    #[test]
    fn the_body_is_read_if_it_is_said_to_be_json() {
        let none = Accepted::default();
        let filtered = spec("size(req) == 0", &[""]);
        // NC-RECV-103, NC-RECV-106
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let filters = made(&filtered, kind, r#"{"a":1}"#, &none).unwrap();
            assert_eq!(filters.accept(0, &object()), Ok(true), "{kind}");
        }
        for kind in [
            "application/json; charset=utf-8",
            "text/x, application/json",
        ] {
            let filters = made(&filtered, kind, r#"{"a":1}"#, &none).unwrap();
            assert_eq!(filters.accept(0, &object()), Ok(false), "{kind}");
            for body in ["", "x", "[1]"] {
                assert!(made(&filtered, kind, body, &none).is_err(), "{kind} {body}");
            }
        }
        // NC-RECV-104
        assert!(made(&spec("", &[""]), "application/json", "x", &none).is_ok());
    }

    #[test]
    fn claims_and_unwrapped_bodies_are_seen() {
        // NC-RECV-081
        let unwrapped = Accepted {
            body: Some(br#"{"tag":"v1"}"#.to_vec()),
            ..Accepted::default()
        };
        let of_tag = spec("req.tag == 'v1' && size(req) == 1", &[""]);
        let filters = made(&of_tag, "application/json", "{}", &unwrapped).unwrap();
        assert_eq!(filters.accept(0, &object()), Ok(true));
        // NC-RECV-102
        let of_claims = spec("claims.sub == 'me'", &[""]);
        let with_claims = Accepted {
            claims: Some(json!({"sub": "me"})),
            ..Accepted::default()
        };
        let filters = made(&of_claims, "", "", &with_claims).unwrap();
        assert_eq!(filters.accept(0, &object()), Ok(true));
        assert!(made(&of_claims, "", "", &Accepted::default()).is_err());
    }
}
