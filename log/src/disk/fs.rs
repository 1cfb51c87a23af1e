//! A folder of the file system. The folder is made with mode 0700 and its files with 0600: a log holds what users said.

use std::any::Any;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Disk, DiskFile};

const LOCK: &str = "lock";

/// A folder of the file system.
pub struct FsDisk {
    root: PathBuf,
}

impl FsDisk {
    /// The folder at `root`, made with its parents if it is missing.
    pub fn open(root: &Path) -> io::Result<Self> {
        let made: Vec<&Path> = root.ancestors().take_while(|folder| !folder.is_dir()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        // A folder that a power cut takes back would take the log with it.
        for folder in made {
            let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(Self { root: root.to_owned() })
    }

    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        // What a link leads to is not the log's: it would be read as truth, and written over.
        options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
        options
    }

    fn open_with(&self, options: &OpenOptions, name: &str) -> io::Result<File> {
        options.open(self.root.join(name)).map_err(|error| {
            if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
                let what = format!("{name} is a symbolic link; put the file that it leads to in its place");
                return io::Error::other(what);
            }
            error
        })
    }
}

impl Disk for FsDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_with(Self::options().create(true).truncate(true), name)?;
        Ok(Arc::new(FsFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FsFile(self.open_with(&Self::options(), name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.root.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
                && name != LOCK
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = self.open_with(Self::options().create(true).truncate(false), LOCK)?;
        file.try_lock().map_err(|failed| match failed {
            std::fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            std::fs::TryLockError::Error(error) => error,
        })?;
        Ok(Box::new(file))
    }

    fn describe(&self) -> String {
        self.root.display().to_string()
    }
}

struct FsFile(File);

impl DiskFile for FsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    #[cfg(target_os = "linux")]
    fn try_read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<bool> {
        use rustix::io::{ReadWriteFlags, preadv2};

        let wanted = into.len();
        match preadv2(
            &self.0,
            &mut [io::IoSliceMut::new(into)],
            offset,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(read) => Ok(read == wanted),
            // Not in the page cache; interrupted; not for this file system, this kernel or this sandbox.
            Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn try_read_at(&self, _offset: u64, _into: &mut [u8]) -> io::Result<bool> {
        Ok(false)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_the_contract() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        super::super::conformance::run(&FsDisk::open(&folder.path().join("a/b")).expect("a folder"));
    }

    #[test]
    fn a_link_is_not_followed_and_the_error_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, b"not the log's").expect("write");
        let root = folder.path().join("log");
        let disk = FsDisk::open(&root).expect("a folder");
        for name in ["manifest", "slot-000001", LOCK] {
            std::os::unix::fs::symlink(&elsewhere, root.join(name)).expect("link");
        }
        let refused = |result: io::Result<()>| {
            let error = result.expect_err("a link was followed");
            assert!(error.to_string().contains("is a symbolic link"), "{error}");
        };
        refused(disk.open("manifest").map(|_| ()));
        refused(disk.create("slot-000001").map(|_| ()));
        refused(disk.lock().map(|_| ()));
        assert_eq!(std::fs::read(&elsewhere).expect("read"), b"not the log's");
    }
}
