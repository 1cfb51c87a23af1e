//! Writes a run: records in order, then everything else, in long sequential writes and with one sync at the end.

use std::io;

use super::block::Packer;
use super::entry::{BlobRef, Form, Place, SPAN_BYTES, Span, Stub, TAG, frame_bytes};
use super::footer::{Footer, Sections, trailer};
use super::out::{Out, WRITE_BYTES};
use super::pages::Pages;
use super::{FORMAT, HEAD, RAW_BYTES_MAX};
use crate::codec::v1::get_record_header;
use crate::disk::Disk;
use crate::record::StreamId;

/// Why a run was not built. The file is then worth nothing: remove it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The disk failed.
    #[error("writing {name} failed: {source}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// What was given is not what a run takes.
    #[error("{name} can't take what it was given: {what}")]
    Refused {
        /// The file.
        name: String,
        /// What is wrong with it.
        what: String,
    },
}

/// What a run is told about itself when it is complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) store: [u8; 16],
    pub(crate) first_commit: u64,
    pub(crate) last_commit: u64,
    pub(crate) created_us: i64,
}

/// A run that was written and synced. Its name is durable after a `sync_dir`.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) footer: Footer,
    pub(crate) file_bytes: u64,
}

/// A run that is being written. After an error it is of no further use.
pub(crate) struct RunBuilder<'a> {
    out: Out<'a>,
    number: u32,
    records: Pages,
    index: Vec<Place>,
    streams: Pages,
    stream_index: Vec<Place>,
    blobs: Pages,
    span: Option<Span>,
    commits: Option<(u64, u64)>,
    record_count: u64,
    stream_count: u64,
    frame_bytes: u64,
}

impl<'a> RunBuilder<'a> {
    /// Begins the file. `on_written` is called after each write with its bytes: to wait there is to go slower.
    pub(crate) fn create(
        disk: &dyn Disk,
        number: u32,
        block_bytes: usize,
        on_written: &'a mut dyn FnMut(u64),
    ) -> Result<Self, BuildError> {
        let out = Out::create(disk, number, on_written)?;
        let pages = || Pages::new(block_bytes);
        Ok(Self {
            out,
            number,
            records: pages(),
            index: Vec::new(),
            streams: pages(),
            stream_index: Vec::new(),
            blobs: pages(),
            span: None,
            commits: None,
            record_count: 0,
            stream_count: 0,
            frame_bytes: 0,
        })
    }

    /// Adds the record of a frame; its header says which it is, and must come after that of the frame before.
    /// `snapshot`: a reader of the stream may start here.
    pub(crate) fn push(&mut self, form: Form, frame: &[u8], snapshot: bool) -> Result<(), BuildError> {
        let header = get_record_header(frame).map_err(|what| self.out.refuse(what))?;
        if frame_bytes(form, &header) != frame.len() || TAG + frame.len() > RAW_BYTES_MAX {
            return Err(self
                .out
                .refuse("a frame's length is not what its header says, or is over the bound"));
        }
        let (stream, position) = (StreamId(header.stream), header.position);
        if self
            .span
            .is_some_and(|span| (span.stream, span.last) >= (stream, position))
        {
            let what = format!("record {position} of stream {stream} is out of order");
            return Err(self.out.refuse(what));
        }
        self.frame_bytes += frame.len() as u64;
        self.record_count += 1;
        let (lowest, highest) = self.commits.unwrap_or((header.commit, header.commit));
        self.commits = Some((lowest.min(header.commit), highest.max(header.commit)));

        if let Some(place) = self.records.begin((stream, position), TAG + frame.len(), true) {
            self.put_block(place)?;
        }
        self.records.raw.push(form.tag());
        self.records.raw.extend_from_slice(frame);

        let first_block = u32::try_from(self.index.len()).map_err(|_| self.out.refuse("there are too many blocks"))?;
        let snapshot = if snapshot { position } else { 0 };
        match &mut self.span {
            Some(span) if span.stream == stream => {
                span.last = position;
                span.records += 1;
                span.snapshot = span.snapshot.max(snapshot);
            }
            span => {
                let before = span.replace(Span {
                    stream,
                    first: position,
                    last: position,
                    records: 1,
                    first_block,
                    snapshot,
                });
                self.end_stream(before);
            }
        }
        Ok(())
    }

