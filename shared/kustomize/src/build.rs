//! The entry points of a build, and the steps after the root kustomization is accumulated.

use flux_tree::{Tree, TreePath};
use flux_yaml::Value;

use crate::error::{Cause, Context, Error, Fail, Result};
use crate::loader::{Loader, Session};
use crate::meter::{Allowance, Charge, Meter};
use crate::node::{self, Extent};
use crate::options::{Options, Order};
use crate::origin::{ORIGIN, TRANSFORMATIONS};
use crate::output::{Build, Output, Resource, Resources};
use crate::remote::Remotes;
use crate::resmap::ResMap;
use crate::resource::build_annotation;
use crate::stack::with_stack;
use crate::state::State;
use crate::target::{Accumulator, Target};
use crate::transformer::{Hash, Labels, Transformer, name_reference, sort, vars};

/// Objects with this annotation, unless it is `false`, take part in the build but not in its output (KZ-LOAD-020).
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";

/// Builds the kustomization in `dir` of `tree`, byte for byte as kustomize 5.8.1 does.
///
/// # Errors
/// [`Error`]: the sources are inconsistent, refer to something that does not exist, or leave the area that they may
/// read.
pub fn build(
    tree: &Tree,
    dir: &TreePath,
    options: &Options,
    remotes: &Remotes,
) -> Result<Build, Error> {
    build_within(tree, dir, options, remotes, &Allowance::unlimited())
}

/// As [`build`], with the memory of the build claimed, and cancellable.
///
/// The work is done on a separate thread, whose stack is large enough for the nesting that objects may have. While
/// the build runs, the allowance holds the memory of everything built; afterwards that of the output, or none after a
/// failure.
///
/// # Errors
/// As [`build`], and [`Error::Memory`], [`Error::Cancelled`], [`Error::Thread`].
pub fn build_within(
    tree: &Tree,
    dir: &TreePath,
    options: &Options,
    remotes: &Remotes,
    allowance: &Allowance,
) -> Result<Build, Error> {
    let build = || on_this_thread(tree, dir, options, remotes, allowance);
    with_stack(build).unwrap_or_else(|error| {
        Err(Error::Thread {
            message: format!("cannot start a thread for the build: {error}"),
        })
    })
}

fn on_this_thread(
    tree: &Tree,
    dir: &TreePath,
    options: &Options,
    remotes: &Remotes,
    allowance: &Allowance,
) -> Result<Build, Error> {
    let meter = Meter::new(allowance, options.limits.steps);
    let session = Session::new(options, remotes, &meter);
    let built = run(&session, tree, dir);
    // Code that exceeded a limit may have swallowed the error.
    if let Some(fail) = meter.stopped() {
        return Err(fail.into_error());
    }
    let needs = session.needs.take();
    match built {
        // Once something was found missing, later errors may be consequences of that.
        _ if !needs.is_empty() => Ok(Build::Needs(needs)),
        Ok((resources, charge)) => {
            charge.keep();
            Ok(Build::Done(Output {
                resources,
                warnings: session.warnings.take(),
            }))
        }
        Err(fail) => Err(fail.into_error()),
    }
}

