//! Selects versions among the tags of a repository.

use crate::{Constraints, Version, VersionError};

/// Reads a tag as Flux does for Git, OCI and image tags: leniently, but only with three dot-separated parts
/// (IR-POL-075).
pub fn parse_tag(tag: &str) -> Result<Version, VersionError> {
    if tag.splitn(3, '.').count() != 3 {
        return Err(VersionError::Invalid);
    }
    Version::parse(tag)
}

/// The versions among `tags` that are in the range, highest first; those of equal precedence keep their order.
pub fn sort_descending<'a>(
    range: &Constraints,
    tags: impl IntoIterator<Item = &'a str>,
) -> Vec<Version> {
    let mut versions: Vec<Version> = in_range(range, tags).collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions
}

/// The highest version among `tags` that is in the range; of those with equal precedence the first.
pub fn latest<'a>(range: &Constraints, tags: impl IntoIterator<Item = &'a str>) -> Option<Version> {
    in_range(range, tags).reduce(|best, next| if next > best { next } else { best })
}

fn in_range<'a>(
    range: &Constraints,
    tags: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = Version> {
    tags.into_iter()
        .filter_map(|tag| parse_tag(tag).ok())
        .filter(|version| range.check(version))
}
