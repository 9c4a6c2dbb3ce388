//! Decodes TOML documents as BurntSushi/toml does: tables may be extended where the specification forbids it, and `[[a]]`
//! creates another type of list than `a = [{}]`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use flux_golang::strconv;
use flux_gotemplate::{List, Map, Value, types};

use super::value_of;

type Table = BTreeMap<String, Node>;

/// The value of a key.
enum Node {
    Value(Value),
    Table(Table),
    /// Created by `[[key]]`.
    Tables(Vec<Table>),
}

/// Nothing can be made of a document, with BurntSushi's message where keys meet that must not; else why is for the parser's
/// own message.
#[derive(Debug, Default)]
pub(super) struct Invalid(pub(super) Option<String>);

impl Invalid {
    const SYNTAX: Self = Self(None);
}

type Read<T> = Result<T, Invalid>;

/// Decodes a document.
pub(super) fn document(text: &str) -> Read<Map> {
    let mut reader = Reader::default();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let newlines = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
    let lines = newlines(rest) + 1;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        reader.line = lines - newlines(rest);
        if rest.is_empty() {
            return Ok(map_of(reader.root));
        }
        let (statement, after) = if rest.starts_with(['#', '[']) {
            rest.split_at(rest.find('\n').map_or(rest.len(), |end| end + 1))
        } else {
            rest.split_at(statement_length(rest)?)
        };
        reader.statement(statement)?;
        rest = after;
    }
}

/// The bytes of `key = value`, which may span several lines.
fn statement_length(text: &str) -> Read<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at += quoted_length(text.get(at..).unwrap_or_default())?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'#' => {
                let rest = text.get(at..).unwrap_or_default();
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'\n' if depth == 0 => return Ok(at + 1),
            _ => {}
        }
        at += 1;
    }
    Ok(at)
}

/// The bytes of a quoted string.
fn quoted_length(text: &str) -> Read<usize> {
    let bytes = text.as_bytes();
    let quote = bytes.first().copied().unwrap_or_default();
    let run = |at: usize| {
        let rest = bytes.get(at..).unwrap_or_default();
        rest.iter().take_while(|byte| **byte == quote).count()
    };
    let multiline = run(0) >= 3;
    let mut at = if multiline { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !multiline => return Err(Invalid::SYNTAX),
            byte if *byte == quote && !multiline => return Ok(at + 1),
            // Up to two quotes may precede the closing ones.
            byte if *byte == quote && run(at) >= 3 => return Ok(at + run(at).min(5)),
            _ => {}
        }
        at += 1;
    }
    Err(Invalid::SYNTAX)
}

/// Parses a single statement into a table.
fn parsed(text: &str) -> Read<toml::Table> {
    text.parse().map_err(|_| Invalid::SYNTAX)
}

/// The keys that lead to the only entry of nested tables, and that entry.
fn path(table: toml::Table) -> Read<(Vec<String>, toml::Value)> {
    let mut keys = Vec::new();
    let mut value = toml::Value::Table(table);
    loop {
        match value {
            toml::Value::Table(table) if table.len() == 1 => {
                let (key, below) = table.into_iter().next().ok_or(Invalid::SYNTAX)?;
                keys.push(key);
                value = below;
            }
            _ if keys.is_empty() => return Err(Invalid::SYNTAX),
            end => return Ok((keys, end)),
        }
    }
}

#[derive(Default)]
struct Reader {
    root: Table,
    /// The path of the current table.
    context: Vec<String>,
    /// The paths of tables that were created implicitly, on the way to others.
    implicit: HashSet<Vec<String>>,
    /// Whether the value of a key is a list in brackets.
    lists: HashMap<Vec<String>, bool>,
    /// The line that the statement begins on.
    line: usize,
    /// The key that the statement gives a value, with those of its table; none where it opens a table.
    current: Option<Vec<String>>,
}

impl Reader {
    fn statement(&mut self, text: &str) -> Read<()> {
        if text.starts_with('#') {
            // The parser rejects control characters.
            return parsed(text).map(drop);
        }
        if text.starts_with('[') {
            let (keys, end) = path(parsed(text)?)?;
            let list = matches!(end, toml::Value::Array(_));
            self.enter(keys, list)?;
            let context = self.context.clone();
            self.lists.insert(context, false);
            return Ok(());
        }
        let equals = key_length(text)?;
        let (key, value) = text.split_at_checked(equals).ok_or(Invalid::SYNTAX)?;
        let (mut keys, _) = path(parsed(&format!("{key}= 0"))?)?;
        let mut table = parsed(&format!("v {value}"))?;
        let value = table.remove("v").ok_or(Invalid::SYNTAX)?;
        let key = keys.pop().ok_or(Invalid::SYNTAX)?;
        let outer = self.context.clone();
        for part in keys {
            let mut context = self.context.clone();
            context.push(part);
            self.implicit.insert(context.clone());
            self.enter(context, false)?;
        }
        let is_list = matches!(value, toml::Value::Array(_));
        let mut full = self.context.clone();
        full.push(key.clone());
        if is_list {
            self.lists.insert(full.clone(), true);
        }
        if holds_tables(&value) {
            // There such a list begins as `[[key]]` does.
            self.check_tables(&full)?;
            self.implicit.insert(full.clone());
        }
        self.current = Some(full.clone());
        let in_braces = matches!(value, toml::Value::Table(_));
        self.set(key, node_of(value), in_braces)?;
        self.implicit.remove(&full);
        self.lists.insert(full, is_list);
        self.current = None;
        self.context = outer;
        Ok(())
    }

