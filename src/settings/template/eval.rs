//! Templates: walking a tree over data, by the rules of Go's text/template with `missingkey=error`.

use super::funcs;
use super::literal::Number;
use super::parse::{Arg, Branch, Node, Operand, Pipe, Trees};
use super::value::Value;
use super::{Fault, Functions, MAX_TEXT, goreleaser};

/// How many nodes, calls and rounds of loops one evaluation may take.
const MAX_STEPS: usize = 10_000;

/// How deep lists of nodes, templates and parentheses may be inside each other while they run.
const MAX_DEPTH: usize = 200;

/// How many bytes all strings made on the way may have.
const MAX_MADE: usize = 16 * MAX_TEXT;

/// What the template writes when given `data`.
pub(super) fn eval(trees: &Trees, data: &Value) -> Result<Vec<u8>, Fault> {
    let mut run = Run { trees, root: data, out: Vec::new(), steps: 0, depth: 0, made: 0 };
    let mut variables = vec![("$", data.clone())];
    run.list(trees.main(), data, &mut variables)?;
    Ok(run.out)
}

/// The variables of a tree; the last one of a name counts.
type Variables<'t> = Vec<(&'t str, Value)>;

/// How a node ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Run<'t> {
    trees: &'t Trees,
    root: &'t Value,
    out: Vec<u8>,
    steps: usize,
    depth: usize,
    made: usize,
}

