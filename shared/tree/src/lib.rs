//! A file tree in memory: the value that flows between the engines.
//!
//! ```
//! use flux_tree::{Tree, TreePath};
//!
//! let mut tree = Tree::new();
//! tree.insert_file(TreePath::new("apps/web.yaml").unwrap(), "kind: Service\n", false).unwrap();
//! let dir = TreePath::new("apps").unwrap();
//! assert_eq!(tree.read(&dir.join("./web.yaml").unwrap()).unwrap(), "kind: Service\n");
//! assert!(dir.join("../../etc/passwd").is_err());
//! ```
//!
//! A tree holds files (content shared, never copied), symbolic links and the directories that they imply. Nothing here
//! touches a disk: reading archives and folders into a tree is `flux-artifact`'s work, deciding what belongs in one is
//! `flux-ignore`'s.

#![forbid(unsafe_code)]

mod name;
mod path;
mod tree;

pub use name::{name_bytes, name_text};
pub use path::{PathError, TreePath};
pub use tree::{ENTRY_BYTES, Entry, File, InsertError, ResolveError, Tree};
