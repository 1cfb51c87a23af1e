//! A file that is there wholly or not at all: written beside its place, synced, then given its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// Where results are written to.
pub(super) enum Target {
    /// Straight to stdout.
    Stdout(BufWriter<Stdout>),
    /// To a file that gets its name at the end.
    File(Unfinished),
}

/// A file that has no name yet. Removed when dropped before its end.
pub(super) struct Unfinished {
    file: Option<BufWriter<File>>,
    beside: PathBuf,
    place: PathBuf,
}

impl Target {
    /// `-` is stdout; another path must be free.
    pub(super) fn create(place: &Path) -> Result<Self, Failure> {
        if place == Path::new("-") {
            return Ok(Self::Stdout(BufWriter::new(stdout())));
        }
        if place.exists() {
            return Err(Failure::Usage(format!(
                "{} exists already: remove it, or name another file",
                place.display()
            )));
        }
        Unfinished::create(place).map(Self::File)
    }

    /// All of it is written.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut out) => out.flush().map_err(Failure::unwritten),
            Self::File(file) => file.finish(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout(out) => out.write_all(bytes).map_err(Failure::unwritten),
            Self::File(file) => file.write(bytes),
        }
    }
}

impl Unfinished {
    /// Begins a file that only its owner can read: it may hold what users said.
    pub(super) fn create(place: &Path) -> Result<Self, Failure> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let beside = place.with_file_name(name);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside);
        let file = opened.map_err(Failure::io(format!("making {}", beside.display())))?;
        Ok(Self {
            file: Some(BufWriter::with_capacity(256 << 10, file)),
            beside,
            place: place.to_owned(),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let file = self
            .file
            .as_mut()
            .ok_or_else(closed)
            .and_then(|file| file.write_all(bytes));
        file.map_err(Failure::io(format!("writing {}", self.beside.display())))
    }

    /// Gives it its name. Durable on return.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let done = (|| {
            let file = self.file.take().ok_or_else(closed)?;
            let file = file.into_inner().map_err(|error| error.into_error())?;
            file.sync_all()?;
            drop(file);
            fs::rename(&self.beside, &self.place)?;
            let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        })();
        done.map_err(Failure::io(format!("writing {}", self.place.display())))
    }
}

fn closed() -> io::Error {
    io::Error::other("it is closed")
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish` there is none, and nobody can be told otherwise.
        let _ = fs::remove_file(&self.beside);
    }
}