impl<'t> Run<'t> {
    fn step(&mut self, at: usize) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Fault::new(at, format!("it takes more than {MAX_STEPS} steps")));
        }
        Ok(())
    }

    fn make(&mut self, bytes: usize, at: usize) -> Result<(), Fault> {
        self.made += bytes;
        if self.made > MAX_MADE {
            return Err(Fault::new(at, "it makes too much text"));
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], at: usize) -> Result<(), Fault> {
        if self.out.len() + bytes.len() > MAX_TEXT {
            return Err(Fault::new(at, "its output is too long"));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn deeper<T>(
        &mut self,
        at: usize,
        inner: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::new(at, "it calls itself too deeply"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn list(&mut self, nodes: &'t [Node], dot: &Value, vars: &mut Variables<'t>) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = self.node(node, dot, vars)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'t Node, dot: &Value, vars: &mut Variables<'t>) -> Result<Flow, Fault> {
        match node {
            Node::Text(text) => {
                self.step(0)?;
                self.write(text.as_bytes(), 0)?;
            }
            Node::Action(pipe) => {
                self.step(pipe.at)?;
                let value = self.pipe(pipe, dot, vars)?;
                if pipe.variables.is_empty() {
                    match &value {
                        Value::Nil => self.write(b"<no value>", pipe.at)?,
                        Value::Text(text) => self.write(text, pipe.at)?,
                        other => {
                            let room = MAX_TEXT - self.out.len();
                            let text = funcs::print(std::slice::from_ref(other), room)
                                .map_err(|why| Fault::new(pipe.at, why))?;
                            self.write(&text, pipe.at)?;
                        }
                    }
                }
            }
            Node::If(branch) => return self.branch(branch, false, dot, vars),
            Node::With(branch) => return self.branch(branch, true, dot, vars),
            Node::Range(branch) => {
                let mark = vars.len();
                let result = self.deeper(branch.pipe.at, |run| run.range(branch, dot, vars));
                vars.truncate(mark);
                return result;
            }
            Node::Template { at, name, pipe } => {
                self.step(*at)?;
                let tree = self.trees.get(name).ok_or_else(|| {
                    Fault::new(*at, format!("there is no template {:?}", String::from_utf8_lossy(name)))
                })?;
                let dot = match pipe {
                    Some(pipe) => self.pipe(pipe, dot, vars)?,
                    None => Value::Nil,
                };
                // A template sees none of its caller's variables.
                let mut vars = vec![("$", dot.clone())];
                self.deeper(*at, |run| run.list(tree, &dot, &mut vars))?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn branch(
        &mut self,
        branch: &'t Branch,
        with: bool,
        dot: &Value,
        vars: &mut Variables<'t>,
    ) -> Result<Flow, Fault> {
        self.step(branch.pipe.at)?;
        let mark = vars.len();
        let flow = self.deeper(branch.pipe.at, |run| {
            let value = run.pipe(&branch.pipe, dot, vars)?;
            match (value.truth(), with) {
                (true, true) => run.list(&branch.body, &value, vars),
                (true, false) => run.list(&branch.body, dot, vars),
                (false, _) => run.list(&branch.otherwise, dot, vars),
            }
        })?;
        vars.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, branch: &'t Branch, dot: &Value, vars: &mut Variables<'t>) -> Result<Flow, Fault> {
        let pipe = &branch.pipe;
        self.step(pipe.at)?;
        let over = self.pipe(pipe, dot, vars)?;
        let mark = vars.len();
        let mut round = |run: &mut Self, key: Value, value: Value| -> Result<bool, Fault> {
            run.step(pipe.at)?;
            match (pipe.variables.as_slice(), pipe.assigns) {
                ([], _) => {}
                ([one], true) => set(vars, one, value.clone(), pipe.at)?,
                ([first, second, ..], true) => {
                    set(vars, first, key, pipe.at)?;
                    set(vars, second, value.clone(), pipe.at)?;
                }
                (names, false) => {
                    // The pipeline has just declared them: they are on top.
                    let mut top = vars.iter_mut().rev();
                    if let Some(last) = top.next() {
                        last.1 = value.clone();
                    }
                    if names.len() > 1
                        && let Some(first) = top.next()
                    {
                        first.1 = key;
                    }
                }
            }
            let flow = run.list(&branch.body, &value, vars)?;
            vars.truncate(mark);
            Ok(flow != Flow::Break)
        };
        let mut ran = false;
        match &over {
            Value::Int(_) | Value::Int64(_) | Value::Byte(_) => {
                if pipe.variables.len() > 1 {
                    return Err(Fault::new(pipe.at, "a number gives one variable only"));
                }
                for i in 0..over.integer().unwrap_or_default() {
                    ran = true;
                    let value = match over {
                        Value::Int64(_) => Value::Int64(i),
                        // Below the bound, which is a byte.
                        Value::Byte(_) => Value::Byte(u8::try_from(i).unwrap_or(u8::MAX)),
                        _ => Value::Int(i),
                    };
                    if !round(self, Value::Nil, value)? {
                        break;
                    }
                }
            }
            Value::List(list) => {
                for (i, value) in list.items().iter().enumerate() {
                    ran = true;
                    let key = Value::Int(i64::try_from(i).unwrap_or(i64::MAX));
                    if !round(self, key, value.clone())? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, value) in map.entries() {
                    ran = true;
                    if !round(self, Value::from(key.as_str()), value.clone())? {
                        break;
                    }
                }
            }
            Value::Nil => {}
            other => return Err(Fault::new(pipe.at, format!("range can't go over {}", other.noun()))),
        }
        if ran { Ok(Flow::Next) } else { self.list(&branch.otherwise, dot, vars) }
    }

    fn pipe(&mut self, pipe: &'t Pipe, dot: &Value, vars: &mut Variables<'t>) -> Result<Value, Fault> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, value, dot, vars)?);
        }
        let value = value.unwrap_or_default();
        for name in &pipe.variables {
            if pipe.assigns {
                set(vars, name, value.clone(), pipe.at)?;
            } else {
                self.step(pipe.at)?;
                vars.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// A command, with the value of the one before it in the pipeline.
    fn command(
        &mut self,
        args: &'t [Arg],
        last: Option<Value>,
        dot: &Value,
        vars: &mut Variables<'t>,
    ) -> Result<Value, Fault> {
        let Some((first, rest)) = args.split_first() else { return Ok(Value::Nil) };
        if let Operand::Function(name) = &first.operand {
            return self.call(name, first.at, rest, last, dot, vars);
        }
        if !rest.is_empty() || last.is_some() {
            return Err(Fault::new(first.at, "only a function takes arguments"));
        }
        match &first.operand {
            Operand::Nil => Err(Fault::new(first.at, "nil alone has no value")),
            _ => self.arg(first, dot, vars),
        }
    }

    fn arg(&mut self, arg: &'t Arg, dot: &Value, vars: &mut Variables<'t>) -> Result<Value, Fault> {
        match &arg.operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Bool(b) => Ok(Value::Bool(*b)),
            Operand::Number(Number::Int(i)) => Ok(Value::Int(*i)),
            Operand::Number(Number::Float(f)) => Ok(Value::Float(*f)),
            Operand::Number(Number::Overflow) => Err(Fault::new(arg.at, "the number is too large")),
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Field(names) => self.fields(dot.clone(), names, arg.at),
            Operand::Variable(name, names) => {
                let value = vars.iter().rev().find(|v| v.0 == name);
                let value = value.ok_or_else(|| undefined(name, arg.at))?.1.clone();
                self.fields(value, names, arg.at)
            }
            Operand::Function(name) => self.call(name, arg.at, &[], None, dot, vars),
            Operand::Pipe(pipe) => self.deeper(arg.at, |run| run.pipe(pipe, dot, vars)),
            Operand::Chain(of, names) => {
                let value = self.arg(of, dot, vars)?;
                self.fields(value, names, arg.at)
            }
        }
    }

    /// The value at the end of a chain of fields.
    fn fields(&mut self, from: Value, names: &[String], at: usize) -> Result<Value, Fault> {
        let mut value = from;
        for (i, name) in names.iter().enumerate() {
            let found = match &value {
                Value::Map(map) => map.entries().get(name),
                Value::Nil => return Err(Fault::new(at, format!("there is no .{name} in nothing"))),
                other => {
                    return Err(Fault::new(at, format!("there is no .{name} in {}", other.noun())));
                }
            };
            value = match found {
                Some(found) => found.clone(),
                None => return Err(Fault::new(at, self.missing(&value, &names[..i], name))),
            };
        }
        Ok(value)
    }

    /// Why there is no `name` in `map`, which `path` may lead to.
    fn missing(&self, map: &Value, path: &[String], name: &str) -> String {
        let Value::Map(map) = map else { return format!("there is no .{name}") };
        let same = |value: Option<&Value>| match value {
            Some(Value::Map(other)) => std::ptr::eq(map.entries(), other.entries()),
            _ => false,
        };
        let of_root = |key: &str| match self.root {
            Value::Map(root) => same(root.entries().get(key)),
            _ => false,
        };
        if of_root("Env") {
            return format!("environment variable {name} not set");
        }
        if of_root("GoEnv") {
            return format!("go env has no {name}");
        }
        let place = path.iter().map(|p| format!(".{p}")).collect::<String>();
        let known: Vec<String> = map.entries().keys().take(12).map(|k| format!("{place}.{k}")).collect();
        match known.as_slice() {
            [] => format!("there is no {place}.{name}"),
            known => format!("there is no {place}.{name}; there are {}", known.join(", ")),
        }
    }

    fn call(
        &mut self,
        name: &str,
        at: usize,
        args: &'t [Arg],
        last: Option<Value>,
        dot: &Value,
        vars: &mut Variables<'t>,
    ) -> Result<Value, Fault> {
        self.step(at)?;
        let fault = |why: String| Fault::new(at, format!("{name}: {why}"));
        let is_gos = self.trees.functions == Functions::Gos || !goreleaser::is_own(name);
        funcs::check_count(name, args.len() + usize::from(last.is_some())).map_err(fault)?;
        // These two don't look at what comes after the one that decides.
        if name == "and" || name == "or" {
            let mut value = Value::Nil;
            for arg in args {
                value = self.arg(arg, dot, vars)?;
                if value.truth() == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in args {
            values.push(self.arg(arg, dot, vars)?);
        }
        values.extend(last);
        let value = match is_gos {
            true => funcs::call(name, &values, MAX_TEXT),
            false => goreleaser::call(name, &values, self.root, MAX_TEXT),
        };
        let value = value.map_err(fault)?;
        if let Value::Text(text) = &value {
            self.make(text.len(), at)?;
        }
        Ok(value)
    }
}

/// Overwrites the last variable of this name.
fn set(vars: &mut Variables<'_>, name: &str, value: Value, at: usize) -> Result<(), Fault> {
    let variable = vars.iter_mut().rev().find(|v| v.0 == name);
    variable.ok_or_else(|| undefined(name, at))?.1 = value;
    Ok(())
}

fn undefined(name: &str, at: usize) -> Fault {
    Fault::new(at, format!("{name} isn't set here"))
}
