//! Compares patches of live objects with those that Helm would send.
// HE-KUBE-009 HE-KUBE-010

mod support;

use flux_helm::patch::{PatchKind, create_patch};
use flux_yaml::json::from_str;
use oracle::{Answer, Oracle};
use serde_json::{Value, json};
use support::Random;

/// A random variant of an object, as JSON.
fn object(random: &mut Random, kind: (&str, &str)) -> Value {
    let mut object = json!({"apiVersion": kind.0, "kind": kind.1});
    if !random.one_in(10) {
        object["metadata"] = json!({"name": "a"});
        for part in ["labels", "annotations"] {
            if random.one_in(2) {
                object["metadata"][part] = scalars(random);
            }
        }
        if random.one_in(3) {
            object["metadata"]["finalizers"] = list(random, &["x", "y", "z", "x"]);
        }
        if random.one_in(3) {
            object["metadata"]["ownerReferences"] = items(random, "uid", scalars);
        }
    }
    match kind.1 {
        "Deployment" => {
            object["spec"] =
                json!({"replicas": random.below(3), "template": {"spec": pod(random)}});
            if random.one_in(2) {
                object["spec"]["strategy"] = match random.below(4) {
                    0 => json!({"type": "Recreate"}),
                    1 => json!({"type": "RollingUpdate", "rollingUpdate": scalars(random)}),
                    2 => json!({"type": null, "rollingUpdate": null}),
                    _ => json!({}),
                };
            }
            if random.one_in(3) {
                object["spec"]["selector"] = json!({"matchLabels": scalars(random)});
            }
        }
        "Service" => {
            let ports = items(random, "port", scalars);
            object["spec"] = json!({"ports": ports, "selector": scalars(random)});
            if random.one_in(3) {
                object["spec"]["externalIPs"] = list(random, &["1.1.1.1", "2.2.2.2"]);
            }
        }
        "ServiceAccount" => {
            object["secrets"] = items(random, "name", |_| json!({}));
            object["imagePullSecrets"] = items(random, "name", |_| json!({}));
        }
        _ => {
            object["data"] = scalars(random);
            if kind.1 == "Widget" && random.one_in(2) {
                object["spec"] = pod(random);
            }
        }
    }
    object
}

fn pod(random: &mut Random) -> Value {
    let mut spec = json!({"containers": items(random, "name", container)});
    if random.one_in(2) {
        spec["volumes"] = items(random, "name", |random| match random.below(4) {
            0 => json!({"emptyDir": {}}),
            1 => json!({"configMap": scalars(random)}),
            2 => {
                json!({"secret": {"secretName": "s", "items": [{"key": "k", "path": random.pick(&["p", "q"])}]}})
            }
            _ => json!({"hostPath": null}),
        });
    }
    if random.one_in(3) {
        spec["tolerations"] = items(random, "key", scalars);
    }
    if random.one_in(3) {
        spec["hostAliases"] = items(
            random,
            "ip",
            |random| json!({"hostnames": list(random, &["h", "i"])}),
        );
    }
    spec
}

fn container(random: &mut Random) -> Value {
    let mut container = json!({"image": random.pick(&["i:1", "i:2"])});
    if random.one_in(2) {
        container["env"] = items(random, "name", |random| match random.below(3) {
            0 => json!({"value": random.pick(&["1", "2", "<&>"])}),
            1 => json!({"valueFrom": {"secretKeyRef": scalars(random)}}),
            _ => json!({"value": null}),
        });
    }
    if random.one_in(2) {
        container["ports"] = items(
            random,
            "containerPort",
            |random| json!({"protocol": random.pick(&["TCP", "UDP"])}),
        );
    }
    if random.one_in(2) {
        container["args"] = list(random, &["-a", "-b", "-a"]);
    }
    if random.one_in(3) {
        container["volumeMounts"] = items(
            random,
            "mountPath",
            |random| json!({"name": random.pick(&["a", "b"])}),
        );
    }
    if random.one_in(3) {
        container["resources"] = json!({"limits": scalars(random)});
    }
    container
}

