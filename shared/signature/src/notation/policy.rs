//! Trust policies: read and validated as notation-go does (SC-VER-050, SC-VER-052).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use flux_golang::regexp::Regex;
use flux_golang::strconv::quote;
use serde_json::Value;

use super::distinguished::{Distinguished, is_subset};
use super::verifier::Check;
use crate::json::place;

/// The maximum size of a policy.
const MAX_BYTES: usize = 1 << 20;
const WILDCARD: &str = "*";
const SUBJECT: &str = "x509.subject";
const LINK: &str = "https://notaryproject.dev/docs/quickstart/#create-a-trust-policy";

/// Why a trust policy is invalid, or has nothing for an artifact. The texts are notation-go's, except that they do not quote
/// the document, which comes from a Secret: they say the place of a statement and of what is in it, from one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not JSON, of another shape, or larger than 1 MiB.
    #[error("error occurred while parsing trustpolicy.json: {0}")]
    Json(String),
    /// The document breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// No statement is for the artifact, or its reference is not one.
    #[error("{0}")]
    NotApplicable(String),
}

/// What happens when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Enforce,
    Log,
    Skip,
}

/// The actions for all checks, in the order of [`CHECKS`].
pub(super) type Level = [Action; 5];

const CHECKS: [Check; 5] = [
    Check::Integrity,
    Check::Authenticity,
    Check::AuthenticTimestamp,
    Check::Expiry,
    Check::Revocation,
];

/// A statement: what is required of the artifacts of some repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Its place in the document, from one.
    pub(super) number: usize,
    name: String,
    scopes: Vec<String>,
    pub(super) stores: Vec<String>,
    pub(super) identities: Vec<String>,
    level: String,
    overrides: BTreeMap<String, String>,
    verify_timestamp: String,
    /// The actions; of a statement that is not validated yet, those of the strictest level.
    actions: Level,
}

/// A valid trust policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
    /// The places of statements that skip verification but name stores or identities, which are ignored: worth a warning.
    ignored: Vec<usize>,
}

impl Policy {
    /// Reads and validates a `trustpolicy.json`. The stores and identities of statements that skip verification are dropped
    /// before (SC-VER-052).
    ///
    /// # Errors
    /// The document is malformed or breaks a rule.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        let malformed = |why: &str| PolicyError::Json(why.to_owned());
        if json.len() > MAX_BYTES {
            return Err(malformed("more than 1 MiB"));
        }
        let document: Value =
            serde_json::from_slice(json).map_err(|error| malformed(&place(&error)))?;
        if !document.is_object() {
            return Err(malformed(
                "json: cannot unmarshal into Go value of type trustpolicy.Document",
            ));
        }
        let version = text(&document, "version")?;
        let mut statements = Vec::new();
        for (at, value) in list(&document, "trustPolicies")?.iter().enumerate() {
            statements.push(statement(at + 1, value)?);
        }
        let mut ignored = Vec::new();
        let skipping = statements.iter_mut().filter(|one| one.level == "skip");
        for statement in skipping {
            if !statement.stores.is_empty() || !statement.identities.is_empty() {
                ignored.push(statement.number);
                statement.stores.clear();
                statement.identities.clear();
            }
        }
        validate(&version, &mut statements).map_err(PolicyError::Invalid)?;
        Ok(Self {
            statements,
            ignored,
        })
    }

    /// The places, from one, of statements that skip verification although they name trust stores or identities.
    pub fn ignored(&self) -> &[usize] {
        &self.ignored
    }

    /// The name of the statement for a reference with digest, and the name of its level: `strict`, `permissive`, `audit`,
    /// `skip` or `custom`.
    ///
    /// # Errors
    /// No policy applies, or the reference has no digest.
    pub fn applicable(&self, reference: &str) -> Result<(&str, &str), PolicyError> {
        let statement = self.statement(reference)?;
        Ok((&statement.name, statement.level_name()))
    }

    /// The statement for a reference with digest: that of its repository, else the one for all.
    pub(super) fn statement(&self, reference: &str) -> Result<&Statement, PolicyError> {
        let Some((path, _)) = reference.rsplit_once('@') else {
            return Err(PolicyError::NotApplicable(format!(
                "artifact URI {} could not be parsed, make sure it is the fully qualified oci artifact URI without the scheme/protocol. e.g domain.com:80/my/repository@sha256:digest",
                quote(reference)
            )));
        };
        check_scope(path).map_err(|why| {
            PolicyError::NotApplicable(format!("registry scope {} {why}", quote(path)))
        })?;
        let with = |scope: &str| {
            let mut all = self.statements.iter();
            all.find(|one| one.scopes.iter().any(|known| known == scope))
        };
        with(path).or_else(|| with(WILDCARD)).ok_or_else(|| {
            PolicyError::NotApplicable(format!(
                "artifact {} has no applicable trust policy statement. Trust policy applicability for a given artifact is determined by registryScopes. To create a trust policy, see: {LINK}",
                quote(reference)
            ))
        })
    }

    /// The document in a form in which equal policies are equal.
    pub(super) fn canonical(&self) -> String {
        format!("{:?}", self.statements)
    }
}

