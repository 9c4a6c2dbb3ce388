//! The parser: builds trees from tokens.

mod pipeline;
mod scope;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use flux_golang::{strconv, unicode};
use scope::Scope;

use super::ast::{Action, Branch, Command, List, Node, Operand, TemplateCall, Text, Tree};
use super::lex::{Delimiters, Kind, Lexer, Token};
use crate::error::Error;
use crate::functions::Functions;
use crate::stack::Mark;
use crate::value::Str;

/// Bytes of stack for parsing: deeper nesting is refused, where Go would continue.
const MAX_STACK: usize = 768 * 1024;

/// Parses a text into the templates it defines, by name; its own tree is under `name`.
pub(crate) fn parse(
    name: &str,
    text: &Bytes,
    delimiters: Delimiters<'_>,
    functions: &Functions,
) -> Result<BTreeMap<Arc<str>, Arc<Tree>>, Error> {
    let mut lexer = Lexer::new(text, delimiters);
    lexer.break_ok = functions.get("break").is_none();
    lexer.continue_ok = functions.get("continue").is_none();
    let name: Arc<str> = name.into();
    let mut parser = Parser {
        input: text,
        shared: text,
        name: Arc::clone(&name),
        lexer,
        functions,
        tokens: [Token::none(), Token::none(), Token::none()],
        peeked: 0,
        trees: BTreeMap::new(),
        scope: Scope::new(),
        action_line: 0,
        mark: Mark::here(),
        nodes: Vec::new(),
        commands: Vec::new(),
        operands: Vec::new(),
        names: Vec::new(),
    };
    if u32::try_from(text.len()).is_err() {
        return Err(parser.error("the template is larger than 4 GiB"));
    }
    parser.top_level()?;
    Ok(parser.trees)
}

struct Parser<'a> {
    input: &'a [u8],
    shared: &'a Bytes,
    name: Arc<str>,
    lexer: Lexer<'a>,
    functions: &'a Functions,
    tokens: [Token; 3],
    peeked: usize,
    trees: BTreeMap<Arc<str>, Arc<Tree>>,
    scope: Scope,
    action_line: u32,
    mark: Mark,
    // The nodes of unfinished lists, outer lists first: each list is then allocated once with its final length.
    nodes: Vec<Node>,
    commands: Vec<Command>,
    operands: Vec<Operand>,
    names: Vec<Str>,
}

/// Removes the end of a stack from `start` on.
fn taken<T>(stack: &mut Vec<T>, start: usize) -> Box<[T]> {
    stack.drain(start..).collect()
}

/// The keyword that ends a list of nodes.
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
        }
    }
}

type Parsed<T> = Result<T, Error>;

impl Parser<'_> {
    fn error(&self, message: impl Into<String>) -> Error {
        Error::Parse {
            template: self.name.to_string(),
            line: self.tokens[0].line as usize,
            message: message.into(),
        }
    }

    fn unexpected(&self, token: &Token, context: &str) -> Error {
        let shown = self.lexer.describe(*token);
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
            .copied()
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
        token.text(self.input)
    }

    fn deeper(&self) -> Parsed<()> {
        if self.mark.used() > MAX_STACK {
            return Err(self.error("max expression depth exceeded"));
        }
        Ok(())
    }

    fn top_level(&mut self) -> Parsed<()> {
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
                Item::Node(node) => self.nodes.push(node),
                Item::End => return Err(self.error("unexpected {{end}}")),
                Item::Else => return Err(self.error("unexpected {{else}}")),
            }
        }
        let slots = self.scope.slots;
        let name = Arc::clone(&self.name);
        let nodes = taken(&mut self.nodes, 0);
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
            text: self.shared.clone(),
            root,
            slots,
            empty,
        };
        self.trees.insert(name, Arc::new(tree));
        Ok(())
    }

    /// Parses `{{define "x"}} … {{end}}` after the keyword.
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
        let start = self.nodes.len();
        while self.peek_non_space().kind != Kind::Eof {
            let end = match self.text_or_action()? {
                Item::Node(node) => {
                    self.nodes.push(node);
                    continue;
                }
                Item::End => End::End,
                Item::Else => End::Else,
            };
            let nodes = taken(&mut self.nodes, start);
            return Ok((List { nodes }, end));
        }
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(Text {
                pos: token.pos,
                end: token.end,
                blank: unicode::trim_space_start(self.text_of(&token)).is_empty(),
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
                let pos = self.peek().pos;
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

    /// Parses `if`, `range` and `with` after the keyword.
    fn control(&mut self, context: &'static str) -> Parsed<Box<Branch>> {
        let (known, live) = (self.scope.variables.len(), self.scope.live);
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let declared = self.scope.variables.len();
        self.scope.ranges += usize::from(context == "range");
        let (list, end) = self.item_list()?;
        self.scope.ranges -= usize::from(context == "range");
        let mut otherwise = None;
        if matches!(end, End::Else) {
            // Variables declared in the first list are still known here, but undefined at run time.
            for variable in self.scope.variables.iter_mut().skip(declared) {
                variable.slot = None;
            }
            let next = self.peek().kind;
            // "else if" is an if in the else branch that shares the end.
            let nested = match (context, next) {
                ("if", Kind::If) => Some(Node::If as fn(Box<Branch>) -> Node),
                ("with", Kind::With) => Some(Node::With as fn(Box<Branch>) -> Node),
                _ => None,
            };
            if let Some(node) = nested {
                self.next();
                self.deeper()?;
                let nodes = Box::new([node(self.control(context)?)]);
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
        Ok(Box::new(Branch {
            pipe,
            list,
            otherwise,
        }))
    }

    /// Parses `{{block "x" pipeline}} … {{end}}`: defines a template and calls it.
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
        Ok(Node::Template(Box::new(TemplateCall {
            pos: token.pos,
            name,
            pipe: Some(pipe),
        })))
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
        Ok(Node::Template(Box::new(TemplateCall {
            pos: token.pos,
            name,
            pipe,
        })))
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
}
