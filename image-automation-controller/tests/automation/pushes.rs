//! Where commits are pushed to, and how.

use git_servers::{HttpGitServer, Repo, SshGitServer, SshKey, sshd_available};
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::races::race;
use crate::world::{World, content, message};

fn pushed_commit(object: &Value) -> String {
    let commit = object["status"]["lastPushCommit"].as_str();
    commit.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn another_branch_is_created_and_continued() -> Result {
    let world = World::start("ia-branch").await?;
    let repo = world.repo("app.git");
    let main = repo.rev_parse("main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "push: {branch: out}", "").await?;
    let object = world.pushed("auto", "").await?;
    // IA-GIT-060, IA-GIT-074
    let first = repo.rev_parse("out");
    ensure!(
        repo.rev_parse("out~1") == main && repo.rev_parse("main") == main,
        "branches"
    );
    ensure!(pushed_commit(&object) == first, "{object}");
    // IA-STATUS-022
    ensure!(
        object["status"]["observedSourceRevision"] == format!("main@sha1:{main}"),
        "{object}"
    );

    // IA-STATUS-014, IA-STATUS-063: it is fetched although nothing has changed
    world.git.clear_requests();
    world.reconcile("auto").await?;
    ensure!(
        world
            .git
            .requests()
            .iter()
            .any(|request| request.says("command=fetch")),
        "it is fetched"
    );
    // IA-GIT-083
    ensure!(repo.rev_parse("out") == first, "nothing is pushed again");

    // IA-GIT-047, IA-GIT-111, FR-N-095: main moves on, and the branch is continued from its own head
    let moved = repo
        .commit("main")
        .file("new.yaml", "a: 1\n")
        .symlink("late.yaml", "new.yaml")
        .create();
    world.policy("app", "reg.io/app", "1.2.0").await?;
    let object = world.pushed("auto", &first).await?;
    ensure!(repo.rev_parse("out~1") == first, "history");
    ensure!(
        object["status"]["observedSourceRevision"] == format!("main@sha1:{moved}"),
        "{object}"
    );
    // IA-GIT-071, FR-N-091: what main has since is not in the commit
    let names = repo.git(&["ls-tree", "-r", "--name-only", "out"]);
    ensure!(names == "apps/deploy.yaml", "{names}");
    // IA-GIT-116
    repo.commit("out")
        .remove("apps")
        .file("b.yaml", "x: 1\n")
        .create();
    for _ in 0..2 {
        world.reconcile("auto").await?;
        world.ready("auto").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_state_of_another_branch_can_be_ignored() -> Result {
    let settings = Settings::default().flag("--feature-gates=GitAllBranchReferences=false");
    let world = World::start_with("ia-over", settings, HttpGitServer::builder()).await?;
    let repo = world.repo("app.git");
    repo.commit("out").file("old.yaml", "a: 1\n").create();
    let main = repo.rev_parse("main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "push: {branch: out}", "").await?;
    world.pushed("auto", "").await?;
    // IA-GIT-047, IA-GIT-080
    ensure!(repo.rev_parse("out~1") == main, "the branch is overwritten");
    Ok(())
}

#[tokio::test]
async fn without_the_gate_a_stale_branch_is_not_overwritten() -> Result {
    let settings = Settings::default()
        .flag("--feature-gates=GitAllBranchReferences=false,GitForcePushBranch=false");
    let world = World::start_with("ia-stale", settings, HttpGitServer::builder()).await?;
    let repo = world.repo("app.git");
    let stale = repo
        .commit("out")
        .orphan()
        .file("old.yaml", "a: 1\n")
        .create();
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "push: {branch: out}", "").await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    // IA-GIT-081, IA-GIT-082
    ensure!(
        message(&object)
            == "failed to update source: failed to push to remote: non-fast-forward update: refs/heads/out",
        "{object}"
    );
    ensure!(repo.rev_parse("out") == stale, "it is not overwritten");
    repo.delete_branch("out");
    world.reconcile("auto").await?;
    world.pushed("auto", "").await?;
    Ok(())
}

#[tokio::test]
async fn a_refspec_and_options_are_pushed_too() -> Result {
    let world = World::start("ia-refspec").await?;
    let repo = world.repo("app.git");
    repo.git(&["config", "receive.advertisePushOptions", "true"]);
    repo.hook(
        "pre-receive",
        "cat >> pushed; env | grep ^GIT_PUSH_OPTION | sort >> pushed",
    );
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    let push =
        "push: {refspec: 'refs/heads/main:refs/for/main', options: {ci.skip: '', topic: images}}";
    world.automation("auto", push, "").await?;
    let object = world.pushed("auto", "").await?;
    let head = repo.rev_parse("main");
    // IA-GIT-075, IA-GIT-076, IA-GIT-085
    ensure!(repo.rev_parse("refs/for/main") == head, "{object}");
    // IA-GIT-078
    let pushed = std::fs::read_to_string(repo.path().join("pushed"))?;
    ensure!(
        pushed.matches("GIT_PUSH_OPTION_0=ci.skip=\n").count() == 2
            && pushed.matches("GIT_PUSH_OPTION_1=topic=images\n").count() == 2,
        "{pushed}"
    );
    // IA-STATUS-034
    let summary = format!(
        "pushed commit '{}' to branch 'main' and refspecs 'refs/heads/main:refs/for/main'\nUpdate",
        &head[..7]
    );
    world.recorded("auto", "Normal", &summary).await?;

    // IA-GIT-079
    repo.git(&["config", "receive.advertisePushOptions", "false"]);
    world.policy("app", "reg.io/app", "1.2.0").await?;
    let object = world.pushed("auto", &head).await?;
    let head = pushed_commit(&object);

    // IA-GIT-077: the branch once more
    world
        .change(
            "auto",
            json!({"git": {"push": {"refspec": "refs/heads/main:refs/heads/main"}}}),
        )
        .await?;
    world.policy("app", "reg.io/app", "1.3.0").await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    ensure!(
        message(&object) == "failed to update source: failed to push to remote: already up-to-date",
        "{object}"
    );
    // IA-GIT-084: the first push stands
    ensure!(repo.rev_parse("main~1") == head, "history");
    Ok(())
}

#[tokio::test]
async fn a_refspec_that_forces_is_refused_before_any_push() -> Result {
    let world = World::start("ia-force").await?;
    let repo = world.repo("app.git");
    let before = repo.rev_parse("main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    // The pattern of the definition does not know a leading blank.
    world
        .automation(
            "auto",
            "push: {refspec: ' +refs/heads/main:refs/heads/prod'}",
            "",
        )
        .await?;
    let object = world.failed("auto", "InvalidSourceConfiguration").await?;
    // IA-GIT-114, FR-N-110
    ensure!(
        message(&object).ends_with(": invalid source configuration"),
        "{object}"
    );
    ensure!(repo.rev_parse("main") == before, "nothing is pushed");
    ensure!(world.git.requests().is_empty(), "nothing is sent");
    Ok(())
}

#[tokio::test]
async fn a_refused_push_is_reported_with_the_words_of_the_server() -> Result {
    let world = World::start("ia-protected").await?;
    let repo = world.repo("app.git");
    let before = repo.rev_parse("main");
    repo.hook(
        "update",
        "echo 'GitLab: You are not allowed to push to this branch' >&2; exit 1",
    );
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    // IA-GIT-082, IA-STATUS-021, FR-N-093
    let text = message(&object);
    ensure!(
        text.starts_with(
            "failed to update source: failed to push to remote: command error on refs/heads/main: "
        ) && text.contains("You are not allowed to push to this branch"),
        "{object}"
    );
    ensure!(object["status"].get("lastPushCommit").is_none(), "{object}");
    ensure!(repo.rev_parse("main") == before, "nothing is pushed");
    repo.hook("update", "exit 0");
    world.reconcile("auto").await?;
    // IA-STATUS-029
    world.pushed("auto", "").await?;
    ensure!(repo.rev_parse("main~1") == before, "one commit");

    // A branch that is protected for the server as a whole: the next run by itself succeeds after the protection is gone.
    repo.hook(
        "pre-receive",
        "echo 'main is frozen until Monday' >&2; exit 1",
    );
    let before = repo.rev_parse("main");
    world.policy("app", "reg.io/app", "1.2.0").await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    ensure!(
        message(&object).ends_with(
            "command error on refs/heads/main: pre-receive hook declined: main is frozen until Monday"
        ),
        "{object}"
    );
    let retried = kind_tests::condition(&object, "Reconciling");
    ensure!(
        retried.is_some_and(|it| it["reason"] == "ProgressingWithRetry"),
        "{object}"
    );
    ensure!(repo.rev_parse("main") == before, "nothing is pushed");
    repo.hook("pre-receive", "exit 0");
    world.pushed("auto", &before).await?;
    ensure!(repo.rev_parse("main~1") == before, "one commit");
    Ok(())
}

#[tokio::test]
async fn a_push_branch_equal_to_the_checkout_branch_keeps_the_commits_of_others() -> Result {
    let world = World::start("ia-same-branch").await?;
    let repo = world.repo("app.git");
    let human = race(&repo, "main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    let git = "checkout: {ref: {branch: main}}, push: {branch: main}";
    world.automation("auto", git, "").await?;
    world.pushed("auto", "").await?;
    // FR-N-098
    ensure!(repo.rev_parse("main~1") == human, "history");
    Ok(())
}

#[tokio::test]
async fn credentials_are_used_and_never_shown() -> Result {
    let git = HttpGitServer::builder().basic_auth("flux", "s3cret-word");
    let world = World::start_with("ia-login", Settings::default(), git).await?;
    let repo = world.repo("app.git");
    let secret = |password: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: login}}, stringData: {{username: flux, password: {password}}}}}"
        )
    };
    world
        .source("app", "app.git", "secretRef: {name: login}")
        .await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    // IA-GIT-013
    let object = world.failed("auto", "SourceManagerFailed").await?;
    let missing = format!(
        "failed configuring source manager: failed to get auth secret '{}/login': secrets \"login\" not found",
        world.namespace.name()
    );
    ensure!(message(&object) == missing, "{object}");
    world.namespace.apply(&secret("wrong-s3cret")).await?;
    world.reconcile("auto").await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    ensure!(
        message(&object).starts_with("failed to checkout source: unable to clone"),
        "{object}"
    );
    world.namespace.apply(&secret("s3cret-word")).await?;
    world.reconcile("auto").await?;
    // IA-GIT-021, IA-GIT-026, IA-GIT-012
    world.pushed("auto", "").await?;
    let all = format!(
        "{:?}{:?}{}{}",
        world.events.events(),
        world.controller.log().lines(),
        object,
        repo.git(&["cat-file", "commit", "main"])
    );
    // IA-GIT-113
    ensure!(!all.contains("s3cret"), "a password is shown");
    Ok(())
}

