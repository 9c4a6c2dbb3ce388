//! Keys that would lead out of the folder, or that cannot be files beside one another. A store does not take all of them, so the
//! front writes them into its lists.

use git_servers::Authority;
use kind_tests::{BUCKET, Result, ensure, is_ready};
use object_stores::{Answer, Front};
use serde_json::{Value, json};

use crate::support::message;
use crate::world::{World, files, seaweed};

fn list(keys: &[&str]) -> String {
    let object = |key: &&str| format!("<Contents><Key>{key}</Key><ETag>1</ETag></Contents>");
    let objects: String = keys.iter().map(object).collect();
    format!("<ListBucketResult><EncodingType>url</EncodingType>{objects}</ListBucketResult>")
}

// SC-BKT-034, SC-BKT-067
#[tokio::test]
async fn keys_that_cannot_be_files_are_refused() -> Result {
    let cases = [
        (
            "upwards",
            &["..%2Fx"][..],
            "../x",
            "the key has '.' or '..' between slashes",
        ),
        (
            "deep",
            &["a/../../x"],
            "a/../../x",
            "the key has '.' or '..' between slashes",
        ),
        (
            "nul",
            &["a%00b"],
            "a\0b",
            "invalid argument: the key has a NUL",
        ),
        (
            "folder",
            &["a", "a/b"],
            "a",
            "filename is a directory: 'a/b' is below it",
        ),
        (
            "twice",
            &["a/b", "a//b"],
            "a/b",
            "the object 'a//b' has the same path",
        ),
    ];
    let front = Front::alone().answering(move |request| {
        let (name, rest) = request.target.trim_start_matches('/').split_once('/')?;
        let (_, keys, ..) = cases.iter().find(|(case, ..)| *case == name)?;
        Some(match rest {
            "" => Answer::new(200, ""),
            ".sourceignore" => Answer::new(404, ""),
            _ if rest.starts_with('?') => Answer::new(200, list(keys)),
            _ => Answer::With(
                200,
                vec![("etag", "\"1\"".to_owned())],
                "content".to_owned(),
            ),
        })
    });
    let world = World::start("bucket-hostile", front).await?;
    for (name, _, key, why) in cases {
        world.apply(name, &format!("bucketName: {name}")).await?;
        let text = world.failed(name, "BucketOperationFailed").await?;
        let want =
            format!("fetch from bucket '{name}' failed: failed to get '{key}' object: {why}");
        assert_eq!(text, want);
    }
    // nothing was downloaded, and nothing else was asked for
    for asked in world.front.asked() {
        let known = ["/?", "/.sourceignore"]
            .iter()
            .any(|part| asked.contains(part));
        ensure!(known || asked.starts_with("HEAD "), "{asked}");
    }
    Ok(())
}

// SC-BKT-034: an absolute key stays below the folder; keys that end in a slash are no files
#[tokio::test]
async fn absolute_keys_stay_in_the_artifact() -> Result {
    let front = Front::alone().answering(|request| {
        Some(match request.target.as_str() {
            "/app/" => Answer::new(200, ""),
            "/app/.sourceignore" => Answer::new(404, ""),
            "/app//etc/passwd" => Answer::With(
                200,
                vec![("etag", "\"1\"".to_owned())],
                "content".to_owned(),
            ),
            target if target.starts_with("/app/?") => {
                Answer::new(200, list(&["/etc/passwd", "dir/", "/"]))
            }
            _ => Answer::new(500, ""),
        })
    });
    let world = World::start("bucket-absolute", front).await?;
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    assert_eq!(
        world.files(&object).await?,
        files(&[("etc/passwd", "content")])
    );
    Ok(())
}

// SC-BKT-033
#[tokio::test]
async fn objects_that_change_between_list_and_download() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let front = front.mangling(|request, body| {
        if !request.target.contains("list-type") {
            return body;
        }
        // `gone` is listed and not there, and the ETag of `a` is an old one
        let text =
            String::from_utf8_lossy(&body).replace("f97c5d29941bfb1b2fdab0874906ab82", "0123");
        let gone = "<Contents><Key>gone</Key><ETag>1</ETag></Contents><IsTruncated>";
        text.replacen("<IsTruncated>", gone, 1).into_bytes()
    });
    let world = World::start("bucket-race", front).await?;
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    let lines = "a f97c5d29941bfb1b2fdab0874906ab82\n";
    let want = flux_artifact::Algorithm::Sha256.digest(lines.as_bytes());
    assert_eq!(crate::world::revision(&object), want.to_string());
    let line = "indexed object 'gone' disappeared from 'app' bucket";
    let told = |entry: &serde_json::Value| entry["msg"] == line;
    world
        .controller
        .log()
        .wait("of the object that is gone", told)
        .await?;
    Ok(())
}

