//! GitRepositories on a real API server, from real Git servers.

mod support;

use kind_tests::{GIT_REPOSITORY, Result, controller::Settings, ensure};
use serde_json::{Value, json};
use support::{World, conditions};

// SC-PROC-056, SC-PROC-068, SC-PROC-083, SC-ART-003, SC-ART-008, SC-GIT-030, SC-GIT-042, SC-GIT-111, SC-GIT-112
#[tokio::test]
async fn a_branch_becomes_an_artifact_that_follows_it() -> Result {
    let world = World::start("git-branch").await?;
    let repo = world.repo("app.git");
    let first = repo.rev_parse("main");
    world.apply("app", "app.git", "ref: {branch: main}").await?;

    let object = world.ready("app").await?;
    let revision = format!("main@sha1:{first}");
    let artifact = &object["status"]["artifact"];
    let path = format!(
        "gitrepository/{}/app/{first}.tar.gz",
        world.namespace.name()
    );
    let address = world.controller.artifact_address().unwrap_or_default();
    ensure!(artifact["revision"] == *revision, "{artifact}");
    ensure!(artifact["path"] == *path, "{artifact}");
    ensure!(
        artifact["url"] == format!("http://{address}/{path}"),
        "{artifact}"
    );
    let size = std::fs::metadata(world.storage().join(&path))?.len();
    ensure!(artifact["size"] == size, "{artifact}");
    let stored = format!("stored artifact for revision '{revision}'");
    assert_eq!(
        conditions(&object),
        [
            format!("Ready=True Succeeded: {stored}"),
            format!("ArtifactInStorage=True Succeeded: {stored}")
        ]
    );
    ensure!(object["status"]["observedGeneration"] == 1, "{object}");
    ensure!(
        object["metadata"]["finalizers"] == json!(["finalizers.fluxcd.io"]),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        [("app/web.yaml".to_owned(), "kind: Service\n".to_owned())].into()
    );
    let event = world
        .events
        .wait("tells of the artifact", |event| {
            event["reason"] == "NewArtifact"
        })
        .await?;
    ensure!(
        event["message"] == "stored artifact for commit 'first'",
        "{event}"
    );
    ensure!(event["severity"] == "info", "{event}");
    let metadata = json!({
        "source.toolkit.fluxcd.io/revision": revision,
        "source.toolkit.fluxcd.io/digest": artifact["digest"],
    });
    ensure!(event["metadata"] == metadata, "{event}");

    let second = repo
        .commit("main")
        .remove("app/web.yaml")
        .file("new", "x")
        .message(&"é".repeat(60))
        .create();
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["revision"] == format!("main@sha1:{second}"),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        [("new".to_owned(), "x".to_owned())].into()
    );
    let message = format!("stored artifact for commit '{}...'", "é".repeat(50));
    world
        .events
        .wait("tells of the second artifact", |event| {
            event["message"] == *message
        })
        .await?;
    world.events.check()
}

// SC-GIT-060, SC-GIT-063, SC-PROC-087
#[tokio::test]
async fn a_remote_that_did_not_move_is_only_listed() -> Result {
    let world = World::start("git-noop").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;

    world.git.clear_requests();
    let object = world.reconcile("app").await?;
    let asked: Vec<bool> = world
        .git
        .requests()
        .iter()
        .map(|request| request.says("command=fetch"))
        .collect();
    ensure!(
        !asked.is_empty() && !asked.contains(&true),
        "{:?}",
        world.git.requests()
    );
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    assert_eq!(conditions(&object), conditions(&before));
    let noop = format!(
        "no changes since last reconciliation: observed revision 'main@sha1:{}'",
        repo.rev_parse("main")
    );
    world
        .controller
        .log()
        .wait("of the run that found nothing", |line| line["msg"] == *noop)
        .await?;
    assert_eq!(
        world.told("app").len(),
        1,
        "routine is not told to the receiver"
    );

    // A force-pushed branch is just another revision.
    let other = repo.commit("main").orphan().file("other", "").create();
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["revision"] == format!("main@sha1:{other}"),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        [("other".to_owned(), String::new())].into()
    );
    Ok(())
}

