//! A server in a process of its own, from its start to its end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::serve::SERVE;

/// The process; killed when it is dropped.
pub struct Server {
    process: Child,
    pub address: String,
}

impl Server {
    /// Starts this program again, as a server.
    pub fn start(args: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .arg(SERVE)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut address = String::new();
        let out = process.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut address).expect("its address");
        Self {
            process,
            address: address.trim().to_owned(),
        }
    }

    /// Memory that it has in use, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.expect("its memory")
    }

    /// Processor time that it has used, in seconds.
    pub fn seconds_used(&self) -> f64 {
        seconds_of(&self.proc("stat"))
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).expect("a running process")
    }
}

/// Processor time that this process has used, in seconds.
pub fn own_seconds_used() -> f64 {
    seconds_of(&std::fs::read_to_string("/proc/self/stat").expect("this process"))
}

/// Fields 14 and 15 of a `stat` file: ticks of a hundredth of a second in the program and in the kernel.
fn seconds_of(stat: &str) -> f64 {
    let behind_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = behind_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
