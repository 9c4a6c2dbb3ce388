//! Compares the steps of every action with Helm's, with a failure at any step.

use flux_helm::Time;
use flux_helm::action::{ApplyMethod, Failed, Step, WaitStrategy, check_name, shorten_name};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};

use super::caller::{begin, comparable, ours};
use super::{KEPT, MAPS, NAMESPACE, hook, hooks, plain_numbers, record};

fn cases() -> Vec<Value> {
    let all = format!("{MAPS}{}", hooks());
    let one = |status: &str| json!([record(1, status, MAPS, "ssa")]);
    let mine = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": NAMESPACE}}});
    let mut other = mine.clone();
    other["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("\"else\"");
    other["metadata"]["labels"] = json!({});
    let a = "/api/v1/namespaces/apps/configmaps/a";
    let newer = |second: &str| {
        json!([
            record(2, second, MAPS, ""),
            record(1, "deployed", MAPS, "csa")
        ])
    };
    let three = json!([
        record(3, "failed", KEPT, "ssa"),
        record(2, "deployed", MAPS, "csa"),
        record(1, "superseded", KEPT, "ssa")
    ]);
    let mut valued = record(1, "deployed", MAPS, "ssa");
    valued["chart"]["values"] =
        json!({"a": {"old": 1, "both": "chart"}, "drop": 1, "gone": {"x": 1}, "n": null});
    valued["config"] = json!({"a": {"both": "user", "null": null}, "gone": null, "kept": [1]});
    let valued = json!([valued]);
    let mut cases = vec![
        // HE-ACT-011, HE-ACT-012, HE-REL-017
        json!({"action": "install", "template": all}),
        json!({"action": "install", "template": all, "disableHooks": true, "serverSide": "false", "labels": {"team": "x"}}),
        // HE-ACT-010
        json!({"action": "install", "template": MAPS, "createNamespace": true}),
        json!({"action": "install", "template": "# nothing\n"}),
        json!({"action": "install", "template": MAPS, "labels": {"owner": "x"}}),
        // HE-ACT-003 HE-ACT-004
        json!({"action": "install", "template": MAPS, "replace": true, "history": one("uninstalled")}),
        json!({"action": "install", "template": MAPS, "replace": true, "history": one("failed")}),
        json!({"action": "install", "template": MAPS, "replace": true, "history": one("deployed")}),
        json!({"action": "install", "template": MAPS, "history": one("uninstalled")}),
        // HE-ACT-008 HE-ACT-009
        json!({"action": "install", "template": all, "live": {a: mine}}),
        json!({"action": "install", "template": all, "live": {a: other}}),
        json!({"action": "install", "template": all, "live": {a: other}, "takeOwnership": true}),
        // HE-ACT-006 HE-KUBE-003
        json!({"action": "install", "template": "apiVersion: x/v1\nkind: Nope\nmetadata: {name: n, namespace: q}\n"}),
        json!({"action": "install", "template": "apiVersion: v1\nkind: Pod\nmetadata: {name: n, generateName: n-}\n"}),
        // HE-HOOK-007
        json!({"action": "install", "template": format!("{MAPS}{}", hook("Odd", "odd", "helm.sh/hook: pre-install"))}),
        json!({"action": "install", "template": format!("{MAPS}{}", hook("Odd", "odd", "helm.sh/hook: post-install, helm.sh/hook-delete-policy: hook-failed"))}),
        // HE-ACT-016, HE-ACT-021, HE-ACT-022
        json!({"action": "upgrade", "template": all, "history": one("deployed"), "serverSide": "auto"}),
        // HE-ACT-023
        json!({"action": "upgrade", "template": all, "history": one("deployed"), "serverSide": "auto", "cleanupOnFail": true,
            "historyLabels": {"1": {"a": "1", "b": "2"}}, "labels": {"b": "null", "c": "3"}}),
        // HE-ACT-015
        json!({"action": "upgrade", "template": all, "history": newer("failed"), "serverSide": "auto", "historyLabels": {"1": {"old": "1"}, "2": {"new": "2"}}}),
        // HE-ACT-024, HE-REL-015
        json!({"action": "upgrade", "template": MAPS, "history": newer("uninstalled"), "serverSide": "true", "maxHistory": 2}),
        json!({"action": "upgrade", "template": MAPS, "history": three, "serverSide": "auto", "maxHistory": 1, "disableHooks": true}),
        json!({"action": "upgrade", "template": MAPS, "history": three, "serverSide": "false", "maxHistory": 2}),
        json!({"action": "upgrade", "template": MAPS, "history": three, "serverSide": "auto", "maxHistory": 9}),
        // HE-ACT-014
        json!({"action": "upgrade", "template": MAPS, "serverSide": "auto"}),
        json!({"action": "upgrade", "template": "", "history": one("superseded"), "serverSide": "auto"}),
        // HE-VAL-018 HE-ACT-020
        json!({"action": "upgrade", "template": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: v}\ndata:\n{{ toYaml .Values | indent 2 }}\n",
            "history": valued, "serverSide": "auto", "reuseValues": true,
            "values": {"a": {"new": 1}, "drop": null}, "chartValues": {"fresh": true, "a": {"default": 1}}}),
        json!({"action": "upgrade", "template": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: v}\ndata:\n{{ toYaml .Values | indent 2 }}\n",
            "history": valued, "serverSide": "auto", "values": {"a": {"new": 1}}, "chartValues": {"fresh": true, "a": {"default": 1}}}),
        // HE-ACT-017 HE-ACT-019
        json!({"action": "upgrade", "template": "apiVersion: x/v1\nkind: Nope\n", "history": one("deployed"), "serverSide": "auto"}),
        json!({"action": "upgrade", "template": MAPS, "history": [record(1, "deployed", "apiVersion: x/v1\nkind: Nope\n", "ssa")], "serverSide": "auto"}),
        json!({"action": "upgrade", "template": MAPS, "history": [record(1, "deployed", KEPT, "ssa")], "live": {a: other}, "serverSide": "auto"}),
        json!({"action": "upgrade", "template": MAPS, "history": [record(1, "deployed", KEPT, "ssa")], "live": {a: mine}, "serverSide": "auto"}),
        // HE-ACT-025, HE-ACT-027, HE-ACT-029
        json!({"action": "rollback", "history": three, "serverSide": "auto"}),
        json!({"action": "rollback", "history": three, "serverSide": "auto", "revision": 1, "cleanupOnFail": true, "historyLabels": {"1": {"old": "1"}, "3": {"new": "2"}}}),
        // HE-ACT-028
        json!({"action": "rollback", "history": three, "serverSide": "true", "disableHooks": true, "maxHistory": 2}),
        // HE-ACT-026
        json!({"action": "rollback", "history": three, "serverSide": "auto", "revision": 9}),
        json!({"action": "rollback", "history": three, "serverSide": "auto", "revision": -1}),
        json!({"action": "rollback", "history": one("deployed"), "serverSide": "auto"}),
        json!({"action": "rollback", "serverSide": "auto"}),
        json!({"action": "rollback", "history": [record(2, "deployed", MAPS, ""), record(1, "deployed", "apiVersion: x/v1\nkind: Nope\n", "")], "serverSide": "auto"}),
        // HE-ACT-030, HE-ACT-032, HE-ACT-035
        json!({"action": "uninstall", "history": three}),
        // HE-ACT-036
        json!({"action": "uninstall", "history": three, "keepHistory": true}),
        // HE-ACT-031
        json!({"action": "uninstall", "history": [record(2, "deployed", KEPT, ""), record(1, "deployed", MAPS, "")], "keepHistory": true, "disableHooks": true}),
        json!({"action": "uninstall", "history": one("uninstalled")}),
        json!({"action": "uninstall", "history": one("uninstalled"), "keepHistory": true}),
        json!({"action": "uninstall", "history": [record(1, "deployed", "", "")], "disableHooks": true}),
        // HE-ACT-037
        json!({"action": "uninstall"}),
        // HE-ACT-039
        json!({"action": "test", "history": three}),
        json!({"action": "test", "history": three, "include": ["test-b", "no"]}),
        json!({"action": "test", "history": three, "exclude": ["test-a"]}),
        json!({"action": "test"}),
    ];
    for status in [
        "unknown",
        "superseded",
        "uninstalling",
        "pending-install",
        "pending-upgrade",
        "pending-rollback",
    ] {
        cases.push(json!({"action": "upgrade", "template": MAPS, "history": one(status), "serverSide": "auto"}));
        cases.push(
            json!({"action": "install", "template": MAPS, "replace": true, "history": one(status)}),
        );
    }
    // HE-ACT-002
    let long = "x".repeat(54);
    for name in [
        "",
        "Upper",
        "a_b",
        "-a",
        "a-",
        "a.b",
        "a..b",
        "é",
        &long,
        &long[1..],
    ] {
        for action in ["install", "upgrade", "rollback", "uninstall", "test"] {
            cases.push(
                json!({"action": action, "name": name, "template": "", "serverSide": "auto"}),
            );
        }
    }
    for case in &mut cases {
        if case["name"].is_null() {
            case["name"] = json!("web");
        }
        case["mode"] = json!("action");
    }
    cases
}