// SC-BKT-027, SC-BKT-068
#[tokio::test]
async fn lists_that_make_no_sense_are_errors() -> Result {
    let cases = [
        (
            "no-etag",
            "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
            "object 'a' has no ETag",
        ),
        (
            "html",
            "<html><br></html>",
            "invalid response: the document is not a list",
        ),
        (
            "endless",
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
            "invalid response: the list repeats a page",
        ),
        (
            "entities",
            "<!DOCTYPE l [<!ENTITY a 'b'>]><ListBucketResult>&a;</ListBucketResult>",
            "invalid response: the XML has a document type",
        ),
    ];
    let front = Front::alone().answering(move |request| {
        let (name, rest) = request.target.trim_start_matches('/').split_once('/')?;
        let (_, body, _) = cases.iter().find(|(case, ..)| *case == name)?;
        Some(match rest {
            "" => Answer::new(200, ""),
            ".sourceignore" => Answer::new(404, ""),
            _ => Answer::new(200, *body),
        })
    });
    let world = World::start("bucket-lists", front).await?;
    for (name, _, why) in cases {
        world.apply(name, &format!("bucketName: {name}")).await?;
        let text = world.failed(name, "BucketOperationFailed").await?;
        let want = format!(
            "indexation of objects from bucket '{name}' failed: listing objects from bucket '{name}' failed: {why}"
        );
        assert_eq!(text, want);
    }
    Ok(())
}

// SC-BKT-026, SC-BKT-027, SC-BKT-028
#[tokio::test]
async fn what_is_no_bucket_keeps_the_last_artifact() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let world = World::start("bucket-bad", front).await?;
    let authority = Authority::new();
    world.secret("ca", &[("ca.crt", &authority.pem())]).await?;
    let html = "<html><body>Sign in</body></html>";
    let always = |answer: Answer| Front::alone().answering(move |_| Some(answer.clone()));
    let to = |location: &str| {
        let headers = vec![("location", location.to_owned())];
        always(Answer::With(307, headers, String::new()))
    };
    let listing = |body: &'static str| {
        Front::alone().answering(move |request| {
            Some(match request.target.as_str() {
                "/app/" => Answer::new(200, ""),
                "/app/.sourceignore" => Answer::new(404, ""),
                _ => Answer::new(200, body),
            })
        })
    };
    let cut = "<ListBucketResult><Contents><Key>a</Key><ET";
    for (name, front, words) in [
        ("html", listing(html), "invalid response"),
        ("cut", listing(cut), "invalid response"),
        (
            "loop",
            to("/app/"),
            "failed to confirm existence of 'app' bucket: ",
        ),
        (
            "metadata",
            to("http://169.254.169.254/latest"),
            "failed to confirm existence of 'app' bucket: ",
        ),
        (
            "expired",
            Front::alone().tls_pair(&authority.issue_expired(&["127.0.0.1"])),
            "certificate has expired or is not yet valid",
        ),
        (
            "other-name",
            Front::alone().tls_pair(&authority.issue(&["s3.example.com"])),
            "tls: failed to verify certificate: x509: ",
        ),
    ] {
        let is_secure = words.contains("certificate");
        let front = front.start();
        world.apply(name, "").await?;
        let before = world.ready(name).await?;
        let spec = json!({"spec": {
            "endpoint": front.host(), "insecure": !is_secure, "certSecretRef": is_secure.then(|| json!({"name": "ca"}))}});
        world.namespace.merge(BUCKET, name, spec).await?;
        let failed = |object: &Value| is_ready(object, "False");
        let object = world
            .namespace
            .wait(BUCKET, name, "has failed", failed)
            .await?;
        let text = message(&object, "FetchFailed");
        ensure!(text.contains(words), "{name}: {text}");
        ensure!(
            !message(&object, "Reconciling").is_empty(),
            "{name}: {object}"
        );
        ensure!(
            object["status"]["artifact"] == before["status"]["artifact"],
            "{name}: {object}"
        );
        assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    }
    ensure!(world.controller.log().panic().is_none(), "a panic");
    Ok(())
}
