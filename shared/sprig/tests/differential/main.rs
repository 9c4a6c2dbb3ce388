//! Executes random templates with this crate and with Go and Sprig: both must print the same, or fail with the same
//! message.
//!
//! The Go side is `kind-tests/oracle/cmd/gotemplate`; `FLUX_ORACLE_CASES` and `FLUX_ORACLE_SEED` set the number of cases
//! and which.

mod generate;
mod oracle;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flux_gotemplate::{
    CallError, Context, Environment, Functions, Limits, MissingKey, Session, Str, Templates, Time,
    Value, json, with_stack,
};
use generate::Generator;
use oracle::{Answer, Oracle};

/// The real clock, so much later: for dates of unusual values, functions use the current time.
#[derive(Clone, Copy)]
struct Clock(Duration);

impl Environment for Clock {
    fn now(&self) -> Time {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + self.0;
        Time::unix(since.as_secs().cast_signed(), since.subsec_nanos())
    }
}

const NOW: Clock = Clock(Duration::ZERO);
/// Another year, month and weekday.
const LATER: Clock = Clock(Duration::from_hours(400 * 24));

fn functions() -> Arc<Functions> {
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

fn ours(
    clock: Clock,
    functions: &Arc<Functions>,
    template: &str,
    values: &str,
    missing: &str,
) -> Answer {
    let missing = match missing {
        "zero" => MissingKey::Zero,
        "error" => MissingKey::Error,
        _ => MissingKey::Default,
    };
    let mut templates = Templates::new("t", Arc::clone(functions)).with_missing_key(missing);
    if let Err(e) = templates.parse("t", template.as_bytes()) {
        return Answer::Error(e.to_string());
    }
    let data = json::unmarshal(values.as_bytes()).expect("the generator writes JSON");
    let mut session = Session::new(clock, Limits::default()).with_host(Rc::new(()));
    match templates.execute(&mut session, "t", data) {
        Ok(out) => Answer::Output(String::from_utf8_lossy(&out).into_owned()),
        Err(e) => Answer::Error(e.to_string()),
    }
}

#[test]
fn every_function_is_called() {
    let functions = functions();
    let missing = generate::never_called(functions.names());
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn random_calls_match_go() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let cases = ::oracle::cases(2_000) as u64;
    let seed = ::oracle::seed();
    with_stack(64 << 20, || {
        let functions = functions();
        let (mut differ, mut failed) = (Vec::new(), 0u64);
        for case in 0..cases {
            let mut generator = Generator::new(seed.wrapping_mul(1_000_003).wrapping_add(case));
            let (template, values, missing) = generator.case();
            let asked = Instant::now();
            let go = oracle.ask(&template, &values, missing);
            let answered = Instant::now();
            let ours_at = |clock| ours(clock, &functions, &template, &values, missing);
            let ours = ours_at(NOW);
            if asked.elapsed() > Duration::from_secs(2) {
                let (theirs, ours) = (answered - asked, answered.elapsed());
                println!("slow: case {case}: Go {theirs:?}, ours {ours:?}: {template}");
            }
            if go == Answer::Crash {
                println!("Go gave up: case {case}: {template}");
            }
            failed += u64::from(matches!(go, Answer::Error(_)));
            // Go's answer is a record, of another day.
            let is_same_but_for_the_day =
                || generate::differ_in_time(&go, &ours) && ours_at(LATER) != ours;
            if go != ours
                && !generate::excused(&template, &go, &ours)
                && !is_same_but_for_the_day()
            {
                differ.push(format!(
                    "case {case} ({missing}): {template}\n  values: {values}\n  go:   {go:?}\n  ours: {ours:?}"
                ));
            }
        }
        println!("{cases} cases, {failed} of them errors, {} differ", differ.len());
        let shown: Vec<_> = differ.iter().take(25).map(String::as_str).collect();
        assert!(differ.is_empty(), "{}", shown.join("\n"));
    })
    .expect("a thread");
}
