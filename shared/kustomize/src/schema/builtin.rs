use std::collections::HashMap;

use super::{Schema, Type, TypeId, UNKNOWN};
use crate::id::Gvk;

/// Made by `kind-tests/oracle/cmd/kustomize-schema`, which tells the format.
const TABLE: &str = include_str!("builtin.txt");

/// The prefix of the table's type names, apart from those of a user's document.
const PREFIX: &str = "builtin/";

impl Schema {
    /// Adds the built-in types to whatever is there already.
    pub(crate) fn add_builtin(&mut self) {
        for line in TABLE.lines() {
            let mut words = line.split(' ');
            let (Some(first), Some(second)) = (words.next(), words.next()) else {
                continue;
            };
            if first.bytes().all(|b| b.is_ascii_digit()) {
                self.add_type(first, second, words);
            } else if let Some(id) = words.next() {
                self.add_kind(&Gvk::new(first, second), id);
            }
        }
    }

    fn add_type<'l>(&mut self, id: &str, name: &str, fields: impl Iterator<Item = &'l str>) {
        let mut object = Type {
            open: true,
            ..Type::default()
        };
        for field in fields {
            let Some((name, target)) = field.split_once('=') else {
                continue;
            };
            let target = (!target.is_empty()).then(|| {
                self.push(Type {
                    reference: Some(format!("{PREFIX}{target}")),
                    ..Type::default()
                })
            });
            let (name, known) = match name.split_once('@') {
                None => (name, target),
                Some((name, keys)) => {
                    let list = merged_list(keys, target.or(Some(UNKNOWN)));
                    (name, Some(self.push(list)))
                }
            };
            match known {
                Some(known) if name == "*" => object.others = Some(known),
                Some(known) => {
                    object.fields.insert(name.into(), known);
                }
                None => {}
            }
        }
        let known = self.push(object);
        self.by_name.insert(format!("{PREFIX}{id}"), known);
        self.by_name.insert(format!("#/definitions/{name}"), known);
    }

    fn add_kind(&mut self, gvk: &Gvk, id: &str) {
        let known = match self.by_name.get(&format!("{PREFIX}{id}")) {
            Some(known) => *known,
            None => self.push(Type {
                open: true,
                ..Type::default()
            }),
        };
        self.by_gvk.insert(gvk.clone(), known);
    }
}

fn merged_list(keys: &str, items: Option<TypeId>) -> Type {
    Type {
        is_list: true,
        items,
        fields: HashMap::new(),
        strategy: Some("merge".into()),
        map_keys: Some(
            keys.split(',')
                .filter(|key| !key.is_empty())
                .map(str::to_owned)
                .collect(),
        ),
        ..Type::default()
    }
}
