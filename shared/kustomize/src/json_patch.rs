//! JSON patches (RFC 6902) as the library that kustomize uses applies them (KZ-J69 rows).

use flux_yaml::{Map, Value};

/// A list of operations.
#[derive(Clone, Debug)]
pub(crate) struct JsonPatch {
    operations: Vec<Map>,
    is_null: bool,
}

impl JsonPatch {
    /// Reads JSON where the text begins with a bracket, YAML else (KZ-J69-001).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty json patch operations".into());
        }
        let value = if text.first() == Some(&b'[') {
            flux_yaml::json::from_str(text).map_err(|error| error.to_string())?
        } else {
            flux_yaml::sigs::yaml_to_json(text).map_err(|error| error.to_string())?
        };
        let items = match value {
            Value::Null => {
                return Ok(Self {
                    operations: Vec::new(),
                    is_null: true,
                });
            }
            Value::Seq(items) => items,
            other => {
                return Err(format!(
                    "json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
                    kind(&other)
                ));
            }
        };
        let operations = items
            .into_iter()
            .map(|item| match item {
                Value::Map(map) => Ok(map),
                Value::Null => Ok(Map::new()),
                other => Err(format!(
                    "json: cannot unmarshal {} into Go value of type jsonpatch.Operation",
                    kind(&other)
                )),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            operations,
            is_null: false,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether the text held nothing at all.
    pub(crate) fn is_null(&self) -> bool {
        self.is_null
    }

    /// Applies the operations one after another.
    pub(crate) fn apply(&self, mut document: Value) -> Result<Value, String> {
        for operation in &self.operations {
            let operation = Operation(operation);
            match operation.text("op").unwrap_or("unknown") {
                "add" => operation.add(&mut document),
                "remove" => operation.remove(&mut document),
                "replace" => operation.replace(&mut document),
                "move" => operation.relocate(&mut document),
                "copy" => operation.copy(&mut document),
                "test" => operation.test(&document),
                // KZ-J69-002
                other => Err(format!("Unexpected kind: {other}")),
            }?;
        }
        Ok(document)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Seq(_) => "array",
        Value::Map(_) => "object",
    }
}

struct Operation<'p>(&'p Map);

/// KZ-J69-010
fn decoded(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The container that the path's last part is in, and that part; `None` where there is none.
fn find<'d>(document: &'d mut Value, path: &str) -> Option<(&'d mut Value, String)> {
    let (_, rest) = path.split_once('/')?;
    let mut parts: Vec<_> = rest.split('/').map(decoded).collect();
    let key = parts.pop()?;
    let mut at = document;
    for part in parts {
        at = match at {
            Value::Map(map) => map.get_mut(&part)?,
            Value::Seq(items) => {
                let index = index(&part, items.len()).ok()?;
                items.get_mut(index)?
            }
            _ => return None,
        };
    }
    matches!(at, Value::Map(_) | Value::Seq(_)).then_some((at, key))
}

fn atoi(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| {
            format!(
                "strconv.Atoi: parsing {}: value out of range",
                crate::go::quoted(text)
            )
        });
    }
    Err(format!(
        "strconv.Atoi: parsing {}: invalid syntax",
        crate::go::quoted(text)
    ))
}

/// A present element's index; negative ones count from the end (KZ-J69-009).
fn index(text: &str, length: usize) -> Result<usize, String> {
    let index = atoi(text)?;
    let wrong = || format!("Unable to access invalid index: {index}: invalid index referenced");
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let at = if index < 0 { index + length } else { index };
    if at < 0 || at >= length {
        return Err(wrong());
    }
    usize::try_from(at).map_err(|_| wrong())
}

fn get(container: &Value, key: &str) -> Result<Option<Value>, String> {
    match container {
        Value::Map(map) => Ok(map.get(key).cloned()),
        Value::Seq(items) => index(key, items.len()).map(|at| items.get(at).cloned()),
        _ => Ok(None),
    }
}

