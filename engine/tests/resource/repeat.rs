//! Resources when a request is run again from its records.

use flowstate_engine::prelude::*;
use flowstate_engine::record::ScopeKind;
use flowstate_engine::{Eviction, NoState, Principal, Replay, RequestStatus, Submission, collection};
use serde_json::json;

use crate::support::{engine, going, to};
use crate::work::{File, PLAN};

#[tokio::test]
async fn a_replay_finds_the_resources_of_its_time() {
    let files = collection::<File>("files", "files/*")
        .max_instances(2)
        .eviction(Eviction::Lru);
    let own = files.clone();
    let flow = going("f", move |input, ctx| {
        let files = own.clone();
        async move {
            let plan = ctx.resource(&PLAN)?;
            let before = plan.read_content().await?;
            plan.write_content(format!("of {input}")).await?;
            let done = plan.state().inc("done", 1).await?.into_value();
            let files = ctx.collection_of(ScopeKind::User, &files)?;
            let file = files.get_or_create(input.as_str().unwrap_or_default()).await?;
            let reads = file.state().inc("reads", 1).await?.into_value();
            let mut keys = Vec::new();
            for file in files.list(None).await? {
                keys.push(file.path().to_owned());
            }
            Ok(json!([before, done, reads, keys]))
        }
    });
    let session = scope::<NoState>().resource(&PLAN);
    let engine = engine(flow.session(session).user(scope::<NoState>().resource(&files))).await;
    let mut given = Vec::new();
    for (request, input) in [("r1", "a"), ("r2", "b"), ("r3", "a"), ("r4", "c"), ("r5", "a")] {
        let submission = Submission {
            request: Some(request.into()),
            ..to("f", "ann", "s", json!(input))
        };
        let ran = engine.run_submission(submission).await.expect("a result");
        assert_eq!(ran.status, RequestStatus::Completed, "{:?}", ran.error);
        given.push((request, ran.output));
    }
    assert_eq!(given[3].1, json!(["of \"a\"", 4, 1, ["files/a", "files/c"]]));
    for (request, output) in given {
        let again = engine.replay(&Principal::default(), "f", request, Replay::new()).await;
        let again = again.expect("a result");
        assert_eq!(
            (again.status, again.output),
            (RequestStatus::Completed, output),
            "{request}"
        );
    }
    engine.close().await;
}
