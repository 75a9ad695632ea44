//! Templates: tokens to trees. The grammar is that of Go's text/template (package text/template/parse).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lex::{Kind, Token, tokens};
use super::literal::{self, Number};
use super::{Fault, Functions, MAX_TEXT, funcs, goreleaser};

/// How deep actions and parentheses may nest.
const MAX_NESTING: usize = 100;

/// Go names the template of a flag so in ko; it can call itself by this name.
const MAIN: &[u8] = b"argsTmpl";

/// The trees of a text: the main one and those that it defines.
#[derive(Debug)]
pub(super) struct Trees {
    trees: BTreeMap<Vec<u8>, Vec<Node>>,
    /// Which functions they may call.
    pub(super) functions: Functions,
}

impl Trees {
    /// The tree to evaluate.
    pub(super) fn main(&self) -> &[Node] {
        self.get(MAIN).unwrap_or_default()
    }

    /// The tree of this name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&[Node]> {
        self.trees.get(name).map(Vec::as_slice)
    }
}

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: Vec<u8>, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// `if`, `with` and `range`.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$a, $b := command | command`
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) at: usize,
    pub(super) variables: Vec<String>,
    /// `=` rather than `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Arg>>,
}

/// An operand and the byte where it starts. The first of a command may be what is called.
#[derive(Debug)]
pub(super) struct Arg {
    pub(super) at: usize,
    pub(super) operand: Operand,
}

/// What stands between blanks.
#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text(Arc<[u8]>),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    Function(String),
    Pipe(Box<Pipe>),
    /// `(…).A.B`
    Chain(Box<Arg>, Vec<String>),
}

/// The trees of `text`.
pub(super) fn parse(text: &str, functions: Functions) -> Result<Trees, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault::new(0, "it is too long"));
    }
    let (tokens, fault) = tokens(text);
    let mut parser = Parser {
        tokens,
        fault,
        next: 0,
        length: text.len(),
        variables: vec!["$".to_owned()],
        ranges: 0,
        nesting: 0,
        trees: BTreeMap::new(),
        functions,
    };
    parser.text()?;
    Ok(Trees { trees: parser.trees, functions })
}

/// How a list of nodes ended.
enum Ending {
    End,
    Else(usize),
}

