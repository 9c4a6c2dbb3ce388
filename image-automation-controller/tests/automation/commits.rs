//! What commits hold: files, messages, authors, signatures.

use git_servers::{PgpKey, Repo, SshKey, gpg_available};
use kind_tests::{Result, ensure};
use serde_json::json;

use crate::world::{DEPLOYMENT, World, content, message};

#[tokio::test]
async fn only_edited_files_are_in_the_commit() -> Result {
    let world = World::start("ia-files").await?;
    let repo = Repo::init(world.git.root(), "app.git");
    let link = "1234567890123456789012345678901234567890";
    let crlf = "# top\r\n\r\nspec:\r\n    image: \"old\" # {\"$imagepolicy\": \"NAMESPACE:app\"}\r\n\r\n    text: |\r\n        a\tb  \r\n";
    let list = "kind: List\nitems:\n- kind: A\n  metadata: {name: a}\n  image: old # {\"$imagepolicy\": \"NAMESPACE:app\"}\n";
    repo.commit("main")
        .file("apps/crlf.yaml", world.marked(crlf))
        .executable("apps/list.yaml", world.marked(list))
        .file(
            "apps/bad.yaml",
            world.marked("a: x # {\"$imagepolicy\": \"NAMESPACE:app\"}\nb: {\n"),
        )
        .file("outside.yaml", world.marked(DEPLOYMENT))
        .file(".gitattributes", "* text eol=crlf\n")
        .file("big.bin", "version https://git-lfs.github.com/spec/v1\n")
        .symlink("link", "../../etc/passwd")
        .submodule("vendor", link)
        .create();
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world
        .automation("auto", "", "update: {path: ./apps, strategy: Setters}")
        .await?;
    world.pushed("auto", "").await?;
    // IA-GIT-071, IA-UPD-010, IA-UPD-009
    let changed = repo.git(&["diff", "--raw", "--abbrev=1", "main~1", "main"]);
    let names: Vec<_> = changed
        .lines()
        .filter_map(|line| line.split('\t').nth(1))
        .collect();
    ensure!(names == ["apps/crlf.yaml", "apps/list.yaml"], "{changed}");
    // IA-UPD-067
    ensure!(changed.contains(":100755 100755"), "{changed}");
    // IA-UPD-068, IA-UPD-050, FR-N-085
    let wanted = world
        .marked(crlf)
        .replace("\"old\"", "\"reg.io/app:1.1.0\"");
    let found = content(&repo, "main", "apps/crlf.yaml");
    ensure!(found == wanted.trim(), "{found:?}");
    // IA-UPD-070
    let wanted = world.marked(list).replace(": old", ": reg.io/app:1.1.0");
    ensure!(
        content(&repo, "main", "apps/list.yaml") == wanted.trim(),
        "list"
    );
    // IA-GIT-050, FR-N-092
    let tree = repo.git(&["ls-tree", "main", "vendor"]);
    ensure!(tree.contains(&format!("160000 commit {link}")), "{tree}");
    // IA-UPD-012
    let line = world
        .controller
        .log()
        .wait("of the skipped file", |line| line["path"] == "bad.yaml")
        .await?;
    ensure!(
        line["level"] == "info" && line["reason"].is_string(),
        "{line}"
    );
    ensure!(
        repo.git(&["fsck", "--no-dangling", "main"]).is_empty(),
        "fsck"
    );
    Ok(())
}

