//! The `--set` grammar: `outer.inner[2].leaf=value,other={a,b}`.

use flux_budget::{Claim, Exhausted};
use flux_yaml::{Map, Value};

use super::literal;
use super::reader::{Reader, Run};
use super::shared::{SharedList, SharedMap, SharedValue};
use crate::text::quote;
use crate::yaml;

/// The largest list index in a path.
pub const MAX_INDEX: i64 = 65_536;
/// Maximum number of dots in a path.
pub const MAX_NESTING: usize = 30;
/// Maximum number of indexes in a path. Helm has no limit.
pub const MAX_INDEXES: usize = 64;
/// Maximum number of items by which one argument may lengthen lists. Helm has no limit.
pub const MAX_NEW_ITEMS: usize = 1 << 20;

/// Estimated bytes of an item that a list gets: in the list, in the copy of it as plain data, and what either has to
/// spare.
const ITEM: usize = 2 * (size_of::<SharedValue>() + size_of::<Value>());
/// Estimated bytes of an entry of a table besides its key, likewise.
const ENTRY: usize = ITEM + 4 * size_of::<String>();

/// Why an argument could not be applied. The settings before the invalid part have been applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The text ends within a path.
    #[error("key {} has no value", quote(.0))]
    NoValue(String),
    /// There is a comma where a value should begin.
    #[error("key {} has no value (cannot end with ,)", quote(.0))]
    Comma(String),
    /// A path ends without setting anything below it.
    #[error("key map {} has no value", quote(.0))]
    EmptyMap(String),
    /// There are more than [`MAX_NESTING`] dots.
    #[error(
        "value name nested level is greater than maximum supported nested level of {MAX_NESTING}"
    )]
    TooDeep,
    /// There are more than [`MAX_INDEXES`] indexes.
    #[error("more than {MAX_INDEXES} list indexes in one path")]
    TooManyIndexes,
    /// The lists become longer by more than [`MAX_NEW_ITEMS`].
    #[error("more than {MAX_NEW_ITEMS} list items set by one argument")]
    TooManyItems,
    /// The text between brackets is not a number.
    #[error("error parsing index: {0}")]
    Index(String),
    /// An index is negative.
    #[error("negative {0} index not allowed")]
    NegativeIndex(i64),
    /// An index is larger than [`MAX_INDEX`].
    #[error("index of {0} is greater than maximum supported index of {MAX_INDEX}")]
    IndexTooLarge(i64),
    /// There is invalid text after `]`.
    #[error("unexpected data at end of array index: {}", runes(.0))]
    AfterIndex(String),
    /// A `{` is not closed.
    #[error("list must terminate with '}}'")]
    OpenList,
    /// A value on the path has the wrong type.
    #[error("unable to parse key: interface conversion: interface {{}} is {found}, not {wanted}")]
    Conversion {
        /// The actual Go type.
        found: &'static str,
        /// The required Go type.
        wanted: &'static str,
    },
    /// The value of `--set-json` is not JSON.
    #[error("{0}")]
    Json(String),
    /// The file of `--set-file` cannot be read.
    #[error("{0}")]
    File(String),
    /// What is set does not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// How the text of a value is parsed.
pub(super) enum Values<'f> {
    Typed,
    Text,
    Json,
    File(&'f mut dyn FnMut(&str) -> Result<String, String>),
}

/// `--set`: values are parsed as booleans, null and integers if possible.
pub fn set(into: &mut Map, argument: &str) -> Result<(), SetError> {
    in_place(into, |values| parse(values, argument, Values::Typed))
}

/// `--set-string`: values are text.
pub fn set_string(into: &mut Map, argument: &str) -> Result<(), SetError> {
    in_place(into, |values| parse(values, argument, Values::Text))
}

/// `--set-json`: values are JSON; an empty value is null.
pub fn set_json(into: &mut Map, argument: &str) -> Result<(), SetError> {
    in_place(into, |values| parse(values, argument, Values::Json))
}

