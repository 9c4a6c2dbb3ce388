//! Cases of files: every byte besides the values is kept.

use rstest::rstest;

use super::*;
use crate::{Changes, Image};

fn setters() -> Setters {
    let mut setters = Setters::default();
    let image = |name, tag, digest| Image { name, tag, digest };
    setters.add("ns", "app", &image("reg.io/app", "v2", None));
    setters.add("ns", "num", &image("app", "1.0", None));
    setters.add("ns", "date", &image("app", "20240101", None));
    setters.add("ns", "six", &image("[::1]:5000/app", "v2", None));
    setters.add("ns", "pin", &image("app", "v2", Some("sha256:ab")));
    setters
}

/// The new content, or the same.
fn updated(text: &str) -> String {
    let updated = update(text, &setters()).unwrap();
    updated.content.unwrap_or_else(|| text.to_owned())
}

#[rstest]
// IA-UPD-021
#[case("a: old # {\"$imagepolicy\": \"ns:app\"}\n", "old", "reg.io/app:v2")]
#[case("a: old # {\"$imagepolicy\": \"ns:pin\"}\n", "old", "app:v2@sha256:ab")]
// IA-UPD-022, IA-UPD-023, IA-UPD-024
#[case("a: old # {\"$imagepolicy\": \"ns:app:name\"}\n", "old", "reg.io/app")]
#[case("a: old # {\"$imagepolicy\": \"ns:app:tag\"}\n", "old", "v2")]
#[case("a: old # {\"$imagepolicy\": \"ns:pin:digest\"}\n", "old", "sha256:ab")]
// IA-UPD-029: a line above an item of a list
#[case("a:\n# {\"$imagepolicy\": \"ns:app:tag\"}\n- old\n", "old", "v2")]
#[case("a:\n  - old # {\"$imagepolicy\": \"ns:app:tag\"}\n", "old", "v2")]
#[case(
    "a:\r\n# {\"$imagepolicy\": \"ns:app:tag\"}\r\n- old\r\n\r\nb: |-\r\n  x\r\n",
    "old",
    "v2"
)]
#[case(
    "x: 1\r\na: |- # {\"$imagepolicy\": \"ns:app:tag\"}\r\n  old\r\n\r\nb: 1\r\n",
    "old",
    "v2"
)]
// IA-UPD-034: at any depth, in any document, of any kind
#[case(
    "a:\n  - b:\n      - c: old # {\"$imagepolicy\": \"ns:app:tag\"}\n",
    "old",
    "v2"
)]
#[case(
    "x: 1\n---\n# c\n---\na: old # {\"$imagepolicy\": \"ns:app:tag\"}\n",
    "old",
    "v2"
)]
// IA-UPD-035: the anchor stays
#[case("a: &x old # {\"$imagepolicy\": \"ns:app:tag\"}\nb: *x\n", "old", "v2")]
// IA-UPD-050
#[case("a: 'old' # {\"$imagepolicy\": \"ns:app:tag\"}\n", "old", "v2")]
#[case("a: \"old\" # {\"$imagepolicy\": \"ns:app:tag\"}\n", "old", "v2")]
#[case("a: |- # {\"$imagepolicy\": \"ns:app:tag\"}\n  old\n", "old", "v2")]
#[case("a: >- # {\"$imagepolicy\": \"ns:app:tag\"}\n  old\n", "old", "v2")]
// IA-UPD-051
#[case("a: old # {\"$imagepolicy\": \"ns:num:tag\"}\n", "old", "\"1.0\"")]
#[case(
    "a: old # {\"$imagepolicy\": \"ns:date:tag\"}\n",
    "old",
    "\"20240101\""
)]
#[case("a: 0.9 # {\"$imagepolicy\": \"ns:num:tag\"}\n", "0.9", "\"1.0\"")]
// IA-UPD-052
#[case("a: 'old' # {\"$imagepolicy\": \"ns:num:tag\"}\n", "old", "1.0")]
// IA-UPD-053: what has a meaning in YAML is quoted
#[case(
    "a: old # {\"$imagepolicy\": \"ns:six\"}\n",
    "old",
    "'[::1]:5000/app:v2'"
)]
// IA-UPD-054: what was a number becomes a text
#[case("a: 1 # {\"$imagepolicy\": \"ns:app:tag\"}\n", "1", "v2")]
#[case("a: true # {\"$imagepolicy\": \"ns:app:tag\"}\n", "true", "v2")]
// IA-UPD-056, IA-UPD-068, IA-UPD-090: blanks, blank lines, comments, indentation, CRLF
#[case(
    "# head\n\n---\n# x\nb:   1    # y\n\n\na:     old      # {\"$imagepolicy\": \"ns:app:tag\"}\n\n#end",
    "old",
    "v2"
)]
#[case(
    "a: 1\r\n\r\nb: old # {\"$imagepolicy\": \"ns:app:tag\"}\r\n",
    "old",
    "v2"
)]
// IA-UPD-062, IA-UPD-063, IA-UPD-069: the styles of sequences, mixed
#[case(
    "list:\n    -   x\n    - y: old # {\"$imagepolicy\": \"ns:app:tag\"}\nmore:\n- z\n",
    "old",
    "v2"
)]
#[case(
    "a: old # {\"$imagepolicy\": \"ns:app:tag\"}\nf: {a: 1,b:  [ 2,3 ]}\nm: one\n  two\n",
    "old",
    "v2"
)]
// IA-UPD-064: all documents stay, in their order
#[case(
    "a: old # {\"$imagepolicy\": \"ns:app:tag\"}\n...\n---\nb: 1\n",
    "old",
    "v2"
)]
// IA-UPD-060, FR-N-089: no ASCII
#[case(
    "# höher → ✓\na: old # {\"$imagepolicy\": \"ns:app:tag\"}\nü: 1\n",
    "old",
    "v2"
)]
// IA-UPD-061, FR-N-086: blocks of text with tabs and blanks
#[case(
    "t: |\n  a\tb  \n   \n\n  c\r\na: old # {\"$imagepolicy\": \"ns:app:tag\"}\n",
    "old",
    "v2"
)]
// IA-UPD-067: no line break at the end
#[case("a: old # {\"$imagepolicy\": \"ns:app:tag\"}", "old", "v2")]
// IA-UPD-071: the root is a sequence or a scalar
#[case("- a: old # {\"$imagepolicy\": \"ns:app:tag\"}\n", "old", "v2")]
#[case("old # {\"$imagepolicy\": \"ns:app:tag\"}\n", "old", "v2")]
// IA-UPD-065, IA-UPD-072, IA-UPD-073
#[case(
    "metadata: {}\na: old # {\"$imagepolicy\": \"ns:app:tag\"}\n",
    "old",
    "v2"
)]
#[case(
    "metadata:\n  annotations:\n    config.kubernetes.io/path: x\n    config.kubernetes.io/index: '7'\na: old # {\"$imagepolicy\": \"ns:app:tag\"}\n",
    "old",
    "v2"
)]
// FR-N-089: keys that are no texts, two separators at the top
#[case("---\n---\na: old # {\"$imagepolicy\": \"ns:app:tag\"}\n", "old", "v2")]
#[case(
    "kind: List\nx: &x {y: z}\nitems:\n- *x\n- a: old # {\"$imagepolicy\": \"ns:app:tag\"}\n",
    "old",
    "v2"
)]
#[case(
    "1: a\ntrue: b\nc: old # {\"$imagepolicy\": \"ns:app:tag\"}\n",
    "old",
    "v2"
)]
fn only_the_value_changes(#[case] text: &str, #[case] old: &str, #[case] new: &str) {
    assert_eq!(updated(text), text.replacen(old, new, 1));
    // A second pass finds nothing to do.
    let again = update(&updated(text), &setters()).unwrap();
    assert_eq!((again.content, again.changes), (None, vec![]));
}

