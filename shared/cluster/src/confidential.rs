//! Masks confidential values in messages.

use std::collections::BTreeSet;
use std::fmt::{self, Formatter};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::object::{Object, ObjectId};

/// The replacement for a confidential value (KC-SUB-009).
const MASK: &str = "*****";

/// Values up to this length are masked only as whole words: as parts of other words they would garble every message.
const SHORT: usize = 7;

/// Lines of a value from this length on are confidential by themselves: a message may quote a single line of a key.
const LINE: usize = 8;

/// Values that no message may show: those of Secrets, including their copies in other objects.
///
/// An API server quotes what it refuses, and so may any admission webhook. Each value is masked in the forms in which
/// it may be quoted: unchanged, encoded in base64, escaped as in JSON, and line by line.
///
/// What identifies an object is masked only if it was made from such a value itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Confidential {
    forms: BTreeSet<String>,
    /// Names, namespaces, kinds and groups of objects that were made from values of Secrets.
    identities: BTreeSet<String>,
}

/// Formats without the values.
impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Confidential({} forms)", self.forms.len())
    }
}

impl Confidential {
    /// The bytes of memory that [`add`](Self::add) takes for a value at most: in its encoded forms, with and without line
    /// breaks, and line by line.
    pub fn bytes(value: &[u8]) -> u64 {
        const FORMS: u64 = 16;
        const SMALLEST: u64 = 512;
        SMALLEST + FORMS * value.len() as u64
    }

    /// Adds a value.
    pub fn add(&mut self, value: &[u8]) {
        self.insert(&BASE64.encode(value));
        let Ok(text) = std::str::from_utf8(value) else {
            return;
        };
        self.insert(text);
        self.insert(&text.replace('\n', ""));
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| line.len() >= LINE) {
            self.insert(line);
        }
        // A number is quoted as the server parses it: `1e3` is quoted as `1000`.
        if let Ok(number) = text.trim().parse::<f64>()
            && number.is_finite()
        {
            self.insert(&number.to_string());
        }
    }

    /// Adds a name, namespace, kind or group of an object that was made from a value of a Secret.
    pub fn add_identity(&mut self, text: &str) {
        self.add(text.as_bytes());
        self.identities.insert(text.to_owned());
    }

    /// The object as a message may show it: what was made from a value of a Secret is masked. An object that is on the
    /// cluster shows its name there; one that was not applied does not.
    #[must_use]
    pub fn shown(&self, id: &ObjectId) -> ObjectId {
        let shown = |text: &String| {
            if self.identities.contains(text) {
                MASK.to_owned()
            } else {
                text.clone()
            }
        };
        ObjectId {
            group: shown(&id.group),
            kind: shown(&id.kind),
            namespace: shown(&id.namespace),
            name: shown(&id.name),
        }
    }

    /// Adds the values of a Secret, in whichever form it has them; does nothing for other objects.
    pub fn add_secret(&mut self, object: &Object) {
        if !object.is_secret() {
            return;
        }
        for field in ["data", "stringData"] {
            if let Some(values) = object.fields().get(field) {
                self.add_leaves(values);
            }
        }
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Adds the strings of a live object that `desired`, if there is one, does not have. If Secrets are substituted
    /// into a Kustomization's objects, these may be the previous values of such a Secret, which are not known
    /// otherwise.
    pub fn add_former(&mut self, live: &Object, desired: Option<&Object>) {
        let mut known = BTreeSet::new();
        if let Some(desired) = desired {
            for (_, value) in desired.fields() {
                texts(value, &mut known);
            }
        }
        let mut former = BTreeSet::new();
        for (field, value) in live.fields() {
            match field.as_str() {
                "apiVersion" | "kind" | "status" => {}
                "metadata" => {
                    for part in ["labels", "annotations"] {
                        let marks = value.get(part).and_then(Value::as_object);
                        let theirs = marks.into_iter().flatten();
                        for (_, value) in theirs.filter(|(key, _)| !key.contains("fluxcd.io/")) {
                            texts(value, &mut former);
                        }
                    }
                }
                _ => texts(value, &mut former),
            }
        }
        for text in former.difference(&known).filter(|text| text.len() > SHORT) {
            self.add(text.as_bytes());
        }
    }

    fn add_leaves(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Array(items) => items.iter().for_each(|item| self.add_leaves(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_leaves(field)),
            Value::String(text) => {
                if let Ok(decoded) = BASE64.decode(text) {
                    self.add(&decoded);
                }
                self.add(text.as_bytes());
            }
            other => self.add(other.to_string().as_bytes()),
        }
    }

    fn insert(&mut self, form: &str) {
        let form = form.trim();
        if form.is_empty() {
            return;
        }
        let escaped = Value::from(form).to_string();
        let escaped = escaped.strip_prefix('"').unwrap_or(&escaped);
        let escaped = escaped.strip_suffix('"').unwrap_or(escaped);
        self.forms.insert(escaped.to_owned());
        self.forms.insert(form.to_owned());
    }

    /// Masks the values in a message about an object. The object's own name, namespace, kind and group are in every
    /// message; they are masked only if they are confidential themselves ([`add_identity`](Self::add_identity)).
    pub fn mask(&self, message: &mut String, about: &ObjectId) {
        let known = [&about.name, &about.namespace, &about.kind, &about.group];
        let mut forms: Vec<&String> = self.forms.iter().collect();
        // The longest first: a short value may be part of a long one.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        for form in forms {
            let is_known = known.contains(&form) && !self.identities.contains(form);
            if !is_known && message.contains(form.as_str()) {
                *message = replace(message, form);
            }
        }
    }
}