/// `--set-file`: values are names of files, whose content `read` returns.
pub fn set_file(
    into: &mut Map,
    argument: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<(), SetError> {
    in_place(into, |values| parse(values, argument, Values::File(read)))
}

/// `--set-literal`: a single path; everything after its `=` is text.
pub fn set_literal(into: &mut Map, argument: &str) -> Result<(), SetError> {
    in_place(into, |values| literal::parse(values, argument))
}

/// Changes plain values, also by what was set before an error.
fn in_place(
    values: &mut Map,
    change: impl FnOnce(&SharedMap) -> Result<(), SetError>,
) -> Result<(), SetError> {
    let shared = SharedMap::from(std::mem::take(values));
    let done = change(&shared);
    *values = shared.to_map();
    done
}

/// As [`parse_within`], without a limit of memory but that of the argument.
pub(super) fn parse(into: &SharedMap, argument: &str, values: Values<'_>) -> Result<(), SetError> {
    parse_within(into, argument, values, &Claim::unlimited())
}

/// Applies the argument. The memory for what it adds is taken through `claim`.
pub(super) fn parse_within(
    into: &SharedMap,
    argument: &str,
    values: Values<'_>,
    claim: &Claim,
) -> Result<(), SetError> {
    let mut parser = Parser {
        reader: Reader::new(argument),
        values,
        new_items: 0,
        claim,
    };
    while parser.key(into, Depth::default())? == Next::More {}
    Ok(())
}

/// Whether the end of the text was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    More,
    End,
}

struct Parser<'a, 'f> {
    reader: Reader<'a>,
    values: Values<'f>,
    /// By how many items lists were lengthened.
    new_items: usize,
    claim: &'a Claim,
}

/// How many dots and indexes a path has had so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Depth {
    dots: usize,
    indexes: usize,
}

impl Depth {
    /// After another dot.
    pub(super) fn dotted(self) -> Result<Self, SetError> {
        if self.dots >= MAX_NESTING {
            return Err(SetError::TooDeep);
        }
        Ok(Self {
            dots: self.dots + 1,
            ..self
        })
    }

    /// After another index.
    pub(super) fn indexed(self) -> Result<Self, SetError> {
        if self.indexes >= MAX_INDEXES {
            return Err(SetError::TooManyIndexes);
        }
        Ok(Self {
            indexes: self.indexes + 1,
            ..self
        })
    }
}

impl Parser<'_, '_> {
    fn key(&mut self, data: &SharedMap, depth: Depth) -> Result<Next, SetError> {
        let Run { text: key, stop } = self.reader.until(&['=', '[', ',', '.'], true);
        self.take(ENTRY + 2 * key.len())?;
        match stop {
            None if key.is_empty() => Ok(Next::End),
            None => Err(SetError::NoValue(key)),
            Some('[') => {
                let Some(index) = index(&mut self.reader, true)? else {
                    return Ok(Next::End);
                };
                let mut list = data.list(&key)?;
                let done = self.item(&mut list, index, depth.indexed()?);
                data.put(key, SharedValue::List(list));
                done
            }
            Some('=') => {
                if matches!(self.values, Values::Json) {
                    let value = self.json()?;
                    data.put(key, value.into());
                    return Ok(Next::More);
                }
                let (value, next) = self.value()?;
                data.put(key, value.into());
                Ok(next)
            }
            Some('.') => {
                let depth = depth.dotted()?;
                let inner = data.map(&key)?;
                let done = self.key(&inner, depth);
                finish_map(data, key, inner, done)
            }
            Some(_) => {
                data.put(key.clone(), Value::from("").into());
                Err(SetError::Comma(key))
            }
        }
    }

    fn item(
        &mut self,
        list: &mut SharedList,
        index_here: i64,
        depth: Depth,
    ) -> Result<Next, SetError> {
        let at = checked(index_here)?;
        let Run { text, stop } = self.reader.until(&['[', '.', '='], true);
        if !text.is_empty() {
            return Err(SetError::AfterIndex(text));
        }
        match stop {
            None => Ok(Next::End),
            Some('=') => {
                let (value, next) = if matches!(self.values, Values::Json) {
                    (self.json()?, Next::More)
                } else {
                    // At the end of the text Helm continues and finds the end there.
                    (self.value()?.0, Next::More)
                };
                self.put_at(list, at?, value.into())?;
                Ok(next)
            }
            Some('[') => {
                let Some(inner_index) = index(&mut self.reader, true)? else {
                    return Ok(Next::End);
                };
                let mut inner = match &at {
                    Ok(at) => list.list(*at)?,
                    Err(_) => SharedList::default(),
                };
                let next = self.item(&mut inner, inner_index, depth.indexed()?)?;
                if next == Next::End {
                    return Ok(next);
                }
                self.put_at(list, at?, SharedValue::List(inner))?;
                Ok(next)
            }
            Some(_) => {
                let inner = match &at {
                    Ok(at) => list.map(*at),
                    Err(_) => SharedMap::default(),
                };
                let done = self.key(&inner, depth);
                if matches!(done, Ok(Next::More)) {
                    self.put_at(list, at?, SharedValue::Map(inner))?;
                }
                done
            }
        }
    }

