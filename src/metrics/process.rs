//! The process itself, under the names that Prometheus' own libraries use.

use std::fs;

/// What the kernel says of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    /// Seconds of CPU time.
    pub(super) cpu: Option<f64>,
    /// Bytes.
    pub(super) resident: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) most_files: Option<u64>,
}

/// Clock ticks in a second, as `/proc` counts them: the same on every architecture that Linux is built for today.
const TICKS: f64 = 100.0;

impl Process {
    /// As it is now. What cannot be read is left out.
    pub(super) fn read() -> Self {
        let file = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self {
            cpu: cpu(&file("stat")),
            resident: resident(&file("status")),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            most_files: most_files(&file("limits")),
        }
    }
}

/// User and system time, which are the 14th and 15th field. The second, a name in brackets, may have blanks in it.
fn cpu(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map_while(|field| field.parse::<f64>().ok());
    Some((fields.next()? + fields.next()?) / TICKS)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The soft limit; `None` as well if there is none.
fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_read_of_this_process() {
        let Process { cpu, resident, open_files, most_files } = Process::read();
        assert!(cpu.is_some());
        assert!(resident.is_some_and(|bytes| bytes > 1 << 20), "{resident:?}");
        assert!(open_files.is_some_and(|files| files >= 3), "{open_files:?}");
        assert!(most_files.is_some_and(|most| most >= 64), "{most_files:?}");
    }

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let stat = "7 (nun) cio) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(cpu(""), None);
    }
}
