//! Sets namespaces.

use std::collections::HashMap;

use flux_golang::strconv::quote;

use crate::config::FieldSpec;
use crate::error::{Context, Result};
use crate::field_spec;
use crate::id::{Gvk, Key};
use crate::node::{self, Changes, Kind, Node};
use crate::resmap::ResMap;
use crate::resource::{Resource, build_annotation};
use crate::state::State;

/// Which subjects of role bindings get the namespace (KZ-NS-006, KZ-NS-007).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubjectMode {
    DefaultOnly,
    AllServiceAccounts,
    None,
}

impl SubjectMode {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "defaultOnly" => Ok(Self::DefaultOnly),
            "allServiceAccounts" => Ok(Self::AllServiceAccounts),
            "none" => Ok(Self::None),
            other => Err(format!(
                "invalid value {} for setRoleBindingSubjects: must be one of \"defaultOnly\", \"none\" or \
                 \"allServiceAccounts\"",
                quote(other)
            )),
        }
    }
}

/// Moves objects into a namespace (KZ-NS rows).
pub(crate) struct Namespace {
    pub(crate) value: String,
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) unset_only: bool,
    pub(crate) subjects: SubjectMode,
}

impl Namespace {
    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        if self.value.is_empty() {
            return Ok(());
        }
        let state = &*state;
        let scopes = state.scopes();
        state.meter().work(map.len() * 20)?;
        let mut taken: HashMap<Key, Vec<usize>> = HashMap::new();
        for (at, resource) in map.iter().enumerate() {
            taken
                .entry(resource.current(scopes).key())
                .or_default()
                .push(at);
        }
        let list = map.list_mut();
        for at in 0..list.len() {
            let resource = &mut list[at];
            // KZ-NS-002
            if resource.is_empty()
                || resource.annotation(build_annotation::HELM_GENERATED) == Some("true")
            {
                continue;
            }
            let before = resource.current(scopes).key();
            resource.store_previous(scopes);
            self.apply(resource, state)?;
            let after = resource.current(scopes).key();
            if let Some(places) = taken.get_mut(&before) {
                places.retain(|place| *place != at);
            }
            let places = taken.entry(after).or_default();
            places.push(at);
            // KZ-NS-004, KZ-NS-005
            if places.len() > 1 {
                let ids: Vec<_> = places
                    .iter()
                    .map(|place| list[*place].current(scopes).to_string())
                    .collect();
                return Err(format!(
                    "namespace transformation produces ID conflict: [{}]",
                    ids.join(" ")
                )
                .into());
            }
        }
        Ok(())
    }

    fn apply(&self, resource: &mut Resource, state: &State<'_>) -> Result<()> {
        let gvk = resource.gvk();
        let mut changes = Changes::default();
        let object = resource.node_mut();
        self.set_on_object(object, &gvk, state, &mut changes)?;
        changes.settle(object, state.meter())?;
        resource.update_claim(state.meter())
    }

    /// The same for a single object, for the transformer that adds values.
    pub(super) fn set_on_object(
        &self,
        object: &mut Node,
        gvk: &Gvk,
        state: &State<'_>,
        changes: &mut Changes,
    ) -> Result<()> {
        let api_version = node::api_version(object).to_owned();
        // KZ-NS-001
        if !state.scopes().is_cluster_scoped(gvk) {
            let field = FieldSpec {
                path: "metadata/namespace".into(),
                create: true,
                ..FieldSpec::default()
            };
            let create = Some((Kind::Scalar, ""));
            field_spec::visit(object, &field, create, state.meter(), &mut |at| {
                self.set(at, changes)
            })?;
        }
        let is_binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
        if is_binding {
            self.set_on_subjects(object, changes)
                .map_err(|fail| state.meter().in_object_of(&gvk.kind, fail))?;
        }
        for field in &self.fields {
            let of_binding = matches!(
                field.gvk.kind.as_str(),
                "RoleBinding" | "ClusterRoleBinding"
            );
            let skip = field.path == "metadata/namespace"
                // KZ-NS-003
                || api_version != "v1" && field.path == "metadata/name"
                || is_binding && of_binding && field.path == "subjects/namespace";
            if skip {
                continue;
            }
            let create = Some((Kind::Scalar, "!!str"));
            field_spec::visit(object, field, create, state.meter(), &mut |at| {
                self.set(at, changes)
            })
            .map_err(|fail| {
                if fail.is_final() {
                    return fail;
                }
                // KZ-NS-010
                let prefix = if fail.message.contains("wrong node kind: expected ")
                    && !fail.message.contains("but got ScalarNode")
                {
                    "namespace field specs must target scalar nodes"
                } else {
                    "namespace transformation failed"
                };
                fail.within(|| prefix.to_owned())
            })?;
        }
        Ok(())
    }

    fn set(&self, at: &mut Node, changes: &mut Changes) -> Result<()> {
        // KZ-NS-008
        if self.unset_only && !node::is_empty(at) && at.kind == Kind::Scalar && !at.value.is_empty()
        {
            return Ok(());
        }
        let value = node::tagged("!!str", self.value.as_str());
        node::set_scalar(at, value, changes)
    }

    fn set_on_subjects(&self, object: &mut Node, changes: &mut Changes) -> Result<()> {
        let (field, wanted) = match self.subjects {
            SubjectMode::None => return Ok(()),
            SubjectMode::DefaultOnly => ("name", "default"),
            SubjectMode::AllServiceAccounts => ("kind", "ServiceAccount"),
        };
        let Some(subjects) = object.get_mut("subjects") else {
            return Ok(());
        };
        if node::is_null(subjects) {
            return Ok(());
        }
        let mut set = || -> Result<()> {
            node::expect(subjects, Kind::Sequence)?;
            for subject in &mut subjects.content {
                let Some(value) = node::get(subject, field)? else {
                    continue;
                };
                node::expect(value, Kind::Scalar)?;
                if node::is_null(value) || value.value != wanted {
                    continue;
                }
                if let Some(namespace) = node::lookup_create(subject, Kind::Scalar, &["namespace"])?
                {
                    self.set(namespace, changes)?;
                }
            }
            Ok(())
        };
        set().context(|| "setting namespace on (cluster)role binding subjects".into())
    }
}
