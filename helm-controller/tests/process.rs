//! How the process starts, and the flags that it refuses.

use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helm-controller"));
    command.args(args).env("KUBECONFIG", "/nowhere/kubeconfig");
    command.output().unwrap()
}

/// The lines that were logged, those that are JSON objects.
fn logged(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn usage_errors_exit_with_two() {
    // HC-PROC-030
    for args in [
        &["--no-such-flag"][..],
        &["--concurrent=many"],
        &["--requeue-dependency=5"],
        &["--feature-gates=Foo"],
        &["--oom-watch-memory-threshold=256"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn startup_errors_exit_with_one_and_a_message() {
    for (args, why) in [
        // HC-PROC-024
        (
            &["--feature-gates=OptimizedGitClones=false"][..],
            "feature-gate 'OptimizedGitClones' not supported",
        ),
        // HC-PROC-026
        (
            &["--watch-label-selector=a in (b"],
            "unable to parse label selector",
        ),
        // HC-PROC-028
        (
            &["--interval-jitter-percentage=100"],
            "the interval jitter percentage must be a non-negative value and less than 100",
        ),
        // HC-PROC-030: a flag with and without `=`, and a switch that stands alone
        (
            &[
                "--concurrent",
                "2",
                "--events-addr=http://host/",
                "--watch-all-namespaces",
            ],
            "kubeconfig",
        ),
        // HC-PROC-011: no gate is needed
        (&["--default-kubeconfig-service-account=a"], "kubeconfig"),
        (&["--default-service-account=a"], "kubeconfig"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let lines = logged(&output);
        let errors: Vec<&Value> = lines
            .iter()
            .filter(|line| line["level"] == "error")
            .collect();
        let [error] = errors[..] else {
            panic!("{args:?}: {errors:?}")
        };
        assert_eq!(error["logger"], "setup", "{args:?}: {error}");
        let text = error["error"].as_str().unwrap_or_default();
        assert!(text.contains(why), "{args:?}: {error}");
    }
}

#[test]
fn gates_are_logged_as_they_are_loaded() {
    // HC-PROC-024, HC-PROC-032, HC-PROC-044
    let gates =
        "--feature-gates=DetectDrift=true,CorrectDrift=false,ObjectLevelWorkloadIdentity=true";
    let output = run(&[gates]);
    let lines = logged(&output);
    let loaded: Vec<&Value> = lines
        .iter()
        .filter(|line| line["msg"] == "loading feature gate")
        .collect();
    let [detect, correct] = loaded[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&detect["DetectDrift"], &correct["CorrectDrift"]),
        (&true.into(), &false.into())
    );
    assert_eq!(detect["logger"], "setup");
    let retired = lines.iter().filter(|line| {
        line["feature-gate"] == "ObjectLevelWorkloadIdentity" && line["level"] == "info"
    });
    assert_eq!(retired.count(), 1, "{lines:?}");
}

#[test]
fn the_log_is_json_unless_the_console_is_asked_for() {
    // HC-PROC-018
    let output = run(&[]);
    assert!(output.stdout.is_empty());
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = logged(&output);
    assert_eq!(lines.len(), text.lines().count(), "{text}");
    for line in &lines {
        let time = line["ts"].as_str().unwrap_or_default();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        assert!(
            line["msg"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    let output = run(&["--log-encoding=console"]);
    assert!(!output.stderr.is_empty() && logged(&output).is_empty());
}
