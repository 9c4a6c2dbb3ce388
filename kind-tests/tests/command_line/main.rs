//! The command lines of the controllers: their flags and gates, with types and defaults.

mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use kind_tests::{Result, cache, controller, ensure};
use tables::{FLAGS, GATES};

/// The flags or gates of one controller.
fn of<T>(table: &'static [(&str, &[T])], name: &str) -> &'static [T] {
    let mut all = table.iter();
    all.find(|(known, _)| *known == name)
        .map_or(&[], |(_, own)| own)
}

/// The names in a table that the others have and this one has not, each with a row.
fn foreign<T>(
    table: &'static [(&str, &[T])],
    name: &str,
    of_entry: impl Fn(&T) -> (&'static str, &'static str),
) -> BTreeMap<&'static str, &'static str> {
    let entries = |of_name: bool| {
        let tables = table
            .iter()
            .filter(move |(known, _)| (*known == name) == of_name);
        tables.flat_map(|(_, own)| own.iter()).map(&of_entry)
    };
    let own: Vec<&str> = entries(true).map(|(_, entry)| entry).collect();
    entries(false)
        .filter(|(_, entry)| !own.contains(entry))
        .map(|(row, entry)| (entry, row))
        .collect()
}

/// The controllers that accept a gate which they no longer have (RT-FGM-001, RT-FGT-005).
const RETIRED: &[(&str, &str)] = &[
    ("source-controller", "ObjectLevelWorkloadIdentity"),
    ("kustomize-controller", "ObjectLevelWorkloadIdentity"),
    ("notification-controller", "ObjectLevelWorkloadIdentity"),
    ("helm-controller", "ObjectLevelWorkloadIdentity"),
    // IR-PROC-028, IR-PROC-029
    ("image-reflector-controller", "ObjectLevelWorkloadIdentity"),
    // IA-PROC-024
    ("image-automation-controller", "ObjectLevelWorkloadIdentity"),
    ("source-watcher", "ObjectLevelWorkloadIdentity"),
];

/// Runs the controller without a reachable cluster.
fn run(name: &str, args: &[&str]) -> Result<Output> {
    Ok(Command::new(controller::program(name)?)
        .args(args)
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .output()?)
}

/// The flags listed by `--help`: type and default by name.
fn flags(help: &str) -> BTreeMap<String, (String, String)> {
    let mut flags = BTreeMap::new();
    let mut current: Option<(String, String, String)> = None;
    let mut finish = |flag: Option<(String, String, String)>| {
        if let Some((name, kind, text)) = flag {
            let default = text
                .rsplit_once("[default: ")
                .map_or("", |(_, rest)| rest.trim_end());
            let default = default.strip_suffix(']').unwrap_or(default).trim();
            flags.insert(name, (kind, default.to_owned()));
        }
    };
    for line in help.lines() {
        let trimmed = line.trim();
        if let Some(flag) = trimmed.strip_prefix("--") {
            let end = flag.find([' ', '[']).unwrap_or(flag.len());
            let kind = flag
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'));
            finish(current.take());
            current = Some((
                flag[..end].to_owned(),
                kind.map_or_else(String::new, |(kind, _)| kind.to_owned()),
                trimmed.to_owned(),
            ));
        } else if trimmed.starts_with("-h,") {
            finish(current.take()); // --help itself, listed with its short form
        } else if let Some((_, _, text)) = &mut current {
            text.push(' ');
            text.push_str(trimmed);
        }
    }
    finish(current);
    flags
}

#[test]
fn flags_match_the_ledger() -> Result {
    for &(name, own) in FLAGS {
        let output = run(name, &["--help"])?;
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{name} --help: {}", output.status);
        let mut have = flags(&help);
        for (row, flag, kind, default) in own {
            let found = have.remove(*flag);
            ensure!(
                found == Some(((*kind).to_owned(), (*default).to_owned())),
                "{row} {name} --{flag}: {found:?}, not {kind} {default:?}\n{help}"
            );
        }
        // RT-FLG-011: no others
        ensure!(
            have.is_empty(),
            "{name} has flags that upstream's has not: {have:?}"
        );
    }
    Ok(())
}

#[test]
fn flags_of_other_controllers_are_usage_errors() -> Result {
    // RT-FLG-009, RT-DIF-001
    for &(name, _) in FLAGS {
        for (flag, row) in foreign(FLAGS, name, |&(row, flag, ..)| (row, flag)) {
            let output = run(name, &[&format!("--{flag}=1")])?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(2) && stderr.contains(&format!("--{flag}")),
                "{row} {name} --{flag}: {}\n{stderr}",
                output.status
            );
        }
    }
    Ok(())
}

