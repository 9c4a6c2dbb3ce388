//! What a file says about itself: rules, keys, its authentication code (KC-SOPS-026).

mod flatten;

use std::collections::BTreeMap;

use flux_golang::strconv::parse_int;

use crate::format::Format;
use crate::key::MasterKey;
use crate::store::unescaped;
use crate::tree::{Pattern, Rule};
use crate::value::{Branch, Key, Time, Value};

/// Why the metadata of a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is absent.
    #[error("sops metadata not found")]
    NotFound,
    /// There are two.
    #[error("Found duplicate sops entry")]
    Duplicate,
    /// It is not a map.
    #[error("Found sops entry that is not a mapping")]
    NotAMap,
    /// Its flat form is inconsistent.
    #[error("Error while unflattening: {0}")]
    Flat(&'static str),
    /// A time is not one.
    #[error(
        "parsing time \"{0}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{0}\" as \"2006\""
    )]
    Time(String),
    /// A field has another type.
    #[error("'{field}' expected type '{expected}', got unconvertible type '{found}'")]
    Type {
        /// The field.
        field: String,
        /// The type that it has to have.
        expected: &'static str,
        /// The type that it has.
        found: &'static str,
    },
    /// More than one rule is set.
    #[error(
        "Cannot use more than one of encrypted_suffix, unencrypted_suffix, encrypted_regex, unencrypted_regex, \
         encrypted_comment_regex, or unencrypted_comment_regex in the same file"
    )]
    Rules,
    /// There are no keys.
    #[error("No keys found in file")]
    NoKeys,
    /// There are too many.
    #[error("the file has more than {MAX_KEYS} keys")]
    TooManyKeys,
}

/// How many keys a file may have in all.
const MAX_KEYS: usize = 1000;

/// The metadata of a file.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) groups: Vec<Vec<MasterKey>>,
    /// How many groups have to give their share; 0 if the file does not say.
    pub(crate) threshold: usize,
    pub(crate) rule: Rule,
    pub(crate) only_encrypted: bool,
    /// The encrypted authentication code.
    pub(crate) mac: Vec<u8>,
    pub(crate) modified: Time,
}

/// Takes the metadata out of the documents of a file.
pub(crate) fn extract(documents: &mut [Branch], format: Format) -> Result<Metadata, MetadataError> {
    let found = match format {
        Format::Dotenv => prefixed(documents),
        _ => nested(documents)?,
    };
    let mut branch = found.ok_or(MetadataError::NotFound)?;
    if format == Format::Ini {
        for entry in &mut branch {
            if let Value::Text(text) = &mut entry.value {
                *text = unescaped(text);
            }
        }
    }
    if matches!(format, Format::Dotenv | Format::Ini) {
        branch = flatten::unflatten(branch)?;
    }
    metadata(&Fields(&branch))
}

/// The value of the key `sops` of the first document; all documents lose it.
fn nested(documents: &mut [Branch]) -> Result<Option<Branch>, MetadataError> {
    let mut found = None;
    for (at, document) in documents.iter_mut().enumerate() {
        let mut own = Vec::new();
        document.retain_mut(|entry| {
            let is_own = matches!(&entry.key, Key::Text(key) if key == b"sops");
            if is_own {
                own.push(std::mem::replace(&mut entry.value, Value::Null));
            }
            !is_own
        });
        if at > 0 {
            continue;
        }
        for value in own {
            if found.is_some() {
                return Err(MetadataError::Duplicate);
            }
            let Value::Map(branch) = value else {
                return Err(MetadataError::NotAMap);
            };
            found = Some(branch);
        }
    }
    Ok(found)
}

/// The entries whose keys begin with `sops_`, without that.
fn prefixed(documents: &mut [Branch]) -> Option<Branch> {
    let document = documents.first_mut()?;
    let mut own = Branch::new();
    document.retain_mut(|entry| {
        let Key::Text(key) = &entry.key else {
            return true;
        };
        let Some(name) = key.strip_prefix(b"sops_") else {
            return true;
        };
        let name = Key::Text(name.to_vec());
        let value = std::mem::replace(&mut entry.value, Value::Null);
        own.push(crate::value::Entry { key: name, value });
        false
    });
    (!own.is_empty()).then_some(own)
}

