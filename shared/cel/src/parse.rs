//! The grammar of expressions.

use std::sync::Arc;

use flux_golang::strconv;

use crate::ast::{Entry, Expr, Item, Kind, operators};
use crate::lex::{Lexeme, Token, tokens};
use crate::macros;
use crate::source::{MAX_CHARACTERS, Problems, Source};
use crate::unescape::unescape;
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

    /// Operands joined by binary operators, in one loop: the levels of the grammar would each take stack.
    fn joined(&mut self) -> Parsed {
        let depth = self.depth;
        let mut operands = vec![self.unary()?];
        let mut pending: Vec<Pending> = Vec::new();
        while let Some((level, function)) = self.binary_operator() {
            // what binds more strongly is complete; sums and products are joined from the left
            while let Some(last) = pending.last()
                && (last.level > level || (last.level == level && !is_logic(level)))
            {
                reduce(&mut operands, &mut pending);
            }
            if !is_logic(level)
                && let Some(left) = operands.last()
            {
                let height = left.height;
                self.extend(height)?;
            }
            let sign = self.advance();
            let (id, at) = (self.reserve(), sign.start);
            pending.push(Pending {
                level,
                function,
                id,
                at,
            });
            operands.push(self.unary()?);
        }
        while !pending.is_empty() {
            reduce(&mut operands, &mut pending);
        }
        self.depth = depth;
        operands.pop().ok_or(Unparsable)
    }

    /// The binary operator that is next, with how strongly it binds.
    fn binary_operator(&self) -> Option<(usize, &'static str)> {
        let (Token::Sign(sign) | Token::Word(sign)) = self.peek().token else {
            return None;
        };
        Some(match sign {
            "||" => (0, operators::OR),
            "&&" => (1, operators::AND),
            "<" => (2, "_<_"),
            "<=" => (2, "_<=_"),
            ">=" => (2, "_>=_"),
            ">" => (2, "_>_"),
            "==" => (2, operators::EQUALS),
            "!=" => (2, operators::NOT_EQUALS),
            "in" => (2, operators::IN),
            "+" => (3, operators::ADD),
            "-" => (3, "_-_"),
            "*" => (4, "_*_"),
            "/" => (4, "_/_"),
            "%" => (4, "_%_"),
            _ => return None,
        })
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

    /// The name of the message that begins here, and the place of its `{`, which is skipped.
    fn message_name(&mut self, first: &str, dot: bool) -> Option<(String, usize)> {
        let mut name = if dot {
            format!(".{first}")
        } else {
            first.to_owned()
        };
        let mut ahead = 0;
        loop {
            let sign = self.ahead(ahead);
            match sign.token {
                Token::Sign("{") => {
                    self.next += ahead + 1;
                    return Some((name, sign.start));
                }
                Token::Sign(".") if self.ahead(ahead + 1).token == Token::Ident => {
                    name.push('.');
                    name.push_str(&self.text(self.ahead(ahead + 1)));
                    ahead += 2;
                }
                _ => return None,
            }
        }
    }

    fn message(&mut self, name: String, open: usize) -> Parsed {
        let id = self.reserve();
        let mut fields = Vec::new();
        while !self.is("}") {
            self.take("?");
            if self.peek().token != Token::Ident {
                return Err(self.mismatch("{'}', '?', ',', IDENTIFIER, ESC_IDENTIFIER}"));
            }
            self.advance();
            self.expect(":")?;
            self.reserve();
            fields.push(self.ternary()?);
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        let at = open;
        let kind = Kind::Message { name, fields };
        Ok(Expr::new(id, at, kind))
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

    fn list(&mut self) -> Parsed {
        let open = self.advance();
        let id = self.reserve();
        let mut items = Vec::new();
        while !self.is("]") {
            if items.is_empty() && self.take(",").is_some() {
                break;
            }
            let optional = self.take("?").is_some();
            let value = self.ternary()?;
            items.push(Item { value, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("]")?;
        let (at, kind) = (open.start, Kind::List(items));
        Ok(Expr::new(id, at, kind))
    }

    fn map(&mut self) -> Parsed {
        let open = self.advance();
        let id = self.reserve();
        let mut entries = Vec::new();
        while !self.is("}") {
            if entries.is_empty() && self.take(",").is_some() {
                break;
            }
            let optional = self.take("?").is_some();
            self.reserve();
            let key = self.ternary()?;
            self.expect(":")?;
            let value = self.ternary()?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        let (at, kind) = (open.start, Kind::Map(entries));
        Ok(Expr::new(id, at, kind))
    }

    fn literal(&mut self) -> Parsed {
        let start = self.peek().start;
        let negative = self.take("-").is_some();
        let lexeme = self.advance();
        let text = self.text(lexeme);
        let value = match lexeme.token {
            Token::Word("true") => Ok(Value::Bool(true)),
            Token::Word("false") => Ok(Value::Bool(false)),
            Token::Int => int(&text, negative).ok_or("invalid int literal"),
            Token::Uint => uint(&text).ok_or("invalid uint literal"),
            Token::Double => {
                let text = if negative { format!("-{text}") } else { text };
                let parsed = strconv::parse_float(text.as_bytes());
                parsed
                    .map(Value::Double)
                    .map_err(|_| "invalid double literal")
            }
            Token::String => unescape(&text, false).map(|bytes| {
                let text = String::from_utf8_lossy(&bytes);
                Value::String(Arc::from(&*text))
            }),
            Token::Bytes => {
                let text = text.get(1..).unwrap_or_default();
                unescape(text, true).map(|bytes| Value::Bytes(bytes.into()))
            }
            _ => Ok(Value::Null),
        };
        match value {
            Ok(value) => Ok(self.expr(start, Kind::Literal(value))),
            Err(message) => Err(self.problem(start, message)),
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

/// An operator whose right operand is not complete.
struct Pending {
    level: usize,
    function: &'static str,
    id: usize,
    at: usize,
}

/// Whether operators of this level are joined as a balanced tree, and not from the left.
fn is_logic(level: usize) -> bool {
    level < 2
}

/// Joins the last operands by the last operator, or by all of the last ones if they are the same logical operator.
fn reduce(operands: &mut Vec<Expr>, pending: &mut Vec<Pending>) {
    let Some(last) = pending.last() else {
        return;
    };
    let (level, function) = (last.level, last.function);
    let count = if is_logic(level) {
        let same = pending.iter().rev().take_while(|one| one.level == level);
        same.count()
    } else {
        1
    };
    let signs = pending.split_off(pending.len() - count);
    let signs: Vec<(usize, usize)> = signs.iter().map(|sign| (sign.id, sign.at)).collect();
    let terms = operands.split_off(operands.len().saturating_sub(count + 1));
    operands.push(balanced(terms, &signs, function));
}

/// The terms as a tree of calls, each with about as many terms on its left as on its right.
fn balanced(mut terms: Vec<Expr>, signs: &[(usize, usize)], function: &str) -> Expr {
    if signs.is_empty() {
        return terms.remove(0);
    }
    let middle = (signs.len() - 1).div_ceil(2);
    let right = terms.split_off(middle + 1);
    let (id, at) = signs[middle];
    let left = balanced(terms, &signs[..middle], function);
    let right = balanced(right, &signs[middle + 1..], function);
    operator(id, at, function, vec![left, right])
}

/// A decimal or hexadecimal integer.
fn int(text: &str, negative: bool) -> Option<Value> {
    let (digits, base) = based(text);
    let sign = if negative { "-" } else { "" };
    let parsed = strconv::parse_int(format!("{sign}{digits}").as_bytes(), base);
    parsed.ok().map(Value::Int)
}

/// As [`int`], with the `u` at its end.
fn uint(text: &str) -> Option<Value> {
    let (digits, base) = based(text.trim_end_matches(['u', 'U']));
    let parsed = strconv::parse_uint(digits.as_bytes(), base);
    parsed.ok().map(Value::Uint)
}

fn based(text: &str) -> (&str, u32) {
    text.strip_prefix("0x")
        .map_or((text, 10), |digits| (digits, 16))
}
