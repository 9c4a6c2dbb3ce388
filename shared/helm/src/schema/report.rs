//! A validator's findings as santhosh-tekuri/jsonschema reports them: a tree that follows the schema.

use std::collections::BTreeMap;

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use crate::number;

/// The report's lines: the findings in `instance`, which was checked against `schema`.
pub(super) fn faults(errors: &[ValidationError<'_>], schema: &Value, instance: &Value) -> String {
    let leaves: Vec<_> = errors.iter().map(|e| Leaf::new(e, &[])).collect();
    let leaves: Vec<_> = leaves.iter().collect();
    let mut lines = Vec::new();
    for node in ungrouped(Report { schema, instance }.applied(&leaves, 0, &[])) {
        node.print(0, &mut lines);
    }
    lines.join("\n")
}

/// One finding with its ways through schema and instance.
struct Leaf<'e> {
    way: Vec<String>,
    at: Vec<String>,
    error: &'e ValidationError<'e>,
}

impl<'e> Leaf<'e> {
    /// `below` is the way of the keyword whose alternatives this finding belongs to.
    fn new(error: &'e ValidationError<'_>, below: &[String]) -> Self {
        let mut way = tokens(error.evaluation_path().as_str());
        if !way.starts_with(below) {
            way.splice(0..0, below.iter().cloned());
        }
        Self {
            way,
            at: tokens(error.instance_path().as_str()),
            error,
        }
    }
}

fn tokens(pointer: &str) -> Vec<String> {
    let unescape = |token: &str| token.replace("~1", "/").replace("~0", "~");
    pointer.split('/').skip(1).map(unescape).collect()
}

/// A line of the report with those below it.
struct Node {
    at: Vec<String>,
    text: String,
    causes: Vec<Node>,
    /// Findings of one schema put together; unpacked where Helm's validator does.
    group: bool,
    /// A reference, which shows only where it leads to several findings.
    reference: bool,
    rank: (usize, String),
}

impl Node {
    fn new(at: &[String], text: impl Into<String>, rank: usize) -> Self {
        Self {
            at: at.to_vec(),
            text: text.into(),
            causes: Vec::new(),
            group: false,
            reference: false,
            rank: (rank, String::new()),
        }
    }

    fn with_causes(mut self, causes: Vec<Node>) -> Self {
        self.causes = causes;
        self
    }

    fn print(&self, indent: usize, lines: &mut Vec<String>) {
        let mut below = indent;
        if !(self.reference && self.causes.len() == 1) {
            let mut at = String::new();
            for token in &self.at {
                at.push('/');
                at.push_str(&token.replace('~', "~0").replace('/', "~1"));
            }
            lines.push(format!(
                "{}- at {}: {}",
                "  ".repeat(indent),
                quoted(&at),
                self.text
            ));
            below += 1;
        }
        for cause in &self.causes {
            cause.print(below, lines);
        }
    }
}

/// The findings of one schema as one node.
fn grouped(mut nodes: Vec<Node>, at: &[String]) -> Option<Node> {
    if nodes.len() < 2 {
        return nodes.pop();
    }
    let mut group = Node::new(at, "validation failed", 0).with_causes(nodes);
    group.group = true;
    Some(group)
}

fn ungrouped(mut nodes: Vec<Node>) -> Vec<Node> {
    match nodes.pop() {
        Some(only) if nodes.is_empty() && only.group => only.causes,
        Some(last) => {
            nodes.push(last);
            nodes
        }
        None => nodes,
    }
}

/// The order in which the keywords are applied.
const ORDER: [&str; 44] = [
    "type",
    "const",
    "enum",
    "format",
    "$ref",
    "minProperties",
    "maxProperties",
    "required",
    "dependencies",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "dependentSchemas",
    "dependentRequired",
    "minItems",
    "maxItems",
    "uniqueItems",
    "prefixItems",
    "items",
    "additionalItems",
    "contains",
    "minContains",
    "maxContains",
    "minLength",
    "maxLength",
    "pattern",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "$recursiveRef",
    "$dynamicRef",
    "not",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "then",
    "else",
];

fn rank(keyword: &str) -> usize {
    ORDER
        .iter()
        .position(|known| *known == keyword)
        .unwrap_or(ORDER.len())
}

