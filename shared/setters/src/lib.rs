//! Updates of marked values: `image: app:1.0 # {"$imagepolicy": "apps:app"}` gets the image that the policy `apps/app`
//! selected, in place. Only the bytes of the value change (ledger rows IA-UPD).
//!
//! ```
//! use flux_setters::{Image, Setters, update};
//!
//! let mut setters = Setters::default();
//! setters.add("apps", "app", &Image { name: "ghcr.io/app", tag: "1.1", digest: None });
//!
//! let file = "# web\nimage:   ghcr.io/app:1.0   # {\"$imagepolicy\": \"apps:app\"}\n";
//! let updated = update(file, &setters)?;
//! assert_eq!(updated.content.as_deref(), Some("# web\nimage:   ghcr.io/app:1.1   # {\"$imagepolicy\": \"apps:app\"}\n"));
//! assert_eq!(updated.changes[0].1.old_value, "ghcr.io/app:1.0");
//! # Ok::<(), flux_setters::Problem>(())
//! ```
//!
//! | step | here |
//! |---|---|
//! | which files are looked at | [`is_candidate`], [`is_marked`] |
//! | which text a marker stands for | [`Setters`] |
//! | one file | [`update`] |
//! | the changes of all files, by file and by object | [`Changes`] |
//!
//! Walking the files, checking that images are valid references, and writing the result are up to the caller.

#![forbid(unsafe_code)]

mod changes;
mod documents;
mod file;
mod marker;
mod setters;

pub use changes::{Change, Changes, ObjectId};
pub use file::{Problem, Skip, Skipped, Updated, update};
pub use setters::{Image, Setters};

/// What a file has to contain to be parsed at all, quotes included (IA-UPD-006).
const TOKEN: &str = "\"$imagepolicy\"";

/// Whether a file of this path is looked at: its extension is exactly `.yaml` or `.yml`, or its name `Kustomization`
/// (IA-UPD-004). Hidden files and folders are included (IA-UPD-005).
pub fn is_candidate(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    name.ends_with(b".yaml") || name.ends_with(b".yml") || name == b"Kustomization"
}

/// Whether a file has text of a marker, so that it is worth parsing (IA-UPD-006).
pub fn is_marked(content: &[u8]) -> bool {
    memchr::memmem::find(content, TOKEN.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_have_the_extensions_of_yaml() {
        // IA-UPD-004
        for (path, wanted) in [
            ("a.yaml", true),
            ("a/b.yml", true),
            ("Kustomization", true),
            ("a/Kustomization", true),
            ("kustomization", false),
            ("a.YAML", false),
            ("a.json", false),
            ("Kustomization.txt", false),
            ("a.yaml/b", false),
            // IA-UPD-005
            (".gitlab-ci.yml", true),
            (".github/workflows/x.yaml", true),
            (".yaml", true),
        ] {
            assert_eq!(is_candidate(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn only_files_with_the_quoted_key_are_marked() {
        // IA-UPD-006
        assert!(is_marked(b"a: b # {\"$imagepolicy\": \"x:y\"}"));
        assert!(!is_marked(b"a: b # {'$imagepolicy': 'x:y'}"));
        assert!(!is_marked(b"a: b # $imagepolicy"));
        // Helm templates that are no YAML are not parsed.
        assert!(!is_marked(
            b"{{- if .Values.x }}\nimage: {{ .Values.image }}"
        ));
    }
}
