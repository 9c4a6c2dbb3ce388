//! The state of the template being parsed: its variables and its depth of nesting.

use crate::parse::ast::Slot;
use crate::value::Str;

/// The variables and the depth of nesting of one template.
pub(super) struct Scope {
    pub(super) variables: Vec<Variable>,
    pub(super) live: usize,
    pub(super) slots: usize,
    pub(super) ranges: usize,
    pub(super) parens: usize,
}

pub(super) struct Variable {
    pub(super) name: Str,
    /// `None` for names that were seen on a left side but are undefined (so far).
    pub(super) slot: Slot,
}

impl Scope {
    pub(super) fn new() -> Self {
        Self {
            variables: vec![Variable {
                name: "$".into(),
                slot: Some(0),
            }],
            live: 1,
            slots: 1,
            ranges: 0,
            parens: 0,
        }
    }

    pub(super) fn resolve(&self, name: &[u8]) -> Slot {
        let mut found = self.variables.iter().rev();
        found
            .find(|v| v.slot.is_some() && v.name.as_bytes() == name)
            .and_then(|v| v.slot)
    }

    pub(super) fn knows(&self, name: &[u8]) -> bool {
        self.variables.iter().any(|v| v.name.as_bytes() == name)
    }

    pub(super) fn new_slot(&mut self) -> u32 {
        let slot = self.live;
        self.live += 1;
        self.slots = self.slots.max(self.live);
        // There are no more slots than bytes in the text, which fit u32.
        slot as u32
    }
}
