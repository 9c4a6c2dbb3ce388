//! Tests of how the process starts, and of invalid flags that it refuses.

use std::process::{Command, Output};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kustomize-controller"));
    command.args(args).env("KUBECONFIG", "/nowhere/kubeconfig");
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// The error lines that were logged, each a JSON object.
fn errors(output: &Output) -> Vec<serde_json::Value> {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &serde_json::Value| line["level"] == "error")
        .collect()
}

#[test]
fn usage_errors_exit_with_two_and_help_with_zero() {
    // RT-FLG-009, RT-FLG-011
    for args in [
        &["--no-such-flag"][..],
        &["--concurrent=many"],
        &["--requeue-dependency=5"],
        &["--no-cross-namespace-refs=maybe"],
        &["--feature-gates=Foo"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--custom-apply-stage-kinds"));
}

#[test]
fn startup_errors_exit_with_one_and_a_message() {
    for (args, why) in [
        // KC-PROC-022, RT-FGT-001
        (
            &["--feature-gates=OptimizedGitClones=false"][..],
            "feature-gate 'OptimizedGitClones' not supported",
        ),
        // KC-PROC-024, RT-WAT-007
        (
            &["--watch-label-selector=a in (b"],
            "unable to parse label selector",
        ),
        // KC-PROC-026
        (
            &["--interval-jitter-percentage=100"],
            "the interval jitter percentage must be a non-negative value and less than 100",
        ),
        // RT-KUB-005
        (&[], "kubeconfig"),
    ] {
        let output = run(args);
        // RT-FLG-013
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let errors = errors(&output);
        let last = errors.last().cloned().unwrap_or_default();
        assert_eq!(last["logger"], "setup", "{args:?}: {errors:?}");
        assert!(
            last["error"]
                .as_str()
                .is_some_and(|error| error.contains(why)),
            "{args:?}: {last}"
        );
    }
}

#[test]
fn a_namespace_that_is_not_a_name_ends_the_start() {
    let output = command(&[]).env("RUNTIME_NAMESPACE", "a/b").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = errors(&output);
    let last = errors.last().cloned().unwrap_or_default();
    let error = last["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("RUNTIME_NAMESPACE: "), "{errors:?}");
}

#[test]
fn gates_are_logged_as_they_are_loaded() {
    // RT-FGT-002, KC-PROC-041
    let output = run(&[
        "--feature-gates=ExternalArtifact=true",
        "--feature-gates=GroupChangeLog=1",
    ]);
    let text = String::from_utf8_lossy(&output.stderr);
    // RT-LOG-001
    assert!(output.stdout.is_empty());
    for line in text.lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|line| line.is_object()), "{line}");
    }
    let loaded: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &serde_json::Value| line["msg"] == "loading feature gate")
        .collect();
    assert_eq!(loaded.len(), 2, "{text}");
    assert_eq!(loaded[0]["ExternalArtifact"], true);
    assert_eq!(loaded[1]["GroupChangeLog"], true);
    assert_eq!(loaded[0]["logger"], "setup");
}
