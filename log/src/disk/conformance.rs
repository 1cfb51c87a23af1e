//! The contract of [`Disk`] as a function; every implementation runs it. Panics where the contract is broken.

use std::io::ErrorKind;

use super::Disk;

/// Runs the contract on an empty disk and leaves it empty.
pub fn run(disk: &dyn Disk) {
    assert_eq!(
        disk.list().expect("list"),
        Vec::<String>::new(),
        "the disk must be empty"
    );
    assert_eq!(
        disk.open("a").map(|_| ()).map_err(|e| e.kind()),
        Err(ErrorKind::NotFound)
    );

    let a = disk.create("a").expect("create");
    assert!(a.is_empty().expect("len"));
    a.write_at(3, b"abc").expect("write");
    assert_eq!(a.len().expect("len"), 6, "a write past the end grows the file");
    let mut read = [9; 6];
    a.read_at(0, &mut read).expect("read");
    assert_eq!(&read, b"\0\0\0abc", "the gap before a write reads as zeroes");
    assert_eq!(
        a.read_at(1, &mut read).map_err(|e| e.kind()),
        Err(ErrorKind::UnexpectedEof)
    );
    let mut tried = [9; 6];
    if a.try_read_at(0, &mut tried).expect("an attempt to read") {
        assert_eq!(&tried, b"\0\0\0abc", "a read that did not wait reads the same");
    }
    assert_ne!(
        a.try_read_at(1, &mut tried).map_err(|e| e.kind()),
        Ok(true),
        "no read reaches past the end"
    );
    a.write_at(0, b"xyz").expect("overwrite");
    disk.open("a")
        .expect("a second handle")
        .read_at(0, &mut read)
        .expect("read");
    assert_eq!(&read, b"xyzabc", "handles of one file see each other's writes");
    a.sync().expect("sync");
    disk.sync_dir().expect("sync of the folder");

    let b = disk.create("b").expect("create");
    b.write_at(0, b"b").expect("write");
    disk.rename("b", "a").expect("a rename replaces");
    assert_eq!(disk.list().expect("list"), ["a"]);
    assert_eq!(disk.open("a").expect("open").len().expect("len"), 1);
    a.read_at(0, &mut read).expect("a replaced file lives while it is open");
    assert_eq!(disk.rename("none", "c").map_err(|e| e.kind()), Err(ErrorKind::NotFound));

    assert_eq!(disk.create("a").expect("create empties").len().expect("len"), 0);
    disk.remove("a").expect("remove");
    assert_eq!(disk.remove("a").map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    assert_eq!(disk.list().expect("list"), Vec::<String>::new());

    let held = disk.lock().expect("lock");
    assert_eq!(
        disk.lock().map(|_| ()).map_err(|e| e.kind()),
        Err(ErrorKind::WouldBlock)
    );
    drop(held);
    drop(disk.lock().expect("a lock is free again after its guard"));
}
