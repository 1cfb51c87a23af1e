//! The real binary as a child process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens: `http://127.0.0.1:<port>`.
    pub url: String,
}

/// What variables begin with that a server reads.
const READ: [&str; 7] = [
    "FLOWSTATE_",
    "OPENAI_",
    "ANTHROPIC_",
    "GOOGLE_",
    "GEMINI_",
    "AI_GATEWAY_",
    "OPENROUTER_",
];

/// A command that starts the server, with its settings from the arguments only.
pub fn command(binary: &str, data: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(binary);
    command.arg("--data-dir").arg(data).args(arguments);
    command
}

/// The binary without arguments, and without variables that it reads.
pub fn bare(binary: &str) -> Command {
    let mut command = Command::new(binary);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if READ.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&variable);
        }
    }
    command
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts the binary on a free port and waits for the line that says where it is.
    pub fn start(binary: &str, data: &Path, arguments: &[&str]) -> Self {
        Self::start_with(binary, data, arguments, &[])
    }

    /// The same, with these variables.
    pub fn start_with(binary: &str, data: &Path, arguments: &[&str], variables: &[(&str, String)]) -> Self {
        let arguments = [&["--listen", "127.0.0.1:0"], arguments].concat();
        let mut command = command(binary, data, &arguments);
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let Some(Ok(line)) = lines.next() else {
            let mut why = String::new();
            let _ = child.stderr.take().expect("stderr").read_to_string(&mut why);
            panic!("the server did not start: {why}");
        };
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("a URL")
            .to_owned();
        // Read on, so that the server never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let errors = BufReader::new(child.stderr.take().expect("stderr")).lines();
        std::thread::spawn(move || errors.for_each(|line| eprintln!("server: {}", line.unwrap_or_default())));
        Self { child, url }
    }

    /// Memory that it has in use, in KiB; 0 where the system does not say so.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.child.id()))
            .status();
        assert!(sent.expect("sh").success());
    }

    /// Waits for it to end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("wait")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
