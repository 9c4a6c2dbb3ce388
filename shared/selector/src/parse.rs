//! The parser of selectors.

use crate::error::{ParseError, Problem, RequirementProblem};
use crate::{Operator, Requirement, Selector, validate};

const SIGNS: [&str; 9] = ["==", "!=", "=", "!", ",", "(", ")", "<", ">"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Sign(&'static str),
    End,
}

impl Token<'_> {
    fn text(self) -> String {
        match self {
            Self::Word(text) | Self::Sign(text) => text.to_owned(),
            Self::End => String::new(),
        }
    }

    fn begins_requirement(self) -> bool {
        matches!(self, Self::Word(_) | Self::Sign("!"))
    }
}

pub(crate) fn parse(text: &str) -> Result<Selector, ParseError> {
    let mut parser = Parser {
        tokens: tokens(text),
        at: 0,
    };
    let mut requirements = parser.requirements().map_err(ParseError)?;
    requirements.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(Selector { requirements })
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let blanks = [' ', '\t', '\r', '\n'];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(blanks);
    while !rest.is_empty() {
        let length = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            let end = rest
                .find([' ', '\t', '\r', '\n', '=', '!', ',', '(', ')', '<', '>'])
                .unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            end
        };
        rest = rest[length..].trim_start_matches(blanks);
    }
    tokens
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, Problem> {
        let mut requirements = Vec::new();
        if self.peek() == Token::End {
            return Ok(requirements);
        }
        if !self.peek().begins_requirement() {
            return Err(Problem::Start(self.peek().text()));
        }
        loop {
            requirements.push(self.requirement().map_err(Problem::Requirement)?);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Sign(",") if self.peek().begins_requirement() => {}
                Token::Sign(",") => return Err(Problem::AfterComma(self.peek().text())),
                other => return Err(Problem::AfterRequirement(other.text())),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, RequirementProblem> {
        let negated = self.peek() == Token::Sign("!");
        if negated {
            self.at += 1;
        }
        let key = match self.next() {
            Token::Word(key) => key.to_owned(),
            other => return Err(RequirementProblem::Identifier(other.text())),
        };
        let faults = validate::key(&key);
        if !faults.is_empty() {
            return Err(RequirementProblem::Key { key, faults });
        }
        let of = |operator, values| Requirement {
            key: key.clone(),
            operator,
            values,
        };
        if negated {
            return Ok(of(Operator::DoesNotExist, Vec::new()));
        }
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(of(Operator::Exists, Vec::new()));
        }
        let operator = match self.next() {
            Token::Sign("=") => Operator::Equals,
            Token::Sign("==") => Operator::DoubleEquals,
            Token::Sign("!=") => Operator::NotEquals,
            Token::Sign(">") => Operator::GreaterThan,
            Token::Sign("<") => Operator::LessThan,
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            other => return Err(RequirementProblem::Operator(other.text())),
        };
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.value()?],
        };
        values.sort();
        values.dedup();
        let is_number = matches!(operator, Operator::GreaterThan | Operator::LessThan);
        let invalid = validate::values(&values, is_number);
        if !invalid.is_empty() {
            return Err(RequirementProblem::Values { key, invalid });
        }
        Ok(of(operator, values))
    }

    /// Parses one value, which may be missing: `a=` requires the empty text.
    fn value(&mut self) -> Result<String, RequirementProblem> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value.to_owned()),
            other => Err(RequirementProblem::Identifier(other.text())),
        }
    }

    /// Parses values in parentheses. There is an empty value between two commas, and between a comma and a parenthesis.
    fn values(&mut self) -> Result<Vec<String>, RequirementProblem> {
        let open = self.next();
        if open != Token::Sign("(") {
            return Err(RequirementProblem::Open(open.text()));
        }
        match self.peek() {
            Token::Sign(")") => {
                self.at += 1;
                return Ok(vec![String::new()]);
            }
            Token::Word(_) | Token::Sign(",") => {}
            other => return Err(RequirementProblem::FirstValue(other.text())),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.push(value.to_owned());
                    match self.peek() {
                        Token::Sign(",") => {}
                        Token::Sign(")") => break,
                        other => return Err(RequirementProblem::AfterValue(other.text())),
                    }
                }
                Token::Sign(",") => {
                    if values.is_empty() || matches!(self.peek(), Token::Sign("," | ")")) {
                        values.push(String::new());
                    }
                    if self.peek() == Token::Sign(")") {
                        break;
                    }
                }
                other => return Err(RequirementProblem::Value(other.text())),
            }
        }
        self.at += 1;
        Ok(values)
    }
}
