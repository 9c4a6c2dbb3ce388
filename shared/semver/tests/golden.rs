//! The table in `masterminds-3.5.0.tsv` holds the answers of the Go library; every line must come out the same.

use std::cmp::Ordering;

use flux_semver::{Constraints, Version, VersionError};

const TABLE: &str = include_str!("masterminds-3.5.0.tsv");

/// The lines of one section, with the Go-quoted second column decoded.
fn lines(kind: &str) -> Vec<(String, Vec<&'static str>)> {
    let lines: Vec<_> = TABLE
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|columns| columns[0] == kind)
        .map(|columns| (unquote(columns[1]), columns[2..].to_vec()))
        .collect();
    assert!(lines.len() > 30, "{kind}: {} lines", lines.len());
    lines
}

fn unquote(text: &str) -> String {
    let inner = text.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = chars.next().unwrap();
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            _ => 0,
        };
        out.push(match escape {
            'n' => '\n',
            't' => '\t',
            'v' => '\x0b',
            'x' | 'u' => {
                let code: String = chars.by_ref().take(digits).collect();
                char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap()
            }
            other => other,
        });
    }
    out
}

fn versions() -> Vec<Version> {
    lines("compare")
        .iter()
        .map(|(text, _)| Version::parse(text).unwrap())
        .collect()
}

// HE-FNC-003
#[test]
fn versions_are_parsed_as_in_go() {
    let show = |read: Result<Version, VersionError>| match read {
        Err(e) => format!("! {e}"),
        Ok(v) => format!(
            "{v} {} {} {} \"{}\" \"{}\" {}",
            v.major(),
            v.minor(),
            v.patch(),
            v.prerelease(),
            v.metadata(),
            v.original()
        ),
    };
    for (text, want) in lines("version") {
        assert_eq!(show(Version::parse(&text)), want[0], "lenient {text:?}");
        assert_eq!(
            show(Version::parse_strict(&text)),
            want[1],
            "strict {text:?}"
        );
    }
}

#[test]
fn versions_compare_as_in_go() {
    let versions = versions();
    for (a, (text, want)) in versions.iter().zip(lines("compare")) {
        let got: String = versions
            .iter()
            .map(|b| match a.compare(b) {
                Ordering::Less => '<',
                Ordering::Equal => '=',
                Ordering::Greater => '>',
            })
            .collect();
        assert_eq!(got, want[0], "{text}");
    }
}

#[test]
fn versions_are_incremented_as_in_go() {
    let show = |next: Result<Version, VersionError>| match next {
        Ok(v) => format!("{} {v}", v.original()),
        Err(e) => format!("! {e}"),
    };
    for (v, (text, want)) in versions().iter().zip(lines("inc")) {
        let got = [v.inc_patch(), v.inc_minor(), v.inc_major()].map(show);
        assert_eq!(got.as_slice(), want, "{text}");
    }
}

// HE-FNC-004
#[test]
fn constraints_match_as_in_go() {
    let versions = versions();
    let bits = |range: &Constraints| -> String {
        versions
            .iter()
            .map(|v| if range.check(v) { '1' } else { '0' })
            .collect()
    };
    for (text, want) in lines("constraint") {
        match Constraints::parse(&text) {
            Err(e) => assert_eq!(format!("! {e}"), want[0], "{text:?}"),
            Ok(range) => {
                let all = range.clone().with_prereleases(true);
                let got = [bits(&range), bits(&all), range.to_string()];
                assert_eq!(got.as_slice(), want, "{text:?}");
            }
        }
    }
}

#[test]
fn constraint_errors_match_go() {
    for (text, want) in lines("validate") {
        let range = Constraints::parse(&text).unwrap();
        let version = Version::parse(&unquote(want[0])).unwrap();
        let got = range.validate(&version).map_or_else(
            |all| {
                let all: Vec<_> = all.iter().map(ToString::to_string).collect();
                all.join(" & ")
            },
            |()| String::new(),
        );
        assert_eq!(got, want[1], "{version} in {text:?}");
        assert_eq!(range.validate(&version).is_ok(), range.check(&version));
    }
}
