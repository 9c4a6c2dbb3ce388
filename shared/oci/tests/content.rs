//! What is read from a real registry: tags, manifests, blobs, referrers.

mod support;

use std::sync::Arc;

use flux_budget::Budget;
use flux_oci::{BlobError, Client, Digest, Error, MAX_MANIFEST, Options, Repository};
use registries::{Artifact, Distribution, Registry, digest_of, tar_gz};
use rstest::rstest;
use serde_json::json;
use support::{APP, client, client_with, latest, options, text};

fn artifact(text: &str) -> Artifact {
    Artifact::flux(tar_gz(&[("a.yaml", text)]))
}

// SC-OCI-042, SC-OCI-063
#[tokio::test]
async fn a_tag_is_resolved_and_its_layer_read() {
    let registry = Registry::start();
    let layer = tar_gz(&[("a.yaml", "kind: A")]);
    let pushed = Artifact::flux(layer.clone()).annotate("org.opencontainers.image.revision", "r1");
    let digest = registry.push(APP, "latest", &pushed);

    let client = client(&registry);
    assert_eq!(latest(&client).await.unwrap(), digest);
    let image = client.image(&digest.parse().unwrap()).await.unwrap();
    assert_eq!(image.digest.to_string(), digest);
    assert_eq!(
        image.manifest.annotations["org.opencontainers.image.revision"],
        "r1"
    );
    let blob = client.blob(&image.manifest.layers[0]).await.unwrap();
    assert_eq!(blob.size(), layer.len() as u64);
    let claim = Budget::unlimited().claim();
    assert_eq!(blob.read(1 << 20, &claim).await.unwrap(), layer);
    assert!(claim.held() >= layer.len() as u64);
    let asked = registry.asked();
    let expected = [
        "GET /v2/".to_owned(),
        format!("HEAD /v2/{APP}/manifests/latest"),
        format!("GET /v2/{APP}/manifests/{digest}"),
        format!("GET /v2/{APP}/blobs/{}", digest_of(&layer)),
    ];
    assert_eq!(asked, expected);
    // SC-OCI-050
    let agents = registry.requests();
    assert!(
        agents
            .iter()
            .all(|request| request.user_agent.as_deref() == Some("flux/v2"))
    );
}

// SC-OCI-042: a HEAD that is not enough, and one that is refused
#[rstest]
#[case(405, &[])]
#[case(200, &[("content-type", "x"), ("docker-content-digest", "sha512:00")])]
#[case(200, &[("content-type", "x")])]
#[tokio::test]
async fn a_get_replaces_a_head_that_fails(#[case] status: u16, #[case] headers: &[(&str, &str)]) {
    let prefix = format!("/v2/{APP}/manifests/");
    let registry = Registry::builder()
        .answer_with(9, "HEAD", &prefix, status, headers, "")
        .start();
    let digest = registry.push(APP, "latest", &artifact("a"));
    assert_eq!(latest(&client(&registry)).await.unwrap(), digest);
    assert_eq!(registry.asked()[2], format!("GET {prefix}latest"));
}

// SC-OCI-027, SC-OCI-042
#[tokio::test]
async fn a_missing_tag_is_reported_in_the_registrys_words() {
    let registry = Registry::start();
    registry.push(APP, "other", &artifact("a"));
    let error = latest(&client(&registry)).await.unwrap_err();
    let shown = text(&registry, &error);
    let begin = "GET http://HOST/v2/org/app/manifests/latest: MANIFEST_UNKNOWN: manifest unknown";
    assert!(shown.starts_with(begin), "{shown}");
    assert!(error.is_not_found());
}

// SC-OCI-045
#[tokio::test]
async fn all_pages_of_tags_are_read() {
    let registry = Registry::builder().page(3).start();
    let mut pushed: Vec<String> = (0..8).map(|number| format!("v1.{number}.0")).collect();
    for tag in &pushed {
        registry.push(APP, tag, &artifact("a"));
    }
    let claim = Arc::new(Budget::unlimited().claim());
    let options = Options {
        claim: claim.clone(),
        ..options()
    };
    let mut tags = client_with(&registry, options).tags().await.unwrap();
    tags.sort();
    pushed.sort();
    assert_eq!(tags, pushed);
    assert_eq!(registry.asked().len(), 4, "{:?}", registry.asked());
    assert!(registry.asked()[1].ends_with("?n=1000"));
    // What was read of the pages is given back, what is held of the tags is not.
    assert!((1..1000).contains(&claim.held()), "{}", claim.held());
}