    /// Adds a reference to a blob.
    pub(crate) fn blob(&mut self, address: [u8; 32], stream: StreamId, position: u64) {
        let blob = BlobRef {
            address,
            stream,
            position,
        };
        self.blobs.add(|into| blob.put(into));
    }

    /// Writes the rest and syncs the file. `commits` and `stubs` in ascending order.
    pub(crate) fn finish(
        mut self,
        meta: Meta,
        commits: impl IntoIterator<Item = impl AsRef<[u8]>>,
        stubs: impl IntoIterator<Item = Stub>,
    ) -> Result<Built, BuildError> {
        if let Some((lowest, highest)) = self.commits
            && (lowest < meta.first_commit || highest > meta.last_commit)
        {
            let what =
                format!("records of commits {lowest} to {highest} are not all of the commits that it is said to hold");
            return Err(self.out.refuse(what));
        }
        let last = self.span.take();
        self.end_stream(last);
        let block_bytes = self.records.block_bytes;
        if let Some(place) = self.records.end(true) {
            self.put_block(place)?;
        }
        let mut sections = Sections {
            records: self.out.section(HEAD.len() as u64, self.index.len())?,
            ..Sections::default()
        };

        self.stream_index.extend(self.streams.end(false));
        let start = self.out.at();
        for place in &mut self.stream_index {
            place.offset += start;
        }
        sections.streams = self.out.pages(start, self.streams)?;

        let (start, mut pages) = (self.out.at(), Pages::new(block_bytes));
        for commit in commits {
            let bytes = commit.as_ref();
            let length = u16::try_from(bytes.len()).map_err(|_| self.out.refuse("a commit's header is too long"))?;
            pages.add(|into| {
                into.extend_from_slice(&length.to_le_bytes());
                into.extend_from_slice(bytes);
            });
            self.out.write_from(&mut pages)?;
        }
        sections.commits = self.out.pages(start, pages)?;

        let (start, mut pages) = (self.out.at(), Pages::new(block_bytes));
        let mut before = None;
        for stub in stubs {
            let key = (stub.commit, stub.index);
            if before.replace(key).is_some_and(|before| before >= key) {
                return Err(self.out.refuse("the stubs are out of order"));
            }
            pages.add(|into| stub.put(into));
            self.out.write_from(&mut pages)?;
        }
        sections.stubs = self.out.pages(start, pages)?;
        sections.blobs = self.out.pages(self.out.at(), self.blobs)?;

        let (start, mut pages) = (self.out.at(), Pages::new(block_bytes));
        for place in self.index.iter().chain(&self.stream_index) {
            pages.add(|into| place.put(into));
            self.out.write_from(&mut pages)?;
        }
        sections.index = self.out.pages(start, pages)?;

        let footer = Footer {
            format: FORMAT,
            run: self.number,
            store: meta.store,
            first_commit: meta.first_commit,
            last_commit: meta.last_commit,
            records: self.record_count,
            streams: self.stream_count,
            raw_bytes: self.frame_bytes,
            created_us: meta.created_us,
            sections,
        };
        let json = serde_json::to_vec(&footer).map_err(|error| self.out.refuse(error.to_string()))?;
        let offset = self.out.at();
        let bytes = Packer::default().pack(&json, None, &mut self.out.buffer);
        self.out.buffer.extend_from_slice(&trailer(offset, bytes as u32));
        let file_bytes = self.out.sync()?;
        Ok(Built { footer, file_bytes })
    }

    fn end_stream(&mut self, span: Option<Span>) {
        if let Some(span) = span {
            self.stream_count += 1;
            let place = self.streams.begin((span.stream, 0), SPAN_BYTES, false);
            self.stream_index.extend(place);
            span.put(&mut self.streams.raw);
        }
    }

    /// Passes on the block of records that was just packed.
    fn put_block(&mut self, place: Place) -> Result<(), BuildError> {
        let offset = self.out.at();
        self.index.push(Place { offset, ..place });
        self.out.buffer.append(&mut self.records.packed);
        self.out.write_if(WRITE_BYTES)
    }
}
