//! The kustomization file and its entries, as types.

pub(crate) mod decode;
mod fields;
mod generators;
mod kustomization;
mod patches;
mod replacements;

pub(crate) use decode::{Decode, Mode, Object, decode, json_kind};
pub(crate) use fields::{FieldSpec, Image, Label, Replica, merge_all, merge_one};
pub(crate) use generators::{GeneratorArgs, GeneratorOptions, IamPolicy};
pub(crate) use kustomization::{Kustomization, LegacySortOptions, SortOptions};
pub(crate) use patches::{Patch, Selector};
pub(crate) use replacements::{FieldOptions, Replacement, Source, Target, Var};
