//! Where things were measured.

use std::fs;

use serde::{Deserialize, Serialize};

/// A machine, as far as it decides speed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's name, or its architecture where the system tells no name.
    pub(crate) processor: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The operating system.
    pub(crate) system: String,
    /// Memory in whole GB, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_gigabytes: Option<u64>,
    /// The wider ones of its instruction sets: processors of one name may differ in them, and in
    /// speed several times over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) instructions: Vec<String>,
}

/// Instruction sets that speed depends on, as `/proc/cpuinfo` calls them.
const INSTRUCTIONS: [&str; 8] =
    ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm"];

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(&read("/proc/cpuinfo"), &read("/proc/meminfo"), cores)
    }

    /// What the system's tables tell; empty ones tell nothing.
    fn of(cpuinfo: &str, meminfo: &str, cores: usize) -> Self {
        let told = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim())
        };
        let flags: Vec<&str> =
            told("flags").or(told("Features")).unwrap_or_default().split_whitespace().collect();
        let instructions = INSTRUCTIONS.iter().filter(|name| flags.contains(name));
        let kibibytes = meminfo.lines().find_map(|line| {
            line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok()
        });
        Self {
            processor: told("model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cores,
            system: std::env::consts::OS.to_owned(),
            memory_gigabytes: kibibytes.map(|count| (count * 1024.0 / 1e9).round() as u64),
            instructions: instructions.map(|&name| name.to_owned()).collect(),
        }
    }
}

/// Ticks of the kernel's clocks in a second: what it counts CPU time in for everybody.
const TICKS: f64 = 100.0;

/// The CPU time that all cores have spent on anything since the machine started, where the system
/// tells it; time that a hypervisor gave to others is part of it.
pub(crate) fn busy_seconds() -> Option<f64> {
    busy_of(&fs::read_to_string("/proc/stat").ok()?)
}

fn busy_of(stat: &str) -> Option<f64> {
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user.
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<f64>> =
        line.split_whitespace().take(8).map(|number| number.parse().ok()).collect();
    let ticks = ticks.filter(|ticks| ticks.len() == 8)?;
    Some((ticks.iter().sum::<f64>() - ticks[3] - ticks[4]) / TICKS)
}

/// The most memory that this process ever had, in bytes, where the system tells it: the kernel
/// counts it as part of every process that is started from here.
pub(crate) fn own_peak_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn processors_of_one_name_are_told_apart() {
        let cpuinfo = |flags: &str| {
            format!(
                "processor\t: 0\nmodel name\t: A B\nflags\t\t: fpu {flags} sse2\n\nprocessor: 1\n"
            )
        };
        let machine = |flags| Machine::of(&cpuinfo(flags), "MemTotal:  24000000 kB\n", 2);
        let narrow = machine("avx2");
        assert_eq!((narrow.processor.as_str(), narrow.memory_gigabytes), ("A B", Some(25)));
        assert_eq!(narrow.instructions, ["avx2"]);
        assert_eq!(
            machine("avx512f avx512_vnni avx2").instructions,
            ["avx2", "avx512f", "avx512_vnni"]
        );
        let unknown = Machine::of("", "", 2);
        assert_eq!(unknown.processor, std::env::consts::ARCH);
        assert!(unknown.instructions.is_empty() && unknown.memory_gigabytes.is_none());
    }

    #[test]
    fn idle_time_is_no_busy_time() {
        let stat = "cpu  300 20 100 5000 7000 1 2 77 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy_of(stat), Some(5.0));
        assert_eq!(busy_of("cpu  1 2 3\n"), None);
        assert_eq!(busy_of("intr 5"), None);
        let before = busy_seconds().unwrap();
        assert!(before > 0.0 && busy_seconds().unwrap() >= before);
    }

    #[test]
    fn the_peak_is_the_highest_so_far() {
        let before = own_peak_bytes().unwrap();
        assert!(before > 500_000, "{before}");
        let pages = vec![1_u8; 100_000_000];
        assert!(pages.iter().all(|&byte| byte == 1));
        drop(pages);
        assert!(own_peak_bytes().unwrap() > 100_000_000);
    }
}
