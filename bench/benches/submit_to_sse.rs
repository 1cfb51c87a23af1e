//! A request from its POST to the last byte of its stream: every token durable before it is sent, the model without pause, the router
//! called in process. One after the other, and 16 at once. Beside it one write and sync of the machine, as the unit to compare with.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowstate::engine::model::{Models, ScriptedModel};
use flowstate::{FlowState, lsm};
use flowstate_bench::limit::Limit;
use flowstate_bench::timed;
use flowstate_bench::words::Tokens;
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const CALLERS: [u64; 2] = [1, 16];

async fn call(router: &Router, request: Request<Body>, expected: StatusCode) -> bytes::Bytes {
    let answer = router.clone().oneshot(request).await.expect("an answer");
    assert_eq!(answer.status(), expected);
    answer.into_body().collect().await.expect("a body").to_bytes()
}

/// Runs one request in its own session; gives how many events its stream had.
async fn request(router: &Router, id: &str) -> usize {
    let body = format!("{{\"input\":{{\"message\":\"How are you?\"}},\"userId\":\"u\",\"requestId\":\"{id}\"}}");
    let post = Request::post("/api/flows/hello-chat/actions/chat")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("a request");
    call(router, post, StatusCode::ACCEPTED).await;
    let get = Request::get(format!("/api/flows/hello-chat/requests/{id}/stream")).header("host", "localhost");
    let stream = call(router, get.body(Body::empty()).expect("a request"), StatusCode::OK).await;
    assert!(
        stream.windows(17).any(|window| window == b"request.completed"),
        "the request completes"
    );
    stream.windows(4).filter(|window| window == b"id: ").count()
}

fn submit_to_sse(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(async {
        FlowState::builder()
            .flow(flowstate::cli::hello_chat().expect("the built-in flow"))
            .models(Models::new())
            .model(ScriptedModel::new(0))
            .store(lsm(folder.path().join("data")))
            .build()
            .expect("a server")
    });
    let router = server.router().expect("routes");
    let events = runtime.block_on(request(&router, "first"));
    println!("a request has {events} events");
    let mut limit = Limit::create(folder.path(), true).expect("a zero-filled file");
    let mut group = c.benchmark_group("submit_to_sse");
    group.sample_size(20);
    group.bench_function("one write and sync", |b| {
        let token: Vec<_> = Tokens::new(0).take(1).collect();
        b.iter_custom(|count| timed(|| (0..count).for_each(|_| limit.write(token.iter()).expect("write"))).0);
    });
    group.throughput(Throughput::Elements(events as u64));
    let mut run = 0;
    for callers in CALLERS {
        group.bench_function(BenchmarkId::new("request", callers), |b| {
            b.iter_custom(|count| {
                run += 1;
                let requests = async {
                    let mut tasks = Vec::new();
                    for caller in 0..callers {
                        let (router, share) = (router.clone(), count / callers + u64::from(caller < count % callers));
                        tasks.push(tokio::spawn(async move {
                            for number in 0..share {
                                request(&router, &format!("{run}-{caller}-{number}")).await;
                            }
                        }));
                    }
                    for task in tasks {
                        task.await.expect("a caller");
                    }
                };
                timed(|| runtime.block_on(requests)).0
            });
        });
    }
    group.finish();
    runtime.block_on(server.dispose());
}

criterion_group!(benches, submit_to_sse);
criterion_main!(benches);
