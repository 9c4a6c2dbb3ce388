//! Generates ConfigMaps and Secrets from files, env files and literals (KZ-GEN rows).

mod iam;
mod key_values;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub(crate) use iam::iam_policy;
use key_values::Entry;

use crate::config::{GeneratorArgs, GeneratorOptions};
use crate::error::{Context, Result};
use crate::loader::Loader;
use crate::meter::Charge;
use crate::node::{self, Changes, Kind, Node, Style};
use crate::resource::{Behavior, Resource};
use crate::secrecy::MASK;

/// The line length of base64 text (KZ-GEN-015).
const LINE: usize = 70;

/// Generates a ConfigMap.
pub(crate) fn config_map(loader: &Loader<'_>, args: &GeneratorArgs) -> Result<Resource> {
    let mut object = base("ConfigMap", args)?;
    let mut charge = Charge::new(loader.meter());
    let (mut data, mut binary) = (Vec::new(), Vec::new());
    for (key, value) in pairs(loader, args, false, &mut charge)? {
        match String::from_utf8(value) {
            Ok(text) => data.push((key, text)),
            // KZ-GEN-013
            Err(error) => {
                charge.take(2 * error.as_bytes().len())?;
                binary.push((key, base64_lines(error.as_bytes())));
            }
        }
    }
    put_all(&mut object, "data", data);
    put_all(&mut object, "binaryData", binary);
    finish(&mut object, args.options.as_ref());
    Ok(resource(object, args))
}

/// Generates a Secret.
pub(crate) fn secret(loader: &Loader<'_>, args: &GeneratorArgs) -> Result<Resource> {
    let mut object = base("Secret", args)?;
    let kind = if args.kind.is_empty() {
        "Opaque"
    } else {
        &args.kind
    };
    set(&mut object, "type", node::string(kind));
    let mut charge = Charge::new(loader.meter());
    let mut data = Vec::new();
    for (key, value) in pairs(loader, args, true, &mut charge)? {
        charge.take(2 * value.len())?;
        data.push((key, base64_lines(&value)));
    }
    // KZ-GEN-014
    let _ = node::lookup_create(&mut object, Kind::Mapping, &["data"]);
    put_all(&mut object, "data", data);
    finish(&mut object, args.options.as_ref());
    Ok(resource(object, args))
}

fn set(object: &mut Node, name: &str, value: Node) {
    // A fresh object is a mapping.
    let _ = node::set_field(object, name, value, &mut Changes::default());
}

fn base(kind: &str, args: &GeneratorArgs) -> Result<Node> {
    // KZ-GEN-002
    if args.name.is_empty() {
        return Err("a configmap must have a name".into());
    }
    let mut object = Node::mapping([
        (Node::string("apiVersion"), Node::string("v1")),
        (Node::string("kind"), Node::string(kind)),
    ]);
    let mut meta = Node::new(Kind::Mapping);
    set(&mut meta, "name", node::string(args.name.as_str()));
    if !args.namespace.is_empty() {
        set(
            &mut meta,
            "namespace",
            node::string(args.namespace.as_str()),
        );
    }
    set(&mut object, "metadata", meta);
    Ok(object)
}

/// The entries sorted by key; duplicates are an error (KZ-GEN-003).
fn pairs(
    loader: &Loader<'_>,
    args: &GeneratorArgs,
    secret: bool,
    charge: &mut Charge,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut map = BTreeMap::new();
    let all =
        key_values::load(loader, args, secret, charge).context(|| "loading KV pairs".into())?;
    loader.meter().work(all.len() * 4)?;
    for Entry { key, value, read } in all {
        if map.contains_key(&key) {
            // A line without a separator is a key, even if it is part of a private key.
            let key = if secret && read { MASK } else { &key };
            return Err(
                format!("configmap {} illegally repeats the key `{key}`", args.name).into(),
            );
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// Adds entries with distinct keys to a field, which is created if it does not exist.
fn put_all(object: &mut Node, field: &str, entries: Vec<(String, String)>) {
    if entries.is_empty() {
        return;
    }
    let Ok(Some(map)) = node::lookup_create(object, Kind::Mapping, &[field]) else {
        return;
    };
    if node::is_null(map) || map.kind != Kind::Mapping {
        return;
    }
    map.content.reserve(2 * entries.len());
    for (key, text) in entries {
        let mut value = Node::string(text);
        if value.value.contains('\n') {
            value.style = Style::LITERAL;
        }
        node::quote_non_string(&mut value);
        map.content.push(node::scalar(key));
        map.content.push(value);
    }
}

/// Rewrites the data of a merged object (KZ-GEN-024).
pub(crate) fn set_data(object: &mut Node, field: &str, map: BTreeMap<String, String>) {
    let _ = node::clear(object, field);
    put_all(object, field, map.into_iter().collect());
}

fn base64_lines(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    if text.len() / LINE == 0 {
        return text;
    }
    let mut out = String::with_capacity(text.len() + text.len() / LINE + 1);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(LINE.min(rest.len()));
        out.push_str(line);
        out.push('\n');
        rest = next;
    }
    out
}

fn finish(object: &mut Node, options: Option<&GeneratorOptions>) {
    let Some(options) = options else {
        return;
    };
    for (key, value) in &options.labels {
        node::set_label(object, key, value);
    }
    for (key, value) in &options.annotations {
        node::set_annotation(object, key, value);
    }
    if options.immutable {
        set(object, "immutable", node::tagged("!!bool", "true"));
    }
}

fn resource(object: Node, args: &GeneratorArgs) -> Resource {
    let mut resource = Resource::new(object);
    let keep_name = args
        .options
        .as_ref()
        .is_some_and(|options| options.disable_name_suffix_hash);
    if !keep_name {
        resource.enable_hash();
    }
    resource.set_behavior(Behavior::parse(&args.behavior));
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_broken_into_lines() {
        // KZ-GEN-015
        assert_eq!(base64_lines(b"abc"), "YWJj");
        let long = base64_lines(&[0; 60]);
        assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [70, 10]);
        assert!(long.ends_with('\n'));
        // A text of exactly one line is wrapped as well
        assert!(base64_lines(&[0; 52]).ends_with('\n'));
    }
}