#[test]
fn actions_match_helm_with_failures_at_every_step() {
    // HE-HOOK-009, HE-HOOK-011, HE-HOOK-012: each step of a case fails in turn, hooks included
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    let mut questions = Vec::new();
    for case in cases() {
        let events = ours(&case, &[])["events"].as_array().unwrap().len();
        let mut failures = vec![vec![]];
        failures.extend((0..events).map(|i| vec![i]));
        // A failure may lead to other steps, which may fail as well.
        failures.extend((0..events).flat_map(|i| [vec![i, i + 1], vec![i, i + 2], vec![i, i + 3]]));
        for fail in failures {
            let mut question = case.clone();
            question["fail"] = json!(fail);
            questions.push((question, fail));
        }
    }
    let asked: Vec<_> = questions
        .iter()
        .map(|(question, _)| question.clone())
        .collect();
    for ((question, fail), answer) in questions.iter().zip(go.ask_all(&asked)) {
        let Answer::Output(theirs) = answer else {
            panic!("{question:#}: {answer:?}");
        };
        let ours = plain_numbers(comparable(question, ours(question, fail)));
        let mut theirs = plain_numbers(comparable(question, theirs));
        // Helm writes the nulls of the new values into the old record (docs/differences.md, HE-VAL-018).
        for event in theirs["events"].as_array_mut().unwrap() {
            if event["event"] == "update record"
                && event["version"] == json!(1.0)
                && let Some(config) = event["config"].as_object_mut()
            {
                config.remove("drop");
            }
        }
        let mut told = question.clone();
        told.as_object_mut().unwrap().remove("history");
        let brief = |told: &Value| {
            let mut told = told.clone();
            for event in told["events"].as_array_mut().unwrap() {
                if let Some(event) = event.as_object_mut() {
                    event.remove("manifest");
                }
            }
            format!("{told:#}")
        };
        assert!(
            ours == theirs,
            "{told:#}\nours: {}\ntheirs: {}",
            brief(&ours),
            brief(&theirs)
        );
    }
    println!("{} runs compared", questions.len());
}

