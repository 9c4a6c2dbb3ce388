//! TOML in the format of BurntSushi/toml 1.6 (HE-FNE-008, HE-FNE-009).

mod read;

use std::rc::Rc;

use flux_golang::strconv;
use flux_gotemplate::{List, Map, Str, Time, Value, Zone};
use read::Invalid;

/// Maximum depth of nested tables.
const MAX_DEPTH: usize = 500;

/// Encodes a table; the error text is the library's.
pub(super) fn write(value: &Value) -> Result<String, String> {
    let mut writer = Writer { out: String::new() };
    writer.entry(&[], value)?;
    Ok(writer.out)
}

/// Decodes a document; an error becomes the value of the key `Error`.
pub(super) fn read(text: &str) -> Map {
    let error = |message: String| [("Error", Value::from(message))].into_iter().collect();
    match read::document(text) {
        Ok(map) => return map,
        Err(Invalid(Some(message))) => return error(format!("toml: {message}")),
        Err(Invalid(None)) => {}
    }
    match text.parse::<toml::Table>() {
        Ok(table) => table_of(&table),
        Err(e) => {
            let offset = e.span().map_or(0, |span| span.start);
            let line = text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1;
            error(format!("toml: line {line}: {}", e.message()))
        }
    }
}

fn table_of(table: &toml::Table) -> Map {
    table
        .iter()
        .map(|(key, value)| (key.as_str(), value_of(value)))
        .collect()
}

fn value_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::int64(*number),
        toml::Value::Float(number) => Value::Float(*number),
        toml::Value::Boolean(truth) => Value::Bool(*truth),
        toml::Value::Datetime(time) => Value::Time(Rc::new(time_of(time))),
        toml::Value::Array(items) => items.iter().map(value_of).collect::<List>().into(),
        toml::Value::Table(table) => table_of(table).into(),
    }
}

/// The names of the zones that the library gives to times without an offset.
const LOCAL_DATETIME: &str = "datetime-local";
const LOCAL_DATE: &str = "date-local";
const LOCAL_TIME: &str = "time-local";

/// A date, a time of day, or both.
fn time_of(datetime: &toml::value::Datetime) -> Time {
    let date = datetime.date.map_or((0, 1, 1), |date| {
        (
            i64::from(date.year),
            i64::from(date.month),
            i64::from(date.day),
        )
    });
    let (mut seconds, mut nanoseconds) = (days_since_1970(date) * 86_400, 0);
    if let Some(time) = datetime.time {
        let (hour, minute) = (i64::from(time.hour), i64::from(time.minute));
        seconds += hour * 3600 + minute * 60 + i64::from(time.second.unwrap_or_default());
        nanoseconds = time.nanosecond.unwrap_or_default();
    }
    let local = |name: &str| Zone::Fixed(name.into(), 0);
    let zone = match (datetime.offset, datetime.date, datetime.time) {
        (Some(toml::value::Offset::Z), ..) => Zone::Utc,
        (Some(toml::value::Offset::Custom { minutes }), ..) => {
            let offset = i32::from(minutes) * 60;
            seconds -= i64::from(offset);
            match offset {
                0 => Zone::Utc,
                offset => Zone::Fixed("".into(), offset),
            }
        }
        (None, None, _) => local(LOCAL_TIME),
        (None, _, None) => local(LOCAL_DATE),
        (None, Some(_), Some(_)) => local(LOCAL_DATETIME),
    };
    Time::unix(seconds, nanoseconds).in_zone(zone)
}

