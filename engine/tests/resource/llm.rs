//! The tools by which models read and write bodies.

use std::sync::Arc;

use flowstate_engine::model::{Model, Reply, ScriptedModel};
use flowstate_engine::prelude::*;
use flowstate_engine::{
    NoState, ReadResourceContent, ResourceContent, WriteResourceContent, collection, read_resource_content, resource,
    write_resource_content,
};
use serde_json::{Value, json};

use crate::support::{engine, go, json};
use crate::work::{File, Plan};

/// A flow whose action calls one of the tools: a path and text to write, a path to read, or nothing.
async fn calling() -> Engine {
    let open = resource::<Plan>("open")
        .content("of the session")
        .llm_readable()
        .llm_writable();
    let read = resource::<Plan>("read")
        .content("{{ done }} done")
        .template()
        .llm_readable();
    let written = resource::<Plan>("written").llm_writable();
    let closed = resource::<Plan>("closed").content("secret");
    let fixed = resource::<Plan>("fixed")
        .content("fixed")
        .llm_readable()
        .llm_writable()
        .read_only();
    let files = collection::<File>("files", "files/**").llm_readable().llm_writable();
    let hidden = collection::<File>("hidden", "hidden/*");
    let (made, unseen) = (files.clone(), hidden.clone());
    let prepare = handler("prepare").run(move |input: Value, ctx: Ctx| {
        let (made, unseen) = (made.clone(), unseen.clone());
        async move {
            let file = ctx.collection(&made)?.get_or_create("src/main.rs").await?;
            if file.read_content_raw().await?.is_none() {
                file.write_content("fn main() {}").await?;
            }
            ctx.collection(&unseen)?
                .get_or_create("a")
                .await?
                .write_content("secret")
                .await?;
            Ok(input)
        }
    });
    let reads = sequencer::<Value>("reads")
        .map(|input, _| ReadResourceContent {
            path: input.as_str().map(str::to_owned),
        })
        .then(read_resource_content())
        .map(|read: ResourceContent, _| json(read));
    let writes = sequencer::<Value>("writes")
        .map(|input, _| WriteResourceContent {
            path: input[0].as_str().unwrap_or_default().to_owned(),
            content: input[1].as_str().unwrap_or_default().to_owned(),
        })
        .then(write_resource_content())
        .map(|written, _| json(written));
    let which = router("which")
        .route("reads", reads)
        .route("writes", writes)
        .decide(|input: &Value, _, (reads, writes)| if input.is_array() { writes } else { reads });
    let session = scope::<NoState>()
        .resource(&open)
        .resource(&closed)
        .resource(&files)
        .resource(&hidden);
    let user = scope::<NoState>().resource(&read).resource(&written).resource(&fixed);
    let chain = sequencer::<Value>("chain").then(prepare).then(which);
    engine(flow("f").action("go", action(chain)).session(session).user(user)).await
}

#[tokio::test]
async fn a_model_reads_what_is_readable_and_nothing_else() {
    let engine = calling().await;
    assert_eq!(
        go(&engine, Value::Null).await,
        Ok(json!({"paths": ["session/files/src/main.rs", "session/open", "user/fixed", "user/read"]}))
    );
    for (path, content) in [
        ("session/open", "of the session"),
        ("session/files/src/main.rs", "fn main() {}"),
        ("user/read", "0 done"),
    ] {
        assert_eq!(
            go(&engine, json!(path)).await,
            Ok(json!({"path": path, "content": content}))
        );
    }
    for path in [
        "session/closed",
        "user/written",
        "session/hidden/a",
        "session/files/none",
        "session/none",
        "project/open",
        "request/open",
        "open",
        "",
        "session/files/../closed",
        "session//closed",
    ] {
        let failed = go(&engine, json!(path)).await.expect_err(path);
        assert_eq!(failed.code, "resource_not_readable", "{path}");
        assert!(!failed.message.contains("secret"), "{failed:?}");
    }
    engine.close().await;
}

#[tokio::test]
async fn a_model_writes_what_is_writable_and_nothing_else() {
    let engine = calling().await;
    for path in ["session/open", "user/written", "session/files/src/main.rs"] {
        assert_eq!(
            go(&engine, json!([path, "new"])).await,
            Ok(json!({"path": path, "ok": true}))
        );
    }
    for path in ["session/open", "session/files/src/main.rs"] {
        assert_eq!(
            go(&engine, json!(path)).await,
            Ok(json!({"path": path, "content": "new"}))
        );
    }
    for path in [
        "session/closed",
        "user/read",
        "session/hidden/a",
        "session/files/none",
        "nowhere",
    ] {
        let failed = go(&engine, json!([path, "new"])).await.expect_err(path);
        assert_eq!(failed.code, "resource_not_writable", "{path}");
    }
    let failed = go(&engine, json!(["user/fixed", "new"]))
        .await
        .expect_err("it is read-only");
    assert_eq!(failed.code, "resource_read_only");
    engine.close().await;
}

#[tokio::test]
async fn a_generator_has_the_tools_only_if_they_are_given_to_it() {
    let notes = resource::<Plan>("notes").content("# Notes").llm_readable();
    let asked = |tools: bool| {
        let notes = notes.clone();
        async move {
            let replies = [
                Reply::new().tool("readResourceContent", json!({"path": "session/notes"})),
                Reply::text("read"),
            ];
            let script = Arc::new(ScriptedModel::script(replies)) as Arc<dyn Model>;
            let asks = generator("asks").model(script).user(|_: &Value, _| "go".to_owned());
            let asks = if tools {
                asks.tool(read_resource_content())
            } else {
                asks
            };
            let flow = flow("f")
                .action("go", action(asks))
                .session(scope::<NoState>().resource(&notes));
            let engine = engine(flow).await;
            let records = crate::support::records(&engine, crate::support::to("f", "ann", "s", Value::Null)).await;
            engine.close().await;
            let results = records.into_iter().filter_map(|(_, fact)| match fact {
                flowstate_engine::record::Fact::ToolReturned(returned) => Some(returned.is_error),
                _ => None,
            });
            results.collect::<Vec<_>>()
        }
    };
    assert_eq!(asked(true).await, [false]);
    assert_eq!(asked(false).await, [true], "there is no such tool");
}
