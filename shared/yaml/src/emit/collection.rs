//! Sequences and mappings, in block and flow style, with their comments.

use super::{Context, Emitter, State, Step};

impl Emitter<'_> {
    pub(super) fn flow_sequence_item(&mut self, step: &Step<'_>, first: bool, trail: bool) {
        if first {
            self.write_indicator("[", true, true, false);
            self.increase_indent(true, false, false);
            self.flow_level += 1;
        }
        if matches!(step, Step::End) {
            self.flow_level -= 1;
            self.decrease_indent();
            if self.v3() && self.column == 0 {
                self.write_indent();
            }
            self.write_indicator("]", false, false, false);
            self.process_line_comment();
            self.process_foot_comment();
            self.pop_state();
            return;
        }
        if !first && !trail {
            self.write_indicator(",", false, false, false);
        }
        self.process_head_comment();
        if self.column > self.layout.width || self.v3() && self.column == 0 {
            self.write_indent();
        }
        self.states.push(if self.has_trailing_comment() {
            State::FlowSequenceTrail
        } else {
            State::FlowSequenceItem
        });
        self.node(step, Context::default());
        self.close_flow_entry();
    }

    /// The comma precedes a comment that ends the line.
    fn close_flow_entry(&mut self) {
        if self.has_trailing_comment() {
            self.write_indicator(",", false, false, false);
        }
        self.process_line_comment();
        self.process_foot_comment();
    }

    pub(super) fn flow_mapping_key(&mut self, step: &Step<'_>, first: bool, trail: bool) {
        if first {
            self.write_indicator("{", true, true, false);
            self.increase_indent(true, false, false);
            self.flow_level += 1;
        }
        if matches!(step, Step::End) {
            let comment = !(self.pending.head.is_empty()
                && self.pending.foot.is_empty()
                && self.pending.tail.is_empty());
            if comment && !first && !trail {
                self.write_indicator(",", false, false, false);
            }
            self.process_head_comment();
            self.flow_level -= 1;
            self.decrease_indent();
            self.write_indicator("}", false, false, false);
            self.process_line_comment();
            self.process_foot_comment();
            self.pop_state();
            return;
        }
        if !first && !trail {
            self.write_indicator(",", false, false, false);
        }
        self.process_head_comment();
        if self.column > self.layout.width || self.v3() && self.column == 0 {
            self.write_indent();
        }
        let simple_key = self.is_simple_key(step);
        if simple_key {
            self.states.push(State::FlowMappingSimpleValue);
        } else {
            self.write_indicator("?", true, false, false);
            self.states.push(State::FlowMappingValue);
        }
        self.node(
            step,
            Context {
                mapping: true,
                simple_key,
            },
        );
    }

    pub(super) fn flow_mapping_value(&mut self, step: &Step<'_>, simple: bool) {
        if simple {
            self.write_indicator(":", false, false, false);
        } else {
            if self.column > self.layout.width {
                self.write_indent();
            }
            self.write_indicator(":", true, false, false);
        }
        self.states.push(if self.has_trailing_comment() {
            State::FlowMappingTrail
        } else {
            State::FlowMappingKey
        });
        self.node(
            step,
            Context {
                mapping: true,
                ..Context::default()
            },
        );
        self.close_flow_entry();
    }

    pub(super) fn block_sequence_item(&mut self, step: &Step<'_>, first: bool) {
        if first {
            if self.v3() {
                let compact = self.context.mapping
                    && (self.column == 0 || !self.indention)
                    && self.layout.compact;
                self.increase_indent(false, false, compact);
            } else {
                let indentless = self.context.mapping && !self.indention;
                self.increase_indent(false, indentless, false);
            }
        }
        if matches!(step, Step::End) {
            self.decrease_indent();
            self.pop_state();
            return;
        }
        self.process_head_comment();
        self.write_indent();
        self.write_indicator("-", true, false, true);
        self.states.push(State::BlockSequenceItem);
        self.node(step, Context::default());
        self.process_line_comment();
        self.process_foot_comment();
    }

    pub(super) fn block_mapping_key(&mut self, step: &Step<'_>, first: bool) {
        if first {
            self.increase_indent(false, false, false);
        }
        self.process_head_comment();
        if matches!(step, Step::End) {
            self.decrease_indent();
            self.pop_state();
            return;
        }
        self.write_indent();
        if !self.pending.line.is_empty() {
            self.pending.key_line = std::mem::take(&mut self.pending.line);
        }
        let simple_key = self.is_simple_key(step);
        if simple_key {
            self.states.push(State::BlockMappingSimpleValue);
        } else {
            self.write_indicator("?", true, false, true);
            self.states.push(State::BlockMappingValue);
        }
        self.node(
            step,
            Context {
                mapping: true,
                simple_key,
            },
        );
    }

    pub(super) fn block_mapping_value(&mut self, step: &Step<'_>, simple: bool) {
        if simple {
            self.write_indicator(":", false, false, false);
        } else {
            self.write_indent();
            self.write_indicator(":", true, false, true);
        }
        self.release_key_comment(step);
        self.states.push(State::BlockMappingKey);
        self.node(
            step,
            Context {
                mapping: true,
                ..Context::default()
            },
        );
        self.process_line_comment();
        self.process_foot_comment();
    }

    /// A comment next to a key is written after a scalar value, but before a block collection.
    fn release_key_comment(&mut self, step: &Step<'_>) {
        if self.pending.key_line.is_empty() {
            return;
        }
        match step {
            Step::Scalar { .. } if self.pending.line.is_empty() => {
                self.pending.line = std::mem::take(&mut self.pending.key_line);
            }
            Step::Start { flow: false, .. } => {
                let line = std::mem::replace(&mut self.pending.line, self.pending.key_line);
                self.process_line_comment();
                self.pending.key_line = std::mem::replace(&mut self.pending.line, line);
            }
            _ => {}
        }
    }
}
