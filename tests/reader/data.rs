//! The folder of a log that the reader is run on, and ways to append to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowstate_log::append::Append;
use flowstate_log::disk::fs::FsDisk;
use flowstate_log::limits::Limits;
use flowstate_log::record::StreamId;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::log::{options, small_limits};
use serde_json::Value;
use tempfile::TempDir;

/// Segments after which some are in runs for sure: then appends wait for the clustering.
const SEGMENTS_MAX: usize = 2;

pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reader")
}

pub(crate) fn python(script: &str, arguments: &[&str]) -> Output {
    let output = Command::new("python3")
        .arg(scripts().join(script))
        .args(arguments)
        .output();
    output.expect("start python3")
}

pub(crate) fn no_python() -> bool {
    let missing = Command::new("python3")
        .args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"])
        .status()
        .map_or(true, |status| !status.success());
    if missing {
        eprintln!("python3 (3.9 or newer) is not here: the reader is not compared");
    }
    missing
}

/// A folder with a `log` in it.
pub(crate) struct Data {
    pub(crate) folder: TempDir,
    /// Ids and times depend on it: no two opens may mint the same ones.
    seed: AtomicU64,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            seed: AtomicU64::new(7),
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn path(&self) -> &str {
        self.folder.path().to_str().expect("UTF-8")
    }

    pub(crate) fn open(&self, limits: Limits) -> Log {
        self.open_as(limits, true)
    }

    pub(crate) fn open_as(&self, limits: Limits, chain: bool) -> Log {
        let disk = Arc::new(FsDisk::open(&self.log()).expect("a folder"));
        let options = options(
            disk,
            Arc::new(MemoryViews::new()),
            self.seed.fetch_add(1, Ordering::Relaxed),
        );
        Log::open(Options {
            limits,
            chain,
            views: Vec::new(),
            ..options
        })
        .expect("open")
    }

    pub(crate) fn copy_from(&self, folder: &Path) {
        std::fs::create_dir_all(self.log()).expect("make the folder");
        for entry in std::fs::read_dir(folder).expect("list") {
            let entry = entry.expect("list");
            std::fs::copy(entry.path(), self.log().join(entry.file_name())).expect("copy");
        }
    }

    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        copy.seed.store(self.seed.load(Ordering::Relaxed), Ordering::Relaxed);
        copy.copy_from(&self.log());
        copy
    }

    pub(crate) fn verify(&self) -> Output {
        python("flowstate_reader.py", &["verify", self.path()])
    }

    pub(crate) fn is_intact(&self) -> Value {
        let output = self.verify();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    pub(crate) fn tamper(&self, how: &str, number: u64) {
        let output = python("tamper.py", &[how, self.path(), &number.to_string()]);
        assert!(
            output.status.success(),
            "{how}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub(crate) fn runs(&self) -> usize {
        let names = std::fs::read_dir(self.log()).expect("list");
        names
            .filter(|entry| {
                let name = entry.as_ref().expect("list").file_name();
                name.to_string_lossy().starts_with("run-")
            })
            .count()
    }
}

/// Both say that something is wrong, and what.
pub(crate) fn found(output: &Output, what: &str, how: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{how}: {said}");
    assert!(said.contains(what), "{how}: {said}");
}

pub(crate) fn tiny() -> Limits {
    Limits {
        cluster_segments_min: 1,
        cluster_segments_max: SEGMENTS_MAX,
        run_fan_out: 2,
        ..small_limits()
    }
}

/// Nothing is clustered.
pub(crate) fn roomy() -> Limits {
    Limits {
        cluster_segments_min: 16,
        ..small_limits()
    }
}

pub(crate) async fn durable(log: &Log, append: Append) -> Vec<StreamId> {
    let appended = log.append(append).await.expect("queue").await.expect("durable");
    appended.parts.iter().map(|part| part.stream).collect()
}

/// Payloads that compress and some that do not, of lengths from 0 to 2,000.
pub(crate) fn payload(seed: u64) -> Vec<u8> {
    let length = (seed * 487 % 2_000) as usize;
    if seed.is_multiple_of(3) {
        let mut state = seed;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        return (0..length).map(|_| noise()).collect();
    }
    format!("{{\"delta\":\"word {seed} ü\"}} ")
        .into_bytes()
        .into_iter()
        .cycle()
        .take(length)
        .collect()
}
