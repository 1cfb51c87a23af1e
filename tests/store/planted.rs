//! The judge, judged: every fault that is planted into what it is given is told, by its kind, and the untouched store holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::store::adapter::{self, NODE};
use flowstate_tests::store::contents::{Contents, Entry, Stream};
use flowstate_tests::store::driver::{Work, repeatable};
use flowstate_tests::store::judge::judge;
use flowstate_tests::store::ledger::{Event, Refusal};
use flowstate_tests::store::plan::{Condition, Key, Op, OpId, OpPart, OpRecord, key_of, payload, sub_id};
use flowstate_tests::store::verdict::Breach;
use flowstate_tests::store::verify;

use super::support::run_in_memory;

/// A ledger and what the store holds after it.
#[derive(Clone)]
struct Case {
    events: Vec<Event>,
    contents: Contents,
}

/// Two lives of a store, read with everything that can be compared.
async fn honest(seed: u64) -> Case {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let mut events = Vec::new();
    for cycle in 0..2 {
        let plan = Work {
            cycle,
            seed: seed + u64::from(cycle),
            tasks: 4,
            rounds: Some(60),
            bytes: 300,
        };
        let told = run_in_memory(&disk, &views, plan, &events).await;
        events.extend(told);
    }
    let read = async |views: &MemoryViews| {
        let read = verify::read(Arc::new(disk.clone()), Arc::new(views.clone()), &events).await;
        read.expect("the store can be read")
    };
    let (mut contents, anew) = (read(&views).await, MemoryViews::new());
    contents.rebuilt = Some(Box::new(read(&anew).await));
    contents.stored = Some((adapter::memory_rows(&views), adapter::memory_rows(&anew)));
    Case { events, contents }
}

impl Case {
    /// A stream with enough records to spoil, by name.
    fn long_stream(&self) -> String {
        let by_length = self.contents.streams.iter().filter(|(name, _)| *name != NODE);
        let longest = by_length.max_by_key(|(_, stream)| stream.records.len());
        longest.expect("a stream").0.clone()
    }

    fn stream(&mut self) -> &mut Stream {
        let name = self.long_stream();
        self.contents.streams.get_mut(&name).expect("the stream")
    }

    fn fork(&mut self) -> &mut Stream {
        let folded = |stream: &&mut Stream| {
            let base = stream.base();
            stream.tally.chain.range(..=base).next().is_some()
        };
        let mut all = self.contents.streams.values_mut();
        all.find(folded).expect("a fork of something that is folded")
    }

    /// An acknowledged operation and an acknowledged repetition of it.
    fn repeated(&self) -> (OpId, OpId) {
        let done = |id: OpId| {
            self.events
                .iter()
                .any(|event| matches!(event, Event::Done { id: other, .. } if *other == id))
        };
        let mut repeats = self.events.iter().filter_map(|event| match event {
            Event::Start { id, op } => op.key.filter(|first| first != id).map(|first| (first, *id)),
            _ => None,
        });
        let found = repeats.rfind(|(first, id)| done(*first) && done(*id));
        found.expect("an operation that was repeated")
    }

    fn middle(&mut self) -> &mut Entry {
        let records = &mut self.stream().records;
        let at = records.len() / 2;
        &mut records[at]
    }

    /// An acknowledged operation that fits and can't be repeated, with its parts.
    fn acked(&self, fits: impl Fn(&Op) -> bool) -> (OpId, Op) {
        let issued = self.events.iter().filter_map(|event| match event {
            Event::Start { id, op } if op.key.is_none() && fits(op) => Some((*id, op.clone())),
            _ => None,
        });
        let done = |id: OpId| {
            self.events
                .iter()
                .any(|event| matches!(event, Event::Done { id: other, .. } if *other == id))
        };
        issued
            .filter(|(id, _)| done(*id))
            .last()
            .expect("an acknowledged operation of the kind")
    }