// SC-GIT-040 to SC-GIT-052
#[tokio::test]
async fn every_kind_of_reference() -> Result {
    let world = World::start("git-refs").await?;
    let repo = world.repo("app.git");
    let first = repo.rev_parse("main");
    repo.tag("v1.0.0", &first);
    let second = repo.commit("main").file("f", "2").create();
    repo.annotated_tag("v1.1.0", &second)
        .message("release")
        .create();
    repo.tag("v2.0.0-rc.1", &second);
    let third = repo
        .commit("feature/x")
        .parent(&second)
        .file("f", "3")
        .create();
    repo.update_ref("refs/pull/7/head", &third);
    repo.branch("master", &first);

    let cases = [
        ("nothing", String::new(), format!("master@sha1:{first}")),
        (
            "branch",
            "ref: {branch: feature/x}".into(),
            format!("feature/x@sha1:{third}"),
        ),
        (
            "tag",
            "ref: {tag: v1.0.0}".into(),
            format!("v1.0.0@sha1:{first}"),
        ),
        (
            "annotated",
            "ref: {tag: v1.1.0}".into(),
            format!("v1.1.0@sha1:{second}"),
        ),
        (
            "semver",
            "ref: {semver: '>=1.0.0'}".into(),
            format!("v1.1.0@sha1:{second}"),
        ),
        (
            "prerelease",
            "ref: {semver: '>=1.0.0-0'}".into(),
            format!("v2.0.0-rc.1@sha1:{second}"),
        ),
        (
            "tag-wins",
            "ref: {tag: v1.0.0, semver: '*'}".into(),
            format!("v1.0.0@sha1:{first}"),
        ),
        (
            "name",
            "ref: {name: refs/pull/7/head}".into(),
            format!("refs/pull/7/head@sha1:{third}"),
        ),
        (
            "name-branch",
            "ref: {name: refs/heads/main}".into(),
            format!("refs/heads/main@sha1:{second}"),
        ),
        (
            "name-tag",
            "ref: {name: refs/tags/v1.1.0}".into(),
            format!("refs/tags/v1.1.0@sha1:{second}"),
        ),
        (
            "commit",
            format!("ref: {{commit: {first}}}"),
            format!("sha1:{first}"),
        ),
        (
            "commit-branch",
            format!("ref: {{branch: main, commit: {first}}}"),
            format!("main@sha1:{first}"),
        ),
        (
            "commit-name",
            format!("ref: {{name: refs/heads/main, commit: {first}}}"),
            format!("refs/heads/main@sha1:{first}"),
        ),
    ];
    for (name, spec, _) in &cases {
        world.apply(name, "app.git", spec).await?;
    }
    for (name, _, revision) in &cases {
        let object = world.ready(name).await?;
        ensure!(
            object["status"]["artifact"]["revision"] == **revision,
            "{name}: {}",
            object["status"]
        );
    }
    // A second look gives the same, and no run that found nothing says anything else.
    for (name, _, revision) in &cases {
        let object = world.reconcile(name).await?;
        ensure!(
            object["status"]["artifact"]["revision"] == **revision,
            "{name}: {}",
            object["status"]
        );
        assert_eq!(world.told(name).len(), 1, "{name}");
    }
    Ok(())
}

