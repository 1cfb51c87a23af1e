//! The server over HTTP, from a second process on loopback, beside the least that axum can do and one write and sync of the machine. Ratios
//! are of medians of one run. `cargo bench --bench http -- calls reads idle live` runs some of its tables; sizes are in variables:
//! `FLOWSTATE_BENCH_ROUNDS`, `FLOWSTATE_BENCH_MS`, `FLOWSTATE_BENCH_IDLE`, `FLOWSTATE_BENCH_GENERATIONS`, `FLOWSTATE_BENCH_TOKENS`.

mod client;
mod live;
mod load;
mod serve;
mod server;

use std::time::Duration;

use flowstate_bench::limit::Limit;
use flowstate_bench::table::{median, named, print_load, rounds, size};
use flowstate_bench::timed;
use flowstate_bench::words::Tokens;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use client::Connection;
use load::{Call, Ran, Until, drive};
use server::Server;

/// Requests of each length that are read.
const REQUESTS: u64 = 40;
/// Tokens of a long one and of a short one.
const LONG: u64 = 2_000;
const SHORT: u64 = 393;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let descriptors = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: descriptors,
        maximum: descriptors,
    };
    setrlimit(Resource::Nofile, raised).expect("descriptors");
    if args.first().is_some_and(|first| first == serve::SERVE) {
        return serve::run(&args[1..]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    print_load();
    for table in named(&["calls", "reads", "idle", "live"]) {
        match table {
            "calls" => calls(&runtime),
            "reads" => reads(&runtime),
            "idle" => idle(&runtime),
            _ => live(&runtime),
        }
    }
    print_load();
}

fn ours() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let data = folder.path().join("data");
    (Server::start(&["ours", data.to_str().expect("a path")]), folder)
}

fn heading(columns: &[&str]) {
    print!("\n{:<34}", "");
    columns.iter().for_each(|column| print!("{column:>12}"));
    println!();
}

/// POSTs and PATCHes, one after the other on 1 and on 64 connections.
fn calls(runtime: &Runtime) {
    const ROWS: [&str; 5] = [
        "write and sync",
        "axum, 202",
        "describe, durable",
        "accept, durable",
        "steps, to the end",
    ];
    let time = Until::Time(Duration::from_millis(size("FLOWSTATE_BENCH_MS", 1_500)));
    let (server, _folder) = ours();
    let axum = Server::start(&["axum"]);
    let sync = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let mut limit = Limit::create(sync.path(), true).expect("a zero-filled file");
    let token: Vec<_> = Tokens::new(0).take(1).collect();
    heading(&["calls/s", "of axum", "p50 us", "p99 us", "p50/sync"]);
    for connections in [1, 64] {
        for session in 0..connections {
            runtime.block_on(drive(&server.address, 1, Until::Calls(1), false, move |_, _| {
                let body = format!("{{\"userId\":\"u\",\"sessionId\":\"{connections}-{session}\"}}");
                Call::post("/api/flows/bench/sessions".to_owned(), body)
            }));
        }
        let numbers = rounds(size("FLOWSTATE_BENCH_ROUNDS", 3), ROWS.len(), |row| {
            let ran = match ROWS[row] {
                "write and sync" => {
                    let mut ran = Ran::default();
                    while ran.elapsed < Duration::from_millis(500) {
                        let (took, ()) = timed(|| limit.write(token.iter()).expect("written"));
                        ran.calls += 1;
                        ran.elapsed += took;
                        ran.waits.push(took);
                    }
                    ran.waits.sort_unstable();
                    ran
                }
                "axum, 202" => {
                    let make = |_, _| Call::post("/accept".to_owned(), steps_body("s"));
                    runtime.block_on(drive(&axum.address, connections, time, false, make))
                }
                "describe, durable" => {
                    runtime.block_on(drive(&server.address, connections, time, false, move |on, number| {
                        Call {
                            method: "PATCH",
                            path: format!("/api/flows/sessions/{connections}-{on}/metadata"),
                            accept: "*/*",
                            body: format!(
                                "{{\"metadata\":{{\"number\":{number},\"text\":\"{}\"}}}}",
                                "brave new world ".repeat(8)
                            ),
                        }
                    }))
                }
                row => {
                    let accept = if row == "accept, durable" {
                        "*/*"
                    } else {
                        "text/event-stream"
                    };
                    let make = move |on, _| Call {
                        accept,
                        ..Call::post(
                            "/api/flows/bench/actions/steps".to_owned(),
                            steps_body(&format!("{connections}-{on}")),
                        )
                    };
                    let ran = runtime.block_on(drive(&server.address, connections, time, false, make));
                    runtime.block_on(drained(&server));
                    ran
                }
            };
            [ran.per_second(ran.calls), ran.wait_us(0.5), ran.wait_us(0.99)]
        });
        for (row, [rate, p50, p99]) in ROWS.iter().zip(&numbers) {
            let name = format!("{row}, {connections}");
            let (axum, sync) = (numbers[1][0], numbers[0][1]);
            println!(
                "{name:<34}{rate:>12.0}{:>12.2}{p50:>12.1}{p99:>12.1}{:>12.2}",
                rate / axum,
                p50 / sync
            );
        }
    }
}