/// A keyword that applies a schema elsewhere: how many tokens it takes on the way, and whether to a part of the instance.
fn applicator(keyword: &str, next: Option<&String>) -> Option<(usize, bool)> {
    let listed = next.is_some_and(|token| token.bytes().all(|b| b.is_ascii_digit()));
    Some(match keyword {
        "properties" | "patternProperties" | "prefixItems" => (2, true),
        "dependentSchemas" | "dependencies" | "allOf" => (2, false),
        "items" if listed => (2, true),
        "additionalProperties"
        | "items"
        | "additionalItems"
        | "unevaluatedProperties"
        | "unevaluatedItems" => (1, true),
        "then" | "else" | "$ref" | "$dynamicRef" | "$recursiveRef" => (1, false),
        _ => return None,
    })
}

/// What the report is of.
struct Report<'s> {
    schema: &'s Value,
    instance: &'s Value,
}

impl Report<'_> {
    /// The findings of one application of a schema: `depth` tokens of their ways lead to it, `at` is its instance.
    fn applied(&self, leaves: &[&Leaf<'_>], depth: usize, at: &[String]) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut all_of = Vec::new();
        let mut missing: Vec<&str> = Vec::new();
        let mut dependent: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut rest = leaves.to_vec();
        while let Some(first) = rest.first().copied() {
            let keyword = first.way.get(depth).map_or("", String::as_str);
            let below = first.way.len() > depth + 1;
            let Some((length, part)) =
                applicator(keyword, first.way.get(depth + 1)).filter(|_| below)
            else {
                rest.remove(0);
                match first.error.kind() {
                    Kind::Required { property } if keyword == "required" => {
                        missing.extend(property.as_str());
                    }
                    Kind::Required { property } => {
                        let property = property.as_str().unwrap_or_default();
                        dependent
                            .entry(self.condition(first, property))
                            .or_default()
                            .push(property);
                    }
                    _ => nodes.extend(self.leaf(first, at, keyword)),
                }
                continue;
            };
            let instance = first
                .at
                .get(..at.len() + usize::from(part))
                .unwrap_or(&first.at);
            let (same, other): (Vec<_>, Vec<_>) = rest.into_iter().partition(|leaf| {
                leaf.way.get(..depth + length) == first.way.get(..depth + length)
                    && leaf.at.starts_with(instance)
            });
            rest = other;
            let found = self.applied(&same, depth + length, instance);
            match keyword {
                "$ref" | "$dynamicRef" | "$recursiveRef" => {
                    let mut node = Node::new(at, "validation failed", rank(keyword))
                        .with_causes(ungrouped(found));
                    node.reference = true;
                    nodes.push(node);
                }
                "allOf" => all_of.extend(grouped(found, instance)),
                _ => nodes.extend(grouped(found, instance).map(|mut node| {
                    // Parts of an object come in the order of their names, here at least.
                    let items = matches!(keyword, "items" | "prefixItems" | "additionalItems");
                    if items {
                        node.rank = (rank(keyword), String::new());
                        return node;
                    }
                    let rank = rank(if part { "properties" } else { keyword });
                    node.rank = (rank, instance.last().cloned().unwrap_or_default());
                    node
                })),
            }
        }
        if !missing.is_empty() {
            nodes.push(Node::new(at, required(&missing), rank("required")));
        }
        for (condition, missing) in dependent {
            let missing: Vec<_> = missing.iter().map(|name| quoted(name)).collect();
            let text = format!(
                "properties {} required, if {} exists",
                missing.join(", "),
                quoted(&condition)
            );
            nodes.push(Node::new(at, text, rank("dependentRequired")));
        }
        if !all_of.is_empty() {
            nodes.push(Node::new(at, "'allOf' failed", rank("allOf")).with_causes(all_of));
        }
        // With one of these nothing else is looked at.
        for keyword in ["type", "const", "enum", "format"] {
            if let Some(found) = nodes.iter().position(|node| node.rank.0 == rank(keyword)) {
                return vec![nodes.swap_remove(found)];
            }
        }
        nodes.sort_by(|a, b| a.rank.cmp(&b.rank));
        nodes
    }

    fn leaf(&self, leaf: &Leaf<'_>, at: &[String], keyword: &str) -> Option<Node> {
        let node = |text: String| Some(Node::new(at, text, rank(keyword)));
        let alternatives = |context: &[Vec<ValidationError<'static>>]| -> Vec<Node> {
            let each = context.iter().enumerate().filter_map(|(i, errors)| {
                let mut below = leaf.way.clone();
                below.push(i.to_string());
                let leaves: Vec<_> = errors.iter().map(|e| Leaf::new(e, &below)).collect();
                let leaves: Vec<_> = leaves.iter().collect();
                grouped(self.applied(&leaves, below.len(), at), at)
            });
            each.collect()
        };
        let instance = leaf.error.instance();
        let size = || match &**instance {
            Value::String(text) => text.chars().count() as u64,
            Value::Array(items) => items.len() as u64,
            Value::Object(entries) => entries.len() as u64,
            _ => 0,
        };
        let counted = |limit: &u64| {
            format!(
                "{keyword}: got {}, want {}",
                grouped_digits(size()),
                grouped_digits(*limit)
            )
        };
        let measured = |limit: &Value| {
            format!(
                "{keyword}: got {}, want {}",
                localized(instance),
                localized(limit)
            )
        };
        match leaf.error.kind() {
            Kind::Type { kind } => node(format!(
                "got {}, want {}",
                json_type(instance),
                wanted(kind)
            )),
            Kind::Constant { expected_value } => node(match &**expected_value {
                Value::Array(_) | Value::Object(_) => "'const' failed".to_owned(),
                value => format!("value must be {}", shown(value)),
            }),
            Kind::Enum { options } => node(one_of(options)),
            Kind::Format { format } => {
                let why = super::format::check(format, instance.as_str().unwrap_or_default());
                let why = why.err().map(|why| format!(": {why}")).unwrap_or_default();
                node(format!("{} is not valid {format}{why}", shown(instance)))
            }
            Kind::MinLength { limit }
            | Kind::MaxLength { limit }
            | Kind::MinItems { limit }
            | Kind::MaxItems { limit }
            | Kind::MinProperties { limit }
            | Kind::MaxProperties { limit } => node(counted(limit)),
            Kind::Minimum { limit }
            | Kind::Maximum { limit }
            | Kind::ExclusiveMinimum { limit }
            | Kind::ExclusiveMaximum { limit } => node(measured(limit)),
            Kind::MultipleOf { multiple_of } => {
                let of =
                    serde_json::Number::from_f64(*multiple_of).map_or(Value::Null, Value::Number);
                node(measured(&of))
            }
            Kind::Pattern { pattern } => {
                let text = instance.as_str().unwrap_or_default();
                node(format!(
                    "{} does not match pattern {}",
                    quoted(text),
                    quoted(pattern)
                ))
            }
            Kind::AdditionalProperties { unexpected } => {
                let mut names: Vec<_> = unexpected.iter().map(|name| quoted(name)).collect();
                names.sort_unstable();
                node(format!(
                    "additional properties {} not allowed",
                    names.join(", ")
                ))
            }
            Kind::AdditionalItems { limit } => {
                let count = size().saturating_sub(*limit as u64);
                node(format!(
                    "last {} additionalItem(s) not allowed",
                    grouped_digits(count)
                ))
            }
            Kind::UniqueItems => {
                let (first, second) = equal_items(instance);
                node(format!("items at {first} and {second} are equal"))
            }
            Kind::Contains => node("no items match contains schema".to_owned()),
            Kind::FalseSchema if keyword == "additionalProperties" => {
                // The finding shows one of the values that may not be there, at the place of what holds them.
                let holder = self
                    .instance
                    .pointer(leaf.error.instance_path().as_str())
                    .and_then(Value::as_object);
                let mut names: Vec<_> = match holder {
                    Some(entries) => entries.keys().map(|name| quoted(name)).collect(),
                    None => leaf
                        .at
                        .last()
                        .map(|name| quoted(name))
                        .into_iter()
                        .collect(),
                };
                names.sort_unstable();
                node(format!(
                    "additional properties {} not allowed",
                    names.join(", ")
                ))
            }
            Kind::FalseSchema => Some(Node::new(&leaf.at, "false schema", rank(keyword))),
            Kind::Not { .. } => node("'not' failed".to_owned()),
            Kind::AnyOf { context } => {
                node("'anyOf' failed".to_owned()).map(|n| n.with_causes(alternatives(context)))
            }
            Kind::OneOfNotValid { context } => node("'oneOf' failed, none matched".to_owned())
                .map(|n| n.with_causes(alternatives(context))),
            Kind::OneOfMultipleValid { context } => {
                let mut valid = context
                    .iter()
                    .enumerate()
                    .filter(|(_, errors)| errors.is_empty())
                    .map(|(i, _)| i);
                let (first, second) = (valid.next().unwrap_or(0), valid.next().unwrap_or(1));
                node(format!(
                    "'oneOf' failed, subschemas {first}, {second} matched"
                ))
            }
            Kind::PropertyNames { error } => {
                let name = error.instance().as_str().unwrap_or_default().to_owned();
                let cause = Leaf::new(error, &[]);
                let keyword = cause.way.last().cloned().unwrap_or_default();
                let cause = self.leaf(&cause, &[], &keyword);
                // Helm's validator loses the place here.
                let mut node = Node::new(
                    &[],
                    format!("invalid propertyName {}", quoted(&name)),
                    rank(keyword_of(leaf)),
                );
                node.causes.extend(cause);
                Some(node)
            }
            _ => node(leaf.error.to_string()),
        }
    }

    /// The property whose presence asks for another one.
    fn condition(&self, leaf: &Leaf<'_>, missing: &str) -> String {
        let keyword = self
            .schema
            .pointer(leaf.error.schema_path().as_str())
            .and_then(Value::as_object);
        let instance = leaf.error.instance();
        let mut conditions = keyword.into_iter().flatten().filter(|(name, wanted)| {
            let wanted = wanted.as_array().map(Vec::as_slice).unwrap_or_default();
            instance.get(name).is_some() && wanted.iter().any(|name| name == missing)
        });
        conditions
            .next()
            .map(|(name, _)| name.clone())
            .unwrap_or_default()
    }
}

