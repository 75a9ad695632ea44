//! What is measured: the rows, in order, with how often each and about how long it takes. Data only.

use crate::trees::{self, Subject};

/// Which server is the remote cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keeper {
    /// nginx with WebDAV: Bazel's protocol over HTTP.
    Http,
    /// BuildGrid: the Remote Execution API over gRPC.
    Grpc,
    /// The registry, with packs.
    Packs,
}

/// What happens between two builds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Job {
    /// Nothing is there but the downloaded modules.
    Cold,
    /// Nothing.
    NoOp,
    /// One line in the main package.
    MainChanged,
    /// One line in a package that much of the module imports.
    DeepChanged,
    /// One line of a data file.
    KodataChanged,
    /// Nothing is there but the downloaded modules, and on a server what another machine compiled.
    Remote {
        /// Which server.
        keeper: Keeper,
        /// How far away the server is: how long its answers are held back, in milliseconds.
        latency: u32,
    },
    /// A new checkout and empty caches; the image of the commit before is in the registry.
    Fresh {
        /// git's state goes into the program.
        stamped: bool,
        /// A commit since then that changes no input.
        commit: bool,
    },
}

impl Job {
    /// Its name in tables and for ONLY.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Job::Cold => "cold",
            Job::NoOp => "no-op",
            Job::MainChanged => "main-changed",
            Job::DeepChanged => "deep-changed",
            Job::KodataChanged => "kodata-changed",
            Job::Remote { keeper, latency } => match (keeper, latency) {
                (Keeper::Http, 0) => "remote-cache",
                (Keeper::Http, 5) => "remote-cache+5ms",
                (Keeper::Http, _) => "remote-cache+30ms",
                (Keeper::Grpc, 0) => "remote-cache-grpc",
                (Keeper::Grpc, 5) => "remote-cache-grpc+5ms",
                (Keeper::Grpc, _) => "remote-cache-grpc+30ms",
                (Keeper::Packs, 0) => "remote-cache-oci",
                (Keeper::Packs, 5) => "remote-cache-oci+5ms",
                (Keeper::Packs, _) => "remote-cache-oci+30ms",
            },
            Job::Fresh { stamped: false, commit: false } => "fresh",
            Job::Fresh { stamped: true, commit: false } => "fresh-stamped",
            Job::Fresh { stamped: false, commit: true } => "fresh-new-commit",
            Job::Fresh { stamped: true, commit: true } => "fresh-new-commit-stamped",
        }
    }

    /// Whether the job begins with caches that know the subject.
    pub(crate) fn is_warm(self) -> bool {
        !matches!(self, Job::Cold | Job::Remote { .. } | Job::Fresh { .. })
    }

    /// Whether its first round differs from the others, whatever was built before.
    pub(crate) fn warms_always(self) -> bool {
        matches!(self, Job::NoOp | Job::KodataChanged)
    }
}

/// Where images go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Destination {
    Registry,
    /// The registry behind toxiproxy.
    Slow,
    Layout,
}

impl Destination {
    /// Its name in tables and for ONLY.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Destination::Registry => "registry",
            Destination::Slow => "registry+30ms",
            Destination::Layout => "layout",
        }
    }
}

/// One row of the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) subject: &'static Subject,
    pub(crate) job: Job,
    pub(crate) platforms: &'static str,
    pub(crate) destination: Destination,
    /// Timed rounds.
    pub(crate) rounds: usize,
    /// Who takes part.
    pub(crate) contenders: &'static [&'static str],
    /// About how many seconds one round of all contenders takes, on two cores.
    pub(crate) guess: f64,
}

impl Row {
    /// What ONLY is compared with.
    pub(crate) fn key(&self) -> String {
        let count = self.platforms.split(',').count();
        format!("{}/{}/{}/{count}", self.subject.name, self.job.name(), self.destination.name())
    }

    /// About how many seconds it takes, with `rounds` timed ones.
    pub(crate) fn seconds(&self, rounds: usize) -> f64 {
        self.guess * (rounds + usize::from(self.job.warms_always())) as f64
    }
}

pub(crate) const ONE: &str = "linux/amd64";
pub(crate) const TWO: &str = "linux/amd64,linux/arm64";
pub(crate) const FOUR: &str = "linux/amd64,linux/arm64,linux/arm/v7,linux/s390x";

/// What a whole run measures. Each part has its own command, runs, table and plot: both together take too long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    /// A machine that has built before: `make bench`.
    Again,
    /// A machine where nothing is but the downloaded modules: `make bench-empty`.
    Empty,
}

impl Part {
    /// All.
    pub(crate) const ALL: [Part; 2] = [Part::Again, Part::Empty];

    /// Its name, as it stands in its marks in `benches/README.md` and in `make bench-list`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Again => "e2e",
            Part::Empty => "empty",
        }
    }

    /// Where its runs are, below `benches/e2e`.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Part::Again => "runs",
            Part::Empty => "runs-empty",
        }
    }

    /// Its rows, in order.
    pub(crate) fn rows(self) -> Vec<Row> {
        match self {
            Part::Again => again(),
            Part::Empty => empty(),
        }
    }
}

