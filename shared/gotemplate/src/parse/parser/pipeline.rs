//! Parsing of the content of actions: declarations, commands and their operands.

use std::sync::Arc;

use flux_golang::strconv;

use super::scope::Variable;
use super::{Parsed, Parser, taken};
use crate::builtins::Builtin;
use crate::parse::ast::{Command, Declared, FunctionRef, Operand, Pipe, Quoted, VariablePath};
use crate::parse::lex::{Kind, Token};
use crate::parse::number;
use crate::value::Str;

/// Go's limit on nested parentheses.
const MAX_PARENS: usize = 10_000;

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &'static str, end: Kind) -> Parsed<Pipe> {
        self.deeper()?;
        let pos = self.peek_non_space().pos;
        let known = self.scope.variables.len();
        let (assign, names) = self.declarations(context)?;
        let start = self.commands.len();
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    self.commands.push(command);
                }
                _ => return Err(self.unexpected(&token, context)),
            }
        }
        let commands = taken(&mut self.commands, start);
        self.check_pipeline(&commands, context)?;
        let decl = self.bind(assign, names, known);
        Ok(Pipe {
            pos,
            assign,
            decl,
            commands,
        })
    }

    /// Parses the names left of `:=` or `=`. Until the pipeline is complete they are known but undefined.
    fn declarations(&mut self, context: &str) -> Parsed<(bool, Vec<Str>)> {
        let mut names: Vec<Str> = Vec::new();
        let mut assign = false;
        loop {
            let variable = self.peek_non_space();
            if variable.kind != Kind::Variable {
                break;
            }
            self.next();
            let after = self.peek();
            let next = self.peek_non_space();
            let name = Str::new(self.text_of(&variable));
            let comma = next.kind == Kind::Char && self.text_of(&next) == b",";
            if matches!(next.kind, Kind::Assign | Kind::Declare) {
                assign = next.kind == Kind::Assign;
                self.next_non_space();
            } else if comma {
                self.next_non_space();
            } else if after.kind == Kind::Space {
                self.tokens[1] = after;
                self.tokens[2] = variable;
                self.peeked = 3;
                break;
            } else {
                self.tokens[1] = variable;
                self.peeked = 2;
                break;
            }
            self.scope.variables.push(Variable {
                name: name.clone(),
                slot: None,
            });
            names.push(name);
            if !comma {
                break;
            }
            if context == "range" && names.len() < 2 {
                match self.peek_non_space().kind {
                    Kind::Variable | Kind::RightDelim | Kind::RightParen => continue,
                    _ => return Err(self.error("range can only initialize variables")),
                }
            }
            return Err(self.error(format!("too many declarations in {context}")));
        }
        Ok((assign, names))
    }

    /// Assigns slots to the declared names after the right side was parsed; assigned variables keep theirs.
    fn bind(&mut self, assign: bool, names: Vec<Str>, known: usize) -> Box<[Declared]> {
        let mut decl = Vec::with_capacity(names.len());
        if !assign && !names.is_empty() {
            // Variables declared in parentheses on the right side come before these.
            self.scope.variables.drain(known..known + names.len());
        }
        for name in names {
            let slot = if assign {
                self.scope.resolve(&name)
            } else {
                let slot = Some(self.scope.new_slot());
                self.scope.variables.push(Variable {
                    name: name.clone(),
                    slot,
                });
                slot
            };
            decl.push(Declared { name, slot });
        }
        decl.into_boxed_slice()
    }

    fn check_pipeline(&self, commands: &[Command], context: &str) -> Parsed<()> {
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (i, command) in commands.iter().enumerate().skip(1) {
            if let Some(
                Operand::Bool { .. }
                | Operand::Dot { .. }
                | Operand::Nil { .. }
                | Operand::Number(_)
                | Operand::String { .. }
                | Operand::Quoted(_),
            ) = command.args.first()
            {
                return Err(self.error(format!(
                    "non executable command in pipeline stage {}",
                    i + 1
                )));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let pos = self.peek_non_space().pos;
        let start = self.operands.len();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                self.operands.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.backup(),
                Kind::Pipe => {}
                _ => return Err(self.unexpected(&token, "operand")),
            }
            break;
        }
        if self.operands.len() == start {
            return Err(self.error("empty command"));
        }
        let args = taken(&mut self.operands, start);
        Ok(Command { pos, args })
    }

    /// Parses a term and the fields after it.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(term));
        }
        self.with_fields(term, first.pos).map(Some)
    }

    /// A separate function, so that its stack frame is not held while operands nest.
    fn with_fields(&mut self, term: Operand, pos: u32) -> Parsed<Operand> {
        let start = self.names.len();
        Ok(match term {
            Operand::Bool { .. }
            | Operand::String { .. }
            | Operand::Quoted(_)
            | Operand::Number(_)
            | Operand::Nil { .. }
            | Operand::Dot { .. } => {
                self.fields();
                let shown = strconv::quote(term.to_string().as_bytes());
                return Err(self.error(format!("unexpected . after term {shown}")));
            }
            node => {
                self.fields();
                Operand::Chain {
                    pos,
                    node: Box::new(node),
                    names: taken(&mut self.names, start),
                }
            }
        })
    }

    fn string(&self, token: &Token) -> Parsed<Operand> {
        let pos = token.pos;
        Ok(match self.text_of(token) {
            // Fast path for most strings; unquoting may change others.
            [b'"', text @ .., b'"'] if text.is_ascii() && !text.contains(&b'\\') => {
                let text = Str::new(text);
                Operand::String { pos, text }
            }
            quoted => Operand::Quoted(Box::new(Quoted {
                pos,
                written: quoted.into(),
                text: self.unquote(token)?.into(),
            })),
        })
    }

    /// Parses the fields after a name. The position is that of the first field, if there is one.
    fn path(&mut self, name: Str, pos: u32) -> (u32, Box<[Str]>) {
        let next = self.peek();
        if next.kind != Kind::Field {
            return (pos, Box::new([name]));
        }
        let start = self.names.len();
        self.names.push(name);
        self.fields();
        (next.pos, taken(&mut self.names, start))
    }

    /// Pushes the following fields on the stack of names.
    fn fields(&mut self) {
        while self.peek().kind == Kind::Field {
            let token = self.next();
            let name = self.text_of(&token).get(1..).unwrap_or_default();
            let name = Str::new(name);
            self.names.push(name);
        }
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.next_non_space();
        let pos = token.pos;
        let operand = match token.kind {
            Kind::Identifier => self.identifier(&token)?,
            Kind::Dot => Operand::Dot { pos },
            Kind::Nil => Operand::Nil { pos },
            Kind::Variable => {
                let name = Str::new(self.text_of(&token));
                if !self.scope.knows(&name) {
                    let name = strconv::quote(&name);
                    return Err(self.error(format!("undefined variable {name}")));
                }
                let slot = self.scope.resolve(&name);
                let (pos, path) = self.path(name, pos);
                Operand::Variable {
                    pos,
                    slot,
                    path: VariablePath::new(path),
                }
            }
            Kind::Field => {
                let name = self.text_of(&token).get(1..).unwrap_or_default();
                let name = Str::new(name);
                let (pos, names) = self.path(name, pos);
                Operand::Field { pos, names }
            }
            Kind::Bool => Operand::Bool {
                pos,
                value: self.text_of(&token) == b"true",
            },
            Kind::CharConstant | Kind::Complex | Kind::Number => {
                let number = number::parse(pos, self.text_of(&token), token.kind);
                Operand::Number(Box::new(number.map_err(|e| self.error(e))?))
            }
            Kind::LeftParen => {
                if self.scope.parens >= MAX_PARENS {
                    return Err(self.error("max expression depth exceeded"));
                }
                self.scope.parens += 1;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.scope.parens -= 1;
                Operand::Pipe(Box::new(pipe))
            }
            Kind::String | Kind::RawString => self.string(&token)?,
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(operand))
    }

    fn identifier(&mut self, token: &Token) -> Parsed<Operand> {
        let name = self.text_of(token);
        // A word consists of valid characters.
        let text = std::str::from_utf8(name).unwrap_or_default();
        let function = match self.functions.named(text) {
            Some(named) => FunctionRef::Registered(Arc::clone(named)),
            None => {
                if let Some(builtin) = Builtin::named(name) {
                    FunctionRef::Builtin(builtin)
                } else {
                    let name = strconv::quote(name);
                    return Err(self.error(format!("function {name} not defined")));
                }
            }
        };
        Ok(Operand::Identifier {
            pos: token.pos,
            function,
        })
    }
}