// SC-OCI-045, FR-H-071: odd lists of tags
#[rstest]
#[case(r#"{"tags": null}"#, &[], Ok(vec![]))]
#[case(r#"{"tags": ["b", null, "a"]}"#, &[], Ok(vec!["b", "a"]))]
#[case(
    "<html>",
    &[],
    Err("http://HOST/v2/org/app/tags/list?n=***: the response is not valid JSON: invalid syntax at line 1 column 1")
)]
#[case(
    r#"{"tags": ["a"]}"#,
    &[("link", "<https://other.example.com/v2/x>; rel=\"next\"")],
    Err("http://HOST/v2/org/app/tags/list?n=***: the next page is on another host")
)]
#[case(
    r#"{"tags": ["a"]}"#,
    &[("link", "</v2/org/app/tags/list?n=1000>; rel=\"next\"")],
    Err("http://HOST/v2/org/app/tags/list?n=***: the list of tags leads back to itself")
)]
#[tokio::test]
async fn null_foreign_and_circular_lists_of_tags_are_handled(
    #[case] body: &str,
    #[case] headers: &[(&str, &str)],
    #[case] expected: Result<Vec<&str>, &str>,
) {
    let prefix = format!("/v2/{APP}/tags/list");
    let registry = Registry::builder()
        .answer_with(9, "GET", &prefix, 200, headers, body)
        .start();
    let found = client(&registry).tags().await;
    let found = found.map_err(|error| text(&registry, &error));
    let expected = expected
        .map(|tags| tags.into_iter().map(str::to_owned).collect::<Vec<_>>())
        .map_err(str::to_owned);
    assert_eq!(found, expected);
}

/// A client that shares this budget.
fn within(registry: &Registry, budget: &Budget) -> Client {
    let options = Options {
        claim: Arc::new(budget.claim()),
        ..options()
    };
    client_with(registry, options)
}