fn metadata(fields: &Fields<'_>) -> Result<Metadata, MetadataError> {
    let modified = fields.time("lastmodified")?;
    let groups = groups(fields)?;
    let rule = |name: &str, make: fn(Vec<u8>) -> Rule| {
        let text = fields.text(name)?;
        Ok((!text.is_empty()).then(|| make(text)))
    };
    let rules = [
        rule("unencrypted_suffix", Rule::UnencryptedSuffix)?,
        rule("encrypted_suffix", Rule::EncryptedSuffix)?,
        rule("unencrypted_regex", |text| {
            Rule::UnencryptedRegex(Pattern::new(&text))
        })?,
        rule("encrypted_regex", |text| {
            Rule::EncryptedRegex(Pattern::new(&text))
        })?,
        rule("unencrypted_comment_regex", |text| {
            Rule::UnencryptedComment(Pattern::new(&text))
        })?,
        rule("encrypted_comment_regex", |text| {
            Rule::EncryptedComment(Pattern::new(&text))
        })?,
    ];
    let mut rules = rules.into_iter().flatten();
    let rule = rules.next();
    if rules.next().is_some() {
        return Err(MetadataError::Rules);
    }
    Ok(Metadata {
        groups,
        threshold: fields.count("shamir_threshold")?,
        rule: rule.unwrap_or_else(|| Rule::UnencryptedSuffix(b"_unencrypted".to_vec())),
        only_encrypted: fields.flag("mac_only_encrypted")?,
        mac: fields.text("mac")?,
        modified,
    })
}

fn groups(fields: &Fields<'_>) -> Result<Vec<Vec<MasterKey>>, MetadataError> {
    let own = group(fields)?;
    let groups = if own.is_empty() {
        let groups = fields.list("key_groups")?;
        groups.iter().map(group).collect::<Result<Vec<_>, _>>()?
    } else {
        vec![own]
    };
    if groups.is_empty() {
        return Err(MetadataError::NoKeys);
    }
    if groups.iter().map(Vec::len).sum::<usize>() > MAX_KEYS || groups.len() > MAX_KEYS {
        return Err(MetadataError::TooManyKeys);
    }
    Ok(groups)
}

/// The keys of a group in the order in which upstream lists them.
fn group(fields: &Fields<'_>) -> Result<Vec<MasterKey>, MetadataError> {
    let mut keys = Vec::new();
    let mut add = |name: &str, read: fn(&Fields<'_>) -> Result<MasterKey, MetadataError>| {
        for entry in fields.list(name)? {
            keys.push(read(&entry)?);
        }
        Ok(())
    };
    add("kms", |key| {
        key.time("created_at")?;
        Ok(MasterKey::AwsKms {
            arn: key.string("arn")?,
            role: key.string("role")?,
            context: key.map("context")?,
            profile: key.string("aws_profile")?,
            encrypted: key.string("enc")?,
        })
    })?;
    add("gcp_kms", |key| {
        key.time("created_at")?;
        Ok(MasterKey::GcpKms {
            resource: key.string("resource_id")?,
            encrypted: key.string("enc")?,
        })
    })?;
    add("hckms", |key| {
        key.time("created_at")?;
        Ok(MasterKey::HuaweiKms {
            key: key.string("key_id")?,
            encrypted: key.string("enc")?,
        })
    })?;
    add("azure_kv", |key| {
        key.time("created_at")?;
        Ok(MasterKey::AzureKeyVault {
            vault: key.string("vault_url")?,
            name: key.string("name")?,
            version: key.string("version")?,
            encrypted: key.string("enc")?,
        })
    })?;
    add("hc_vault", |key| {
        key.time("created_at")?;
        Ok(MasterKey::Transit {
            address: key.string("vault_address")?,
            engine: key.string("engine_path")?,
            name: key.string("key_name")?,
            encrypted: key.string("enc")?,
        })
    })?;
    add("pgp", |key| {
        key.time("created_at")?;
        Ok(MasterKey::OpenPgp {
            fingerprint: key.string("fp")?,
            encrypted: key.string("enc")?,
        })
    })?;
    add("age", |key| {
        Ok(MasterKey::Age {
            recipient: key.string("recipient")?,
            encrypted: key.string("enc")?,
        })
    })?;
    Ok(keys)
}

/// The fields of a map, converted as weakly as upstream's decoder does.
struct Fields<'f>(&'f [crate::value::Entry]);

