//! Tables of templates with the output of Go 1.26 and Sprig 3.3, error texts included.
//!
//! The expected output is written by Sprig itself: `go run ./cmd/gotemplate -tables FILE...` in `kind-tests/oracle`, which
//! also describes the format. A case follows the ledger rows that it proves; a test names the rows of its table, and fails
//! if the table has no case for one of them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use flux_gotemplate::{
    CallError, Context, Environment, Functions, Limits, MissingKey, Session, Str, Templates, Time,
    Value, json,
};

struct Case<'a> {
    template: &'a str,
    missing: MissingKey,
    expected: &'a str,
}

/// A fixed time, and bytes that only look random: the output of cases does not depend on either.
#[derive(Default)]
struct Fixed(Cell<u64>);

impl Environment for Fixed {
    fn now(&self) -> Time {
        Time::unix(1_700_000_000, 0)
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), CallError> {
        for byte in buffer {
            let next = self
                .0
                .get()
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0.set(next);
            *byte = next.to_be_bytes()[0];
        }
        Ok(())
    }
}

/// The data of every case: `data.json`, and an integer, which JSON cannot represent.
fn data() -> Value {
    let data = json::unmarshal(include_bytes!("tables/data.json")).expect("data.json is JSON");
    let map = data.as_map().expect("data.json is an object");
    map.insert(Str::from("i"), Value::int(-3))
        .expect("an object can be added to");
    data
}

/// The functions of the Go program: Sprig's without the environment, and minimal versions of `include` and `tpl`.
fn functions(plain: bool) -> Arc<Functions> {
    if plain {
        return Arc::new(Functions::new());
    }
    let mut functions = flux_sprig::functions();
    flux_sprig::add_cryptography(&mut functions);
    functions.remove("env");
    functions.remove("expandenv");
    functions.add("include", |c: &mut Context<'_>, name: Str, data: Value| {
        c.execute(&name.to_text(), data).map_err(CallError::from)
    });
    functions.add("tpl", |c: &mut Context<'_>, text: Str, data: Value| {
        c.evaluate("t", &text, data).map_err(CallError::from)
    });
    Arc::new(functions)
}

fn render(functions: &Arc<Functions>, case: &Case<'_>) -> String {
    let mut templates = Templates::new("t", Arc::clone(functions)).with_missing_key(case.missing);
    if let Err(e) = templates.parse("t", case.template.as_bytes()) {
        return format!("ERROR {e}");
    }
    let mut session = Session::new(Fixed::default(), Limits::default());
    match templates.execute(&mut session, "t", data()) {
        Ok(out) => String::from_utf8(out).expect("what a table expects is UTF-8"),
        Err(e) => format!("ERROR {e}"),
    }
}

/// Parses a case; returns it with the ledger rows in its directives.
fn read(text: &str) -> (Case<'_>, Vec<&str>) {
    let (mut template, expected) = text
        .split_once("\n----\n")
        .unwrap_or_else(|| panic!("a case without an answer: {text}"));
    let mut missing = MissingKey::Default;
    let mut rows = Vec::new();
    while let Some(line) = template.strip_prefix("#: ") {
        let (line, rest) = line.split_once('\n').unwrap_or((line, ""));
        template = rest;
        for word in line.split_whitespace() {
            match word {
                "zero" => missing = MissingKey::Zero,
                "strict" => missing = MissingKey::Error,
                row if row.starts_with("HE-") => rows.push(row),
                _ => {}
            }
        }
    }
    let case = Case {
        template,
        missing,
        expected,
    };
    (case, rows)
}

/// Runs the table, which must have cases for exactly these rows.
fn check(table: &str, proves: &[&str]) {
    let functions = functions(table.starts_with("#: plain\n"));
    let (mut wrong, mut rows, mut cases) = (Vec::new(), BTreeSet::new(), 0);
    for text in table.trim_end_matches("\n====\n").split("\n====\n") {
        let (case, named) = read(text);
        rows.extend(named);
        let ours = render(&functions, &case);
        if ours != case.expected {
            wrong.push(format!(
                "{}\n  go:   {}\n  ours: {ours}",
                case.template, case.expected
            ));
        }
        cases += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {cases} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(rows, proves.iter().copied().collect(), "rows of the table");
}

macro_rules! tables {
    ($($name:ident: $($row:literal)+;)+) => {
        $(#[test]
        fn $name() {
            check(include_str!(concat!("tables/", stringify!($name), ".txt")), &[$($row),+]);
        })+
    };
}

tables! {
    syntax: "HE-TPL-001" "HE-TPL-002" "HE-TPL-003" "HE-TPL-004" "HE-TPL-005" "HE-TPL-020" "HE-TPL-022" "HE-TPL-041";
    control: "HE-TPL-006" "HE-TPL-007" "HE-TPL-012" "HE-TPL-013" "HE-TPL-014" "HE-TPL-015" "HE-TPL-016" "HE-TPL-017"
        "HE-TPL-018" "HE-TPL-019";
    pipelines: "HE-TPL-009" "HE-TPL-010" "HE-TPL-011" "HE-TPL-028" "HE-TPL-029" "HE-TPL-030" "HE-TPL-031" "HE-TPL-032"
        "HE-TPL-033" "HE-TPL-034";
    access: "HE-TPL-021" "HE-TPL-023" "HE-TPL-024" "HE-TPL-026" "HE-TPL-027" "HE-TPL-040";
    printing: "HE-TPL-035" "HE-TPL-036" "HE-TPL-037" "HE-TPL-038" "HE-TPL-039";
    strings: "HE-FNS-001" "HE-FNS-002" "HE-FNS-003" "HE-FNS-004" "HE-FNS-005" "HE-FNS-006" "HE-FNS-007" "HE-FNS-008"
        "HE-FNS-009" "HE-FNS-010" "HE-FNS-011" "HE-FNS-012" "HE-FNS-013" "HE-FNS-014" "HE-FNS-015" "HE-FNS-016"
        "HE-FNS-017" "HE-FNS-018" "HE-FNS-019" "HE-FNS-020" "HE-FNS-021" "HE-FNS-022" "HE-FNS-023" "HE-FNS-024";
    numbers: "HE-FNN-001" "HE-FNN-002" "HE-FNN-003" "HE-FNN-004" "HE-FNN-005" "HE-FNN-006" "HE-FNN-007" "HE-FNN-008"
        "HE-FNN-009";
    dates: "HE-FNN-010" "HE-FNN-011" "HE-FNN-012" "HE-FNN-013" "HE-FNN-014" "HE-FNN-015" "HE-TPL-025";
    lists: "HE-FNL-001" "HE-FNL-002" "HE-FNL-003" "HE-FNL-004" "HE-FNL-005" "HE-FNL-006" "HE-FNL-007" "HE-FNL-008"
        "HE-FNL-009" "HE-FNL-010";
    dicts: "HE-FNL-011" "HE-FNL-012" "HE-FNL-013" "HE-FNL-014" "HE-FNL-015" "HE-FNL-016" "HE-FNL-017" "HE-FNL-018"
        "HE-FNL-019";
    encoding: "HE-FNE-001" "HE-FNE-002" "HE-FNE-003" "HE-FNE-004";
    paths: "HE-FNC-001" "HE-FNC-002" "HE-FNC-003" "HE-FNC-004" "HE-FNC-012";
    crypto: "HE-FNC-005" "HE-FNC-006" "HE-FNC-007" "HE-FNC-008" "HE-FNC-009" "HE-FNC-010" "HE-FNC-011";
}
