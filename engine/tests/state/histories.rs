//! Histories of `set` and `atomic` from many requests at once, judged by the checker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowstate_engine::record::ScopeKind;
use flowstate_engine::{StateProblem, Timer};
use flowstate_log::Options;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::checker::{Operation, is_linearizable};
use super::support::*;
use flowstate_engine::prelude::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Register {
    value: u64,
}

/// Orders calls and returns of a test.
#[derive(Default)]
struct Recording {
    clock: AtomicU64,
    history: Mutex<Vec<Operation>>,
    lost: AtomicU64,
}

impl Recording {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// One operation, kept if it succeeded: what is there, a new value made from that, or one made from nothing.
    async fn perform(&self, state: &StateRef<Register>, what: What) -> Result<(), BlockError> {
        let (read, called) = (AtomicU64::new(u64::MAX), self.now());
        let new = Register { value: called + 1_000 };
        let written = match what {
            What::Set => state.set(new).await,
            What::Read | What::Atomic => {
                let next = |register: Register| {
                    read.store(register.value, Ordering::SeqCst);
                    match what {
                        What::Read => register,
                        What::Set | What::Atomic => new.clone(),
                    }
                };
                state.atomic(next).await
            }
        };
        match written {
            Ok(written) => self.history.lock().push(Operation {
                called,
                returned: self.now(),
                read: Some(read.into_inner()).filter(|read| *read != u64::MAX),
                left: written.value().value,
                version: written.version(),
            }),
            Err(error) => match error.problem {
                StateProblem::ConcurrentModification { attempts: 4 } => drop(self.lost.fetch_add(1, Ordering::SeqCst)),
                _ => return Err(error.into()),
            },
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum What {
    Read,
    Atomic,
    Set,
}

/// Eight requests at once: all in one session, or each in a session of its own and of one of two kinds of flow.
async fn histories(kind: ScopeKind, options: Options) {
    let recording = Arc::new(Recording::default());
    let flow = |name: &str| {
        let recording = recording.clone();
        let flow = going(name, move |input, ctx| {
            let recording = recording.clone();
            async move {
                let state = match kind {
                    ScopeKind::Session => ctx.session::<Register>(),
                    _ => ctx.user::<Register>(),
                };
                for turn in 0..5 {
                    let what = match (turn + input.as_u64().unwrap_or_default()) % 4 {
                        0 => What::Read,
                        1 => What::Set,
                        _ => What::Atomic,
                    };
                    recording.perform(&state, what).await?;
                }
                // Two blocks of one request at once.
                let (set, atomic) = (What::Set, What::Atomic);
                let both = tokio::join!(recording.perform(&state, set), recording.perform(&state, atomic));
                both.0.and(both.1)?;
                Ok(Value::Null)
            }
        });
        let flow = flow.session(scope::<Register>()).user(scope::<Register>().shared());
        flow.instance("default").expect("a flow")
    };
    let engine = open([flow("f"), flow("g")], &options).await;
    let runs = (0..8).map(|writer| {
        let (flow, session) = match kind {
            ScopeKind::Session => ("f", "s".to_owned()),
            _ => (["f", "g"][writer % 2], format!("s{writer}")),
        };
        run(&engine, to(flow, "ann", &session, json!(writer)))
    });
    for ended in futures_util::future::join_all(runs).await {
        assert_eq!(ended, Ok(Value::Null));
    }
    let history = std::mem::take(&mut *recording.history.lock());
    let lost = recording.lost.load(Ordering::SeqCst);
    assert_eq!(history.len() as u64 + lost, 8 * 7);
    assert!(history.len() >= 20, "{lost} lost: too few to judge");
    assert!(is_linearizable(&history, 0), "{history:?}");
    let mut spoilt = history;
    let written = spoilt.iter_mut().filter(|operation| operation.read.is_some());
    let last = written.max_by_key(|operation| operation.version).expect("it was read");
    last.read = last.read.map(|read| read + 1);
    assert!(!is_linearizable(&spoilt, 0), "the checker would say no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn set_and_atomic_on_a_session_are_linearizable() {
    histories(ScopeKind::Session, memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn set_and_atomic_on_a_user_that_flows_share_are_linearizable() {
    histories(ScopeKind::User, memory()).await;
}

/// No time passes; how long each wait was to be, in ms.
#[derive(Default)]
struct Waits(Mutex<Vec<u128>>);

impl Timer for Waits {
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.lock().push(time.as_millis());
        future::ready(()).boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_that_is_lost_each_time_is_an_error_after_four_attempts() {
    // Whenever `atomic` works something out, the other request changes the state before it is appended.
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
    let (answer, answered) = std::sync::mpsc::channel();
    let asked = Arc::new(tokio::sync::Mutex::new(asked));
    let (ask, answered) = (Arc::new(Mutex::new(Some(ask))), Arc::new(Mutex::new(answered)));
    let flow = going("f", move |input, ctx| {
        let (ask, answered, asked, answer) = (ask.clone(), answered.clone(), asked.clone(), answer.clone());
        async move {
            let state = ctx.session::<Register>();
            if input == json!("rival") {
                while let Some(()) = asked.lock().await.recv().await {
                    state.inc("value", 1).await?;
                    answer.send(())?;
                }
                return Ok(Value::Null);
            }
            let attempts = AtomicU64::new(0);
            let lost = state.atomic(|register| {
                attempts.fetch_add(1, Ordering::SeqCst);
                if let Some(ask) = &*ask.lock() {
                    let _ = ask.send(());
                }
                // What the other request needs to go on may wait for this thread.
                let answer = tokio::task::block_in_place(|| answered.lock().recv_timeout(Duration::from_secs(10)));
                assert!(answer.is_ok(), "the other request changed it");
                Register {
                    value: register.value + 1_000,
                }
            });
            let error = BlockError::from(lost.await.expect_err("it loses each time"));
            assert!(error.is_retryable());
            drop(ask.lock().take());
            Ok(json!([attempts.into_inner(), error.code(), error.message()]))
        }
    })
    .session(scope::<Register>());
    let (flow, waits) = (flow.instance("default").expect("a flow"), Arc::new(Waits::default()));
    let builder = Engine::builder().flow(flow).timer(waits.clone());
    let engine = builder.open(memory()).await.expect("an engine");
    let (_, lost) = tokio::join!(go(&engine, json!("rival")), go(&engine, json!("loser")));
    assert_eq!(*waits.0.lock(), [10, 20, 40]);
    let lost = lost.expect("it says why");
    assert_eq!((&lost[0], &lost[1]), (&json!(4), &json!("CONCURRENT_MODIFICATION")));
    assert!(lost[2].as_str().expect("a text").contains("4 times in a row"), "{lost}");
}
