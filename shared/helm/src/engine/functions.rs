//! The functions that Helm adds to Sprig's or replaces.

// The template engine passes parameters by value.
#![allow(clippy::needless_pass_by_value)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use flux_golang::strconv::quote;
use flux_gotemplate::{CallError, Context, Error, Functions, List, Map, Str, Value, types};

use super::errors::marked;
use super::{Lookup, data, durations, toml};

/// Maximum depth of recursive `include` calls of one template (HE-ENG-008).
const MAX_NESTING: u32 = 1000;
/// The output for a missing value, which Helm removes afterwards (HE-ENG-007).
const NO_VALUE: &[u8] = b"<no value>";

/// State of the functions during a render.
pub(super) struct Host {
    pub(super) lookup: Arc<dyn Lookup + Send + Sync>,
    pub(super) including: RefCell<HashMap<Str, u32>>,
    /// Whether host names are looked up.
    pub(super) dns: bool,
}

/// All functions that a chart may call.
pub(super) fn all() -> Arc<Functions> {
    static ALL: LazyLock<Arc<Functions>> = LazyLock::new(|| {
        let mut functions = flux_sprig::functions();
        flux_sprig::add_cryptography(&mut functions);
        // A render must not depend on the environment it runs in (HE-ENG-017).
        functions.remove("env");
        functions.remove("expandenv");
        add(&mut functions);
        Arc::new(functions)
    });
    Arc::clone(&ALL)
}

fn add(functions: &mut Functions) {
    functions.add("include", include);
    functions.add("tpl", tpl);
    functions.add("required", required);
    functions.add("fail", |message: Str| -> Result<Value, CallError> {
        Err(CallError::new(marked(&message.to_text())))
    });
    functions.add("lookup", lookup);
    functions.add("getHostByName", host_by_name);
    functions.add("toYaml", |context: &mut Context<'_>, value: Value| {
        context.charge_document(&value)?;
        Ok::<_, CallError>(yaml_text(&value).unwrap_or_default())
    });
    functions.add("mustToYaml", |context: &mut Context<'_>, value: Value| {
        context.charge_document(&value)?;
        yaml_text(&value).map_err(CallError::new)
    });
    functions.add("toYamlPretty", |context: &mut Context<'_>, value: Value| {
        context.charge_document(&value)?;
        let text = data::to_pretty_yaml(&value).unwrap_or_default();
        Ok::<_, CallError>(without_newline(text))
    });
    functions.add("fromYaml", |context: &mut Context<'_>, text: Str| {
        let read = context.reading(|claim| data::from_yaml(&text, data::Wanted::Map, claim))?;
        map_read(context, read, Map::new())
    });
    functions.add("fromYamlArray", |context: &mut Context<'_>, text: Str| {
        let read = context.reading(|claim| data::from_yaml(&text, data::Wanted::List, claim))?;
        list_read(context, read, List::new(Vec::new()))
    });
    functions.add("toJson", |context: &mut Context<'_>, value: Value| {
        context.charge_document(&value)?;
        Ok::<_, CallError>(data::to_json(&value).unwrap_or_default())
    });
    functions.add("mustToJson", |context: &mut Context<'_>, value: Value| {
        context.charge_document(&value)?;
        data::to_json(&value).map_err(CallError::new)
    });
    functions.add("fromJson", |context: &mut Context<'_>, text: Str| {
        let read = context.reading(|claim| data::from_json(&text, data::Wanted::Map, claim))?;
        map_read(context, read, Map::nil(&types::ANY_MAP))
    });
    functions.add("fromJsonArray", |context: &mut Context<'_>, text: Str| {
        let read = context.reading(|claim| data::from_json(&text, data::Wanted::List, claim))?;
        list_read(context, read, List::nil(&types::ANY_SLICE))
    });
    functions.add("toToml", |context: &mut Context<'_>, value: Value| {
        context.charge_document(&value)?;
        not_nil(&value).map(|()| toml::write(&value).unwrap_or_else(|e| e))
    });
    functions.add("mustToToml", |context: &mut Context<'_>, value: Value| {
        context.charge_document(&value)?;
        not_nil(&value).and_then(|()| toml::write(&value).map_err(CallError::new))
    });
    functions.add("fromToml", |text: Str| toml::read(&text.to_text()));
    durations::add(functions);
}

