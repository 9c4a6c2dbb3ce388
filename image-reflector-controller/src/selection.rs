//! Selects the latest tag: a filter, and an order.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use flux_api::image::{ImagePolicyChoice, PolicyOrder, TagFilter};
use flux_budget::{Claim, Exhausted};
use flux_golang::regexp::{self, Regex};
use flux_golang::strconv::parse_float;
use flux_semver::{ConstraintError, Constraints, Version, parse_tag};

use crate::tags::Tags;

/// The most bytes of a filter once it is compiled.
const MAX_FILTER: usize = 256 << 10;
/// The longest text that a tag is compared by: a tag that gives a longer one does not match.
const MAX_EXTRACTED: usize = 4096;
/// The bytes of a candidate in memory besides its text.
const CANDIDATE: u64 = 160;

/// Why a policy has no order (IR-POL-070, IR-POL-071, IR-POL-081).
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// None is set.
    #[error("given ImagePolicyChoice object is invalid")]
    NoChoice,
    /// The range of versions is invalid.
    #[error(transparent)]
    Range(#[from] ConstraintError),
    /// The direction is unknown.
    #[error("invalid order argument provided: '{0}', must be one of: ASC, DESC")]
    Direction(String),
}

/// The expression of a filter is invalid (IR-POL-086).
#[derive(Debug, thiserror::Error)]
#[error("invalid regular expression pattern '{pattern}'")]
pub(crate) struct FilterError {
    pattern: String,
    #[source]
    source: regexp::Error,
}

/// Why there is no latest tag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelectError {
    /// There are no tags, or none that the filter matches (IR-POL-079).
    #[error("version list argument cannot be empty")]
    Empty,
    /// No tag is a version in the range (IR-POL-078).
    #[error("unable to determine latest version from provided list")]
    NoVersion,
    /// A tag is not a number (IR-POL-083).
    #[error("failed to parse invalid numeric value '{0}'")]
    Number(String),
    /// It takes too long.
    #[error("{}", flux_http::DEADLINE)]
    Time,
    /// It takes too much memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// Which of two is the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The larger.
    Ascending,
    /// The smaller.
    Descending,
}

/// How tags are ordered.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// By version, in a range.
    Version(Constraints),
    /// By their bytes.
    Alphabetical(Direction),
    /// As numbers.
    Numerical(Direction),
}

impl Order {
    /// The order of a policy; of several the first counts (IR-POL-014).
    ///
    /// # Errors
    /// [`OrderError`].
    pub(crate) fn new(choice: &ImagePolicyChoice) -> Result<Self, OrderError> {
        if let Some(policy) = &choice.semver {
            return Ok(Self::Version(policy.range.parse()?));
        }
        if let Some(policy) = &choice.alphabetical {
            return Ok(Self::Alphabetical(direction(policy.order.as_ref())?));
        }
        let numerical = choice.numerical.as_ref().ok_or(OrderError::NoChoice)?;
        Ok(Self::Numerical(direction(numerical.order.as_ref())?))
    }

    fn best(&self) -> Best<'_> {
        match self {
            Self::Version(range) => Best::Version(range, None),
            Self::Alphabetical(direction) => Best::Text(*direction, None),
            Self::Numerical(direction) => Best::Number(*direction, None),
        }
    }
}

/// Orders are compared without regard to case (IR-POL-081).
fn direction(order: Option<&PolicyOrder>) -> Result<Direction, OrderError> {
    let text = order.map(PolicyOrder::as_str).unwrap_or_default();
    match text.to_uppercase().as_str() {
        "" | "ASC" => Ok(Direction::Ascending),
        "DESC" => Ok(Direction::Descending),
        other => Err(OrderError::Direction(other.to_owned())),
    }
}

/// Which tags are candidates, and by what text of theirs they are ordered.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    regex: Regex,
    /// The template of that text; the tag itself if it is empty (IR-POL-087).
    extract: String,
}

impl Filter {
    /// The filter of a policy; an absent expression matches all tags.
    ///
    /// # Errors
    /// [`FilterError`].
    pub(crate) fn new(filter: &TagFilter) -> Result<Self, FilterError> {
        let pattern = filter.pattern.clone().unwrap_or_default();
        match Regex::compile_within(pattern.as_bytes(), MAX_FILTER) {
            Ok(regex) => Ok(Self {
                regex,
                extract: filter.extract.clone().unwrap_or_default(),
            }),
            Err(source) => Err(FilterError { pattern, source }),
        }
    }

    /// The candidates in the order of the tags, each as the text to compare and the tag. Of tags with the same text the last
    /// counts, in the place of the first (IR-POL-089 to IR-POL-091).
    fn candidates<'t>(
        &self,
        tags: &'t Tags,
        clock: &Clock,
        claim: &Claim,
    ) -> Result<Vec<(String, &'t str)>, SelectError> {
        let mut found: Vec<(String, &str)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for tag in tags.iter().take_while(|_| clock.goes_on()) {
            let (text, template) = (tag.as_bytes(), self.extract.as_bytes());
            let Some(extracted) = self.regex.expand_first(text, template, MAX_EXTRACTED) else {
                continue;
            };
            let extracted = String::from_utf8_lossy(&extracted).into_owned();
            match places.entry(extracted) {
                Entry::Occupied(place) => {
                    if let Some(candidate) = found.get_mut(*place.get()) {
                        candidate.1 = tag;
                    }
                }
                Entry::Vacant(place) => {
                    claim.take(2 * place.key().len() as u64 + CANDIDATE)?;
                    found.push((place.key().clone(), tag));
                    place.insert(found.len() - 1);
                }
            }
        }
        Ok(found)
    }
}