const ALL: &[&str] = &["gimg", "ko", "ko-kocache", "go"];
/// With an empty cache KOCACHE changes nothing.
const COLD: &[&str] = &["gimg", "ko", "go"];
const GIMG: &[&str] = &["gimg"];

use Destination::{Layout, Registry, Slow};
use Job::{Cold, DeepChanged, KodataChanged, MainChanged, NoOp};

/// Warm jobs of one subject follow its cold one.
fn again() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |subject, job, platforms, destination, rounds, guess| {
        let contenders = if job == Cold { COLD } else { ALL };
        rows.push(Row { subject, job, platforms, destination, rounds, contenders, guess });
    };

    let hello = &trees::HELLO;
    add(hello, Cold, ONE, Registry, 1, 24.0);
    for (destination, platforms) in
        [(Registry, ONE), (Slow, ONE), (Layout, ONE), (Registry, TWO), (Registry, FOUR)]
    {
        let count = platforms.split(',').count() as f64;
        add(hello, NoOp, platforms, destination, 5, 0.4 + 0.5 * count);
        add(hello, MainChanged, platforms, destination, 5, 1.0 + 1.4 * count);
    }
    add(hello, DeepChanged, ONE, Registry, 5, 2.6);
    add(hello, KodataChanged, ONE, Registry, 5, 1.2);
    add(hello, KodataChanged, ONE, Slow, 5, 3.0);

    let ko = &trees::KO;
    add(ko, Cold, ONE, Registry, 1, 190.0);
    add(ko, NoOp, ONE, Registry, 5, 4.0);
    add(ko, MainChanged, ONE, Registry, 3, 11.0);
    add(ko, DeepChanged, ONE, Registry, 3, 14.0);
    add(ko, KodataChanged, ONE, Registry, 3, 5.0);
    add(ko, MainChanged, ONE, Slow, 3, 12.0);
    add(ko, MainChanged, ONE, Layout, 3, 11.0);
    add(ko, NoOp, TWO, Registry, 3, 6.0);
    add(ko, MainChanged, TWO, Registry, 3, 18.0);
    add(ko, NoOp, FOUR, Registry, 3, 12.0);
    add(ko, MainChanged, FOUR, Registry, 1, 40.0);

    let caddy = &trees::CADDY;
    add(caddy, Cold, ONE, Registry, 1, 260.0);
    for destination in [Registry, Slow, Layout] {
        add(caddy, NoOp, ONE, destination, 5, 5.5);
        add(caddy, MainChanged, ONE, destination, 3, 16.0);
    }
    add(caddy, DeepChanged, ONE, Registry, 2, 75.0);
    add(caddy, KodataChanged, ONE, Registry, 3, 7.0);
    add(caddy, NoOp, TWO, Registry, 3, 7.0);
    add(caddy, MainChanged, TWO, Registry, 3, 23.0);

    let serving = &trees::SERVING;
    add(serving, NoOp, ONE, Registry, 3, 25.0);
    add(serving, MainChanged, ONE, Registry, 2, 35.0);
    add(serving, DeepChanged, ONE, Registry, 1, 80.0);

    for (subject, count, rounds) in [
        (&trees::IMAGES_1, 1.0, 3),
        (&trees::IMAGES_4, 4.0, 3),
        (&trees::IMAGES_8, 8.0, 3),
        (&trees::IMAGES_16, 16.0, 2),
        (&trees::IMAGES_64, 64.0, 1),
    ] {
        add(subject, NoOp, ONE, Registry, rounds, 0.4 + 0.4 * count);
        add(subject, DeepChanged, ONE, Registry, rounds, 0.5 + 1.0 * count);
    }
    add(&trees::IMAGES_8, MainChanged, ONE, Registry, 3, 6.0);

    for (subject, megabytes, rounds) in
        [(&trees::KODATA_10, 10.0, 3), (&trees::KODATA_100, 100.0, 3), (&trees::KODATA_300, 300.0, 2)]
    {
        add(subject, NoOp, ONE, Registry, rounds, 0.8 + 0.06 * megabytes);
        add(subject, KodataChanged, ONE, Registry, rounds, 0.8 + 0.06 * megabytes);
    }
    rows
}

/// Beside the cold build of each subject, which the others do in every row, what a server makes of it.
fn empty() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |subject, job, contenders, rounds, guess| {
        let (platforms, destination) = (ONE, Registry);
        rows.push(Row { subject, job, platforms, destination, rounds, contenders, guess });
    };
    for (subject, rounds, guess) in [(&trees::HELLO, 3, 24.0), (&trees::KO, 2, 160.0)] {
        add(subject, Cold, COLD, rounds, guess);
        for keeper in [Keeper::Http, Keeper::Grpc, Keeper::Packs] {
            for latency in [0, 5, 30] {
                add(subject, Job::Remote { keeper, latency }, GIMG, 3, guess / 20.0);
            }
        }
        for (stamped, commit) in [(false, false), (true, false), (false, true)] {
            add(subject, Job::Fresh { stamped, commit }, GIMG, 3, guess / 20.0);
        }
        // The only one where all is compiled again.
        add(subject, Job::Fresh { stamped: true, commit: true }, GIMG, 1, guess / 3.0);
    }
    rows
}
