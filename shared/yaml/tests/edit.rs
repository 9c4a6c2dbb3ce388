//! Edits of single values in random documents change the value and nothing else.

mod generate;

use flux_yaml::edit::{self, Scalar, Step};
use flux_yaml::{Kind, Node, Style, v3};
use generate::Random;

const NEW_VALUES: &[&str] = &[
    "app:1.2.3",
    "1.2.3",
    "registry.example.com/team/app:v1.0.0-rc.1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "1.10",
    "0123",
    "yes",
    "",
    "null",
    "# no comment",
    "a: b",
    "x #y",
    "it's",
    "- a",
    "[a]",
    "two\nlines",
    " blank",
    "ü😀",
    "\ttab",
    "?",
    "---",
    "...",
    "a, b",
    "!x",
    "&a",
    "*a",
];

/// The scalar values below a node with their paths, in text order. Entries with the same key have the same path, so
/// only the index identifies a value.
fn values<'n>(node: &'n mut Node, path: &[Step], out: &mut Vec<(Vec<Step>, &'n mut Node)>) {
    let below = |step| [path, &[step]].concat();
    match node.kind {
        Kind::Scalar => out.push((path.to_vec(), node)),
        Kind::Mapping => {
            for (key, value) in node.entries_mut() {
                values(value, &below(Step::Key(key.value.as_str().into())), out);
            }
        }
        Kind::Sequence => {
            for (index, item) in node.content.iter_mut().enumerate() {
                values(item, &below(Step::Index(index)), out);
            }
        }
        Kind::Document | Kind::Alias => {}
    }
}

/// The `index`th scalar value of a stream.
fn at<'n>(documents: &'n mut [Node], index: usize, scalar: &Scalar) -> Option<&'n mut Node> {
    let mut found = Vec::new();
    let mut before = 0;
    for (at, document) in documents.iter_mut().enumerate() {
        if at == scalar.document {
            before = found.len();
        }
        if let Some(root) = document.root_mut() {
            values(root, &[], &mut found);
        }
    }
    let (path, node) = found.into_iter().nth(index)?;
    (index >= before && path == scalar.path).then_some(node)
}

/// Removes the value from a tree, so that the rest can be compared.
fn blank(documents: &mut [Node], index: usize, scalar: &Scalar) -> Option<String> {
    let node = at(documents, index, scalar)?;
    let style = node.style;
    // Nulls, numbers and plain strings may turn into one another.
    node.style = if style.has(Style::TAGGED) {
        Style::TAGGED
    } else {
        node.tag = "".into();
        Style::PLAIN
    };
    Some(std::mem::take(&mut node.value))
}

#[test]
fn an_edit_changes_one_value_and_nothing_else() {
    let mut random = Random::new(oracle::seed());
    let mut edited = 0;
    let mut refused = 0;
    for _ in 0..oracle::cases(6000) {
        let text = generate::document(&mut random);
        let Ok(scalars) = edit::scalars(&text) else {
            continue;
        };
        let mut before = v3::parse_all(&text).unwrap();
        if scalars.is_empty() {
            continue;
        }
        let index = random.below(scalars.len());
        let scalar = &scalars[index];
        assert_eq!(
            at(&mut before, index, scalar).map(|node| node.value.as_str()),
            Some(scalar.value.as_str()),
            "{text:?}\n{scalar:?}"
        );
        let value = if random.chance(70) {
            random.pick(NEW_VALUES).to_owned()
        } else {
            generate::text(&mut random)
        };
        let Ok(new) = edit::replace(&text, [(scalar, value.as_str())]) else {
            refused += 1;
            continue;
        };
        edited += 1;
        assert!(
            new.starts_with(&text[..scalar.range.start])
                && new.ends_with(&text[scalar.range.end..]),
            "bytes outside of the value changed\n{text:?}\n{new:?}"
        );
        let mut after = v3::parse_all(&new)
            .unwrap_or_else(|error| panic!("{error}\n{text:?}\n{value:?} at {scalar:?}\n{new:?}"));
        blank(&mut before, index, scalar);
        // The header of a block scalar decides how it ends.
        let is_block = text[scalar.range.clone()].starts_with(['|', '>']);
        let end = |value: &str| {
            if is_block {
                value.trim_end_matches('\n').to_owned()
            } else {
                value.to_owned()
            }
        };
        let got = blank(&mut after, index, scalar);
        assert_eq!(
            got.as_deref().map(end),
            Some(end(&value)),
            "\n{text:?}\n{scalar:?}\n{new:?}"
        );
        // Which node a comment belongs to depends on the style of its neighbours.
        before.iter_mut().for_each(Node::clear_comments);
        after.iter_mut().for_each(Node::clear_comments);
        assert_eq!(
            before, after,
            "\n{text:?}\n{value:?} at {scalar:?}\n{new:?}"
        );
    }
    println!("{edited} edited, {refused} refused");
    assert!(edited > refused);
}
