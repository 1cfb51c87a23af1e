//! Calls from many connections, each waiting for its answer before it calls again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::env::{Env, SystemEnv};
use tokio::task::JoinSet;

use crate::client::Connection;

/// What to call.
pub struct Call {
    pub method: &'static str,
    pub path: String,
    pub accept: &'static str,
    pub body: String,
}

impl Call {
    pub fn get(path: String) -> Self {
        Self {
            method: "GET",
            path,
            accept: "*/*",
            body: String::new(),
        }
    }

    pub fn post(path: String, body: String) -> Self {
        Self {
            method: "POST",
            path,
            accept: "*/*",
            body,
        }
    }
}

/// What came of it.
#[derive(Default)]
pub struct Ran {
    pub calls: u64,
    pub events: u64,
    pub bytes: u64,
    pub elapsed: Duration,
    /// Of every call, ascending.
    pub waits: Vec<Duration>,
}

impl Ran {
    pub fn per_second(&self, of: u64) -> f64 {
        of as f64 / self.elapsed.as_secs_f64()
    }

    /// The wait that this share of the calls did not exceed, in microseconds.
    pub fn wait_us(&self, share: f64) -> f64 {
        let at = (self.waits.len().saturating_sub(1)) as f64 * share;
        self.waits
            .get(at as usize)
            .map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e6)
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.events += other.events;
        self.bytes += other.bytes;
        self.waits.extend(other.waits);
    }
}

/// How long to go on.
#[derive(Clone, Copy)]
pub enum Until {
    /// For this long.
    Time(Duration),
    /// So many calls on each connection.
    Calls(u64),
}

/// Drives so many connections. `make` is told the connection and the number of the call. `fresh` opens a connection for each call.
pub async fn drive(
    address: &str,
    connections: u64,
    until: Until,
    fresh: bool,
    make: impl Fn(u64, u64) -> Call + Clone + Send + Sync + 'static,
) -> Ran {
    let clock = Arc::new(SystemEnv::new());
    let started = clock.monotonic();
    let one = |connection: u64| {
        let (clock, make, address) = (clock.clone(), make.clone(), address.to_owned());
        async move {
            let mut ran = Ran::default();
            let mut open = None;
            loop {
                let goes_on = match until {
                    Until::Time(time) => clock.monotonic() - started < time,
                    Until::Calls(calls) => ran.calls < calls,
                };
                if !goes_on {
                    return ran;
                }
                let call = make(connection, ran.calls);
                let sent = clock.monotonic();
                let mut socket = match open.take() {
                    Some(socket) => socket,
                    None => Connection::open(&address).await.expect("a connection"),
                };
                socket
                    .send(call.method, &call.path, call.accept, &call.body)
                    .await
                    .expect("sent");
                let answer = socket.answer(|_| {}).await.expect("an answer");
                ran.waits.push(clock.monotonic() - sent);
                assert!((200..300).contains(&answer.status), "{} {}", answer.status, call.path);
                ran.calls += 1;
                ran.events += answer.events;
                ran.bytes += answer.bytes;
                open = (!fresh).then_some(socket);
            }
        }
    };
    let mut all = gather((0..connections).map(one)).await;
    all.elapsed = clock.monotonic() - started;
    all.waits.sort_unstable();
    all
}

async fn gather(loads: impl Iterator<Item = impl Future<Output = Ran> + Send + 'static>) -> Ran {
    let mut running: JoinSet<Ran> = loads.collect();
    let mut all = Ran::default();
    while let Some(ran) = running.join_next().await {
        all.add(ran.expect("a load"));
    }
    all
}
