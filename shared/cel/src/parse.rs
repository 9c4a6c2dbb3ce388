//! The grammar of expressions.

mod binary;
mod operand;

use crate::ast::{Expr, Kind, operators};
use crate::lex::{Lexeme, Token, tokens};
use crate::macros;
use crate::source::{MAX_CHARACTERS, Problems, Source};
use crate::value::Value;

/// How deep expressions may be nested, and how long chains of operators and selections may be, as in cel-go.
const MAX_DEPTH: usize = 250;
/// How many levels the tree may have, expanded macros included.
const MAX_HEIGHT: usize = 400;
/// How many nodes the tree may have: the macros of optionals copy their target.
const MAX_NODES: usize = 400_000;

/// The names that are no variables.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The tokens with which an operand begins, as errors list them.
const OPERANDS: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// The expression has a problem that has been reported.
pub(crate) struct Unparsable;

type Parsed<T = Expr> = Result<T, Unparsable>;

/// Parses an expression and expands its macros. `None` if a problem was reported.
pub(crate) fn parse<'s>(source: &'s Source, problems: &mut Problems<'s>) -> Option<(Expr, usize)> {
    let length = source.text.len();
    if length > MAX_CHARACTERS {
        problems.report_whole(format!(
            "expression code point size exceeds limit: size: {length}, limit {MAX_CHARACTERS}"
        ));
        return None;
    }
    let tokens = tokens(source, problems);
    let mut parser = Parser {
        source,
        tokens,
        next: 0,
        depth: 0,
        ids: 0,
        problems,
    };
    let parsed = parser.whole();
    let ids = parser.ids;
    match parsed {
        Ok(expr) if problems.is_empty() => Some((expr, ids + 1)),
        _ => None,
    }
}

/// Reads tokens and builds the tree.
pub(crate) struct Parser<'p, 's> {
    source: &'s Source,
    tokens: Vec<Lexeme>,
    next: usize,
    depth: usize,
    ids: usize,
    problems: &'p mut Problems<'s>,
}

impl Parser<'_, '_> {
    pub(crate) fn expr(&mut self, at: usize, kind: Kind) -> Expr {
        let id = self.reserve();
        Expr::new(id, at, kind)
    }

    /// Whether the tree may have `more` nodes.
    pub(crate) fn has_room(&mut self, more: usize) -> Result<(), Unparsable> {
        if self.ids.saturating_add(more) > MAX_NODES {
            let message =
                format!("expression has more than {MAX_NODES} nodes when its macros are expanded");
            self.problems.report_whole(message);
            return Err(Unparsable);
        }
        Ok(())
    }

    /// A number for a node whose operands have none yet.
    pub(crate) fn reserve(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn problem(&mut self, at: usize, message: impl Into<String>) -> Unparsable {
        self.problems.report(at, message.into());
        Unparsable
    }

    fn peek(&self) -> Lexeme {
        self.ahead(0)
    }

    fn ahead(&self, count: usize) -> Lexeme {
        let last = self.tokens.len() - 1;
        self.tokens[(self.next + count).min(last)]
    }

    fn advance(&mut self) -> Lexeme {
        let lexeme = self.peek();
        self.next += 1;
        lexeme
    }

    fn text(&self, lexeme: Lexeme) -> String {
        self.source.text[lexeme.start..lexeme.end].iter().collect()
    }

    /// A token as syntax errors write it.
    fn shown(&self, lexeme: Lexeme) -> String {
        if lexeme.token == Token::End {
            return "<EOF>".to_owned();
        }
        let text = self.text(lexeme);
        text.replace('\n', "\\n")
            .replace('\t', "\\t")
            .replace('\r', "\\r")
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek().token, Token::Sign(found) if found == sign)
    }

    /// Skips the sign if it is next.
    fn take(&mut self, sign: &str) -> Option<Lexeme> {
        self.is(sign).then(|| self.advance())
    }

    fn expect(&mut self, sign: &str) -> Parsed<Lexeme> {
        match self.take(sign) {
            Some(lexeme) => Ok(lexeme),
            None if self.peek().token == Token::End => {
                let message = format!("Syntax error: missing '{sign}' at '<EOF>'");
                Err(self.problem(self.peek().start, message))
            }
            None => Err(self.mismatch(&format!("'{sign}'"))),
        }
    }

    fn mismatch(&mut self, expected: &str) -> Unparsable {
        let found = self.peek();
        let shown = self.shown(found);
        let message = format!("Syntax error: mismatched input '{shown}' expecting {expected}");
        self.problem(found.start, message)
    }

    fn whole(&mut self) -> Parsed {
        let expr = self.ternary()?;
        let rest = self.peek();
        if rest.token == Token::End {
            return Ok(expr);
        }
        let shown = self.shown(rest);
        let what = if self.ahead(1).token == Token::End {
            "extraneous"
        } else {
            "mismatched"
        };
        let message = format!("Syntax error: {what} input '{shown}' expecting <EOF>");
        Err(self.problem(rest.start, message))
    }

    /// Counts a level of nesting or a link of a chain.
    fn descend(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        Ok(())
    }

    fn too_deep(&mut self) -> Unparsable {
        let message = format!("expression recursion limit exceeded: {MAX_DEPTH}");
        self.problems.report_whole(message);
        Unparsable
    }

    /// Counts a link of a chain on an operand of this height: its own levels count too, since they are evaluated recursively.
    fn extend(&mut self, height: usize) -> Parsed<()> {
        if height >= MAX_HEIGHT {
            return Err(self.too_deep());
        }
        self.descend()
    }

