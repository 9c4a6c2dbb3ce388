//! Decides whether an artifact is outdated for other reasons than a new revision.

use flux_api::meta::Artifact;
use flux_api::source::{GitRepositorySpec, GitRepositoryStatus, GitVerificationMode};

use super::verify::{verification_mode, verifies_head, verifies_tag};

/// Whether the spec differs from the inputs of the stored artifact (SC-GIT-065). `included` are the artifacts to include,
/// in the order of `spec.include`.
pub(super) fn content_changed(
    spec: &GitRepositorySpec,
    status: &GitRepositoryStatus,
    included: &[Artifact],
) -> bool {
    spec.ignore != status.observed_ignore
        || spec.recurse_submodules != status.observed_recurse_submodules
        || spec.sparse_checkout != status.observed_sparse_checkout
        || spec.include != status.observed_include
        || spec.include.len() != included.len()
        || included.len() != status.included_artifacts.len()
        || included
            .iter()
            .zip(&status.included_artifacts)
            .any(|(now, before)| now.revision != before.revision || now.digest != before.digest)
        || verification_due(spec, status)
}

/// Whether a signature has to be verified although nothing has changed (SC-VER-013).
pub(super) fn verification_due(spec: &GitRepositorySpec, status: &GitRepositoryStatus) -> bool {
    let Some(mode) = verification_mode(spec) else {
        return false;
    };
    match (&status.source_verification_mode, mode) {
        (None, _) => true,
        (Some(GitVerificationMode::Tag), mode) => verifies_head(&mode),
        (Some(GitVerificationMode::Head), mode) => verifies_tag(&mode),
        (Some(_), _) => false,
    }
}

/// Whether the set of included artifacts has changed: their number, or a revision that is not among the old ones
/// (SC-GIT-096).
pub(super) fn includes_differ(now: &[Artifact], before: &[Artifact]) -> bool {
    let known = |artifact: &Artifact| before.iter().any(|old| old.revision == artifact.revision);
    now.len() != before.len() || !now.iter().all(known)
}

#[cfg(test)]
mod tests {
    use flux_api::meta::LocalObjectReference;
    use flux_api::source::{GitRepositoryInclude, GitRepositoryVerification};
    use rstest::rstest;

    use super::*;

    fn artifact(revision: &str, digest: &str) -> Artifact {
        Artifact {
            revision: revision.into(),
            digest: digest.into(),
            ..Artifact::default()
        }
    }

    fn include(name: &str, from: &str) -> GitRepositoryInclude {
        GitRepositoryInclude {
            from_path: Some(from.into()),
            repository: LocalObjectReference { name: name.into() },
            to_path: None,
        }
    }

    /// A spec with the status after a run of it.
    fn settled() -> (GitRepositorySpec, GitRepositoryStatus, Vec<Artifact>) {
        let spec = GitRepositorySpec {
            ignore: Some("*.md".into()),
            recurse_submodules: true,
            sparse_checkout: vec!["a".into(), "b".into()],
            include: vec![include("one", "x"), include("two", "y")],
            ..GitRepositorySpec::default()
        };
        let included = vec![artifact("r1", "d1"), artifact("r2", "d2")];
        let status = GitRepositoryStatus {
            observed_ignore: spec.ignore.clone(),
            observed_recurse_submodules: true,
            observed_sparse_checkout: spec.sparse_checkout.clone(),
            observed_include: spec.include.clone(),
            included_artifacts: included.clone(),
            ..GitRepositoryStatus::default()
        };
        (spec, status, included)
    }

    type Change = fn(&mut GitRepositorySpec, &mut Vec<Artifact>);

