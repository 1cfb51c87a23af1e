//! Generations that run at the same time, each at the pace of a model and each with a reader of its own: how long a token takes from the model
//! to the reader, durable on its way, and whether anybody falls behind.

use std::sync::Arc;
use std::time::Duration;

use flowstate_log::env::{Env, SystemEnv};
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::server::{Server, own_seconds_used};

pub const PER_SECOND: u64 = 50;

/// What was seen of all generations together.
pub struct Seen {
    /// Microseconds from the model to the reader, ascending, of every token.
    pub delays_us: Vec<f64>,
    /// How much longer than its tokens take the slowest generation took.
    pub behind: Duration,
    /// From the first call to the end of the last generation.
    pub elapsed: Duration,
    /// Processor time for each second: the server's, the readers'.
    pub cores: (f64, f64),
}

impl Seen {
    pub fn delay_ms(&self, share: f64) -> f64 {
        let at = (self.delays_us.len().saturating_sub(1)) as f64 * share;
        self.delays_us.get(at as usize).copied().unwrap_or(f64::NAN) / 1_000.0
    }
}

/// Runs `generations` of `tokens` each, begun over one second.
pub async fn run(server: &Server, run: u64, generations: u64, tokens: u64) -> Seen {
    let clock = Arc::new(SystemEnv::new());
    let (started, used) = (clock.monotonic(), (server.seconds_used(), own_seconds_used()));
    let mut readers = JoinSet::new();
    for number in 0..generations {
        let (clock, address) = (clock.clone(), server.address.clone());
        readers.spawn(async move {
            tokio::time::sleep(Duration::from_micros(number * 1_000_000 / generations)).await;
            let mut connection = Connection::open(&address).await.expect("a connection");
            let body = format!(
                "{{\"userId\":\"u\",\"sessionId\":\"live-{run}-{number}\",\"input\":{{\"tokens\":{tokens},\"per_second\":{PER_SECOND}}}}}"
            );
            let path = "/api/flows/bench/actions/tokens";
            connection.send("POST", path, "text/event-stream", &body).await.expect("sent");
            let begun = clock.monotonic();
            let (mut delays, mut rest) = (Vec::with_capacity(tokens as usize), Vec::new());
            let answer = connection.answer(|some| told(&clock, some, &mut rest, &mut delays)).await;
            assert_eq!(answer.expect("an answer").status, 200);
            assert_eq!(delays.len() as u64, tokens, "every token is shown");
            (delays, clock.monotonic() - begun)
        });
    }
    let mut seen = Seen {
        delays_us: Vec::new(),
        behind: Duration::ZERO,
        elapsed: Duration::ZERO,
        cores: (0.0, 0.0),
    };
    // The first token comes at once.
    let ideal = Duration::from_secs(1) * (tokens as u32 - 1) / PER_SECOND as u32;
    while let Some(reader) = readers.join_next().await {
        let (delays, took) = reader.expect("a reader");
        seen.delays_us.extend(delays);
        seen.behind = seen.behind.max(took.saturating_sub(ideal));
    }
    seen.elapsed = clock.monotonic() - started;
    let cores = |now: f64, before: f64| (now - before) / seen.elapsed.as_secs_f64();
    seen.cores = (cores(server.seconds_used(), used.0), cores(own_seconds_used(), used.1));
    seen.delays_us.sort_unstable_by(f64::total_cmp);
    seen
}

/// Notes how old each token is that the bytes tell of: `"delta":"<microseconds> `.
fn told(clock: &SystemEnv, some: &[u8], rest: &mut Vec<u8>, delays: &mut Vec<f64>) {
    const MARK: &[u8] = b"\"delta\":\"";
    const DIGITS: usize = 16;
    let now = clock.now_us();
    rest.extend_from_slice(some);
    let mut at = 0;
    while let Some(found) = rest[at..].windows(MARK.len()).position(|window| window == MARK) {
        let begin = at + found + MARK.len();
        let Some(digits) = rest.get(begin..begin + DIGITS) else {
            break;
        };
        let made: Option<i64> = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        delays.push((now - made.expect("the time of a token")) as f64);
        at = begin + DIGITS;
    }
    // What may be the beginning of another.
    let keep = (rest.len() - at).min(MARK.len() + DIGITS);
    rest.drain(..rest.len() - keep);
}