    fn ternary(&mut self) -> Parsed {
        self.descend()?;
        let condition = self.joined()?;
        let expr = match self.take("?") {
            None => condition,
            Some(sign) => {
                let id = self.reserve();
                let truthy = self.joined()?;
                self.expect(":")?;
                let falsy = self.ternary()?;
                let args = vec![condition, truthy, falsy];
                operator(id, sign.start, operators::CONDITIONAL, args)
            }
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn unary(&mut self) -> Parsed {
        let first = self.peek();
        let (sign, function) = match first.token {
            Token::Sign("!") => ("!", operators::NOT),
            Token::Sign("-") if !self.is_negative_number() => ("-", operators::NEGATE),
            _ => return self.member(),
        };
        let mut count = 0;
        while self.take(sign).is_some() {
            count += 1;
        }
        if count % 2 == 0 {
            return self.member();
        }
        let id = self.reserve();
        let operand = self.member()?;
        Ok(operator(id, first.start, function, vec![operand]))
    }

    /// Whether a minus and a number are next, which together are a literal.
    fn is_negative_number(&self) -> bool {
        self.is("-") && matches!(self.ahead(1).token, Token::Int | Token::Double)
    }

    /// An operand with the selections, indices and calls that follow it.
    fn member(&mut self) -> Parsed {
        let depth = self.depth;
        let mut operand = self.primary()?;
        loop {
            if let Some(dot) = self.take(".") {
                self.extend(operand.height)?;
                let optional = self.take("?").is_some();
                let name = self.peek();
                match name.token {
                    Token::Ident => {}
                    Token::QuotedIdent => {
                        return Err(self.problem(name.start, "unsupported syntax: '`'"));
                    }
                    _ => return Err(self.mismatch("IDENTIFIER")),
                }
                self.advance();
                let field = self.text(name);
                if let Some(open) = (!optional).then(|| self.take("(")).flatten() {
                    let id = self.reserve();
                    let args = self.arguments()?;
                    operand = self.call(id, open.start, Some(operand), field, args)?;
                } else if optional {
                    let id = self.reserve();
                    let field = Kind::Literal(Value::String(field.into()));
                    let field = self.expr(name.start, field);
                    operand = operator(
                        id,
                        dot.start,
                        operators::OPTIONAL_SELECT,
                        vec![operand, field],
                    );
                } else {
                    let select = Kind::Select {
                        operand: Box::new(operand),
                        field,
                        test: false,
                    };
                    operand = self.expr(dot.start, select);
                }
            } else if let Some(open) = self.take("[") {
                self.extend(operand.height)?;
                let optional = self.take("?").is_some();
                let id = self.reserve();
                let index = self.ternary()?;
                self.expect("]")?;
                let function = if optional {
                    operators::OPTIONAL_INDEX
                } else {
                    operators::INDEX
                };
                operand = operator(id, open.start, function, vec![operand, index]);
            } else {
                self.depth = depth;
                return Ok(operand);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let first = self.peek();
        match first.token {
            Token::Sign("(") => {
                self.advance();
                let inner = self.ternary()?;
                self.expect(")")?;
                if inner.height >= MAX_HEIGHT {
                    return Err(self.too_deep());
                }
                Ok(inner)
            }
            Token::Sign("[") => self.list(),
            Token::Sign("{") => self.map(),
            Token::Sign(".") if self.ahead(1).token == Token::Ident => self.name(),
            Token::Sign("-") if self.is_negative_number() => self.literal(),
            Token::Ident => self.name(),
            Token::Word("true" | "false" | "null")
            | Token::Int
            | Token::Uint
            | Token::Double
            | Token::String
            | Token::Bytes => self.literal(),
            _ => Err(self.no_operand()),
        }
    }

    /// Reports that there is no operand where one is needed.
    fn no_operand(&mut self) -> Unparsable {
        let found = self.peek();
        let begins = match self.ahead(1).token {
            Token::Sign(sign) => matches!(sign, "[" | "{" | "(" | "." | "-" | "!"),
            Token::Word(word) => word != "in",
            Token::QuotedIdent | Token::End => false,
            _ => true,
        };
        if begins && found.token != Token::End {
            let shown = self.shown(found);
            let message = format!("Syntax error: extraneous input '{shown}' expecting {OPERANDS}");
            return self.problem(found.start, message);
        }
        self.mismatch(OPERANDS)
    }

    /// A variable, the call of a function, or a message.
    fn name(&mut self) -> Parsed {
        let start = self.peek().start;
        let dot = self.take(".").is_some();
        let ident = self.advance();
        let name = self.text(ident);
        if let Some((message, open)) = self.message_name(&name, dot) {
            return self.message(message, open);
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(self.problem(start, format!("reserved identifier: {name}")));
        }
        let qualified = if dot { format!(".{name}") } else { name };
        if let Some(open) = self.take("(") {
            let id = self.reserve();
            let args = self.arguments()?;
            return self.call(id, open.start, None, qualified, args);
        }
        Ok(self.expr(ident.start, Kind::Ident(qualified)))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.ternary()?);
            if self.take(",").is_none() {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    /// The call of a function, or what the macro of this name expands to.
    fn call(
        &mut self,
        id: usize,
        at: usize,
        target: Option<Expr>,
        function: String,
        args: Vec<Expr>,
    ) -> Parsed {
        let call = macros::Call {
            at,
            target,
            function,
            args,
        };
        match macros::expand(self, call)? {
            Ok(expanded) => Ok(expanded),
            Err(call) => {
                let kind = Kind::Call {
                    target: call.target.map(Box::new),
                    function: call.function,
                    args: call.args,
                };
                Ok(Expr::new(id, at, kind))
            }
        }
    }
}

/// The call of an operator.
pub(crate) fn operator(id: usize, at: usize, function: &str, args: Vec<Expr>) -> Expr {
    let function = function.to_owned();
    let kind = Kind::Call {
        target: None,
        function,
        args,
    };
    Expr::new(id, at, kind)
}
