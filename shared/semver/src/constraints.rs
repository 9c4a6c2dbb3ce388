//! Version ranges: alternatives of comparators.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use flux_golang::strconv::quote;
use regex::{Captures, Regex};

use crate::Version;
use crate::comparator::{Comparator, Operator, Reason, Wildcard};

/// The longest text, in bytes, that is read as constraints.
pub const MAX_CONSTRAINT_LEN: usize = 512;
/// The most alternatives (`||`) that constraints may have.
pub const MAX_CONSTRAINT_GROUPS: usize = 32;

/// A range of versions: alternatives (`||`), each of comparators that must all hold (blank or comma).
#[derive(Clone, Debug)]
pub struct Constraints {
    groups: Vec<Group>,
    include_prereleases: bool,
}

#[derive(Clone, Debug)]
struct Group {
    comparators: Vec<Comparator>,
    /// Whether a version in the group has a pre-release part, which opens the whole group to pre-releases (`>=1.0-0`).
    prereleases: bool,
}

/// Why a text is not a range of versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// More than [`MAX_CONSTRAINT_LEN`] bytes.
    #[error("constraint string is too long (max 512 bytes)")]
    TooLong,
    /// More than [`MAX_CONSTRAINT_GROUPS`] alternatives.
    #[error("too many constraint groups (max 32)")]
    TooManyGroups,
    /// An alternative is not a list of comparators.
    #[error("improper constraint: {}", quote(.0))]
    Improper(String),
    /// A comparator has the right shape but an impossible version (`>1x`, `>1.0-01`).
    #[error("constraint parser error")]
    Parser,
}

/// Why a version is not in the range, with the message of the Go library's `Validate`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(String);

impl Constraints {
    /// Reads constraints (Go's `NewConstraint`).
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        if text.len() > MAX_CONSTRAINT_LEN {
            return Err(ConstraintError::TooLong);
        }
        let grammar = GRAMMAR.as_ref().ok_or(ConstraintError::Parser)?;
        let text = grammar.hyphens_as_comparators(text);
        let groups: Vec<&str> = text.split("||").collect();
        if groups.len() > MAX_CONSTRAINT_GROUPS {
            return Err(ConstraintError::TooManyGroups);
        }
        Ok(Self {
            groups: groups
                .into_iter()
                .map(|group| grammar.group(group))
                .collect::<Result<_, _>>()?,
            include_prereleases: false,
        })
    }

    /// The same range, with pre-releases included in every alternative or not.
    pub fn with_prereleases(mut self, include: bool) -> Self {
        self.include_prereleases = include;
        self
    }

    /// Whether `version` is in the range.
    pub fn check(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| {
            let prereleases = self.prereleases_of(group);
            group
                .comparators
                .iter()
                .all(|c| c.check(version, prereleases).is_ok())
        })
    }

    /// Checks that `version` is in the range; the error lists every comparator it failed, by alternative.
    pub fn validate(&self, version: &Version) -> Result<(), Vec<Mismatch>> {
        let mut mismatches = Vec::new();
        let mut prerelease_told = false;
        for group in &self.groups {
            let prereleases = self.prereleases_of(group);
            let mut satisfied = true;
            for comparator in &group.comparators {
                let Err(reason) = comparator.check(version, prereleases) else {
                    continue;
                };
                satisfied = false;
                let told_before =
                    reason == Reason::Prerelease && std::mem::replace(&mut prerelease_told, true);
                if !told_before {
                    mismatches.push(Mismatch::new(reason, version, comparator));
                }
            }
            if satisfied {
                return Ok(());
            }
        }
        Err(mismatches)
    }

    fn prereleases_of(&self, group: &Group) -> bool {
        self.include_prereleases || group.prereleases
    }
}

impl FromStr for Constraints {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        Self::parse(text)
    }
}

impl fmt::Display for Constraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.groups.iter().enumerate() {
            if i > 0 {
                f.write_str(" || ")?;
            }
            for (j, comparator) in group.comparators.iter().enumerate() {
                if j > 0 {
                    f.write_str(" ")?;
                }
                write!(f, "{}{}", comparator.operator_text, comparator.version_text)?;
            }
        }
        Ok(())
    }
}