// SC-OCI-045: what a short text becomes is claimed before there is more of it
#[tokio::test]
async fn lists_are_claimed_while_they_are_read() {
    let budget = Budget::new(8 << 20);
    let prefix = format!("/v2/{APP}/tags/list");
    let many = format!(r#"{{"tags": ["a"{}]}}"#, r#","a""#.repeat(200_000));
    let registry = Registry::builder()
        .answer(9, "GET", &prefix, 200, &many)
        .start();
    let found = within(&registry, &budget).tags().await;
    assert!(matches!(found, Err(Error::Memory(_))), "{found:?}");
    let absent = format!(r#"{{"tags": [null{}, "a"]}}"#, r#","""#.repeat(600_000));
    let registry = Registry::builder()
        .answer(9, "GET", &prefix, 200, &absent)
        .start();
    assert_eq!(within(&registry, &budget).tags().await.unwrap(), ["a"]);

    let digest = Digest::of(b"");
    let one = |more: &str| format!(r#"{{"digest": "{digest}", "artifactType": "t"{more}}}"#);
    let notes: Vec<_> = (0..90_000).map(|note| format!(r#""{note}":"""#)).collect();
    let noted = one(&format!(r#", "annotations": {{{}}}"#, notes.join(",")));
    let registry = Registry::builder()
        .answer_with(
            9,
            "GET",
            &format!("/v2/{APP}/referrers/"),
            200,
            &[("content-type", "application/vnd.oci.image.index.v1+json")],
            &format!(r#"{{"manifests": [{noted}, {}]}}"#, one("")),
        )
        .start();
    let client = within(&registry, &budget);
    assert_eq!(client.referrers(&digest, Some("t")).await.unwrap().len(), 2);
    assert_eq!(client.referrers(&digest, Some("u")).await.unwrap().len(), 0);
    assert!(budget.used() < 1024, "{}", budget.used());

    let manifest = format!(r#"{{"annotations": {{{}}}}}"#, notes.join(","));
    let digest = Digest::of(manifest.as_bytes());
    let registry = Registry::builder()
        .answer_with(
            9,
            "GET",
            &format!("/v2/{APP}/manifests/"),
            200,
            &[("content-type", "application/vnd.oci.image.manifest.v1+json")],
            &manifest,
        )
        .start();
    let read = within(&registry, &budget).image(&digest).await;
    assert!(matches!(read, Err(Error::Memory(_))), "{read:?}");
}

// SC-VER-037
#[tokio::test]
async fn the_list_of_referrers_has_an_end() {
    let link = format!("</v2/{APP}/referrers/x?token=s3cret>; rel=next");
    let registry = Registry::builder()
        .answer_with(
            99,
            "GET",
            &format!("/v2/{APP}/referrers/"),
            200,
            &[
                ("content-type", "application/vnd.oci.image.index.v1+json"),
                ("link", &link),
            ],
            "{}",
        )
        .start();
    let error = client(&registry).referrers(&Digest::of(b""), None).await;
    assert_eq!(
        text(&registry, &error.unwrap_err()),
        "http://HOST/v2/org/app/referrers/x?token=***: more than 16 pages of referrers"
    );
}

// SC-OCI-045
#[tokio::test]
async fn tags_and_links_have_a_length() {
    let prefix = format!("/v2/{APP}/tags/list");
    let longest = "a".repeat(128);
    let body = format!(r#"{{"tags": ["{longest}", "{longest}a", "", "a"]}}"#);
    let registry = Registry::builder()
        .answer(9, "GET", &prefix, 200, &body)
        .start();
    let found = client(&registry).tags().await.unwrap();
    assert_eq!(found, [longest.as_str(), "a"]);

    let link = format!("</v2/x?last={}>", "a".repeat(4096));
    let registry = Registry::builder()
        .answer_with(9, "GET", &prefix, 200, &[("link", &link)], &body)
        .start();
    let error = client(&registry).tags().await.unwrap_err();
    assert_eq!(
        text(&registry, &error),
        "http://HOST/v2/org/app/tags/list?n=***: the link to the next page has more than 4096 bytes"
    );
}

// SC-OCI-045: a link of a registry behind a proxy that ends TLS, with another scheme
#[rstest]
#[case("<https://{host}/v2/org/app/tags/list?last=a>; rel=next")]
// FR-N-058: without the registry's port
#[case("<https://127.0.0.1/v2/org/app/tags/list?last=a>; rel=next")]
#[tokio::test]
async fn links_are_followed_on_the_registry_only(#[case] link: &str) {
    let prefix = format!("/v2/{APP}/tags/list?n=");
    let registry = Registry::builder()
        .answer_with(
            1,
            "GET",
            &prefix,
            200,
            &[("link", link)],
            r#"{"tags": ["a"]}"#,
        )
        .answer(
            1,
            "GET",
            &format!("/v2/{APP}/tags/list?last=a"),
            200,
            r#"{"tags": ["b"]}"#,
        )
        .start();
    assert_eq!(client(&registry).tags().await.unwrap(), ["a", "b"]);
}

// FR-N-057
#[rstest]
#[case(413, 1, "?n=100")]
#[case(400, 1, "?n=100")]
#[case(400, 2, "")]
#[tokio::test]
async fn a_registry_with_a_smaller_page_is_asked_for_its_own(
    #[case] status: u16,
    #[case] times: usize,
    #[case] query: &str,
) {
    let prefix = format!("/v2/{APP}/tags/list");
    let registry = Registry::builder()
        .answer(times, "GET", &prefix, status, "")
        .start();
    registry.push(APP, "v1", &artifact("a"));
    let options = options();
    let client = client_with(&registry, options.clone());
    assert_eq!(client.tags().await.unwrap(), ["v1"]);
    let expected = format!("GET {prefix}{query}");
    assert_eq!(registry.asked()[1 + times], expected);

    // What one client has found out, the others of its process know.
    registry.clear_requests();
    let another = client_with(&registry, options);
    assert_eq!(another.tags().await.unwrap(), ["v1"]);
    assert_eq!(registry.asked()[1..], [expected]);
}

// FR-N-057: a registry that refuses every page is reported by what it said first
#[tokio::test]
async fn a_registry_without_pages_is_reported_once() {
    let registry = Registry::builder()
        .answer(9, "GET", "/v2/org/app/tags/list", 400, "no 100%d of that")
        .start();
    let error = client(&registry).tags().await.unwrap_err();
    assert_eq!(
        text(&registry, &error),
        "GET http://HOST/v2/org/app/tags/list?n=***: unexpected status code 400 Bad Request: no 100%d of that"
    );
    assert_eq!(registry.asked().len(), 4);
}

// SC-OCI-044
#[tokio::test]
async fn an_index_leads_to_its_manifest_for_linux() {
    let registry = Registry::start();
    let (amd64, arm64) = (artifact("amd64"), artifact("arm64"));
    let child = |artifact: &Artifact, architecture: &str| {
        let digest = registry.push(APP, architecture, artifact);
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let (arm, amd) = (child(&arm64, "arm64"), child(&amd64, "amd64"));
    let inner = registry.push_index(APP, "latest", &[arm.clone(), amd.clone()]);
    let client = client(&registry);
    assert_eq!(latest(&client).await.unwrap(), inner);
    let image = client.image(&inner.parse().unwrap()).await.unwrap();
    assert_eq!(json!(image.digest.to_string()), amd["digest"]);

    let only = registry.push_index(APP, "arm", &[arm]);
    let error = client.image(&only.parse().unwrap()).await.unwrap_err();
    let expected = format!("no child with platform linux/amd64 in index HOST/{APP}@{only}");
    assert_eq!(text(&registry, &error), expected);

    let nested = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": inner});
    let outer = registry.push_index(APP, "nested", &[nested]);
    let image = client.image(&outer.parse().unwrap()).await.unwrap();
    assert_eq!(json!(image.digest.to_string()), amd["digest"]);
}

#[tokio::test]
async fn indexes_without_end_are_not_followed() {
    let media_type = "application/vnd.oci.image.index.v1+json";
    let registry = Registry::start();
    let mut digest = registry.push_index(APP, "0", &[]);
    for depth in 1..8 {
        let child = json!({"mediaType": media_type, "digest": digest});
        digest = registry.push_index(APP, &depth.to_string(), &[child]);
    }
    let error = client(&registry).image(&digest.parse().unwrap()).await;
    assert!(matches!(error, Err(Error::Nested(_))), "{error:?}");
}

// SC-OCI-043: what a registry gives for a digest has that digest
#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let registry = Registry::builder()
        .mangle(|target, body| {
            if target.contains("/manifests/") {
                [body, b" ".to_vec()].concat()
            } else {
                body
            }
        })
        .start();
    let digest = registry.push(APP, "latest", &artifact("a"));
    let error = client(&registry).image(&digest.parse().unwrap()).await;
    let shown = text(&registry, &error.unwrap_err());
    let end = format!("does not match requested digest: \"{digest}\" for \"HOST/{APP}@{digest}\"");
    assert!(
        shown.starts_with("manifest digest: \"sha256:") && shown.ends_with(&end),
        "{shown}"
    );
}

// SC-OCI-029
#[tokio::test]
async fn what_is_no_manifest() {
    let registry = Registry::builder()
        .answer_with(
            9,
            "GET",
            &format!("/v2/{APP}/manifests/"),
            200,
            &[("content-type", "application/vnd.oci.image.manifest.v1+json")],
            "[1]",
        )
        .start();
    let error = client(&registry)
        .image(&Digest::of(b"[1]"))
        .await
        .unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.starts_with("the manifest is not valid JSON: an unexpected value at line"),
        "{shown}"
    );

    let large = " ".repeat(MAX_MANIFEST + 1);
    let prefix = format!("/v2/{APP}/manifests/");
    let registry = Registry::builder()
        .answer(9, "GET", &prefix, 200, &large)
        .start();
    let error = client(&registry).image(&Digest::of(large.as_bytes())).await;
    let shown = text(&registry, &error.unwrap_err());
    assert!(
        shown.ends_with("response body exceeds the limit of 4194304 bytes"),
        "{shown}"
    );
}

#[tokio::test]
async fn the_oldest_manifests_are_not_supported() {
    let media_type = "application/vnd.docker.distribution.manifest.v1+json";
    let registry = Registry::builder()
        .answer_with(
            9,
            "GET",
            "/v2/org/app/manifests/",
            200,
            &[("content-type", media_type)],
            "{}",
        )
        .start();
    let error = client(&registry)
        .image(&Digest::of(b"{}"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "unsupported MediaType: \"application/vnd.docker.distribution.manifest.v1+json\", see https://github.com/google/go-containerregistry/issues/377"
    );
}

// SC-OCI-063: every byte of a blob is checked
#[rstest]
#[case(|mut body: Vec<u8>| { body[0] ^= 1; body }, "error verifying sha256 checksum after reading")]
#[case(|body: Vec<u8>| body[1..].to_vec(), "does not match expected size")]
#[case(|body: Vec<u8>| [body, vec![0]].concat(), "does not match expected size")]
#[tokio::test]
async fn a_blob_that_is_another_is_refused(
    #[case] change: fn(Vec<u8>) -> Vec<u8>,
    #[case] expected: &str,
) {
    let registry = Registry::builder()
        .mangle(move |target, body| {
            if target.contains("/blobs/") {
                change(body)
            } else {
                body
            }
        })
        .start();
    let digest = registry.push(APP, "latest", &artifact("a"));
    let client = client(&registry);
    let image = client.image(&digest.parse().unwrap()).await.unwrap();
    let read = async {
        let mut blob = client.blob(&image.manifest.layers[0]).await?;
        while blob.next().await?.is_some() {}
        Ok::<_, Error>(())
    };
    let error = read.await.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn blobs_are_bounded_by_the_caller() {
    let registry = Registry::start();
    let digest = registry.push(APP, "latest", &artifact("a"));
    let client = client(&registry);
    let image = client.image(&digest.parse().unwrap()).await.unwrap();
    let layer = &image.manifest.layers[0];
    let claim = Budget::unlimited().claim();
    let read = client.blob(layer).await.unwrap().read(1, &claim).await;
    assert!(
        matches!(read, Err(BlobError::TooLarge { limit: 1, .. })),
        "{read:?}"
    );
    let small = Budget::new(10).claim();
    let read = client
        .blob(layer)
        .await
        .unwrap()
        .read(1 << 20, &small)
        .await;
    assert!(matches!(read, Err(BlobError::Memory(_))), "{read:?}");
}

// SC-VER-037
#[rstest]
#[case(true)]
#[case(false)]
#[tokio::test]
async fn referrers_are_found_by_the_list_or_the_tag(#[case] listed: bool) {
    let builder = Registry::builder();
    let registry = if listed {
        builder.start()
    } else {
        builder.without_referrers().start()
    };
    let digest = registry.push(APP, "latest", &artifact("a"));
    let client = client(&registry);
    let subject: Digest = digest.parse().unwrap();
    assert!(client.referrers(&subject, None).await.unwrap().is_empty());

    let size = registry_size(&client, &subject).await;
    let signature = |artifact_type: &str| Artifact {
        artifact_type: Some(artifact_type.to_owned()),
        subject: Some((digest.clone(), size)),
        ..artifact(artifact_type)
    };
    let types = ["application/vnd.a", "application/vnd.b"];
    let pushed = types.map(|kind| registry.push_referrer(APP, &signature(kind)));
    if !listed {
        let entries: Vec<_> = types
            .iter()
            .zip(&pushed)
            .map(|(kind, digest)| json!({"digest": digest, "size": 1, "artifactType": kind}))
            .collect();
        registry.push_index(APP, &digest.replace(':', "-"), &entries);
    }
    let found = client.referrers(&subject, None).await.unwrap();
    assert_eq!(found.len(), 2);
    let found = client.referrers(&subject, Some(types[1])).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest.to_string(), pushed[1]);
    let signature = client.image(&found[0].digest).await.unwrap();
    assert_eq!(signature.manifest.subject.unwrap().digest, subject);
}

async fn registry_size(client: &flux_oci::Client, digest: &Digest) -> usize {
    let reference = client.repository().at(digest.clone());
    client.manifest(&reference).await.unwrap().content.len()
}

// SC-VER-037: only the answer that there is no list leads to the tag
#[rstest]
#[case(404, true)]
#[case(405, true)]
#[case(400, true)]
#[case(403, false)]
#[case(501, false)]
#[tokio::test]
async fn an_error_is_not_the_absence_of_referrers(#[case] status: u16, #[case] absent: bool) {
    let registry = Registry::builder()
        .answer(9, "GET", "/v2/org/app/referrers/", status, "")
        .start();
    let digest = registry.push(APP, "latest", &artifact("a"));
    let found = client(&registry)
        .referrers(&digest.parse().unwrap(), None)
        .await;
    assert_eq!(found.is_ok(), absent, "{found:?}");
}

// SC-OCI-042, SC-OCI-045, SC-VER-037: a registry of another make, without lists of referrers
#[tokio::test]
async fn a_registry_of_another_make() {
    let Some(registry) = Distribution::start() else {
        return;
    };
    let layer = tar_gz(&[("a.yaml", "kind: A")]);
    let digest = registry.push(APP, "latest", &Artifact::flux(layer.clone()));
    registry.push(APP, "v1.0.0", &artifact("b"));
    let repository = Repository::parse(&registry.repository(APP)).unwrap();
    let client = Client::new(repository, options()).unwrap();
    assert_eq!(latest(&client).await.unwrap(), digest);
    let mut tags = client.tags().await.unwrap();
    tags.sort();
    assert_eq!(tags, ["latest", "v1.0.0"]);
    let subject: Digest = digest.parse().unwrap();
    let image = client.image(&subject).await.unwrap();
    let blob = client.blob(&image.manifest.layers[0]).await.unwrap();
    let claim = Budget::unlimited().claim();
    assert_eq!(blob.read(1 << 20, &claim).await.unwrap(), layer);
    assert!(client.referrers(&subject, None).await.unwrap().is_empty());
    let missing = client.repository().tag("absent").unwrap();
    assert!(client.resolve(&missing).await.unwrap_err().is_not_found());
}