#[rstest]
// IA-UPD-026
#[case("a: old # {\"$imagepolicy\": \"other:app\"}\n")]
#[case("a: old # {\"$imagepolicy\": \"ns:app:other\"}\n")]
#[case("a: old # {\"$imagepolicy\": \"ns:absent\"}\n")]
// IA-UPD-055
#[case("a: v2 # {\"$imagepolicy\": \"ns:app:tag\"}\n")]
// IA-UPD-025
#[case("a: old # {\"$imagepolicy\": \"ns:app:digest\"}\n")]
// IA-UPD-030
#[case("a:\n# {\"$imagepolicy\": \"ns:app\"}\n- old # text\n")]
// IA-UPD-031
#[case("# {\"$imagepolicy\": \"ns:app\"}\na: old\n")]
// IA-UPD-032
#[case("a:\n# {\"$imagepolicy\": \"ns:app\"}\n# more\n- old\n")]
// IA-UPD-035
#[case("x: &x y\na: *x # {\"$imagepolicy\": \"ns:app\"}\n")]
// FR-N-088: a marker in text is text.
#[case("a: |\n  image: x:1 # {\"$imagepolicy\": \"ns:app\"}\n")]
#[case("a: 'x # {\"$imagepolicy\": \"ns:app\"}'\n")]
// Next to a collection
#[case("a: [x] # {\"$imagepolicy\": \"ns:app\"}\n")]
fn other_values_are_left_alone(#[case] text: &str) {
    let updated = update(text, &setters()).unwrap();
    assert_eq!((updated.content, updated.changes), (None, vec![]));
}