#[test]
fn a_failed_uninstall_says_why() {
    // HE-ACT-033
    let request = json!({"action": "uninstall", "name": "web", "history": [record(1, "deployed", MAPS, "ssa")]});
    let whole = ours(&request, &[]);
    let events = whole["events"].as_array().unwrap();
    let delete = events.iter().position(|event| {
        event["event"] == "delete" && event["objects"].as_str().unwrap().contains('b')
    });
    let delete = delete.expect("the objects are deleted");
    let told = ours(&request, &[delete]);
    assert_eq!(
        told["error"],
        json!(format!(
            "failed to delete release: web: event {delete} failed"
        ))
    );
}

#[test]
fn an_interrupted_action_fails() {
    // HE-ACT-013
    let now = Time::parse("2026-01-01T00:00:00Z").unwrap();
    let install = json!({"action": "install", "name": "web", "template": MAPS});
    let upgrade = json!({"action": "upgrade", "name": "web", "template": MAPS, "cleanupOnFail": true, "history": [record(1, "deployed", MAPS, "ssa")]});
    for (request, description) in [
        (install, "Release \"web\" failed: context deadline exceeded"),
        (upgrade, "Upgrade \"web\" failed: context deadline exceeded"),
    ] {
        let mut action = begin(&request, now).unwrap();
        assert!(action.is_interruptible());
        while action.next(now, Ok(())) != Step::Wait {}
        let late = Failed::new("context deadline exceeded");
        action.interrupt(now, &late);
        let Step::UpdateRecord(record) = action.next(now, Ok(())) else {
            panic!("nothing is recorded");
        };
        assert_eq!(record.status().as_str(), "failed");
        assert_eq!(record.info.as_ref().unwrap().description, description);
        assert_eq!(action.next(now, Ok(())), Step::Done(Err(&late)));
    }
}