    fn put_at(
        &mut self,
        list: &mut SharedList,
        at: usize,
        value: SharedValue,
    ) -> Result<(), SetError> {
        let new = (at + 1).saturating_sub(list.len());
        self.new_items += new;
        if self.new_items > MAX_NEW_ITEMS {
            return Err(SetError::TooManyItems);
        }
        self.take(ITEM * new)?;
        list.put(at, value);
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<(), SetError> {
        Ok(self.claim.take(bytes as u64)?)
    }

    /// Parses a list in braces, or text up to a comma.
    fn value(&mut self) -> Result<(Value, Next), SetError> {
        match self.reader.peek() {
            None => return Ok((Value::from(""), Next::End)),
            Some('{') => {
                self.reader.next();
                return self.list().map(|list| (list, Next::More));
            }
            Some(_) => {}
        }
        let run = self.reader.until(&[','], true);
        self.convert(run.text).map(|value| (value, Next::More))
    }

    fn list(&mut self) -> Result<Value, SetError> {
        let mut items = Vec::new();
        loop {
            let Run { text, stop } = self.reader.until(&[',', '}'], true);
            let last = stop.ok_or(SetError::OpenList)? == '}';
            if last && self.reader.peek() == Some(',') {
                self.reader.next();
            }
            self.take(ITEM)?;
            items.push(self.convert(text)?);
            if last {
                return Ok(Value::Seq(items));
            }
        }
    }

    fn convert(&mut self, text: String) -> Result<Value, SetError> {
        match &mut self.values {
            Values::Typed => Ok(typed(text)),
            Values::Text | Values::Json => Ok(Value::String(text)),
            Values::File(read) => read(&text).map(Value::String).map_err(SetError::File),
        }
    }

    fn json(&mut self) -> Result<Value, SetError> {
        if self.skip_blank() {
            return Ok(Value::Null);
        }
        let (value, length) = yaml::json_prefix(self.reader.rest()).map_err(SetError::Json)?;
        self.reader.skip_bytes(length);
        self.skip_blank();
        Ok(value)
    }

    /// Skips blanks and one comma after them. Returns whether the text has nothing else.
    fn skip_blank(&mut self) -> bool {
        while let Some(c) = self.reader.peek() {
            if c != ',' && !c.is_whitespace() {
                return false;
            }
            self.reader.next();
            if c == ',' {
                return true;
            }
        }
        true
    }
}

/// Go's `%q` of each character.
fn runes(text: &str) -> String {
    let quoted = text.chars().map(|c| match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", quoted.get(1..quoted.len() - 1).unwrap_or_default())
        }
    });
    format!("[{}]", quoted.collect::<Vec<_>>().join(" "))
}

fn typed(text: String) -> Value {
    if text.eq_ignore_ascii_case("true") {
        return Value::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Value::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    if text == "0" {
        return Value::Int(0);
    }
    // A number with a leading zero may be a code and stays text.
    if !text.starts_with('0')
        && let Ok(number) = text.parse::<i64>()
    {
        return Value::Int(number);
    }
    Value::String(text)
}

/// Parses the number up to `]`; `None` if the text ends before that, which Helm treats as a regular end.
pub(super) fn index(reader: &mut Reader<'_>, escapes: bool) -> Result<Option<i64>, SetError> {
    let Run { text, stop } = reader.until(&[']'], escapes);
    if stop.is_none() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|e: std::num::ParseIntError| {
            let fault = match e.kind() {
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                    "value out of range"
                }
                _ => "invalid syntax",
            };
            SetError::Index(format!("strconv.Atoi: parsing {}: {fault}", quote(&text)))
        })
}

/// Checks an index: the outer error is for a negative one, the inner error for one that is too large once a value is set.
pub(super) fn checked(index: i64) -> Result<Result<usize, SetError>, SetError> {
    if index < 0 {
        return Err(SetError::NegativeIndex(index));
    }
    if index > MAX_INDEX {
        return Ok(Err(SetError::IndexTooLarge(index)));
    }
    Ok(Ok(index as usize))
}

/// Puts the inner table back under its key after a value was set in it, or returns the error if nothing was set.
pub(super) fn finish_map(
    data: &SharedMap,
    key: String,
    inner: SharedMap,
    done: Result<Next, SetError>,
) -> Result<Next, SetError> {
    if done == Ok(Next::More) && inner.is_empty() {
        return Err(SetError::EmptyMap(key));
    }
    if !inner.is_empty() {
        data.put(key, SharedValue::Map(inner));
    }
    done
}
