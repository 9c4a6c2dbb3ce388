//! Comparators: an operator with a version, and whether another version satisfies it.

use crate::Version;
use crate::version::compare_prereleases;

/// The operator of a comparator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// No operator or `=`: equality, or `~` if the version has wildcards or missing numbers.
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

impl Operator {
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "" | "=" => Self::Equal,
            "!=" => Self::NotEqual,
            ">" => Self::Greater,
            "<" => Self::Less,
            ">=" | "=>" => Self::GreaterOrEqual,
            "<=" | "=<" => Self::LessOrEqual,
            "~" | "~>" => Self::Tilde,
            "^" => Self::Caret,
            _ => return None,
        })
    }
}

/// The first number of a comparator's version that is a wildcard or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wildcard {
    None,
    Major,
    Minor,
    Patch,
}

/// One operator with its version.
#[derive(Clone, Debug)]
pub(crate) struct Comparator {
    pub(crate) operator: Operator,
    /// The operator as written.
    pub(crate) operator_text: String,
    /// The version with zeros for its wildcards.
    pub(crate) version: Version,
    /// The version as written.
    pub(crate) version_text: String,
    pub(crate) wildcard: Wildcard,
}

/// Why a version does not satisfy a comparator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Prerelease,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    OtherMajor,
    OtherMajorOrMinor,
    OtherMinorOfZero,
    OtherMinor,
    OtherPatchOfZero,
}

impl Comparator {
    /// Whether `v` satisfies this comparator; pre-releases can only if `prereleases` is set.
    pub(crate) fn check(&self, v: &Version, prereleases: bool) -> Result<(), Reason> {
        if !v.prerelease().is_empty() && !prereleases {
            return Err(Reason::Prerelease);
        }
        match self.operator {
            Operator::Equal if self.wildcard != Wildcard::None => self.tilde(v),
            Operator::Equal => accept(*v == self.version, Reason::NotEqual),
            Operator::NotEqual => self.not_equal(v),
            Operator::Greater => self.greater(v),
            Operator::Less => accept(*v < self.version, Reason::GreaterOrEqual),
            Operator::GreaterOrEqual => accept(*v >= self.version, Reason::Less),
            Operator::LessOrEqual => self.less_or_equal(v),
            Operator::Tilde => self.tilde(v),
            Operator::Caret => self.caret(v),
        }
    }

    fn not_equal(&self, v: &Version) -> Result<(), Reason> {
        let own = &self.version;
        let same = match self.wildcard {
            Wildcard::Minor => own.major() == v.major(),
            Wildcard::Patch => {
                own.major() == v.major()
                    && own.minor() == v.minor()
                    && compare_prereleases(v.prerelease(), own.prerelease()).is_eq()
            }
            // `!=x` only excludes 0.0.0: its wildcard marks neither minor nor patch in Go.
            Wildcard::None | Wildcard::Major => v == own,
        };
        accept(!same, Reason::Equal)
    }

    fn greater(&self, v: &Version) -> Result<(), Reason> {
        let own = &self.version;
        let greater = match self.wildcard {
            Wildcard::None | Wildcard::Major => v > own,
            // >11 begins with 12, >11.1 with 11.2.
            Wildcard::Minor => v.major() > own.major(),
            Wildcard::Patch => (v.major(), v.minor()) > (own.major(), own.minor()),
        };
        accept(greater, Reason::LessOrEqual)
    }

    fn less_or_equal(&self, v: &Version) -> Result<(), Reason> {
        let own = &self.version;
        let within = match self.wildcard {
            Wildcard::None => v <= own,
            Wildcard::Minor => v.major() <= own.major(),
            Wildcard::Major | Wildcard::Patch => {
                (v.major(), v.minor()) <= (own.major(), own.minor())
            }
        };
        accept(within, Reason::Greater)
    }

    /// `~2` is `>=2 <3`; `~2.0` and `~2.0.x` are `>=2.0.0 <2.1.0`; `~1.2.3` is `>=1.2.3 <1.3.0`; `~0.0.0` and `~*` take anything.
    fn tilde(&self, v: &Version) -> Result<(), Reason> {
        let own = &self.version;
        accept(v >= own, Reason::Less)?;
        let zero = (own.major(), own.minor(), own.patch()) == (0, 0, 0);
        if zero && matches!(self.wildcard, Wildcard::None | Wildcard::Major) {
            return Ok(());
        }
        accept(v.major() == own.major(), Reason::OtherMajor)?;
        accept(
            v.minor() == own.minor() || self.wildcard == Wildcard::Minor,
            Reason::OtherMajorOrMinor,
        )
    }

    /// `^1.2.3` is `>=1.2.3 <2`; `^0.2.3` is `>=0.2.3 <0.3`; `^0.0.3` is `>=0.0.3 <0.0.4`; `^0.0` is `<0.1`; `^0` is `<1`.
    fn caret(&self, v: &Version) -> Result<(), Reason> {
        let own = &self.version;
        accept(v >= own, Reason::Less)?;
        if own.major() > 0 || self.wildcard == Wildcard::Minor {
            return accept(v.major() == own.major(), Reason::OtherMajor);
        }
        accept(v.major() == 0, Reason::OtherMajor)?;
        if own.minor() > 0 || self.wildcard == Wildcard::Patch {
            return accept(v.minor() == own.minor(), Reason::OtherMinorOfZero);
        }
        accept(v.minor() == 0, Reason::OtherMinor)?;
        accept(v.patch() == own.patch(), Reason::OtherPatchOfZero)
    }
}

fn accept(satisfied: bool, otherwise: Reason) -> Result<(), Reason> {
    if satisfied { Ok(()) } else { Err(otherwise) }
}
