//! The arguments sorted into questions for `go list`: one for each directory where `go` must run.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// One question: patterns to list in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where `go list` runs.
    pub dir: PathBuf,
    /// What it lists.
    pub patterns: Vec<String>,
    /// For each pattern, the argument it came from (an index).
    pub arguments: Vec<usize>,
}

/// What the rim knows about modules: pure code asks it.
pub struct Modules<'a> {
    /// The directory of the nearest go.mod at or above a directory.
    pub nearest: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// The directories of the modules that `go` sees as main in the working directory (several in a workspace).
    pub main: &'a [PathBuf],
    /// The directories of import paths that the configuration file has entries for.
    pub known: &'a BTreeMap<String, PathBuf>,
}

/// Whether an argument names a directory (`.`, `./cmd/...`, `/abs`) and not an import path.
#[must_use]
pub fn is_local(argument: &str) -> bool {
    let first = Path::new(argument).components().next();
    argument.starts_with('.') && matches!(first, Some(Component::CurDir | Component::ParentDir))
        || Path::new(argument).is_absolute()
}

/// Sorts `arguments` given in `cwd` into queries. A directory in another module than the one at `cwd`
/// (a nested module, say) is listed from that module.
#[must_use]
pub fn queries(arguments: &[String], cwd: &Path, modules: &Modules<'_>) -> Vec<Query> {
    let mut queries: Vec<Query> = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        let (dir, pattern) = place(argument, cwd, modules);
        match queries.iter_mut().find(|q| q.dir == dir) {
            Some(query) => {
                query.patterns.push(pattern);
                query.arguments.push(index);
            }
            None => queries.push(Query { dir, patterns: vec![pattern], arguments: vec![index] }),
        }
    }
    queries
}

/// Where an argument is listed, and as which pattern.
fn place(argument: &str, cwd: &Path, modules: &Modules<'_>) -> (PathBuf, String) {
    // `go list` answers for `./cmd/` as `./cmd`.
    let trimmed = argument.trim_end_matches('/');
    let argument = if is_local(argument) && !trimmed.is_empty() { trimmed } else { argument };
    let as_is = || (cwd.to_owned(), argument.to_owned());
    let (path, wild) = match argument.find("...") {
        Some(at) => (argument[..at].trim_end_matches('/'), true),
        None => (argument, false),
    };
    let directory = match modules.known.get(argument) {
        Some(directory) => directory.clone(),
        None if is_local(argument) => normalise(&cwd.join(path)),
        None => return as_is(),
    };
    match (modules.nearest)(&directory) {
        Some(module) if !modules.main.contains(&module) => {
            let below = directory.strip_prefix(&module).unwrap_or(Path::new(""));
            let mut pattern = String::from(".");
            for part in below.components() {
                pattern.push('/');
                pattern.push_str(&part.as_os_str().to_string_lossy());
            }
            (module, if wild { format!("{pattern}/...") } else { pattern })
        }
        _ => as_is(),
    }
}

/// The path without `.` and `..`, by name only.
#[must_use]
pub fn normalise(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_modules_are_listed_from_their_own_directory() {
        let nearest = |dir: &Path| {
            let nested = Path::new("/r/sub");
            Some(if dir.starts_with(nested) { nested.to_owned() } else { PathBuf::from("/r") })
        };
        let main = [PathBuf::from("/r")];
        let known = BTreeMap::from([("example.com/known".to_owned(), PathBuf::from("/r/sub/cmd/k"))]);
        let modules = Modules { nearest: &nearest, main: &main, known: &known };
        let arguments =
            ["./cmd/a/", "example.com/x", "./sub/cmd/...", "sub", "../r/sub", "example.com/known"];
        let arguments = arguments.map(str::to_owned);
        let queries = queries(&arguments, Path::new("/r"), &modules);
        assert_eq!(queries[0].patterns, ["./cmd/a", "example.com/x", "sub"]);
        assert_eq!(
            (queries[1].dir.as_path(), &queries[1].arguments[..]),
            (Path::new("/r/sub"), &[2, 4, 5][..])
        );
        assert_eq!(queries[1].patterns, ["./cmd/...", ".", "./cmd/k"]);
    }
}
