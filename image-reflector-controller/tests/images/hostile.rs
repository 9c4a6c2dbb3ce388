//! Registries and specs that make a controller hold or compute much.

use kind_tests::{Result, ensure};
use registries::Registry;

use crate::world::{APP, World};

fn list(count: usize, tag: impl Fn(usize) -> String) -> String {
    let tags: Vec<String> = (0..count).map(|n| format!("\"{}\"", tag(n))).collect();
    format!("{{\"name\":\"{APP}\",\"tags\":[{}]}}", tags.join(","))
}

// FR-N-064, IR-DB-050: a hundred thousand tags of sixty bytes
#[tokio::test]
async fn large_repositories_fit_into_memory() -> Result {
    let page = list(100_000, |n| format!("{n:06}-{}", "a".repeat(53)));
    let registry = Registry::builder()
        .answer(99, "GET", &format!("/v2/{APP}/tags"), 200, &page)
        .start();
    let world = World::start("img-large", registry).await?;
    for name in ["one", "two"] {
        world
            .apply(name, "exclusionList: ['x$', '^.*[.]sig$']")
            .await?;
    }
    let extracted = "filterTags: {pattern: '^(?P<n>[0-9]+)-a+$', extract: '$n'}, policy: {numerical: {order: asc}}";
    world.policy("extracted", "one", extracted).await?;
    let matched = "filterTags: {pattern: '^0.*a$'}, policy: {alphabetical: {order: asc}}";
    world.policy("matched", "two", matched).await?;
    for name in ["one", "two"] {
        let object = world.scanned(name).await?;
        assert_eq!(object["status"]["lastScanResult"]["tagCount"], 100_000);
    }
    for name in ["extracted", "matched"] {
        let tag = format!("099999-{}", "a".repeat(53));
        world.selected(name, &tag).await?;
    }
    // IR-PROC-006: compressed
    let file = world.file("one").with_extension("txt.gz");
    ensure!(
        file.exists() && !world.file("one").exists(),
        "{}",
        file.display()
    );
    world.controller.check_memory()
}

#[tokio::test]
async fn lists_without_end_and_odd_tags_are_bounded() -> Result {
    let odd = list(4, |n| match n {
        0 => "1.0.0".to_owned(),
        1 => "a\\nb".to_owned(),
        2 => "$(id)".to_owned(),
        _ => "é".repeat(90),
    });
    let link = format!("</v2/{APP}/tags/list?n=1000>; rel=\"next\"");
    let registry = Registry::builder()
        .answer(99, "GET", "/v2/org/odd/tags", 200, &odd)
        .answer_with(
            99,
            "GET",
            &format!("/v2/{APP}/tags"),
            200,
            &[("link", &link)],
            &odd,
        )
        .start();
    let world = World::start("img-odd", registry).await?;
    // FR-N-059
    world.apply("circle", "").await?;
    let text = world.failed("circle", "ReadOperationFailed").await?;
    ensure!(
        text.ends_with("the list of tags leads back to itself"),
        "{text}"
    );
    let odd = world.registry.repository("org/odd");
    world.apply_image("odd", &odd, "").await?;
    let object = world.scanned("odd").await?;
    let latest = &object["status"]["lastScanResult"]["latestTags"];
    assert_eq!(*latest, serde_json::json!(["1.0.0"]));
    // expressions that take exponential time elsewhere, and ones that are too large
    let hostile = "exclusionList: ['(a*)*b', '(x+x+)+y']";
    world.apply_image("expensive", &odd, hostile).await?;
    world.scanned("expensive").await?;
    let large = format!("exclusionList: ['{}']", r"\pL{40}".repeat(20));
    world.apply_image("large", &odd, &large).await?;
    let text = world.failed("large", "ReadOperationFailed").await?;
    ensure!(text.contains("expression too large"), "{text}");
    world.controller.check_memory()
}
