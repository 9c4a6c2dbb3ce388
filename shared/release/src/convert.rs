//! Converts between the engine's objects and those of requests.

use flux_cluster::{ObjectId, RequestError};
use flux_helm::action::Object;
use flux_yaml::{Value, sigs};
use serde_json::{Number, Value as Json};

/// How deep lists and mappings may be nested: the limit of `serde_json`.
const MAX_DEPTH: usize = 127;

/// An object in the form of requests.
///
/// # Errors
/// It has a float that JSON cannot represent, or is nested more than 127 levels deep.
pub(crate) fn request_of(object: &Object) -> Result<flux_cluster::Object, RequestError> {
    json_of(&object.value, MAX_DEPTH)
        .and_then(flux_cluster::Object::new)
        .ok_or_else(|| RequestError::local("the object cannot be written as JSON"))
}

/// A YAML document in the form of requests, with its integers. The error's text quotes nothing of the document, which may
/// be a Secret.
pub(crate) fn json_of_document(document: &[u8]) -> Result<Json, String> {
    let value = sigs::from_str(document).map_err(|error| error.without_text().to_string())?;
    json_of(&value, MAX_DEPTH).ok_or_else(|| "a document cannot be written as JSON".to_owned())
}

fn json_of(value: &Value, levels: usize) -> Option<Json> {
    let below = levels.checked_sub(1);
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(int) => Json::from(*int),
        Value::Uint(int) => Json::from(*int),
        Value::Float(float) => Json::Number(number_of(*float)?),
        Value::String(text) => Json::String(text.clone()),
        Value::Seq(items) => {
            let below = below?;
            let items = items.iter().map(|item| json_of(item, below));
            Json::Array(items.collect::<Option<_>>()?)
        }
        Value::Map(map) => {
            let below = below?;
            let entries = map
                .iter()
                .map(|(key, value)| Some((key.clone(), json_of(value, below)?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
    })
}

/// A float as Go's JSON formats it: an integral one below 1e21 without a fraction, so that it is parsed as an integer
/// if it fits.
fn number_of(float: f64) -> Option<Number> {
    match whole(float) {
        Some(Value::Int(int)) => Some(Number::from(int)),
        Some(Value::Uint(int)) => Some(Number::from(int)),
        _ => Number::from_f64(float),
    }
}

fn whole(float: f64) -> Option<Value> {
    let is_negative_zero = float == 0.0 && float.is_sign_negative();
    if float.fract() != 0.0 || float.abs() >= 1e21 || is_negative_zero {
        return None;
    }
    // The shortest digits that identify the float, padded with zeros.
    let digits = format!("{float}");
    let int = digits.parse().map(Value::Int);
    int.or_else(|_| digits.parse().map(Value::Uint)).ok()
}

/// An object of the server, or its metadata, in the engine's form.
pub(crate) fn value_of(live: &flux_cluster::Object) -> Value {
    let fields = live.fields().iter();
    let mut value = Value::Map(
        fields
            .map(|(key, value)| (key.clone(), engine_value(value)))
            .collect(),
    );
    value.kubernetes_numbers();
    value
}

pub(crate) fn engine_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => {
            let int = number.as_i64().map(Value::Int);
            let int = int.or_else(|| number.as_u64().map(Value::Uint));
            int.unwrap_or_else(|| {
                let float = number.as_f64().unwrap_or_default();
                whole(float).unwrap_or(Value::Float(float))
            })
        }
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Seq(items.iter().map(engine_value).collect()),
        Json::Object(fields) => {
            let entries = fields.iter();
            Value::Map(
                entries
                    .map(|(key, value)| (key.clone(), engine_value(value)))
                    .collect(),
            )
        }
    }
}

/// The id of an object.
pub(crate) fn id_of(object: &Object) -> ObjectId {
    let identity = object.identity();
    ObjectId {
        group: identity.group.to_owned(),
        kind: identity.kind.to_owned(),
        namespace: identity.namespace.to_owned(),
        name: identity.name.to_owned(),
    }
}

