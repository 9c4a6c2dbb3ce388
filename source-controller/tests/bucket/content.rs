//! What goes into an artifact: ignore rules, prefixes, many objects.

use kind_tests::{BUCKET, Result, ensure};
use serde_json::json;

use crate::world::{World, files, revision, seaweed};

// SC-BKT-040, SC-BKT-041, SC-BKT-042
#[tokio::test]
async fn ignore_rules_are_those_of_the_root_and_of_the_spec() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    for (key, text) in [
        (".sourceignore", "*.md\n/only-root\n"),
        ("dir/.sourceignore", "*.yaml\n"),
        ("dir/a.yaml", "1"),
        ("dir/a.md", "2"),
        ("dir/only-root", "3"),
        ("only-root", "4"),
        ("picture.jpg", "5"),
        (".git/config", "6"),
        ("keep.md", "7"),
    ] {
        store.put("app", key, text).await;
    }
    let world = World::start("bucket-ignore", front).await?;
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    let rules = (".sourceignore", "*.md\n/only-root\n");
    // SC-BKT-043: no defaults and no nested rules; the file itself is in the archive
    let want = files(&[
        rules,
        ("dir/.sourceignore", "*.yaml\n"),
        ("dir/a.yaml", "1"),
        ("dir/only-root", "3"),
        ("picture.jpg", "5"),
        (".git/config", "6"),
    ]);
    assert_eq!(world.files(&object).await?, want);
    ensure!(
        !world.downloads().iter().any(|key| key.contains(".md")),
        "{:?}",
        world.downloads()
    );

    // SC-BKT-044: the rules of the spec come after those of the file
    let ignore = json!({"spec": {"ignore": "!keep.md\n.git\ndir\n"}});
    world.namespace.merge(BUCKET, "app", ignore).await?;
    let changed = world.ready("app").await?;
    let want = files(&[rules, ("picture.jpg", "5"), ("keep.md", "7")]);
    assert_eq!(world.files(&changed).await?, want);
    assert_eq!(changed["status"]["observedIgnore"], "!keep.md\n.git\ndir\n");
    ensure!(revision(&changed) != revision(&object), "{changed}");

    // rules that exclude nothing more leave the artifact and what was observed
    let ignore = json!({"spec": {"ignore": "!keep.md\n.git\ndir\nnothing\n"}});
    world.namespace.merge(BUCKET, "app", ignore).await?;
    let same = world.ready("app").await?;
    assert_eq!(same["status"]["artifact"], changed["status"]["artifact"]);
    assert_eq!(same["status"]["observedIgnore"], "!keep.md\n.git\ndir\n");
    Ok(())
}

// SC-BKT-061
#[tokio::test]
async fn a_prefix_is_passed_on_and_kept_in_the_paths() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    for key in ["apps/a", "apps/b/c", "apps2", "other"] {
        store.put("app", key, key).await;
    }
    let world = World::start("bucket-prefix", front).await?;
    world.apply("app", "prefix: apps/").await?;
    let object = world.ready("app").await?;
    let want = files(&[("apps/a", "apps/a"), ("apps/b/c", "apps/b/c")]);
    assert_eq!(world.files(&object).await?, want);
    let listed = world.front.asked().into_iter();
    let listed: Vec<_> = listed.filter(|asked| asked.contains("list-type")).collect();
    ensure!(listed[0].ends_with("&prefix=apps%2F"), "{listed:?}");
    Ok(())
}

// SC-BKT-061
#[tokio::test]
async fn a_list_has_more_than_one_page() -> Result {
    const COUNT: usize = 1010;
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    for at in (0..COUNT).step_by(10) {
        let names: Vec<String> = (at..at + 10)
            .map(|n| format!("{:02}/{n:04}", n % 10))
            .collect();
        let puts = names.iter().map(|name| store.put("app", name, name));
        futures::future::join_all(puts).await;
    }
    let world = World::start("bucket-pages", front).await?;
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    let found = world.files(&object).await?;
    assert_eq!(found.len(), COUNT);
    ensure!(
        found.iter().all(|(path, text)| path == text),
        "contents are mixed up"
    );
    let asked = world.front.asked();
    let pages = asked.iter().filter(|asked| asked.contains("list-type=2"));
    assert_eq!(pages.count(), 2);
    Ok(())
}