// SC-GIT-023 to SC-GIT-027, SC-GIT-045, SC-GIT-047, SC-GIT-053, SC-GIT-054, SC-GIT-074, SC-AUTH-012, SC-AUTH-014, SC-AUTH-017, SC-AUTH-018
#[tokio::test]
async fn what_cannot_be_fetched_is_told_in_a_condition() -> Result {
    let world = World::start("git-failures").await?;
    let repo = world.repo("app.git");
    git_servers::Repo::init(world.git.root(), "empty.git");
    world
        .namespace
        .apply(
            "
{apiVersion: v1, kind: Secret, metadata: {name: password-only}, stringData: {password: s3cret}}
---
{apiVersion: v1, kind: Secret, metadata: {name: app-data}, stringData: {githubAppID: '1'}}
---
{apiVersion: v1, kind: Secret, metadata: {name: no-proxy}, stringData: {note: nothing}}
",
        )
        .await?;
    let ns = world.namespace.name().to_owned();
    let url = world.git.url("app.git");
    let gone = "0123456789012345678901234567890123456789";
    let main = repo.rev_parse("main");
    let cases: Vec<(&str, String, String, &str, String)> = vec![
        ("branch", url.clone(), "ref: {branch: none}".into(), "GitOperationFailed", "failed to checkout and determine revision: unable to clone".into()),
        ("tag", url.clone(), "ref: {tag: none}".into(), "GitOperationFailed", "couldn't find remote ref \"refs/tags/none\"".into()),
        ("semver", url.clone(), "ref: {semver: '>9'}".into(), "GitOperationFailed", "no match found for semver: >9".into()),
        ("range", url.clone(), "ref: {semver: 'x y'}".into(), "GitOperationFailed", "semver parse error: ".into()),
        ("name", url.clone(), "ref: {name: refs/none}".into(), "GitOperationFailed", "unable to resolve ref 'refs/none' to a specific commit".into()),
        ("slash", url.clone(), "ref: {name: refs/none/}".into(), "GitOperationFailed", "Git refs cannot begin or end with a slash '/'".into()),
        ("commit", url.clone(), format!("ref: {{commit: '{gone}'}}"), "GitOperationFailed", format!("unable to resolve commit object for '{gone}'")),
        ("short", url.clone(), format!("ref: {{commit: '{}'}}", &main[..8]), "GitOperationFailed", format!("unable to resolve commit object for '{}'", &main[..8])),
        ("empty", world.git.url("empty.git"), "ref: {branch: main}".into(), "EmptyGitRepository", "git repository is empty".into()),
        ("missing", world.git.url("none.git"), "ref: {branch: main}".into(), "GitOperationFailed", "failed to checkout and determine revision: ".into()),
        ("refused", "http://127.0.0.1:1/app.git".into(), "ref: {branch: main}".into(), "GitOperationFailed", "failed to checkout and determine revision: ".into()),
        ("sparse", url.clone(), "ref: {branch: main}, sparseCheckout: [nowhere]".into(), "GitOperationFailed", "failed to sparse checkout directories : sparse checkout dir 'nowhere' does not exist in repository: ".into()),
        ("secret", url.clone(), "ref: {branch: main}, secretRef: {name: none}".into(), "AuthenticationFailed", format!("failed to get secret '{ns}/none'")),
        ("password", url.clone(), "ref: {branch: main}, secretRef: {name: password-only}".into(), "AuthenticationFailed", "failed to configure authentication options: invalid 'http' auth option: 'password' requires 'username' to be set".into()),
        ("proxy", url.clone(), "ref: {branch: main}, proxySecretRef: {name: none}".into(), "AuthenticationFailed", format!("failed to configure proxy options: secret '{ns}/none' not found")),
        ("proxy-key", url.clone(), "ref: {branch: main}, proxySecretRef: {name: no-proxy}".into(), "AuthenticationFailed", format!("failed to configure proxy options: secret '{ns}/no-proxy': key 'address' not found")),
        ("ssh", "ssh://git@127.0.0.1/app.git".into(), "ref: {branch: main}".into(), "AuthenticationFailed", "failed to configure authentication options: invalid 'ssh' auth option: 'identity' is required".into()),
        ("app-data", url.clone(), "ref: {branch: main}, secretRef: {name: app-data}".into(), "InvalidProviderConfiguration", format!("secretRef '{ns}/app-data' has github app data but provider is not set to github")),
        ("app-none", url.clone(), "ref: {branch: main}, provider: github".into(), "InvalidProviderConfiguration", "secretRef with github app data must be specified when provider is set to github".into()),
        ("app-lacks", url.clone(), "ref: {branch: main}, provider: github, secretRef: {name: no-proxy}".into(), "InvalidProviderConfiguration", "secretRef with github app data must be specified when provider is set to github".into()),
        ("cloud", url.clone(), "ref: {branch: main}, provider: aws".into(), "InvalidProviderConfiguration", "provider 'aws' is not supported yet by this controller".into()),
        ("gate", url.clone(), "ref: {branch: main}, provider: azure, serviceAccountName: x".into(), "FeatureGateDisabled", "please enable the ObjectLevelWorkloadIdentity feature gate".into()),
        ("url", "https://[".into(), "ref: {branch: main}".into(), "URLInvalid", "failed to parse url 'https://[': ".into()),
    ];
    for (name, url, spec, _, _) in &cases {
        world.apply_url(name, url, spec).await?;
    }
    for (name, _, _, reason, message) in &cases {
        let found = world.condition(name, "FetchFailed", "True", reason).await?;
        ensure!(found.contains(message.as_str()), "{name}: {found}");
        let ready = world.condition(name, "Ready", "False", reason).await?;
        ensure!(ready == found, "{name}: {ready}");
        let is_stalled = ["app-none", "cloud", "gate", "url"].contains(name);
        if is_stalled {
            let stalled = world.condition(name, "Stalled", "True", reason).await?;
            ensure!(stalled == found, "{name}: {stalled}");
        } else {
            world
                .condition(name, "Reconciling", "True", "ProgressingWithRetry")
                .await?;
        }
        let object = world
            .namespace
            .get(GIT_REPOSITORY, name)
            .await?
            .unwrap_or_default();
        let observed = &object["status"]["observedGeneration"];
        ensure!(
            *observed == if is_stalled { 1 } else { -1 } || (!is_stalled && observed.is_null()),
            "{name}: {object}"
        );
        let told =
            |event: &Value| event["involvedObject"]["name"] == *name && event["reason"] == *reason;
        let event = world.events.wait(&format!("tells of {name}"), told).await?;
        ensure!(
            event["severity"] == "error" && event["metadata"].is_null(),
            "{event}"
        );
    }
    world.events.check()
}

