//! What installers, the unmodified `flux` command and users of an installation need of ours.

mod bundle;
mod cli;
mod commands;
mod install;
mod installers;
mod operator;
mod published;
mod sink;
mod swap;
mod takeover;

use std::collections::BTreeMap;

use kind_tests::{Failure, Result};
use serde_json::Value;

/// Objects by kind and name, `Deployment source-controller`.
type Objects = BTreeMap<String, Value>;

fn objects(yaml: &str) -> Result<Objects> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    let named = documents.into_iter().map(|object| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = format!(
            "{} {}",
            text(&object["kind"]),
            text(&object["metadata"]["name"])
        );
        (name, object)
    });
    Ok(named.collect())
}

fn object<'a>(objects: &'a Objects, name: &str) -> Result<&'a Value> {
    objects
        .get(name)
        .ok_or_else(|| Failure::new(format!("no {name} among {:?}", objects.keys())))
}

/// The arguments of a Deployment's controller.
fn args(deployment: &Value) -> Vec<&str> {
    let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let args = args.as_array().into_iter().flatten();
    args.filter_map(Value::as_str).collect()
}
