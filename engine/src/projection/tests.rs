//! States and resources of random histories: built anew from the log they are the same bytes, and until then the old views serve.

use std::sync::Arc;

use flowstate_log::append::{Append, NewRecord, Part, Target};
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::record::{Kind, Name, StreamId, Subject};
use flowstate_log::view::{Fold, Row, View, ViewId};
use flowstate_log::{Log, Options};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::resource::{self, ResourceFold, ResourceView};
use super::state::{self, StateFold, StateView};
use super::testing::Rows;
use super::views;
use crate::exec::ResourceFact;
use crate::record::{Fact, ResourceAt, ResourceChanged, SESSION_STATE, SessionCreated, StateChanged, resource_subject};
use crate::scope::Fields;

/// One record: of which stream, what, of which key, with which number, and of which incarnation.
type Step = (u8, u8, u8, i64, u8);

fn step() -> impl Strategy<Value = Step> {
    (0..3u8, 0..8u8, 0..4u8, -9..9i64, 0..3u8)
}

fn name(stream: u8) -> Name {
    Name::new("", &format!("session/{stream}")).expect("a name")
}

/// What it states; of an instance, `tail` back from the end of the stream tells which incarnation it means.
fn stated((_, what, key, n, back): Step, tail: u64) -> (Fact, Subject) {
    let at = ResourceAt {
        resource: if what == 7 { "plan" } else { "files" }.into(),
        key: (what < 7).then(|| format!("files/{key}")),
        of: match back {
            0 => 0,
            back => tail.saturating_sub(u64::from(back) * 2),
        },
        ..ResourceAt::default()
    };
    let op = |n: i64| serde_json::from_value(json!({"inc": {"n": n}})).expect("an operation");
    let subject = resource_subject(&at);
    let fact: Fact = match what {
        0 | 1 => {
            let op = match key {
                0 => json!({"inc": {"n": n}}),
                1 => json!({"patch": {"word": n.to_string()}}),
                2 => json!({"push": {"field": "list", "value": n}}),
                _ => json!({"record_set": {"field": "map", "key": n.to_string(), "value": n}}),
            };
            let change = StateChanged {
                op: serde_json::from_value(op).expect("an operation"),
                ..StateChanged::default()
            };
            return (change.into(), SESSION_STATE);
        }
        2 | 3 => {
            ResourceFact::created(ResourceAt { of: 0, ..at }, Fields::from_iter([("n".into(), n.into())])).into_fact()
        }
        4 => ResourceFact::written(at, format!("body {n}").repeat(20).into()).into_fact(),
        5 => ResourceFact::deleted(at, n > 0).into_fact(),
        6 if n < 0 => ResourceFact::accessed(at).into_fact(),
        _ => ResourceChanged {
            at,
            op: op(n),
            ..ResourceChanged::default()
        }
        .into(),
    };
    (fact, subject)
}

/// The log that is tried, and the folds of what it was given, which are never loaded from rows.
struct Tried {
    log: Log,
    expected: Vec<Given>,
}

struct Given {
    stream: StreamId,
    tail: u64,
    views: Vec<(ViewId, Box<dyn Fold>)>,
}

struct NoIndex;

impl flowstate_log::view::IndexRows for NoIndex {
    fn put(&mut self, _: Vec<u8>, _: Vec<u8>) {}
    fn delete(&mut self, _: Vec<u8>) {}
}

fn rows(fold: &dyn Fold) -> Rows {
    let mut rows = Rows::new();
    fold.rows(&mut |row: Row| drop(rows.insert(row.key, row.value.expect("a value"))));
    rows
}

fn options(disk: &MemoryDisk) -> Options {
    let mut options = Options {
        disk: Arc::new(disk.clone()),
        views: views(),
        ..Options::in_memory()
    };
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 900 << 10;
    options
}

impl Tried {
    async fn put(&mut self, stream: Target, fact: Fact, subject: Subject) -> StreamId {
        let record = NewRecord {
            kind: fact.kind(),
            subject,
            sub: None,
            causation: [0; 16],
            origin: 0,
            payload: fact.encode().expect("a payload"),
        };
        let part = Part {
            stream,
            expect: Vec::new(),
            records: vec![record],
        };
        let appended = self.log.append(Append::of(vec![part])).await.expect("room");
        appended.await.expect("durable").parts[0].stream
    }

