//! Which kinds are built in, and which of their fields merge: `types.txt`, written by the oracle's `patch` command from the
//! types of client-go.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The number of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Type(usize);

/// What is known of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    /// The type of what it holds, if anything merges there.
    pub(super) of: Option<Type>,
    /// Whether lists merge.
    pub(super) merges: bool,
    /// Whether objects and lists are replaced.
    pub(super) replaces: bool,
    /// Whether a patch tells which keys stay.
    pub(super) retains: bool,
    /// By what the items of a list are told apart.
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
    /// What is known of a field; of most there is nothing to know.
    pub(super) fn field(of: Option<Self>, name: &str) -> Field {
        let fields = of.and_then(|of| TABLE.types.get(of.0));
        let field = fields.and_then(|fields| fields.get(name));
        field.copied().unwrap_or_default()
    }
}
