//! The record of what was changed.

use std::collections::{BTreeMap, HashSet};

/// The object that a document describes; parts that it does not have are empty (IA-UPD-081). Ordered as Go's templates order
/// the keys of a map of them (IA-MSG-009).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
}

/// A value that was replaced (IA-UPD-082).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Change {
    /// The text before.
    pub old_value: String,
    /// The text after.
    pub new_value: String,
    /// What the marker says.
    pub setter: String,
}

/// The changes of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    files: BTreeMap<String, Vec<(ObjectId, Change)>>,
}

impl Changes {
    /// Adds the changes of a file, in the order of the file. `path` is relative to the folder that was searched, with slashes
    /// (IA-UPD-080).
    pub fn add(&mut self, path: &str, changes: impl IntoIterator<Item = (ObjectId, Change)>) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_some() {
            self.files
                .entry(path.to_owned())
                .or_default()
                .extend(changes);
        }
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The changes of each object of each file.
    pub fn files(&self) -> BTreeMap<&str, BTreeMap<&ObjectId, Vec<&Change>>> {
        let files = self.files.iter();
        files
            .map(|(path, changes)| (path.as_str(), by_object(changes.iter())))
            .collect()
    }

    /// The changes of each object in all files: if it is in several, in the order of the files (IA-UPD-083).
    pub fn objects(&self) -> BTreeMap<&ObjectId, Vec<&Change>> {
        by_object(self.files.values().flatten())
    }

    /// The changes without repetitions, in the order of files, documents and lines, which upstream leaves to chance
    /// (IA-UPD-084, IA-MSG-010).
    pub fn distinct(&self) -> Vec<&Change> {
        let mut seen = HashSet::new();
        let all = self.files.values().flatten();
        all.map(|(_, change)| change)
            .filter(|change| seen.insert(*change))
            .collect()
    }
}

fn by_object<'c>(
    changes: impl Iterator<Item = &'c (ObjectId, Change)>,
) -> BTreeMap<&'c ObjectId, Vec<&'c Change>> {
    let mut objects: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (object, change) in changes {
        objects.entry(object).or_default().push(change);
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectId {
        ObjectId {
            name: name.into(),
            ..ObjectId::default()
        }
    }

    fn change(new: &str) -> Change {
        Change {
            new_value: new.into(),
            ..Change::default()
        }
    }

    #[test]
    fn changes_are_grouped_by_file_and_by_object() {
        let mut changes = Changes::default();
        changes.add("none.yaml", []);
        assert!(changes.is_empty());
        changes.add(
            "b.yaml",
            [(object("x"), change("3")), (object("y"), change("1"))],
        );
        changes.add(
            "a.yaml",
            [(object("y"), change("2")), (object("x"), change("1"))],
        );
        // IA-UPD-080
        let files = changes.files();
        assert_eq!(
            files.keys().copied().collect::<Vec<_>>(),
            ["a.yaml", "b.yaml"]
        );
        assert_eq!(files["a.yaml"][&object("x")], [&change("1")]);
        // IA-UPD-083
        assert_eq!(
            changes.objects()[&object("x")],
            [&change("1"), &change("3")]
        );
        // IA-UPD-084, IA-MSG-010
        assert_eq!(
            changes.distinct(),
            [&change("2"), &change("1"), &change("3")]
        );
    }

    #[test]
    fn objects_are_ordered_by_version_kind_name_and_namespace() {
        // IA-MSG-009
        let id = |parts: [&str; 4]| {
            let [api_version, kind, name, namespace] = parts.map(str::to_owned);
            ObjectId {
                api_version,
                kind,
                name,
                namespace,
            }
        };
        let sorted = [
            id(["", "b", "b", "b"]),
            id(["a", "a", "b", "b"]),
            id(["a", "b", "a", "b"]),
            id(["a", "b", "b", "a"]),
        ];
        assert!(sorted.is_sorted());
    }
}
