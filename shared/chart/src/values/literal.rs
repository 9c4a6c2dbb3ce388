//! The `--set-literal` grammar: a path as in `--set`, without escapes, and the rest of the text verbatim.

use flux_yaml::Value;

use super::reader::{Reader, Run};
use super::set::{Depth, Next, SetError, checked, finish_map, index};
use super::shared::{SharedList, SharedMap, SharedValue};

pub(super) fn parse(into: &SharedMap, argument: &str) -> Result<(), SetError> {
    let mut reader = Reader::new(argument);
    while key(&mut reader, into, Depth::default())? == Next::More {}
    Ok(())
}

fn key(reader: &mut Reader<'_>, data: &SharedMap, depth: Depth) -> Result<Next, SetError> {
    let Run {
        text: key_text,
        stop,
    } = reader.until(&['=', '[', '.'], false);
    match stop {
        None if key_text.is_empty() => Ok(Next::End),
        None => Err(SetError::NoValue(key_text)),
        Some('=') => {
            data.put(key_text, rest(reader));
            Ok(Next::More)
        }
        Some('.') => {
            let depth = depth.dotted()?;
            let inner = data.map(&key_text)?;
            let done = key(reader, &inner, depth);
            finish_map(data, key_text, inner, done)
        }
        Some(_) => {
            let Some(index) = index(reader, false)? else {
                return Ok(Next::End);
            };
            let mut list = data.list(&key_text)?;
            let done = item(reader, &mut list, index, depth.indexed()?);
            data.put(key_text, SharedValue::List(list));
            done
        }
    }
}

fn item(
    reader: &mut Reader<'_>,
    list: &mut SharedList,
    index_here: i64,
    depth: Depth,
) -> Result<Next, SetError> {
    let at = checked(index_here)?;
    let Run { text, stop } = reader.until(&['[', '.', '='], false);
    if !text.is_empty() {
        return Err(SetError::AfterIndex(text));
    }
    match stop {
        None => Ok(Next::End),
        Some('=') => {
            list.put(at?, rest(reader));
            Ok(Next::More)
        }
        Some('[') => {
            let Some(inner_index) = index(reader, false)? else {
                return Ok(Next::End);
            };
            let mut inner = match &at {
                Ok(at) => list.list(*at)?,
                Err(_) => SharedList::default(),
            };
            let next = item(reader, &mut inner, inner_index, depth.indexed()?)?;
            if next == Next::More {
                list.put(at?, SharedValue::List(inner));
            }
            Ok(next)
        }
        Some(_) => {
            let inner = match &at {
                Ok(at) => list.map(*at),
                Err(_) => SharedMap::default(),
            };
            let done = key(reader, &inner, depth);
            if matches!(done, Ok(Next::More)) {
                list.put(at?, SharedValue::Map(inner));
            }
            done
        }
    }
}

fn rest(reader: &mut Reader<'_>) -> SharedValue {
    let rest = reader.rest().to_owned();
    reader.skip_bytes(rest.len());
    SharedValue::Scalar(Value::String(rest))
}