/// Days since 1970 in the Gregorian calendar. Years begin in March, so that a leap day ends a year.
fn days_since_1970((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A time in the format it was decoded from: without the parts that it lacked.
fn written(time: &Time) -> String {
    let layout: &[u8] = match time.zone() {
        Zone::Fixed(name, _) => match &**name {
            LOCAL_DATETIME => b"2006-01-02T15:04:05.999999999",
            LOCAL_DATE => b"2006-01-02",
            LOCAL_TIME => b"15:04:05.999999999",
            _ => return super::data::time_text(time),
        },
        _ => return super::data::time_text(time),
    };
    String::from_utf8_lossy(&time.format(layout)).into_owned()
}

struct Writer {
    out: String,
}

impl Writer {
    /// Writes a key with its value, or the document itself if the key is empty.
    fn entry(&mut self, key: &[Str], value: &Value) -> Result<(), String> {
        if key.len() > MAX_DEPTH {
            return Err("toml: tables are nested too deep".to_owned());
        }
        match value {
            Value::Map(map) if map.is_nil() => Ok(()),
            Value::List(list) if is_table_list(list)? => self.tables(key, list),
            Value::Nil => Ok(()),
            table if is_table(table) => self.table(key, table),
            Value::Object(object) if matches!(object.json(), Some(Value::Str(_))) => {
                self.entry(key, &object.json().unwrap_or_default())
            }
            Value::Object(_) | Value::Func(_) | Value::Complex(..) => Err(format!(
                "unsupported type for key '{}': {}",
                joined(key),
                value.kind().map_or("invalid", flux_gotemplate::Kind::name)
            )),
            value => {
                if let Some(last) = key.last() {
                    self.indent(key);
                    self.out.push_str(&quoted_key(last));
                    self.out.push_str(" = ");
                }
                self.element(value, 0)?;
                if !key.is_empty() {
                    self.newline();
                }
                Ok(())
            }
        }
    }

    fn table(&mut self, key: &[Str], table: &Value) -> Result<(), String> {
        // Only top-level tables are separated by an empty line.
        if key.len() == 1 {
            self.newline();
        }
        if !key.is_empty() {
            self.indent(key);
            self.out.push_str(&format!("[{}]", joined(key)));
            self.newline();
        }
        self.entries(key, table)
    }

    fn tables(&mut self, key: &[Str], list: &List) -> Result<(), String> {
        if key.is_empty() {
            return Err("toml: top-level values must be Go maps or structs".to_owned());
        }
        for item in list.items() {
            self.newline();
            self.indent(key);
            self.out.push_str(&format!("[[{}]]", joined(key)));
            self.newline();
            self.entries(key, item)?;
        }
        Ok(())
    }

    /// Writes plain values first: after a table they would belong to it.
    fn entries(&mut self, key: &[Str], table: &Value) -> Result<(), String> {
        let (tables, plain) = apart(table)?;
        for (name, value) in plain.into_iter().chain(tables) {
            let mut key = key.to_vec();
            key.push(name);
            self.entry(&key, &value)?;
        }
        Ok(())
    }

    fn element(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("toml: values are nested too deep".to_owned());
        }
        match value {
            Value::Str(text) => self.out.push_str(&quoted(&text.to_text())),
            Value::Bool(truth) => self.out.push_str(if *truth { "true" } else { "false" }),
            Value::Int(flux_gotemplate::IntType::Duration, _) => {
                return Err("toml: unexpected type: time.Duration".to_owned());
            }
            Value::Int(_, number) => self.out.push_str(&number.to_string()),
            Value::Uint(_, number) => self.out.push_str(&number.to_string()),
            Value::Float(number) => self.out.push_str(&float(*number)),
            Value::Float32(number) => self.out.push_str(&float(f64::from(*number))),
            Value::Time(time) => self.out.push_str(&written(time)),
            Value::Bytes(bytes) => {
                let items: Vec<_> = bytes.iter().map(u8::to_string).collect();
                self.out.push_str(&format!("[{}]", items.join(", ")));
            }
            Value::List(list) => {
                self.out.push('[');
                for (i, item) in list.items().iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(", ");
                    }
                    self.element(item, depth + 1)?;
                }
                self.out.push(']');
            }
            Value::Object(object) if matches!(object.json(), Some(Value::Str(_))) => {
                self.element(&object.json().unwrap_or_default(), depth)?;
            }
            Value::Map(_) => self.inline(value, depth)?,
            table if is_table(table) => self.inline(table, depth)?,
            other => return Err(format!("unexpected type: {}", other.type_name())),
        }
        Ok(())
    }

    fn inline(&mut self, table: &Value, depth: usize) -> Result<(), String> {
        let (tables, plain) = apart(table)?;
        self.out.push('{');
        let (plain_count, table_count) = (plain.len(), tables.len());
        let all = plain
            .into_iter()
            .enumerate()
            .map(|(i, e)| (e, table_count > 0 || i + 1 != plain_count));
        let more = tables
            .into_iter()
            .enumerate()
            .map(|(i, e)| (e, i + 1 != table_count));
        // The library sees the last field of a struct by its index, which counts those that are not exported.
        let count = plain_count + table_count;
        let indexes = field_indexes(table);
        for ((name, value), comma) in all.collect::<Vec<_>>().into_iter().chain(more) {
            let index = indexes.iter().position(|field| name == *field);
            let comma = index.map_or(comma, |index| index + 1 != count);
            if value.is_nil() {
                continue;
            }
            self.out.push_str(&quoted_key(&name));
            self.out.push_str(" = ");
            self.element(&value, depth + 1)?;
            if comma {
                self.out.push_str(", ");
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn newline(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, key: &[Str]) {
        for _ in 1..key.len() {
            self.out.push_str("  ");
        }
    }
}

type Entries = Vec<(Str, Value)>;

/// Whether a value is written as a table: a map, or a struct that is not written as a text.
fn is_table(value: &Value) -> bool {
    match value {
        Value::Map(map) => !map.is_nil(),
        Value::Object(object) => !object.is_nil() && object.json().is_none(),
        _ => false,
    }
}

/// The names of all fields of a struct; none for a map.
fn field_indexes(table: &Value) -> Vec<Str> {
    match table {
        Value::Object(object) => {
            let fields = object.all_fields().into_iter();
            fields.map(|(name, _)| name.into()).collect()
        }
        _ => Vec::new(),
    }
}

/// The entries of a map by key, or the fields of a struct in the order of their declaration: those that are tables or
/// lists of tables, and the others.
fn apart(table: &Value) -> Result<(Entries, Entries), String> {
    let entries: Entries = match table {
        Value::Map(map) => map.entries(),
        Value::Object(object) => {
            let fields = object.fields().into_iter();
            fields.map(|(name, value)| (name.into(), value)).collect()
        }
        _ => Vec::new(),
    };
    let mut apart = (Vec::new(), Vec::new());
    for (key, value) in entries {
        has_type(&value)?;
        let is_table = match &value {
            Value::List(list) => is_table_list(list)?,
            value => is_table(value),
        };
        if is_table {
            apart.0.push((key, value));
        } else {
            apart.1.push((key, value));
        }
    }
    Ok(apart)
}

/// Whether every item is a table; TOML cannot represent null items.
fn is_table_list(list: &List) -> Result<bool, String> {
    let items = list.items();
    for item in items {
        has_type(item)?;
        if item.is_nil() {
            return Err("toml: cannot encode array with nil element".to_owned());
        }
        if let Value::List(inner) = item {
            is_table_list(inner)?;
        }
    }
    Ok(!items.is_empty()
        && items
            .iter()
            .all(|item| item.as_map().is_some() || is_table(item)))
}

/// Checks that TOML can represent the value; called for the contents of tables and lists before they are written.
fn has_type(value: &Value) -> Result<(), String> {
    match value {
        Value::Complex(..) | Value::Func(_) => Err(format!(
            "unsupported type: {}",
            value.kind().map_or("invalid", flux_gotemplate::Kind::name)
        )),
        _ => Ok(()),
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = strconv::format_float(number, b'g', None);
    if text.contains(['.', 'e']) {
        text
    } else {
        format!("{text}.0")
    }
}

fn joined(key: &[Str]) -> String {
    let parts: Vec<_> = key.iter().map(quoted_key).collect();
    parts.join(".")
}

fn quoted_key(key: &Str) -> String {
    let key = key.to_text();
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.into_owned()
    } else {
        quoted(&key)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0c' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
