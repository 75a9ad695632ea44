//! A recipe as a shell script: Go's own commands that build an image's programs, and the digests that they must have.
//! Pure.

use crate::oci::Digest;
use crate::plan::recipe::Recipe;
use crate::plan::{CompileGroup, naming};

/// The script that builds the programs of `name` by `recipe`, whose compiles are `groups`, and compares their digests:
/// `digests` has them by platform and package.
#[must_use]
pub fn script(
    name: &str,
    recipe: &Recipe,
    groups: &[CompileGroup],
    digests: &[(String, String, Digest)],
) -> String {
    let mut text = format!(
        "#!/bin/sh\n\
         # Builds the programs of {name}\n\
         # from their sources by Go's own commands, and compares their digests.\n\
         set -eu\n\
         work=$(mktemp -d)\n\
         trap 'rm -rf \"$work\"' EXIT\n\
         # Where modules come from is yours to say; what else reaches a program is said below.\n\
         for name in GOPROXY GOPRIVATE GONOPROXY GONOSUMDB GOSUMDB GOMODCACHE GOCACHE; do\n  \
         value=$(go env \"$name\")\n  export \"$name=$value\"\ndone\n"
    );
    let source = &recipe.source;
    match (&source.module, source.revision.as_ref().filter(|_| !source.modified)) {
        (Some(module), _) => text.push_str(&fetched(module, recipe)),
        (None, Some(revision)) => {
            match &source.repository {
                Some(url) => text.push_str(&format!(
                    "# Another repository with the commit can be named: its URL or directory.\n\
                     from={}\n[ $# -eq 0 ] || from=$1\n",
                    quoted(url)
                )),
                None => text.push_str("from=${1:?the repository: its URL or directory}\n"),
            }
            text.push_str(&format!(
                "git clone --quiet --no-checkout -- \"$from\" \"$work/sources\"\n\
                 git -C \"$work/sources\" -c advice.detachedHead=false checkout --quiet --detach {} --\n",
                quoted(revision)
            ));
        }
        (None, None) => {
            text.push_str("cp -R -- \"${1:?the directory of the sources}\" \"$work/sources\"\n");
        }
    }
    for group in groups {
        let platform = group.target.platform.to_string();
        let dir = group.dir.strip_prefix("/").unwrap_or(&group.dir).to_string_lossy().into_owned();
        let dir = if dir.is_empty() { ".".to_owned() } else { dir };
        let out = format!("\"$work\"/{}", quoted(&platform.replace(['/', ':'], "-")));
        text.push_str(&format!("\n# {platform}\n(\n  cd \"$work/sources\"/{}\n  env", quoted(&dir)));
        let mut variables = vec![
            ("GOENV".to_owned(), "off".to_owned()),
            ("GOTOOLCHAIN".to_owned(), recipe.go.version.clone()),
            ("GOFLAGS".to_owned(), String::new()),
        ];
        variables.extend(recipe.go.settings.clone());
        variables.extend(group.target.environment.iter().cloned());
        for (key, value) in &variables {
            text.push_str(&format!(" {key}={}", quoted(value)));
        }
        match (recipe.go.workspace.as_deref(), &source.module) {
            (Some("off"), _) | (_, Some(_)) => text.push_str(" GOWORK=off"),
            (Some(path), None) => text.push_str(&format!(" GOWORK=\"$work/sources\"/{}", quoted(path))),
            (None, None) => {}
        }
        text.push_str(" \\\n    go build");
        group.flags.iter().for_each(|flag| text.push_str(&format!(" {}", quoted(flag))));
        text.push_str(&format!(" -o {out}/ --"));
        group.packages.iter().for_each(|p| text.push_str(&format!(" {}", quoted(&p.import_path))));
        text.push_str("\n)\n");
        for package in &group.packages {
            let is_it = |d: &&(String, String, Digest)| d.0 == platform && d.1 == package.import_path;
            if let Some((_, _, digest)) = digests.iter().find(is_it) {
                let file = quoted(&naming::file(&package.import_path, &group.target.platform.os));
                text.push_str(&format!("(cd {out} && echo {}\"  \"{file} | sha256sum -c -)\n", digest.hex()));
            }
        }
    }
    text
}

/// The lines that fetch a module's version, as a module that requires it and nothing else.
fn fetched(module: &str, recipe: &Recipe) -> String {
    let packages: Vec<String> = recipe.programs.iter().map(|p| quoted(&p.package)).collect();
    let version = module.rsplit_once('@').map_or("latest", |(_, version)| version);
    let get: Vec<String> = packages.iter().map(|p| format!("{p}@{}", quoted(version))).collect();
    format!(
        "mkdir \"$work/sources\"\n\
         (\n  cd \"$work/sources\"\n  export GOENV=off GOFLAGS=-mod=mod GOWORK=off GOTOOLCHAIN={}\n  \
         go mod init gimg.invalid/module\n  go get {}\n  \
         go mod edit -go=\"$(go list -f '{{{{.Module.GoVersion}}}}' {})\"\n)\n",
        quoted(&recipe.go.version),
        get.join(" "),
        packages.first().map_or("", String::as_str),
    )
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        for (text, word) in [
            ("-trimpath", "-trimpath"),
            ("", "''"),
            ("-ldflags=-s -X 'a.b=c d'", r"'-ldflags=-s -X '\''a.b=c d'\'''"),
            ("$(rm -rf x)\n`y`", "'$(rm -rf x)\n`y`'"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
