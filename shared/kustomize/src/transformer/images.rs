//! Changes image names, tags and digests.

use crate::config::{FieldSpec, Image};
use crate::error::Result;
use crate::meter::Meter;
use crate::node::{Changes, Kind, Node};
use crate::regexp::Regex;
use crate::resmap::ResMap;
use crate::state::State;
use crate::{field_spec, node};

/// Changes names, tags and digests of images (KZ-IMG rows).
pub(crate) struct Images {
    pub(crate) image: Image,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Images {
    /// Two passes, which is why a tag suffix may be appended twice (KZ-IMG-002, KZ-IMG-003).
    pub(super) fn run(&self, map: &mut ResMap, state: &State<'_>) -> Result<()> {
        let meter = state.meter();
        let pattern = format!(
            "^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$",
            self.image.name
        );
        // KZ-IMG-006: an invalid expression is an error once there is an image to compare.
        let updater = Updater {
            image: &self.image,
            pattern: Regex::new(&pattern),
            meter,
        };
        let is_definition = |object: &Node| node::kind_field(object) == "CustomResourceDefinition";
        for resource in map.bodies_mut() {
            let object = resource.body_mut();
            if !is_definition(object) {
                let mut changes = Changes::default();
                updater
                    .containers(object, &mut changes)
                    .map_err(|fail| meter.in_object_of(node::kind_field(object), fail))?;
                changes.settle(object, meter)?;
                resource.update_claim(meter)?;
            }
        }
        for resource in map.bodies_mut() {
            let object = resource.body_mut();
            if is_definition(object) {
                continue;
            }
            let mut changes = Changes::default();
            for field in &self.fields {
                field_spec::visit(object, field, None, meter, &mut |at| {
                    updater.update(at, &mut changes)
                })?;
            }
            changes.settle(object, meter)?;
            resource.update_claim(meter)?;
        }
        map.drop_empty();
        Ok(())
    }
}

struct Updater<'i> {
    image: &'i Image,
    pattern: Result<Regex, String>,
    meter: &'i Meter,
}

impl Updater<'_> {
    /// Every `image` of every element of every list named `containers` or `initContainers`.
    fn containers(&self, at: &mut Node, changes: &mut Changes) -> Result<()> {
        self.meter.steps(1)?;
        match at.kind {
            Kind::Sequence => at
                .content
                .iter_mut()
                .try_for_each(|item| self.containers(item, changes)),
            Kind::Mapping => {
                for (key, value) in at.entries_mut() {
                    self.containers(value, changes)?;
                    let named = matches!(key.value.as_str(), "containers" | "initContainers");
                    if named && value.kind == Kind::Sequence {
                        for item in &mut value.content {
                            if node::get(item, "image")?.is_some()
                                && let Some(image) = item.get_mut("image")
                            {
                                self.update(image, changes)?;
                            }
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn update(&self, at: &mut Node, changes: &mut Changes) -> Result<()> {
        node::expect(at, Kind::Scalar)?;
        let pattern = self.pattern.as_ref().map_err(|error| {
            format!(
                "image name '{}' is no valid expression: {error}",
                self.image.name
            )
        })?;
        self.meter.steps(pattern.cost(&at.value))?;
        if !pattern.is_match(&at.value) {
            return Ok(());
        }
        let text = self.changed(&at.value);
        node::set_scalar(at, node::scalar(text), changes)
    }

    /// KZ-IMG-008, KZ-IMG-009
    fn changed(&self, text: &str) -> String {
        let (mut name, mut tag, mut digest) = split(text);
        let image = self.image;
        if !image.new_name.is_empty() {
            name = &image.new_name;
        }
        let suffixed;
        match (
            image.new_tag.as_str(),
            image.digest.as_str(),
            image.tag_suffix.as_str(),
        ) {
            ("", "", "") => {}
            ("", "", suffix) => {
                suffixed = format!("{tag}{suffix}");
                tag = &suffixed;
                digest = "";
            }
            (new_tag, new_digest, _) => {
                tag = new_tag;
                digest = new_digest;
            }
        }
        let mut out = name.to_owned();
        for (mark, part) in [(':', tag), ('@', digest)] {
            if !part.is_empty() {
                out.push(mark);
                out.push_str(part);
            }
        }
        out
    }
}

/// Name, tag and digest (KZ-IMG-007).
fn split(image: &str) -> (&str, &str, &str) {
    let host = image.find('/').unwrap_or(0);
    let digest_at = image[host..].find('@').map(|at| at + host);
    let tag_at = image[host..].find(':').map(|at| at + host);
    match (tag_at, digest_at) {
        (None, None) => (image, "", ""),
        (Some(tag), Some(digest)) if tag < digest => {
            (&image[..tag], &image[tag + 1..digest], &image[digest + 1..])
        }
        (_, Some(digest)) => (&image[..digest], "", &image[digest + 1..]),
        (Some(tag), None) => (&image[..tag], &image[tag + 1..], ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_split_behind_the_registry() {
        // KZ-IMG-007
        for (image, want) in [
            ("redis", ("redis", "", "")),
            ("redis:6", ("redis", "6", "")),
            ("host:5000/redis", ("host:5000/redis", "", "")),
            (
                "host:5000/redis:6@sha256:ab",
                ("host:5000/redis", "6", "sha256:ab"),
            ),
            ("redis@sha256:ab", ("redis", "", "sha256:ab")),
        ] {
            assert_eq!(split(image), want);
        }
    }
}
