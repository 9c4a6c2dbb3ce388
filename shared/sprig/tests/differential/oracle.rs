//! The Go program that executes the same cases.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_gotemplate::{Map, Value, json};

/// The result of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Output(String),
    Error(String),
    /// Go's runtime crashed or timed out: a map that contains itself overflows its stack, other cases take more than ten
    /// seconds.
    Crash,
}

impl Answer {
    /// Parses a line of output: an object of two texts, or empty if the program ended.
    fn parse(line: &str) -> Self {
        if line.is_empty() {
            return Answer::Crash;
        }
        let answer = json::unmarshal(line.as_bytes()).expect("the answer is JSON");
        let map = answer.as_map().expect("the answer is an object");
        let text = |key: &str| {
            let value = map.get(key.as_bytes());
            value.and_then(|v| v.as_str().map(|text| decode(text)))
        };
        match text("err") {
            Some(error) => Answer::Error(error),
            None => Answer::Output(text("out").unwrap_or_default()),
        }
    }

    /// Whether it contains an address in Go's memory.
    pub(crate) fn holds_an_address(&self) -> bool {
        match self {
            Answer::Crash => false,
            Answer::Output(text) | Answer::Error(text) => text.contains("0xc000"),
        }
    }
}

pub(crate) struct Oracle(::oracle::Oracle);

impl Oracle {
    pub(crate) fn start() -> Option<Self> {
        ::oracle::Oracle::start("gotemplate").map(Self)
    }

    pub(crate) fn ask(&mut self, template: &str, values: &str, missing: &str) -> Answer {
        let query: Map = [
            ("template", Value::from(template)),
            ("missing", Value::from(missing)),
            (
                "values",
                json::unmarshal(values.as_bytes()).expect("values are JSON"),
            ),
        ]
        .into_iter()
        .collect();
        let question = json::marshal(&query.into()).expect("a query is JSON");
        let question = String::from_utf8(question).expect("JSON is text");
        // Date functions use the current time for values that are not times.
        let now = template.contains("date");
        let steady = |line: &str| !now && !Answer::parse(line).holds_an_address();
        Answer::parse(&self.0.ask_line(&question, steady))
    }
}

fn decode(text: &[u8]) -> String {
    let bytes = STANDARD.decode(text).expect("the oracle writes base64");
    String::from_utf8_lossy(&bytes).into_owned()
}