#[test]
fn all_markers_of_a_file_are_applied_in_one_pass() {
    // IA-UPD-037, IA-UPD-036, IA-UPD-082
    let text = "kind: Deployment\nmetadata:\n  name: x\na: o1 # {\"$imagepolicy\": \"ns:app:tag\"}\nb: o2 # {\"$imagepolicy\": \"ns:app:tag\"}\nc: o3 # {\"$imagepolicy\": \"ns:num:name\"}\n";
    let updated = update(text, &setters()).unwrap();
    let wanted = text
        .replace("o1", "v2")
        .replace("o2", "v2")
        .replace("o3", "app");
    assert_eq!(updated.content.as_deref(), Some(&*wanted));
    let changes: Vec<_> = updated
        .changes
        .iter()
        .map(|(_, change)| [&*change.old_value, &change.new_value, &change.setter])
        .collect();
    assert_eq!(
        changes,
        [
            ["o1", "v2", "ns:app:tag"],
            ["o2", "v2", "ns:app:tag"],
            ["o3", "app", "ns:num:name"]
        ]
    );
}

#[test]
fn changes_name_the_object_of_their_document() {
    let marker = "# {\"$imagepolicy\": \"ns:app:tag\"}";
    let id = |text: &str| {
        let updated = update(text, &setters()).unwrap();
        let ids = updated.changes.into_iter().map(|(id, _)| id);
        ids.map(|id| [id.api_version, id.kind, id.name, id.namespace].join("|"))
            .collect::<Vec<_>>()
    };
    let full = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: prod\nspec:\n  tag: o {marker}\n"
    );
    // IA-UPD-081
    assert_eq!(id(&full), ["apps/v1|Deployment|web|prod"]);
    assert_eq!(id(&format!("tag: o {marker}\n")), ["|||"]);
    assert_eq!(
        id(&format!("kind: ~\nmetadata:\n  name: 7\ntag: o {marker}\n")),
        ["||7|"]
    );
    assert_eq!(
        id(&format!("{full}---\nkind: B\ntag: o {marker}\n")),
        ["apps/v1|Deployment|web|prod", "|B||"]
    );
    // IA-UPD-070: in place, with the items as objects
    let list = format!(
        "kind: List\nitems:\n- kind: A\n  metadata:\n    name: a\n  tag: o {marker}\n- kind: B\n  tag: o {marker}\n"
    );
    assert_eq!(id(&list), ["|A|a|", "|B||"]);
    assert_eq!(updated(&list), list.replace("tag: o", "tag: v2"));
    assert_eq!(id(&format!("{list}---\nx: 1\n")), ["|List||", "|List||"]);
}

