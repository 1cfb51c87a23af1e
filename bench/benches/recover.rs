//! W5: a process loads a log and is killed; another opens it. Time to open, to the first read, and memory, by the number of records.
//!
//! FLOWSTATE_BENCH_RECORDS: the largest log, in records (200,000; 2_000_000 for the goal); a tenth of it is measured beside it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use flowstate_bench::drive::stream_name;
use flowstate_bench::load::load;
use flowstate_bench::machine::memory_kib;
use flowstate_bench::table::{print_load, rounds, size};
use flowstate_bench::timed;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

/// Set for the processes that this one starts: what to do.
const ROLE: &str = "FLOWSTATE_BENCH_ROLE";
const STREAMS: u64 = 1_000;

/// Runs this program in a role on a folder, up to its first line, and kills it.
fn started(role: &str, folder: &Path, records: u64) -> String {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .env(ROLE, role)
        .arg(folder)
        .arg(records.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    child.kill().expect("a kill");
    child.wait().expect("an end");
    line
}

fn role(role: &str) {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let records: u64 = arguments.next().and_then(|text| text.parse().ok()).expect("a number");
    let runtime = Runtime::new().expect("a runtime");
    let open = || Log::open(Options::in_folder(Path::new(&folder)).expect("a folder")).expect("a log");
    if role == "load" {
        let log = open();
        load(&runtime, &log, STREAMS, records / STREAMS);
        println!("loaded");
        std::thread::park();
        drop(log);
    } else {
        let before = memory_kib("VmRSS:");
        let (opening, log) = timed(open);
        let (reading, found) = timed(|| {
            runtime.block_on(async {
                let id = log
                    .stream(&stream_name(7))
                    .await
                    .expect("the catalog")
                    .expect("a stream");
                (
                    log.tail(id).await.expect("a tail"),
                    log.read(id, 1, 100).await.expect("records").len(),
                )
            })
        });
        assert_eq!(found.0, records / STREAMS, "an acknowledged record is missing");
        let memory = memory_kib("VmRSS:").saturating_sub(before);
        let peak = memory_kib("VmHWM:");
        println!("{} {} {memory} {peak}", opening.as_secs_f64(), reading.as_secs_f64());
        std::thread::park();
    }
}

fn main() {
    if let Ok(what) = std::env::var(ROLE) {
        return role(&what);
    }
    let most = size("FLOWSTATE_BENCH_RECORDS", 200_000).max(10 * STREAMS);
    print_load();
    println!(
        "{:>12}{:>12}{:>16}{:>14}{:>12}",
        "records", "open ms", "first read ms", "memory MiB", "peak MiB"
    );
    let sizes = [most / 10, most];
    let folders = sizes.map(|records| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        assert_eq!(started("load", folder.path(), records), "loaded\n");
        folder
    });
    let numbers = rounds(3, sizes.len(), |row| {
        let line = started("open", folders[row].path(), sizes[row]);
        let numbers: Vec<f64> = line.split_whitespace().filter_map(|text| text.parse().ok()).collect();
        let [opening, reading, memory, peak] = numbers[..] else {
            panic!("the log did not open");
        };
        [opening * 1e3, reading * 1e3, memory / 1024.0, peak / 1024.0]
    });
    for (records, [opening, reading, memory, peak]) in sizes.iter().zip(&numbers) {
        println!("{records:>12}{opening:>12.1}{reading:>16.2}{memory:>14.1}{peak:>12.1}");
    }
    println!(
        "ten times the records open in {:.2} times the time",
        numbers[1][0] / numbers[0][0]
    );
    print_load();
}
