//! The emitter: writes a document's steps as text, by the rules of libyaml as go-yaml v2 and v3 implement them.

mod analyze;
mod collection;
mod comment;
mod properties;
mod scalar;

use analyze::Analysis;
pub(crate) use properties::Properties;
use properties::check_anchor;

use crate::error::Error;
use crate::resolve::Flavor;
pub(crate) use crate::scan::ScalarStyle;

/// Whether yaml.v3 would write a text as plain scalar in a flow collection.
pub(crate) fn flow_plain_allowed(value: &str) -> bool {
    Analysis::new(value, Flavor::V3).flow_plain
}

/// The layout of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) flavor: Flavor,
    /// Columns per level.
    pub(crate) indent: i32,
    /// The column after which lines are folded at the next blank.
    pub(crate) width: i32,
    /// Whether a sequence in a mapping is outdented by two columns.
    pub(crate) compact: bool,
}

impl Layout {
    /// The layout of sigs.k8s.io/yaml.
    pub(crate) const SIGS: Layout = Layout {
        flavor: Flavor::V2,
        indent: 2,
        width: 80,
        compact: false,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FirstDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    FlowSequenceFirst,
    FlowSequenceTrail,
    FlowSequenceItem,
    FlowMappingFirst,
    FlowMappingTrail,
    FlowMappingKey,
    FlowMappingSimpleValue,
    FlowMappingValue,
    BlockSequenceFirst,
    BlockSequenceItem,
    BlockMappingFirst,
    BlockMappingKey,
    BlockMappingSimpleValue,
    BlockMappingValue,
}

/// A node to write, or the end of a collection.
enum Step<'s> {
    Alias(&'s str),
    Scalar {
        properties: Properties<'s>,
        value: &'s str,
        style: ScalarStyle,
    },
    Start {
        properties: Properties<'s>,
        kind: Collection,
        flow: bool,
        empty: bool,
    },
    End,
}

/// The kind and style of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collection {
    Sequence,
    Mapping,
}

/// The position of a node relative to its parent.
#[derive(Clone, Copy, Default)]
struct Context {
    mapping: bool,
    simple_key: bool,
}

/// Comments that are still to be written.
#[derive(Default)]
struct Pending<'n> {
    head: &'n str,
    line: &'n str,
    foot: &'n str,
    tail: &'n str,
    /// The comment next to a key, held back until its value is known.
    key_line: &'n str,
}

/// Writes documents.
pub(crate) struct Emitter<'n> {
    out: String,
    layout: Layout,
    state: State,
    states: Vec<State>,
    indent: i32,
    indents: Vec<i32>,
    flow_level: usize,
    context: Context,
    column: i32,
    /// Whether the last character was a blank.
    whitespace: bool,
    /// Whether the current line has only indentation and indicators.
    indention: bool,
    /// Indentation of a comment below a node, which must be followed by an empty line.
    foot_indent: i32,
    pending: Pending<'n>,
    scalar: Analysis,
}

type Emit = Result<(), Error>;

impl<'n> Emitter<'n> {
    pub(crate) fn new(layout: Layout) -> Self {
        Emitter {
            out: String::new(),
            layout,
            state: State::FirstDocumentStart,
            states: Vec::new(),
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            context: Context::default(),
            column: 0,
            whitespace: true,
            indention: true,
            foot_indent: -1,
            pending: Pending::default(),
            scalar: Analysis::default(),
        }
    }

