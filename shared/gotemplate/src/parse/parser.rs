//! Tokens to trees.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{
    Action, Branch, Command, Declared, FunctionRef, List, Node, Operand, Pipe, Slot, TemplateCall,
    Text, Tree,
};
use super::lex::{Delimiters, Kind, Lexer, Token};
use super::number;
use crate::builtins::Builtin;
use crate::error::Error;
use crate::functions::Functions;
use crate::stack::Mark;
use crate::strconv;
use crate::value::Str;

/// Go's limit on nested parentheses.
const MAX_PARENS: usize = 10_000;
/// Stack that parsing may use: nesting beyond it is refused, where Go would go on.
const MAX_STACK: usize = 512 * 1024;

/// Parses a text into the templates it defines, by name, its own tree under `name`.
pub(crate) fn parse(
    name: &str,
    text: &[u8],
    delimiters: Delimiters<'_>,
    functions: &Functions,
) -> Result<BTreeMap<Arc<str>, Arc<Tree>>, Error> {
    let mut lexer = Lexer::new(text, delimiters);
    lexer.break_ok = functions.get("break").is_none();
    lexer.continue_ok = functions.get("continue").is_none();
    let name: Arc<str> = name.into();
    let mut parser = Parser {
        input: text,
        shared: text.into(),
        name: Arc::clone(&name),
        lexer,
        functions,
        tokens: [Token::none(), Token::none(), Token::none()],
        peeked: 0,
        trees: BTreeMap::new(),
        scope: Scope::new(),
        action_line: 0,
        mark: Mark::here(),
    };
    if u32::try_from(text.len()).is_err() {
        return Err(parser.error("the template is larger than 4 GiB"));
    }
    parser.top_level()?;
    Ok(parser.trees)
}

struct Parser<'a> {
    input: &'a [u8],
    shared: Arc<[u8]>,
    name: Arc<str>,
    lexer: Lexer<'a>,
    functions: &'a Functions,
    tokens: [Token; 3],
    peeked: usize,
    trees: BTreeMap<Arc<str>, Arc<Tree>>,
    scope: Scope,
    action_line: usize,
    mark: Mark,
}

/// What belongs to one template: its variables and nesting.
struct Scope {
    variables: Vec<Variable>,
    live: usize,
    slots: usize,
    ranges: usize,
    parens: usize,
}

struct Variable {
    name: Str,
    /// None for names that the parser has seen on a left side but that hold nothing (yet).
    slot: Slot,
}

impl Scope {
    fn new() -> Self {
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

    fn resolve(&self, name: &[u8]) -> Slot {
        let mut found = self.variables.iter().rev();
        found
            .find(|v| v.slot.is_some() && v.name.as_bytes() == name)
            .and_then(|v| v.slot)
    }

    fn knows(&self, name: &[u8]) -> bool {
        self.variables.iter().any(|v| v.name.as_bytes() == name)
    }

    fn new_slot(&mut self) -> usize {
        let slot = self.live;
        self.live += 1;
        self.slots = self.slots.max(self.live);
        slot
    }
}

/// What ends a list of nodes.
enum End {
    End,
    Else,
}

enum Item {
    Node(Node),
    End,
    Else,
}

impl Token {
    const fn none() -> Self {
        Self {
            kind: Kind::Eof,
            pos: 0,
            end: 0,
            line: 0,
            error: None,
        }
    }
}

type Parsed<T> = Result<T, Error>;

impl Parser<'_> {
    fn error(&self, message: impl Into<String>) -> Error {
        Error::Parse {
            template: self.name.to_string(),
            line: self.tokens[0].line,
            message: message.into(),
        }
    }

    fn unexpected(&self, token: &Token, context: &str) -> Error {
        let shown = token.describe(self.input);
        if token.kind != Kind::Error {
            return self.error(format!("unexpected {shown} in {context}"));
        }
        let mut extra = String::new();
        if self.action_line != 0 && self.action_line != token.line {
            let action = if shown.ends_with(" action") {
                ""
            } else {
                " in action"
            };
            extra = format!("{action} started at {}:{}", self.name, self.action_line);
        }
        self.error(format!("{shown}{extra}"))
    }

    fn next(&mut self) -> Token {
        if self.peeked > 0 {
            self.peeked -= 1;
        } else {
            self.tokens[0] = self.lexer.next_token();
        }
        self.tokens
            .get(self.peeked)
            .cloned()
            .unwrap_or(const { Token::none() })
    }

    fn backup(&mut self) {
        self.peeked += 1;
    }

