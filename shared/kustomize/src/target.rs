//! One kustomization: its resources, generators, components, transformers and validators, in that order (KZ-ORD rows).

use std::collections::BTreeMap;
use std::rc::Rc;

use flux_golang::strconv::quote;

use crate::config::{Kustomization, Var};
use crate::error::{Cause, Context, Fail, Limited, Result};
use crate::id::Key;
use crate::loader::Loader;
use crate::meter::Charge;
use crate::origin::{ORIGIN, Origin};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::secrecy::shown_url;
use crate::state::State;
use crate::transformer::in_file;
use crate::transformer_config::{TransformerConfig, merge_shared};
use crate::{crd_config, node, plugin};

/// The possible names of a kustomization file (KZ-FILE-001).
pub(crate) const FILE_NAMES: [&str; 3] =
    ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The objects and vars accumulated so far.
#[derive(Default)]
pub(crate) struct Accumulator {
    pub(crate) map: ResMap,
    pub(crate) config: Option<Rc<TransformerConfig>>,
    pub(crate) vars: BTreeMap<String, Var>,
}

/// A loaded kustomization.
pub(crate) struct Target<'b> {
    pub(crate) file: Kustomization,
    pub(crate) file_name: &'static str,
    pub(crate) loader: Rc<Loader<'b>>,
    /// Set if origins are tracked (KZ-META-010).
    pub(crate) origin: Option<Origin>,
    /// The root's `buildMetadata` (KZ-META-008).
    tracks: bool,
    /// Its own namespace, or that of the innermost outer kustomization with one (KZ-HELM-003).
    pub(crate) namespace: String,
    /// The memory of the file.
    _charge: Charge,
}

impl<'b> Target<'b> {
    /// Reads the kustomization file of the loader's folder.
    pub(crate) fn load(loader: Rc<Loader<'b>>) -> Result<Self> {
        let mut found = None;
        let mut needs = None;
        for name in FILE_NAMES {
            match loader.load(name) {
                Ok(text) if found.is_none() => found = Some((name, text)),
                // KZ-FILE-003
                Ok(_) => {
                    return Err(format!(
                        "Found multiple kustomization files under: {}\n",
                        loader.shown_root()
                    )
                    .into());
                }
                Err(fail) if matches!(fail.cause, Cause::Needs) => needs = Some(fail),
                Err(_) => {}
            }
        }
        if let Some(needs) = needs {
            return Err(needs);
        }
        let Some((file_name, text)) = found else {
            // KZ-FILE-002
            let path = loader.root().join(FILE_NAMES[0]).unwrap_or_default();
            return Err(Fail::new(
                Cause::Missing(path),
                format!(
                    "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory \
                     '{}'",
                    loader.shown_root()
                ),
            ));
        };
        let (file, charge) = Kustomization::parse(&text, &loader.shown_root(), loader.meter())?;
        for warning in &file.warnings {
            loader.session().warn(warning);
        }
        Ok(Self {
            namespace: file.namespace.clone(),
            file,
            file_name,
            loader,
            origin: None,
            tracks: false,
            _charge: charge,
        })
    }

    /// Sets the schema that the file selects.
    pub(crate) fn choose_schema(&self, state: &mut State<'_>) -> Result<()> {
        let openapi = &self.file.openapi;
        let document = openapi
            .get("path")
            .map(|path| self.loader.load(path))
            .transpose()?;
        state.choose_schema(openapi.get("version").map(String::as_str), document)
    }

    /// Marks this as the root of a build.
    pub(crate) fn into_root(mut self) -> Self {
        self.tracks = !self.file.build_metadata.is_empty();
        self.origin = self.tracks.then(Origin::default);
        self
    }

    /// Accumulates the kustomization's objects, added to those of a component's parent.
    pub(crate) fn accumulate(
        &mut self,
        mut all: Accumulator,
        state: &mut State<'_>,
    ) -> Result<Accumulator> {
        let resources = std::mem::take(&mut self.file.resources);
        self.resources(&mut all, &resources, state)
            .context(|| "accumulating resources".into())?;
        self.configure(&mut all, state)?;
        plugin::run_generators(self, &mut all, state)?;
        let components = std::mem::take(&mut self.file.components);
        all = self
            .components(all, &components, state)
            .context(|| "accumulating components".into())?;
        let config = all.config.clone().unwrap_or_default();
        let transformers = plugin::transformers(self, &config, state)?;
        let meter = Rc::clone(state.meter());
        for (transformer, origin) in &transformers {
            meter.doing(transformer.name());
            transformer
                .run(&mut all.map, state)
                .map_err(|fail| match fail.cause {
                    Cause::Limit(Limited::Nesting, _) => fail.within(|| transformer.name().into()),
                    _ => fail,
                })?;
            if let Some(origin) = origin {
                for resource in all.map.bodies_mut() {
                    if !resource.is_empty() {
                        origin.note_transformation(resource, &meter)?;
                        resource.update_claim(&meter)?;
                    }
                }
            }
            all.map.drop_empty();
            meter.doing("");
        }
        plugin::run_validators(self, &mut all, state)?;
        let vars = std::mem::take(&mut self.file.vars);
        add_vars(&mut all, &vars, state).context(|| {
            let shown: Vec<_> = vars.iter().map(Var::as_written).collect();
            format!("merging vars {}", crate::go::list_of(&shown))
        })?;
        Ok(all)
    }

