//! What a process holds, from Linux' /proc.

use std::fs;

/// Memory in pages of the process that is resident, in KiB, and its open files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// KiB.
    pub resident: u64,
    /// Open files, sockets among them.
    pub files: usize,
}

/// What a process holds now; `None` when it has gone.
pub fn holds(pid: u32) -> Option<Holds> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Holds { resident, files: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() })
}
