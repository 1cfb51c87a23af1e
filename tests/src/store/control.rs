//! The control of a power cut: a bare loop of write and fdatasync on the same device. If it loses a record, it is not the log's fault.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

const RECORD_BYTES: u64 = 512;
const RECORDS: u64 = 16_384;
const FILE: &str = "control";

fn record(number: u64) -> [u8; RECORD_BYTES as usize] {
    let mut bytes = [0x5A; RECORD_BYTES as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Writes records to a zero-filled file in `folder`, syncs each, and notes each number in `ledger`. Ends with the process.
pub fn write(folder: &Path, ledger: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut ledger = OpenOptions::new().append(true).create(true).open(ledger)?;
    let file = File::create(folder.join(FILE))?;
    file.write_all_at(&vec![0; (RECORDS * RECORD_BYTES) as usize], 0)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    for number in 1..=RECORDS {
        file.write_all_at(&record(number), (number - 1) * RECORD_BYTES)?;
        file.sync_data()?;
        ledger.write_all(format!("{number}\n").as_bytes())?;
    }
    Ok(())
}

/// How many records were acknowledged, and how many of them are gone.
pub fn verify(folder: &Path, ledger: &Path) -> std::io::Result<(u64, u64)> {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    let acked = text.lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0);
    if acked == 0 {
        return Ok((0, 0));
    }
    let file = File::open(folder.join(FILE))?;
    let mut lost = 0;
    for number in 1..=acked {
        let mut found = [0; RECORD_BYTES as usize];
        let read = file.read_exact_at(&mut found, (number - 1) * RECORD_BYTES);
        lost += u64::from(read.is_err() || found != record(number));
    }
    Ok((acked, lost))
}
