//! Estimates the memory of a parsed template.

use std::mem::{size_of, size_of_val};

use super::ast::{Branch, Command, List, Node, Operand, Pipe, TemplateCall, Tree};
use crate::value::Str;

impl Tree {
    /// Estimated bytes of memory besides its text, which it shares.
    pub(crate) fn size(&self) -> usize {
        // The names are shared with all references to it.
        size_of::<Self>() + self.name.len() + list(&self.root)
    }
}

fn list(list: &List) -> usize {
    size_of_val(&*list.nodes) + list.nodes.iter().map(node).sum::<usize>()
}

fn node(node: &Node) -> usize {
    match node {
        Node::Text(_) | Node::Break | Node::Continue => 0,
        Node::Action(action) => pipe(&action.pipe),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            let otherwise = branch.otherwise.as_ref().map_or(0, list);
            size_of::<Branch>() + pipe(&branch.pipe) + list(&branch.list) + otherwise
        }
        Node::Template(call) => {
            let below = call.pipe.as_ref().map_or(0, pipe);
            size_of::<TemplateCall>() + call.name.len() + below
        }
    }
}

fn pipe(pipe: &Pipe) -> usize {
    let decl: usize = pipe.decl.iter().map(|decl| decl.name.heap_size()).sum();
    let commands: usize = pipe.commands.iter().map(command).sum();
    size_of_val(&*pipe.decl) + decl + size_of_val(&*pipe.commands) + commands
}

fn command(command: &Command) -> usize {
    size_of_val(&*command.args) + command.args.iter().map(operand).sum::<usize>()
}

fn operand(operand: &Operand) -> usize {
    match operand {
        Operand::Field { names, .. } => strings(names),
        Operand::Chain { node, names, .. } => {
            size_of::<Operand>() + self::operand(node) + strings(names)
        }
        Operand::Variable { path, .. } => size_of::<Str>() + strings(path.names()),
        Operand::Pipe(inner) => size_of::<Pipe>() + pipe(inner),
        Operand::Number(number) => size_of_val(&**number) + number.text.len(),
        Operand::String { text, .. } => text.heap_size(),
        Operand::Quoted(quoted) => {
            size_of_val(&**quoted) + quoted.written.len() + quoted.text.heap_size()
        }
        Operand::Identifier { .. }
        | Operand::Bool { .. }
        | Operand::Dot { .. }
        | Operand::Nil { .. } => 0,
    }
}

fn strings(names: &[Str]) -> usize {
    size_of_val(names) + names.iter().map(Str::heap_size).sum::<usize>()
}