    async fn take(&mut self, step: Step) {
        let index = usize::from(step.0);
        let (fact, subject) = stated(step, self.expected[index].tail);
        self.put(Target::Id(self.expected[index].stream), fact, subject).await;
        self.fold(index).await;
    }

    /// Takes the stream's last record into what is expected.
    async fn fold(&mut self, index: usize) {
        let given = &mut self.expected[index];
        given.tail += 1;
        let records = self.log.read(given.stream, given.tail, 1).await.expect("records");
        for (id, fold) in &mut given.views {
            let view = views().into_iter().find(|view| view.id() == *id).expect("a view");
            if view.folds(records[0].kind) {
                fold.apply(&records[0], &mut NoIndex);
            }
        }
    }

    async fn holds(&self, when: &str) {
        for given in &self.expected {
            for (id, expected) in &given.views {
                let rows = match *id {
                    state::ID => self.log.view(given.stream, *id, |fold: &StateFold| rows(fold)).await,
                    _ => self.log.view(given.stream, *id, |fold: &ResourceFold| rows(fold)).await,
                };
                assert_eq!(
                    rows.expect("readable"),
                    self::rows(&**expected),
                    "{when}, view {}",
                    id.0
                );
            }
        }
    }
}

/// The same fold as a later version of it.
struct Later<V>(V);

impl<V: View> View for Later<V> {
    fn id(&self) -> ViewId {
        self.0.id()
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn version(&self) -> u32 {
        self.0.version() + 1
    }

    fn folds(&self, kind: Kind) -> bool {
        self.0.folds(kind)
    }

    fn empty(&self, stream: StreamId, name: &Name) -> Box<dyn Fold> {
        self.0.empty(stream, name)
    }

    fn load(&self, stream: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        self.0.load(stream, name, rows)
    }
}

async fn tried(steps: &[Step]) {
    let disk = MemoryDisk::new();
    let mut tried = Tried {
        log: Log::open(options(&disk)).expect("a log"),
        expected: Vec::new(),
    };
    for stream in 0..3 {
        let created = SessionCreated {
            state: json!({"n": 1}),
            ..SessionCreated::default()
        };
        let id = tried
            .put(Target::Name(name(stream)), created.into(), SESSION_STATE)
            .await;
        let views = [state::ID, resource::ID].map(|view| {
            let of = views().into_iter().find(|of| of.id() == view).expect("a view");
            (view, of.empty(id, &name(stream)))
        });
        tried.expected.push(Given {
            stream: id,
            tail: 0,
            views: views.into(),
        });
        tried.fold(usize::from(stream)).await;
    }
    let (before, meanwhile) = steps.split_at(steps.len() / 2);
    for step in before {
        tried.take(*step).await;
    }
    tried.holds("as they were folded").await;

    // Built anew by other code while records come and the old views serve.
    let log = tried.log.clone();
    let replaced = async {
        let segments = log.segments().expect("a log of segments");
        segments
            .replace_view(Arc::new(Later(StateView)))
            .await
            .expect("replaced");
        segments
            .replace_view(Arc::new(Later(ResourceView)))
            .await
            .expect("replaced");
    };
    let more = async {
        for step in meanwhile {
            tried.take(*step).await;
            tried.holds("while they are built anew").await;
        }
    };
    tokio::join!(replaced, more);
    tried.holds("built anew").await;

    // Without any rows to begin with: the store in memory went with the log.
    tried.log.close().await;
    tried.log = Log::open(options(&disk)).expect("a log");
    tried.holds("opened without rows").await;
    tried.log.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn built_anew_from_the_log_they_are_the_same_bytes_while_the_old_ones_serve(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(tried(&steps));
    }
}

#[test]
fn a_history_has_something_of_everything() {
    let seen: Vec<Value> = (0..8)
        .map(|what| json!(stated((0, what, 1, -1, 0), 9).0.kind().0))
        .collect();
    for kind in [24, 46, 47, 48, 49, 50] {
        assert!(seen.contains(&json!(kind)), "{kind}: {seen:?}");
    }
}