// SC-PROC-085, SC-GIT-064, SC-AUTH-001
#[tokio::test]
async fn an_artifact_outlives_a_failure_and_the_recovery_is_told() -> Result {
    let git = git_servers::HttpGitServer::builder()
        .basic_auth("flux", "s3cret")
        .start();
    let world = World::start_with("git-recovery", Settings::default(), git).await?;
    let repo = world.repo("app.git");
    let revision = format!("main@sha1:{}", repo.rev_parse("main"));
    let secret = |password: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: login}}, stringData: {{username: flux, password: {password}}}}}"
        )
    };
    world.namespace.apply(&secret("s3cret")).await?;
    world
        .apply(
            "app",
            "app.git",
            "ref: {branch: main}, secretRef: {name: login}",
        )
        .await?;
    let before = world.ready("app").await?;

    world.namespace.apply(&secret("wrong")).await?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    world
        .condition("app", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    let log = world.controller.log().lines().join("\n");
    ensure!(
        !log.contains("s3cret") && !log.contains("wrong"),
        "a password in the log"
    );

    world.namespace.apply(&secret("s3cret")).await?;
    let object = world.reconcile("app").await?;
    ensure!(
        kind_tests::condition(&object, "FetchFailed").is_none(),
        "{object}"
    );
    let event = world
        .events
        .wait("tells of the recovery", |event| {
            event["reason"] == "Succeeded"
        })
        .await?;
    ensure!(
        event["message"] == format!("stored artifact for commit '{revision}'"),
        "{event}"
    );
    Ok(())
}

// SC-GIT-070 to SC-GIT-076, SC-ART-060, SC-ART-070 to SC-ART-073
#[tokio::test]
async fn what_goes_into_an_artifact() -> Result {
    let world = World::start("git-content").await?;
    let module = world.repo("module.git");
    let repo = world.repo("app.git");
    repo.commit("main")
        .executable("run.sh", "#!/bin/sh\n")
        .symlink("link", "run.sh")
        .file("docs/a.md", "# a\n")
        .file("docs/.sourceignore", "secret.txt\n")
        .file("docs/secret.txt", "x")
        .file("docs-old/b.md", "# b\n")
        .file(
            ".gitmodules",
            format!(
                "[submodule \"m\"]\n\tpath = vendor/m\n\turl = {}\n",
                world.git.url("module.git")
            ),
        )
        .submodule("vendor/m", &module.rev_parse("main"))
        .create();
    let all = [
        "app/web.yaml",
        "docs-old/b.md",
        "docs/.sourceignore",
        "docs/a.md",
        "run.sh*",
    ];
    let cases = [
        ("all", "", &all[..]),
        (
            "modules",
            ", recurseSubmodules: true",
            &[
                "app/web.yaml",
                "docs-old/b.md",
                "docs/.sourceignore",
                "docs/a.md",
                "run.sh*",
                "vendor/m/app/web.yaml",
            ],
        ),
        (
            "ignore",
            ", ignore: \"*.md\\n!docs/a.md\\n/app\"",
            &["docs/.sourceignore", "docs/a.md", "run.sh*"],
        ),
        (
            "sparse",
            ", sparseCheckout: [./docs/, app]",
            &["app/web.yaml", "docs/.sourceignore", "docs/a.md"],
        ),
    ];
    for (name, spec, _) in cases {
        world
            .apply(name, "app.git", &format!("ref: {{branch: main}}{spec}"))
            .await?;
    }
    for (name, _, want) in cases {
        let object = world.ready(name).await?;
        let files: Vec<_> = world.files(&object).await?.into_keys().collect();
        assert_eq!(files, want, "{name}");
    }

    // SC-GIT-062, SC-GIT-065, SC-GIT-113: another configuration gives another artifact of the same revision
    let before = world.ready("all").await?;
    world
        .namespace
        .merge(
            GIT_REPOSITORY,
            "all",
            json!({"spec": {"ignore": "/docs\n"}}),
        )
        .await?;
    let object = world.ready("all").await?;
    ensure!(
        object["status"]["artifact"]["revision"] == before["status"]["artifact"]["revision"],
        "{object}"
    );
    ensure!(
        object["status"]["artifact"]["digest"] != before["status"]["artifact"]["digest"],
        "{object}"
    );
    ensure!(object["status"]["observedIgnore"] == "/docs\n", "{object}");
    Ok(())
}