impl Statement {
    pub(super) fn action(&self, check: Check) -> Action {
        let at = CHECKS.iter().position(|known| *known == check);
        at.and_then(|at| self.actions.get(at).copied())
            .unwrap_or(Action::Enforce)
    }

    pub(super) fn skips(&self) -> bool {
        self.actions == [Action::Skip; 5]
    }

    /// Whether timestamps matter only once a certificate has expired.
    pub(super) fn stamps_after_expiry(&self) -> bool {
        self.verify_timestamp == "afterCertExpiry"
    }

    fn level_name(&self) -> &str {
        if self.overrides.is_empty() {
            &self.level
        } else {
            "custom"
        }
    }
}

/// A field, whose name may be written in other cases, as Go's decoder accepts it. The last counts.
fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let fields = value.as_object()?;
    fields.get(name).or_else(|| {
        let mut all = fields.iter().rev();
        all.find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

fn mismatch(name: &str) -> PolicyError {
    PolicyError::Json(format!(
        "json: cannot unmarshal into Go struct field {name}"
    ))
}

fn text(value: &Value, name: &str) -> Result<String, PolicyError> {
    match field(value, name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(mismatch(name)),
    }
}

fn list<'v>(value: &'v Value, name: &str) -> Result<&'v [Value], PolicyError> {
    match field(value, name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(mismatch(name)),
    }
}

fn texts(value: &Value, name: &str) -> Result<Vec<String>, PolicyError> {
    let one = |value: &Value| match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(mismatch(name)),
    };
    list(value, name)?.iter().map(one).collect()
}

fn statement(number: usize, value: &Value) -> Result<Statement, PolicyError> {
    if !value.is_object() && !value.is_null() {
        return Err(mismatch("trustPolicies"));
    }
    let verification = field(value, "signatureVerification").unwrap_or(&Value::Null);
    if !verification.is_object() && !verification.is_null() {
        return Err(mismatch("signatureVerification"));
    }
    let mut overrides = BTreeMap::new();
    match field(verification, "override") {
        None | Some(Value::Null) => {}
        Some(Value::Object(fields)) => {
            for (check, action) in fields {
                let action = action.as_str().ok_or_else(|| mismatch("override"))?;
                overrides.insert(check.clone(), action.to_owned());
            }
        }
        Some(_) => return Err(mismatch("override")),
    }
    Ok(Statement {
        number,
        name: text(value, "name")?,
        scopes: texts(value, "registryScopes")?,
        stores: texts(value, "trustStores")?,
        identities: texts(value, "trustedIdentities")?,
        level: text(verification, "level")?,
        overrides,
        verify_timestamp: text(verification, "verifyTimestamp")?,
        actions: [Action::Enforce; 5],
    })
}

