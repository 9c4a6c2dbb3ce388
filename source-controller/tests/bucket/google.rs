//! Buckets of Google Cloud Storage, by fake-gcs-server. That checks no credentials, so the front does.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use git_servers::Authority;
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use object_stores::{Answer, FakeGoogle, Front};
use serde_json::{Value, json};

use crate::world::{World, files, revision};

/// Between two looks at open files, which cannot be watched.
const PAUSE: Duration = Duration::from_millis(5);

// SC-BKT-064, SC-AUTH-064
#[tokio::test]
async fn a_bucket_is_published_by_the_key_of_a_service_account() -> Result {
    let Some(store) = FakeGoogle::start() else {
        return Ok(());
    };
    store.make_bucket("app").await;
    store.put("app", "a%20b/one.txt", "one").await;
    store.put("app", "two.txt", "two").await;
    let authority = Authority::new();
    let tokens = Front::alone()
        .tls(&authority, &[])
        .answering(|request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let is_right = request.method == "POST"
                && request.target == "/token"
                && body.starts_with(
                    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=",
                )
                && claims(&body).is_some_and(|claims| {
                    claims["iss"] == "flux@project.iam.gserviceaccount.com"
                        && claims["aud"]
                            .as_str()
                            .is_some_and(|aud| aud.ends_with("/token"))
                        && claims["exp"].as_u64() > claims["iat"].as_u64()
                });
            let answer = if is_right {
                json!({"access_token": "t0ken", "expires_in": 3600, "token_type": "Bearer"})
            } else {
                json!({"error": "invalid_grant", "error_description": "no"})
            };
            Some(Answer::new(
                if is_right { 200 } else { 400 },
                answer.to_string(),
            ))
        })
        .start();
    let front = Front::to(store.address()).answering(|request| {
        let body = r#"{"error":{"code":401,"message":"Login Required t0ken","errors":[{"reason":"required"}]}}"#;
        (request.header("authorization") != "Bearer t0ken").then(|| Answer::new(401, body))
    });
    let front = front.start();
    let folder = kind_tests::cache::folder()?.join("object-stores-tls");
    std::fs::create_dir_all(&folder)?;
    let roots = folder.join("google.crt");
    std::fs::write(&roots, authority.pem())?;
    let settings = Settings::default()
        .env("STORAGE_EMULATOR_HOST", front.url())
        .env("SSL_CERT_FILE", roots.to_string_lossy());
    let world = World::start_with("bucket-google", front, settings).await?;
    let key = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA"])
        .output()?;
    let key = String::from_utf8(key.stdout)?;
    let account = json!({
        "type": "service_account", "client_email": "flux@project.iam.gserviceaccount.com",
        "private_key_id": "1", "private_key": key, "token_uri": format!("{}/token", tokens.url()),
    });
    world
        .secret("gcp", &[("serviceaccount", &account.to_string())])
        .await?;
    // the endpoint is not used
    let spec = "provider: gcp, secretRef: {name: gcp}";
    world.apply_as("app", "storage.example.com", spec).await?;
    let object = world.ready("app").await?;
    let want = files(&[("a b/one.txt", "one"), ("two.txt", "two")]);
    assert_eq!(world.files(&object).await?, want);
    let asked = world.front.asked();
    let media = asked.iter().filter(|asked| asked.contains("alt=media"));
    ensure!(media.clone().count() == 2, "{asked:?}");
    for asked in media {
        ensure!(asked.contains("&ifGenerationMatch="), "{asked}");
    }

    world.front.clear_requests();
    let same = world.reconcile("app").await?;
    assert_eq!(same["status"]["artifact"], object["status"]["artifact"]);
    let asked = world.front.asked();
    ensure!(
        !asked.iter().any(|asked| asked.contains("alt=media")),
        "{asked:?}"
    );
    store.put("app", "two.txt", "changed").await;
    store.delete("app", "a%20b%2Fone.txt").await;
    let object = world.reconcile("app").await?;
    assert_eq!(
        world.files(&object).await?,
        files(&[("two.txt", "changed")])
    );
    ensure!(revision(&object) != revision(&same), "{object}");

    // SC-BKT-039: connections go with the run, however many there are
    let sockets = || {
        let folder = format!("/proc/{}/fd", world.controller.pid());
        let targets = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let targets = targets.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let is_socket = |target: &PathBuf| target.to_string_lossy().starts_with("socket:");
        targets.filter(is_socket).count()
    };
    let before = sockets();
    for _ in 0..10 {
        world.reconcile("app").await?;
    }
    let closed = async {
        while sockets() > before {
            tokio::time::sleep(PAUSE).await;
        }
    };
    world
        .namespace
        .wait_for("no more connections than before are open", closed)
        .await?;

    // SC-BKT-026
    let missing = format!("{spec}, bucketName: absent");
    world
        .apply_as("missing", "storage.example.com", &missing)
        .await?;
    let text = world.failed("missing", "BucketOperationFailed").await?;
    assert_eq!(text, "bucket 'absent' not found");
    // without credentials an emulator is asked anonymously; what it repeats of a token is not one here
    world
        .apply_as("anonymous", "storage.example.com", "provider: gcp")
        .await?;
    let text = world.failed("anonymous", "BucketOperationFailed").await?;
    assert_eq!(
        text,
        "failed to confirm existence of 'app' bucket: googleapi: Error 401: Login Required t0ken, required"
    );
    Ok(())
}

/// The claims of the assertion in a form.
fn claims(form: &str) -> Option<Value> {
    let (_, assertion) = form.split_once("assertion=")?;
    let payload = assertion.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}
