//! Derives field specs from OpenAPI definitions in Go's generated form (KZ-CRD rows).

use std::rc::Rc;

use flux_yaml::{Map, Value};

use crate::config::{FieldSpec, json_kind, merge_one};
use crate::error::{Context, Result};
use crate::id::Gvk;
use crate::loader::Loader;
use crate::meter::{Charge, Meter};
use crate::secrecy::unreadable;
use crate::transformer_config::{NameReference, TransformerConfig};

/// The maximum depth of references between definitions.
const MAX_DEPTH: usize = 64;

/// Reads the files that `crds` names.
pub(crate) fn load(loader: &Loader<'_>, paths: &[String]) -> Result<TransformerConfig> {
    let mut config = TransformerConfig::default();
    for path in paths {
        let text = loader.load(path)?;
        let (definitions, _charge) = parse(&text, loader.meter())
            .context(|| format!("unable to parse open API definition from '{path}'"))?;
        for (name, definition) in &definitions {
            let properties = properties(definition);
            if !["kind", "apiVersion", "metadata"]
                .iter()
                .all(|field| properties.is_some_and(|map| map.contains_key(*field)))
            {
                continue;
            }
            let mut found = TransformerConfig::default();
            Reader {
                config: &mut found,
                meter: loader.meter(),
                definitions: &definitions,
                // KZ-CRD-002
                gvk: Gvk {
                    kind: name.rsplit('.').next().unwrap_or_default().to_owned(),
                    ..Gvk::default()
                },
            }
            .read(name, &[])?;
            config.merge(&found, loader.meter())?;
        }
    }
    Ok(config)
}

fn parse(text: &[u8], meter: &Rc<Meter>) -> Result<(Map, Charge)> {
    let is_json = match text.first() {
        // KZ-CRD-007: upstream panics.
        None => return Err("the file is empty".into()),
        Some(first) => *first == b'{',
    };
    let (value, charge) = meter.read(text, |text, claim| {
        if is_json {
            flux_yaml::json::from_str_within(text, claim)
        } else {
            flux_yaml::sigs::from_str_within(text, claim)
        }
    })?;
    let value = value.map_err(|error| unreadable(&error, text))?;
    let definitions = definitions(value).map_err(|error| {
        if is_json {
            error
        } else {
            format!("error unmarshaling JSON: while decoding JSON: {error}")
        }
    })?;
    Ok((definitions, charge))
}

fn definitions(value: Value) -> Result<Map, String> {
    let wrong = |value: &Value, kind: &str| {
        format!(
            "json: cannot unmarshal {} into Go value of type accumulator.{kind}",
            json_kind(value)
        )
    };
    let map = match value {
        Value::Map(map) => map,
        Value::Null => return Ok(Map::new()),
        other => return Err(wrong(&other, "nameToApiMap")),
    };
    let none = map
        .iter()
        .find(|(_, value)| !matches!(value, Value::Map(_) | Value::Null));
    match none {
        Some((_, value)) => Err(wrong(value, "OpenAPIDefinition")),
        None => Ok(map),
    }
}

fn properties(definition: &Value) -> Option<&Map> {
    definition
        .at(["Schema", "properties"])
        .and_then(Value::as_map)
}

struct Reader<'r> {
    meter: &'r Meter,
    config: &'r mut TransformerConfig,
    definitions: &'r Map,
    gvk: Gvk,
}

impl Reader<'_> {
    fn spec(&self, path: &[&str]) -> FieldSpec {
        FieldSpec {
            gvk: self.gvk.clone(),
            path: path.join("/"),
            create: false,
        }
    }

    /// KZ-CRD-003 to KZ-CRD-005
    fn read(&mut self, name: &str, path: &[&str]) -> Result<()> {
        if path.len() > MAX_DEPTH {
            return Err(format!("the definitions of {name} refer to one another").into());
        }
        let definitions = self.definitions;
        let Some(properties) = definitions.get(name).and_then(properties) else {
            return Ok(());
        };
        for (property, schema) in properties {
            // Definitions with two references each amount to two to the power of their depth.
            self.meter.work(10 + path.len())?;
            let mut here: Vec<&str> = path.to_vec();
            here.push(property);
            let text = |key: &str| schema.get(key).and_then(Value::as_str);
            let spec = self.spec(&here);
            if text("x-kubernetes-annotation").is_some() {
                merge_one(&mut self.config.common_annotations, &spec)?;
            }
            if text("x-kubernetes-label-selector").is_some() {
                merge_one(&mut self.config.common_labels, &spec)?;
            }
            if text("x-kubernetes-identity").is_some() {
                merge_one(&mut self.config.name_prefix, &spec)?;
            }
            if let (Some(version), Some(kind)) = (
                text("x-kubernetes-object-ref-api-version"),
                text("x-kubernetes-object-ref-kind"),
            ) {
                let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
                let mut at = here.clone();
                at.push(key);
                self.config.add_reference(
                    &NameReference {
                        target: Gvk {
                            group: String::new(),
                            version: version.to_owned(),
                            kind: kind.to_owned(),
                        },
                        referrers: vec![self.spec(&at)],
                    },
                    self.meter,
                )?;
            }
            if let Some(reference) = text("$ref") {
                self.read(reference, &here)?;
            }
        }
        Ok(())
    }
}