// SC-GIT-090 to SC-GIT-100
#[tokio::test]
async fn other_repositories_are_included() -> Result {
    let settings = Settings::default().flag("--requeue-dependency=100ms");
    let world =
        World::start_with("git-include", settings, git_servers::HttpGitServer::start()).await?;
    world.repo("app.git");
    let library = world.repo("lib.git");
    library.commit("main").file("deep/x", "1").create();
    let include = "ref: {branch: main}, include: [{repository: {name: lib}}, {repository: {name: lib}, fromPath: deep, toPath: ../in/here}]";
    world.apply("app", "app.git", include).await?;
    let message = world
        .condition("app", "IncludeUnavailable", "True", "NotFound")
        .await?;
    ensure!(
        message.starts_with("could not get resource for include 'lib': "),
        "{message}"
    );
    world.condition("app", "Ready", "False", "NotFound").await?;

    world
        .apply("lib", "none.git", "ref: {branch: main}")
        .await?;
    let message = world
        .condition("app", "IncludeUnavailable", "True", "NoArtifact")
        .await?;
    assert_eq!(message, "no artifact available for include 'lib'");

    world.apply("lib", "lib.git", "ref: {branch: main}").await?;
    let lib = world.ready("lib").await?;
    let object = world.ready("app").await?;
    let files: Vec<_> = world.files(&object).await?.into_keys().collect();
    assert_eq!(
        files,
        [
            "app/web.yaml",
            "in/here/x",
            "lib/app/web.yaml",
            "lib/deep/x"
        ]
    );
    let included = &object["status"]["includedArtifacts"];
    ensure!(
        included[0] == lib["status"]["artifact"] && included[1] == included[0],
        "{object}"
    );
    ensure!(
        object["status"]["observedInclude"] == object["spec"]["include"],
        "{object}"
    );

    // A new revision of the included one is seen at the next reconcile of the including one.
    library.commit("main").file("deep/y", "2").create();
    world.reconcile("lib").await?;
    let object = world.reconcile("app").await?;
    ensure!(
        world.files(&object).await?.contains_key("in/here/y"),
        "{object}"
    );

    // SC-GIT-098
    world
        .apply(
            "bad",
            "app.git",
            "ref: {branch: main}, include: [{repository: {name: lib}, fromPath: nowhere}]",
        )
        .await?;
    let message = world
        .condition("bad", "StorageOperationFailed", "True", "CopyFailure")
        .await?;
    ensure!(
        message.starts_with("failed to copy 'lib' include from nowhere to lib: "),
        "{message}"
    );
    Ok(())
}