/// The strings in a value.
fn texts<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(text) => {
            found.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces `form` by the mask; a short one only as a whole word.
fn replace(message: &str, form: &str) -> String {
    if form.len() > SHORT {
        return message.replace(form, MASK);
    }
    let mut masked = String::with_capacity(message.len());
    let mut end = 0;
    for (at, _) in message.match_indices(form) {
        let inside = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        let before = message[..at].chars().next_back();
        let after = message[at + form.len()..].chars().next();
        if !inside(before) && !inside(after) {
            masked.push_str(&message[end..at]);
            masked.push_str(MASK);
            end = at + form.len();
        }
    }
    masked.push_str(&message[end..]);
    masked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Confidential;
    use crate::object::{Object, ObjectId};

    fn masked(values: &[&[u8]], message: &str) -> String {
        let mut confidential = Confidential::default();
        for value in values {
            confidential.add(value);
        }
        let mut message = message.to_owned();
        let about = ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: "prod".into(),
            name: "web".into(),
        };
        confidential.mask(&mut message, &about);
        message
    }

    // KC-SUB-009
    #[test]
    fn values_are_masked_in_every_encoding() {
        for (value, message, want) in [
            ("hunter2-x", "denied: hunter2-x!", "denied: *****!"),
            (
                "hunter2-x",
                "in https://u:hunter2-x@h/",
                "in https://u:*****@h/",
            ),
            ("hunter2-x", "data aHVudGVyMi14 is bad", "data ***** is bad"),
            (
                "tab\there\"",
                r#"Invalid value: "tab\there\"": no"#,
                r#"Invalid value: "*****": no"#,
            ),
            ("first line\nsecond line\n", "saw second line", "saw *****"),
            (
                "first line\nsecond line\n",
                "saw first linesecond line",
                "saw *****",
            ),
            (
                "1e3",
                "Invalid value: 1000: must be less",
                "Invalid value: *****: must be less",
            ),
            (
                "3",
                "spec.replicas: Invalid value: 3: v13",
                "spec.replicas: Invalid value: *****: v13",
            ),
            ("", "nothing to hide", "nothing to hide"),
        ] {
            assert_eq!(masked(&[value.as_bytes()], message), want, "{value:?}");
        }
        assert_eq!(
            masked(&[b"secret", b"secret-and-more"], "secret-and-more, secret"),
            "*****, *****",
            "the longest form comes first"
        );
        assert_eq!(masked(&[b"\xff\xfe\xfd\xfc\xfb\xfa"], "//79/Pv6"), "*****");
    }

    #[test]
    fn the_memory_of_a_value_is_known_before() {
        let lines = "12345678\n".repeat(1000);
        let distinct: String = (10_000_000..10_001_000).map(|n| format!("{n}\n")).collect();
        let escaped = "\u{1}".repeat(1000);
        for value in ["", "a", &lines, &distinct, &escaped, &"\"\n".repeat(1000)] {
            let mut confidential = Confidential::default();
            confidential.add(value.as_bytes());
            // A text in a set: itself, its place, and what the allocator adds.
            let forms = confidential.forms.iter();
            let taken: u64 = forms.map(|form| form.len() as u64 + 64).sum();
            let claimed = Confidential::bytes(value.as_bytes());
            assert!(taken <= claimed, "{taken} of {claimed}: {value:.20}");
        }
    }

    #[test]
    fn names_of_the_object_are_not_masked() {
        let message = "deployments.apps \"web\" in prod is forbidden: prod-token";
        assert_eq!(masked(&[b"prod", b"web", b"apps"], message), message);
    }

    // KC-SUB-009
    #[test]
    fn names_that_were_made_from_a_value_are_masked() {
        let id = |kind: &str, namespace: &str, name: &str| ObjectId {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..ObjectId::default()
        };
        let mut confidential = Confidential::default();
        confidential.add(b"web");
        confidential.add_identity("app-hunter2");
        let about = id("ConfigMap", "app-hunter2", "web");
        let mut message = "ConfigMap \"web\" in \"app-hunter2\" is invalid".to_owned();
        confidential.mask(&mut message, &about);
        assert_eq!(message, "ConfigMap \"web\" in \"*****\" is invalid");
        assert_eq!(confidential.shown(&about), id("ConfigMap", "*****", "web"));
        let named = id("app-hunter2", "web", "app-hunter2");
        assert_eq!(confidential.shown(&named).to_string(), "*****/web/*****");
    }

    // KC-SUB-009, KC-SSA-031
    #[test]
    fn previous_values_are_confidential_too() {
        let object = |data: &serde_json::Value| {
            Object::new(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data, "status": { "a": "in the status" },
                "metadata": { "name": "the-name", "labels": { "kustomize.toolkit.fluxcd.io/name": "the-owner" },
                    "annotations": { "a": "annotated" } },
            }))
            .unwrap()
        };
        let live = object(
            &json!({ "a": "old-value", "b": "unchanged", "c": ["nested-value"], "d": "short" }),
        );
        let desired = object(&json!({ "a": "new-value", "b": "unchanged" }));
        let said =
            "old-value unchanged nested-value short annotated the-name the-owner in the status";
        let masked = |desired: Option<&Object>| {
            let mut confidential = Confidential::default();
            confidential.add_former(&live, desired);
            let mut message = said.to_owned();
            confidential.mask(&mut message, &ObjectId::default());
            message
        };
        assert_eq!(
            masked(Some(&desired)),
            "***** unchanged ***** short annotated the-name the-owner in the status"
        );
        assert_eq!(
            masked(None),
            "***** ***** ***** short ***** the-name the-owner in the status"
        );
    }

    #[test]
    fn only_values_of_secrets_are_confidential() {
        let object = |kind: &str| {
            Object::new(json!({
                "apiVersion": "v1", "kind": kind, "metadata": { "name": "s" },
                "data": { "a": "aHVudGVyMi14" }, "stringData": { "b": 123_456_789, "c": ["nested-value"] },
            }))
            .unwrap()
        };
        let mut confidential = Confidential::default();
        confidential.add_secret(&object("ConfigMap"));
        assert_eq!(confidential, Confidential::default());
        confidential.add_secret(&object("Secret"));
        let mut message = "hunter2-x aHVudGVyMi14 123456789 nested-value".to_owned();
        confidential.mask(&mut message, &ObjectId::default());
        assert_eq!(message, "***** ***** ***** *****");
        assert!(!format!("{confidential:?}").contains("hunter2"));
    }
}