    /// Removes the answer, as if the process had died before it.
    fn forget_answer(&mut self, id: OpId) {
        self.events
            .retain(|event| !matches!(event, Event::Done { id: other, .. } if *other == id));
    }

    /// Takes records out and closes the gaps, as a store would that never had them.
    fn remove(&mut self, gone: impl Fn(Key) -> bool) {
        for stream in self.contents.streams.values_mut() {
            stream
                .records
                .retain(|entry| key_of(&entry.payload).is_none_or(|key| !gone(key)));
            renumber(stream);
        }
    }
}

fn renumber(stream: &mut Stream) {
    for (position, entry) in (stream.base() + 1..).zip(&mut stream.records) {
        entry.position = position;
    }
    stream.tail = stream.base() + stream.records.len() as u64;
}

type Plant = fn(&mut Case);

/// Every fault with the breaches that name it: one of them has to be told.
const FAULTS: &[(&str, &[Breach], Plant)] = &[
    ("an acknowledged record is dropped", &[Breach::Lost], |case| {
        let key = key_of(&case.middle().payload).expect("a key");
        case.remove(|other| other == key);
    }),
    ("an acknowledged operation is dropped", &[Breach::Lost], |case| {
        let (id, _) = case.acked(|op| op.parts.len() > 1);
        case.remove(|key| key.op == id);
    }),
    (
        "the tail of the log is lost: acknowledged before it was synced",
        &[Breach::Lost],
        |case| {
            let last = case.contents.last_commit;
            for stream in case.contents.streams.values_mut() {
                stream.records.retain(|entry| entry.commit < last);
                renumber(stream);
            }
            case.contents.last_commit = last - 1;
        },
    ),
    ("a stream is lost", &[Breach::Lost], |case| {
        let name = case.long_stream();
        case.contents.streams.remove(&name);
    }),
    ("a record is there twice", &[Breach::Duplicated], |case| {
        let stream = case.stream();
        let again = stream.records[stream.records.len() / 2].clone();
        stream.records.push(again);
        renumber(stream);
    }),
    ("two records of a stream change places", &[Breach::Unordered], |case| {
        let stream = case.stream();
        let middle = stream.records.len() / 2;
        stream.records.swap(middle, middle + 1);
        renumber(stream);
    }),
    (
        "two unanswered records of one task change places",
        &[Breach::Unordered],
        |case| {
            // Everything about them is exchanged but their places, and nothing says where they belong.
            let keys: Vec<Key> = case
                .stream()
                .records
                .iter()
                .map(|entry| key_of(&entry.payload).expect("a key"))
                .collect();
            // One that was repeated may stand where the repetition put it; one with more records, or in a sub-stream, is told as torn or as a gap.
            let repeatable = repeatable(&case.events);
            let mut records: BTreeMap<OpId, u32> = BTreeMap::new();
            let everywhere = case.contents.streams.values().flat_map(|stream| &stream.records);
            for key in everywhere.filter_map(|entry| key_of(&entry.payload)) {
                *records.entry(key.op).or_default() += 1;
            }
            let in_sub: Vec<bool> = case.stream().records.iter().map(|entry| entry.sub.is_some()).collect();
            let once = |at: &usize| {
                let op = keys[*at].op;
                repeatable.iter().all(|(id, _)| *id != op) && records.get(&op) == Some(&1) && !in_sub[*at]
            };
            let pair = (0..keys.len()).rev().filter(once).find_map(|late| {
                let early = (0..late)
                    .rev()
                    .filter(once)
                    .find(|early| keys[*early].op.task == keys[late].op.task && keys[*early].op != keys[late].op);
                early
                    .filter(|early| keys[*early].op.cycle == keys[late].op.cycle)
                    .map(|early| (early, late))
            });
            let (early, late) = pair.expect("a task with two operations");
            let stream = case.stream();
            let (a, b) = (stream.records[early].clone(), stream.records[late].clone());
            let keep = |from: &Entry, at: &Entry| Entry {
                position: at.position,
                commit: at.commit,
                index: at.index,
                time_us: at.time_us,
                ..from.clone()
            };
            (stream.records[early], stream.records[late]) = (keep(&b, &a), keep(&a, &b));
            for id in [keys[early].op, keys[late].op] {
                case.forget_answer(id);
            }
        },
    ),
    // The shortest payloads are all key.
    (
        "a byte of a payload changes",
        &[Breach::Altered, Breach::NeverIssued],
        |case| {
            let payload = &mut case.middle().payload;
            *payload.last_mut().expect("bytes") ^= 1;
        },
    ),
    ("a payload is cut short", &[Breach::Altered], |case| {
        let entry = case
            .contents
            .streams
            .values_mut()
            .flat_map(|stream| &mut stream.records)
            .find(|entry| entry.payload.len() > 40);
        entry.expect("a long payload").payload.truncate(20);
    }),
    ("a record is about something else", &[Breach::Altered], |case| {
        case.middle().subject ^= 1
    }),
    ("a record is of another kind", &[Breach::Altered], |case| {
        case.middle().kind ^= 2
    }),
    ("a record was caused by another request", &[Breach::Altered], |case| {
        case.middle().causation[7] ^= 1
    }),
    ("a record stands in another stream", &[Breach::Altered], |case| {
        let entry = case.stream().records.pop().expect("a record");
        let other = case.contents.streams.iter_mut().find(|(name, stream)| {
            *name != NODE && stream.records.last().is_none_or(|last| last.commit < entry.commit)
        });
        let (_, other) = other.expect("another stream");
        other.records.push(entry);
        renumber(other);
        renumber(case.stream());
    }),
    ("a record that nobody asked for", &[Breach::NeverIssued], |case| {
        let key = Key {
            op: OpId {
                cycle: 1,
                task: 99,
                number: 1,
            },
            part: 0,
            record: 0,
        };
        let stream = case.stream();
        let entry = Entry {
            payload: payload(key, 64),
            ..stream.records.last().expect("a record").clone()
        };
        stream.records.push(entry);
        renumber(stream);
    }),
    ("a record of no driver", &[Breach::NeverIssued], |case| {
        case.middle().payload = b"?".to_vec()
    }),
    (
        "half of an unanswered append of several streams is there",
        &[Breach::Torn],
        |case| {
            let (id, _) = case.acked(|op| op.parts.len() > 1 && op.parts[0].stream != op.parts[1].stream);
            case.forget_answer(id);
            case.remove(|key| key.op == id && key.part > 0);
        },
    ),
    (
        "an unanswered append of several records lacks its last",
        &[Breach::Torn],
        |case| {
            let (id, op) = case.acked(|op| op.parts.len() == 1 && op.parts[0].records.len() > 2);
            case.forget_answer(id);
            case.remove(|key| key.op == id && usize::from(key.record) + 1 == op.parts[0].records.len());
        },
    ),
    (
        "an append of several streams stands in two commits",
        &[Breach::Torn],
        |case| {
            let (id, _) = case.acked(|op| op.parts.len() > 1);
            for stream in case.contents.streams.values_mut() {
                let second =
                    |entry: &&mut Entry| key_of(&entry.payload).is_some_and(|key| key.op == id && key.part == 1);
                stream
                    .records
                    .iter_mut()
                    .filter(second)
                    .for_each(|entry| entry.commit += 1);
            }
        },
    ),
    ("a refused append is there", &[Breach::Resurrected], |case| {
        let (id, _) = case.acked(|_| true);
        case.forget_answer(id);
        let why = Refusal::Full;
        case.events.push(Event::Refused { id, why });
    }),
    ("a position is skipped", &[Breach::Gap], |case| {
        let stream = case.stream();
        let middle = stream.records.len() / 2;
        stream.records[middle..]
            .iter_mut()
            .for_each(|entry| entry.position += 1);
        stream.tail += 1;
    }),
    ("a number of a sub-stream is skipped", &[Breach::Gap], |case| {
        let all = case
            .contents
            .streams
            .values_mut()
            .flat_map(|stream| &mut stream.records);
        let entry = all
            .filter(|entry| entry.sub.is_some_and(|(_, number)| number > 1))
            .last();
        let sub = &mut entry.expect("a second record of a sub-stream").sub;
        *sub = sub.map(|(id, number)| (id, number + 1));
    }),
    ("a commit is missing, and no stream shows it", &[Breach::Gap], |case| {
        let last = case.contents.last_commit;
        case.contents.last_commit = last + 1;
    }),
    (
        "a stream that nobody can name holds a record of a commit",
        &[Breach::Gap],
        |case| {
            let commit = case.middle().commit;
            let all = case
                .contents
                .streams
                .values_mut()
                .flat_map(|stream| &mut stream.records);
            all.filter(|entry| entry.commit == commit)
                .for_each(|entry| entry.index += 1);
        },
    ),
    ("the tail is told too high", &[Breach::Gap], |case| {
        case.stream().tail += 1
    }),
    ("a stream has another id than was told", &[Breach::Lost], |case| {
        case.stream().id[3] ^= 1
    }),
    ("a stream's first record does not name it", &[Breach::Told], |case| {
        case.stream().records[0].opens = None
    }),
    ("a stream is opened a second time", &[Breach::Told], |case| {
        let name = case.long_stream();
        case.middle().opens = Some(name);
    }),
    ("time goes back in a stream", &[Breach::Told], |case| {
        case.middle().time_us -= 10_000_000
    }),
    ("what a reader saw is another record", &[Breach::SeenAndGone], |case| {
        let saw = case.events.iter_mut().find_map(|event| match event {
            Event::Saw { keys, .. } => keys.first_mut(),
            _ => None,
        });
        saw.expect("something was seen").op.number += 1;
    }),
    (
        "what a reader saw and nobody was told of is gone",
        &[Breach::SeenAndGone],
        |case| {
            let (stream, tail) = (case.long_stream(), case.stream().records.len() as u64);
            let key = key_of(&case.stream().records[0].payload).expect("a key");
            let seen = Event::Saw {
                stream,
                from: tail + 1,
                keys: vec![key],
            };
            case.events.push(seen);
        },
    ),
    (
        "a fold that was seen had taken in what is not there",
        &[Breach::SeenAndGone],
        |case| {
            let saw = case.events.iter_mut().find_map(|event| match event {
                Event::SawFold { last, hash, .. } if *last > 0 => Some(hash),
                _ => None,
            });
            *saw.expect("a fold was seen") ^= 1;
        },
    ),
    (
        "an append is there although its condition did not hold",
        &[Breach::Condition],
        |case| {
            let (id, _) = case.acked(|op| op.parts.len() == 1 && op.parts[0].expect.is_empty());
            for event in &mut case.events {
                if let Event::Start { id: other, op } = event
                    && *other == id
                {
                    op.parts[0].expect.push(Condition::Position(1_000_000));
                }
            }
        },
    ),
    (
        "a subject had another version when it was decided on",
        &[Breach::Condition],
        |case| {
            let asks = |op: &Op| matches!(op.parts[0].expect[..], [Condition::Version(..)]);
            let (id, _) = case.acked(asks);
            for event in &mut case.events {
                if let Event::Start { id: other, op } = event
                    && *other == id
                    && let Condition::Version(_, at) = &mut op.parts[0].expect[0]
                {
                    *at += 1;
                }
            }
        },
    ),
    (
        "a refusal names a position that the stream never had",
        &[Breach::Condition],
        |case| {
            let actual = case.events.iter_mut().find_map(|event| match event {
                Event::Refused {
                    why: Refusal::Position(actual),
                    ..
                } => Some(actual),
                _ => None,
            });
            *actual.expect("a refusal") += 1_000_000;
        },
    ),
    (
        "a refusal forgets what was acknowledged before",
        &[Breach::Condition],
        |case| {
            let stream = case.long_stream();
            let id = OpId {
                cycle: 1,
                task: 98,
                number: 1,
            };
            let record = OpRecord {
                bytes: 16,
                subject: 0,
                quiet: true,
                sub: None,
            };
            let part = OpPart {
                stream,
                fork: None,
                expect: vec![Condition::Position(7)],
                records: vec![record],
            };
            case.events.push(Event::Start {
                id,
                op: Op::of(vec![part]),
            });
            case.events.push(Event::Refused {
                id,
                why: Refusal::Position(1),
            });
        },
    ),
    (
        "a refusal names a version that no record has",
        &[Breach::Condition],
        |case| {
            let actual = case.events.iter_mut().rev().find_map(|event| match event {
                Event::Refused {
                    why: Refusal::Version(_, actual),
                    ..
                } => Some(actual),
                _ => None,
            });
            *actual.expect("a refusal") += 1_000_000;
        },
    ),
    (
        "a record was queued after another was acknowledged and stands before it",
        &[Breach::Unordered],
        |case| {
            let id = OpId {
                cycle: 0,
                task: 97,
                number: 1,
            };
            let commit = case.contents.last_commit + 5;
            let record = OpRecord {
                bytes: 16,
                subject: 0,
                quiet: true,
                sub: None,
            };
            let part = OpPart {
                stream: "elsewhere".to_owned(),
                fork: None,
                expect: Vec::new(),
                records: vec![record],
            };
            case.events.insert(
                0,
                Event::Start {
                    id,
                    op: Op::of(vec![part]),
                },
            );
            case.events.insert(
                1,
                Event::Done {
                    id,
                    commit,
                    parts: vec![([0; 16], 1, 1)],
                },
            );
        },
    ),
    (
        "an operation is there and one queued before it is not",
        &[Breach::Unordered],
        |case| {
            let plain = |op: &Op| op.key.is_none() && op.parts.len() == 1 && op.is_unconditional();
            let (id, op) = case.acked(plain);
            let gone = OpId {
                number: id.number,
                task: id.task,
                cycle: id.cycle,
            };
            let after = OpId {
                number: id.number + 10_000,
                ..id
            };
            // The operation is taken for a later one, and one like it, without an answer, comes before.
            let key = |op: OpId| Key { op, part: 0, record: 0 };
            let all = case
                .contents
                .streams
                .values_mut()
                .flat_map(|stream| &mut stream.records);
            for entry in all.filter(|entry| key_of(&entry.payload) == Some(key(id))) {
                entry.payload = payload(key(after), op.parts[0].records[0].bytes);
                entry.causation = sub_id(after);
                entry.origin = u64::from(after.number);
            }
            case.forget_answer(gone);
            case.events.push(Event::Start { id: after, op });
        },
    ),
    ("a repeated append is told other positions", &[Breach::Told], |case| {
        let (_, id) = case.repeated();
        let told = case.events.iter_mut().find_map(|event| match event {
            Event::Done { id: other, parts, .. } if *other == id => Some(parts),
            _ => None,
        });
        let (_, first, last) = &mut told.expect("an answer")[0];
        (*first, *last) = (*first + 1, *last + 1);
    }),
    (
        "a repeated append is appended again",
        &[Breach::Told, Breach::Duplicated],
        |case| {
            let (first, id) = case.repeated();
            let again = case.contents.streams.values_mut().find_map(|stream| {
                let of_it = |entry: &&Entry| key_of(&entry.payload).is_some_and(|key| key.op == first);
                let entry = stream.records.iter().find(of_it).cloned()?;
                stream.records.push(entry);
                renumber(stream);
                Some(())
            });
            again.expect("the operation is there");
            case.forget_answer(id);
        },
    ),
    (
        "what was acknowledged is refused when it is repeated",
        &[Breach::Condition],
        |case| {
            let (_, id) = case.repeated();
            case.forget_answer(id);
            let why = Refusal::Position(3);
            case.events.push(Event::Refused { id, why });
        },
    ),
    ("a fork has lost a record of its past", &[Breach::Altered], |case| {
        drop(case.fork().shared.pop())
    }),
    ("a fork has another past", &[Breach::Altered], |case| {
        let payload = &mut case.fork().shared.last_mut().expect("a past").payload;
        *payload.last_mut().expect("bytes") ^= 1;
    }),
    (
        "a fork says that it continues another stream",
        &[Breach::Altered],
        |case| {
            let forks = &mut case.fork().records[0].forks;
            *forks = forks.map(|(stream, position)| (stream.map(|byte| !byte), position));
        },
    ),
    ("a fork's fold begins with nothing", &[Breach::View], |case| {
        let base = case.fork().base();
        case.fork().tally.chain.retain(|at, _| *at > base);
    }),
    ("a fold lags behind its records", &[Breach::View], |case| {
        case.stream().tally.chain.retain(|at, _| *at == 1)
    }),
    ("a fold has taken in a record twice", &[Breach::View], |case| {
        case.stream().tally.add(1_000_000, 0, b"x")
    }),
    ("a fold has the wrong version of a subject", &[Breach::View], |case| {
        *case.stream().tally.versions.values_mut().next().expect("a version") -= 1;
    }),
    ("an index row is stale", &[Breach::View], |case| {
        case.contents.index[0].1[0] ^= 1
    }),
    ("an index row is missing", &[Breach::View], |case| {
        drop(case.contents.index.pop())
    }),
    ("an index row is left over", &[Breach::View], |case| {
        case.contents.index.push((b"v/gone/\0\x01".to_vec(), vec![0]))
    }),
    ("a stored row is stale", &[Breach::View], |case| {
        let kept = &mut case.contents.stored.as_mut().expect("rows").0;
        let value = kept.iter_mut().find_map(|(_, value)| value.first_mut());
        *value.expect("a row with a value") ^= 1;
    }),
    ("a stored row is missing", &[Breach::View], |case| {
        drop(case.contents.stored.as_mut().expect("rows").0.pop())
    }),
    ("a stored row is left over", &[Breach::View], |case| {
        case.contents
            .stored
            .as_mut()
            .expect("rows")
            .0
            .push((b"zzz".to_vec(), vec![0]));
    }),
    ("a rebuild gives other folds", &[Breach::View], |case| {
        let rebuilt = case.contents.rebuilt.as_mut().expect("a rebuild");
        rebuilt
            .streams
            .values_mut()
            .last()
            .expect("a stream")
            .tally
            .chain
            .clear();
    }),
    ("a sub-stream's count is wrong", &[Breach::View], |case| {
        case.contents.subs.values_mut().next().expect("a sub-stream").count += 1;
    }),
    ("a sub-stream's name is lost", &[Breach::View], |case| {
        drop(case.contents.subs.pop_first())
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_fault_is_told_and_an_honest_store_holds() {
    for seed in 0..3u64 {
        let case = honest(Choice::new(seed).bits()).await;
        let verdict = judge(&case.events, &case.contents);
        verdict.must_hold("an honest store");
        assert!(
            verdict.acked > 300 && verdict.refused > 50 && verdict.seen > 50,
            "{verdict}"
        );
        for (what, kinds, plant) in FAULTS {
            let mut spoilt = case.clone();
            plant(&mut spoilt);
            let verdict = judge(&spoilt.events, &spoilt.contents);
            let told = verdict.breaches.iter().any(|(kind, _)| kinds.contains(kind));
            assert!(
                told,
                "seed {seed}: {what}: not told as {kinds:?}: {verdict} {:?}",
                verdict.breaches
            );
        }
    }
    println!("{} planted faults", FAULTS.len());
}
