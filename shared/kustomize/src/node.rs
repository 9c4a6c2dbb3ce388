//! Operations on YAML nodes that the transformers are built from.
//!
//! They follow kyaml exactly, because the resulting tag and style of a node decide how the value reads once the object
//! is printed: `replicas: "3"` patched with `5` stays a string.

mod annotations;
mod extent;
mod fields;
mod json;
mod matcher;
mod path;
mod read;
mod shared;
mod text;

pub(crate) use annotations::{
    annotations, labels, meta_field, remove_annotations, set_annotation, set_annotations,
    set_label, set_labels, string_map,
};
pub(crate) use extent::Extent;
pub(crate) use fields::{
    api_version, clear, expect, field, get, is_empty, is_list, is_null, kind_field,
    quote_non_string, scalar, set_field, set_name, set_namespace, set_scalar, set_top, string,
    tagged,
};
pub(crate) use flux_yaml::{Kind, Node, Style};
pub(crate) use json::{from_json, to_value, unwritable};
pub(crate) use matcher::{Match, find_all};
pub(crate) use path::{lookup, lookup_create, split_path, split_path_smart};
pub(crate) use read::{read_documents, validated_metadata};
pub(crate) use shared::{Changes, shared_scalar};
pub(crate) use text::{contents, is_yaml11_non_string};