/// A node, or what ends the list of nodes.
enum Piece {
    Node(Node),
    Ending(Ending),
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    /// What stopped the lexer, if it didn't reach the end.
    fault: Option<Fault>,
    next: usize,
    length: usize,
    variables: Vec<String>,
    ranges: usize,
    nesting: usize,
    trees: BTreeMap<Vec<u8>, Vec<Node>>,
    functions: Functions,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Result<Token<'t>, Fault> {
        match self.tokens.get(self.next) {
            Some(token) => Ok(*token),
            None => match &self.fault {
                Some(fault) => Err(fault.clone()),
                None => Ok(Token { kind: Kind::End, text: "", at: self.length }),
            },
        }
    }

    fn take(&mut self) -> Result<Token<'t>, Fault> {
        let token = self.peek()?;
        self.next += 1;
        Ok(token)
    }

    fn peek_past_space(&mut self) -> Result<Token<'t>, Fault> {
        while self.peek()?.kind == Kind::Space {
            self.next += 1;
        }
        self.peek()
    }

    fn take_past_space(&mut self) -> Result<Token<'t>, Fault> {
        self.peek_past_space()?;
        self.take()
    }

    fn expect_right(&mut self, context: &str) -> Result<(), Fault> {
        let token = self.take_past_space()?;
        if token.kind == Kind::Right { Ok(()) } else { Err(unexpected(token, context)) }
    }

    fn nested<T>(
        &mut self,
        at: usize,
        inner: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.nesting == MAX_NESTING {
            return Err(Fault::new(at, "it is nested too deeply"));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// The whole text, with the definitions that may stand at its top.
    fn text(&mut self) -> Result<(), Fault> {
        let mut nodes = Vec::new();
        loop {
            let token = self.peek_past_space()?;
            if token.kind == Kind::End {
                return self.add(MAIN.to_vec(), nodes, token.at);
            }
            if token.kind == Kind::Left {
                let start = self.next;
                self.next += 1;
                let word = self.take_past_space()?;
                if word.kind == Kind::Keyword && word.text == "define" {
                    self.definition()?;
                    continue;
                }
                self.next = start;
            }
            match self.piece()? {
                Piece::Node(node) => nodes.push(node),
                Piece::Ending(Ending::End) => {
                    return Err(Fault::new(token.at, "an {{end}} that ends nothing"));
                }
                Piece::Ending(Ending::Else(at)) => {
                    return Err(Fault::new(at, "an {{else}} without an {{if}}"));
                }
            }
        }
    }

    /// Adds a tree. One that is empty but for blanks may be defined again.
    fn add(&mut self, name: Vec<u8>, nodes: Vec<Node>, at: usize) -> Result<(), Fault> {
        let is_empty =
            |nodes: &[Node]| nodes.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()));
        match self.trees.get(&name) {
            Some(old) if !is_empty(old) => {
                if !is_empty(&nodes) {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    return Err(Fault::new(at, format!("template {name:?} is defined twice")));
                }
            }
            _ => {
                self.trees.insert(name, nodes);
            }
        }
        Ok(())
    }

    /// The name, the body and the end of a definition.
    fn definition(&mut self) -> Result<(), Fault> {
        let token = self.take_past_space()?;
        let name = template_name(token)?;
        self.expect_right("{{define}}")?;
        self.tree(name, token.at)
    }

    /// The body of a tree, up to its end: variables and loops outside don't reach into it.
    fn tree(&mut self, name: Vec<u8>, at: usize) -> Result<(), Fault> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, ending) = self.nested(at, Self::list)?;
        self.variables = variables;
        self.ranges = ranges;
        match ending {
            Ending::End => self.add(name, nodes, at),
            Ending::Else(at) => Err(Fault::new(at, "an {{else}} without an {{if}}")),
        }
    }

    /// Nodes up to an end or an else.
    fn list(&mut self) -> Result<(Vec<Node>, Ending), Fault> {
        let mut nodes = Vec::new();
        while self.peek_past_space()?.kind != Kind::End {
            match self.piece()? {
                Piece::Node(node) => nodes.push(node),
                Piece::Ending(ending) => return Ok((nodes, ending)),
            }
        }
        Err(Fault::new(self.length, "an {{end}} is missing"))
    }

    fn piece(&mut self) -> Result<Piece, Fault> {
        let token = self.take_past_space()?;
        match token.kind {
            Kind::Text => Ok(Piece::Node(Node::Text(token.text.to_owned()))),
            Kind::Left => self.action(),
            _ => Err(unexpected(token, "the text")),
        }
    }

    fn action(&mut self) -> Result<Piece, Fault> {
        let token = self.peek_past_space()?;
        if token.kind != Kind::Keyword || token.text == "define" {
            // Variables that it declares live on until the end of what is around it.
            return Ok(Piece::Node(Node::Action(self.pipe("an action", Kind::Right)?)));
        }
        self.next += 1;
        let node = match token.text {
            "if" | "with" | "range" => self.branch(token.text, token.at)?,
            "template" => {
                let name = self.take_past_space()?;
                let (at, name) = (name.at, template_name(name)?);
                let bare = self.peek_past_space()?.kind == Kind::Right;
                if bare {
                    self.next += 1;
                }
                let pipe = if bare { None } else { Some(self.pipe("{{template}}", Kind::Right)?) };
                Node::Template { at, name, pipe }
            }
            "block" => {
                let name = self.take_past_space()?;
                let (at, name) = (name.at, template_name(name)?);
                let pipe = Some(self.pipe("{{block}}", Kind::Right)?);
                self.tree(name.clone(), at)?;
                Node::Template { at, name, pipe }
            }
            "end" => {
                self.expect_right("{{end}}")?;
                return Ok(Piece::Ending(Ending::End));
            }
            "else" => {
                let next = self.peek_past_space()?;
                if !(next.kind == Kind::Keyword && matches!(next.text, "if" | "with")) {
                    self.expect_right("{{else}}")?;
                }
                return Ok(Piece::Ending(Ending::Else(token.at)));
            }
            word => {
                self.expect_right(word)?;
                if self.ranges == 0 {
                    return Err(Fault::new(token.at, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                if word == "break" { Node::Break } else { Node::Continue }
            }
        };
        Ok(Piece::Node(node))
    }

    /// The rest of an if, with or range.
    fn branch(&mut self, word: &str, at: usize) -> Result<Node, Fault> {
        let outer = self.variables.len();
        let branch = self.nested(at, |parser| {
            let pipe = parser.pipe(word, Kind::Right)?;
            let is_range = usize::from(word == "range");
            parser.ranges += is_range;
            let (body, ending) = parser.list()?;
            parser.ranges -= is_range;
            let otherwise = match ending {
                Ending::End => Vec::new(),
                Ending::Else(_) => parser.otherwise(word)?,
            };
            Ok(Branch { pipe, body, otherwise })
        })?;
        self.variables.truncate(outer);
        Ok(match word {
            "if" => Node::If(branch),
            "with" => Node::With(branch),
            _ => Node::Range(branch),
        })
    }

    /// What follows an else; `{{else if}}` shares its end with the if before it.
    fn otherwise(&mut self, word: &str) -> Result<Vec<Node>, Fault> {
        let token = self.peek()?;
        if token.kind == Kind::Keyword && token.text == word && word != "range" {
            self.next += 1;
            return Ok(vec![self.branch(word, token.at)?]);
        }
        match self.list()? {
            (nodes, Ending::End) => Ok(nodes),
            (_, Ending::Else(at)) => Err(Fault::new(at, "a second {{else}}")),
        }
    }

    /// A pipeline up to `end`, which is taken.
    fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe, Fault> {
        let at = self.peek_past_space()?.at;
        let mut pipe = Pipe { at, variables: Vec::new(), assigns: false, commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.peek_past_space()?;
            if token.kind == end {
                self.next += 1;
                break;
            }
            match token.kind {
                Kind::Bool
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Name
                | Kind::Number
                | Kind::Nil
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::Open => pipe.commands.push(self.command()?),
                _ => return Err(unexpected(token, context)),
            }
        }
        if pipe.commands.is_empty() {
            return Err(Fault::new(at, format!("{context} lacks a value")));
        }
        for arg in pipe.commands.iter().skip(1).filter_map(|c| c.first()) {
            use Operand::{Bool, Dot, Nil, Number, Text};
            if matches!(arg.operand, Bool(_) | Dot | Nil | Number(_) | Text(_)) {
                return Err(Fault::new(arg.at, "only a function can follow a |"));
            }
        }
        Ok(pipe)
    }

    /// `$x :=`, `$x =` and, in a range, `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), Fault> {
        loop {
            let variable = self.peek_past_space()?;
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            let start = self.next;
            self.next += 1;
            let token = self.peek_past_space()?;
            match token.kind {
                Kind::Assign | Kind::Declare => {
                    self.next += 1;
                    pipe.assigns = token.kind == Kind::Assign;
                    pipe.variables.push(variable.text.to_owned());
                    self.variables.push(variable.text.to_owned());
                    return Ok(());
                }
                Kind::Comma => {
                    self.next += 1;
                    pipe.variables.push(variable.text.to_owned());
                    self.variables.push(variable.text.to_owned());
                    if context != "range" || pipe.variables.len() > 1 {
                        return Err(Fault::new(token.at, format!("too many variables in {context}")));
                    }
                    let next = self.peek_past_space()?;
                    if !matches!(next.kind, Kind::Variable | Kind::Right | Kind::Close) {
                        return Err(unexpected(next, "the variables of a range"));
                    }
                }
                _ => {
                    // An operand, not a declaration.
                    self.next = start;
                    return Ok(());
                }
            }
        }
    }

    /// Operands up to a `|`, which is taken, or to the end of the pipeline.
    fn command(&mut self) -> Result<Vec<Arg>, Fault> {
        let mut args = Vec::new();
        loop {
            if let Some(arg) = self.operand()? {
                args.push(arg);
            }
            let token = self.take()?;
            match token.kind {
                Kind::Space => {}
                Kind::Right | Kind::Close => {
                    self.next -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(unexpected(token, "an operand")),
            }
        }
        Ok(args)
    }

    /// A term with the fields that follow it; `None` if none is next.
    fn operand(&mut self) -> Result<Option<Arg>, Fault> {
        let Some(mut arg) = self.term()? else { return Ok(None) };
        let mut fields = Vec::new();
        while self.peek()?.kind == Kind::Field {
            fields.push(self.take()?.text[1..].to_owned());
        }
        if fields.is_empty() {
            return Ok(Some(arg));
        }
        match &mut arg.operand {
            Operand::Field(names) | Operand::Variable(_, names) => names.append(&mut fields),
            Operand::Function(_) | Operand::Pipe(_) | Operand::Chain(..) => {
                let at = arg.at;
                arg = Arg { at, operand: Operand::Chain(Box::new(arg), fields) };
            }
            _ => return Err(Fault::new(arg.at, format!("field {} of a constant", fields.join(".")))),
        }
        Ok(Some(arg))
    }

    fn term(&mut self) -> Result<Option<Arg>, Fault> {
        let token = self.peek_past_space()?;
        let at = token.at;
        let bad = || Fault::new(at, format!("{} is no valid constant", token.text));
        self.next += 1;
        let operand = match token.kind {
            Kind::Name => {
                let is_known = match self.functions {
                    Functions::Gos => funcs::exists(token.text),
                    Functions::GoReleasers => goreleaser::exists(token.text),
                };
                if !is_known {
                    let which = match self.functions == Functions::GoReleasers
                        && goreleaser::is_left_out(token.text)
                    {
                        true => "gimg has no function",
                        false => "there is no function",
                    };
                    return Err(Fault::new(at, format!("{which} {}", token.text)));
                }
                Operand::Function(token.text.to_owned())
            }
            Kind::Dot => Operand::Dot,
            Kind::Nil => Operand::Nil,
            Kind::Bool => Operand::Bool(token.text == "true"),
            Kind::Variable => {
                if !self.variables.iter().any(|v| v == token.text) {
                    return Err(Fault::new(at, format!("{} isn't declared", token.text)));
                }
                Operand::Variable(token.text.to_owned(), Vec::new())
            }
            Kind::Field => Operand::Field(vec![token.text[1..].to_owned()]),
            Kind::Char => Operand::Number(Number::Int(literal::character(token.text).ok_or_else(bad)?)),
            Kind::Number => Operand::Number(literal::number(token.text).map_err(|why| Fault::new(at, why))?),
            Kind::Quoted | Kind::Raw => Operand::Text(literal::unquote(token.text).ok_or_else(bad)?.into()),
            Kind::Open => {
                let pipe = self.nested(at, |p| p.pipe("parentheses", Kind::Close))?;
                Operand::Pipe(Box::new(pipe))
            }
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Arg { at, operand }))
    }
}

/// The name in a define, template or block.
fn template_name(token: Token<'_>) -> Result<Vec<u8>, Fault> {
    if !matches!(token.kind, Kind::Quoted | Kind::Raw) {
        return Err(unexpected(token, "the name of a template"));
    }
    literal::unquote(token.text).ok_or_else(|| Fault::new(token.at, "the name is no valid string"))
}

fn unexpected(token: Token<'_>, context: &str) -> Fault {
    let why = match token.kind {
        Kind::End => format!("the end comes too early in {context}"),
        Kind::Space => format!("a blank can't stand in {context}"),
        _ => format!("{} can't stand in {context}", token.text.trim()),
    };
    Fault::new(token.at, why)
}
