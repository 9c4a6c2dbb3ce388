//! The parts of an index: read one by one from the text, or taken out of the whole.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use flux_budget::{Budget, Claim};
use flux_yaml::{Map, Value};

use super::IndexError;
use super::decode::{self, Entry, Header, Side};
use super::layout::{self, Form, Layout};
use crate::YamlError;

/// The header of an index and its charts.
pub(super) struct Parts<'r, R> {
    pub(super) header: Header,
    /// An error in what of the header comes after the charts.
    pub(super) late: Result<(), IndexError>,
    /// By name. `None` without `entries`.
    pub(super) charts: Option<BTreeMap<String, Part>>,
    input: Option<&'r mut R>,
    form: Form,
    budget: Budget,
    /// The memory of the names and places of the parts, and of those that are values.
    _claim: Claim,
}

/// The list of one chart.
pub(super) enum Part {
    /// In the text.
    At(Range<u64>),
    Value(Value),
}

/// The versions of a chart, with the memory that they take.
pub(super) struct Versions {
    pub(super) entries: Option<Vec<Entry>>,
    _claim: Claim,
}

impl<'r, R: Read + Seek> Parts<'r, R> {
    /// The parts at their places in the text. `claim` has the memory of the layout.
    pub(super) fn in_pieces(
        input: &'r mut R,
        layout: Layout,
        budget: &Budget,
        claim: Claim,
    ) -> Result<Self, IndexError> {
        let header = value(&layout.header, layout.form, &claim)?;
        let charts = match layout.charts {
            None => None,
            Some(found) => {
                let count = found.len();
                let parts = found
                    .into_iter()
                    .map(|(name, range)| (name, Part::At(range)));
                let charts: BTreeMap<_, _> = parts.collect();
                if layout.form == Form::Yaml && charts.len() < count {
                    return Err(repeated());
                }
                Some(charts)
            }
        };
        let (header, late) = decode_header(&header, layout.form)?;
        Ok(Self {
            header,
            late,
            charts,
            input: Some(input),
            form: layout.form,
            budget: budget.clone(),
            _claim: claim,
        })
    }

    /// The parts of the whole text: JSON if it is, else YAML (SC-HREPO-032).
    pub(super) fn whole(input: &mut R, budget: &Budget) -> Result<Self, IndexError> {
        let claim = budget.claim();
        let end = input.seek(SeekFrom::End(0)).map_err(IndexError::Read)?;
        let text = read_at(input, 0..end, &claim)?;
        let (form, mut index) = match flux_yaml::json::from_str_within(&text, &claim) {
            Ok(index) => (Form::Json, index),
            Err(flux_yaml::Error::Memory(exhausted)) => return Err(exhausted.into()),
            Err(_) => (Form::Yaml, value(&text, Form::Yaml, &claim)?),
        };
        let charts = match &mut index {
            Value::Map(map) => {
                claim_charts(map, &claim)?;
                take_charts(map)
            }
            _ => None,
        };
        let (header, late) = decode_header(&index, form)?;
        let charts = charts
            .transpose()
            .map_err(|other| decode::not_a_map(&other, form))?;
        Ok(Self {
            header,
            late,
            charts,
            input: None,
            form,
            budget: budget.clone(),
            _claim: claim,
        })
    }

    /// The versions in a part, sorted; `None` for `null`.
    pub(super) fn versions(&mut self, name: &str, part: Part) -> Result<Versions, IndexError> {
        let kept = self.budget.claim();
        let entries = self.entries(name, part, &kept)?;
        Ok(Versions {
            entries,
            _claim: kept,
        })
    }

    fn entries(
        &mut self,
        name: &str,
        part: Part,
        kept: &Claim,
    ) -> Result<Option<Vec<Entry>>, IndexError> {
        let (range, input) = match (part, &mut self.input) {
            (Part::Value(list), _) => return decode::versions(&list, self.form, kept),
            (Part::At(_), None) => return Ok(None),
            (Part::At(range), Some(input)) => (range, input),
        };
        let claim = self.budget.claim();
        let text = read_at(input, range, &claim)?;
        let list = value(&text, self.form, &claim)?;
        match (self.form, list) {
            (Form::Json, list) => decode::versions(&list, self.form, kept),
            (Form::Yaml, Value::Map(one)) => match one.iter().next() {
                Some((key, list)) if one.len() == 1 && key == name => {
                    decode::versions(list, self.form, kept)
                }
                _ => Err(repeated()),
            },
            (Form::Yaml, _) => Err(repeated()),
        }
    }
}

/// Stands for any error that the whole text gives a message to.
fn repeated() -> IndexError {
    YamlError::Decode("repeated or misplaced key".to_owned()).into()
}

/// The header, and the error of what comes after the charts.
fn decode_header(
    value: &Value,
    form: Form,
) -> Result<(Header, Result<(), IndexError>), IndexError> {
    let mut header = Header::default();
    header.decode(value, form, Side::BeforeCharts)?;
    let late = header.decode(value, form, Side::AfterCharts);
    Ok((header, late))
}

fn is_entries(key: &str) -> bool {
    key.eq_ignore_ascii_case("entries")
}

/// Claims the memory of the charts that [`take_charts`] makes.
fn claim_charts(index: &Map, claim: &Claim) -> Result<(), IndexError> {
    for (_, lists) in index.iter().filter(|(key, _)| is_entries(key)) {
        if let Value::Map(lists) = lists {
            for name in lists.keys() {
                layout::claim_chart(claim, name)?;
            }
        }
    }
    Ok(())
}

/// Takes the lists out of `entries`; the error is what stands there instead.
fn take_charts(index: &mut Map) -> Option<Result<BTreeMap<String, Part>, Value>> {
    let keys = index.keys().filter(|key| is_entries(key));
    let keys: Vec<String> = keys.cloned().collect();
    let mut charts = None;
    for key in keys {
        match index.shift_remove(&key) {
            None | Some(Value::Null) => {}
            Some(Value::Map(lists)) => {
                let parts = lists
                    .into_iter()
                    .map(|(name, list)| (name, Part::Value(list)));
                charts.get_or_insert_with(BTreeMap::new).extend(parts);
            }
            Some(other) => return Some(Err(other)),
        }
    }
    charts.map(Ok)
}

/// Parses one part.
fn value(text: &[u8], form: Form, claim: &Claim) -> Result<Value, IndexError> {
    let parsed = match form {
        Form::Json => flux_yaml::json::from_str_within(text, claim),
        Form::Yaml => flux_yaml::sigs::from_str_strict_as_written(text, claim),
    };
    parsed.map_err(|error| match error {
        flux_yaml::Error::Memory(exhausted) => exhausted.into(),
        flux_yaml::Error::Convert(inner) => match *inner {
            flux_yaml::Error::Memory(exhausted) => exhausted.into(),
            inner => YamlError::Convert(flux_yaml::Error::Convert(Box::new(inner))).into(),
        },
        error => YamlError::Convert(error).into(),
    })
}

/// The bytes of a range.
fn read_at(
    input: &mut (impl Read + Seek),
    range: Range<u64>,
    claim: &Claim,
) -> Result<Vec<u8>, IndexError> {
    let length = range.end.saturating_sub(range.start);
    input
        .seek(SeekFrom::Start(range.start))
        .map_err(IndexError::Read)?;
    claim.take(length)?;
    let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let read = input.take(length).read_to_end(&mut text);
    read.map_err(IndexError::Read)?;
    Ok(text)
}