    fn configure(&self, all: &mut Accumulator, state: &State<'_>) -> Result<()> {
        let mut config = Rc::clone(&state.defaults);
        if !self.file.configurations.is_empty() {
            let mut added = TransformerConfig::default();
            for path in &self.file.configurations {
                let text = self.loader.load(path)?;
                added.merge(
                    &TransformerConfig::parse(&text, state.meter())?,
                    state.meter(),
                )?;
            }
            Rc::make_mut(&mut config).merge(&added, state.meter())?;
        }
        merge_shared(&mut all.config, &config, state).context(|| "merging config".into())?;
        if !self.file.crds.is_empty() {
            let found = crd_config::load(&self.loader, &self.file.crds)
                .context(|| format!("loading CRDs {}", crate::go::list_of(&self.file.crds)))?;
            merge_shared(&mut all.config, &Rc::new(found), state)
                .context(|| "merging CRDs".into())?;
        }
        Ok(())
    }

    /// Reads each entry as a file, otherwise opens it as a folder or repository (KZ-PATH-002 to KZ-PATH-006).
    pub(crate) fn resources(
        &mut self,
        all: &mut Accumulator,
        paths: &[String],
        state: &mut State<'_>,
    ) -> Result<()> {
        let mut needs = None;
        for path in paths {
            let Err(file_fail) = self.file(all, path, state) else {
                continue;
            };
            match file_fail.cause {
                Cause::Needs => {
                    // Continue, to find everything else that is needed.
                    needs = Some(file_fail);
                    continue;
                }
                _ if file_fail.is_final() => return Err(file_fail),
                _ => {}
            }
            let shown = file_fail.message.clone();
            let child = match self.loader.child(path) {
                Ok(child) => child,
                Err(fail) if matches!(fail.cause, Cause::Needs) => {
                    needs = Some(fail);
                    continue;
                }
                // KZ-PATH-004
                Err(_) if file_fail.is_malformed_yaml() => return Err(file_fail),
                Err(mut fail) => {
                    if matches!(fail.cause, Cause::Invalid) {
                        fail.cause = file_fail.cause;
                    }
                    return Err(fail.within(|| format!("accumulation err='{shown}'")));
                }
            };
            match self.directory(std::mem::take(all), child, path, false, state) {
                Ok(merged) => *all = merged,
                Err(fail) if matches!(fail.cause, Cause::Needs) => needs = Some(fail),
                Err(fail) => return Err(fail.within(|| format!("accumulation err='{shown}'"))),
            }
        }
        needs.map_or(Ok(()), Err)
    }

    fn file(&self, all: &mut Accumulator, path: &str, state: &State<'_>) -> Result<()> {
        let objects = self
            .loader
            .load(path)
            .and_then(|text| {
                read(&text, state).map_err(|fail| fail.reworded(|text| in_file(text, path)))
            })
            .context(|| format!("accumulating resources from '{}'", shown_url(path)))?;
        let origin = self
            .origin
            .as_ref()
            .map(|origin| origin.append(path).to_text());
        for mut object in objects.into_list() {
            if let Some(origin) = &origin {
                annotate_origin(&mut object, origin);
                object.update_claim(state.meter())?;
            }
            all.map
                .append(object, state)
                .context(|| format!("merging resources from '{}'", shown_url(path)))?;
        }
        Ok(())
    }

    fn components(
        &mut self,
        mut all: Accumulator,
        paths: &[String],
        state: &mut State<'_>,
    ) -> Result<Accumulator> {
        let mut needs = None;
        for path in paths {
            let child = match self.loader.child(path) {
                Ok(child) => child,
                Err(fail) if matches!(fail.cause, Cause::Needs) => {
                    needs = Some(fail);
                    continue;
                }
                // KZ-PATH-018
                Err(fail) => {
                    return Err(fail.reworded(|text| format!("loader.New {}", quote(text))));
                }
            };
            all = self
                .directory(all, child, path, true, state)
                .map_err(|fail| {
                    fail.reworded(|text| format!("accumulateDirectory: {}", quote(text)))
                })?;
        }
        match needs {
            Some(fail) => Err(fail),
            None => Ok(all),
        }
    }

