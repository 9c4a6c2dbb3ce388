//! Feature gates (RT-FGM, RT-FGT rows).

use std::collections::BTreeMap;

use crate::values::parse_bool;

/// Gates that controllers once had and accept from then on, each with the reason that is logged (RT-FGT-005).
const RETIRED: &[(&str, &str)] = &[(
    "ObjectLevelWorkloadIdentity",
    "objects may always use the cloud identities of ServiceAccounts",
)];

/// The feature gates of one controller with their values.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    values: BTreeMap<&'static str, bool>,
}

/// Why the gates on the command line are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The controller does not have this gate (RT-FGT-001).
    #[error("feature-gate '{0}' not supported")]
    Unsupported(String),
}

impl Gates {
    /// The gates in `defaults` with the values `given` on the command line, of which the last one wins (RT-FLG-005). A
    /// retired gate that is not in `defaults` is accepted with any value, which changes nothing.
    pub fn new(
        defaults: &[(&'static str, bool)],
        given: &[(String, bool)],
    ) -> Result<Self, GateError> {
        let mut values: BTreeMap<_, _> = defaults.iter().copied().collect();
        for (name, value) in given {
            match values.get_mut(name.as_str()) {
                Some(gate) => *gate = *value,
                None if RETIRED.iter().any(|(retired, _)| retired == name) => {}
                None => return Err(GateError::Unsupported(name.clone())),
            }
        }
        Ok(Self { values })
    }

    /// Logs the gates that are `given` (RT-FGT-002), and each retired one once, as what it is (RT-FGT-005).
    pub(crate) fn log(&self, given: &[(String, bool)]) {
        let is_own = |gate: &str| self.values.contains_key(gate);
        for (gate, value) in given.iter().filter(|(gate, _)| is_own(gate)) {
            let pair = serde_json::json!({ (gate.as_str()): value }).to_string();
            tracing::info!(logger = "setup", kv = pair, "loading feature gate");
        }
        for (gate, reason) in RETIRED.iter().filter(|(gate, _)| !is_own(gate)) {
            if given.iter().any(|(name, _)| name == gate) {
                tracing::info!(
                    logger = "setup",
                    "feature-gate" = gate,
                    reason,
                    "feature gate is now retired and no longer changes behavior"
                );
            }
        }
    }

    /// Whether `gate` is enabled; false for a gate that the controller does not have.
    pub fn enabled(&self, gate: &str) -> bool {
        self.values.get(gate).copied().unwrap_or_default()
    }
}

/// Parses one occurrence of `--feature-gates`: comma-separated `Name=bool`, with blanks trimmed and empty items skipped
/// (RT-FLG-006).
pub fn parse(text: &str) -> Result<Vec<(String, bool)>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| format!("missing bool value for {item}"))?;
            let value = value.trim();
            let on = parse_bool(value)
                .map_err(|_| format!("invalid value of {}: {value}", name.trim()))?;
            Ok((name.trim().to_owned(), on))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_gate_flags_merge_and_later_values_win() {
        // RT-FLG-005, RT-FLG-006
        let mut given = parse(" A=true , ,B=false").unwrap();
        given.extend(parse("B=T").unwrap());
        let gates = Gates::new(&[("A", false), ("B", false), ("C", true)], &given).unwrap();
        assert!(
            gates.enabled("A") && gates.enabled("B") && gates.enabled("C") && !gates.enabled("D")
        );
        assert!(parse("Foo").is_err() && parse("Foo=2").is_err());
    }

    #[test]
    fn retired_gates_are_accepted_unless_the_controller_has_them() {
        // RT-FGT-005, RT-FGT-003
        let given = [("ObjectLevelWorkloadIdentity".to_owned(), true)];
        let retired = Gates::new(&[("A", false)], &given).unwrap();
        assert!(!retired.enabled("ObjectLevelWorkloadIdentity"));
        let own = Gates::new(&[("ObjectLevelWorkloadIdentity", false)], &given).unwrap();
        assert!(own.enabled("ObjectLevelWorkloadIdentity"));
    }

    #[test]
    fn unknown_gates_are_refused_even_when_off() {
        // RT-FGT-001, SC-PROC-027
        let refused =
            Gates::new(&[("A", false)], &[("ExternalArtifact".into(), false)]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "feature-gate 'ExternalArtifact' not supported"
        );
    }
}
