//! Writes an index as `json.MarshalIndent` does, part by part.

use std::cell::RefCell;
use std::io::{self, BufWriter, Read, Seek, Write};

use flux_budget::Budget;
use flux_golang::json;
use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};

use super::decode::Header;
use super::source::{Part, Parts};
use super::{Index, IndexError};
use crate::yaml;

/// Reads all parts, writes them, and returns the table.
pub(super) fn write<R: Read + Seek>(
    mut parts: Parts<'_, R>,
    output: impl Write,
    budget: &Budget,
) -> Result<Index, IndexError> {
    let header = std::mem::take(&mut parts.header);
    let charts = parts.charts.take();
    let late = std::mem::replace(&mut parts.late, Ok(()));
    let mut output = BufWriter::new(output);
    let state = RefCell::new(State {
        parts,
        index: Index::new(budget),
        failed: None,
    });
    let file = File {
        header: &header,
        charts: charts.map(|charts| Charts {
            charts: RefCell::new(charts.into_iter().collect()),
            state: &state,
        }),
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut output, Go::default());
    let written = file.serialize(&mut serializer);
    drop(file);
    let State { index, failed, .. } = state.into_inner();
    if let Some(error) = failed {
        return Err(error);
    }
    written.map_err(|error| IndexError::Write(error.into()))?;
    late?;
    if header.api_version.is_empty() {
        return Err(IndexError::NoApiVersion);
    }
    output.flush().map_err(IndexError::Write)?;
    Ok(index)
}

struct State<'r, R> {
    parts: Parts<'r, R>,
    index: Index,
    /// Why reading failed, while serde knows only that it did.
    failed: Option<IndexError>,
}

/// Helm's `IndexFile`.
struct File<'f, 'r, R> {
    header: &'f Header,
    charts: Option<Charts<'f, 'r, R>>,
}

impl<R: Read + Seek> Serialize for File<'_, '_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let header = self.header;
        let mut map = serializer.serialize_map(None)?;
        if !header.server_info.is_empty() {
            map.serialize_entry("serverInfo", &Info(header))?;
        }
        map.serialize_entry("apiVersion", &header.api_version)?;
        map.serialize_entry("generated", &header.generated)?;
        map.serialize_entry("entries", &self.charts)?;
        if !header.public_keys.is_empty() {
            map.serialize_entry("publicKeys", &header.public_keys)?;
        }
        if !header.annotations.is_empty() {
            map.serialize_entry("annotations", &header.annotations)?;
        }
        map.end()
    }
}

struct Info<'h>(&'h Header);

impl Serialize for Info<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        yaml::map::serialize(&self.0.server_info, serializer)
    }
}

/// The charts, each read when it is its turn.
struct Charts<'s, 'r, R> {
    charts: RefCell<Vec<(String, Part)>>,
    state: &'s RefCell<State<'r, R>>,
}

impl<R: Read + Seek> Serialize for Charts<'_, '_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let charts = self.charts.take();
        let mut map = serializer.serialize_map(Some(charts.len()))?;
        for (name, part) in charts {
            let mut state = self.state.borrow_mut();
            let read = state.parts.versions(&name, part);
            let kept = read.and_then(|versions| {
                let entries = versions.entries.iter().flatten();
                let kept = entries.map(super::decode::Entry::indexed);
                state.index.insert(&name, kept.collect())?;
                Ok(versions)
            });
            let versions = kept.map_err(|error| {
                state.failed = Some(error);
                S::Error::custom("a part cannot be read")
            })?;
            map.serialize_entry(&name, &versions.entries)?;
        }
        map.end()
    }
}

/// Two spaces of indentation, and the escapes of `encoding/json`.
#[derive(Default)]
struct Go(PrettyFormatter<'static>);

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        w: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let special = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        if !text.contains(special) {
            return w.write_all(text.as_bytes());
        }
        let mut escaped = String::new();
        json::push_escaped(&mut escaped, text, true);
        w.write_all(escaped.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        w: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        PrettyFormatter::new().write_char_escape(w, escape)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.begin_array(w)
    }

    fn end_array<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_array(w)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(w, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_array_value(w)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.begin_object(w)
    }

    fn end_object<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_object(w)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(w, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.begin_object_value(w)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_object_value(w)
    }
}
