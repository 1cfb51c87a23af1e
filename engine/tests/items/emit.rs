//! What blocks emit by themselves: items of every type, from whom, and how they end.

use flowstate_engine::item::{Audience, Container, ItemBody, ItemStatus, Role, Source, ToolCall, Visibility};
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use serde_json::{Value, json};

use super::support::{completed, emitted};

fn call() -> ToolCall {
    ToolCall {
        call_id: "c1".into(),
        name: "search".into(),
        arguments: "{}".into(),
        generator: "chat".into(),
    }
}

#[tokio::test]
async fn every_type_is_added_and_completed_and_seen_by_whom_it_is_for() {
    let (facts, items) = emitted(|_: Value, ctx: Ctx| async move {
        ctx.emit().message("hi").await?;
        ctx.emit().model_only("remember this").await?;
        ctx.emit().to(Audience::Trace).reasoning("hm").await?;
        ctx.emit()
            .message_as(Role::Developer, vec!["a".into(), "b".into()])
            .await?;
        ctx.emit().component("card", json!({"n": 1})).await?;
        ctx.emit()
            .source(Source {
                url: "https://example.org".into(),
                ..Source::default()
            })
            .await?;
        ctx.emit().status("thinking").await?;
        ctx.emit().tool_call_progress(call()).await?;
        ctx.emit().open_tool(call()).await?.done(json!({"hits": 2})).await?;
        ctx.emit()
            .open_tool(call())
            .await?
            .fail(&BlockError::new("no_net", "no network"))
            .await?;
        ctx.emit()
            .step_error(&BlockError::new("slow", "too slow"), true)
            .await?;
        Ok(Value::Null)
    })
    .await;
    let added = facts.iter().filter(|fact| matches!(fact, Fact::ItemAdded(_))).count();
    let said = completed(&facts);
    assert_eq!((added, said.len()), (11, 11));
    let seen: Vec<(&str, bool, bool, bool)> = said
        .iter()
        .map(|item| {
            (
                item.body.type_name(),
                item.visibility.client,
                item.visibility.history,
                item.transient,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("message", true, true, false),
            ("message", false, true, false),
            ("reasoning", false, false, false),
            ("message", true, true, false),
            ("component", true, false, false),
            ("source", true, false, false),
            ("status", true, false, true),
            ("tool_call_progress", true, false, true),
            ("tool_output", true, true, false),
            ("tool_output", true, true, false),
            ("step_error", true, false, false),
        ]
    );
    assert_eq!(
        (said[8].status, said[9].status),
        (ItemStatus::Completed, ItemStatus::Failed)
    );
    let (ItemBody::ToolOutput(done), ItemBody::ToolOutput(failed)) = (&said[8].body, &said[9].body) else {
        panic!("{said:?}")
    };
    assert_eq!((&done.output, done.error.is_none()), (&Some(json!({"hits": 2})), true));
    assert_eq!(
        failed.error.as_ref().and_then(|error| error.code.as_deref()),
        Some("no_net")
    );
    let types: Vec<&str> = items.iter().map(|item| item.body.type_name()).collect();
    assert_eq!(
        types,
        [
            "message",
            "message",
            "component",
            "source",
            "tool_output",
            "tool_output",
            "step_error"
        ],
        "what is for clients and not live only"
    );
    assert!(
        said.windows(2)
            .all(|pair| pair[0].ts_ms <= pair[1].ts_ms && pair[0].index < pair[1].index)
    );
    let provenance = &said[0].provenance;
    assert_eq!(
        (provenance.block_name.as_str(), provenance.instance.as_str()),
        ("inline", "r:root:0")
    );
}

#[tokio::test]
async fn text_is_added_as_it_comes_and_what_is_left_open_is_closed_with_the_request() {
    let (facts, _) = emitted(|_: Value, ctx: Ctx| async move {
        let thought = ctx.emit().open_reasoning().await?;
        thought.append("hm").await?;
        let message = ctx.emit().open_message().await?;
        message.append("well, ").await?;
        message.append("yes").await?;
        message.done().await?;
        ctx.emit().open_tool(call()).await?;
        Ok(Value::Null)
    })
    .await;
    let ends: Vec<Value> = completed(&facts)
        .iter()
        .map(|item| {
            let text: String = match &item.body {
                ItemBody::Message { content: parts, .. } | ItemBody::Reasoning { summary: parts } => {
                    parts.iter().map(|part| part.as_text()).collect()
                }
                _ => String::new(),
            };
            json!([item.body.type_name(), item.status.as_str(), text])
        })
        .collect();
    assert_eq!(
        ends,
        [
            json!(["message", "completed", "well, yes"]),
            json!(["reasoning", "incomplete", "hm"]),
            json!(["tool_output", "incomplete", ""]),
        ]
    );
    let deltas = facts
        .iter()
        .filter(|fact| matches!(fact, Fact::ContentDelta(_)))
        .count();
    assert_eq!(deltas, 3, "each piece is a record");
}

#[tokio::test]
async fn a_key_replaces_the_item_that_had_it() {
    let (facts, items) = emitted(|_: Value, ctx: Ctx| async move {
        let plan = ctx.emit().keyed_component("plan", "p", json!({"step": 1})).await?;
        ctx.emit().message("between").await?;
        plan.update(json!({"step": 2})).await?;
        ctx.emit().keyed_component("plan", "p", json!({"step": 3})).await?;
        let error = ctx.emit().component("plan", 7).await.expect_err("no object");
        assert_eq!(error.code(), "invalid_component");
        Ok(Value::Null)
    })
    .await;
    let indices: Vec<u32> = completed(&facts).iter().map(|item| item.index).collect();
    assert_eq!(indices, [0, 1, 0, 0], "one item, and its place stays");
    let times: Vec<i64> = completed(&facts).iter().map(|item| item.ts_ms).collect();
    assert_eq!((times[0], times[0]), (times[2], times[3]));
    let shown: Vec<Value> = items
        .iter()
        .map(|item| match &item.body {
            ItemBody::Component(component) => component.data.clone(),
            other => json!(other.type_name()),
        })
        .collect();
    assert_eq!(shown, [json!({"step": 3}), json!("message")]);
}

#[tokio::test]
async fn there_is_one_status_and_only_news_is_shown() {
    let (facts, items) = emitted(|_: Value, ctx: Ctx| async move {
        ctx.emit().status("").await?;
        ctx.emit().status("reading").await?;
        ctx.emit().status("reading").await?;
        ctx.emit().status_flags(false, 2).await?;
        ctx.emit().status_flags(false, 2).await?;
        ctx.emit().status("").await?;
        Ok(Value::Null)
    })
    .await;
    let shown: Vec<Value> = completed(&facts)
        .iter()
        .map(|item| match &item.body {
            ItemBody::Status(status) => json!([status.message, status.blocked, status.background_tasks]),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!(["reading", null, null]),
            json!(["reading", false, 2]),
            json!(["", false, 2])
        ]
    );
    assert!(items.is_empty(), "a status is live only");
}

#[tokio::test]
async fn a_container_owns_what_is_emitted_inside_of_it() {
    let (facts, _) = emitted(|_: Value, ctx: Ctx| async move {
        let card = Container {
            component: Some("card".into()),
            label: Some("Cooking".into()),
            ..Container::default()
        };
        let container = ctx.emit().container(card).await?;
        container.ctx().emit().message("inside").await?;
        container.ctx().emit().status("inside").await?;
        ctx.emit().message("outside").await?;
        container.fail(&BlockError::new("burnt", "it burnt")).await?;
        Ok(Value::Null)
    })
    .await;
    let said = completed(&facts);
    let owned: Vec<(&str, Option<&str>)> = said
        .iter()
        .map(|item| (item.body.type_name(), item.owned_by.as_deref()))
        .collect();
    assert_eq!(
        owned,
        [
            ("message", Some("r:root:0")),
            ("status", Some("r:root:0")),
            ("message", None),
            ("container", None)
        ]
    );
    let ItemBody::Container(container) = &said[3].body else {
        panic!("{:?}", said[3])
    };
    assert_eq!(
        (said[3].status, container.block_name.as_str()),
        (ItemStatus::Failed, "inline")
    );
    assert_eq!(
        container.error.as_ref().map(|error| error.message.as_str()),
        Some("it burnt")
    );
    assert_eq!(said[3].visibility, Visibility::CLIENT);
}

#[tokio::test]
async fn every_item_says_which_block_made_it_where_and_in_which_phase() {
    let speaks = |name: &'static str| {
        handler(name).run(|input: Value, ctx: Ctx| async move {
            ctx.emit().message("hi").await?;
            Ok(input)
        })
    };
    let inner = sequencer::<Value>("inner").then(speaks("deep"));
    let chain = sequencer::<Value>("chain")
        .then(speaks("first"))
        .then(inner)
        .work(speaks("beside"))
        .wait_for_work();
    let (facts, _) = emitted(chain).await;
    let places: Vec<_> = completed(&facts)
        .into_iter()
        .map(|item| {
            let from = &item.provenance;
            json!([
                from.block_name,
                from.instance,
                from.parent,
                from.phase,
                from.step_index,
                from.attempt
            ])
        })
        .collect();
    assert_eq!(
        places,
        [
            json!(["first", "r:root/then[0]:0", "r:root:0", "main", 0, 0]),
            json!(["deep", "r:root/then[1]/then[0]:0", "r:root/then[1]:0", "main", 0, 0]),
            json!(["beside", "r:root/work[2]:0", "r:root:0", "work", 2, 0]),
        ]
    );
}