/// The log lines of the controller before it fails to find a cluster.
fn logged(name: &str, args: &[&str]) -> Result<(Option<i32>, Vec<serde_json::Value>)> {
    let output = run(name, args)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok((output.status.code(), lines.collect()))
}

#[test]
fn gates_match_the_ledger() -> Result {
    for &(name, own) in GATES {
        let own = own.iter().map(|(row, gate, _)| (*gate, *row, true));
        let foreign = foreign(GATES, name, |&(row, gate, _)| (row, gate));
        let foreign = foreign.into_iter().map(|(gate, row)| (gate, row, false));
        for (gate, row, known) in own.chain(foreign) {
            if RETIRED.contains(&(name, gate)) {
                continue;
            }
            for value in [true, false] {
                let (code, lines) = logged(name, &[&format!("--feature-gates={gate}={value}")])?;
                let last = lines
                    .last()
                    .and_then(|line| line["error"].as_str())
                    .unwrap_or_default();
                let refusal = format!("feature-gate '{gate}' not supported");
                // RT-FGT-001, RT-FGT-002: rejected whatever its value, or logged as a key of its own
                let loaded = lines.iter().any(|line| {
                    line["msg"] == "loading feature gate"
                        && line[gate] == value
                        && line["logger"] == "setup"
                });
                ensure!(
                    code == Some(1) && (last == refusal) != known && loaded == known,
                    "{row} {name} {gate}={value}: {code:?} {lines:?}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn retired_gates_are_accepted_and_logged_once() -> Result {
    for (name, gate) in RETIRED {
        for value in [true, false] {
            let given = format!("--feature-gates={gate}={value}");
            // RT-FGT-003: beside a default ServiceAccount, which needs no gate
            let args = [given.as_str(), "--default-service-account=x"];
            let (_, lines) = logged(name, &args)?;
            let said: Vec<_> = lines
                .iter()
                .filter(|line| {
                    let text = line.to_string();
                    text.contains(gate) || text.contains("default service account")
                })
                .collect();
            // RT-FGT-005, RT-FGM-001, SC-PROC-027
            let retired = "feature gate is now retired and no longer changes behavior";
            ensure!(
                said.len() == 1
                    && said[0]["level"] == "info"
                    && said[0]["msg"] == retired
                    && said[0]["feature-gate"] == **gate
                    && said[0]["reason"].is_string(),
                "{name} {given}: {said:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn log_flags_take_effect() -> Result {
    for &(name, _) in FLAGS {
        let gate = if name == "source-watcher" {
            "--feature-gates=DirectSourceFetch=true"
        } else {
            "--feature-gates=CacheSecretsAndConfigMaps=true"
        };
        let logged = |flags: &[&str]| -> Result<Vec<String>> {
            let output = run(name, &[&[gate], flags].concat())?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok(text.lines().map(str::to_owned).collect())
        };
        let parse = |line: &String| serde_json::from_str::<serde_json::Value>(line);
        // KC-PROC-017, SC-PROC-023, SC-PROC-024: the last line is about the missing cluster, the one before about the
        // gate
        for (flags, levels, stack) in [
            (&[][..], &["info", "error"][..], false),
            (
                &["--log-encoding=json", "--log-level=info"],
                &["info", "error"],
                false,
            ),
            (&["--log-level=error"], &["error"], false),
            (&["--log-level=debug"], &["info", "error"], true),
            (&["--log-level=trace"], &["info", "error"], true),
        ] {
            let lines = logged(flags)?
                .iter()
                .map(parse)
                .collect::<Result<Vec<_>, _>>()?;
            let found: Vec<&str> = lines
                .iter()
                .filter_map(|line| line["level"].as_str())
                .collect();
            ensure!(found == levels, "{name} {flags:?}: {lines:?}");
            for line in &lines {
                let time = line["ts"].as_str().unwrap_or_default();
                ensure!(
                    time.len() == 24 && time.ends_with('Z') && time.contains('T'),
                    "{name} {flags:?}: {line}"
                );
                let has = line.get("stacktrace").is_some();
                ensure!(
                    has == (stack && line["level"] == "error"),
                    "{name} {flags:?}: {line}"
                );
            }
        }
        let console = logged(&["--log-encoding=console"])?;
        let columns: Vec<&str> = console
            .first()
            .map(|line| line.split('\t').collect())
            .unwrap_or_default();
        ensure!(
            columns.get(1..4) == Some(&["INFO", "setup", "loading feature gate"]),
            "{name}: {console:?}"
        );
    }
    Ok(())
}

/// A valid value of the flag.
fn value(flag: &str, kind: &str, default: &str) -> String {
    match (flag, kind) {
        ("feature-gates", _) => String::new(),
        (_, "string" | "strings" | "stringArray") if default.is_empty() => "x".to_owned(),
        _ => default.to_owned(),
    }
}

/// The names that the controller logs as having no effect, by the key of the log line.
fn without_effect(lines: &[serde_json::Value], key: &str) -> Vec<String> {
    let says = |line: &&serde_json::Value| {
        let message = line["msg"].as_str().unwrap_or_default();
        message.contains(" changes nothing yet: ") && line["logger"] == "setup"
    };
    let named = lines.iter().filter(says);
    named
        .filter_map(|line| line[key].as_str().map(str::to_owned))
        .collect()
}

/// The code of the controller and of its frame, except for the definitions of the flags and the validation of their
/// values.
fn code_of(name: &str) -> Result<String> {
    let root = cache::workspace();
    let shared = ["runtime", "identity", "publish", "references", "tenancy"]
        .map(|name| root.join("shared").join(name));
    let mut folders = vec![root.join(name)];
    folders.extend(shared);
    let mut folders: Vec<_> = folders.iter().map(|folder| folder.join("src")).collect();
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let file = path.file_name().and_then(|name| name.to_str());
            let file = file.unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !["flags.rs", "tests.rs"].contains(&file)
            {
                let text = fs::read_to_string(&path)?;
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = text.lines().filter(|line| !line.contains("check("));
                code.extend(lines.map(|line| format!("{line}\n")));
            }
        }
    }
    Ok(code)
}

#[test]
fn flags_and_gates_are_used_or_logged_as_ineffective() -> Result {
    for &(name, own) in FLAGS {
        let code = code_of(name)?;
        let flags: Vec<_> = own
            .iter()
            .map(|(_, flag, kind, default)| (*flag, value(flag, kind, default)))
            .collect();
        let gates: Vec<_> = of(GATES, name)
            .iter()
            .map(|(_, gate, default)| (*gate, *default))
            .collect();
        let mut args: Vec<String> = flags
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"))
            .collect();
        args.extend(
            gates
                .iter()
                .map(|(gate, value)| format!("--feature-gates={gate}={value}")),
        );
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (_, lines) = logged(name, &args)?;

        let silent = without_effect(&lines, "flag");
        for (flag, _) in &flags {
            let told = silent.iter().filter(|told| *told == flag).count();
            // Some flags are fields of a group that has their first word.
            let field = flag
                .replace('-', "_")
                .replace("receiverAddr", "receiver_addr");
            let grouped = field.replacen('_', ".", 1);
            let read = [field, grouped]
                .iter()
                .any(|field| code.contains(&format!(".{field}")));
            ensure!(
                told == 1 || (told == 0 && read),
                "{name} --{flag}: told {told} times, read: {read}"
            );
        }
        let silent = without_effect(&lines, "feature-gate");
        for (gate, _) in &gates {
            let told = silent.iter().filter(|told| *told == gate).count();
            let read = code.contains(&format!("(\"{gate}\")"));
            ensure!(
                told == 1 || (told == 0 && read),
                "{name} {gate}: told {told} times, read: {read}"
            );
        }
        let (_, lines) = logged(name, &[])?;
        let silent = [
            without_effect(&lines, "flag"),
            without_effect(&lines, "feature-gate"),
        ];
        ensure!(silent.concat().is_empty(), "{name} says {silent:?} unasked");
    }
    Ok(())
}

#[test]
fn ineffective_flags_are_logged() -> Result {
    let cases: [(&str, &[&str], &[&str]); 2] = [
        (
            "source-controller",
            &[
                "--helm-cache-max-size=5",
                "--watch-configs-label-selector=a=b",
            ],
            // SC-PROC-032
            &["watch-configs-label-selector"],
        ),
        (
            "kustomize-controller",
            &[
                "--insecure-kubeconfig-tls",
                "--feature-gates=AdditiveCELDependencyCheck=true",
            ],
            &[],
        ),
    ];
    for (name, args, flags) in cases {
        let (_, lines) = logged(name, args)?;
        let told = without_effect(&lines, "flag");
        ensure!(told == flags, "{name}: {told:?}");
        let told = without_effect(&lines, "feature-gate");
        ensure!(told.is_empty(), "{name}: {told:?}");
    }
    Ok(())
}
