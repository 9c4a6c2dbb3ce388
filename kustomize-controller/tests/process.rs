//! Tests of how the process starts, and of invalid flags that it refuses.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kustomize-controller"))
        .args(args)
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .output()
        .unwrap()
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
    // KC-PROC-022, KC-PROC-024, KC-PROC-026, RT-FLG-013, RT-FGT-001, RT-WAT-007, RT-KUB-005
    for (args, why) in [
        (
            &["--feature-gates=OptimizedGitClones=false"][..],
            "feature-gate 'OptimizedGitClones' not supported",
        ),
        (
            &["--watch-label-selector=a in (b"],
            "unable to parse label selector",
        ),
        (
            &["--interval-jitter-percentage=100"],
            "the interval jitter percentage must be a non-negative value and less than 100",
        ),
        (&[], "kubeconfig"),
    ] {
        let output = run(args);
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
fn gates_are_logged_as_they_are_loaded() {
    // RT-FGT-002, KC-PROC-041
    let output = run(&[
        "--feature-gates=ExternalArtifact=true",
        "--feature-gates=GroupChangeLog=1",
    ]);
    let text = String::from_utf8_lossy(&output.stderr);
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
