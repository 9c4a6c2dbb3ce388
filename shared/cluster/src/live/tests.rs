//! States are compared, listed and watched.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::*;

fn live(changes: &[(&str, Value)]) -> Live {
    let mut object = json!({ "metadata": {
        "uid": "u", "resourceVersion": "7", "generation": 2, "labels": { "a": "b" }, "annotations": { "c": "d" },
    }});
    for (pointer, value) in changes {
        *object.pointer_mut(pointer).unwrap() = value.clone();
    }
    let of_object = Live::of(&Object::new(object.clone()).unwrap()).unwrap();
    // A list and a watch see the same.
    let partial: Partial = serde_json::from_value(object).unwrap();
    assert_eq!(partial.seen().unwrap().live, of_object);
    of_object
}

#[test]
fn an_object_is_unchanged_if_its_version_or_its_generation_and_metadata_are() {
    let then = live(&[]);
    let newer = ("/metadata/resourceVersion", json!("8"));
    let counted = json!({ "c": "d", "deployment.kubernetes.io/revision": "2" });
    for (what, now, untouched) in [
        ("nothing moved", live(&[]), true),
        (
            "only the status moved",
            live(std::slice::from_ref(&newer)),
            true,
        ),
        (
            "revisions are counted",
            live(&[newer.clone(), ("/metadata/annotations", counted)]),
            true,
        ),
        (
            "a new generation",
            live(&[newer.clone(), ("/metadata/generation", json!(3))]),
            false,
        ),
        (
            "another label",
            live(&[newer.clone(), ("/metadata/labels/a", json!("x"))]),
            false,
        ),
        (
            "another annotation",
            live(&[newer.clone(), ("/metadata/annotations/c", json!("x"))]),
            false,
        ),
        (
            "an entry that moved from the annotations to the labels",
            live(&[
                newer.clone(),
                ("/metadata/labels", json!({ "a": "b", "c": "d" })),
                ("/metadata/annotations", json!({})),
            ]),
            false,
        ),
        (
            "made anew",
            live(&[newer.clone(), ("/metadata/uid", json!("v"))]),
            false,
        ),
        (
            "a kind without generations",
            live(&[newer, ("/metadata/generation", Value::Null)]),
            false,
        ),
    ] {
        assert_eq!(now.is_untouched_since(&then), untouched, "{what}");
    }
    let without = |version: &str| {
        live(&[
            ("/metadata/generation", Value::Null),
            ("/metadata/resourceVersion", json!(version)),
        ])
    };
    assert!(!without("8").is_untouched_since(&without("7")));
    assert!(without("7").is_untouched_since(&without("7")));
    // Aggregated servers may have versions of another form.
    assert!(without("7/3").is_untouched_since(&without("7/3")));
    assert!(!without("7/4").is_untouched_since(&without("7/3")));
}

#[test]
fn only_numbers_have_an_order() {
    let version = |version: &str| live(&[("/metadata/resourceVersion", json!(version))]);
    assert!(version("9").is_older_than(&version("10")));
    assert!(!version("10").is_older_than(&version("9")));
    assert!(!version("9").is_older_than(&version("9")));
    for other in ["9a", "18446744073709551615", "-1"] {
        assert!(!version("9").is_older_than(&version(other)), "{other}");
        assert!(!version(other).is_older_than(&version("9")), "{other}");
        assert_eq!(version(other).resource_version(), None);
    }
    let anew = live(&[("/metadata/uid", json!("v"))]);
    assert!(!anew.is_older_than(&version("9")));
    assert_eq!(version("9").resource_version(), Some(9));
}

#[test]
fn what_is_not_stored_has_no_state() {
    for metadata in [
        json!({}),
        json!({ "uid": "u" }),
        json!({ "resourceVersion": "1" }),
    ] {
        let object = Object::new(json!({ "metadata": metadata })).unwrap();
        assert_eq!(Live::of(&object), None, "{metadata}");
    }
}

#[tokio::test]
async fn lists_and_watches_ask_for_the_metadata_of_the_selected_objects() {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let accept = request.headers()["accept"].to_str().unwrap().to_owned();
        assert!(accept.contains("as=PartialObjectMetadata"), "{accept}");
        let uri = request.uri().to_string();
        let object = |uid: &str, version: &str| json!({"metadata": {"uid": uid, "resourceVersion": version, "labels": {"of": uid}}});
        let body = if uri.contains("watch=true") {
            let bookmark = json!({"type": "BOOKMARK", "object": {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"resourceVersion": "12"}}});
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}});
            [
                json!({"type": "ADDED", "object": object("c", "10")}),
                json!({"type": "DELETED", "object": object("a", "11")}),
                bookmark,
                gone,
            ]
            .map(|event| format!("{event}\n"))
            .concat()
        } else if uri.contains("continue=more") {
            json!({"metadata": {"resourceVersion": "9", "continue": "end"}, "items": [object("b", "2")]}).to_string()
        } else if uri.contains("continue=end") {
            json!({"metadata": {"resourceVersion": "9"}, "items": null}).to_string()
        } else {
            json!({"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [object("a", "1"), {"metadata": {}}]})
                .to_string()
        };
        log.lock().unwrap().push(uri);
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(
            Body::from(body.into_bytes()),
        )))
    });
    let cluster = Cluster::new(Client::new(service, "default"), "test");
    let resource = Resource {
        group: "apps".into(),
        version: "v1".into(),
        kind: "Deployment".into(),
        plural: "deployments".into(),
        namespaced: true,
    };
    let first = cluster.list_live(&resource, "of", None).await.unwrap();
    assert_eq!(
        (first.objects.len(), first.next.as_deref(), &*first.version),
        (1, Some("more"), "9")
    );
    assert_eq!(first.objects[0].labels["of"], "a");
    let second = cluster.list_live(&resource, "of", Some("more")).await;
    assert_eq!(second.unwrap().next.as_deref(), Some("end"));
    let last = cluster.list_live(&resource, "of", Some("end")).await;
    let last = last.unwrap();
    assert_eq!((last.objects.len(), last.next), (0, None));
    let mut events = cluster.watch_live(&resource, "of", "9", 60).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        told.push(match event {
            Ok(Versioned { event, version }) => match event {
                Event::Stored(seen) => format!("{version} stored {}", seen.labels["of"]),
                Event::Deleted(seen) => format!("{version} deleted {}", seen.labels["of"]),
                Event::Bookmark => format!("{version} bookmark"),
            },
            Err(error) => format!("{}", error.code),
        });
    }
    assert_eq!(told, ["10 stored c", "11 deleted a", "12 bookmark", "410"]);
    let asked = asked.lock().unwrap().join("\n");
    assert_eq!(
        asked,
        "/apis/apps/v1/deployments?&labelSelector=of&limit=500\n\
         /apis/apps/v1/deployments?&labelSelector=of&limit=500&continue=more\n\
         /apis/apps/v1/deployments?&labelSelector=of&limit=500&continue=end\n\
         /apis/apps/v1/deployments?&watch=true&timeoutSeconds=60&labelSelector=of&allowWatchBookmarks=true&resourceVersion=9"
    );
}