    // SC-GIT-065, SC-ART-079, SC-GIT-067
    #[test]
    fn relevant_spec_changes_rebuild_the_artifact() {
        let cases: &[(&str, Change, bool)] = &[
            ("nothing", |_, _| {}, false),
            (
                "url_and_reference",
                |spec, _| spec.url = "other".into(),
                false,
            ),
            ("ignore", |spec, _| spec.ignore = Some("*.txt".into()), true),
            ("ignore_gone", |spec, _| spec.ignore = None, true),
            (
                "ignore_empty",
                |spec, _| spec.ignore = Some(String::new()),
                true,
            ),
            (
                "submodules",
                |spec, _| spec.recurse_submodules = false,
                true,
            ),
            (
                "sparse_order",
                |spec, _| spec.sparse_checkout.reverse(),
                true,
            ),
            (
                "sparse_letters",
                |spec, _| spec.sparse_checkout[0] = "A".into(),
                true,
            ),
            (
                "sparse_fewer",
                |spec, _| {
                    spec.sparse_checkout.pop();
                },
                true,
            ),
            ("include_order", |spec, _| spec.include.reverse(), true),
            (
                "include_path",
                |spec, _| spec.include[0].from_path = Some("z".into()),
                true,
            ),
            (
                "include_target",
                |spec, _| spec.include[0].to_path = Some("z".into()),
                true,
            ),
            (
                "include_fewer",
                |spec, included| {
                    spec.include.pop();
                    included.pop();
                },
                true,
            ),
            (
                "included_revision",
                |_, included| included[1].revision = "r3".into(),
                true,
            ),
            (
                "included_digest",
                |_, included| included[1].digest = "d3".into(),
                true,
            ),
            ("included_order", |_, included| included.reverse(), true),
        ];
        for (name, change, want) in cases {
            let (mut spec, status, mut included) = settled();
            change(&mut spec, &mut included);
            assert_eq!(content_changed(&spec, &status, &included), *want, "{name}");
        }
    }

    // SC-ART-079: an empty text differs from an absent one
    #[test]
    fn an_empty_ignore_is_a_change() {
        let spec = GitRepositorySpec {
            ignore: Some(String::new()),
            ..GitRepositorySpec::default()
        };
        assert!(content_changed(&spec, &GitRepositoryStatus::default(), &[]));
    }

    // SC-VER-001, SC-VER-002, SC-VER-013
    #[rstest]
    #[case(None, None, false)]
    #[case(None, Some("HEAD"), false)]
    #[case(Some(""), None, false)]
    #[case(Some("HEAD"), None, true)]
    #[case(Some("head"), None, true)]
    #[case(Some("HEAD"), Some("HEAD"), false)]
    #[case(Some("head"), Some("HEAD"), false)]
    #[case(Some("Tag"), Some("HEAD"), true)]
    #[case(Some("TagAndHEAD"), Some("HEAD"), true)]
    #[case(Some("HEAD"), Some("Tag"), true)]
    #[case(Some("TagAndHEAD"), Some("Tag"), true)]
    #[case(Some("Tag"), Some("Tag"), false)]
    #[case(Some("HEAD"), Some("TagAndHEAD"), false)]
    #[case(Some("Tag"), Some("TagAndHEAD"), false)]
    fn signatures_are_verified_again_after_a_mode_change(
        #[case] mode: Option<&str>,
        #[case] observed: Option<&str>,
        #[case] want: bool,
    ) {
        let verify = mode.map(|mode| GitRepositoryVerification {
            mode: Some(mode.into()),
            secret_ref: LocalObjectReference::default(),
        });
        let spec = GitRepositorySpec {
            verify,
            ..GitRepositorySpec::default()
        };
        let status = GitRepositoryStatus {
            source_verification_mode: observed.map(Into::into),
            ..GitRepositoryStatus::default()
        };
        assert_eq!(verification_due(&spec, &status), want);
        assert_eq!(content_changed(&spec, &status, &[]), want);
    }

    // SC-GIT-096
    #[rstest]
    #[case(&[], &[], false)]
    #[case(&["a"], &[], true)]
    #[case(&["a"], &["a"], false)]
    #[case(&["a", "b"], &["b", "a"], false)]
    #[case(&["a", "c"], &["a", "b"], true)]
    #[case(&["a"], &["a", "b"], true)]
    fn included_artifacts_are_compared_by_revision_and_digest(
        #[case] now: &[&str],
        #[case] before: &[&str],
        #[case] want: bool,
    ) {
        let set = |revisions: &[&str]| {
            revisions
                .iter()
                .map(|revision| artifact(revision, ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(includes_differ(&set(now), &set(before)), want);
    }
}