fn required(missing: &[&str]) -> String {
    let names: Vec<_> = missing.iter().map(|name| quoted(name)).collect();
    let noun = if names.len() == 1 {
        "property"
    } else {
        "properties"
    };
    format!("missing {noun} {}", names.join(", "))
}

fn keyword_of<'l>(leaf: &'l Leaf<'_>) -> &'l str {
    leaf.way.last().map_or("", String::as_str)
}

fn one_of(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    if options
        .iter()
        .any(|option| option.is_array() || option.is_object())
    {
        return "'enum' failed".to_owned();
    }
    let shown: Vec<_> = options.iter().map(shown).collect();
    match shown.as_slice() {
        [only] => format!("value must be {only}"),
        all => format!("value must be one of {}", all.join(", ")),
    }
}

fn equal_items(instance: &Value) -> (usize, usize) {
    let items = instance.as_array().map(Vec::as_slice).unwrap_or_default();
    for (second, item) in items.iter().enumerate() {
        if let Some(first) = items
            .iter()
            .take(second)
            .position(|earlier| earlier == item)
        {
            return (first, second);
        }
    }
    (0, 1)
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wanted(kind: &TypeKind) -> String {
    const TYPES: [&str; 7] = [
        "null", "boolean", "number", "integer", "string", "array", "object",
    ];
    match kind {
        TypeKind::Single(one) => one.as_str().to_owned(),
        TypeKind::Multiple(set) => {
            let wanted: Vec<_> = set.iter().map(jsonschema::JsonType::as_str).collect();
            let sorted: Vec<_> = TYPES
                .iter()
                .copied()
                .filter(|t| wanted.contains(t))
                .collect();
            sorted.join(" or ")
        }
    }
}

/// A value of a schema in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => "value".to_owned(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// Single quotes, escapes as in Go.
fn quoted(text: &str) -> String {
    let quoted = crate::text::quote(text);
    let inner = quoted
        .get(1..quoted.len().saturating_sub(1))
        .unwrap_or_default();
    format!("'{}'", inner.replace("\\\"", "\"").replace('\'', "\\'"))
}

/// A number as Go's message printer for English writes `%v` of a float: an exponent from a million on, as a power of ten.
fn localized(value: &Value) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let text = number::format_g(value.as_f64().unwrap_or_default());
    if let Some((mantissa, exponent)) = text.split_once('e') {
        let exponent = exponent.chars().filter(|c| *c != '+');
        let exponent: String = exponent
            .map(|c| {
                c.to_digit(10)
                    .and_then(|d| DIGITS.get(d as usize).copied())
                    .unwrap_or('⁻')
            })
            .collect();
        return format!("{mantissa}×10{exponent}");
    }
    let (sign, unsigned) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = unsigned
        .split_once('.')
        .map_or((unsigned, None), |(w, f)| (w, Some(f)));
    let whole = grouped_digits(whole.parse().unwrap_or_default());
    match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    }
}

/// A number with a comma between thousands.
fn grouped_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
