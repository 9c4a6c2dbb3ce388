//! Both controllers at their most verbose log level, with marked values wherever a user puts a secret: whatever fails, no
//! mark appears in a log, an event, a status or a metric.

mod admission;
mod echo;
mod kustomizations;
mod registries;
mod sources;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kind_tests::controller::Settings;
use kind_tests::{
    Failure, Flux, GIT_REPOSITORY, HELM_REPOSITORY, KUSTOMIZATION, Kind, Namespace, OCI_REPOSITORY,
    Result, condition, is_ready,
};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::gates::get;

const EVENT: Kind = Kind("v1", "Event");

/// What every secret of these scenarios contains. Nothing else does.
const MARK: &str = "q7Zmark";

/// The flags of both controllers.
fn talkative() -> Settings {
    Settings::default().flag("--log-level=trace")
}

/// The forms in which a mark, or one of these other secrets, may be shown.
struct Forms(Vec<String>);

impl Forms {
    fn new(others: &[String]) -> Self {
        let bytes = MARK.as_bytes();
        let listed: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let mut forms = vec![hex::encode(bytes), listed.join(", "), listed.join(" ")];
        // Base64 depends on the position in the text: for each of the three alignments, the characters that depend on the
        // mark alone.
        for offset in 0..3 {
            let text = BASE64.encode([&vec![0; offset], bytes].concat());
            let (from, to) = ((offset * 8).div_ceil(6), (offset + bytes.len()) * 8 / 6);
            forms.push(text[from..to].to_owned());
        }
        // Each line of a key is checked, and the usual beginning of JSON web tokens.
        let lines = others.iter().flat_map(|text| text.lines());
        forms.extend(
            lines
                .filter(|line| line.len() > 20 && !line.contains("-----"))
                .map(str::to_owned),
        );
        forms.extend(["eyJhbGci", "eyJ0eXAi"].map(str::to_owned));
        Self(forms)
    }

    /// The part of the text around the first of these forms, in any case of letters for the mark itself.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let lower = text.to_ascii_lowercase();
        let at = lower
            .find(&MARK.to_ascii_lowercase())
            .or_else(|| self.0.iter().find_map(|form| text.find(form)))?;
        let mut from = at.saturating_sub(300);
        let mut to = (at + 100).min(text.len());
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        while !text.is_char_boundary(to) {
            to += 1;
        }
        Some(&text[from..to])
    }
}

/// Fails where a mark, or one of these other secrets, is in anything that the controllers show.
async fn nothing_is_shown(flux: &Flux, others: &[String]) -> Result {
    let forms = Forms::new(others);
    let mut shown: Vec<(String, String)> = Vec::new();
    for controller in [&flux.source, &flux.kustomize] {
        for line in controller.log().lines() {
            shown.push((format!("the log of {}", controller.name()), line));
        }
        for path in ["metrics", "debug/pprof/goroutine", "debug/pprof/heap"] {
            let (_, page) = get(&controller.metrics_address(), path).await?;
            shown.push((format!("{path} of {}", controller.name()), page));
        }
    }
    for event in flux.events.events() {
        shown.push(("a posted event".to_owned(), event.to_string()));
    }
    for kind in [
        EVENT,
        GIT_REPOSITORY,
        OCI_REPOSITORY,
        HELM_REPOSITORY,
        KUSTOMIZATION,
    ] {
        for object in all(&flux.namespace, kind).await? {
            // A spec is the user's own, and so is who wrote which of its fields.
            let object = match kind {
                EVENT => json!([object["message"], object["reason"], object["metadata"]]),
                _ => json!([
                    object["metadata"]["name"],
                    object["status"],
                    object["metadata"]["annotations"]
                ]),
            };
            shown.push((format!("the {} on the cluster", kind.1), object.to_string()));
        }
    }
    let found: Vec<String> = shown
        .iter()
        .filter_map(|(place, text)| Some(format!("{place}: … {} …", forms.find(text)?)))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} places show a secret:\n{}",
        found.len(),
        found.join("\n")
    )))
}

async fn all(namespace: &Namespace, kind: Kind) -> Result<Vec<Value>> {
    let list = namespace
        .api(kind)
        .await?
        .list(&ListParams::default())
        .await?;
    let objects = list.items.iter().map(serde_json::to_value);
    Ok(objects.collect::<Result<_, _>>()?)
}

/// Makes a Secret.
async fn secret(namespace: &Namespace, name: &str, data: &Value) -> Result {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    namespace.apply(&secret.to_string()).await?;
    Ok(())
}

/// An invalid text in the armour of this name.
fn armoured(name: &str) -> String {
    format!("-----BEGIN {name}-----\n{MARK}first\n{MARK}second==\n-----END {name}-----\n")
}

/// Waits until the object is Ready, or has failed for this reason.
async fn ends(flux: &Flux, kind: Kind, name: &str, reason: Option<&str>) -> Result<Value> {
    let Some(reason) = reason else {
        return flux.namespace.wait_ready(kind, name, "True").await;
    };
    let goal = format!("has failed with {reason}");
    let failed = |object: &Value| {
        is_ready(object, "False")
            && condition(object, "Ready").is_some_and(|ready| ready["reason"] == reason)
    };
    flux.namespace.wait(kind, name, &goal, failed).await
}

#[test]
fn secret_marks_are_found_in_every_encoding() {
    let forms = Forms::new(&["-----BEGIN KEY-----\nthe first line of a private key\n".to_owned()]);
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{MARK}-x");
        let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
        for form in [
            text.clone(),
            text.to_ascii_uppercase(),
            BASE64.encode(&text),
            hex::encode(&text),
            format!("{:?}", text.as_bytes()),
            bytes.join(" "),
        ] {
            assert!(forms.find(&format!("é {form} é")).is_some(), "{form}");
        }
    }
    assert!(forms.find("saw the first line of a private key").is_some());
    assert!(forms.find("-----BEGIN KEY-----").is_none());
}
