//! A folder whose manifest has another name until everything else is in place: before that it is no log, and cannot be taken for one.

use std::any::Any;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::segment::manifest;

/// The manifest's name meanwhile.
pub(super) const STAGED: &str = "restoring";

pub(super) struct Staged(pub(super) Arc<dyn Disk>);

fn real(name: &str) -> &str {
    if name == manifest::FILE { STAGED } else { name }
}

impl Disk for Staged {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(real(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(real(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(real(from), real(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(real(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.0.list()?;
        for name in names.iter_mut().filter(|name| *name == STAGED) {
            *name = manifest::FILE.to_owned();
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.0.lock()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}
