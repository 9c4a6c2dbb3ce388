//! Signatures of commits and tags.

use git_servers::{PgpKey, SshKey, gpg_available};
use kind_tests::{GIT_REPOSITORY, Result, SECRET, ensure};
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn signatures_are_verified() -> Result {
    if !gpg_available() {
        println!("skipped: gpg is not installed");
        return Ok(());
    }
    let world = World::start("git-verify").await?;
    let (pgp, other) = (
        PgpKey::generate("ed25519", "0"),
        PgpKey::generate("ed25519", "0"),
    );
    let ssh = SshKey::ed25519();
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
        // SC-VER-003, SC-VER-010
        (
            "pgp",
            verify("branch: pgp", "HEAD", "keys"),
            "HEAD",
            format!(
                "verified signature of\n\t- commit '{by_pgp}' with key '{}'",
                pgp.key_id()
            ),
        ),
        // SC-VER-002, SC-VER-003, SC-VER-010
        (
            "ssh",
            verify("branch: ssh", "head", "keys"),
            "HEAD",
            format!(
                "verified signature of\n\t- commit '{by_ssh}' with key '{}'",
                ssh.fingerprint()
            ),
        ),
        // SC-VER-002, SC-VER-010
        (
            "tag",
            verify("tag: v1", "Tag", "keys"),
            "Tag",
            format!(
                "verified signature of\n\t- tag 'v1@{tag}' with key '{}'",
                pgp.key_id()
            ),
        ),
        // SC-VER-002, SC-VER-010
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
        // SC-VER-006, SC-VER-007
        ("unsigned", verify("branch: main", "HEAD", "keys"), "InvalidCommitSignature", format!("signature verification of commit '{unsigned}' failed: unsupported signature type: empty")),
        ("wrong", verify("branch: pgp", "HEAD", "wrong"), "InvalidCommitSignature", format!("signature verification of commit '{by_pgp}' failed: ")),
        // SC-VER-006
        ("no-ssh", verify("branch: ssh", "HEAD", "wrong"), "InvalidCommitSignature", "SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)".into()),
        // SC-VER-008
        ("no-tag", verify("branch: pgp", "Tag", "keys"), "InvalidVerificationMode", "cannot verify tag object's signature if a tag reference is not specified".into()),
        // SC-VER-009
        ("plain-tag", verify("tag: v2", "Tag", "keys"), "InvalidGitObject", "since it is not signed".into()),
        // SC-VER-004
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
        // SC-VER-017
        ensure!(object["status"]["artifact"].is_null(), "{object}");
    }

    // SC-VER-013: another mode is verified although the remote did not move
    let patch = json!({"spec": {"verify": {"mode": "TagAndHEAD"}}});
    world.namespace.merge(GIT_REPOSITORY, "tag", patch).await?;
    let object = world.ready("tag").await?;
    ensure!(
        object["status"]["sourceVerificationMode"] == "TagAndHEAD",
        "{object}"
    );

    // SC-VER-001: with the next revision nothing remains of a verification that is no longer configured
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

#[tokio::test]
async fn verification_can_be_enabled_later() -> Result {
    let world = World::start("git-trust").await?;
    let (trusted, stranger) = (SshKey::ed25519(), SshKey::ed25519());
    let repo = world.repo("app.git");
    let commit = repo
        .commit("main")
        .file("f", "1")
        .signed_ssh(&trusted)
        .create();
    let keys = |name: &str, key: &SshKey| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a.sshpub": key.public()}}).to_string()
    };
    world.namespace.apply(&keys("trusted", &trusted)).await?;
    world.namespace.apply(&keys("strangers", &stranger)).await?;
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;

    let by =
        |name: &str| json!({"spec": {"verify": {"mode": "HEAD", "secretRef": {"name": name}}}});
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", by("strangers"))
        .await?;
    let message = world
        .condition("app", "SourceVerified", "False", "InvalidCommitSignature")
        .await?;
    ensure!(
        message.contains(
            "unable to verify payload with any of the given authorized keys: no matching key"
        ),
        "{message}"
    );
    // SC-VER-017
    let object = world
        .namespace
        .get(GIT_REPOSITORY, "app")
        .await?
        .unwrap_or_default();
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );

    world
        .namespace
        .merge(GIT_REPOSITORY, "app", by("trusted"))
        .await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    let verified = format!(
        "verified signature of\n\t- commit '{commit}' with key '{}'",
        trusted.fingerprint()
    );
    // SC-VER-010
    world.recorded("app", "Succeeded", &verified).await?;
    // SC-GIT-066
    let current = format!("artifact up-to-date with remote revision: 'main@sha1:{commit}'");
    world.recorded("app", "ArtifactUpToDate", &current).await?;
    let reasons: Vec<_> = world
        .told("app")
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    // SC-PROC-086
    ensure!(
        reasons.first().is_some_and(|first| first == "NewArtifact")
            && reasons[1..]
                .iter()
                .all(|reason| reason == "InvalidCommitSignature"),
        "a signature that is found right after all is no recovery: {reasons:?}"
    );

    // SC-VER-060: the status names the keys, which do not depend on the name of their entry.
    let fingerprint = object["status"]["sourceVerificationFingerprint"].clone();
    ensure!(fingerprint.is_string(), "{object}");
    let renamed = keys("trusted", &trusted).replace("a.sshpub", "b.sshpub");
    world.namespace.apply(&renamed).await?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["sourceVerificationFingerprint"] == fingerprint
            && crate::support::message(&object, "SourceVerified") == verified,
        "{object}"
    );

    // SC-VER-014, SC-VER-061: other keys are tried at once, although neither the remote nor the spec has changed.
    let secret = json!({"data": {"a.sshpub": null, "b.sshpub": null}, "stringData": {"c.sshpub": stranger.public()}});
    world.namespace.merge(SECRET, "trusted", secret).await?;
    world.reconcile("app").await?;
    world
        .condition("app", "SourceVerified", "False", "InvalidCommitSignature")
        .await?;
    let object = world.namespace.get(GIT_REPOSITORY, "app").await?;
    let object = object.unwrap_or_default();
    ensure!(
        object["status"]["sourceVerificationFingerprint"].is_null()
            && object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );

    // The first keys again: verified again, with the same fingerprint.
    let secret = json!({"data": {"c.sshpub": null}, "stringData": {"a.sshpub": trusted.public()}});
    world.namespace.merge(SECRET, "trusted", secret).await?;
    world.reconcile("app").await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"]["sourceVerificationFingerprint"] == fingerprint
            && crate::support::message(&object, "SourceVerified") == verified,
        "{object}"
    );

    // SC-VER-061: without verification no fingerprint.
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"verify": null}}))
        .await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"]["sourceVerificationFingerprint"].is_null(),
        "{object}"
    );
    Ok(())
}
