//! JSON in the format of Go's encoder.

use std::io::{self, Write};

use flux_golang::json;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Encodes as Go's `encoding/json` does: `<`, `>`, `&` and the two Unicode line separators are escaped, floats are in Go's
/// format (HE-REL-011). Struct fields are in the order of declaration; the keys of maps must be sorted already.
pub fn to_go_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, Go))?;
    Ok(out)
}

struct Go;

impl Formatter for Go {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(json::format_float(value).unwrap_or_default().as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut escaped = String::with_capacity(fragment.len());
        json::push_escaped(&mut escaped, fragment, true);
        writer.write_all(escaped.as_bytes())
    }
}
