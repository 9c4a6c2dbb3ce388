//! Versions and version constraints, read and compared as Masterminds/semver v3.5 does: the grammar behind Sprig's
//! `semverCompare`, Helm's dependency and `kubeVersion` ranges, and every `semver:` field of Flux.
//!
//! ```
//! use flux_semver::{Constraints, Version, latest};
//!
//! let range: Constraints = ">=1.2 <2 || ^3.x-0".parse()?;
//! assert!(range.check(&Version::parse("v1.4")?));
//! assert!(!range.check(&Version::parse("1.4.0-rc.1")?)); // that group does not ask for pre-releases
//! assert!(range.check(&Version::parse("3.1.0-rc.1")?));
//!
//! let tags = ["v1.10.0", "v1.9.0", "latest", "v2.0.0"];
//! assert_eq!(latest(&range, tags).map(|v| v.original().to_owned()), Some("v1.10.0".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a selected version means (a tag, a chart, an image) and which of several equal ones is used is up to the
//! caller.

#![forbid(unsafe_code)]

mod comparator;
mod constraints;
mod select;
mod version;

pub use constraints::{
    ConstraintError, Constraints, MAX_CONSTRAINT_GROUPS, MAX_CONSTRAINT_LEN, Mismatch,
};
pub use select::{latest, parse_tag, sort_descending};
pub use version::{MAX_VERSION_LEN, NumberFault, Version, VersionError};