fn validate(version: &str, statements: &mut [Statement]) -> Result<(), String> {
    if version.is_empty() {
        return Err(
            "trust policy document has empty version, version must be specified".to_owned(),
        );
    }
    if version != "1.0" {
        return Err("trust policy document uses an unsupported version".to_owned());
    }
    if statements.is_empty() {
        return Err("trust policy document can not have zero trust policy statements".to_owned());
    }
    let mut names: BTreeSet<String> = BTreeSet::new();
    for statement in statements.iter_mut() {
        if names.contains(&statement.name) {
            return Err(format!(
                "multiple trust policy statements use the same name as statement {}, statement names must be unique",
                statement.number
            ));
        }
        check_statement(statement).map_err(|why| format!("trust policy: {why}"))?;
        names.insert(statement.name.clone());
    }
    check_scopes(statements)
}

fn check_statement(statement: &mut Statement) -> Result<(), String> {
    if statement.name.is_empty() {
        return Err(
            "a trust policy statement is missing a name, every statement requires a name"
                .to_owned(),
        );
    }
    let name = statement.number;
    let actions = actions(statement).map_err(|why| {
        format!("trust policy statement {name} has invalid signatureVerification: {why}")
    })?;
    statement.actions = actions;
    if !matches!(
        &*statement.verify_timestamp,
        "" | "always" | "afterCertExpiry"
    ) {
        return Err(format!(
            r#"trust policy statement {name} has invalid signatureVerification: verifyTimestamp must be "always" or "afterCertExpiry""#
        ));
    }
    if statement.level == "skip" {
        return Ok(()); // what it names besides is dropped already
    }
    if statement.stores.is_empty() || statement.identities.is_empty() {
        return Err(format!(
            "trust policy statement {name} is either missing trust stores or trusted identities, both must be specified"
        ));
    }
    for (at, store) in statement.stores.iter().enumerate() {
        check_store(name, at + 1, store)?;
    }
    check_identities(name, &statement.identities)
}

/// The actions of a level with the statement's overrides.
fn actions(statement: &Statement) -> Result<Level, String> {
    use Action::{Enforce, Log, Skip};
    let mut actions = match &*statement.level {
        "" => {
            return Err(
                "signature verification level is empty or missing in the trust policy statement"
                    .to_owned(),
            );
        }
        "strict" => [Enforce; 5],
        "permissive" => [Enforce, Enforce, Log, Log, Log],
        "audit" => [Enforce, Log, Log, Log, Log],
        "skip" => [Skip; 5],
        _ => return Err("invalid signature verification level".to_owned()),
    };
    if !statement.overrides.is_empty() && statement.level == "skip" {
        return Err(
            r#"signature verification level "skip" can't be used to customize signature verification"#
                .to_owned(),
        );
    }
    for (check, action) in &statement.overrides {
        let Some(at) = CHECKS.iter().position(|known| known.name() == check) else {
            let known: Vec<String> = CHECKS.iter().map(|known| quote(known.name())).collect();
            return Err(format!(
                "a verification type in custom signature verification is not supported, supported values are [{}]",
                known.join(" ")
            ));
        };
        let action = match &**action {
            "enforce" => Enforce,
            "log" => Log,
            "skip" => Skip,
            _ => {
                return Err(
                    r#"a verification action in custom signature verification is not supported, supported values are ["enforce" "log" "skip"]"#
                        .to_owned(),
                );
            }
        };
        if CHECKS[at] == Check::Integrity {
            return Err(format!(
                "{} verification can not be overridden in custom signature verification",
                quote(check)
            ));
        }
        if CHECKS[at] != Check::Revocation && action == Skip {
            return Err(format!(
                "{} verification can not be skipped in custom signature verification",
                quote(check)
            ));
        }
        actions[at] = action;
    }
    Ok(actions)
}

