//! Pushes of several parties to one branch: no commit is lost.

use std::path::Path;
use std::process::Command;

use git_servers::Repo;
use kind_tests::{IMAGE_UPDATE_AUTOMATION, Result, ensure};

use crate::world::World;

/// Has a commit of another writer arrive on the branch while the first push is under way. Returns the commit.
pub(crate) fn race(repo: &Repo, branch: &str) -> String {
    repo.branch("human", "main");
    let human = repo.commit("human").file("note.txt", "by hand\n").create();
    let script = format!(
        "[ -e raced ] && exit 0; touch raced\n\
         env -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY -u GIT_ALTERNATE_OBJECT_DIRECTORIES git update-ref refs/heads/{branch} human"
    );
    repo.hook("pre-receive", &script);
    human
}

#[tokio::test]
async fn a_commit_that_is_pushed_meanwhile_survives() -> Result {
    let world = World::start("ia-meanwhile").await?;
    let repo = world.repo("app.git");
    let human = race(&repo, "main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.pushed("auto", "").await?;
    // IA-GIT-115, IA-STATUS-038: within the same run
    ensure!(repo.rev_parse("main~1") == human, "{object}");
    let failed = world
        .events
        .events()
        .into_iter()
        .find(|event| event["severity"] == "error");
    ensure!(failed.is_none(), "{failed:?}");
    world
        .controller
        .log()
        .wait("of the second attempt", |line| {
            line["msg"] == "the branch has moved, starting over"
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_forced_push_does_not_drop_the_commit_of_another() -> Result {
    let world = World::start("ia-lease").await?;
    let repo = world.repo("app.git");
    repo.branch("out", "main");
    let human = race(&repo, "out");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "push: {branch: out}", "").await?;
    let object = world.pushed("auto", "").await?;
    // IA-GIT-080
    ensure!(repo.rev_parse("out~1") == human, "{object}");
    Ok(())
}

/// Runs git in a clone.
fn git(folder: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("git")
        .current_dir(folder)
        .args([
            "-c",
            "user.name=Human",
            "-c",
            "user.email=human@example.com",
        ])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output();
    output.is_ok_and(|output| output.status.success())
}

/// Pushes commits from a clone, as a person does: after a rejected push, pull and push again.
fn push_by_hand(repo: &Repo, folder: &Path, count: usize) -> bool {
    let from = repo.path().display().to_string();
    let clone = folder.join("clone");
    let path = clone.display().to_string();
    if !git(folder, &["clone", "-q", &from, &path]) {
        return false;
    }
    (0..count).all(|number| {
        let file = format!("note-{number}.txt");
        std::fs::write(clone.join(&file), "by hand\n").is_ok()
            && git(&clone, &["add", &file])
            && git(&clone, &["commit", "-q", "-m", &format!("human {number}")])
            && (0..50).any(|_| {
                git(&clone, &["push", "-q", "origin", "main"])
                    || !git(&clone, &["pull", "-q", "--rebase", "origin", "main"])
            })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn automations_and_a_person_push_to_one_branch() -> Result {
    let world = World::start("ia-crowd").await?;
    let repo = Repo::init(world.git.root(), "app.git");
    let names = ["one", "two", "three"];
    let line =
        |name: &str| format!("{name}: v0 # {{\"$imagepolicy\": \"NAMESPACE:{name}:tag\"}}\n");
    let mut commit = repo.commit("main");
    for name in names {
        commit = commit.file(&format!("{name}/a.yaml"), world.marked(&line(name)));
    }
    commit.create();
    world.source("app", "app.git", "").await?;
    for name in names {
        let labels = format!("{{name: {name}}}");
        let image = serde_json::json!({"name": "app", "tag": "v0"});
        world.labelled_policy(name, &labels, image).await?;
        let spec = format!(
            "update: {{path: ./{name}}}, policySelector: {{matchLabels: {{name: {name}}}}}"
        );
        world.automation(name, "", &spec).await?;
    }
    for name in names {
        world.ready(name).await?;
    }
    let folder = world.namespace.folder();
    std::fs::create_dir_all(&folder)?;
    let by_hand = {
        let repo = repo.clone();
        tokio::task::spawn_blocking(move || push_by_hand(&repo, &folder, 10))
    };
    let rounds = 3;
    for round in 1..=rounds {
        for name in names {
            let labels = format!("{{name: {name}}}");
            let image = serde_json::json!({"name": "app", "tag": format!("v{round}")});
            world.labelled_policy(name, &labels, image).await?;
        }
        for name in names {
            let wanted = format!("v{round}");
            world
                .namespace
                .wait(
                    IMAGE_UPDATE_AUTOMATION,
                    name,
                    "has written the image",
                    |object| object["status"]["observedPolicies"][name]["tag"] == wanted,
                )
                .await?;
        }
    }
    ensure!(by_hand.await?, "every push by hand succeeds in the end");
    // IA-STATUS-038, IA-STATUS-064, FR-N-094: a linear history with every commit of each
    let history = repo.git(&["log", "--format=%an %P", "main"]);
    let of = |author: &str| {
        history
            .lines()
            .filter(|line| line.starts_with(author))
            .count()
    };
    ensure!(of("Human ") == 10, "{history}");
    ensure!(of("Flux ") == names.len() * rounds, "{history}");
    ensure!(
        history.lines().all(|line| line.split(' ').count() <= 3),
        "{history}"
    );
    // The commits of each are in the order in which they were made.
    let by_hand = repo.git(&["log", "--reverse", "--author=Human", "--format=%s", "main"]);
    let wanted: Vec<_> = (0..10).map(|number| format!("human {number}")).collect();
    ensure!(by_hand == wanted.join("\n"), "{by_hand}");
    for name in names {
        let path = format!("{name}/a.yaml");
        let changes = repo.git(&["log", "--reverse", "--format=", "-p", "main", "--", &path]);
        let written: Vec<_> = changes
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("+{name}: ")))
            .map(|value| value.split(' ').next().unwrap_or_default())
            .collect();
        ensure!(written == ["v0", "v1", "v2", "v3"], "{written:?}");
    }
    for name in names {
        let text = crate::world::content(&repo, "main", &format!("{name}/a.yaml"));
        ensure!(text.starts_with(&format!("{name}: v{rounds} ")), "{text}");
    }
    ensure!(
        repo.git(&["fsck", "--no-dangling", "main"]).is_empty(),
        "fsck"
    );
    Ok(())
}