impl<'f> Fields<'f> {
    /// A field by its name, or else by one that differs in case only.
    fn get(&self, name: &str) -> Option<&'f Value> {
        let named = |test: &dyn Fn(&[u8]) -> bool| {
            let mut entries = self.0.iter().rev();
            entries.find(|entry| matches!(&entry.key, Key::Text(key) if test(key)))
        };
        let exact = named(&|key| key == name.as_bytes());
        let found = exact.or_else(|| named(&|key| key.eq_ignore_ascii_case(name.as_bytes())));
        found.map(|entry| &entry.value)
    }

    fn unconvertible<T>(
        name: &str,
        expected: &'static str,
        value: &Value,
    ) -> Result<T, MetadataError> {
        Err(MetadataError::Type {
            field: name.to_owned(),
            expected,
            found: value.go_type(),
        })
    }

    fn text(&self, name: &str) -> Result<Vec<u8>, MetadataError> {
        text(name, self.get(name))
    }

    fn string(&self, name: &str) -> Result<String, MetadataError> {
        let text = self.text(name)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn time(&self, name: &str) -> Result<Time, MetadataError> {
        if let Some(Value::Time(time)) = self.get(name) {
            return Ok(time.clone());
        }
        let text = self.string(name)?;
        Time::parse(&text).ok_or(MetadataError::Time(text))
    }

    fn count(&self, name: &str) -> Result<usize, MetadataError> {
        let number = match self.get(name) {
            None | Some(Value::Null) => 0,
            Some(Value::Int(int)) => *int,
            Some(Value::Float(float)) => *float as i64,
            Some(Value::Bool(value)) => i64::from(*value),
            Some(value @ Value::Text(text)) => match parse_int(text, 0) {
                Ok(int) => int,
                Err(_) if text.is_empty() => 0,
                Err(_) => return Self::unconvertible(name, "int", value),
            },
            Some(value) => return Self::unconvertible(name, "int", value),
        };
        Ok(usize::try_from(number).unwrap_or_default())
    }

    fn flag(&self, name: &str) -> Result<bool, MetadataError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::Int(int)) => Ok(*int != 0),
            Some(Value::Float(float)) => Ok(*float != 0.0),
            Some(value @ Value::Text(text)) => match text.as_slice() {
                b"" => Ok(false),
                text => flux_golang::strconv::parse_bool(text)
                    .or_else(|_| Self::unconvertible(name, "bool", value)),
            },
            Some(value) => Self::unconvertible(name, "bool", value),
        }
    }

    /// The maps of a list; one map counts as a list of it.
    fn list(&self, name: &str) -> Result<Vec<Fields<'f>>, MetadataError> {
        let of = |value: &'f Value| match value {
            Value::Map(branch) => Some(Ok(Fields(branch))),
            Value::Comment(_) => None,
            value => Some(Self::unconvertible(name, "map", value)),
        };
        match self.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::List(items)) => items.iter().filter_map(of).collect(),
            Some(Value::Map(branch)) if branch.is_empty() => Ok(Vec::new()),
            Some(Value::Text(text)) if text.is_empty() => Ok(Vec::new()),
            Some(value) => of(value).into_iter().collect(),
        }
    }

    fn map(&self, name: &str) -> Result<BTreeMap<String, String>, MetadataError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Text(text)) if text.is_empty() => Ok(BTreeMap::new()),
            Some(Value::Map(branch)) => {
                let entries = branch.iter().filter_map(|entry| match &entry.key {
                    Key::Text(key) if entry.value != Value::Null => Some((key, &entry.value)),
                    _ => None,
                });
                let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
                entries
                    .map(|(key, value)| Ok((lossy(key), lossy(&text(name, Some(value))?))))
                    .collect()
            }
            Some(value) => Self::unconvertible(name, "map[string]*string", value),
        }
    }
}

fn text(name: &str, value: Option<&Value>) -> Result<Vec<u8>, MetadataError> {
    Ok(match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Text(text) | Value::Bytes(text)) => text.clone(),
        Some(Value::Bool(value)) => if *value { "1" } else { "0" }.into(),
        Some(Value::Int(int)) => int.to_string().into_bytes(),
        Some(Value::Float(float)) => {
            flux_golang::strconv::format_float(*float, b'f', None).into_bytes()
        }
        Some(value) => return Fields::unconvertible(name, "string", value),
    })
}
