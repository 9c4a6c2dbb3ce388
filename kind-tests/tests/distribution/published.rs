//! What a release publishes besides manifests, and what its documentation says of them.

use std::collections::BTreeSet;

use kind_tests::bundle::{self, Release};
use kind_tests::{Result, cache, ensure};
use serde_json::{Value, json};

use crate::{object, objects};

#[test]
fn schemas_are_named_and_closed_as_those_of_upstream() -> Result {
    let schemas = bundle::schemas()?;
    // As the release of Flux 2.10 lists them, Alerts and Providers of 2.9 included.
    let wanted = [
        "_definitions.json",
        "alert-notification-v1.json",
        "alert-notification-v1beta3.json",
        "all.json",
        "artifactgenerator-source-v1beta1.json",
        "bucket-source-v1.json",
        "externalartifact-source-v1.json",
        "gitrepository-source-v1.json",
        "helmchart-source-v1.json",
        "helmrelease-helm-v2.json",
        "helmrepository-source-v1.json",
        "imagepolicy-image-v1.json",
        "imagerepository-image-v1.json",
        "imageupdateautomation-image-v1.json",
        "kustomization-kustomize-v1.json",
        "ocirepository-source-v1.json",
        "provider-notification-v1.json",
        "provider-notification-v1beta3.json",
        "receiver-notification-v1.json",
    ];
    // Besides these, the definitions have the versions that older objects were stored in.
    for name in wanted {
        ensure!(
            schemas.contains_key(name),
            "no {name} among {:?}",
            schemas.keys()
        );
    }

    let parse = |name: &str| -> Result<Value> {
        let text = schemas.get(name).map_or("", String::as_str);
        Ok(serde_json::from_str(text)?)
    };
    let schema = parse("kustomization-kustomize-v1.json")?;
    let spec = &schema["properties"]["spec"];
    // Unknown fields are refused on every level below the first.
    assert_eq!(schema["additionalProperties"], Value::Null);
    assert_eq!(spec["additionalProperties"], false);
    let source = &spec["properties"]["sourceRef"];
    assert_eq!(source["additionalProperties"], false);
    let check = &spec["properties"]["healthChecks"]["items"];
    assert_eq!(check["additionalProperties"], false);
    // A map is no list of fields.
    let labels = &spec["properties"]["commonMetadata"]["properties"]["labels"];
    assert_eq!(labels["additionalProperties"], json!({"type": "string"}));
    assert_eq!(schema["properties"]["kind"]["enum"], Value::Null);

    let all = parse("all.json")?;
    let definitions = parse("_definitions.json")?;
    let refs = all["oneOf"].as_array().cloned().unwrap_or_default();
    assert_eq!(refs.len(), schemas.len() - 2);
    for reference in refs {
        let reference = reference["$ref"].as_str().unwrap_or_default().to_owned();
        let id = reference.strip_prefix("_definitions.json#/definitions/");
        let definition = &definitions["definitions"][id.unwrap_or_default()];
        let kind = definition["properties"]["kind"]["enum"][0].as_str();
        ensure!(
            kind.is_some_and(|kind| reference.ends_with(&format!(".{kind}"))),
            "{reference}"
        );
    }
    let release = bundle::release(&Release::default())?;
    ensure!(release.contains_key("crd-schemas.tar.gz"), "no schemas");
    // FO-BLD-026: the digest of what an installer builds is the revision that it reports
    ensure!(
        release == bundle::release(&Release::default())?,
        "two releases of one source differ"
    );
    Ok(())
}

#[test]
fn pods_and_ports_have_the_names_that_installers_and_operators_use() -> Result {
    for (file, text) in bundle::flat()? {
        let Some(name) = file
            .strip_suffix(".yaml")
            .filter(|name| bundle::CONTROLLERS.contains(name))
        else {
            continue;
        };
        let all = objects(&text)?;
        let deployment = object(&all, &format!("Deployment {name}"))?;
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        // FO-ALT-004
        assert_eq!(container["name"], "manager", "{name}");
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(selector, &json!({"app": name}));
        let ports = container["ports"].as_array().into_iter().flatten();
        let ports: Vec<String> = ports
            .map(|port| format!("{} {}", port["name"], port["containerPort"]))
            .collect();
        let wanted: &[&str] = match name {
            "source-controller" | "source-watcher" => {
                &["\"http\" 9090", "\"http-prom\" 8080", "\"healthz\" 9440"]
            }
            "notification-controller" => &[
                "\"http\" 9090",
                "\"http-webhook\" 9292",
                "\"http-prom\" 8080",
                "\"healthz\" 9440",
            ],
            _ => &["\"http-prom\" 8080", "\"healthz\" 9440"],
        };
        assert_eq!(ports, wanted, "{name}");
        let served = name == "source-controller" || name == "source-watcher";
        let ready = if served {
            json!({"path": "/", "port": "http"})
        } else {
            json!({"path": "/readyz", "port": "healthz"})
        };
        assert_eq!(container["readinessProbe"]["httpGet"], ready, "{name}");
        let alive = json!({"path": "/healthz", "port": "healthz"});
        assert_eq!(container["livenessProbe"]["httpGet"], alive, "{name}");
    }
    Ok(())
}

/// The cells of the table's rows below this head.
fn rows<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let below = page.split_once(head).map_or("", |(_, below)| below);
    let rows = below
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

