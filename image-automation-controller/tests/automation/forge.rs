//! Pushes to a real Git forge: Gitea, over HTTP and SSH, with its protected branches, pull requests and checks of signatures.

use git_servers::{HttpGitServer, PgpKey, SshKey, gpg_available};
use kind_tests::controller::Settings;
use kind_tests::{Gitea, Result, ensure};
use serde_json::{Value, json};

use crate::world::{DEPLOYMENT, World, message};

/// A forge with a repository `app` that has a marked Deployment.
async fn start(topic: &str) -> Result<(World, Gitea)> {
    let forge = Gitea::start().await?;
    let world = World::start_with(topic, Settings::default(), HttpGitServer::builder()).await?;
    forge.create("app").await?;
    forge
        .commit("app", "main", "apps/deploy.yaml", &world.marked(DEPLOYMENT))
        .await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "forge"},
        "stringData": {"username": "flux", "password": forge.token()},
    });
    world.namespace.apply(&secret.to_string()).await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    Ok((world, forge))
}

/// The commit at the head of a branch.
async fn head(forge: &Gitea, branch: &str) -> Result<Value> {
    let call = format!("GET /repos/flux/app/branches/{branch}");
    Ok(forge.api(&call, &Value::Null).await?["commit"].clone())
}

#[tokio::test]
async fn a_protected_branch_is_reported_and_a_pull_request_is_the_way() -> Result {
    let (world, forge) = start("ia-forge").await?;
    world
        .source("app", &forge.git_url("app"), "secretRef: {name: forge}")
        .await?;
    world.automation("auto", "", "").await?;
    let object = world.pushed("auto", "").await?;
    // IA-GIT-021, IA-GIT-026, IA-GIT-074
    let main = head(&forge, "main").await?;
    ensure!(object["status"]["lastPushCommit"] == main["id"], "{object}");
    ensure!(main["author"]["email"] == "flux@example.com", "{main}");
    let content = forge.content("app", "apps/deploy.yaml", "main").await?;
    ensure!(content.contains("reg.io/app:1.1.0   #"), "{content}");

    let rule = json!({"rule_name": "main", "enable_push": false});
    forge
        .api("POST /repos/flux/app/branch_protections", &rule)
        .await?;
    world.policy("app", "reg.io/app", "1.2.0").await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    // IA-GIT-082: with the words of the server
    let text = "failed to update source: failed to push to remote: command error on refs/heads/main: pre-receive hook declined: ";
    ensure!(
        message(&object).starts_with(text) && message(&object).contains("protected branch main"),
        "{object}"
    );
    ensure!(
        head(&forge, "main").await?["id"] == main["id"],
        "nothing is pushed"
    );

    // IA-GIT-060: a branch of its own may be pushed to, and is what a pull request is made of
    world
        .change("auto", json!({"git": {"push": {"branch": "images"}}}))
        .await?;
    let before = main["id"].as_str().unwrap_or_default();
    let object = world.pushed("auto", before).await?;
    let images = head(&forge, "images").await?;
    ensure!(
        object["status"]["lastPushCommit"] == images["id"],
        "{object}"
    );
    let pull = json!({"title": "Update images", "head": "images", "base": "main"});
    let pull = forge.api("POST /repos/flux/app/pulls", &pull).await?;
    ensure!(
        pull["head"]["sha"] == images["id"] && pull["changed_files"] == 1,
        "{pull}"
    );
    let content = forge.content("app", "apps/deploy.yaml", "images").await?;
    ensure!(content.contains("reg.io/app:1.2.0   #"), "{content}");

    // The next images continue the pull request.
    world.policy("app", "reg.io/app", "1.3.0").await?;
    let before = images["id"].as_str().unwrap_or_default();
    let object = world.pushed("auto", before).await?;
    let call = format!("GET /repos/flux/app/pulls/{}", pull["number"]);
    let head = forge
        .wait("the pull request has the new commit", &call, |pull| {
            let head = &pull["head"]["sha"];
            (*head == object["status"]["lastPushCommit"]).then(|| head.clone())
        })
        .await?;
    ensure!(head != images["id"], "{head}");
    Ok(())
}

#[tokio::test]
async fn a_push_for_review_opens_a_pull_request() -> Result {
    let (world, forge) = start("ia-agit").await?;
    world
        .source("app", &forge.git_url("app"), "secretRef: {name: forge}")
        .await?;
    let push = "push: {branch: images, refspec: 'refs/heads/images:refs/for/main', \
                options: {topic: images, title: New images}}";
    world.automation("auto", push, "").await?;
    let object = world.pushed("auto", "").await?;
    // IA-GIT-075, IA-GIT-078, IA-GIT-085
    let pulls = forge
        .api("GET /repos/flux/app/pulls?state=open", &Value::Null)
        .await?;
    ensure!(
        pulls.as_array().is_some_and(|all| all.len() == 1),
        "{pulls}"
    );
    let pull = &pulls[0];
    ensure!(
        pull["title"] == "New images"
            && pull["base"]["ref"] == "main"
            && pull["head"]["sha"] == object["status"]["lastPushCommit"],
        "{pull}"
    );
    ensure!(
        head(&forge, "images").await?["id"] == object["status"]["lastPushCommit"],
        "the branch is pushed as well"
    );
    Ok(())
}

#[tokio::test]
async fn a_forge_takes_signed_commits_over_ssh() -> Result {
    if !gpg_available() {
        eprintln!("skipped: gpg is not installed");
        return Ok(());
    }
    let (world, forge) = start("ia-forge-ssh").await?;
    let (key, pgp) = (SshKey::ed25519(), PgpKey::generate("ed25519", "never"));
    let body = json!({"title": "flux", "key": key.public()});
    forge.api("POST /user/keys", &body).await?;
    let body = json!({"armored_public_key": pgp.public()});
    forge.api("POST /user/gpg_keys", &body).await?;
    for (name, data) in [
        (
            "ssh",
            json!({"identity": key.private(), "known_hosts": forge.known_hosts()}),
        ),
        ("pgp", json!({"git.asc": pgp.private()})),
    ] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
        });
        world.namespace.apply(&secret.to_string()).await?;
    }
    // The first push is refused: the forge wants signatures.
    let rule = json!({"rule_name": "main", "enable_push": true, "require_signed_commits": true});
    forge
        .api("POST /repos/flux/app/branch_protections", &rule)
        .await?;
    world
        .source("app", &forge.ssh_url("app"), "secretRef: {name: ssh}")
        .await?;
    world.automation("auto", "", "").await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    // IA-GIT-082
    ensure!(
        message(&object).contains("pre-receive hook declined"),
        "{object}"
    );
    let commit = json!({
        "author": {"name": "Flux", "email": "flux@example.com"},
        "signingKey": {"secretRef": {"name": "pgp"}},
    });
    world
        .change("auto", json!({"git": {"commit": commit}}))
        .await?;
    let object = world.pushed("auto", "").await?;
    // IA-GIT-027, IA-GIT-090: Gitea verifies the commit, and knows whose it is
    let main = head(&forge, "main").await?;
    ensure!(object["status"]["lastPushCommit"] == main["id"], "{object}");
    let verification = &main["verification"];
    ensure!(
        verification["verified"] == true && verification["signer"]["email"] == "flux@example.com",
        "{verification}"
    );
    Ok(())
}
