//! The built-in kinds and the merge strategies of their fields: `types.txt`, written by the oracle's `patch` command from
//! the types of client-go.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Index of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Type(usize);

/// The merge strategy of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    /// The type of its value or items, if any field of that merges.
    pub(super) of: Option<Type>,
    /// Whether lists merge instead of being replaced.
    pub(super) merges: bool,
    /// Whether objects and lists are replaced.
    pub(super) replaces: bool,
    /// Whether a patch lists the keys to retain.
    pub(super) retains: bool,
    /// The merge key of the items of a list.
    pub(super) key: &'static str,
}

#[derive(Default)]
struct Table {
    kinds: HashMap<(&'static str, &'static str), Type>,
    types: Vec<HashMap<&'static str, Field>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| read(include_str!("types.txt")));

fn read(text: &'static str) -> Table {
    let mut table = Table::default();
    let (kinds, types) = text.split_once("\n\n").unwrap_or_default();
    for line in kinds.lines() {
        let mut words = line.split(' ');
        if let (Some(version), Some(kind), Some(Ok(number))) =
            (words.next(), words.next(), words.next().map(str::parse))
        {
            table.kinds.insert((version, kind), Type(number));
        }
    }
    table.types = types
        .lines()
        .map(|line| line.split(' ').map(field).collect())
        .collect();
    table
}

/// `name[=type][!strategies][@key]`
fn field(text: &'static str) -> (&'static str, Field) {
    let (text, key) = text.split_once('@').unwrap_or((text, ""));
    let (text, strategies) = text.split_once('!').unwrap_or((text, ""));
    let (name, of) = text.split_once('=').unwrap_or((text, ""));
    let has = |strategy| strategies.split(',').any(|one| one == strategy);
    let field = Field {
        of: of.parse().ok().map(Type),
        merges: has("merge"),
        replaces: has("replace"),
        retains: has("retainKeys"),
        key,
    };
    (name, field)
}

/// The type of a built-in kind.
pub(super) fn of(api_version: &str, kind: &str) -> Option<Type> {
    TABLE.kinds.get(&(api_version, kind)).copied()
}

impl Type {
    /// The merge strategy of a field; the default for most.
    pub(super) fn field(of: Option<Self>, name: &str) -> Field {
        let fields = of.and_then(|of| TABLE.types.get(of.0));
        let field = fields.and_then(|fields| fields.get(name));
        field.copied().unwrap_or_default()
    }
}
