//! Copies a file and tells what was copied.

use std::io;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::disk::{Disk, DiskFile};
use crate::record::Digest;

const PIECE_BYTES: usize = 1 << 20;

/// Copies a file to a new one, synced; its name is durable after a `sync_dir`. Length and SHA-256 of what was read.
pub(in crate::folder) fn copy(
    from: &Arc<dyn DiskFile>,
    to: &dyn Disk,
    name: &str,
    moved: &mut dyn FnMut(u64),
) -> io::Result<(u64, Digest)> {
    let target = to.create(name)?;
    let copied = pieces(from, &mut |at, piece| {
        moved(piece.len() as u64);
        target.write_at(at, piece)
    })?;
    target.sync()?;
    Ok(copied)
}

/// Length and SHA-256 of a file.
pub(in crate::folder) fn digest_of(file: &Arc<dyn DiskFile>) -> io::Result<(u64, Digest)> {
    pieces(file, &mut |_, _| Ok(()))
}

fn pieces(from: &Arc<dyn DiskFile>, take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<(u64, Digest)> {
    let bytes = from.len()?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let some = (bytes - at).min(PIECE_BYTES as u64) as usize;
        from.read_at(at, &mut piece[..some])?;
        hash.update(&piece[..some]);
        take(at, &piece[..some])?;
        at += some as u64;
    }
    Ok((bytes, Digest(hash.finalize().into())))
}