    fn directory(
        &mut self,
        all: Accumulator,
        child: Rc<Loader<'b>>,
        path: &str,
        is_component: bool,
        state: &mut State<'_>,
    ) -> Result<Accumulator> {
        let root = child.shown_root();
        let mut target =
            Target::load(child).context(|| format!("couldn't make target for path '{root}'"))?;
        target.tracks = self.tracks;
        if target.namespace.is_empty() {
            target.namespace.clone_from(&self.namespace);
        }
        target.origin = self.origin.as_ref().map(|origin| origin.append(path));
        target.choose_schema(state)?;
        // KZ-COMP-004, KZ-COMP-005
        match (is_component, target.file.is_component()) {
            (true, false) => {
                return Err(format!(
                    "expected kind 'Component' for path '{root}' but got '{}'",
                    target.file.kind
                )
                .into());
            }
            (false, true) => {
                return Err(format!("expected kind != 'Component' for path '{root}'").into());
            }
            _ => {}
        }
        let (mut parent, gathered) = if is_component {
            (Accumulator::default(), all)
        } else {
            (all, Accumulator::default())
        };
        let gathered = target
            .accumulate(gathered, state)
            .context(|| format!("recursed accumulation of path '{root}'"))?;
        merge(&mut parent, gathered, state)
            .context(|| format!("recursed merging from path '{root}'"))?;
        Ok(parent)
    }
}

/// Parses the objects of a text.
pub(crate) fn read(text: &[u8], state: &State<'_>) -> Result<ResMap> {
    let mut map = ResMap::new();
    for object in node::read_documents(text, &state.options.limits, state.meter())? {
        let mut resource = Resource::new(object);
        resource.update_claim(state.meter())?;
        map.append(resource, state)?;
    }
    Ok(map)
}

fn annotate_origin(resource: &mut Resource, origin: &str) {
    let object = resource.body_mut();
    if let Ok(Some(map)) =
        node::lookup_create(object, node::Kind::Mapping, &["metadata", "annotations"])
    {
        if node::is_null(map) {
            *map = node::Node::mapping([]);
        }
        let mut changes = node::Changes::default();
        let _ = node::set_field(map, ORIGIN, node::Node::string(origin), &mut changes);
    }
}

fn merge(all: &mut Accumulator, other: Accumulator, state: &State<'_>) -> Result<()> {
    all.map.append_all(other.map, state)?;
    if let Some(config) = &other.config {
        merge_shared(&mut all.config, config, state)?;
    }
    for (name, var) in other.vars {
        add_var(&mut all.vars, name, var)?;
    }
    Ok(())
}

/// KZ-VAR-002
fn add_var(vars: &mut BTreeMap<String, Var>, name: String, var: Var) -> Result<()> {
    if vars.contains_key(&name) {
        return Err(format!("var '{name}' already encountered").into());
    }
    vars.insert(name, var);
    Ok(())
}

/// Records on objects which vars read from them (KZ-VAR-003).
fn add_vars(all: &mut Accumulator, vars: &[Var], state: &State<'_>) -> Result<()> {
    let scopes = state.scopes();
    for var in vars {
        state.meter().steps(1)?;
        let wanted = &var.target;
        let key: Key = wanted.key();
        let places = if wanted.namespace.is_empty() {
            let named = all.map.named(&wanted.name, scopes, state.meter())?;
            named
                .into_iter()
                .filter(|at| {
                    all.map.get(*at).is_some_and(|resource| {
                        std::iter::once(&resource.current(scopes).id)
                            .chain(resource.previous(scopes))
                            .any(|id| id.name == wanted.name && id.gvk == wanted.gvk)
                    })
                })
                .collect()
        } else {
            all.map.any_of(&key, scopes, state.meter())?
        };
        match places.as_slice() {
            [] => {}
            [at] => {
                if let Some(resource) = all.map.bodies_mut().get_mut(*at) {
                    resource.vars.push(var.name.clone());
                }
            }
            several => {
                return Err(format!(
                    "found {} resId matches for var {var} (unable to disambiguate)",
                    several.len()
                )
                .into());
            }
        }
    }
    for var in vars {
        add_var(&mut all.vars, var.name.clone(), var.clone())?;
    }
    Ok(())
}