    /// Creates a table, or appends one to a list of tables, and makes it the current table.
    fn enter(&mut self, mut keys: Vec<String>, list: bool) -> Read<()> {
        let last = keys.pop().ok_or(Invalid::SYNTAX)?;
        let mut table = &mut self.root;
        for (at, key) in keys.iter().enumerate() {
            if !table.contains_key(key) {
                let parents = keys.get(..=at).unwrap_or_default();
                self.implicit.insert(parents.to_vec());
            }
            let node = table
                .entry(key.clone())
                .or_insert_with(|| Node::Table(Table::new()));
            table = node.table().ok_or(Invalid::SYNTAX)?;
        }
        if list {
            let node = table
                .entry(last.clone())
                .or_insert_with(|| Node::Tables(Vec::new()));
            let Node::Tables(tables) = node else {
                let mut full = keys.clone();
                full.push(last);
                return Err(self.not_an_array(&full));
            };
            tables.push(Table::new());
            self.context = keys;
        } else {
            self.context = keys;
            self.set(last.clone(), Node::Table(Table::new()), false)?;
        }
        self.context.push(last);
        Ok(())
    }

    /// Sets a key of the current table, unless it has a value that may not be replaced. An implicitly created table is
    /// kept; a table in braces must be new.
    fn set(&mut self, key: String, node: Node, in_braces: bool) -> Read<()> {
        let mut table = &mut self.root;
        for part in &self.context {
            table = table
                .get_mut(part)
                .and_then(Node::table)
                .ok_or(Invalid::SYNTAX)?;
        }
        let mut full = self.context.clone();
        full.push(key.clone());
        let mut there = match table.entry(key) {
            Entry::Vacant(place) => {
                place.insert(node);
                return Ok(());
            }
            Entry::Occupied(there) => there,
        };
        if !self.implicit.remove(&full) || in_braces {
            let last = match &self.current {
                Some(current) => current.as_slice(),
                None => self.context.as_slice(),
            };
            let what = format!("Key '{}' has already been defined.", shown(&full));
            return Err(clash(self.line, last, &what));
        }
        if self.lists.get(&full) == Some(&true) {
            there.insert(node);
        }
        Ok(())
    }
}

impl Reader {
    /// Whether a list with tables in it may be given to a key: one that has no value, or is a list of tables.
    fn check_tables(&mut self, full: &[String]) -> Read<()> {
        let mut table = &mut self.root;
        let (key, parents) = full.split_last().ok_or(Invalid::SYNTAX)?;
        for part in parents {
            table = table
                .get_mut(part)
                .and_then(Node::table)
                .ok_or(Invalid::SYNTAX)?;
        }
        match table.get(key) {
            None | Some(Node::Tables(_)) => Ok(()),
            Some(_) => Err(self.not_an_array(full)),
        }
    }

    fn not_an_array(&self, full: &[String]) -> Invalid {
        let parents = full.split_last().map_or(full, |(_, parents)| parents);
        let key = shown(full);
        let what = format!("Key '{key}' was already created and cannot be used as an array.");
        clash(self.line, parents, &what)
    }
}

/// Keys that meet on a line where they must not; `last` are those that the library names.
fn clash(line: usize, last: &[String], what: &str) -> Invalid {
    let last = match last {
        [] => String::new(),
        last => format!(" (last key {})", strconv::quote(shown(last))),
    };
    Invalid(Some(format!("line {line}{last}: {what}")))
}

/// Keys as BurntSushi's `Key.String` shows them: those that need quotes in quotes.
fn shown(keys: &[String]) -> String {
    let bare = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let keys = keys.iter().map(|key| {
        if bare(key) {
            key.clone()
        } else {
            format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
        }
    });
    keys.collect::<Vec<_>>().join(".")
}

/// Whether a list has tables in it, directly or in lists.
fn holds_tables(value: &toml::Value) -> bool {
    let toml::Value::Array(items) = value else {
        return false;
    };
    items
        .iter()
        .any(|item| matches!(item, toml::Value::Table(_)) || holds_tables(item))
}

/// The bytes before the equals sign.
fn key_length(text: &str) -> Read<usize> {
    let mut at = 0;
    loop {
        match text.as_bytes().get(at) {
            None | Some(b'\n') => return Err(Invalid::SYNTAX),
            Some(b'=') => return Ok(at),
            Some(b'"' | b'\'') => at += quoted_length(text.get(at..).unwrap_or_default())?,
            Some(_) => at += 1,
        }
    }
}

impl Node {
    /// The table, or the last one of a list of tables.
    fn table(&mut self) -> Option<&mut Table> {
        match self {
            Self::Value(_) => None,
            Self::Table(table) => Some(table),
            Self::Tables(tables) => tables.last_mut(),
        }
    }
}

fn node_of(value: toml::Value) -> Node {
    match value {
        toml::Value::Table(table) => {
            let entries = table.into_iter();
            Node::Table(entries.map(|(key, value)| (key, node_of(value))).collect())
        }
        value => Node::Value(value_of(&value)),
    }
}

fn map_of(table: Table) -> Map {
    let entries = table.into_iter();
    entries
        .map(|(key, node)| {
            let value = match node {
                Node::Value(value) => value,
                Node::Table(table) => map_of(table).into(),
                Node::Tables(tables) => {
                    let tables = tables.into_iter().map(|table| map_of(table).into());
                    List::of(&types::ANY_MAP_SLICE, tables.collect()).into()
                }
            };
            (flux_gotemplate::Str::from(key.as_str()), value)
        })
        .collect()
}