    fn peek(&mut self) -> Token {
        let token = self.next();
        self.backup();
        token
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            Err(self.unexpected(&token, context))
        }
    }

    fn text_of(&self, token: &Token) -> &[u8] {
        self.input.get(token.pos..token.end).unwrap_or_default()
    }

    fn deeper(&self) -> Parsed<()> {
        if self.mark.used() > MAX_STACK {
            return Err(self.error("max expression depth exceeded"));
        }
        Ok(())
    }

    fn top_level(&mut self) -> Parsed<()> {
        let mut nodes = Vec::new();
        self.peek();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.tokens[1] = delim;
                self.peeked = 2;
            }
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::End => return Err(self.error("unexpected {{end}}")),
                Item::Else => return Err(self.error("unexpected {{else}}")),
            }
        }
        let slots = self.scope.slots;
        let name = Arc::clone(&self.name);
        self.add(name, List { nodes }, slots)
    }

    fn add(&mut self, name: Arc<str>, root: List, slots: usize) -> Parsed<()> {
        let empty = root.nodes.iter().all(Node::is_empty);
        if self.trees.get(&name).is_some_and(|tree| !tree.empty) {
            if !empty {
                let name = strconv::quote(name.as_bytes());
                return Err(self.error(format!("template: multiple definition of template {name}")));
            }
            return Ok(());
        }
        let tree = Tree {
            name: Arc::clone(&name),
            parse_name: Arc::clone(&self.name),
            text: Arc::clone(&self.shared),
            root,
            slots,
            empty,
        };
        self.trees.insert(name, Arc::new(tree));
        Ok(())
    }

    /// `{{define "x"}} … {{end}}`, after the keyword.
    fn definition(&mut self) -> Parsed<()> {
        let context = "define clause";
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        self.action_line = 0;
        let token = self.next_non_space();
        let name = match token.kind {
            Kind::String | Kind::RawString => self.unquote(&token)?,
            _ => return Err(self.unexpected(&token, context)),
        };
        self.expect(Kind::RightDelim, context)?;
        let (root, end) = self.item_list()?;
        if matches!(end, End::Else) {
            return Err(self.error(format!("unexpected {{{{else}}}} in {context}")));
        }
        let scope = std::mem::replace(&mut self.scope, outer);
        let name = String::from_utf8_lossy(&name);
        self.add((&*name).into(), root, scope.slots)
    }

    fn unquote(&self, token: &Token) -> Parsed<Vec<u8>> {
        strconv::unquote(self.text_of(token)).ok_or_else(|| self.error(strconv::SYNTAX))
    }

    fn item_list(&mut self) -> Parsed<(List, End)> {
        self.deeper()?;
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::End => return Ok((List { nodes }, End::End)),
                Item::Else => return Ok((List { nodes }, End::Else)),
            }
        }
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(Text {
                pos: token.pos as u32,
                text: self.text_of(&token).into(),
            }))),
            Kind::LeftDelim => {
                self.action_line = token.line;
                let item = self.action()?;
                self.action_line = 0;
                Ok(item)
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            Kind::Block => self.block()?,
            Kind::Break | Kind::Continue => self.break_or_continue(token.kind)?,
            Kind::Else => {
                let next = self.peek_non_space();
                if !matches!(next.kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Item::Else);
            }
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Item::End);
            }
            Kind::If => Node::If(self.control("if")?),
            Kind::Range => Node::Range(self.control("range")?),
            Kind::With => Node::With(self.control("with")?),
            Kind::Template => self.template_call()?,
            _ => {
                self.backup();
                let pos = self.peek().pos as u32;
                let pipe = self.pipeline("command", Kind::RightDelim)?;
                Node::Action(Action { pos, pipe })
            }
        };
        Ok(Item::Node(node))
    }

    fn break_or_continue(&mut self, kind: Kind) -> Parsed<Node> {
        let (context, node) = if kind == Kind::Break {
            ("{{break}}", Node::Break)
        } else {
            ("{{continue}}", Node::Continue)
        };
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return Err(self.unexpected(&token, context));
        }
        if self.scope.ranges == 0 {
            return Err(self.error(format!("{context} outside {{{{range}}}}")));
        }
        Ok(node)
    }

    /// `if`, `range` and `with`, after the keyword.
    fn control(&mut self, context: &'static str) -> Parsed<Branch> {
        let (known, live) = (self.scope.variables.len(), self.scope.live);
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let declared = self.scope.variables.len();
        self.scope.ranges += usize::from(context == "range");
        let (list, end) = self.item_list()?;
        self.scope.ranges -= usize::from(context == "range");
        let mut otherwise = None;
        if matches!(end, End::Else) {
            // What the first list declared is still known here, but holds nothing when this list runs.
            for variable in self.scope.variables.iter_mut().skip(declared) {
                variable.slot = None;
            }
            let next = self.peek().kind;
            // "else if" is an if inside the else whose end ends both.
            let nested = match (context, next) {
                ("if", Kind::If) => Some(Node::If as fn(Branch) -> Node),
                ("with", Kind::With) => Some(Node::With as fn(Branch) -> Node),
                _ => None,
            };
            if let Some(node) = nested {
                self.next();
                self.deeper()?;
                let nodes = vec![node(self.control(context)?)];
                otherwise = Some(List { nodes });
            } else {
                let (list, end) = self.item_list()?;
                if matches!(end, End::Else) {
                    return Err(self.error("expected end; found {{else}}"));
                }
                otherwise = Some(list);
            }
        }
        self.scope.variables.truncate(known);
        self.scope.live = live;
        Ok(Branch {
            pipe,
            list,
            otherwise,
        })
    }

    /// `{{block "x" pipeline}} … {{end}}`: defines a template and calls it.
    fn block(&mut self) -> Parsed<Node> {
        let context = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let outer_line = std::mem::take(&mut self.action_line);
        let (root, end) = self.item_list()?;
        if matches!(end, End::Else) {
            return Err(self.error(format!("unexpected {{{{else}}}} in {context}")));
        }
        let scope = std::mem::replace(&mut self.scope, outer);
        self.action_line = outer_line;
        self.add(Arc::clone(&name), root, scope.slots)?;
        Ok(Node::Template(TemplateCall {
            pos: token.pos as u32,
            name,
            pipe: Some(pipe),
        }))
    }

    fn template_call(&mut self) -> Parsed<Node> {
        let context = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let mut pipe = None;
        if self.next_non_space().kind != Kind::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(context, Kind::RightDelim)?);
        }
        Ok(Node::Template(TemplateCall {
            pos: token.pos as u32,
            name,
            pipe,
        }))
    }

    fn template_name(&self, token: &Token, context: &str) -> Parsed<Arc<str>> {
        match token.kind {
            Kind::String | Kind::RawString => {
                let name = self.unquote(token)?;
                Ok((&*String::from_utf8_lossy(&name)).into())
            }
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn pipeline(&mut self, context: &'static str, end: Kind) -> Parsed<Pipe> {
        self.deeper()?;
        let pos = self.peek_non_space().pos as u32;
        let known = self.scope.variables.len();
        let (assign, names) = self.declarations(context)?;
        let mut commands = Vec::new();
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
                    commands.push(self.command()?);
                }
                _ => return Err(self.unexpected(&token, context)),
            }
        }
        self.check_pipeline(&commands, context)?;
        let decl = self.bind(assign, names, known);
        Ok(Pipe {
            pos,
            assign,
            decl,
            commands,
        })
    }

    /// The names left of `:=` or `=`. Until the pipeline is complete they are known but hold nothing.
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

    /// Gives the declared names their slots, now that the right side has been read; those assigned to keep theirs.
    fn bind(&mut self, assign: bool, names: Vec<Str>, known: usize) -> Vec<Declared> {
        let mut decl = Vec::with_capacity(names.len());
        if !assign && !names.is_empty() {
            // What the right side declared in parentheses was declared before these.
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
        decl
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
                | Operand::String { .. },
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
        let pos = self.peek_non_space().pos as u32;
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                args.push(operand);
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
        if args.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(Command { pos, args })
    }

    /// A term and the fields taken from it.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(term));
        }
        let chain_pos = first.pos as u32;
        let mut more = Vec::new();
        while self.peek().kind == Kind::Field {
            let token = self.next();
            let name = self.text_of(&token).get(1..).unwrap_or_default();
            more.push(Str::new(name));
        }
        let joined = |names: Box<[Str]>| names.into_iter().chain(more.clone()).collect();
        Ok(Some(match term {
            Operand::Field { names, .. } => Operand::Field {
                pos: chain_pos,
                names: joined(names),
            },
            Operand::Variable {
                name, slot, names, ..
            } => Operand::Variable {
                pos: chain_pos,
                name,
                slot,
                names: joined(names),
            },
            Operand::Bool { .. }
            | Operand::String { .. }
            | Operand::Number(_)
            | Operand::Nil { .. }
            | Operand::Dot { .. } => {
                let shown = strconv::quote(term.to_string().as_bytes());
                return Err(self.error(format!("unexpected . after term {shown}")));
            }
            node => Operand::Chain {
                pos: chain_pos,
                node: Box::new(node),
                names: more.into(),
            },
        }))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.next_non_space();
        let pos = token.pos as u32;
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
                Operand::Variable {
                    pos,
                    slot: self.scope.resolve(&name),
                    name,
                    names: Box::default(),
                }
            }
            Kind::Field => {
                let name = self.text_of(&token).get(1..).unwrap_or_default();
                Operand::Field {
                    pos,
                    names: Box::new([Str::new(name)]),
                }
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
            Kind::String | Kind::RawString => Operand::String {
                pos,
                quoted: self.text_of(&token).into(),
                text: self.unquote(&token)?.into(),
            },
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(operand))
    }

    fn identifier(&mut self, token: &Token) -> Parsed<Operand> {
        let name = Str::new(self.text_of(token));
        let text = name.to_text();
        let function = match self.functions.get(&text) {
            Some(function) => FunctionRef::Registered(Arc::clone(function)),
            None => {
                if let Some(builtin) = Builtin::named(&name) {
                    FunctionRef::Builtin(builtin)
                } else {
                    let name = strconv::quote(&name);
                    return Err(self.error(format!("function {name} not defined")));
                }
            }
        };
        Ok(Operand::Identifier {
            pos: token.pos as u32,
            name,
            function,
        })
    }
}
