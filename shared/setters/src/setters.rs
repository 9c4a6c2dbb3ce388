//! The texts that markers stand for.

use std::collections::HashMap;

/// An image that a policy selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'i> {
    /// The name, without tag.
    pub name: &'i str,
    /// The tag.
    pub tag: &'i str,
    /// The digest, `sha256:...`, if it is known.
    pub digest: Option<&'i str>,
}

impl Image<'_> {
    /// `name:tag`, or `name:tag@digest` (IA-UPD-021).
    pub fn reference(&self) -> String {
        match self.digest() {
            Some(digest) => format!("{}:{}@{digest}", self.name, self.tag),
            None => format!("{}:{}", self.name, self.tag),
        }
    }

    fn digest(&self) -> Option<&str> {
        self.digest.filter(|digest| !digest.is_empty())
    }
}

/// The texts that markers stand for, by what a marker says: `<namespace>:<policy>`, with `:name`, `:tag` or `:digest` behind
/// it (IA-UPD-020 to IA-UPD-024).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setters {
    /// `None` if the policy has no such text.
    texts: HashMap<String, Option<String>>,
}

impl Setters {
    /// Adds the setters of one policy.
    pub fn add(&mut self, namespace: &str, policy: &str, image: &Image<'_>) {
        let setter = format!("{namespace}:{policy}");
        let mut add = |suffix: &str, text: Option<String>| {
            self.texts.insert(format!("{setter}{suffix}"), text);
        };
        add("", Some(image.reference()));
        add(":name", Some(image.name.to_owned()));
        add(":tag", Some(image.tag.to_owned()));
        add(":digest", image.digest().map(str::to_owned));
    }

    /// What is known of a setter.
    pub(crate) fn find(&self, setter: &str) -> Found<'_> {
        match self.texts.get(setter) {
            None => Found::Unknown,
            Some(None) => Found::Empty,
            Some(Some(text)) => Found::Text(text),
        }
    }
}

/// What is known of a setter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'s> {
    /// No policy has it: another namespace, filtered, without an image, an unknown suffix (IA-UPD-026).
    Unknown,
    /// The policy has no digest (IA-UPD-025).
    Empty,
    /// The text.
    Text(&'s str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suffix_selects_a_part_of_the_image() {
        let mut setters = Setters::default();
        let image = |name, digest| Image {
            name,
            tag: "v1",
            digest,
        };
        setters.add("a", "plain", &image("reg.example:5000/app", None));
        setters.add("a", "exact", &image("app", Some("sha256:1")));
        setters.add("a", "empty", &image("app", Some("")));
        for (setter, found) in [
            // IA-UPD-021, IA-UPD-040, FR-N-101
            ("a:plain", Found::Text("reg.example:5000/app:v1")),
            ("a:exact", Found::Text("app:v1@sha256:1")),
            ("a:empty", Found::Text("app:v1")),
            // IA-UPD-022
            ("a:plain:name", Found::Text("reg.example:5000/app")),
            // IA-UPD-023
            ("a:exact:tag", Found::Text("v1")),
            // IA-UPD-024
            ("a:exact:digest", Found::Text("sha256:1")),
            // IA-UPD-025
            ("a:plain:digest", Found::Empty),
            ("a:empty:digest", Found::Empty),
            // IA-UPD-026
            ("a:plain:other", Found::Unknown),
            ("b:plain", Found::Unknown),
            ("a:absent", Found::Unknown),
            ("a:plain:", Found::Unknown),
            ("plain", Found::Unknown),
        ] {
            assert_eq!(setters.find(setter), found, "{setter}");
        }
    }
}
