//! Adds a value to fields, or to paths in them.

use super::{Namespace, SubjectMode};
use crate::config::{Decode, Mode, Object, Selector, decode};
use crate::error::{Cause, Result};
use crate::loader::Loader;
use crate::meter::Meter;
use crate::node::{self, Changes, Kind};
use crate::resmap::ResMap;
use crate::secrecy::unreadable;
use crate::state::State;

/// Adds a value to fields, or to the paths in them (KZ-PLG-009, KZ-PLG-010).
pub(crate) struct ValueAdd {
    value: String,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Default)]
struct Target {
    selector: Option<Selector>,
    field_path: String,
    position: i64,
}

impl Decode for Target {
    const NAME: &'static str = "Target";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            selector: object.object("selector")?,
            field_path: object.text("fieldPath")?,
            position: object.integer("filePathPosition")?,
        })
    }
}

#[derive(Default)]
struct Config {
    value: String,
    targets: Vec<Target>,
    target_file: String,
}

impl Decode for Config {
    const NAME: &'static str = "ValueAddTransformerPlugin";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            value: object.text("value")?,
            targets: object.list("targets")?.unwrap_or_default(),
            target_file: object.text("targetFilePath")?,
        })
    }
}

impl ValueAdd {
    pub(crate) fn configure(loader: &Loader<'_>, config: &flux_yaml::Value) -> Result<Self> {
        let unmarshal =
            |error: String| format!("error unmarshaling JSON: while decoding JSON: {error}");
        let mut config: Config = decode(config, Mode::LENIENT).map_err(unmarshal)?;
        let mut value = config.value.trim().to_owned();
        if value.is_empty() {
            value = match loader.root().file_name() {
                "" => "/".to_owned(),
                name => name.to_owned(),
            };
        }
        if !config.target_file.is_empty() {
            let text = loader.load(&config.target_file)?;
            let (file, _charge) = loader.meter().read(&text, |text, claim| {
                flux_yaml::sigs::from_str_within(text, claim)
            })?;
            let file = file.map_err(|error| unreadable(&error, &text))?;
            let file: Config = decode(&file, Mode::LENIENT).map_err(unmarshal)?;
            config.targets.extend(file.targets);
        }
        if config.targets.is_empty() {
            return Err("must specify at least one target".into());
        }
        for target in &config.targets {
            if target.field_path.is_empty() {
                return Err("fieldPath cannot be empty".into());
            }
            if target.position < 0 {
                return Err(format!(
                    "value of FilePathPosition ({}) cannot be negative",
                    target.position
                )
                .into());
            }
        }
        Ok(Self {
            value,
            targets: config.targets,
        })
    }

    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        let state = &*state;
        let meter = state.meter();
        for target in &self.targets {
            meter.work(map.len())?;
            let selected = match &target.selector {
                None => (0..map.len()).collect(),
                Some(selector) => map.select(selector, state.scopes(), meter)?,
            };
            for at in selected {
                let Some(resource) = map.list_mut().get_mut(at) else {
                    continue;
                };
                let gvk = resource.gvk();
                let id = resource.current(state.scopes()).clone();
                let object = resource.node_mut();
                let mut changes = Changes::default();
                if target.field_path == "metadata/namespace" {
                    let namespace = Namespace {
                        value: self.value.clone(),
                        fields: Vec::new(),
                        unset_only: false,
                        subjects: SubjectMode::DefaultOnly,
                    };
                    namespace.set_on_object(object, &gvk, state, &mut changes)?;
                } else {
                    self.add(object, target, &mut changes)
                        .map_err(|fail| match fail.cause {
                            Cause::Limit(..) => fail.within(|| format!("object {id}")),
                            _ => meter.in_object_of(&gvk.kind, fail),
                        })?;
                }
                changes.settle(object, meter)?;
                resource.update_claim(meter)?;
            }
        }
        Ok(())
    }

    fn add(&self, object: &mut node::Node, target: &Target, changes: &mut Changes) -> Result<()> {
        let path = split_path(&target.field_path);
        Meter::fits(path.len())?;
        let Some(field) = node::lookup_create(object, Kind::Scalar, &path)? else {
            return Ok(());
        };
        node::expect(field, Kind::Scalar)?;
        let value = match usize::try_from(target.position) {
            Ok(position) if position > 0 => insert(&field.value, position - 1, &self.value),
            _ => self.value.clone(),
        };
        node::set_scalar(field, node::scalar(value), changes)
    }
}

/// As other paths, except that a leading slash is not special.
fn split_path(path: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for part in path.split('/') {
        match fields.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push('/');
                last.push_str(part);
            }
            _ => fields.push(part.to_owned()),
        }
    }
    fields
}

/// Inserts a part into a path; a leading slash stays first.
fn insert(path: &str, position: usize, part: &str) -> String {
    if part.is_empty() {
        return path.to_owned();
    }
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // The slash of an absolute path counts as a part only at the very end.
    let position = position.min(parts.len());
    parts.insert(position, part);
    let joined = flux_golang::path::join("", parts.join("/").as_str());
    if absolute {
        format!("/{joined}")
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_inserted_into_paths() {
        // KZ-PLG-010
        for (path, position, want) in [
            ("a/b", 0, "x/a/b"),
            ("a/b", 1, "a/x/b"),
            ("a/b", 9, "a/b/x"),
            ("/a/b", 0, "/x/a/b"),
            ("/a/b", 1, "/a/x/b"),
            ("", 0, "x"),
        ] {
            assert_eq!(insert(path, position, "x"), want, "{path} {position}");
        }
    }
}
