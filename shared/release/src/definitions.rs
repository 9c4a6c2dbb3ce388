//! The CustomResourceDefinitions in the `crds` folders of a chart, which are not part of its release (HC-CRD rows).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use flux_cluster::Rules;
use flux_helm::Crd;
use flux_helm::action::{ApplyMethod, ApplySettings, Object, Owner};
use flux_yaml::Value;

use crate::convert::id_of;
use crate::create::{Creation, create};
use crate::error::{DefinitionsError, StepError};
use crate::kinds::Kinds;
use crate::log::Lines;
use crate::post_render::origin_labels;
use crate::releaser::Releaser;
use crate::update::{Change, Done};
use crate::waiting::Waiting;

/// How long definitions may take until they are established (HC-CRD-008).
const TIMEOUT: Duration = Duration::from_mins(1);

/// What happens to definitions (HC-CRD-001).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrdPolicy {
    /// Nothing.
    Skip,
    /// Those that do not exist are created.
    #[default]
    Create,
    /// They are created or replaced.
    CreateReplace,
}

impl CrdPolicy {
    /// Parses the name of a policy; an empty name is the default.
    ///
    /// # Errors
    /// The name is unknown (HC-CRD-002).
    pub fn named(name: &str) -> Result<Self, DefinitionsError> {
        match name {
            "" | "Create" => Ok(Self::Create),
            "Skip" => Ok(Self::Skip),
            "CreateReplace" => Ok(Self::CreateReplace),
            other => Err(DefinitionsError::Policy(other.to_owned())),
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedDefinitions {
    /// How many definitions were sent.
    pub applied: usize,
    /// Objects in the `crds` folders that are no definitions, which are left out: `group/kind/name`, with the namespace
    /// before the name (HC-CRD-004).
    pub ignored: Vec<String>,
}

impl Releaser {
    /// Applies the definitions of a chart for the HelmRelease `origin` (its namespace and name), and waits until they are
    /// established, by the strategy of the releaser. Never deletes any.
    ///
    /// # Errors
    /// A file cannot be parsed, or the server refuses a definition; those before it stay (HC-CRD-010).
    pub async fn apply_definitions(
        &self,
        crds: &[Crd],
        policy: CrdPolicy,
        method: ApplyMethod,
        origin: (&str, &str),
    ) -> Result<AppliedDefinitions, DefinitionsError> {
        let mut applied = AppliedDefinitions::default();
        if crds.is_empty() || policy == CrdPolicy::Skip {
            return Ok(applied);
        }
        let mut kinds = Kinds::default();
        let mut definitions = Vec::new();
        for crd in crds {
            let file = String::from_utf8_lossy(&crd.file.data);
            let objects = kinds.objects(self.cluster(), &file, origin.0).await;
            let objects = objects.map_err(|source| DefinitionsError::Parse {
                file: crd.file.name.clone(),
                source: Box::new(source),
            })?;
            definitions.extend(objects);
        }
        let (mut definitions, others): (Vec<Object>, Vec<Object>) =
            definitions.into_iter().partition(is_definition);
        applied.ignored = others.iter().map(named).collect();
        let labels = origin_labels(origin.0, origin.1);
        for definition in &mut definitions {
            label(definition, &labels);
        }
        let done = match policy {
            CrdPolicy::CreateReplace => self.replace(&kinds, &definitions, method).await?,
            _ => self.create_missing(&kinds, &definitions, method).await?,
        };
        applied.applied = done.len();
        if !done.is_empty() {
            let waiting = Waiting {
                cluster: self.cluster(),
                kinds: &kinds,
                checks: &self.options().checks,
                strategy: self.options().wait,
                timeout: TIMEOUT,
            };
            let ready = waiting.ready(&done, &HashMap::new(), false).await;
            ready.map_err(|error| DefinitionsError::Wait(Box::new(error)))?;
        }
        Ok(applied)
    }

    /// Creates the definitions that do not exist, one after the other (HC-CRD-006, HC-CRD-012).
    async fn create_missing<'o>(
        &self,
        kinds: &Kinds,
        definitions: &'o [Object],
        method: ApplyMethod,
    ) -> Result<Vec<&'o Object>, DefinitionsError> {
        let how = Creation {
            method,
            force: method == ApplyMethod::ServerSide,
            rules: Rules::Complete,
            log: Lines(&*self.options().log),
        };
        let mut created = Vec::new();
        for definition in definitions {
            let failed = |source| DefinitionsError::Create {
                name: definition.name.clone(),
                source: Box::new(source),
            };
            if method == ApplyMethod::ServerSide
                && self.exists(kinds, definition).await.map_err(failed)?
            {
                continue;
            }
            match create(self.cluster(), kinds, definition, how).await {
                Ok(_) => created.push(definition),
                Err(StepError::Request(error)) if error.reason == "AlreadyExists" => {
                    let name = &definition.name;
                    let message =
                        format!("CustomResourceDefinition {name} is already present. Skipping.");
                    how.log.debug(&message, &[]);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(created)
    }

    async fn exists(&self, kinds: &Kinds, object: &Object) -> Result<bool, StepError> {
        let resource = kinds.resource(object)?;
        let live = self.cluster().get_metadata(resource, &id_of(object)).await;
        match live {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates or replaces all definitions (HC-CRD-007).
    async fn replace<'o>(
        &self,
        kinds: &Kinds,
        definitions: &'o [Object],
        method: ApplyMethod,
    ) -> Result<Vec<&'o Object>, DefinitionsError> {
        let server_side = method == ApplyMethod::ServerSide;
        let change = Change {
            cluster: self.cluster(),
            kinds,
            // Nothing is pruned, so the owner does not matter.
            owner: Owner {
                name: "",
                namespace: "",
            },
            settings: ApplySettings {
                method,
                force_conflicts: server_side,
                migrate_managers: false,
                three_way_for_custom: false,
            },
            replace: !server_side,
            rules: Rules::Complete,
            log: Lines(&*self.options().log),
        };
        let mut done = Done::default();
        let updated = change.update(&[], definitions, &[], &mut done).await;
        updated.map_err(|error| DefinitionsError::Update(Box::new(error)))?;
        Ok(definitions.iter().collect())
    }
}

fn is_definition(object: &Object) -> bool {
    object.api_version.starts_with("apiextensions.k8s.io/")
        && object.kind == "CustomResourceDefinition"
}

fn named(object: &Object) -> String {
    let group = object
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    let (kind, name) = (&object.kind, &object.name);
    match object.namespace.as_str() {
        "" => format!("{group}/{kind}/{name}"),
        namespace => format!("{group}/{kind}/{namespace}/{name}"),
    }
}

/// Sets labels on an object (HC-CRD-005).
fn label(object: &mut Object, labels: &BTreeMap<String, String>) {
    let Some(map) = object.value.as_map_mut() else {
        return;
    };
    let metadata = map.entry("metadata".to_owned()).or_insert_with(Value::map);
    let Some(metadata) = metadata.as_map_mut() else {
        return;
    };
    let held = metadata
        .entry("labels".to_owned())
        .or_insert_with(Value::map);
    if held.as_map().is_none() {
        *held = Value::map();
    }
    if let Some(held) = held.as_map_mut() {
        for (key, value) in labels {
            held.insert(key.clone(), value.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests;
