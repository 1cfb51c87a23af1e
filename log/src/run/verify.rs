//! Reads all of a run and checks all that it claims.

use super::entry::{Entry, Form, Span};
use super::file::Run;
use super::scan::Items;
use super::{HEAD, RunError};
use crate::codec::decode_record;
use crate::record::Record;

impl Run {
    /// Every checksum, of blocks and of records; the order of everything; and that counts, streams and index say what is there.
    /// The first thing that does not hold is the error. Waits for the disk, past the cache.
    #[cfg(test)]
    pub(crate) fn verify(&self) -> Result<(), RunError> {
        self.verify_with(&mut |_, _| {})
    }

    /// The same, showing every entry with what was decoded of it, if it is whole.
    pub(crate) fn verify_with(&self, visit: &mut dyn FnMut(&Entry, Option<Record>)) -> Result<(), RunError> {
        let mut head = [0; HEAD.len()];
        self.file
            .read_at(0, &mut head)
            .map_err(RunError::reading(self.number, 0))?;
        if head != HEAD {
            return Err(self.wrong(0, "the file does not begin as a run does"));
        }
        self.verify_records(visit)?;
        let sections = self.footer.sections;
        let mut last = None;
        let mut stubs = self.stubs();
        while let Some(stub) = stubs.next().transpose()? {
            let key = (stub.commit, stub.index);
            if last.replace(key).is_some_and(|last| last >= key) {
                return Err(self.wrong(stubs.block().0, "the stubs are out of order"));
            }
        }
        self.count(stubs, sections.stubs.blocks)?;
        self.count(self.commits(), sections.commits.blocks)?;
        self.count(self.blobs(), sections.blobs.blocks)
    }

    fn verify_records(&self, visit: &mut dyn FnMut(&Entry, Option<Record>)) -> Result<(), RunError> {
        let (mut scan, mut streams) = (self.scan(), self.streams());
        let (mut records, mut spans, mut bytes) = (0, 0, 0);
        let mut span: Option<Span> = None;
        let mut stated: Option<Span> = None;
        let mut block = u32::MAX;
        let mut stream_block = u32::MAX;
        while let Some(entry) = scan.next().transpose()? {
            let (at, begun) = scan.block();
            let number = begun - 1;
            if number != block {
                block = number;
                let place = self.records.get(number as usize);
                if place.is_none_or(|place| (place.key(), place.offset) != (entry.key(), at)) {
                    return Err(self.wrong(at, "the index does not say what the block begins with"));
                }
            }
            let record = self.verify_record(&entry, at)?;
            visit(&entry, record);
            records += 1;
            bytes += entry.frame.len() as u64;
            match &mut span {
                Some(span) if span.stream == entry.stream() => {
                    if entry.position() <= span.last {
                        return Err(self.wrong(at, "the records are out of order"));
                    }
                    span.last = entry.position();
                    span.records += 1;
                }
                before => {
                    if before.is_some_and(|span| span.stream > entry.stream()) {
                        return Err(self.wrong(at, "the streams are out of order"));
                    }
                    self.compare(*before, stated)?;
                    stated = streams.next().transpose()?;
                    spans += 1;
                    let (at, begun) = streams.block();
                    if begun.wrapping_sub(1) != stream_block
                        && let Some(stated) = &stated
                    {
                        stream_block = begun - 1;
                        let place = self.streams.get(stream_block as usize);
                        if place.is_none_or(|place| (place.stream, place.offset) != (stated.stream, at)) {
                            return Err(self.wrong(at, "the index does not say what the block begins with"));
                        }
                    }
                    *before = Some(Span {
                        stream: entry.stream(),
                        first: entry.position(),
                        last: entry.position(),
                        records: 1,
                        first_block: number,
                        snapshot: 0,
                    });
                }
            }
        }
        self.compare(span, stated)?;
        self.compare(None, streams.next().transpose()?)?;
        if (records, spans, bytes) != (self.footer.records, self.footer.streams, self.footer.raw_bytes) {
            let what = "the footer counts other records, streams or bytes than there are";
            return Err(self.wrong(self.footer.sections.index.end(), what));
        }
        self.count(scan, self.footer.sections.records.blocks)?;
        self.count(streams, self.footer.sections.streams.blocks)
    }

    fn verify_record(&self, entry: &Entry, at: u64) -> Result<Option<Record>, RunError> {
        let commits = self.footer.first_commit..=self.footer.last_commit;
        if !commits.contains(&entry.header.commit) {
            return Err(self.wrong(at, "a record is of a commit that the run does not hold"));
        }
        if entry.form == Form::Whole {
            let decoded = decode_record(&entry.frame).map_err(|what| {
                let record = format!("record {} of stream {}", entry.position(), entry.stream());
                RunError::damaged(self.number, at, format!("{record}: {what}"))
            })?;
            return Ok(Some(decoded.0));
        }
        Ok(None)
    }

    /// `found` in the records, `stated` in the section on streams.
    fn compare(&self, found: Option<Span>, stated: Option<Span>) -> Result<(), RunError> {
        let snapshot = stated.map_or(0, |span| span.snapshot);
        let found = found.map(|span| Span { snapshot, ..span });
        let within = found.is_none_or(|span| snapshot == 0 || (span.first..=span.last).contains(&snapshot));
        if found != stated || !within {
            let what = "the section on streams does not say what is in the records";
            return Err(self.wrong(self.footer.sections.streams.offset, what));
        }
        Ok(())
    }

    /// Walks to the end of a section and counts its blocks.
    fn count<T>(&self, mut items: Items<T>, blocks: u32) -> Result<(), RunError> {
        for item in items.by_ref() {
            item?;
        }
        let (at, begun) = items.block();
        if begun != blocks {
            return Err(self.wrong(at, "the footer counts other blocks than there are"));
        }
        Ok(())
    }

    fn wrong(&self, offset: u64, what: &str) -> RunError {
        RunError::damaged(self.number, offset, what)
    }
}
