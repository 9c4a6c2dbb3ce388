//! Whether dependencies are ready.

use flux_runtime::outcome::chain;
use serde_json::json;

use super::*;

fn release(name: &str, ready: &str, observed: i64) -> HelmRelease {
    let object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": "apps", "generation": 2}, "spec": {"interval": "1m"},
        "status": {"observedGeneration": observed, "conditions": [{"type": "Ready", "status": ready, "reason": "R",
            "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    serde_json::from_value(object).unwrap()
}

fn said(expression: Option<&str>, dependency: &HelmRelease, additive: bool) -> Option<String> {
    let key = Key::new("apps", "db");
    let object = release("web", "True", 2);
    let checked = check(&object, expression, dependency, &key, additive);
    checked.err().map(|error| chain(&error))
}

// HC-DEP-003
#[test]
fn a_dependency_is_ready_at_its_generation() {
    let unready = Some("dependency 'apps/db' is not ready".to_owned());
    assert_eq!(said(None, &release("db", "True", 2), false), None);
    assert_eq!(said(Some(""), &release("db", "True", 2), false), None);
    assert_eq!(said(None, &release("db", "False", 2), false), unready);
    assert_eq!(said(None, &release("db", "Unknown", 2), false), unready);
    // FR-H-032
    assert_eq!(said(None, &release("db", "True", 1), false), unready);
}

#[test]
fn an_expression_replaces_the_rule_or_adds_to_it() {
    let unready = release("db", "False", 1);
    // HC-DEP-004, HC-PROC-037
    assert_eq!(
        said(Some("dep.metadata.name == 'db'"), &unready, false),
        None
    );
    assert_eq!(
        said(Some("dep.metadata.name == 'db'"), &unready, true).unwrap(),
        "dependency 'apps/db' is not ready"
    );
    assert_eq!(
        said(
            Some("dep.metadata.name == self.metadata.name"),
            &unready,
            false
        )
        .unwrap(),
        "dependency 'apps/db' is not ready according to readyExpr eval"
    );
    // HC-DEP-005: numbers of different types, optionals, and the libraries of strings, sets and encoders
    for expression in [
        "dep.metadata.generation == 2.0 && dep.metadata.generation >= 1u",
        "dep.?status.?phase.orValue('none') == 'none'",
        "dep.metadata.name.charAt(0) == 'd' && 'a,b'.split(',').size() == 2",
        "sets.contains(['apps', 'db'], [dep.metadata.namespace])",
        "base64.encode(b'db') == 'ZGI='",
        "timestamp('2026-01-01T00:00:00Z').getHours() == 0",
    ] {
        assert_eq!(
            said(Some(expression), &unready, false),
            None,
            "{expression}"
        );
    }
    // HC-DEP-006
    let invalid = said(Some("dep."), &unready, false).unwrap();
    assert!(
        invalid.starts_with("terminal error: failed to evaluate dependency db: failed to parse"),
        "{invalid}"
    );
    // HC-DEP-007
    let missing = said(Some("dep.status.phase == 'x'"), &unready, false).unwrap();
    assert!(missing.ends_with("no such key: phase"), "{missing}");
}
