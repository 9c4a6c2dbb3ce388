//! Parsing of templates.

mod ast;
mod lex;
mod number;
mod parser;
mod size;

pub(crate) use ast::*;
pub(crate) use lex::Delimiters;
pub(crate) use parser::parse;
