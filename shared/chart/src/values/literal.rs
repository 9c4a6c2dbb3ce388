//! The `--set-literal` grammar: a path as in `--set`, without escapes, and the rest of the text verbatim.

use flux_yaml::{Map, Value};

use super::reader::{Reader, Run};
use super::set::{
    Next, SetError, checked, deeper, finish_map, index, nested_list, nested_map, put, put_at,
    restore, take_list, take_map,
};

pub(super) fn parse(into: &mut Map, argument: &str) -> Result<(), SetError> {
    let mut reader = Reader::new(argument);
    while key(&mut reader, into, 0)? == Next::More {}
    Ok(())
}

fn key(reader: &mut Reader<'_>, data: &mut Map, nesting: usize) -> Result<Next, SetError> {
    let Run {
        text: key_text,
        stop,
    } = reader.until(&['=', '[', '.'], false);
    match stop {
        None if key_text.is_empty() => Ok(Next::End),
        None => Err(SetError::NoValue(key_text)),
        Some('=') => {
            put(data, key_text, rest(reader));
            Ok(Next::More)
        }
        Some('.') => {
            let nesting = deeper(nesting)?;
            let mut inner = take_map(data.get_mut(&key_text))?;
            let done = key(reader, &mut inner, nesting);
            finish_map(data, key_text, inner, done)
        }
        Some(_) => {
            let Some(index) = index(reader, false)? else {
                return Ok(Next::End);
            };
            let mut list = take_list(data.get_mut(&key_text))?;
            let done = item(reader, &mut list, index, nesting);
            put(data, key_text, Value::Seq(list));
            done
        }
    }
}

fn item(
    reader: &mut Reader<'_>,
    list: &mut Vec<Value>,
    index_here: i64,
    nesting: usize,
) -> Result<Next, SetError> {
    let at = checked(index_here)?;
    let Run { text, stop } = reader.until(&['[', '.', '='], false);
    if !text.is_empty() {
        return Err(SetError::AfterIndex(text));
    }
    match stop {
        None => Ok(Next::End),
        Some('=') => {
            put_at(list, at?, rest(reader));
            Ok(Next::More)
        }
        Some('[') => {
            let Some(inner_index) = index(reader, false)? else {
                return Ok(Next::End);
            };
            let mut inner = nested_list(list, index_here)?;
            let next = item(reader, &mut inner, inner_index, nesting)?;
            if next == Next::More {
                put_at(list, at?, Value::Seq(inner));
            }
            Ok(next)
        }
        Some(_) => {
            let mut inner = nested_map(list, index_here);
            let done = key(reader, &mut inner, nesting);
            if !matches!(done, Ok(Next::More)) {
                restore(list, index_here, inner);
                return done;
            }
            put_at(list, at?, Value::Map(inner));
            done
        }
    }
}

fn rest(reader: &mut Reader<'_>) -> Value {
    let rest = reader.rest().to_owned();
    reader.skip_bytes(rest.len());
    Value::String(rest)
}