fn scalars(random: &mut Random) -> Value {
    let mut map = serde_json::Map::new();
    for name in ["a", "b", "c", "d"] {
        if random.one_in(2) {
            let values = [
                json!("x"),
                json!("y"),
                json!(1),
                json!(2.5),
                json!(true),
                json!(null),
            ];
            map.insert(name.to_owned(), values[random.below(values.len())].clone());
        }
    }
    Value::Object(map)
}

fn list(random: &mut Random, from: &[&str]) -> Value {
    let mut items: Vec<_> = from.iter().filter(|_| random.one_in(2)).collect();
    if random.one_in(2) {
        items.reverse();
    }
    json!(items)
}

/// Objects with a merge key.
fn items(random: &mut Random, key: &str, mut make: impl FnMut(&mut Random) -> Value) -> Value {
    let mut items = Vec::new();
    for number in [80, 443, 7, 9] {
        if !random.one_in(2) {
            continue;
        }
        let mut item = make(random);
        if !random.one_in(150) {
            let numeric = matches!(key, "port" | "containerPort");
            item[key] = if numeric {
                json!(number)
            } else {
                json!(format!("n{number}"))
            };
        }
        items.push(item);
    }
    if random.one_in(3) {
        items.reverse();
    }
    Value::Array(items)
}

fn ours(question: &Value) -> Answer {
    let value = |name: &str| from_str(question[name].to_string()).unwrap();
    let three_way = question["threeWay"].as_bool().unwrap();
    match create_patch(&value("old"), &value("new"), &value("live"), three_way) {
        Ok(patch) => {
            let kind = match patch.kind {
                PatchKind::Strategic => "strategic",
                PatchKind::Merge => "merge",
            };
            Answer::Output(json!({"type": kind, "patch": patch.body}))
        }
        Err(error) => Answer::Error(error.to_string()),
    }
}

#[test]
fn patches_match_helm() {
    let Some(mut go) = Oracle::start("patch") else {
        return;
    };
    let kinds = [
        ("apps/v1", "Deployment"),
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("v1", "ServiceAccount"),
        ("v1", "ConfigMap"),
        ("example.com/v1", "Widget"),
    ];
    let mut random = Random::new(17);
    let questions: Vec<_> = (0..oracle::cases(3000))
        .map(|_| {
            let kind = kinds[random.below(kinds.len())];
            let old = object(&mut random, kind);
            // In most cases the manifest has changed little.
            let new = if random.one_in(6) { old.clone() } else { object(&mut random, kind) };
            let live = match random.below(3) {
                0 => old.clone(),
                1 => new.clone(),
                _ => object(&mut random, kind),
            };
            json!({"mode": "patch", "apiVersion": kind.0, "kind": kind.1, "old": old, "new": new, "live": live,
                "threeWay": random.one_in(2)})
        })
        .collect();
    let (mut different, mut failed, mut empty) = (Vec::new(), 0, 0);
    for (question, theirs) in questions.iter().zip(go.ask_all(&questions)) {
        let ours = ours(question);
        failed += usize::from(matches!(theirs, Answer::Error(_)));
        empty += usize::from(matches!(&theirs, Answer::Output(made) if made["patch"] == "{}"));
        let alike = match (&ours, &theirs) {
            // Objects are not quoted here, since one may be a Secret.
            (Answer::Error(_), Answer::Error(_)) => true,
            (ours, theirs) => ours == theirs,
        };
        if !alike {
            different.push(format!(
                "{question}\n  ours:   {ours:?}\n  theirs: {theirs:?}\n"
            ));
        }
    }
    println!(
        "{} cases, {failed} errors, {empty} without change",
        questions.len()
    );
    let count = different.len();
    different.truncate(6);
    assert!(
        different.is_empty(),
        "{count} differ:\n{}",
        different.join("\n")
    );
}

#[test]
fn the_type_table_matches_client_go() {
    let Some(mut go) = Oracle::start("patch") else {
        return;
    };
    let Answer::Output(Value::String(types)) = go.ask(&json!({"mode": "types"})) else {
        panic!("no table");
    };
    let kept = include_str!("../src/patch/types.txt");
    assert!(
        types == kept,
        "src/patch/types.txt is not up to date:\n{types}"
    );
}