fn check_store(name: usize, at: usize, store: &str) -> Result<(), String> {
    let Some((kind, named)) = store.split_once(':') else {
        return Err(format!(
            "trust policy statement {name} has malformed trust store value {at}. The required format is <TrustStoreType>:<TrustStoreName>"
        ));
    };
    if !matches!(kind, "ca" | "signingAuthority" | "tsa") {
        return Err(format!(
            "trust policy statement {name} uses an unsupported trust store type in trust store value {at}"
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if named.is_empty() || !named.chars().all(allowed) {
        return Err(format!(
            "trust policy statement {name} uses an unsupported trust store name in trust store value {at}. Named store name needs to follow [a-zA-Z0-9_.-]+ format"
        ));
    }
    Ok(())
}

fn check_identities(name: usize, identities: &[String]) -> Result<(), String> {
    if identities.len() > 1 && identities.iter().any(|one| one == WILDCARD) {
        return Err(format!(
            "trust policy statement {name} uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values"
        ));
    }
    let mut subjects = Vec::new();
    for (at, identity) in identities.iter().enumerate() {
        let at = at + 1;
        if identity == WILDCARD {
            continue;
        }
        if identity.is_empty() {
            return Err(format!(
                "trust policy statement {name} has an empty trusted identity"
            ));
        }
        let Some((kind, value)) = identity.split_once(':') else {
            return Err(format!(
                "trust policy statement {name} has trusted identity {at} missing separator"
            ));
        };
        if kind != SUBJECT {
            continue;
        }
        if value.is_empty() {
            return Err(format!(
                "trust policy statement {name} has trusted identity {at} without an identity value"
            ));
        }
        let parsed = Distinguished::parse(value).map_err(|why| {
            format!(
                "trust policy statement {name} has trusted identity {at} with invalid identity value: {why}"
            )
        })?;
        subjects.push((at, parsed));
    }
    for (one, first) in &subjects {
        for (other, second) in &subjects {
            if one != other && is_subset(first, second) {
                return Err(format!(
                    "trust policy statement {name} has overlapping x509 trustedIdentities, {one} overlaps with {other}"
                ));
            }
        }
    }
    Ok(())
}

fn check_scopes(statements: &[Statement]) -> Result<(), String> {
    // How often each occurs, and the first statement with it.
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for statement in statements {
        let name = statement.number;
        if statement.scopes.is_empty() {
            return Err(format!(
                "trust policy statement {name} has zero registry scopes, it must specify registry scopes with at least one value"
            ));
        }
        if statement.scopes.len() > 1 && statement.scopes.iter().any(|one| one == WILDCARD) {
            return Err(format!(
                "trust policy statement {name} uses wildcard registry scope '*', a wildcard scope cannot be used in conjunction with other scope values"
            ));
        }
        for (at, scope) in statement.scopes.iter().enumerate() {
            if scope != WILDCARD {
                check_scope(scope).map_err(|why| {
                    format!(
                        "registry scope {} of trust policy statement {name} {why}",
                        at + 1
                    )
                })?;
            }
            let (count, _) = counts.entry(scope).or_insert((0, name));
            *count += 1;
        }
    }
    match counts.values().find(|(count, _)| *count > 1) {
        Some((_, name)) => Err(format!(
            "a registry scope of trust policy statement {name} is present in multiple trust policy statements, one registry scope value can only be associated with one statement"
        )),
        None => Ok(()),
    }
}

/// Whether a scope is a repository with its domain; the error is what to say of it.
fn check_scope(scope: &str) -> Result<(), String> {
    static DOMAIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::compile(br"^(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))+)?(?::[0-9]+)?$").ok()
    });
    static REPOSITORY: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::compile(br"^[a-z0-9]+(?:(?:(?:[._]|__|[-]*)[a-z0-9]+)+)?(?:(?:/[a-z0-9]+(?:(?:(?:[._]|__|[-]*)[a-z0-9]+)+)?)+)?$").ok()
    });
    const ENSURE: &str = "make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout";
    if scope.len() > 1 && scope.contains('*') {
        return Err(format!("with wild card(s) is not valid, {ENSURE}"));
    }
    let matches = |regex: &LazyLock<Option<Regex>>, text: &str| {
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    };
    match scope.split_once('/') {
        Some((domain, repository))
            if matches(&DOMAIN, domain) && matches(&REPOSITORY, repository) =>
        {
            Ok(())
        }
        _ => Err(format!("is not valid, {ENSURE}")),
    }
}
