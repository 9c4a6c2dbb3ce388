//! Flux's ignore rules, in gitignore syntax: which files of a source are excluded from its artifact.
//!
//! ```
//! use flux_ignore::{Filter, Patterns};
//!
//! let mut patterns = Patterns::new();
//! patterns.read("apps", "*.md\n!keep.md\n").unwrap(); // apps/.sourceignore
//! let filter = Filter::for_source(patterns);
//! assert!(filter.excludes("apps/web/README.md", false)?);
//! assert!(!filter.excludes("apps/web/keep.md", false)?);
//! assert!(!filter.excludes("README.md", false)?); // out of the scope of apps/.sourceignore
//! assert!(filter.excludes(".git", true)?); // always
//! # Ok::<(), flux_ignore::IgnoreError>(())
//! ```
//!
//! The rules are those of upstream's matcher, which differ from git's own: excluding a folder excludes only its own
//! entry, so a pattern can include a file again below it (SC-ART-066), and `**` is special only as a whole segment
//! (SC-ART-076). Paths are bytes, because Git's are.
//!
//! Reading files from disk, archives or Git is up to the caller, which passes the text of each `.sourceignore` with its
//! folder, folders in walk order, then `spec.ignore` with the root as its scope.

#![forbid(unsafe_code)]

mod filter;
mod pattern;
mod steps;

pub use filter::{
    Filter, IGNORE_FILE, IgnoreError, MAX_PATTERNS, MAX_STEPS, MAX_TEXT, Patterns, keep,
};
