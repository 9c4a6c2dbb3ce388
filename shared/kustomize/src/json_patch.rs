//! JSON patches (RFC 6902), applied as kustomize's library does (KZ-J69 rows).

use std::rc::Rc;

use flux_golang::strconv::quote;
use flux_yaml::{Map, Value};

use crate::error::Result;
use crate::meter::{Charge, Meter};
use crate::node::Extent;
use crate::secrecy::unreadable;

/// A list of operations.
#[derive(Debug)]
pub(crate) struct JsonPatch {
    operations: Vec<Map>,
    is_null: bool,
    /// The memory of the operations.
    _charge: Charge,
}

impl JsonPatch {
    /// Parses JSON if the text begins with a bracket, YAML otherwise (KZ-J69-001). `secret` is whether the patch may be
    /// for a Secret.
    pub(crate) fn parse(text: &[u8], secret: bool, meter: &Rc<Meter>) -> Result<Self> {
        if text.is_empty() {
            return Err("empty json patch operations".into());
        }
        let (value, charge) = meter.read(text, |text, claim| {
            if text.first() == Some(&b'[') {
                flux_yaml::json::from_str_within(text, claim)
            } else {
                flux_yaml::sigs::yaml_to_json_within(text, claim)
            }
        })?;
        let value = value.map_err(|error| {
            if secret {
                error.without_text().to_string()
            } else {
                unreadable(&error, text)
            }
        })?;
        let items = match value {
            Value::Null => {
                return Ok(Self {
                    operations: Vec::new(),
                    is_null: true,
                    _charge: charge,
                });
            }
            Value::Seq(items) => items,
            other => {
                return Err(format!(
                    "json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
                    kind(&other)
                )
                .into());
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
            .collect::<Result<_, String>>()?;
        Ok(Self {
            operations,
            is_null: false,
            _charge: charge,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether the text was empty.
    pub(crate) fn is_null(&self) -> bool {
        self.is_null
    }

    /// Applies the operations in order.
    pub(crate) fn apply(&self, mut document: Value, meter: &Rc<Meter>) -> Result<Value> {
        let mut room = Room::new(&document, meter)?;
        for operation in &self.operations {
            let operation = Operation(operation);
            meter.work(operation.text("path").map_or(0, str::len) / 16)?;
            match operation.text("op").unwrap_or("unknown") {
                "add" => operation.add(&mut document, &mut room),
                "remove" => operation.remove(&mut document, &mut room),
                "replace" => operation.replace(&mut document, &mut room),
                "move" => operation.relocate(&mut document, &mut room),
                "copy" => operation.copy(&mut document, &mut room),
                "test" => operation.test(&document, &mut room),
                // KZ-J69-002
                other => Err(format!("Unexpected kind: {other}").into()),
            }?;
        }
        Ok(document)
    }
}

/// The memory of the document as it grows.
struct Room<'m> {
    meter: &'m Rc<Meter>,
    charge: Charge,
}

impl<'m> Room<'m> {
    fn new(document: &Value, meter: &'m Rc<Meter>) -> Result<Self> {
        let mut charge = Charge::new(meter);
        charge.take(Extent::of_value(document).bytes)?;
        Ok(Self { meter, charge })
    }

    /// Reserves memory for a value that is about to be copied to `path`, and checks that it does not nest too deep
    /// there.
    fn make(&mut self, value: &Value, path: &str) -> Result<()> {
        let extent = Extent::of_value(value);
        self.meter.work(extent.nodes)?;
        Self::fits(&extent, path)?;
        self.charge.take(extent.bytes)
    }

    fn fits(extent: &Extent, path: &str) -> Result<()> {
        Meter::fits(path.matches('/').count() + extent.height)
    }

    /// Counts the work of shifting the elements of a list.
    fn shift(&self, container: &Value) -> Result<()> {
        self.meter
            .work(container.as_seq().map_or(0, |items| items.len() / 16))?;
        self.meter
            .work(container.as_map().map_or(0, |map| map.len() / 16))
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

/// The container of the path's last part, and that part; `None` if it does not exist.
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

/// As [`find`], for the value itself, read-only.
fn look<'d>(document: &'d Value, path: &str) -> Option<(&'d Value, String)> {
    let (_, rest) = path.split_once('/')?;
    let mut parts: Vec<_> = rest.split('/').map(decoded).collect();
    let key = parts.pop()?;
    let mut at = document;
    for part in parts {
        at = match at {
            Value::Map(map) => map.get(&part)?,
            Value::Seq(items) => {
                let index = index(&part, items.len()).ok()?;
                items.get(index)?
            }
            _ => return None,
        };
    }
    matches!(at, Value::Map(_) | Value::Seq(_)).then_some((at, key))
}

fn atoi(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text
            .parse()
            .map_err(|_| format!("strconv.Atoi: parsing {}: value out of range", quote(text)));
    }
    Err(format!(
        "strconv.Atoi: parsing {}: invalid syntax",
        quote(text)
    ))
}

/// The index of an existing element; negative ones count from the end (KZ-J69-009).
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

fn get<'d>(container: &'d Value, key: &str) -> Result<Option<&'d Value>, String> {
    match container {
        Value::Map(map) => Ok(map.get(key)),
        Value::Seq(items) => index(key, items.len()).map(|at| items.get(at)),
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
            // An index may be one past the end.
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

    fn value(&self) -> &Value {
        self.0.get("value").unwrap_or(&Value::Null)
    }

    /// KZ-J69-003, KZ-J69-004
    fn add(&self, document: &mut Value, room: &mut Room<'_>) -> Result<()> {
        let path = self.path("add")?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
        })?;
        room.make(self.value(), path)?;
        room.shift(container)?;
        insert(container, &key, self.value().clone())
            .map_err(|error| format!("error in add for path: '{path}': {error}").into())
    }

    /// KZ-J69-005
    fn remove(&self, document: &mut Value, room: &mut Room<'_>) -> Result<()> {
        let path = self.path("remove")?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!(
                "remove operation does not apply: doc is missing path: \"{path}\": missing value"
            )
        })?;
        room.shift(container)?;
        take(container, &key)
            .map(|_| ())
            .map_err(|error| format!("error in remove for path: '{path}': {error}").into())
    }

    /// KZ-J69-006, KZ-J69-011
    fn replace(&self, document: &mut Value, room: &mut Room<'_>) -> Result<()> {
        let path = self.path("replace")?;
        room.make(self.value(), path)?;
        if path.is_empty() {
            let value = self.value();
            if !matches!(value, Value::Map(_) | Value::Seq(_)) {
                return Err("replace operation value must be object or array: %!w(<nil>)".into());
            }
            *document = value.clone();
            return Ok(());
        }
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        })?;
        get(container, &key).map_err(|_| {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        })?;
        set(container, &key, self.value().clone())
            .map_err(|error| format!("error in remove for path: '{path}': {error}").into())
    }

    fn relocate(&self, document: &mut Value, room: &mut Room<'_>) -> Result<()> {
        let from = self.from("move")?;
        let (container, key) = find(document, from).ok_or_else(|| {
            format!(
                "move operation does not apply: doc is missing from path: {from}: missing value"
            )
        })?;
        room.shift(container)?;
        let value = take(container, &key)
            .map_err(|error| format!("error in move for path: '{key}': {error}"))?;
        let path = self.path("move")?;
        let extent = Extent::of_value(&value);
        room.meter.work(extent.nodes)?;
        Room::fits(&extent, path)?;
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("move operation does not apply: doc is missing destination path: {path}: missing value")
        })?;
        room.shift(container)?;
        insert(container, &key, value)
            .map_err(|error| format!("error in move for path: '{path}': {error}").into())
    }

    fn copy(&self, document: &mut Value, room: &mut Room<'_>) -> Result<()> {
        let from = self.from("copy")?;
        let (container, key) = look(document, from).ok_or_else(|| {
            format!(
                "copy operation does not apply: doc is missing from path: {from}: missing value"
            )
        })?;
        let value = get(container, &key)
            .map_err(|error| format!("error in copy for from: '{from}': {error}"))?
            .unwrap_or(&Value::Null);
        let path = self.path("copy")?;
        room.make(value, path)?;
        let value = value.clone();
        let (container, key) = find(document, path).ok_or_else(|| {
            format!("copy operation does not apply: doc is missing destination path: {path}: missing value")
        })?;
        room.shift(container)?;
        insert(container, &key, value)
            .map_err(|error| format!("error while adding value during copy: {error}").into())
    }

    /// KZ-J69-007, KZ-J69-008
    fn test(&self, document: &Value, room: &mut Room<'_>) -> Result<()> {
        let path = self.path("test")?;
        let found = if path.is_empty() {
            document
        } else {
            let (container, key) = look(document, path).ok_or_else(|| {
                format!("test operation does not apply: is missing path: {path}: missing value")
            })?;
            get(container, &key)
                .map_err(|error| format!("error in test for path: '{path}': {error}"))?
                .unwrap_or(&Value::Null)
        };
        room.meter.work(Extent::of_value(self.value()).nodes)?;
        if found == self.value() {
            Ok(())
        } else {
            Err(format!("testing value {path} failed: test failed").into())
        }
    }
}

#[cfg(test)]
mod tests;
