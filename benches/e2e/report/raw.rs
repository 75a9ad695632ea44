//! raw.tsv: facts of the run as `# name: value`, a header, then a line for every timed round.

/// The columns, in order.
const HEADER: &str = "subject\tjob\tplatforms\tdestination\tround\tcontender\twall_s\tuser_s\tsys_s\tmaxrss_kb\trequests\tbytes_sent\tload1";

/// What was measured of one process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Numbers {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of CPU, with all children, in user and system mode.
    pub(crate) cpu: Option<(f64, f64)>,
    /// The largest resident size of the tool alone, in KiB.
    pub(crate) memory: Option<u64>,
    /// HTTP requests to the registry.
    pub(crate) requests: Option<u64>,
    /// Bytes to the registry, with HTTP's own.
    pub(crate) sent: Option<u64>,
}

/// One timed round of one contender.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) subject: String,
    pub(crate) job: String,
    pub(crate) platforms: String,
    pub(crate) destination: String,
    pub(crate) round: usize,
    pub(crate) contender: String,
    /// Nothing if the contender failed.
    pub(crate) numbers: Option<Numbers>,
    /// The machine's load just before.
    pub(crate) load: Option<f64>,
}

/// A run: its facts and samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Raw {
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) samples: Vec<Sample>,
}

/// The head of a raw.tsv.
pub(crate) fn head(facts: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in facts {
        text.push_str(&format!("# {name}: {}\n", value.replace(['\n', '\t'], " ")));
    }
    text.push_str(HEADER);
    text.push('\n');
    text
}

/// One line of a raw.tsv.
pub(crate) fn line(sample: &Sample) -> String {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let seconds = |value: f64| format!("{value:.3}");
    let numbers = sample.numbers.clone().unwrap_or_default();
    let fields = [
        sample.subject.clone(),
        sample.job.clone(),
        sample.platforms.clone(),
        sample.destination.clone(),
        sample.round.to_string(),
        sample.contender.clone(),
        sample.numbers.as_ref().map_or_else(|| "failed".to_owned(), |n| seconds(n.wall)),
        known(numbers.cpu.map(|(user, _)| seconds(user))),
        known(numbers.cpu.map(|(_, sys)| seconds(sys))),
        known(numbers.memory.map(|n| n.to_string())),
        known(numbers.requests.map(|n| n.to_string())),
        known(numbers.sent.map(|n| n.to_string())),
        known(sample.load.map(|n| format!("{n:.2}"))),
    ];
    fields.join("\t") + "\n"
}

/// Whether this is a raw.tsv of today's form; older runs have other columns.
pub(crate) fn is_current(text: &str) -> bool {
    text.lines().find(|line| !line.starts_with('#')) == Some(HEADER)
}

/// Reads a raw.tsv; an error names the line.
pub(crate) fn parse(text: &str) -> Result<Raw, String> {
    let mut raw = Raw::default();
    let mut header = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(fact) = line.strip_prefix("# ") {
            let (name, value) = fact.split_once(": ").unwrap_or((fact, ""));
            raw.facts.push((name.to_owned(), value.to_owned()));
        } else if !header {
            header = line == HEADER;
            if !header {
                return Err(format!("line {}: not the header of raw.tsv", number + 1));
            }
        } else {
            raw.samples.push(sample(line).map_err(|e| format!("line {}: {e}", number + 1))?);
        }
    }
    if header { Ok(raw) } else { Err("it has no header".to_owned()) }
}

fn sample(line: &str) -> Result<Sample, String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [
        subject,
        job,
        platforms,
        destination,
        round,
        contender,
        wall,
        user,
        sys,
        memory,
        requests,
        sent,
        load,
    ] = fields[..]
    else {
        return Err(format!("{} fields instead of {}", fields.len(), HEADER.split('\t').count()));
    };
    let numbers = if wall == "failed" {
        None
    } else {
        let cpu = number::<f64>(user)?.zip(number::<f64>(sys)?);
        let wall = number(wall)?.ok_or("no time")?;
        Some(Numbers { wall, cpu, memory: number(memory)?, requests: number(requests)?, sent: number(sent)? })
    };
    Ok(Sample {
        subject: subject.to_owned(),
        job: job.to_owned(),
        platforms: platforms.to_owned(),
        destination: destination.to_owned(),
        round: number(round)?.ok_or("no round")?,
        contender: contender.to_owned(),
        numbers,
        load: number(load)?,
    })
}

fn number<T: std::str::FromStr>(field: &str) -> Result<Option<T>, String> {
    if field == "-" {
        return Ok(None);
    }
    field.parse().map(Some).map_err(|_| format!("`{field}` is no number"))
}