/// The object in messages about requests, `apps/web apps/v1, Kind=Deployment`.
pub(crate) fn named(object: &Object) -> String {
    let (namespace, name, kind) = (&object.namespace, &object.name, &object.kind);
    let slash = if object.api_version.contains('/') {
        ""
    } else {
        "/"
    };
    format!(
        "{namespace}/{name} {slash}{}, Kind={kind}",
        object.api_version
    )
}

#[cfg(test)]
mod tests {
    use flux_cluster::Object as Request;
    use flux_helm::action::{Object, Scope, objects};
    use flux_yaml::Value;
    use flux_yaml::json::{self, Escape};

    use super::{named, request_of, value_of};

    // HE-KUBE-011
    #[test]
    fn object_names_match_go() {
        let manifest = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: b}\n";
        let scope = |_: &str, kind: &str| {
            let cluster = kind == "ClusterRole";
            Some(if cluster {
                Scope::Cluster
            } else {
                Scope::Namespaced
            })
        };
        let built = objects(manifest, "apps", &scope).unwrap();
        let names: Vec<_> = built.iter().map(named).collect();
        assert_eq!(
            names,
            [
                "apps/a /v1, Kind=ConfigMap",
                "/b rbac.authorization.k8s.io/v1, Kind=ClusterRole"
            ]
        );
    }

    fn object(value: Value) -> Object {
        Object {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: "apps".to_owned(),
            name: "a".to_owned(),
            value,
        }
    }

    #[test]
    fn numbers_survive_the_conversion_of_an_object() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nnumbers: [1, -7, 1.5, 9223372036854775807, 0.1]\n";
        let built = objects(manifest, "apps", &|_, _| Some(Scope::Namespaced)).unwrap();
        let request = request_of(&built[0]).unwrap();
        let numbers = request.at(&["numbers"]).unwrap().to_string();
        assert_eq!(numbers, "[1,-7,1.5,9223372036854775807,0.1]");
        assert_eq!(value_of(&request), built[0].value);
    }

    /// The conversions give the same result as a round trip through JSON text.
    #[test]
    fn numbers_convert_as_if_parsed_from_text() {
        for number in [
            Value::Int(i64::MIN),
            Value::Int(0),
            Value::Uint(u64::MAX),
            Value::Float(0.0),
            Value::Float(-0.0),
            Value::Float(1.0),
            Value::Float(-3.0),
            Value::Float(2_f64.powi(53) + 2.0),
            Value::Float(2_f64.powi(63)),
            Value::Float(2_f64.powi(64)),
            Value::Float(1e20),
            Value::Float(1e21),
            Value::Float(-1e300),
            Value::Float(0.1),
            Value::Float(5e-324),
        ] {
            let mut map = Value::map();
            let fields = map.as_map_mut().unwrap();
            fields.insert("number".to_owned(), number.clone());
            let text = json::to_string(&map, Escape::Plain).unwrap();
            let read = Request::new(serde_json::from_str(&text).unwrap()).unwrap();
            let request = request_of(&object(map)).unwrap();
            assert_eq!(
                serde_json::to_string(request.fields()).unwrap(),
                serde_json::to_string(read.fields()).unwrap(),
                "{number:?}"
            );
            let answer = serde_json::to_string(read.fields()).unwrap();
            let mut live = json::from_str(answer).unwrap();
            live.kubernetes_numbers();
            assert_eq!(value_of(&read), live, "{number:?}");
        }
    }

    #[test]
    fn values_without_a_json_form_are_refused() {
        let nested = |levels: usize| {
            let mut value = Value::map();
            for _ in 1..levels {
                let mut map = Value::map();
                map.as_map_mut().unwrap().insert("a".to_owned(), value);
                value = map;
            }
            value
        };
        let text = |levels| json::to_string(&nested(levels), Escape::Plain).unwrap();
        for (levels, fits) in [(127, true), (128, false)] {
            assert_eq!(request_of(&object(nested(levels))).is_ok(), fits);
            let read = serde_json::from_str::<serde_json::Value>(&text(levels));
            assert_eq!(read.is_ok(), fits, "{levels}");
        }
        let mut infinite = Value::map();
        let fields = infinite.as_map_mut().unwrap();
        fields.insert("a".to_owned(), Value::Float(f64::INFINITY));
        let error = request_of(&object(infinite)).unwrap_err();
        assert_eq!(error.to_string(), "the object cannot be written as JSON");
    }
}
