//! Labels and annotations set on every object of a stream, without a kustomization.

use std::collections::BTreeMap;

use crate::config::FieldSpec;
use crate::error::{Context, Error, Result};
use crate::meter::{Allowance, Meter};
use crate::options::Options;
use crate::output::{Resource, Resources};
use crate::stack::with_stack;
use crate::state::State;
use crate::transformer::{Annotations, Labels, Transformer};
use crate::{node, target};

/// Labels and annotations for `metadata` of every object; selectors and templates stay as they are (HC-POST-003).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommonMetadata {
    /// The labels, which replace those of the same name.
    pub labels: BTreeMap<String, String>,
    /// The annotations, which replace those of the same name.
    pub annotations: BTreeMap<String, String>,
}

/// Sets labels and annotations on all objects of a YAML stream, as kustomize's transformers do outside of a build: the
/// objects stay in their order, and are written as kustomize writes them (HC-POST-002, HC-POST-003, HC-POST-005).
///
/// # Errors
/// The stream is not YAML, two of its objects have the same identity (HC-POST-006), or there is not enough memory.
pub fn set_metadata(
    stream: &str,
    metadata: &CommonMetadata,
    allowance: &Allowance,
) -> std::result::Result<Resources, Error> {
    let set = || run(stream, metadata, allowance).map_err(crate::error::Fail::into_error);
    with_stack(set).unwrap_or_else(|error| {
        Err(Error::Thread {
            message: format!("cannot start a thread for the transformation: {error}"),
        })
    })
}

fn run(stream: &str, metadata: &CommonMetadata, allowance: &Allowance) -> Result<Resources> {
    let options = Options::default();
    let meter = Meter::new(allowance, options.limits.steps);
    let mut state = State::new(&options, &meter);
    let mut map = target::read(stream.as_bytes(), &state)?;
    let fields = |path: &str| {
        vec![FieldSpec {
            path: path.to_owned(),
            create: true,
            ..FieldSpec::default()
        }]
    };
    let labels = Transformer::Labels(Labels {
        pairs: metadata.labels.clone(),
        fields: fields("metadata/labels"),
    });
    let annotations = Transformer::Annotations(Annotations {
        pairs: metadata.annotations.clone(),
        fields: fields("metadata/annotations"),
    });
    for transformer in [labels, annotations] {
        transformer.run(&mut map, &mut state)?;
    }
    let mut resources = Vec::with_capacity(map.len());
    for resource in map.into_list() {
        meter.steps(1)?;
        let value = node::to_value(resource.node())
            .map_err(|fail| meter.in_object_of(resource.kind(), fail))
            .context(|| resource.current(state.scopes()).to_string())?;
        resources.push(Resource { value });
    }
    Ok(Resources(resources))
}