// SC-VER-001 to SC-VER-017
#[tokio::test]
async fn signatures_are_asked_for() -> Result {
    if !git_servers::gpg_available() {
        println!("skipped: gpg is not installed");
        return Ok(());
    }
    let world = World::start("git-verify").await?;
    let (pgp, other) = (
        git_servers::PgpKey::generate("ed25519", "0"),
        git_servers::PgpKey::generate("ed25519", "0"),
    );
    let ssh = git_servers::SshKey::ed25519();
    let repo = world.repo("app.git");
    let unsigned = repo.rev_parse("main");
    let by_pgp = repo.commit("pgp").file("f", "1").signed_pgp(&pgp).create();
    let by_ssh = repo.commit("ssh").file("f", "2").signed_ssh(&ssh).create();
    let tag = repo
        .annotated_tag("v1", &by_pgp)
        .message("one")
        .signed_pgp(&pgp)
        .create();
    repo.annotated_tag("v2", &by_pgp).message("two").create();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "stringData": {"a.asc": pgp.public(), "b.sshpub": ssh.public()}});
    world.namespace.apply(&secret.to_string()).await?;
    let wrong = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"},
        "stringData": {"a.asc": other.public()}});
    world.namespace.apply(&wrong.to_string()).await?;

    let verify = |reference: &str, mode: &str, keys: &str| {
        format!("ref: {{{reference}}}, verify: {{mode: {mode}, secretRef: {{name: {keys}}}}}")
    };
    let good = [
        (
            "pgp",
            verify("branch: pgp", "HEAD", "keys"),
            "HEAD",
            format!(
                "verified signature of\n\t- commit '{by_pgp}' with key '{}'",
                pgp.key_id()
            ),
        ),
        (
            "ssh",
            verify("branch: ssh", "head", "keys"),
            "HEAD",
            format!(
                "verified signature of\n\t- commit '{by_ssh}' with key '{}'",
                ssh.fingerprint()
            ),
        ),
        (
            "tag",
            verify("tag: v1", "Tag", "keys"),
            "Tag",
            format!(
                "verified signature of\n\t- tag 'v1@{tag}' with key '{}'",
                pgp.key_id()
            ),
        ),
        (
            "both",
            verify("tag: v1", "TagAndHEAD", "keys"),
            "TagAndHEAD",
            format!(
                "verified signature of\n\t- tag 'v1@{tag}' with key '{0}'\n\t- commit '{by_pgp}' with key '{0}'",
                pgp.key_id()
            ),
        ),
    ];
    let bad = [
        ("unsigned", verify("branch: main", "HEAD", "keys"), "InvalidCommitSignature", format!("signature verification of commit '{unsigned}' failed: unsupported signature type: empty")),
        ("wrong", verify("branch: pgp", "HEAD", "wrong"), "InvalidCommitSignature", format!("signature verification of commit '{by_pgp}' failed: ")),
        ("no-ssh", verify("branch: ssh", "HEAD", "wrong"), "InvalidCommitSignature", "SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)".into()),
        ("no-tag", verify("branch: pgp", "Tag", "keys"), "InvalidVerificationMode", "cannot verify tag object's signature if a tag reference is not specified".into()),
        ("plain-tag", verify("tag: v2", "Tag", "keys"), "InvalidGitObject", "since it is not signed".into()),
        ("no-keys", verify("branch: pgp", "HEAD", "none"), "VerificationError", "public keys secret error: ".into()),
    ];
    for (name, spec) in good
        .iter()
        .map(|case| (case.0, &case.1))
        .chain(bad.iter().map(|case| (case.0, &case.1)))
    {
        world.apply(name, "app.git", spec).await?;
    }
    for (name, _, mode, message) in &good {
        let object = world.ready(name).await?;
        ensure!(
            object["status"]["sourceVerificationMode"] == *mode,
            "{object}"
        );
        assert_eq!(
            world
                .condition(name, "SourceVerified", "True", "Succeeded")
                .await?,
            *message
        );
    }
    for (name, _, reason, message) in &bad {
        let found = world
            .condition(name, "SourceVerified", "False", reason)
            .await?;
        ensure!(found.contains(message.as_str()), "{name}: {found}");
        assert_eq!(
            world.condition(name, "Ready", "False", reason).await?,
            found
        ); // SC-PROC-064
        let object = world
            .namespace
            .get(GIT_REPOSITORY, name)
            .await?
            .unwrap_or_default();
        ensure!(object["status"]["artifact"].is_null(), "{object}");
    }

    // SC-VER-013: another mode is checked although the remote did not move
    let patch = json!({"spec": {"verify": {"mode": "TagAndHEAD"}}});
    world.namespace.merge(GIT_REPOSITORY, "tag", patch).await?;
    let object = world.ready("tag").await?;
    ensure!(
        object["status"]["sourceVerificationMode"] == "TagAndHEAD",
        "{object}"
    );

    // SC-VER-001: with the next revision nothing is left of a verification that is no longer asked for
    repo.commit("pgp").file("f", "unsigned").create();
    world
        .namespace
        .merge(GIT_REPOSITORY, "pgp", json!({"spec": {"verify": null}}))
        .await?;
    let object = world.ready("pgp").await?;
    ensure!(
        kind_tests::condition(&object, "SourceVerified").is_none(),
        "{object}"
    );
    ensure!(
        object["status"]["sourceVerificationMode"].is_null(),
        "{object}"
    );
    Ok(())
}

