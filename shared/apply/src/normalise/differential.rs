//! Random objects of every built-in kind, normalised by fluxcd/pkg/ssa and by this crate.
//!
//! `FLUX_ORACLE_CASES` sets the number per kind, `FLUX_ORACLE_SEED` the seed; `FLUX_GOLDEN=write` regenerates the table
//! of types.

use std::collections::HashSet;

use flux_cluster::Object;
use oracle::{Answer, Oracle};
use serde_json::{Map, Value, json};

use super::convert::normalise_numbers;
use super::normalise;
use super::types::{TEXT, Table, Type};

/// A small generator: tests must be reproducible.
struct Random {
    state: u64,
    /// How many more values may have the wrong type.
    wrong: usize,
    /// Fields that were set in objects without wrong values; others are set with a higher probability.
    seen: HashSet<(u16, &'static str)>,
}

impl Random {
    fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self {
            state,
            wrong: 0,
            seen: HashSet::new(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from((self.state >> 11) % bound.max(1) as u64).expect("a small number")
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A text of pieces, valid or nearly so.
    fn pieces(&mut self, pieces: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| self.pick(pieces)).collect()
    }

    fn any(&mut self) -> Value {
        self.pick(&[
            json!(null),
            json!(true),
            json!(false),
            json!(0),
            json!(-1),
            json!(4_294_967_297_i64),
            json!(18_446_744_073_709_551_615_u64),
            json!(3.0),
            json!(-0.0),
            json!(1.5),
            json!(1e-7),
            json!(1e21),
            json!(""),
            json!("text"),
            json!("8080"),
            json!([]),
            json!([null, 1]),
            json!({}),
            json!({"a": null, "b": {"c": [1.0, 1e30]}}),
        ])
    }

    fn integer(&mut self) -> Value {
        self.pick(&[
            json!(0),
            json!(1),
            json!(-1),
            json!(8080),
            json!(2_147_483_648_i64),
            json!(9_223_372_036_854_775_807_i64),
            json!(9_223_372_036_854_775_808_u64),
            json!(3.0),
            json!(-1e3),
            json!(-1e300),
        ])
    }

    fn quantity(&mut self) -> Value {
        const NUMBERS: [&str; 17] = [
            "0",
            "1",
            "5",
            "8",
            "10",
            "100",
            "1000",
            "1024",
            "1536",
            "0.5",
            "1.5",
            "2.25",
            "0.001",
            "1000000",
            "9223372036854775807",
            "0.0000000001",
            ".",
        ];
        const SUFFIXES: [&str; 26] = [
            "", "", "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi",
            "Ei", "e3", "E2", "e-3", "e+5", "e-12", "e20", "e0", "e1",
        ];
        if self.below(6) == 0 {
            return self.pick(&[
                json!(1),
                json!(0),
                json!(0.5),
                json!(1.5),
                json!(1e-7),
                json!(2e21),
                json!(-4),
            ]);
        }
        let sign = self.pick(&["", "", "", "", "-", "+"]);
        let zeros = self.pick(&["", "", "", "", "0", "00"]);
        let number = if self.below(3) == 0 {
            self.pieces(&["1", "2", "7", "0", "00", "."], 14)
                .replacen('.', "_", 1)
                .replace('.', "")
                .replace('_', ".")
        } else {
            self.pick(&NUMBERS).to_owned()
        };
        let blank = self.pick(&["", "", "", "", "", "", " ", "\u{a0}"]);
        json!(format!(
            "{blank}{sign}{zeros}{number}{}{blank}",
            self.pick(&SUFFIXES)
        ))
    }

    fn time(&mut self, micro: bool) -> Value {
        let date = self.pick(&[
            "2026-07-01",
            "2024-02-29",
            "2023-02-28",
            "0001-01-01",
            "0000-01-01",
            "9999-12-31",
            "2026-12-31",
        ]);
        let clock = self.pick(&["12:30:45", "00:00:00", "23:59:59", "3:04:05"]);
        let plain = self.pick(&["", "", "", ".5", ",123456789", ".1234567891"]);
        let fraction = if micro {
            self.pick(&[".000000", ".123456", ",000001", ".+12345", ".-00000"])
        } else {
            plain
        };
        let zone = self.pick(&["Z", "Z", "Z", "+02:00", "-23:59", "+24:60", "-00:00"]);
        json!(format!("{date}T{clock}{fraction}{zone}"))
    }

    /// A random value of a type, complete or partial.
    fn value(&mut self, ty: Type, depth: usize) -> Value {
        if self.wrong > 0 && self.below(12) == 0 {
            self.wrong -= 1;
            return self.any();
        }
        if self.below(12) == 0 {
            return Value::Null;
        }
        let table = Table::get();
        match ty {
            Type::Text => json!(self.pick(&[
                "",
                "",
                "a",
                "TCP",
                "UDP",
                "<&>",
                "\u{e4}\u{2028}",
                "8080",
                "True"
            ])),
            Type::Bool => json!(self.below(2) == 0),
            Type::Int32 | Type::Int64 => self.integer(),
            Type::Bytes => self.pick(&[
                json!(""),
                json!("YQ=="),
                json!("YR=="),
                json!("Y\nQ=\r\n="),
                json!("YWJj"),
                json!("\n"),
                json!([]),
                json!([97, null, 355]),
            ]),
            Type::Quantity => loop {
                let quantity = self.quantity();
                let is_fit = table.convert(ty, &quantity).is_ok();
                if is_fit || self.wrong > 0 {
                    return quantity;
                }
            },
            Type::Time | Type::MicroTime => self.time(ty == Type::MicroTime),
            Type::IntOrString => self.pick(&[
                json!(0),
                json!(80),
                json!(""),
                json!("25%"),
                json!(3.0),
                json!(-2),
            ]),
            Type::Json => self.any(),
            Type::Struct(number) => Value::Object(self.structure(number, depth)),
            Type::Pointer(inner) => self.value(table.inner(inner), depth),
            Type::List(inner) => {
                let items = self.below(3);
                (0..items)
                    .map(|_| self.value(table.inner(inner), depth + 1))
                    .collect()
            }
            Type::Map(inner) => {
                let keys: Vec<&str> = (0..self.below(3))
                    .map(|_| self.pick(&["a", "b", "memory", ""]))
                    .collect();
                let pairs = keys
                    .into_iter()
                    .map(|key| (key.to_owned(), self.value(table.inner(inner), depth + 1)));
                Value::Object(pairs.collect())
            }
        }
    }

    fn structure(&mut self, number: u16, depth: usize) -> Map<String, Value> {
        let fields = Table::get().fields(number);
        // In large or deeply nested structs few fields are set: an object then has some fifty values.
        let odds = 1 + fields.len() * (depth + 1) / 8;
        let mut object = Map::new();
        for field in fields {
            let is_new = self.wrong == 0 && !self.seen.contains(&(number, field.name));
            if self.below(if is_new { 2 } else { odds }) == 0 {
                object.insert(field.name.to_owned(), self.value(field.ty, depth + 1));
            }
        }
        if self.below(8) == 0 {
            let name = self.pick(&["odd", "Spec", "-", ""]);
            object.insert(name.to_owned(), self.any());
        }
        object
    }

    fn object(&mut self, group_version: &str, kind: &str, ty: Type) -> Value {
        self.wrong = self.pick(&[0, 0, 1]);
        let Type::Struct(number) = ty else {
            panic!("{kind} is a struct");
        };
        let is_right = self.wrong == 0;
        let mut object = self.structure(number, 0);
        // The fields that are normalised beyond their types are set often.
        if self.below(4) == 0 {
            let spec = object.entry("spec").or_insert_with(|| json!({}));
            let ports =
                json!([{"port": 80}, {"containerPort": 53, "protocol": self.pick(&["UDP", ""])}]);
            let pod = json!({"containers": [{"name": "c", "ports": ports}], "initContainers": [{"ports": ports}]});
            *spec = match kind {
                "Service" => json!({"ports": ports}),
                "Pod" => pod,
                "CronJob" => json!({"jobTemplate": {"spec": {"template": {"spec": pod}}}}),
                "Deployment"
                | "StatefulSet"
                | "DaemonSet"
                | "ReplicaSet"
                | "Job"
                | "ReplicationController" => {
                    json!({"template": {"spec": pod}})
                }
                _ => spec.take(),
            };
            if spec.is_null() {
                object.remove("spec");
            }
        }
        object.insert("apiVersion".to_owned(), group_version.into());
        object.insert("kind".to_owned(), kind.into());
        let object = Value::Object(object);
        if is_right {
            note_fields(ty, &object, &mut self.seen);
        }
        object
    }
}

/// Records the fields of all structs that a value sets.
fn note_fields(ty: Type, value: &Value, noted: &mut HashSet<(u16, &'static str)>) {
    let table = Table::get();
    match (ty, value) {
        (Type::Struct(number), Value::Object(object)) => {
            for field in table.fields(number) {
                if let Some(value) = object.get(field.name).filter(|value| !value.is_null()) {
                    noted.insert((number, field.name));
                    note_fields(field.ty, value, noted);
                }
            }
        }
        (Type::Pointer(inner), value) => note_fields(table.inner(inner), value, noted),
        (Type::List(inner), Value::Array(items)) => {
            for item in items {
                note_fields(table.inner(inner), item, noted);
            }
        }
        (Type::Map(inner), Value::Object(pairs)) => {
            for value in pairs.values() {
                note_fields(table.inner(inner), value, noted);
            }
        }
        _ => {}
    }
}

fn ours(object: &Value) -> Value {
    let mut object = Object::new(object.clone()).expect("an object");
    normalise(&mut object);
    object.into_value()
}

/// Objects of special kinds: CRDs are not built into the client, and roles are not normalised.
fn further_objects(random: &mut Random) -> Vec<Value> {
    let mut objects = Vec::new();
    for (version, kind) in [
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("apiregistration.k8s.io/v1", "APIService"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("x.io/v1", "Deployment"),
        ("apps/v9", "Deployment"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ] {
        for metadata in [
            json!({"name": "a"}),
            json!({"name": "a", "creationTimestamp": 1}),
            json!({}),
            Value::Null,
            json!(1),
        ] {
            objects.push(json!({
                "apiVersion": version, "kind": kind, "metadata": metadata,
                "rules": [{"verbs": null, "odd": random.any()}], "spec": random.any(), "status": random.any(),
            }));
        }
        objects.push(json!({"apiVersion": version, "kind": kind}));
    }
    objects
}

/// A value of a type in which every list has one item, which is null; `None` if the type has no list.
fn with_null_items(ty: Type, depth: usize) -> Option<Value> {
    let table = Table::get();
    match ty {
        Type::List(_) => Some(json!([null])),
        Type::Pointer(inner) => with_null_items(table.inner(inner), depth),
        Type::Struct(number) if depth > 0 => {
            let fields = table.fields(number).iter();
            let set = fields.filter_map(|field| {
                Some((field.name.to_owned(), with_null_items(field.ty, depth - 1)?))
            });
            let object: Map<String, Value> = set.collect();
            (!object.is_empty()).then_some(Value::Object(object))
        }
        _ => None,
    }
}

// RT-SSA-002 KC-SSA-003 KC-SSA-004
#[test]
fn objects_of_every_kind_are_normalised_as_upstream() {
    let Some(mut go) = Oracle::start("normalise") else {
        return;
    };
    let per_kind = oracle::cases(60);
    let mut random = Random::new(oracle::seed());
    // KC-SSA-005, KC-SSA-006
    let mut objects = further_objects(&mut random);
    for (group_version, kind, ty) in Table::get().kinds() {
        for _ in 0..per_kind {
            objects.push(random.object(group_version, kind, ty));
        }
        for depth in 1..7 {
            if let Some(mut object) = with_null_items(ty, depth) {
                object["apiVersion"] = json!(group_version);
                object["kind"] = json!(kind);
                objects.push(object);
            }
        }
    }
    let questions: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut object = object.clone();
            normalise_numbers(&mut object);
            json!({"mode": "normalise", "object": object})
        })
        .collect();
    let mut noted = HashSet::new();
    for (object, answer) in objects.iter().zip(go.ask_all(&questions)) {
        let ours = ours(object);
        let mut upstream = match answer {
            Answer::Output(upstream) => upstream,
            other => panic!("{other:?} for {object}"),
        };
        normalise_numbers(&mut upstream);
        assert!(
            ours == upstream,
            "given    {object}\nours     {ours}\nupstream {upstream}"
        );
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let ty = Table::get().kind(text("apiVersion"), text("kind"));
        if let Some(ty) = ty.filter(|ty| Table::get().convert(*ty, object).is_ok()) {
            note_fields(ty, object, &mut noted);
        }
    }
    let all = Table::get().number_of_fields();
    let noted = noted.len();
    assert!(
        noted * 100 > all * 85,
        "only {noted} of {all} fields were seen in objects that match their types"
    );
}

// KC-SSA-003
#[test]
fn values_are_written_as_go_writes_them() {
    let Some(mut go) = Oracle::start("normalise") else {
        return;
    };
    let mut random = Random::new(oracle::seed());
    let cases = oracle::cases(60) * 100;
    let types = [
        ("quantity", Type::Quantity),
        ("quantity", Type::Quantity),
        ("quantity", Type::Quantity),
        ("time", Type::Time),
        ("microTime", Type::MicroTime),
        ("intOrString", Type::IntOrString),
        ("raw", Type::Json),
        ("bytes", Type::Bytes),
        ("int32", Type::Int32),
        ("int64", Type::Int64),
    ];
    let values: Vec<(&str, Type, Value)> = (0..cases)
        .map(|_| {
            let (name, ty) = random.pick(&types);
            random.wrong = 1;
            let mut value = random.value(ty, 0);
            if let (Value::String(text), 0) = (&value, random.below(4)) {
                let mut chars: Vec<char> = text.chars().collect();
                let place = random.below(chars.len());
                if !chars.is_empty() && random.below(2) == 0 {
                    chars.remove(place);
                } else {
                    chars.insert(
                        place,
                        random.pick(&['0', '-', '.', '+', ':', 'e', 'Z', 'i', '=', '\t', ' ', '9']),
                    );
                }
                value = chars.into_iter().collect::<String>().into();
            }
            normalise_numbers(&mut value);
            (name, ty, value)
        })
        .collect();
    let questions: Vec<Value> = values
        .iter()
        .map(|(name, _, value)| json!({"mode": "leaf", "leaf": {(*name): value}}))
        .collect();
    for ((name, ty, value), answer) in values.iter().zip(go.ask_all(&questions)) {
        let ours = Table::get().convert(*ty, value).ok();
        let upstream = match answer {
            Answer::Output(mut upstream) => {
                normalise_numbers(&mut upstream);
                Some(upstream)
            }
            Answer::Error(_) => None,
            Answer::Panic(message) => panic!("{message} for {value}"),
        };
        assert_eq!(ours, upstream, "{name} {value}");
    }
}

// KC-SSA-003
#[test]
fn the_table_of_types_is_up_to_date() {
    let Some(mut go) = Oracle::start("normalise") else {
        return;
    };
    let text = go
        .ask(&json!({"mode": "types"}))
        .text()
        .expect("the types can be described");
    if std::env::var_os("FLUX_GOLDEN").is_some_and(|value| value == "write") {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/normalise/types.txt");
        std::fs::write(file, text).expect("the table can be written");
    } else {
        assert!(
            text == TEXT,
            "src/normalise/types.txt is out of date: see its head"
        );
    }
}
