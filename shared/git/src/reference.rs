//! The reference that selects a commit of a repository.

/// The default branch (RT-GIT-001).
pub const DEFAULT_BRANCH: &str = "master";

/// The fields of `spec.ref`. Several may be set; [`Reference::strategy`] decides which one counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// A branch, without `refs/heads/`.
    pub branch: Option<String>,
    /// A tag, without `refs/tags/`.
    pub tag: Option<String>,
    /// A range of tags that are semantic versions.
    pub semver: Option<String>,
    /// A full reference such as `refs/pull/1/head`.
    pub name: Option<String>,
    /// A full commit hash.
    pub commit: Option<String>,
}

/// How a commit is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy<'a> {
    /// This commit; with a branch it must be in the branch's history. The revision is labelled by branch or name.
    Commit {
        /// The commit's hash.
        hash: &'a str,
        /// The branch.
        branch: Option<&'a str>,
        /// The label.
        name: Option<&'a str>,
    },
    /// The tip of a full reference.
    Name(&'a str),
    /// The commit that a tag points to.
    Tag(&'a str),
    /// The highest version among the tags.
    SemVer(&'a str),
    /// The tip of a branch.
    Branch(&'a str),
}

impl Reference {
    /// The first of commit, name, tag, semver and branch that is set; otherwise the branch `master` (SC-GIT-040,
    /// SC-GIT-041).
    pub fn strategy(&self) -> Strategy<'_> {
        fn set(field: Option<&String>) -> Option<&str> {
            field.map(String::as_str).filter(|text| !text.is_empty())
        }
        let branch = set(self.branch.as_ref());
        let name = set(self.name.as_ref());
        if let Some(hash) = set(self.commit.as_ref()) {
            return Strategy::Commit { hash, branch, name };
        }
        if let Some(name) = name {
            return Strategy::Name(name);
        }
        if let Some(tag) = set(self.tag.as_ref()) {
            return Strategy::Tag(tag);
        }
        if let Some(range) = set(self.semver.as_ref()) {
            return Strategy::SemVer(range);
        }
        Strategy::Branch(branch.unwrap_or(DEFAULT_BRANCH))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // RT-GIT-001, SC-GIT-040, SC-GIT-041 (each column: branch, tag, semver, name, commit)
    #[rstest]
    #[case([""; 5], Strategy::Branch("master"))]
    #[case(["b", "", "", "", ""], Strategy::Branch("b"))]
    #[case(["b", "", "s", "", ""], Strategy::SemVer("s"))]
    #[case(["b", "t", "s", "", ""], Strategy::Tag("t"))]
    #[case(["b", "t", "s", "n", ""], Strategy::Name("n"))]
    #[case(["b", "t", "s", "n", "c"], Strategy::Commit { hash: "c", branch: Some("b"), name: Some("n") })]
    #[case(["", "t", "s", "", "c"], Strategy::Commit { hash: "c", branch: None, name: None })]
    fn the_reference_with_the_highest_precedence_is_used(
        #[case] fields: [&str; 5],
        #[case] expected: Strategy<'_>,
    ) {
        let [branch, tag, semver, name, commit] = fields.map(|text| Some(text.to_owned()));
        let reference = Reference {
            branch,
            tag,
            semver,
            name,
            commit,
        };
        assert_eq!(reference.strategy(), expected);
    }
}