/// An address of a host, empty unless lookups are enabled (HE-ENG-016).
fn host_by_name(context: &mut Context<'_>, name: Str) -> Result<String, CallError> {
    if !host(context)?.dns {
        return Ok(String::new());
    }
    let addresses = context.environment().resolve(&name.to_text());
    let first = addresses.unwrap_or_default().into_iter().next();
    // Sprig panics without an address.
    first.ok_or_else(|| CallError::new("invalid argument to Intn"))
}

fn include(context: &mut Context<'_>, name: Str, value: Value) -> Result<Str, CallError> {
    let host = host(context)?;
    {
        let mut including = host.including.borrow_mut();
        let times = including.entry(name.clone()).or_default();
        if *times > MAX_NESTING {
            return Err(CallError::new(format!(
                "rendering template has a nested reference name: {name}: unable to execute template"
            )));
        }
        *times += 1;
    }
    let text = context.execute(&name.to_text(), value);
    if let Some(times) = host.including.borrow_mut().get_mut(&name) {
        *times -= 1;
    }
    Ok(text?)
}

fn tpl(context: &mut Context<'_>, text: Str, value: Value) -> Result<Str, CallError> {
    // The text's definitions are visible to it and to the templates it calls, and removed afterwards (HE-ENG-009,
    // HE-ENG-010).
    let name = context.templates().name().to_owned();
    let output = context.evaluate(&name, &text, value).map_err(|error| {
        let quoted = quote(&text);
        let message = match error {
            Error::Parse { .. } => format!("cannot parse template {quoted}: {error}"),
            _ => format!("error during tpl function execution for {quoted}: {error}"),
        };
        if error.is_limit() {
            CallError::limit(message)
        } else {
            CallError::new(message)
        }
    })?;
    if memchr::memmem::find(&output, NO_VALUE).is_none() {
        return Ok(output);
    }
    Ok(without_no_value(output.to_vec()).into())
}

/// HE-ENG-012
fn required(message: Str, value: Value) -> Result<Value, CallError> {
    match &value {
        Value::Nil => Err(CallError::new(marked(&message.to_text()))),
        Value::Str(text) if text.is_empty() => Err(CallError::new(marked(&message.to_text()))),
        _ => Ok(value),
    }
}

fn lookup(
    context: &mut Context<'_>,
    api_version: Str,
    kind: Str,
    namespace: Str,
    name: Str,
) -> Result<Map, CallError> {
    let found = host(context)?.lookup.lookup(
        &api_version.to_text(),
        &kind.to_text(),
        &namespace.to_text(),
        &name.to_text(),
    );
    match found.map_err(CallError::new)? {
        flux_yaml::Value::Map(map) => Ok(crate::values::from_yaml(&map)),
        _ => Ok(Map::new()),
    }
}

fn host(context: &Context<'_>) -> Result<Rc<Host>, CallError> {
    context
        .host()
        .ok_or_else(|| CallError::new("the function is only there while a chart is rendered"))
}

fn yaml_text(value: &Value) -> Result<String, String> {
    data::to_yaml(value).map(without_newline)
}

fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// The text without any `<no value>`, including those that came from data.
pub(super) fn without_no_value(text: Vec<u8>) -> Vec<u8> {
    let finder = memchr::memmem::Finder::new(NO_VALUE);
    let Some(mut at) = finder.find(&text) else {
        return text;
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    loop {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        rest = after.get(NO_VALUE.len()..).unwrap_or_default();
        match finder.find(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    out
}

/// An error for nil, over which the library panics.
fn not_nil(value: &Value) -> Result<(), CallError> {
    if matches!(value, Value::Nil) {
        return Err("reflect: call of reflect.Value.Type on zero Value".into());
    }
    Ok(())
}

/// The result of `fromYaml` (HE-FNE-007) and `fromJson` (HE-FNE-004): an error becomes a value of the map, `null` the empty
/// value of Helm's target.
fn map_read(
    context: &mut Context<'_>,
    read: Result<Value, String>,
    null: Map,
) -> Result<Map, CallError> {
    Ok(match read {
        Ok(Value::Map(map)) => {
            context.charge(data::weight(&Value::Map(map.clone())))?;
            map
        }
        Ok(_) => null,
        Err(message) => [("Error", Value::from(message))].into_iter().collect(),
    })
}

/// The result of `fromYamlArray` and `fromJsonArray`: an error becomes the only item.
fn list_read(
    context: &mut Context<'_>,
    read: Result<Value, String>,
    null: List,
) -> Result<List, CallError> {
    Ok(match read {
        Ok(Value::List(list)) => {
            context.charge(data::weight(&Value::List(list.clone())))?;
            list
        }
        Ok(_) => null,
        Err(message) => List::new(vec![Value::from(message)]),
    })
}