// SC-PROC-057, SC-PROC-073
#[tokio::test]
async fn a_suspended_object_is_left_alone() -> Result {
    let world = World::start("git-suspend").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    world
        .controller
        .log()
        .wait("of the suspension", |line| {
            line["msg"] == "Reconciliation is suspended for this object"
                || line["msg"] == "reconciliation is suspended for this object"
        })
        .await?;
    repo.commit("main").file("f", "").create();
    world.git.clear_requests();
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    ensure!(object["status"]["observedGeneration"] == 2, "{object}");
    ensure!(
        world.git.requests().is_empty(),
        "{:?}",
        world.git.requests()
    );

    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": false}}))
        .await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"]["artifact"] != before["status"]["artifact"],
        "{object}"
    );
    Ok(())
}

// SC-ART-031, SC-ART-033, SC-ART-036, RT-ART-011
#[tokio::test]
async fn an_artifact_that_is_lost_or_damaged_is_made_again() -> Result {
    let world = World::start("git-storage").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    let file = world.storage().join(
        before["status"]["artifact"]["path"]
            .as_str()
            .unwrap_or_default(),
    );

    std::fs::remove_file(&file)?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"],
        "{object}"
    );
    ensure!(file.exists(), "{}", file.display());

    std::fs::write(&file, "other bytes")?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"],
        "{object}"
    );
    let event = world
        .events
        .wait("tells of the damage", |event| {
            event["reason"] == "ArtifactVerificationFailed"
        })
        .await?;
    let message = event["message"].as_str().unwrap_or_default();
    ensure!(
        message
            .starts_with("failed to verify integrity of artifact: computed digest doesn't match '"),
        "{event}"
    );
    world.files(&object).await?;
    Ok(())
}

// SC-ART-025, SC-PROC-045: killed and started again, it goes on where it was
#[tokio::test]
async fn a_controller_that_is_killed_goes_on() -> Result {
    let mut world = World::start("git-kill").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    world.controller.kill()?;
    let second = repo.commit("main").file("f", "").create();
    world.controller.restart().await?;
    let moved =
        |object: &Value| object["status"]["artifact"]["revision"] == format!("main@sha1:{second}");
    let object = world
        .namespace
        .wait(GIT_REPOSITORY, "app", "has the new revision", moved)
        .await?;
    ensure!(
        object["status"]["artifact"] != before["status"]["artifact"],
        "{object}"
    );
    ensure!(
        world.controller.terminate().await?.success(),
        "ends cleanly"
    );
    Ok(())
}

// SC-ART-045, SC-PROC-088, SC-PROC-090
#[tokio::test]
async fn a_deleted_object_leaves_nothing_behind() -> Result {
    let world = World::start("git-delete").await?;
    world.repo("app.git");
    for name in ["app", "stuck"] {
        let repo = if name == "app" { "app.git" } else { "none.git" };
        world.apply(name, repo, "ref: {branch: main}").await?;
    }
    world.ready("app").await?;
    world
        .condition("stuck", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(!world.stored("app").is_empty(), "nothing is stored");
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    for name in ["app", "stuck"] {
        world.namespace.delete(GIT_REPOSITORY, name).await?;
        world.namespace.wait_gone(GIT_REPOSITORY, name).await?;
    }
    ensure!(world.stored("app").is_empty(), "{:?}", world.stored("app"));
    let client = flux_http::ClientOptions::default().build()?;
    let page = client
        .get(format!(
            "http://{}/metrics",
            world.controller.metrics_address()
        ))
        .send()
        .await?
        .text()
        .await?;
    ensure!(
        !page.contains("name=\"app\""),
        "series of a deleted object:\n{page}"
    );
    Ok(())
}
