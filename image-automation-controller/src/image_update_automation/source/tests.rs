//! Decisions on branches, refspecs and sparse paths.

use flux_api::image::{GitCheckout, GitPush, ImageUpdateAutomationSpec, UpdateStrategy};
use flux_api::source::GitRepositorySpec;
use flux_runtime::watch::Cache;
use rstest::rstest;

use super::*;

const GATES: Gates = Gates {
    force_push: true,
    shallow: true,
    all_branches: true,
    sparse: true,
};

fn branch(name: &str) -> GitRepositoryRef {
    GitRepositoryRef {
        branch: Some(name.into()),
        ..GitRepositoryRef::default()
    }
}

fn git(checkout: Option<GitRepositoryRef>, push: Option<GitPush>) -> GitSpec {
    GitSpec {
        checkout: checkout.map(|reference| GitCheckout { reference }),
        push,
        ..GitSpec::default()
    }
}

fn to(branch: &str) -> GitPush {
    GitPush {
        branch: Some(branch.into()),
        ..GitPush::default()
    }
}

/// The plan for an automation and a source with these fields.
async fn planned(git: Option<GitSpec>, source: GitRepositorySpec) -> Result<Plan, StepError> {
    let mut repository = GitRepository::new("repo", source);
    repository.metadata.namespace = Some("ns".into());
    repository.metadata.resource_version = Some("1".into());
    let sources = Cache::default();
    sources.upsert(repository);
    let mut spec = ImageUpdateAutomationSpec {
        git,
        ..ImageUpdateAutomationSpec::default()
    };
    spec.source_ref.kind = AutomationSourceKind::GitRepository;
    spec.source_ref.name = "repo".into();
    let mut automation = ImageUpdateAutomation::new("auto", spec);
    automation.metadata.namespace = Some("ns".into());
    plan(&automation, &Reader::Cached(sources), Access::default()).await
}

fn text(error: &StepError) -> String {
    flux_runtime::outcome::chain(error)
}

#[tokio::test]
async fn the_reference_and_the_branch_come_from_both_specs() {
    let of_source = |reference| GitRepositorySpec {
        reference,
        ..GitRepositorySpec::default()
    };
    let tag = GitRepositoryRef {
        tag: Some("v1".into()),
        ..GitRepositoryRef::default()
    };
    let name = GitRepositoryRef {
        name: Some("refs/heads/main".into()),
        ..GitRepositoryRef::default()
    };
    for (git, source, checked_out, pushed, switches) in [
        // IA-GIT-006
        (
            git(Some(branch("dev")), None),
            Some(branch("main")),
            Some("dev"),
            "dev",
            false,
        ),
        // IA-GIT-007
        (
            git(None, None),
            Some(branch("main")),
            Some("main"),
            "main",
            false,
        ),
        (
            git(None, Some(to("out"))),
            Some(branch("main")),
            Some("main"),
            "out",
            true,
        ),
        // IA-GIT-008, FR-N-098: no switch to the same branch, and none to the default one without a reference
        (
            git(None, Some(to("main"))),
            Some(branch("main")),
            Some("main"),
            "main",
            false,
        ),
        (git(None, Some(to("master"))), None, None, "master", false),
        (git(None, Some(to("main"))), None, None, "main", true),
        // IA-GIT-009
        (git(None, Some(to("main"))), Some(name), None, "main", true),
        (git(Some(tag), Some(to("main"))), None, None, "main", true),
    ] {
        let plan = planned(Some(git), of_source(source)).await.unwrap();
        assert_eq!(plan.reference.branch.as_deref(), checked_out);
        assert_eq!((plan.branch.as_str(), plan.switches), (pushed, switches));
    }
}

#[tokio::test]
async fn a_plan_without_a_branch_fails() {
    let empty = Some(GitRepositoryRef::default());
    for (git, source) in [
        (git(None, None), None),
        (git(empty.clone(), None), Some(branch("main"))),
        (git(None, Some(to(""))), None),
        (git(None, None), empty),
    ] {
        let source = GitRepositorySpec {
            reference: source,
            ..GitRepositorySpec::default()
        };
        let error = planned(Some(git), source).await.unwrap_err();
        // IA-GIT-007
        assert_eq!(
            text(&error),
            "failed configuring source manager: push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref"
        );
    }
    // IA-GIT-002
    let error = planned(None, GitRepositorySpec::default())
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        "source kind 'GitRepository' necessitates field .spec.git: invalid source configuration"
    );
}

