//! Whether a history of a register could have been one operation after the other: a search for an order in which each operation lies
//! between its call and its return, and reads what the one before it left.

use std::collections::HashSet;

/// One operation on a register that holds a number: it read `read`, if it read at all, and left `left` (the same, if it wrote nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub called: u64,
    pub returned: u64,
    pub read: Option<u64>,
    pub left: u64,
    /// The state's version that it was told of.
    pub version: u64,
}

/// Whether there is such an order, and versions rise along it with every write and stay with everything else.
pub fn is_linearizable(history: &[Operation], initial: u64) -> bool {
    assert!(history.len() <= 64, "one bit each");
    let mut tried = HashSet::new();
    search(history, 0, initial, 0, &mut tried)
}

fn search(history: &[Operation], done: u64, value: u64, version: u64, tried: &mut HashSet<(u64, u64, u64)>) -> bool {
    let open = || (0..history.len()).filter(|index| done & (1 << index) == 0);
    let Some(first_return) = open().map(|index| history[index].returned).min() else {
        return true;
    };
    if !tried.insert((done, value, version)) {
        return false;
    }
    // What was called after another one returned can't come before it.
    let next = open().filter(|index| history[*index].called <= first_return);
    for index in next {
        let operation = history[index];
        let rises = match operation.left == value {
            true => operation.version == version || version == 0,
            false => operation.version > version,
        };
        if operation.read.is_none_or(|read| read == value)
            && rises
            && search(history, done | (1 << index), operation.left, operation.version, tried)
        {
            return true;
        }
    }
    false
}

fn operation(called: u64, returned: u64, read: u64, left: u64, version: u64) -> Operation {
    Operation {
        called,
        returned,
        read: Some(read),
        left,
        version,
    }
}

fn blind(called: u64, returned: u64, left: u64, version: u64) -> Operation {
    Operation {
        read: None,
        ..operation(called, returned, 0, left, version)
    }
}

#[test]
fn the_checker_takes_what_has_an_order() {
    assert!(is_linearizable(&[], 0));
    // The second one was called last and took effect first.
    let overlapping = [
        operation(1, 9, 2, 3, 7),
        operation(2, 4, 0, 2, 5),
        operation(10, 11, 3, 3, 7),
    ];
    assert!(is_linearizable(&overlapping, 0));
    let with_a_blind_write = [operation(1, 9, 5, 6, 8), blind(2, 4, 5, 7), operation(3, 5, 0, 0, 0)];
    assert!(is_linearizable(&with_a_blind_write, 0));
}

#[test]
fn the_checker_rejects_what_has_none() {
    let lost_update = [operation(1, 4, 0, 1, 5), operation(2, 5, 0, 1, 6)];
    assert!(!is_linearizable(&lost_update, 0));
    let lost_blind_write = [blind(1, 2, 5, 5), operation(3, 4, 0, 1, 6)];
    assert!(!is_linearizable(&lost_blind_write, 0));
    let stale_read = [operation(1, 2, 0, 1, 5), operation(3, 4, 0, 0, 1)];
    assert!(!is_linearizable(&stale_read, 0));
    let before_its_call = [operation(1, 2, 1, 2, 6), operation(3, 4, 0, 1, 5)];
    assert!(!is_linearizable(&before_its_call, 0));
    let versions_go_back = [operation(1, 2, 0, 1, 6), operation(3, 4, 1, 2, 5)];
    assert!(!is_linearizable(&versions_go_back, 0));
}
