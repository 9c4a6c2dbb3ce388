//! `.Files`: the chart's files that are not templates.

// Methods have the signature that the template engine calls.
#![allow(clippy::ptr_arg, clippy::unnecessary_wraps)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flux_golang::path;
use flux_gotemplate::{
    Blob, CallError, Constant, Constants, Context, List, Map, Method, Str, TypeInfo, Value, types,
};

use super::data;
use super::glob::Glob;
use crate::Chart;

/// `engine.files`, a `map[string][]byte` with methods (HE-OBJ-005, HE-OBJ-006).
static FILES: TypeInfo = TypeInfo::map("map[string][]uint8", &types::BYTES)
    .declared("engine.files")
    .with_methods(&[
        method("Get", &[&types::STRING], |files, _, arguments| {
            Ok(Value::Str(Str::new(&bytes(files, arguments))))
        }),
        method("GetBytes", &[&types::STRING], |files, _, arguments| {
            Ok(Value::Bytes(bytes(files, arguments)))
        }),
        method("Glob", &[&types::STRING], globbed),
        method("AsConfig", &[], |files, _, _| {
            Ok(flattened(files, Str::new))
        }),
        method("AsSecrets", &[], |files, _, _| {
            Ok(flattened(files, |content| STANDARD.encode(content).into()))
        }),
        method("Lines", &[&types::STRING], lines),
    ]);

type Body = flux_gotemplate::MethodBody;

const fn method(
    name: &'static str,
    params: &'static [flux_gotemplate::Type],
    call: Body,
) -> Method {
    Method {
        name,
        params,
        variadic: false,
        call,
    }
}

/// The `.Files` objects of a chart and its subcharts, each created on first use. The keys are the addresses of the charts,
/// which must outlive this.
#[derive(Default)]
pub(super) struct FileObjects(Mutex<HashMap<usize, Constants>>);

impl FileObjects {
    /// The `.Files` object of a chart.
    pub(super) fn of(&self, chart: &Chart) -> Value {
        let address = std::ptr::from_ref(chart) as usize;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let files = known.entry(address).or_insert_with(|| {
            let files = chart.files.iter();
            files
                .map(|file| {
                    let content = Constant::Bytes(Arc::new(file.data.clone()));
                    (Str::from(file.name.as_str()), content)
                })
                .collect()
        });
        Map::constant(files.clone()).with_type(&FILES).into()
    }

    /// Estimated bytes of memory besides the content of the files.
    pub(super) fn size(&self) -> usize {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = known.values().flat_map(Constants::entries);
        entries.map(|(name, _)| ENTRY_BYTES + name.len()).sum()
    }
}

/// Bytes of an entry: a key, a constant, the content's counters and its pointer.
const ENTRY_BYTES: usize = 24 + 32 + 16 + 32;

fn name_of(arguments: &[Value]) -> Str {
    arguments
        .first()
        .and_then(Value::as_str)
        .cloned()
        .unwrap_or_default()
}

fn content(files: &Value, name: &[u8]) -> Option<Blob> {
    match files.as_map()?.get(name)? {
        Value::Bytes(content) => Some(content),
        _ => None,
    }
}

fn bytes(files: &Value, arguments: &[Value]) -> Blob {
    content(files, &name_of(arguments)).unwrap_or_else(|| Blob::new([]))
}

fn globbed(
    files: &Value,
    _: &mut Context<'_>,
    arguments: &mut Vec<Value>,
) -> Result<Value, CallError> {
    let pattern = name_of(arguments);
    // An invalid pattern matches everything.
    let glob = Glob::cached(&pattern.to_text());
    let all = files.as_map().map(Map::entries).unwrap_or_default();
    let matching = all.into_iter().filter(|(name, _)| {
        glob.as_ref()
            .is_none_or(|glob| glob.matches(&name.to_text()))
    });
    Ok(Map::of(&FILES, matching.collect()).into())
}

/// Base names with contents, as YAML.
fn flattened(files: &Value, text: impl Fn(&[u8]) -> Str) -> Value {
    let all = files.as_map().map(Map::entries).unwrap_or_default();
    let entries = all.iter().filter_map(|(name, content)| match content {
        Value::Bytes(content) => {
            let base = path::base(&*name.to_text()).to_owned();
            Some((Str::from(base), Value::Str(text(content))))
        }
        _ => None,
    });
    let map = Map::of(&types::STRING_MAP, entries.collect());
    let yaml = data::to_yaml(&map.into()).unwrap_or_default();
    Value::from(yaml.strip_suffix('\n').unwrap_or(&yaml))
}

/// The lines of a file; an empty file has none (HE-OBJ-017).
fn lines(
    files: &Value,
    _: &mut Context<'_>,
    arguments: &mut Vec<Value>,
) -> Result<Value, CallError> {
    let Some(content) = content(files, &name_of(arguments)).filter(|content| !content.is_empty())
    else {
        return Ok(List::strings(Vec::<Str>::new()).into());
    };
    let text = content.strip_suffix(b"\n").unwrap_or(&content);
    Ok(List::strings(text.split(|b| *b == b'\n').map(Str::new)).into())
}
