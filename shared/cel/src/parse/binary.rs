//! Operands that are joined by binary operators.

use super::{Parsed, Parser, Unparsable, operator};
use crate::ast::{Expr, operators};
use crate::lex::Token;

/// An operator whose right operand is not complete.
struct Pending {
    level: usize,
    function: &'static str,
    id: usize,
    at: usize,
}

impl Parser<'_, '_> {
    /// Operands joined by binary operators, in one loop: the levels of the grammar would each take stack.
    pub(super) fn joined(&mut self) -> Parsed {
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