#[tokio::test]
async fn the_message_is_made_of_the_template() -> Result {
    let world = World::start("ia-message").await?;
    let repo = world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    let template = "Automated by {{ .AutomationObject.Name }}\\n\\n\
        {{ range $file, $objects := .Changed.FileChanges }}{{ $file }}:{{ range $object, $changes := $objects }} {{ $object.Kind }}/{{ $object.Name }}{{ range $changes }} {{ .OldValue }} -> {{ .NewValue }}{{ end }}{{ end }}{{ end }}\\n\\n\
        Env: {{ .Values.env }}\\n";
    let git = format!(
        "commit: {{author: {{email: flux@example.com}}, messageTemplate: \"{template}\", messageTemplateValues: {{env: prod}}}}"
    );
    world.automation("auto", &git, "").await?;
    world.pushed("auto", "").await?;
    let text = repo.git(&["cat-file", "commit", "main"]);
    let (_, message) = text.split_once("\n\n").unwrap_or_default();
    // IA-MSG-003, IA-MSG-005, IA-MSG-011
    ensure!(
        message
            == "Automated by auto\n\napps/deploy.yaml: Deployment/web reg.io/app:1.0.0 -> reg.io/app:1.1.0\n\nEnv: prod",
        "{text}"
    );
    // IA-GIT-072, IA-API-014: without a name
    ensure!(
        text.contains("author  <flux@example.com>") || text.contains("author <flux@example.com>"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn a_removed_field_of_the_template_stalls() -> Result {
    let world = World::start("ia-removed").await?;
    let repo = world.repo("app.git");
    let before = repo.rev_parse("main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    let removed = "commit: {author: {email: flux@example.com}, messageTemplate: '{{ range .Updated.Images }}{{ . }}{{ end }}'}";
    world.automation("auto", removed, "").await?;
    let git = |template: &str| json!({"git": {"commit": {"author": {"email": "flux@example.com"}, "messageTemplate": template}}});
    let object = world.failed("auto", "RemovedTemplateField").await?;
    // IA-MSG-020, IA-STATUS-020
    ensure!(
        message(&object)
            .starts_with("template uses removed '.Updated' field. Please use '.Changed' instead."),
        "{object}"
    );
    let stalled = kind_tests::condition(&object, "Stalled");
    ensure!(
        stalled.is_some_and(|stalled| stalled["status"] == "True"),
        "{object}"
    );
    // IA-MSG-022
    ensure!(repo.rev_parse("main") == before, "nothing is committed");

    // IA-MSG-018
    world.change("auto", git("{{ .Nothing }}")).await?;
    let object = world.failed("auto", "GitOperationFailed").await?;
    ensure!(
        message(&object).starts_with("failed to update source: failed to run template from spec: template: commit message:1:3:"),
        "{object}"
    );
    world.change("auto", git("{{ .x")).await?;
    let text = "failed to update source: unable to create commit message template from spec: ";
    world.recorded("auto", "Warning", text).await?;
    ensure!(repo.rev_parse("main") == before, "nothing is committed");
    world.change("auto", git("fine")).await?;
    world.pushed("auto", "").await?;
    Ok(())
}

#[tokio::test]
async fn commits_are_signed() -> Result {
    if !gpg_available() {
        eprintln!("skipped: gpg is not installed");
        return Ok(());
    }
    let world = World::start("ia-sign").await?;
    let repo = world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    let pgp = PgpKey::locked("ed25519", "pass");
    let armored = pgp.gpg(&[
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "pass",
        "--armor",
        "--export-secret-keys",
    ]);
    let secret = |name: &str, data: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}).to_string()
    };
    world
        .namespace
        .apply(&secret("pgp", json!({"git.asc": armored})))
        .await?;
    let key = "commit: {author: {email: flux@example.com}, signingKey: {secretRef: {name: pgp}}}";
    world.automation("auto", key, "").await?;
    // IA-GIT-090, IA-GIT-096
    let object = world.failed("auto", "SourceManagerFailed").await?;
    ensure!(
        message(&object).ends_with(
            "can not use passphrase protected signing key without 'passphrase' field present in secret pgp"
        ),
        "{object}"
    );
    world
        .namespace
        .apply(&secret(
            "pgp",
            json!({"git.asc": armored, "passphrase": "pass"}),
        ))
        .await?;
    world.reconcile("auto").await?;
    let object = world.pushed("auto", "").await?;
    // IA-GIT-097
    let said = repo.verify_pgp("main", &pgp);
    ensure!(
        said.contains("GOODSIG") && said.contains("VALIDSIG"),
        "{said}"
    );

    let ssh = SshKey::ed25519();
    world
        .namespace
        .apply(&secret("ssh", json!({"identity": ssh.private()})))
        .await?;
    world
        .change(
            "auto",
            json!({"git": {"commit": {"signingKey": {"type": "ssh", "secretRef": {"name": "ssh"}}}}}),
        )
        .await?;
    world.policy("app", "reg.io/app", "1.2.0").await?;
    let before = object["status"]["lastPushCommit"]
        .as_str()
        .unwrap_or_default();
    world.pushed("auto", before).await?;
    // IA-GIT-100
    let said = repo.verify_ssh("main", &ssh);
    ensure!(said.contains("Good \"git\" signature"), "{said}");

    // IA-GIT-091
    world
        .change(
            "auto",
            json!({"git": {"commit": {"signingKey": {"secretRef": {"name": "none"}}}}}),
        )
        .await?;
    let object = world.failed("auto", "SourceManagerFailed").await?;
    ensure!(
        message(&object)
            .ends_with("could not find signing key secret 'none': secrets \"none\" not found"),
        "{object}"
    );
    Ok(())
}
