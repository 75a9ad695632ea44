//! Templates: which fields of the data a template can ask for.

use std::collections::BTreeSet;

use super::parse::{Arg, Branch, Node, Operand, Pipe, Trees};

/// The fields of the data that a template can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Everything: the data as a whole is used somewhere.
    all: bool,
    fields: BTreeSet<String>,
}

impl Roots {
    /// Whether the template can ask for `.NAME`.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.all || self.fields.contains(name)
    }

    /// Adds what another template can ask for.
    pub fn extend(&mut self, other: Roots) {
        self.all |= other.all;
        self.fields.extend(other.fields);
    }
}

/// The fields that these trees can ask for. Trees that the main one calls see only what it hands to them.
pub(super) fn of(trees: &Trees) -> Roots {
    let mut roots = Roots::default();
    roots.nodes(trees.main(), true);
    roots
}

impl Roots {
    /// `at_root`: whether `.` is the data itself.
    fn nodes(&mut self, nodes: &[Node], at_root: bool) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action(pipe) => self.pipe(pipe, at_root),
                Node::Template { pipe, .. } => {
                    if let Some(pipe) = pipe {
                        self.pipe(pipe, at_root);
                    }
                }
                Node::If(branch) => self.branch(branch, at_root, at_root),
                Node::With(branch) | Node::Range(branch) => self.branch(branch, at_root, false),
            }
        }
    }

    fn branch(&mut self, branch: &Branch, at_root: bool, body_at_root: bool) {
        self.pipe(&branch.pipe, at_root);
        self.nodes(&branch.body, body_at_root);
        self.nodes(&branch.otherwise, at_root);
    }

    fn pipe(&mut self, pipe: &Pipe, at_root: bool) {
        // The data can be put aside in a variable, but only through a bare `.` or `$`.
        self.all |= pipe.assigns && pipe.variables.iter().any(|v| v == "$");
        for arg in pipe.commands.iter().flatten() {
            self.arg(arg, at_root);
        }
    }

    fn arg(&mut self, arg: &Arg, at_root: bool) {
        match &arg.operand {
            Operand::Dot => self.all |= at_root,
            Operand::Field(names) if at_root => self.fields.extend(names.first().cloned()),
            Operand::Variable(name, names) if name == "$" => match names.first() {
                Some(first) => {
                    self.fields.insert(first.clone());
                }
                None => self.all = true,
            },
            Operand::Pipe(pipe) => self.pipe(pipe, at_root),
            Operand::Chain(of, _) => self.arg(of, at_root),
            Operand::Nil
            | Operand::Bool(_)
            | Operand::Number(_)
            | Operand::Text(_)
            | Operand::Field(_)
            | Operand::Variable(..)
            | Operand::Function(_) => {}
        }
    }
}