#[test]
fn a_file_that_is_not_clear_is_a_problem() {
    let marker = "# {\"$imagepolicy\": \"ns:app:tag\"}";
    // IA-UPD-009, IA-UPD-066, FR-N-089
    for (text, problem) in [
        (
            format!("a: o {marker}\n--- x\nb: 1\n"),
            "invalid document separator: --- x",
        ),
        (
            format!("a: o {marker}\nb: {{\n"),
            "yaml: line 2: did not find expected node content",
        ),
        (
            format!("x: 1\na: o {marker}\nx: 2\n"),
            "line 3: mapping key \"x\" already defined",
        ),
        (
            format!("z: 1\n---\na: o {marker}\nb:\n  - c: 1\n    c: 2\n"),
            "line 6: mapping key \"c\" already defined",
        ),
        (
            format!("a: o {marker}\n? {{d: 1, d: 2}}\n: 1\n"),
            "line 2: mapping key \"d\" already defined",
        ),
    ] {
        let found = update(&text, &setters()).unwrap_err().to_string();
        assert!(found.starts_with(problem), "{text}: {found}");
    }
    // Nothing is to be changed in it.
    assert!(update("x: 1\nx: 2 # {\"$imagepolicy\": \"ns:none\"}\n", &setters()).is_ok());
}

#[test]
fn markers_without_effect_are_reported_with_their_lines() {
    let text = "a: |\n  b: c # {\"$imagepolicy\": \"ns:app\"}\nd: e # {\"$imagepolicy\": \"ns:app:tag\"}\n---\nf: [g] # {\"$imagepolicy\": \"ns:app\"}\nh: i # {\"$imagepolicy\": \"ns:num:digest\"}\nj: k # {\"$imagepolicy\": \"other:x\"}\nl:\n# {\"$imagepolicy\": \"ns:app:tag\"}\n- m\n";
    let updated = update(text, &setters()).unwrap();
    let skipped: Vec<_> = updated
        .skipped
        .iter()
        .map(|skipped| (skipped.line, skipped.why.to_string()))
        .collect();
    let stray = "the text of a marker is not a comment next to a value".to_owned();
    assert_eq!(
        skipped,
        [
            // FR-N-088
            (2, stray.clone()),
            (5, stray),
            // IA-UPD-025
            (6, "the policy of 'ns:num:digest' has no digest".to_owned()),
        ]
    );
    assert_eq!(updated.changes.len(), 2);
}

#[test]
fn a_value_that_cannot_be_replaced_does_not_block_others() {
    let text = "a: |2 # {\"$imagepolicy\": \"ns:app:tag\"}\n  old\nb: old # {\"$imagepolicy\": \"ns:app:tag\"}\n";
    let updated = update(text, &setters()).unwrap();
    assert_eq!(updated.content.unwrap(), text.replace("b: old", "b: v2"));
    assert_eq!(updated.changes.len(), 1);
    assert!(matches!(updated.skipped[0].why, Skip::Layout { .. }));
}

#[test]
fn the_order_of_files_does_not_matter() {
    // IA-UPD-011
    let change = |file: &str| {
        (
            ObjectId::default(),
            Change {
                old_value: file.into(),
                ..Change::default()
            },
        )
    };
    let (mut one, mut other) = (Changes::default(), Changes::default());
    for file in ["a", "b", "c"] {
        one.add(file, [change(file)]);
    }
    for file in ["c", "a", "b"] {
        other.add(file, [change(file)]);
    }
    assert_eq!(one, other);
}
