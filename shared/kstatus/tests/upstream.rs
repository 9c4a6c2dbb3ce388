//! Every rule against upstream's result for the same object: `cases.jsonl` was written by a small program around
//! cli-utils 1.2.2 (`kind-tests/oracle/cmd/kstatus`; for Jobs around Flux's own rule), one case per line.

use flux_kstatus::{Assessment, Error, assess, assess_job};
use jiff::Timestamp;
use serde_json::Value;

/// A moment between the two that the cases of young and old pods were made at.
const NOW: &str = "2026-01-01T00:00:00Z";

fn differs(want: &Value, got: &Result<Assessment, Error>) -> bool {
    let text = |key: &str| want.get(key).and_then(Value::as_str);
    match got {
        // Go's own texts about accessors and conversions are not a contract; that there is an error is.
        Err(Error::Malformed { .. }) => {
            text("error").is_none() && text("status") != Some("Unknown")
        }
        Err(error) => text("error") != Some(&error.to_string()),
        Ok(got) => {
            text("status") != Some(got.status.as_str())
                || text("message") != Some(&got.message)
                || text("reason") != got.reason.as_deref()
        }
    }
}

// RT-SSA-024 RT-CEL-007
// KC-HEALTH-014 KC-HEALTH-015 KC-HEALTH-016 KC-HEALTH-017 KC-HEALTH-019 KC-HEALTH-020 KC-HEALTH-021 KC-HEALTH-022
// KC-HEALTH-023 KC-HEALTH-024 KC-HEALTH-026 KC-HEALTH-027 KC-HEALTH-028 KC-HEALTH-029
#[test]
fn every_rule_gives_upstreams_result() {
    let now: Timestamp = NOW.parse().unwrap();
    let mut wrong = Vec::new();
    let cases: Vec<Value> = include_str!("cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for case in &cases {
        let rules = [
            ("want", assess(&case["object"], now)),
            ("job", assess_job(&case["object"])),
        ];
        for (rule, got) in rules {
            if case.get(rule).is_some_and(|want| differs(want, &got)) {
                wrong.push(format!(
                    "{} ({rule}): want {}, got {got:?}",
                    case["name"], case[rule]
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert_eq!(cases.len(), 142, "all cases were read");
}