impl Mismatch {
    fn new(reason: Reason, version: &Version, comparator: &Comparator) -> Self {
        let version = quote(version.to_string());
        let own = quote(&comparator.version_text);
        Self(match reason {
            Reason::Prerelease => format!(
                "{version} is a prerelease version and the constraint is only looking for release versions"
            ),
            Reason::Equal => format!("{version} is equal to {own}"),
            Reason::NotEqual => format!("{version} is not equal to {own}"),
            Reason::Less => format!("{version} is less than {own}"),
            Reason::LessOrEqual => format!("{version} is less than or equal to {own}"),
            Reason::Greater => format!("{version} is greater than {own}"),
            Reason::GreaterOrEqual => format!("{version} is greater than or equal to {own}"),
            Reason::OtherMajor => format!("{version} does not have same major version as {own}"),
            Reason::OtherMajorOrMinor => {
                format!("{version} does not have same major and minor version as {own}")
            }
            Reason::OtherMinorOfZero => format!(
                "{version} does not have same minor version as {own}. Expected minor versions to match when constraint major version is 0"
            ),
            Reason::OtherMinor => format!("{version} does not have same minor version as {own}"),
            Reason::OtherPatchOfZero => format!(
                "{version} does not equal {own}. Expect version and constraint to equal when major and minor versions are 0"
            ),
        })
    }
}

/// The grammar as regular expressions: it is looser than it looks (`1x`, `1|2` pass the first test), and users see
/// which of the two errors is reported.
struct Grammar {
    comparator: Regex,
    comparators: Regex,
    group: Regex,
    hyphen: Regex,
}

static GRAMMAR: LazyLock<Option<Grammar>> = LazyLock::new(|| Grammar::new().ok());

impl Grammar {
    fn new() -> Result<Self, regex::Error> {
        const BLANK: &str = r"[\t\n\f\r ]";
        const OPERATOR: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";
        const VERSION: &str = r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?(-(?:[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(?:\+(?:[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?";
        let one = format!("({OPERATOR}){BLANK}*({VERSION})");
        Ok(Self {
            comparator: Regex::new(&format!("^{BLANK}*{one}{BLANK}*$"))?,
            comparators: Regex::new(&one)?,
            group: Regex::new(&format!(
                "^{BLANK}*{one}{BLANK}*(?:(?:{BLANK}+|,{BLANK}*){one}{BLANK}*)*$"
            ))?,
            hyphen: Regex::new(&format!(
                "{BLANK}*(?<low>{VERSION}){BLANK}+-{BLANK}+(?<high>{VERSION}){BLANK}*"
            ))?,
        })
    }

    /// `a - b` as `>= a, <= b`.
    fn hyphens_as_comparators(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for range in self.hyphen.captures_iter(text) {
            let comparators = format!(
                ">= {}, <= {} ",
                group_text(&range, "low"),
                group_text(&range, "high")
            );
            let whole = range.get(0).map_or("", |m| m.as_str());
            out = out.replacen(whole, &comparators, 1);
        }
        out
    }

    fn group(&self, text: &str) -> Result<Group, ConstraintError> {
        if !self.group.is_match(text) {
            return Err(ConstraintError::Improper(text.to_owned()));
        }
        let comparators = self
            .comparators
            .find_iter(text)
            .map(|one| self.comparator(one.as_str()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Group {
            prereleases: comparators
                .iter()
                .any(|c| !c.version.prerelease().is_empty()),
            comparators,
        })
    }

    fn comparator(&self, text: &str) -> Result<Comparator, ConstraintError> {
        let improper = || ConstraintError::Improper(text.to_owned());
        let parts = self.comparator.captures(text).ok_or_else(improper)?;
        let part = |i: usize| parts.get(i).map_or("", |m| m.as_str());
        let (operator_text, version_text) = (part(1), part(2));
        let (major, minor, patch, prerelease) = (part(3), part(4), part(5), part(6));
        let (wildcard, version) = if is_wildcard(major) {
            (Wildcard::Major, format!("0.0.0{prerelease}"))
        } else if is_wildcard(minor) {
            (Wildcard::Minor, format!("{major}.0.0{prerelease}"))
        } else if is_wildcard(patch) {
            (Wildcard::Patch, format!("{major}{minor}.0{prerelease}"))
        } else {
            (Wildcard::None, version_text.to_owned())
        };
        Ok(Comparator {
            operator: Operator::from_text(operator_text).ok_or_else(improper)?,
            operator_text: operator_text.to_owned(),
            version: Version::parse(&version).map_err(|_| ConstraintError::Parser)?,
            version_text: version_text.to_owned(),
            wildcard,
        })
    }
}

/// Whether a number, with or without the dot before it, is a wildcard or missing.
fn is_wildcard(number: &str) -> bool {
    matches!(
        number.strip_prefix('.').unwrap_or(number),
        "" | "x" | "X" | "*"
    )
}

fn group_text<'a>(captures: &Captures<'a>, name: &str) -> &'a str {
    captures.name(name).map_or("", |m| m.as_str())
}
