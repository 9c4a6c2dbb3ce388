//! Generators, transformers and validators: those configured by fields of a kustomization, and plugins configured by
//! objects (KZ-PLG rows).

mod builtin;

use builtin::Plugin;

use crate::error::{Context, Result};
use crate::origin::{ORIGIN, Origin};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::secrecy::is_inline_secret;
use crate::state::State;
use crate::target::{Accumulator, Target, read};
use crate::transformer::Transformer;
use crate::transformer_config::TransformerConfig;
use crate::{generator, node};

/// A label that validators may set (KZ-ORD-009).
const VALIDATED_BY: &str = "validated-by";

/// Runs all generators of a kustomization (KZ-ORD-002).
pub(crate) fn run_generators(
    target: &mut Target<'_>,
    all: &mut Accumulator,
    state: &mut State<'_>,
) -> Result<()> {
    let mut generators = builtin::generators(target)?;
    let entries = std::mem::take(&mut target.file.generators);
    let configured = configured(target, &entries, "generator", state)
        .context(|| "loading generator plugins".into())?;
    for object in configured.into_list() {
        let origin = Origin::of_plugin(&object, state.meter())?;
        let id = object.original(state.scopes()).0.to_string();
        match builtin::plugin(target, &object, state) {
            Ok(Plugin::Generator(generator)) => generators.push((generator, origin)),
            Ok(Plugin::Transformer(_)) => {
                return Err(format!(
                    "loading generator plugins: failed to load generator: plugin {id} not a generator"
                )
                .into());
            }
            Err(fail) => {
                return Err::<(), _>(fail)
                    .context(|| "loading generator plugins: failed to load generator".into());
            }
        }
    }
    for (generator, origin) in generators {
        let mut object = generator.generate(target)?;
        if let Some(origin) = &origin
            && object.annotation(ORIGIN).is_none()
        {
            origin.annotate(&mut object);
        }
        object.update_claim(state.meter())?;
        all.map
            .absorb(object, state)
            .context(|| "merging from generator".into())?;
    }
    Ok(())
}

/// All transformers of a kustomization, with the origins that they record (KZ-ORD-003).
pub(crate) fn transformers(
    target: &mut Target<'_>,
    config: &TransformerConfig,
    state: &mut State<'_>,
) -> Result<Vec<(Transformer, Option<Origin>)>> {
    let mut all = builtin::transformers(target, config, state)?;
    let entries = std::mem::take(&mut target.file.transformers);
    all.extend(external(target, &entries, state)?);
    Ok(all)
}

/// Transformers configured by objects (KZ-PLG-007).
fn external(
    target: &mut Target<'_>,
    entries: &[String],
    state: &mut State<'_>,
) -> Result<Vec<(Transformer, Option<Origin>)>> {
    let mut all = Vec::new();
    for object in configured(target, entries, "transformer", state)?.into_list() {
        let id = object.original(state.scopes()).0.to_string();
        match builtin::plugin(target, &object, state)? {
            Plugin::Transformer(transformer) => {
                all.push((transformer, Origin::of_plugin(&object, state.meter())?));
            }
            Plugin::Generator(_) => return Err(format!("plugin {id} not a transformer").into()),
        }
    }
    Ok(all)
}

/// The objects of the entries: inline, from files or from folders (KZ-PLG-001).
fn configured(
    target: &mut Target<'_>,
    entries: &[String],
    what: &str,
    state: &mut State<'_>,
) -> Result<ResMap> {
    let mut all = Accumulator::default();
    let mut paths = Vec::new();
    for entry in entries {
        let objects = match read(entry.as_bytes(), state) {
            Ok(objects) => objects,
            Err(fail) if fail.is_final() => return Err(fail),
            // If treated as a path, all of it would be quoted in the message.
            Err(fail) if is_inline_secret(entry) => {
                return Err(fail.within(|| format!("configuring external {what}")));
            }
            Err(_) => {
                paths.push(entry.clone());
                continue;
            }
        };
        for mut object in objects.into_list() {
            if let Some(origin) = &target.origin {
                origin.append(target.file_name).annotate(&mut object);
            }
            all.map
                .append(object, state)
                .context(|| format!("configuring external {what}"))?;
        }
    }
    target.resources(&mut all, &paths, state)?;
    Ok(all.map)
}

/// Runs all validators, which may change nothing but a label (KZ-ORD-009).
pub(crate) fn run_validators(
    target: &mut Target<'_>,
    all: &mut Accumulator,
    state: &mut State<'_>,
) -> Result<()> {
    let entries = std::mem::take(&mut target.file.validators);
    if entries.is_empty() {
        return Ok(());
    }
    for (validator, _) in external(target, &entries, state)? {
        let before: Vec<_> = all.map.iter().cloned().collect();
        state.meter().steps(1)?;
        validator.run(&mut all.map, state)?;
        let changed = all.map.iter().zip(&before).find(|(resource, before)| {
            let mut after = resource.node().clone();
            let mut labels = node::labels(&after);
            if labels.remove(VALIDATED_BY).is_some() {
                node::set_labels(&mut after, &labels);
            }
            match (node::to_value(&after), node::to_value(before.node())) {
                (Ok(after), Ok(before)) => after != before,
                (after, before) => after.is_ok() != before.is_ok(),
            }
        });
        let refused = "validator shouldn't modify the resource map";
        if let Some((resource, _)) = changed {
            let id = resource.current(state.scopes());
            return Err(format!("{refused}: {id}").into());
        }
        if all.map.len() != before.len() {
            return Err(refused.into());
        }
    }
    Ok(())
}

/// A configured generator.
pub(crate) enum Generator {
    ConfigMap(crate::config::GeneratorArgs),
    Secret(crate::config::GeneratorArgs),
    IamPolicy(crate::config::IamPolicy),
}

impl Generator {
    fn generate(&self, target: &Target<'_>) -> Result<Resource> {
        match self {
            Self::ConfigMap(args) => generator::config_map(&target.loader, args),
            Self::Secret(args) => generator::secret(&target.loader, args),
            Self::IamPolicy(args) => generator::iam_policy(args),
        }
    }
}
