//! Runs a contender and measures it: time, CPU, and the memory of the tool alone.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::Result;
use crate::report::raw::Numbers;

/// How often the memory is asked for.
const PACE: Duration = Duration::from_millis(10);

/// Runs the commands one after the other, with what they say in a file; an error if one of them fails.
pub(crate) fn run(commands: Vec<Command>, log: &Path) -> Result<Numbers> {
    let said = |e: std::io::Error| format!("{}: {e}", log.display());
    let file = File::create(log).map_err(said)?;
    let before = cpu();
    let watcher = Watcher::start();
    let start = Instant::now();
    for mut command in commands {
        command.stdout(file.try_clone().map_err(said)?).stderr(file.try_clone().map_err(said)?);
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
        watcher.watch(child.id());
        let status = child.wait().map_err(|e| format!("{name}: {e}"))?;
        if !status.success() {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            return Err(format!("{name}: {status}: {}", crate::trees::tail(&text)));
        }
    }
    let wall = start.elapsed().as_secs_f64();
    let spent = |(after, before): ((f64, f64), (f64, f64))| (after.0 - before.0, after.1 - before.1);
    let cpu = cpu().zip(before).map(spent);
    Ok(Numbers { wall, cpu, memory: watcher.peak(), requests: None, sent: None })
}

/// User and system seconds of all children that have ended, with their own. Linux counts in hundredths.
fn cpu() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before may have spaces; user and system time of children are fields 16 and 17.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok());
    Some((ticks(13)? / 100.0, ticks(14)? / 100.0))
}

/// The machine's load of the last minute.
pub(crate) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// A thread that looks at a process until the next one comes. Waiting is not its work, so it costs no time.
struct Watcher {
    next: mpsc::Sender<u32>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Option<u64>>,
}

impl Watcher {
    fn start() -> Self {
        let (next, processes) = mpsc::channel::<u32>();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = None;
            let mut process = None;
            while !stopped.load(Ordering::Relaxed) {
                process = processes.try_iter().last().or(process);
                peak = peak.max(process.and_then(resident));
                std::thread::sleep(PACE);
            }
            peak
        });
        Watcher { next, stop, thread }
    }

    fn watch(&self, process: u32) {
        // It only ends with `peak`.
        let _ = self.next.send(process);
    }

    fn peak(self) -> Option<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().flatten()
    }
}

/// The largest resident size that a process ever had, in KiB; nothing when it has ended.
fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