fn steps_body(session: &str) -> String {
    format!("{{\"userId\":\"u\",\"sessionId\":\"{session}\",\"input\":1}}")
}

/// The number of a request's last event.
async fn last_number(server: &Server, request: &str) -> u64 {
    let mut connection = Connection::open(&server.address).await.expect("a connection");
    let path = format!("/api/flows/bench/requests/{request}/stream");
    connection.send("GET", &path, "*/*", "").await.expect("sent");
    let mut body = Vec::new();
    connection
        .answer(|some| body.extend_from_slice(some))
        .await
        .expect("an answer");
    let text = String::from_utf8_lossy(&body);
    let id = text
        .rsplit("id: ")
        .next()
        .and_then(|frame| frame.split(['\n', ':']).nth(1));
    id.and_then(|number| number.parse().ok()).expect("a number")
}

/// Waits until nothing runs.
async fn drained(server: &Server) {
    loop {
        let mut connection = Connection::open(&server.address).await.expect("a connection");
        connection
            .send("GET", "/api/flows/active-requests", "*/*", "")
            .await
            .expect("sent");
        let mut body = Vec::new();
        connection
            .answer(|some| body.extend_from_slice(some))
            .await
            .expect("an answer");
        if body == b"{\"entries\":[]}" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Streams of requests that have ended: the first byte of a resume, a hundred events, all of them.
fn reads(runtime: &Runtime) {
    let (server, _folder) = ours();
    let axum = Server::start(&["axum"]);
    for (prefix, tokens) in [("long", LONG), ("short", SHORT)] {
        runtime.block_on(drive(&server.address, 8, Until::Calls(REQUESTS / 8), false, move |on, number| {
            let id = on * (REQUESTS / 8) + number;
            let input = format!("{{\"tokens\":{tokens},\"per_second\":0}}");
            let body = format!("{{\"userId\":\"u\",\"sessionId\":\"{prefix}-{id}\",\"requestId\":\"{prefix}-{id}\",\"input\":{input}}}");
            Call {
                accept: "text/event-stream",
                ..Call::post("/api/flows/bench/actions/tokens".to_owned(), body)
            }
        }));
    }
    let time = Until::Time(Duration::from_millis(size("FLOWSTATE_BENCH_MS", 1_500)));
    let of_long = |on: u64, number: u64| (on * 13 + number * 7) % REQUESTS;
    let stream = |prefix: &str, id: u64, after: u64| {
        Call::get(format!(
            "/api/flows/bench/requests/{prefix}-{id}/stream?starting_after={after}"
        ))
    };
    let plain = |path: &str, n: u64| Call::get(format!("{path}?n={n}"));
    let last = |prefix: &str| runtime.block_on(last_number(&server, &format!("{prefix}-0")));
    let (long, short) = (last("long"), last("short"));
    // Name, connections, whether each call has a connection of its own.
    let rows: [(&str, u64, bool); 15] = [
        ("first byte, axum", 1, true),
        ("first byte, resumed", 1, true),
        ("first byte, axum", 1, false),
        ("first byte, resumed", 1, false),
        ("100 events, resumed", 1, false),
        ("100 events, resumed", 16, false),
        ("whole, axum events", 1, false),
        ("whole, axum encoded", 1, false),
        ("whole", 1, false),
        ("whole, axum events", 16, false),
        ("whole, axum encoded", 16, false),
        ("whole", 16, false),
        ("400 events, axum events", 1_000, true),
        ("400 events, axum encoded", 1_000, true),
        ("400 events", 1_000, true),
    ];
    let numbers = rounds(size("FLOWSTATE_BENCH_ROUNDS", 3), rows.len(), |row| {
        let (name, connections, fresh) = rows[row];
        let server = if name.contains("axum") {
            &axum.address
        } else {
            &server.address
        };
        let until = if connections == 1_000 { Until::Calls(1) } else { time };
        let ran = runtime.block_on(drive(server, connections, until, fresh, move |on, number| match name {
            "first byte, axum" => plain("/events", 1),
            "first byte, resumed" => stream("long", of_long(on, number), long - 1),
            "100 events, resumed" => stream("short", of_long(on, number), short - 100),
            "whole, axum events" => plain("/events", LONG),
            "whole, axum encoded" => plain("/encoded", LONG),
            "whole" => stream("long", of_long(on, number), 0),
            "400 events, axum events" => plain("/events", 400),
            "400 events, axum encoded" => plain("/encoded", 400),
            _ => stream("short", on % REQUESTS, 0),
        }));
        [
            ran.per_second(ran.calls),
            ran.per_second(ran.events),
            ran.per_second(ran.bytes) / 1e6,
            ran.wait_us(0.5),
            ran.wait_us(0.99),
        ]
    });
    heading(&["calls/s", "events/s", "MB/s", "p50 us", "p99 us"]);
    for ((name, connections, fresh), [calls, events, mb, p50, p99]) in rows.iter().zip(&numbers) {
        let fresh = if *fresh { ", connecting" } else { "" };
        let name = format!("{name}, {connections}{fresh}");
        println!("{name:<34}{calls:>12.0}{events:>12.0}{mb:>12.1}{p50:>12.1}{p99:>12.1}");
    }
}

/// What a stream costs in which nothing happens.
fn idle(runtime: &Runtime) {
    let connections = size("FLOWSTATE_BENCH_IDLE", 5_000);
    heading(&["KiB each", "MiB before"]);
    for row in ["axum", "a session's stream"] {
        let mut seen = Vec::new();
        let mut before = 0;
        for _ in 0..size("FLOWSTATE_BENCH_ROUNDS", 3) {
            let folder;
            let (server, path) = match row {
                "axum" => (Server::start(&["axum"]), "/idle"),
                _ => {
                    let (server, kept) = ours();
                    folder = kept;
                    let _ = &folder;
                    let body = "{\"userId\":\"u\",\"sessionId\":\"s\"}".to_owned();
                    let make = move |_, _| Call::post("/api/flows/bench/sessions".to_owned(), body.clone());
                    runtime.block_on(drive(&server.address, 1, Until::Calls(1), false, make));
                    (server, "/api/flows/sessions/s/stream?starting_after=1")
                }
            };
            before = server.resident_kib();
            let open = runtime.block_on(async {
                let mut open = Vec::new();
                for _ in 0..connections {
                    let mut connection = Connection::open(&server.address).await.expect("a connection");
                    connection
                        .send("GET", path, "text/event-stream", "")
                        .await
                        .expect("sent");
                    connection.some().await.expect("a head");
                    open.push(connection);
                }
                open
            });
            std::thread::sleep(Duration::from_secs(1));
            seen.push((server.resident_kib() - before) as f64 / connections as f64);
            drop(open);
        }
        println!(
            "{:<34}{:>12.2}{:>12}",
            format!("{row}, {connections}"),
            median(seen),
            before >> 10
        );
    }
}

/// Generations at a model's pace, a reader each.
fn live(runtime: &Runtime) {
    let most = size("FLOWSTATE_BENCH_GENERATIONS", 1_000);
    let tokens = size("FLOWSTATE_BENCH_TOKENS", 500);
    heading(&[
        "tokens/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "behind ms",
        "cores",
        "readers'",
    ]);
    let (server, _folder) = ours();
    let mut run = 0;
    for generations in [1, 100, most / 2, most] {
        let numbers = rounds(size("FLOWSTATE_BENCH_ROUNDS", 3), 1, |_| {
            run += 1;
            let seen = runtime.block_on(live::run(&server, run, generations, tokens));
            [
                seen.delays_us.len() as f64 / seen.elapsed.as_secs_f64(),
                seen.delay_ms(0.5),
                seen.delay_ms(0.99),
                seen.delay_ms(1.0),
                seen.behind.as_secs_f64() * 1e3,
                seen.cores.0,
                seen.cores.1,
            ]
        });
        let [rate, p50, p99, max, behind, cores, readers] = numbers[0];
        println!(
            "{:<34}{rate:>12.0}{p50:>12.2}{p99:>12.2}{max:>12.1}{behind:>12.1}{cores:>12.2}{readers:>12.2}",
            format!("generations, {generations}")
        );
    }
}