fn run(session: &Session<'_>, tree: &Tree, dir: &TreePath) -> Result<(Resources, Charge)> {
    let mut state = State::new(session.options, &session.meter);
    let loader = Loader::open(session, tree, dir)?;
    let mut target = Target::load(loader)?.into_root();
    target.choose_schema(&mut state)?;
    let metadata = target.file.build_metadata.clone();
    let sort_options = target.file.sort_options.clone();
    let mut all = target.accumulate(Accumulator::default(), &mut state)?;
    if !session.needs.borrow().is_empty() {
        return Err(Fail::new(Cause::Needs, ""));
    }
    // KZ-ORD-007
    Hash::run(&mut all.map, &mut state)?;
    if let Some(config) = &all.config {
        name_reference::fix(&mut all.map, &config.name_reference, &state)?;
    }
    resolve_vars(&mut all, &state)?;
    drop_local(&mut all.map, &state)?;
    match (&sort_options, session.options.order) {
        (Some(options), _) => sort::sort(options, &mut all.map, &state)?,
        (None, Order::Legacy) => sort::sort_legacy(None, &mut all.map, &state)?,
        (None, Order::None) => {}
    }
    let asks = |option: &str| metadata.iter().any(|other| other == option);
    if session.options.managed_by_label || asks("managedByLabel") {
        managed_by(&session.options.version).run(&mut all.map, &mut state)?;
    }
    let (origins, transformations) = (asks("originAnnotations"), asks("transformerAnnotations"));
    let gone = |key: &str| {
        build_annotation::ALL.contains(&key)
            || key == ORIGIN && !origins
            || key == TRANSFORMATIONS && !transformations
    };
    let meter = state.meter();
    let mut charge = Charge::new(meter);
    let mut resources = Vec::with_capacity(all.map.len());
    for mut resource in all.map.into_list() {
        meter.steps(1)?;
        let id =
            |resource: &crate::resource::Resource| resource.current(state.scopes()).to_string();
        if node::meta_field(resource.node(), "annotations").is_some_and(node::is_list) {
            return Err(format!("the annotations of {} are a list", id(&resource)).into());
        }
        node::remove_annotations(resource.body_mut(), gone);
        // Upstream quotes the whole object here, which may be a Secret.
        let written = node::to_value(resource.node()).and_then(|value| {
            if !is_plain(&value) {
                flux_yaml::sigs::to_string(&value).map_err(node::unwritable)?;
            }
            Ok(value)
        });
        let value = written
            .map_err(|fail| meter.in_object_of(resource.kind(), fail))
            .context(|| id(&resource))?;
        charge.take(Extent::of_value(&value).bytes)?;
        resources.push(Resource { value });
    }
    Ok((Resources(resources), charge))
}

/// Whether the object can certainly be written as YAML.
fn is_plain(value: &Value) -> bool {
    let text = |text: &str| {
        text.chars()
            .all(|c| !matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'))
    };
    match value {
        Value::String(value) => text(value),
        Value::Seq(items) => items.iter().all(is_plain),
        Value::Map(map) => map
            .iter()
            .all(|(key, item)| key.len() < 1000 && text(key) && is_plain(item)),
        _ => true,
    }
}

/// KZ-META-007
fn managed_by(version: &str) -> Transformer {
    let version = version.strip_prefix("kustomize/").unwrap_or(version);
    Transformer::Labels(Labels {
        pairs: [(
            "app.kubernetes.io/managed-by".to_owned(),
            format!("kustomize-{version}"),
        )]
        .into(),
        fields: vec![crate::config::FieldSpec {
            path: "metadata/labels".into(),
            create: true,
            ..crate::config::FieldSpec::default()
        }],
    })
}

/// KZ-VAR-004, KZ-VAR-005, KZ-VAR-012
fn resolve_vars(all: &mut Accumulator, state: &State<'_>) -> Result<()> {
    let mut values = std::collections::BTreeMap::new();
    for (name, var) in &all.vars {
        state.meter().work(all.map.len())?;
        let Some(resource) = all.map.iter().find(|resource| resource.vars.contains(name)) else {
            return Err(format!(
                "var '{}' cannot be mapped to a field in the set of known resources",
                var.with_default()
            )
            .into());
        };
        if resource.kind() == "Secret" {
            state.meter().note_spread_secret();
        }
        values.insert(name.clone(), vars::value_of(var, resource)?);
    }
    if values.is_empty() {
        return Ok(());
    }
    let config = all.config.clone().unwrap_or_default();
    vars::expand_all(&mut all.map, &config.var_reference, &values, state.meter())
}

fn drop_local(map: &mut ResMap, state: &State<'_>) -> Result<()> {
    for resource in map.iter() {
        node::validated_metadata(resource.node())?;
    }
    map.list_mut()
        .retain(|resource| matches!(resource.annotation(LOCAL_CONFIG), None | Some("false")));
    map.require_unique(state)
}