fn set(container: &mut Value, key: &str, value: Value) -> Result<(), String> {
    match container {
        Value::Map(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Seq(items) => {
            let at = index(key, items.len())?;
            if let Some(slot) = items.get_mut(at) {
                *slot = value;
            }
        }
        _ => {}
    }
    Ok(())
}

fn insert(container: &mut Value, key: &str, value: Value) -> Result<(), String> {
    match container {
        Value::Map(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Seq(items) if key == "-" => items.push(value),
        Value::Seq(items) => {
            atoi(key)
                .map_err(|error| format!("value was not a proper array index: '{key}': {error}"))?;
            // An index may be that behind the last.
            let at = index(key, items.len() + 1)?;
            items.insert(at, value);
        }
        _ => {}
    }
    Ok(())
}

fn take(container: &mut Value, key: &str) -> Result<Value, String> {
    match container {
        Value::Map(map) => map
            .shift_remove(key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value")),
        Value::Seq(items) => {
            let at = index(key, items.len())?;
            Ok(items.remove(at))
        }
        _ => Ok(Value::Null),
    }
}

impl Operation<'_> {
    fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field).and_then(Value::as_str)
    }

    fn path(&self, doing: &str) -> Result<&str, String> {
        self.text("path")
            .ok_or_else(|| format!("{doing} operation failed to decode path: missing value"))
    }

    fn from(&self, doing: &str) -> Result<&str, String> {
        self.text("from")
            .ok_or_else(|| format!("{doing} operation failed to decode from: missing value"))
    }

    fn value(&self) -> Value {
        self.0.get("value").cloned().unwrap_or_default()
    }

    /// KZ-J69-003, KZ-J69-004
    fn add(&self, document: &mut Value) -> Result<(), String> {
        let path = self.path("add")?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
        })?;
        insert(container, &key, self.value())
            .map_err(|error| format!("error in add for path: '{path}': {error}"))
    }

    /// KZ-J69-005
    fn remove(&self, document: &mut Value) -> Result<(), String> {
        let path = self.path("remove")?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!(
                "remove operation does not apply: doc is missing path: \"{path}\": missing value"
            )
        })?;
        take(container, &key)
            .map(|_| ())
            .map_err(|error| format!("error in remove for path: '{path}': {error}"))
    }

    /// KZ-J69-006, KZ-J69-011
    fn replace(&self, document: &mut Value) -> Result<(), String> {
        let path = self.path("replace")?;
        if path.is_empty() {
            let value = self.value();
            if !matches!(value, Value::Map(_) | Value::Seq(_)) {
                return Err("replace operation value must be object or array: %!w(<nil>)".into());
            }
            *document = value;
            return Ok(());
        }
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        })?;
        get(container, &key).map_err(|_| {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        })?;
        set(container, &key, self.value())
            .map_err(|error| format!("error in remove for path: '{path}': {error}"))
    }

    fn relocate(&self, document: &mut Value) -> Result<(), String> {
        let from = self.from("move")?;
        let (container, key) = find(document, from).ok_or_else(|| {
            format!(
                "move operation does not apply: doc is missing from path: {from}: missing value"
            )
        })?;
        let value = take(container, &key)
            .map_err(|error| format!("error in move for path: '{key}': {error}"))?;
        let path = self.path("move")?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("move operation does not apply: doc is missing destination path: {path}: missing value")
        })?;
        insert(container, &key, value)
            .map_err(|error| format!("error in move for path: '{path}': {error}"))
    }

    fn copy(&self, document: &mut Value) -> Result<(), String> {
        let from = self.from("copy")?;
        let (container, key) = find(document, from).ok_or_else(|| {
            format!(
                "copy operation does not apply: doc is missing from path: {from}: missing value"
            )
        })?;
        let value = get(container, &key)
            .map_err(|error| format!("error in copy for from: '{from}': {error}"))?
            .unwrap_or_default();
        let path = self.path("copy")?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("copy operation does not apply: doc is missing destination path: {path}: missing value")
        })?;
        insert(container, &key, value)
            .map_err(|error| format!("error while adding value during copy: {error}"))
    }

    /// KZ-J69-007, KZ-J69-008
    fn test(&self, document: &Value) -> Result<(), String> {
        let path = self.path("test")?;
        let failed = || format!("testing value {path} failed: test failed");
        let mut document = document.clone();
        let found = if path.is_empty() {
            document
        } else {
            let (container, key) = find(&mut document, path).ok_or_else(|| {
                format!("test operation does not apply: is missing path: {path}: missing value")
            })?;
            get(container, &key)
                .map_err(|error| format!("error in test for path: '{path}': {error}"))?
                .unwrap_or_default()
        };
        if found == self.value() {
            Ok(())
        } else {
            Err(failed())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(document: &str, patch: &str) -> Result<String, String> {
        let document = flux_yaml::json::from_str(document).unwrap();
        JsonPatch::parse(patch.as_bytes())?
            .apply(document)
            .map(|value| crate::go::json(&value))
    }

    #[test]
    fn operations_do_what_the_library_does() {
        let ok = |text: &str| Ok(text.to_owned());
        let err = |text: &str| Err(text.to_owned());
        for (document, patch, want) in [
            // KZ-J69-003
            (
                r#"{"a":1}"#,
                r#"[{"op":"add","path":"/b","value":2}]"#,
                ok(r#"{"a":1,"b":2}"#),
            ),
            (
                "{}",
                r#"[{"op":"add","path":"/a/b","value":2}]"#,
                err(r#"add operation does not apply: doc is missing path: "/a/b": missing value"#),
            ),
            // KZ-J69-004, KZ-J69-009
            (
                r#"{"a":[1,2]}"#,
                r#"[{"op":"add","path":"/a/1","value":9}]"#,
                ok(r#"{"a":[1,9,2]}"#),
            ),
            (
                r#"{"a":[1,2]}"#,
                r#"[{"op":"add","path":"/a/-","value":9}]"#,
                ok(r#"{"a":[1,2,9]}"#),
            ),
            (
                r#"{"a":[1,2]}"#,
                r#"[{"op":"add","path":"/a/-1","value":9}]"#,
                ok(r#"{"a":[1,2,9]}"#),
            ),
            (
                r#"{"a":[1]}"#,
                r#"[{"op":"add","path":"/a/5","value":9}]"#,
                err(
                    "error in add for path: '/a/5': Unable to access invalid index: 5: invalid index referenced",
                ),
            ),
            (
                r#"{"a":[1,2]}"#,
                r#"[{"op":"remove","path":"/a/-1"}]"#,
                ok(r#"{"a":[1]}"#),
            ),
            // KZ-J69-005
            (
                r#"{"a":1}"#,
                r#"[{"op":"remove","path":"/b"}]"#,
                err(
                    "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value",
                ),
            ),
            // KZ-J69-006
            (
                r#"{"a":1}"#,
                r#"[{"op":"replace","path":"/b","value":2}]"#,
                ok(r#"{"a":1,"b":2}"#),
            ),
            (
                r#"{"a":[]}"#,
                r#"[{"op":"replace","path":"/a/0","value":2}]"#,
                err("replace operation does not apply: doc is missing key: /a/0: missing value"),
            ),
            // KZ-J69-007, KZ-J69-008
            (
                r#"{"a":{"b":[1]}}"#,
                r#"[{"op":"test","path":"/a","value":{"b":[1]}}]"#,
                ok(r#"{"a":{"b":[1]}}"#),
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"test","path":"/a","value":2}]"#,
                err("testing value /a failed: test failed"),
            ),
            (
                "{}",
                r#"[{"op":"test","path":"/a","value":null}]"#,
                ok("{}"),
            ),
            // KZ-J69-010
            (
                r#"{"a":{}}"#,
                r#"[{"op":"add","path":"/a/x~1y~0z","value":1}]"#,
                ok(r#"{"a":{"x/y~z":1}}"#),
            ),
            // KZ-J69-011
            (
                r#"{"a":1}"#,
                r#"[{"op":"replace","path":"","value":{"b":2}}]"#,
                ok(r#"{"b":2}"#),
            ),
            // KZ-J69-002
            (
                "{}",
                r#"[{"op":"frob","path":"/a"}]"#,
                err("Unexpected kind: frob"),
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"move","from":"/a","path":"/b"}]"#,
                ok(r#"{"b":1}"#),
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"copy","from":"/a","path":"/b"}]"#,
                ok(r#"{"a":1,"b":1}"#),
            ),
            // KZ-J69-001
            (
                r#"{"a":1}"#,
                "- op: add\n  path: /b\n  value: x",
                ok(r#"{"a":1,"b":"x"}"#),
            ),
        ] {
            assert_eq!(run(document, patch), want, "{patch}");
        }
    }
}