/// The latest of tags, which are sorted descending (IR-POL-075 to IR-POL-092).
///
/// # Errors
/// [`SelectError`].
pub(crate) fn latest(
    order: &Order,
    filter: Option<&Filter>,
    tags: &Tags,
    clock: &Clock,
    claim: &Claim,
) -> Result<String, SelectError> {
    let mut best = order.best();
    let mut is_empty = true;
    let mut add = |text: &str, tag: &str| {
        is_empty = false;
        best.add(text, tag)
    };
    match filter {
        Some(filter) if !filter.extract.is_empty() => {
            for (text, tag) in filter.candidates(tags, clock, claim)? {
                add(&text, tag)?;
            }
        }
        filter => {
            let matches = |tag: &&str| filter.is_none_or(|filter| filter.regex.is_match(tag));
            let tags = tags.iter().take_while(|_| clock.goes_on()).filter(matches);
            for tag in tags {
                add(tag, tag)?;
            }
        }
    }
    if clock.has_ended() {
        return Err(SelectError::Time);
    }
    if is_empty {
        return Err(SelectError::Empty);
    }
    best.tag().ok_or(SelectError::NoVersion)
}

/// The best candidate so far, with its tag.
enum Best<'o> {
    Version(&'o Constraints, Option<(Version, String)>),
    Text(Direction, Option<(String, String)>),
    Number(Direction, Option<(f64, String, String)>),
}

impl Best<'_> {
    fn add(&mut self, text: &str, tag: &str) -> Result<(), SelectError> {
        match self {
            // Of versions that are equal the first counts (IR-POL-077).
            Self::Version(range, best) => {
                if let Ok(version) = parse_tag(text)
                    && range.check(&version)
                    && best.as_ref().is_none_or(|(best, _)| version > *best)
                {
                    *best = Some((version, tag.to_owned()));
                }
            }
            Self::Text(direction, best) => {
                let is_better = best.as_ref().is_none_or(|(best, _)| match direction {
                    Direction::Ascending => text > best.as_str(),
                    Direction::Descending => text < best.as_str(),
                });
                if is_better {
                    *best = Some((text.to_owned(), tag.to_owned()));
                }
            }
            // Of numbers that are equal the last counts (IR-POL-084).
            Self::Number(direction, best) => {
                let number = parse_float(text.as_bytes());
                let number = number.map_err(|_| SelectError::Number(shown(text)))?;
                let is_worse = best.as_ref().is_some_and(|(value, best, _)| {
                    let order = match number.partial_cmp(value) {
                        // Floats are too coarse for long numbers (IR-POL-085).
                        Some(Ordering::Equal) => match (whole(text), whole(best)) {
                            (Some(one), Some(other)) => Some(one.cmp(&other)),
                            _ => Some(Ordering::Equal),
                        },
                        order => order,
                    };
                    match direction {
                        Direction::Ascending => order == Some(Ordering::Less),
                        Direction::Descending => order == Some(Ordering::Greater),
                    }
                });
                if !is_worse {
                    *best = Some((number, text.to_owned(), tag.to_owned()));
                }
            }
        }
        Ok(())
    }

    fn tag(self) -> Option<String> {
        match self {
            Self::Version(_, best) => best.map(|(_, tag)| tag),
            Self::Text(_, best) => best.map(|(_, tag)| tag),
            Self::Number(_, best) => best.map(|(_, _, tag)| tag),
        }
    }
}

/// A whole number in digits, as its length and digits, which compare as the number does.
fn whole(text: &str) -> Option<(usize, &str)> {
    let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = text.trim_start_matches('0');
    is_whole.then_some((digits.len(), digits))
}

/// The beginning of a text for a message.
fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}

/// Looks at the time once in a while: a million tags and a large expression take too long.
pub(crate) struct Clock {
    deadline: Instant,
    steps: Cell<u32>,
    ended: Cell<bool>,
}

impl Clock {
    /// The steps between two looks.
    const STEPS: u32 = 1024;

    /// A clock that ends at `deadline`.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            steps: Cell::new(0),
            ended: Cell::new(false),
        }
    }

    /// Whether a step may be taken.
    pub(crate) fn goes_on(&self) -> bool {
        let step = self.steps.get();
        self.steps.set(step.wrapping_add(1));
        if step.is_multiple_of(Self::STEPS) && Instant::now() >= self.deadline {
            self.ended.set(true);
        }
        !self.ended.get()
    }

    /// Whether the time was over at one of the steps.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }
}

#[cfg(test)]
mod tests;
