//! Subjects in git, for jobs on a machine that has just checked them out.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::settings::command;
use crate::trees::{Tree, output, write};

/// A repository with a subject, and where its checkouts go.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The tree that is committed.
    pub(crate) origin: Tree,
    checkout: PathBuf,
}

impl Checkout {
    /// The repository of one job on a subject; made from its tree with a first commit, if there is none.
    pub(crate) fn of(work: &Path, job: &str, tree: &Tree) -> Result<Self> {
        let dir = work.join("git").join(format!("{}-{job}", tree.subject.name));
        let checkout = Checkout { origin: tree.at(&dir.join("origin")), checkout: dir.join("checkout") };
        if !checkout.origin.dir.exists() {
            std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            output(command("cp").arg("-R").arg(&tree.dir).arg(&checkout.origin.dir))?;
            // `-mod=mod` may complete go.mod and go.sum, which would make the checkout dirty.
            output(
                command("go").args(["list", "-deps"]).args(&tree.packages).current_dir(&checkout.origin.dir),
            )?;
            checkout.git(&["init", "-q", "-b", "main"])?;
            checkout.commit("first")?;
        }
        Ok(checkout)
    }

    /// A commit that changes a text that is no input of any build.
    pub(crate) fn commit(&self, text: &str) -> Result<()> {
        write(&self.origin.dir.join("BENCH.md"), &format!("{text}\n"))?;
        self.git(&["add", "-A", "-f"])?;
        self.git(&["commit", "-q", "-m", text])
    }

    /// A new clone.
    pub(crate) fn fresh(&self) -> Result<Tree> {
        crate::remove(&self.checkout)?;
        output(command("git").args(["clone", "-q"]).arg(&self.origin.dir).arg(&self.checkout))?;
        Ok(self.origin.at(&self.checkout))
    }

    fn git(&self, args: &[&str]) -> Result<()> {
        let who =
            ["-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false"];
        output(command("git").args(who).args(args).current_dir(&self.origin.dir)).map(|_| ())
    }
}
