//! The conditions of source kinds, and how they are summarized into Ready.

use flux_api::meta::Condition;
use flux_runtime::conditions::{ConditionType, Conditions, Polarity, Summary};

/// An artifact is in the storage.
pub const ARTIFACT_IN_STORAGE: ConditionType = ConditionType::new("ArtifactInStorage");
/// The artifact does not match the current source.
pub const ARTIFACT_OUTDATED: ConditionType = ConditionType::new("ArtifactOutdated");
/// The source could not be fetched.
pub const FETCH_FAILED: ConditionType = ConditionType::new("FetchFailed");
/// The result of verifying the source's signature.
pub const SOURCE_VERIFIED: ConditionType = ConditionType::new("SourceVerified");
/// The storage failed.
pub const STORAGE_OPERATION_FAILED: ConditionType = ConditionType::new("StorageOperationFailed");

/// The most conditions that a kind may have.
const MAX: usize = 16;

/// A condition of a kind, and what it means when it is True.
#[derive(Clone, Copy, Debug)]
pub enum Row {
    /// A step failed. Its removal is a recovery (SC-PROC-086).
    Failure(ConditionType),
    /// The object is not in its desired state.
    Negative(ConditionType),
    /// A step succeeded.
    Positive(ConditionType),
    /// As [`Row::Positive`]; when it is False it takes precedence over all others (SC-PROC-064).
    Decisive(ConditionType),
}

impl Row {
    const fn name(self) -> ConditionType {
        match self {
            Self::Failure(name)
            | Self::Negative(name)
            | Self::Positive(name)
            | Self::Decisive(name) => name,
        }
    }

    const fn polarity(self) -> Polarity {
        match self {
            Self::Failure(_) | Self::Negative(_) => Polarity::Negative,
            Self::Positive(_) | Self::Decisive(_) => Polarity::Positive,
        }
    }
}

/// The conditions of a kind in the order in which they are summarized into Ready (SC-PROC-062, SC-PROC-063). The frame
/// adds its own.
///
/// ```
/// use flux_publish::{ARTIFACT_IN_STORAGE, FETCH_FAILED, Row, Table};
///
/// const CONDITIONS: &Table = &Table::new(&[
///     Row::Failure(FETCH_FAILED),
///     Row::Positive(ARTIFACT_IN_STORAGE),
/// ]);
/// assert_eq!(CONDITIONS.owned()[..2], [FETCH_FAILED, ARTIFACT_IN_STORAGE]);
/// ```
#[derive(Debug)]
pub struct Table {
    owned: [ConditionType; MAX],
    types: [(ConditionType, Polarity); MAX],
    failures: [ConditionType; MAX],
    decisive: Option<ConditionType>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    owned: usize,
    types: usize,
    failures: usize,
}

impl Table {
    /// The table of these conditions, in order of precedence. More than sixteen are a compile error.
    #[must_use]
    pub const fn new(rows: &[Row]) -> Self {
        let mut table = Self {
            owned: [ConditionType::new(""); MAX],
            types: [(ConditionType::new(""), Polarity::Negative); MAX],
            failures: [ConditionType::new(""); MAX],
            decisive: None,
            counts: Counts {
                owned: 0,
                types: 0,
                failures: 0,
            },
        };
        let mut at = 0;
        while at < rows.len() {
            let row = rows[at];
            table.add(row.name(), row.polarity());
            match row {
                Row::Failure(name) => {
                    table.failures[table.counts.failures] = name;
                    table.counts.failures += 1;
                }
                Row::Decisive(name) => table.decisive = Some(name),
                Row::Negative(_) | Row::Positive(_) => {}
            }
            at += 1;
        }
        table
    }

    const fn add(&mut self, name: ConditionType, polarity: Polarity) {
        self.owned[self.counts.owned] = name;
        self.counts.owned += 1;
        self.types[self.counts.types] = (name, polarity);
        self.counts.types += 1;
    }

    /// The conditions that the controller owns.
    #[must_use]
    pub const fn owned(&'static self) -> &'static [ConditionType] {
        self.owned.split_at(self.counts.owned).0
    }

    /// How they are summarized into Ready.
    #[must_use]
    pub const fn summary(&'static self) -> Summary {
        Summary {
            types: self.types.split_at(self.counts.types).0,
            bipolar: self.decisive,
        }
    }

    /// Whether a failure condition that was present `before` a run is gone `now`, and no other one is present
    /// (SC-PROC-085, SC-PROC-086).
    pub fn has_recovered(&self, before: &[Condition], now: &Conditions) -> bool {
        let failures = self.failures.split_at(self.counts.failures).0;
        let had = |kind: &ConditionType| {
            let kind = kind.as_str();
            before.iter().any(|condition| condition.type_ == kind)
        };
        let has = |kind: &ConditionType| now.get(kind).is_some();
        failures.iter().any(had) && !failures.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use flux_runtime::conditions::Status;

    use super::*;

    const TABLE: &Table = &Table::new(&[
        Row::Failure(STORAGE_OPERATION_FAILED),
        Row::Failure(FETCH_FAILED),
        Row::Negative(ARTIFACT_OUTDATED),
        Row::Positive(ARTIFACT_IN_STORAGE),
        Row::Decisive(SOURCE_VERIFIED),
    ]);

    // SC-PROC-062, SC-PROC-063, SC-PROC-064
    #[test]
    fn the_condition_table_yields_the_settings_of_a_kind() {
        let owned = [
            STORAGE_OPERATION_FAILED,
            FETCH_FAILED,
            ARTIFACT_OUTDATED,
            ARTIFACT_IN_STORAGE,
            SOURCE_VERIFIED,
        ];
        assert_eq!(TABLE.owned(), owned);
        let summary = TABLE.summary();
        let types: Vec<_> = summary.types.iter().map(|(name, _)| *name).collect();
        assert_eq!(types, owned);
        let positive = summary.types.iter();
        let positive = positive.filter(|(_, polarity)| *polarity == Polarity::Positive);
        let positive: Vec<_> = positive.map(|(name, _)| *name).collect();
        assert_eq!(positive, [ARTIFACT_IN_STORAGE, SOURCE_VERIFIED]);
        assert_eq!(summary.bipolar, Some(SOURCE_VERIFIED));
    }

    // SC-PROC-085, SC-PROC-086
    #[test]
    fn a_removed_failure_condition_is_a_recovery() {
        let before = |types: &[ConditionType]| {
            let condition = |kind: &ConditionType| Condition {
                type_: kind.as_str().to_owned(),
                ..Condition::default()
            };
            types.iter().map(condition).collect::<Vec<_>>()
        };
        for (had, has, want) in [
            (vec![], None, false),
            (vec![FETCH_FAILED], None, true),
            (vec![FETCH_FAILED], Some(FETCH_FAILED), false),
            (vec![FETCH_FAILED], Some(STORAGE_OPERATION_FAILED), false),
            (vec![ARTIFACT_OUTDATED, SOURCE_VERIFIED], None, false),
            (
                vec![STORAGE_OPERATION_FAILED],
                Some(ARTIFACT_IN_STORAGE),
                true,
            ),
        ] {
            let mut now = Conditions::empty(1);
            if let Some(kind) = has {
                now.set(kind, Status::True, "Reason", "");
            }
            assert_eq!(TABLE.has_recovered(&before(&had), &now), want, "{had:?}");
        }
    }
}