#[tokio::test]
async fn timeouts_come_from_the_source() {
    let of = async |timeout: Option<&str>| {
        let source = GitRepositorySpec {
            timeout: timeout.map(|timeout| timeout.parse().unwrap()),
            reference: Some(branch("main")),
            ..GitRepositorySpec::default()
        };
        planned(Some(git(None, None)), source)
            .await
            .unwrap()
            .timeout
    };
    // IA-GIT-005
    assert_eq!(of(Some("7s")).await, Duration::from_secs(7));
    assert_eq!(of(None).await, Duration::from_mins(1));
}

#[rstest]
// IA-GIT-114, FR-N-110
#[case("+refs/heads/a:refs/heads/b", false)]
#[case(":refs/heads/prod", false)]
#[case(" +a:b", false)]
#[case("^main", false)]
#[case("refs/heads/a:refs/for/main", true)]
fn a_refspec_neither_forces_nor_deletes(#[case] refspec: &str, #[case] allowed: bool) {
    let found = check_refspec(refspec);
    assert_eq!(found.is_ok(), allowed);
    if let Err(error) = found {
        assert!(text(&error).ends_with(": invalid source configuration"));
    }
}

#[tokio::test]
async fn a_push_is_forced_only_to_another_branch() {
    let source = || GitRepositorySpec {
        reference: Some(branch("main")),
        ..GitRepositorySpec::default()
    };
    let refspec = |push: Option<GitPush>| {
        let mut push = push.unwrap_or_default();
        push.refspec = Some("refs/heads/a:refs/for/main".into());
        Some(push)
    };
    let plan = planned(Some(git(None, refspec(None))), source())
        .await
        .unwrap();
    // IA-GIT-080, IA-GIT-076
    assert!(matches!(plan.push(GATES).force, Force::Never));
    let second = plan.push_refspec(GATES).unwrap().unwrap();
    assert!(matches!(second.force, Force::Never));
    assert_eq!(second.refspecs.len(), 1);

    let plan = planned(Some(git(None, refspec(Some(to("out"))))), source())
        .await
        .unwrap();
    assert!(matches!(plan.push(GATES).force, Force::IfUnmoved));
    let second = plan.push_refspec(GATES).unwrap().unwrap();
    assert!(matches!(second.force, Force::Always));
    let without = Gates {
        force_push: false,
        ..GATES
    };
    // IA-GIT-081
    assert!(matches!(plan.push(without).force, Force::Never));
    assert!(matches!(
        plan.push_refspec(without).unwrap().unwrap().force,
        Force::Never
    ));
    // IA-GIT-047
    let alone = Gates {
        all_branches: false,
        ..GATES
    };
    assert!(matches!(plan.push(alone).force, Force::Always));
    assert!(plan.follows_branch(GATES) && !plan.follows_branch(alone));
    assert!(plan.switch(GATES).unwrap().use_remote && !plan.switch(alone).unwrap().use_remote);
}

#[rstest]
// IA-GIT-048
#[case(Some("./apps/"), &["apps"])]
#[case(Some("./"), &[])]
#[case(Some("a/../b"), &["b"])]
#[case(Some(""), &[])]
#[case(None, &[])]
fn the_cleaned_path_is_checked_out(#[case] path: Option<&str>, #[case] paths: &[&str]) {
    let spec = ImageUpdateAutomationSpec {
        update: Some(UpdateStrategy {
            path: path.map(Into::into),
            ..UpdateStrategy::default()
        }),
        ..ImageUpdateAutomationSpec::default()
    };
    let automation = ImageUpdateAutomation::new("auto", spec);
    assert_eq!(sparse(&automation, GATES), paths);
    let off = Gates {
        sparse: false,
        ..GATES
    };
    assert!(sparse(&automation, off).is_empty());
}