#[tokio::test]
async fn commits_are_pushed_over_ssh() -> Result {
    if !sshd_available() {
        eprintln!("skipped: sshd is not installed");
        return Ok(());
    }
    let settings = Settings::default()
        .flag("--ssh-kex-algos=diffie-hellman-group16-sha512")
        .flag("--ssh-hostkey-algos=rsa-sha2-256");
    let world = World::start_with("ia-ssh", settings, HttpGitServer::builder()).await?;
    let key = SshKey::ed25519();
    let server = SshGitServer::builder()
        .authorize(&key.public())
        .host_key(SshKey::ed25519())
        .host_key(SshKey::generate(&["-t", "rsa", "-b", "2048"], ""))
        .start();
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main")
        .file("deploy.yaml", world.marked(crate::world::DEPLOYMENT))
        .create();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"},
        "stringData": {"identity": key.private(), "known_hosts": server.known_hosts()},
    });
    world.namespace.apply(&secret.to_string()).await?;
    world
        .source("app", &server.url("app.git"), "secretRef: {name: key}")
        .await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    // IA-GIT-020, IA-GIT-027, IA-GIT-028
    let object = world.pushed("auto", "").await?;
    ensure!(pushed_commit(&object) == repo.rev_parse("main"), "{object}");
    ensure!(
        content(&repo, "main", "deploy.yaml").contains("reg.io/app:1.1.0 "),
        "content"
    );
    // IA-GIT-029
    let log = server.log();
    for line in [
        "kex: algorithm: diffie-hellman-group16-sha512",
        "kex: host key algorithm: rsa-sha2-256",
    ] {
        ensure!(log.contains(line), "{log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_sparse_checkout_keeps_the_rest_of_the_tree() -> Result {
    let settings = Settings::default().flag("--feature-gates=GitSparseCheckout=true");
    let world = World::start_with("ia-sparse", settings, HttpGitServer::builder()).await?;
    let repo = world.repo("app.git");
    repo.commit("main")
        .file("other/x.yaml", world.marked(crate::world::DEPLOYMENT))
        .create();
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world
        .automation("auto", "", "update: {path: ./apps/}")
        .await?;
    world.pushed("auto", "").await?;
    // IA-GIT-048, IA-PROC-022
    let names = repo.git(&["diff", "--name-only", "main~1", "main"]);
    ensure!(names == "apps/deploy.yaml", "{names}");
    let names = repo.git(&["ls-tree", "-r", "--name-only", "main"]);
    ensure!(names == "apps/deploy.yaml\nother/x.yaml", "{names}");
    Ok(())
}

#[tokio::test]
async fn a_full_clone_is_made_without_the_gate() -> Result {
    let world = World::start("ia-shallow").await?;
    world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    world.pushed("auto", "").await?;
    // IA-GIT-045
    let deepens = |world: &World| {
        world
            .git
            .requests()
            .iter()
            .any(|request| request.says("deepen 1"))
    };
    ensure!(deepens(&world), "the clone is shallow");
    let settings = Settings::default().flag("--feature-gates=GitShallowClone=false");
    let full = World::start_with("ia-full", settings, HttpGitServer::builder()).await?;
    full.repo("app.git");
    full.source("app", "app.git", "").await?;
    full.policy("app", "reg.io/app", "1.1.0").await?;
    full.automation("auto", "", "").await?;
    full.pushed("auto", "").await?;
    // IA-PROC-020
    ensure!(!deepens(&full), "the clone has the whole history");
    Ok(())
}
