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

fn cases() -> Vec<Value> {
    let cases: Vec<Value> = include_str!("cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(cases.len(), 142, "all cases were read");
    cases
}

/// The results of this case that differ from upstream's: those of kstatus (`want`) and of Flux's rule for Jobs (`job`).
fn wrong_results(case: &Value) -> Vec<String> {
    let now: Timestamp = NOW.parse().unwrap();
    let rules = [
        ("want", assess(&case["object"], now)),
        ("job", assess_job(&case["object"])),
    ];
    let wrong = rules
        .into_iter()
        .filter(|(rule, got)| case.get(rule).is_some_and(|want| differs(want, got)));
    wrong
        .map(|(rule, got)| {
            format!(
                "{} ({rule}): want {}, got {got:?}",
                case["name"], case[rule]
            )
        })
        .collect()
}

// RT-SSA-024
#[test]
fn every_rule_matches_upstream() {
    // FR-N-137: a text with a number is that number in ours.
    let is_ours = |case: &&Value| case["name"] != "generation not integer";
    let cases = cases();
    let wrong = cases.iter().filter(is_ours).flat_map(wrong_results);
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The cases of each row: the beginnings of their names.
const ROWS: &[(&str, &[&str])] = &[
    (
        "HC-WAIT-014",
        &[
            "deleted",
            "generation behind",
            "reconciling",
            "stalled",
            "ready True",
            "ready False",
        ],
    ),
    (
        "HC-WAIT-015",
        &[
            "deployment deadline exceeded",
            "statefulset partition",
            "daemonset good",
            "replicaset good",
            "pvc Bound",
            "pod crash",
            "pod unschedulable old",
            "job complete",
            "policy/v1 PodDisruptionBudget",
            "service LoadBalancer",
            "crd names",
        ],
    ),
    ("KC-HEALTH-014", &["deleted"]),
    ("KC-HEALTH-015", &["generation behind", "generation ahead"]),
    ("KC-HEALTH-016", &["reconciling", "stalled"]),
    (
        "KC-HEALTH-017", // FR-N-139
        &["ready True", "ready False", "ready Unknown", "no status"],
    ),
    (
        "KC-HEALTH-019",
        &[
            "v1 Secret",
            "v1 ConfigMap",
            "batch/v1 CronJob",
            "policy/v1 PodDisruptionBudget",
        ],
    ),
    (
        "KC-HEALTH-020",
        &["service LoadBalancer", "service ClusterIP"],
    ),
    ("KC-HEALTH-021", &["pvc Bound", "pvc Pending"]),
    (
        "KC-HEALTH-022",
        &[
            "pod Succeeded",
            "pod ready",
            "pod crash",
            "pod unschedulable old",
        ],
    ),
    (
        "KC-HEALTH-023",
        &[
            "deployment few",
            "deployment extra",
            "deployment deadline exceeded",
        ],
    ),
    (
        "KC-HEALTH-024",
        &[
            "statefulset ondelete",
            "statefulset few",
            "statefulset partition",
        ],
    ),
    (
        "KC-HEALTH-026",
        &[
            "daemonset no desired",
            "daemonset current",
            "daemonset good",
        ],
    ),
    (
        "KC-HEALTH-027",
        &[
            "replicaset failure",
            "replicaset labelled",
            "replicaset good",
        ],
    ),
    (
        "KC-HEALTH-028",
        &["job suspended", "job complete", "job failed", "job started"],
    ),
    ("RT-CEL-007", &["job new", "job started", "job suspended"]),
    (
        "KC-HEALTH-029",
        &[
            "crd names",
            "crd not established",
            "crd installing",
            "crd established",
        ],
    ),
];

#[test]
fn each_row_has_cases_that_match_upstream() {
    let cases = cases();
    for (row, beginnings) in ROWS {
        for beginning in *beginnings {
            let mut found = cases
                .iter()
                .filter(|case| case["name"].as_str().unwrap().starts_with(beginning))
                .peekable();
            assert!(found.peek().is_some(), "{row}: no case {beginning:?}");
            let wrong: Vec<String> = found.flat_map(wrong_results).collect();
            assert!(wrong.is_empty(), "{row}: {}", wrong.join("\n"));
        }
    }
}