/// Fails unless the text names each resource of the rule.
fn check_named(text: &str, rule: &Value) -> Result {
    let lower = text.to_lowercase();
    let resources = texts(&rule["resources"])
        .into_iter()
        .filter(|name| *name != "*");
    for name in resources.flat_map(|name| name.split('/')) {
        // One of them may be what it is about.
        let one = name.trim_end_matches('s');
        ensure!(
            lower.contains(one),
            "docs/security.md: {name} is not in: {text}"
        );
    }
    for url in texts(&rule["nonResourceURLs"]) {
        ensure!(
            lower.contains(url),
            "docs/security.md: {url} is not in: {text}"
        );
    }
    Ok(())
}

#[test]
fn each_permission_is_explained_and_none_is_wider_than_upstream() -> Result {
    let page = std::fs::read_to_string(cache::workspace().join("docs/security.md"))?;
    let flat = bundle::flat()?;
    let all = objects(&flat["rbac.yaml"])?;
    let role = object(&all, "ClusterRole crd-controller")?;
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    let mut explained = BTreeSet::new();
    for row in rows(&page, "| rule | for |") {
        let [rule, reason] = row[..] else { continue };
        ensure!(!reason.is_empty(), "{rule} has no reason");
        let numbers: Vec<usize> = rule
            .split([' ', ','])
            .map_while(|word| match word {
                "to" | "and" => Some(None),
                word => word.parse().ok().map(Some),
            })
            .flatten()
            .collect();
        let (first, last) = (numbers.first().copied(), numbers.last().copied());
        let positions: Vec<usize> = if rule.contains(" to ") {
            (first.unwrap_or_default()..=last.unwrap_or_default()).collect()
        } else {
            numbers
        };
        for position in positions {
            ensure!(explained.insert(position), "rule {position} stands twice");
            let found = rules.get(position).unwrap_or(&Value::Null);
            ensure!(!found.is_null(), "there is no rule {position}");
            check_named(&row.join(" "), found)?;
        }
    }
    ensure!(
        explained.into_iter().eq(0..rules.len()),
        "docs/security.md does not explain each rule of crd-controller"
    );

    // The role that upstream does not have grants nothing that upstream's does not, and its row names what it grants.
    let upstream = std::fs::read_to_string(oracle::conformance("install.yaml"))?;
    let upstream = objects(&upstream)?;
    let wide = upstream
        .iter()
        .find(|(name, _)| name.starts_with("ClusterRole crd-controller"))
        .map(|(_, role)| role["rules"].as_array().cloned().unwrap_or_default())
        .unwrap_or_default();
    let own = object(&all, "ClusterRole source-controller")?;
    let who = rows(&page, "| who | may | why |");
    let told = who
        .iter()
        .find(|row| row.first() == Some(&"source-controller"));
    let told = told.map(|row| row.join(" ")).unwrap_or_default();
    check_named(&told, &object(&all, "Role source-controller")?["rules"][0])?;
    let covers = |rule: &Value, field: &str, wanted: &str| {
        let granted = texts(&rule[field]);
        granted.contains(&wanted) || granted.contains(&"*")
    };
    for rule in own["rules"].as_array().into_iter().flatten() {
        if texts(&rule["apiGroups"])
            .iter()
            .all(|group| group.is_empty())
        {
            check_named(&told, rule)?;
        }
        for verb in texts(&rule["verbs"]) {
            for url in texts(&rule["nonResourceURLs"]) {
                let granted = wide.iter().any(|wide| {
                    covers(wide, "nonResourceURLs", url) && covers(wide, "verbs", verb)
                });
                ensure!(granted, "upstream does not grant {verb} {url}");
            }
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let granted = wide.iter().any(|wide| {
                        covers(wide, "apiGroups", group)
                            && covers(wide, "resources", resource)
                            && covers(wide, "verbs", verb)
                    });
                    ensure!(granted, "upstream does not grant {verb} {group}/{resource}");
                }
            }
        }
    }
    Ok(())
}

/// Images are built for two architectures of one source, on machines of one of them: nothing may depend on where it runs.
#[test]
fn code_and_image_are_bound_to_no_architecture() -> Result {
    let mut sources = Vec::new();
    let mut folders = vec![cache::workspace()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.unwrap_or_default();
            if path.is_dir() {
                let skipped = name == "target" || name == ".git" || name == "fuzz";
                folders.extend((!skipped).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs")
                || matches!(name, "Cargo.toml" | "config.toml")
            {
                sources.push(path);
            }
        }
    }
    ensure!(sources.len() > 500, "{} sources", sources.len());
    let words = [
        concat!("target_", "arch"),
        concat!("target_", "feature"),
        concat!("target_", "pointer_width"),
        concat!("core::", "arch"),
        concat!("std::", "arch"),
        concat!("std::", "simd"),
        concat!("CARGO_CFG_TARGET_", "ARCH"),
        concat!("target-", "cpu"),
    ];
    let mut found = BTreeSet::new();
    for path in sources {
        let text = std::fs::read_to_string(&path)?;
        if words.iter().any(|word| text.contains(word)) {
            let path = path.strip_prefix(cache::workspace()).unwrap_or(&path);
            found.insert(path.display().to_string());
        }
    }
    // The first names the architecture of an image, the second saves memory where it was measured.
    let known = ["kind-tests/src/image.rs", "shared/runtime/startup/link.rs"];
    ensure!(found.iter().eq(known.iter()), "{found:?}");

    let dockerfile = std::fs::read_to_string(cache::workspace().join("Dockerfile"))?;
    for word in ["amd64", "x86", "arm64", "aarch64", "--target"] {
        // DI-REL-009
        ensure!(!dockerfile.contains(word), "the Dockerfile has {word}");
    }
    Ok(())
}