#[test]
fn a_rollback_records_where_it_went_back_to() {
    // HE-REL-018
    let now = Time::parse("2026-01-01T00:00:00Z").unwrap();
    let history = json!([
        record(3, "failed", MAPS, "ssa"),
        record(2, "superseded", MAPS, "ssa"),
        record(1, "superseded", MAPS, "ssa")
    ]);
    for (version, want) in [(0, 2), (1, 1)] {
        let rollback =
            json!({"action": "rollback", "name": "web", "history": history, "revision": version});
        let action = begin(&rollback, now).unwrap();
        assert!(!action.is_interruptible());
        let info = action.release().info.clone().unwrap();
        assert_eq!(info.rollback_revision, want);
        assert_eq!(info.description, format!("Rollback to {want}"));
    }
    let upgrade = json!({"action": "upgrade", "name": "web", "template": MAPS, "history": history});
    let upgrade = begin(&upgrade, now).unwrap();
    assert_eq!(
        upgrade.release().info.as_ref().unwrap().rollback_revision,
        0
    );
}

#[test]
fn the_apply_method_follows_the_release_record() {
    let now = Time::zero();
    let settings = |request: Value, adopted, own| {
        let settings = begin(&request, now).unwrap().apply_settings(adopted, own);
        (
            settings.method == ApplyMethod::ServerSide,
            settings.force_conflicts,
            settings.migrate_managers,
            settings.three_way_for_custom,
        )
    };
    let install = |side: &str| json!({"action": "install", "name": "web", "template": MAPS, "serverSide": side});
    let upgrade = |old: &str, side: &str| json!({"action": "upgrade", "name": "web", "template": MAPS, "serverSide": side, "history": [record(1, "deployed", MAPS, old)]});
    for (request, adopted, own, want) in [
        // HE-KUBE-015: conflicts are forced except when everything is new
        (install("true"), false, false, (true, false, false, false)),
        (install("true"), true, true, (true, true, true, false)),
        (install("false"), true, true, (false, false, false, true)),
        (install("false"), true, false, (false, false, false, false)),
        // HE-ACT-024
        (
            upgrade("ssa", "auto"),
            false,
            false,
            (true, true, false, false),
        ),
        (
            upgrade("csa", "auto"),
            true,
            true,
            (false, false, false, false),
        ),
        (
            upgrade("", "auto"),
            false,
            false,
            (false, false, false, false),
        ),
        // HE-KUBE-013: the fields move from the earlier client-side apply
        (upgrade("", "true"), false, false, (true, true, true, false)),
        (
            upgrade("ssa", "false"),
            false,
            false,
            (false, false, false, false),
        ),
    ] {
        assert_eq!(settings(request.clone(), adopted, own), want, "{request}");
    }
    // HE-ACT-028
    let history = json!([
        record(2, "deployed", MAPS, "csa"),
        record(1, "superseded", MAPS, "ssa")
    ]);
    let rollback = json!({"action": "rollback", "name": "web", "history": history});
    assert_eq!(settings(rollback, false, false), (true, true, true, false));
}

#[test]
fn wait_strategy_names_match_helm() {
    // HE-KUBE-021
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    for name in ["watcher", "legacy", "hookOnly", "", "Watcher", "none"] {
        let ours = WaitStrategy::named(name).err().map(|e| e.to_string());
        let theirs = match go.ask(&json!({"mode": "waiter", "strategy": name})) {
            Answer::Output(_) => None,
            Answer::Error(text) | Answer::Panic(text) => Some(text),
        };
        assert_eq!(ours, theirs, "{name:?}");
    }
}

#[test]
fn names_that_are_too_long_are_shortened() {
    // HC-ACT-023
    let fits = "a".repeat(53);
    assert_eq!(shorten_name(&fits), fits);
    let long = "a-very-lengthy-target-namespace-with-a-nice-object-name";
    let short = "a-very-lengthy-target-namespace-with-a-n-97af5d7f41f3";
    assert_eq!(shorten_name(long), short);
    // A character that is cut in two does not fail.
    let odd = shorten_name(&"\u{e9}\u{20ac}".repeat(40));
    assert!(odd.ends_with(|c: char| c.is_ascii_hexdigit()), "{odd}");
}

#[test]
fn release_names_are_validated() {
    // HE-ACT-002
    for good in ["a", "0", "a-b", "a.b-c.d0"] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
}
