//! The limits of reading: the records of W2 in a file stream by stream, and in a file in the order of W2 with every record's place
//! in memory. Both are read with one read per stretch of neighbours, and every record's checksum is checked.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

/// A file of records, and where each lies by stream.
pub struct Layout {
    file: File,
    places: Vec<Vec<(u64, u32)>>,
}

const HEAD: usize = 8;

impl Layout {
    /// Writes these records, which come with their streams, in their order.
    pub fn create(path: &Path, streams: u64, records: impl Iterator<Item = (u64, Bytes)>) -> io::Result<Self> {
        let mut file = io::BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        let mut places = vec![Vec::new(); streams as usize];
        let mut at = 0;
        for (stream, token) in records {
            file.write_all(&(token.len() as u32).to_le_bytes())?;
            file.write_all(&crc32fast::hash(&token).to_le_bytes())?;
            file.write_all(&token)?;
            let bytes = (HEAD + token.len()) as u32;
            places[stream as usize].push((at, bytes));
            at += u64::from(bytes);
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(Self {
            file: File::open(path)?,
            places,
        })
    }

    /// Up to `limit` records of a stream from number `from` (the first is 0) on; how many there were, and their bytes.
    pub fn read(&self, stream: u64, from: usize, limit: usize) -> io::Result<(usize, usize)> {
        let places = &self.places[stream as usize];
        let places = &places[from.min(places.len())..(from + limit).min(places.len())];
        let (mut rest, mut bytes, mut buffer) = (places, 0, Vec::new());
        while let Some((start, _)) = rest.first() {
            let mut end = *start;
            let together = rest.iter().take_while(|(at, length)| {
                // A gap of less than a page is read through.
                let near = at - end < 4_096;
                if near {
                    end = at + u64::from(*length);
                }
                near
            });
            let together = together.count();
            buffer.resize((end - start) as usize, 0);
            self.file.read_exact_at(&mut buffer, *start)?;
            for (at, length) in &rest[..together] {
                let frame = &buffer[(at - start) as usize..][..*length as usize];
                let (head, token) = frame.split_at(HEAD);
                if crc32fast::hash(token).to_le_bytes() != head[4..] {
                    return Err(io::Error::other("a checksum does not hold"));
                }
                bytes += token.len();
            }
            rest = &rest[together..];
        }
        Ok((places.len(), bytes))
    }
}
