//! How busy the machine is, where the system tells.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// Looks at the load of the process and of the machine, from time to time.
#[derive(Debug)]
pub struct System {
    at: Instant,
    /// Time of the processors that the process and all processes had, in seconds.
    used: Option<[f64; 2]>,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Processor time a second since the last look: `process`, `machine`.
    pub cpu: BTreeMap<String, f64>,
    /// Bytes: `rss` of the process, `free` of the machine.
    pub memory: BTreeMap<String, u64>,
}

impl Default for System {
    fn default() -> Self {
        System { at: Instant::now(), used: used() }
    }
}

impl System {
    /// The load since the last look; nothing where the system does not tell.
    pub fn look(&mut self) -> Load {
        let (before, passed) = (self.used, self.at.elapsed().as_secs_f64());
        *self = System::default();
        let mut load = Load::default();
        if let (Some(before), Some(now), true) = (before, self.used, passed > 0.0) {
            for (i, name) in ["process", "machine"].into_iter().enumerate() {
                let share = (now[i] - before[i]).max(0.0) / passed;
                load.cpu.insert(name.into(), (share * 1000.0).round() / 1000.0);
            }
        }
        let pages = text("/proc/self/statm").and_then(|text| field(&text, 1));
        if let Some(pages) = pages {
            load.memory.insert("rss".into(), pages as u64 * 4096);
        }
        let free = text("/proc/meminfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
            field(line, 1)
        });
        if let Some(free) = free {
            load.memory.insert("free".into(), free as u64 * 1024);
        }
        load
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn field(text: &str, at: usize) -> Option<f64> {
    text.split_whitespace().nth(at)?.parse().ok()
}

/// Linux counts in hundredths of a second.
fn used() -> Option<[f64; 2]> {
    // The name of the program may hold anything; the fields begin behind its last parenthesis.
    let own = text("/proc/self/stat")?;
    let own = own.rsplit_once(')')?.1.to_string();
    let process = field(&own, 11)? + field(&own, 12)?;
    let all = text("/proc/stat")?;
    let line = all.lines().next()?;
    // user, nice, system, (idle, iowait,) irq, softirq, steal
    let machine: f64 = [1, 2, 3, 6, 7, 8].iter().filter_map(|&at| field(line, at)).sum();
    Some([process / 100.0, machine / 100.0])
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen() {
        let mut system = System::default();
        let begun = Instant::now();
        let mut sum = 0u64;
        while begun.elapsed().as_millis() < 60 {
            sum = std::hint::black_box(sum + 1);
        }
        let load = system.look();
        assert!(load.cpu["process"] > 0.0 && load.cpu["machine"] >= 0.0, "{load:?}");
        assert!(load.memory["rss"] > 100_000 && load.memory["free"] > 0, "{load:?}");
    }
}