    /// Returns the output.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn v3(&self) -> bool {
        self.layout.flavor == Flavor::V3
    }

    /// Begins a document; all but the first are preceded by `---`.
    pub(crate) fn document_start(&mut self, head: &'n str) {
        if !head.is_empty() {
            self.pending.head = head;
        }
        if self.state == State::DocumentStart {
            self.write_indent();
            self.write_indicator("---", true, false, false);
            if self.v3() {
                self.write_indent();
            }
        }
        if !self.pending.head.is_empty() {
            self.process_head_comment();
            self.put_break();
        }
        self.state = State::DocumentContent;
    }

    /// Ends a document.
    pub(crate) fn document_end(&mut self, foot: &'n str) {
        if self.v3() {
            if !foot.is_empty() {
                self.pending.foot = foot;
            }
            self.foot_indent = 0;
            self.process_foot_comment();
            self.foot_indent = -1;
        }
        self.write_indent();
        self.state = State::DocumentStart;
    }

    /// Takes a node's comments.
    pub(crate) fn comments(&mut self, head: &'n str, line: &'n str, foot: &'n str) {
        for (slot, comment) in [
            (&mut self.pending.head, head),
            (&mut self.pending.line, line),
            (&mut self.pending.foot, foot),
        ] {
            if !comment.is_empty() {
                *slot = comment;
            }
        }
    }

    /// Takes the comment below the previous entry.
    pub(crate) fn tail_comment(&mut self, tail: &'n str) {
        if !tail.is_empty() {
            self.pending.tail = tail;
        }
    }

    pub(crate) fn alias(&mut self, name: &str) -> Emit {
        check_anchor(name, "alias")?;
        self.step(&Step::Alias(name));
        Ok(())
    }

    pub(crate) fn scalar(
        &mut self,
        properties: Properties<'_>,
        value: &str,
        style: ScalarStyle,
    ) -> Emit {
        if !properties.anchor.is_empty() {
            check_anchor(properties.anchor, "anchor")?;
        }
        self.scalar = Analysis::new(value, self.layout.flavor);
        self.step(&Step::Scalar {
            properties,
            value,
            style,
        });
        Ok(())
    }

    pub(crate) fn start(
        &mut self,
        kind: Collection,
        properties: Properties<'_>,
        flow: bool,
        empty: bool,
    ) -> Emit {
        if !properties.anchor.is_empty() {
            check_anchor(properties.anchor, "anchor")?;
        }
        self.step(&Step::Start {
            properties,
            kind,
            flow,
            empty,
        });
        Ok(())
    }

    pub(crate) fn end(&mut self) {
        self.step(&Step::End);
    }

    fn step(&mut self, step: &Step<'_>) {
        match self.state {
            State::FirstDocumentStart | State::DocumentStart | State::DocumentContent => {
                self.document_content(step);
            }
            State::DocumentEnd => {}
            State::FlowSequenceFirst => self.flow_sequence_item(step, true, false),
            State::FlowSequenceTrail => self.flow_sequence_item(step, false, true),
            State::FlowSequenceItem => self.flow_sequence_item(step, false, false),
            State::FlowMappingFirst => self.flow_mapping_key(step, true, false),
            State::FlowMappingTrail => self.flow_mapping_key(step, false, true),
            State::FlowMappingKey => self.flow_mapping_key(step, false, false),
            State::FlowMappingSimpleValue => self.flow_mapping_value(step, true),
            State::FlowMappingValue => self.flow_mapping_value(step, false),
            State::BlockSequenceFirst => self.block_sequence_item(step, true),
            State::BlockSequenceItem => self.block_sequence_item(step, false),
            State::BlockMappingFirst => self.block_mapping_key(step, true),
            State::BlockMappingKey => self.block_mapping_key(step, false),
            State::BlockMappingSimpleValue => self.block_mapping_value(step, true),
            State::BlockMappingValue => self.block_mapping_value(step, false),
        }
    }

    fn pop_state(&mut self) {
        self.state = self.states.pop().unwrap_or(State::DocumentEnd);
    }

    fn increase_indent(&mut self, flow: bool, indentless: bool, compact: bool) {
        self.indents.push(self.indent);
        let best = self.layout.indent;
        if self.indent < 0 {
            self.indent = if flow { best } else { 0 };
        } else if indentless {
        } else if !self.v3() {
            self.indent += best;
        } else if self.states.last() == Some(&State::BlockSequenceItem) {
            // What follows `- ` is indented by two columns, whatever the indentation per level.
            self.indent += 2;
        } else {
            self.indent = best * ((self.indent + best) / best);
            if compact {
                self.indent -= 2;
            }
        }
    }

    fn decrease_indent(&mut self) {
        self.indent = self.indents.pop().unwrap_or(-1);
    }

    fn has_trailing_comment(&self) -> bool {
        !(self.pending.line.is_empty()
            && self.pending.foot.is_empty()
            && self.pending.tail.is_empty())
    }

    fn document_content(&mut self, step: &Step<'_>) {
        self.states.push(State::DocumentEnd);
        self.process_head_comment();
        self.node(step, Context::default());
        self.process_line_comment();
        self.process_foot_comment();
    }

    fn node(&mut self, step: &Step<'_>, context: Context) {
        self.context = context;
        match *step {
            Step::Alias(name) => {
                self.write_indicator("*", true, false, false);
                self.write_raw(name);
                self.pop_state();
            }
            Step::Scalar {
                properties,
                value,
                style,
            } => {
                let style = self.select_style(value, style);
                self.write_properties(properties);
                self.increase_indent(true, false, false);
                self.write_scalar(value, style);
                self.decrease_indent();
                self.pop_state();
            }
            Step::Start {
                properties,
                kind,
                flow,
                empty,
            } => {
                self.write_properties(properties);
                let flow = flow || empty || self.flow_level > 0;
                self.state = match (kind, flow) {
                    (Collection::Sequence, true) => State::FlowSequenceFirst,
                    (Collection::Sequence, false) => State::BlockSequenceFirst,
                    (Collection::Mapping, true) => State::FlowMappingFirst,
                    (Collection::Mapping, false) => State::BlockMappingFirst,
                };
            }
            Step::End => {}
        }
    }

    /// Whether a key is short and plain enough to need no `?`.
    fn is_simple_key(&self, step: &Step<'_>) -> bool {
        let length = match *step {
            Step::Alias(name) => name.len(),
            Step::Scalar {
                properties, value, ..
            } => {
                if self.scalar.multiline {
                    return false;
                }
                properties.length() + value.len()
            }
            Step::Start {
                properties, empty, ..
            } => {
                if !empty {
                    return false;
                }
                properties.length()
            }
            Step::End => return false,
        };
        length <= 128
    }

    fn select_style(&self, value: &str, wanted: ScalarStyle) -> ScalarStyle {
        let scalar = &self.scalar;
        let in_flow = self.flow_level > 0;
        let simple_key = self.context.simple_key;
        let mut style = wanted;
        if simple_key && scalar.multiline {
            style = ScalarStyle::Double;
        }
        if style == ScalarStyle::Plain {
            let allowed = if in_flow {
                scalar.flow_plain
            } else {
                scalar.block_plain
            };
            if !allowed || value.is_empty() && (in_flow || simple_key) {
                style = ScalarStyle::Single;
            }
        }
        if style == ScalarStyle::Single && !scalar.single_quoted {
            style = ScalarStyle::Double;
        }
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
            && (!scalar.block || in_flow || simple_key)
        {
            style = ScalarStyle::Double;
        }
        style
    }
}
