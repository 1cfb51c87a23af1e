//! For whom what a generator says is: what it declares, else its place.

use flowstate_engine::item::{Audience, ItemBody, Visibility};
use flowstate_engine::prelude::*;
use serde_json::{Value, json};

use super::support::{completed, emitted};

/// Says something; the input is what it is asked.
fn says(audience: Option<Audience>) -> Block<Value, String> {
    let says = generator::<Value>("says").user(|_, _| "Say something.".to_owned());
    match audience {
        Some(audience) => says.emit_audience(audience).into_block(),
        None => says.into_block(),
    }
}

/// Who sees what the request's generators said, in order.
async fn seen<M>(block: impl IntoBlock<Value, Value, M>) -> Vec<Visibility> {
    let (facts, _) = emitted(block).await;
    let said = completed(&facts).into_iter();
    let messages = said.filter(|item| matches!(item.body, ItemBody::Message { .. }));
    messages.map(|item| item.visibility).collect()
}

/// Calls a block as a model would.
fn called(block: Block<Value, String>) -> Block<Value, Value> {
    let tool = block.tool().expect("a tool");
    handler("calls").run(move |_: Value, ctx: Ctx| {
        let tool = tool.clone();
        async move { tool.call("call_1", json!({"input": null}), &ctx).await }
    })
}

fn as_json(block: Block<Value, String>) -> Block<Value, Value> {
    block.map_output(|text, _| Value::String(text))
}

#[tokio::test]
async fn a_generator_speaks_to_whom_it_declares_or_as_its_place_says() {
    use Audience::{Client, History, Trace};
    for (declared, in_the_chain, elsewhere) in [
        (None, Visibility::CONVERSATION, Visibility::TRACE),
        (Some(Client), Visibility::CONVERSATION, Visibility::CONVERSATION),
        (Some(History), Visibility::HISTORY, Visibility::HISTORY),
        (Some(Trace), Visibility::TRACE, Visibility::TRACE),
    ] {
        let chain = sequencer::<Value>("chain").then(as_json(says(declared)));
        assert_eq!(seen(chain).await, [in_the_chain], "{declared:?}");
        let beside = sequencer::<Value>("beside").work(says(declared)).wait_for_work();
        assert_eq!(seen(beside).await, [elsewhere], "{declared:?}, in background work");
        assert_eq!(
            seen(called(says(declared))).await,
            [elsewhere],
            "{declared:?}, in a tool"
        );
        let inner = sequencer::<Value>("inner").then(says(declared)).build();
        assert_eq!(seen(called(inner)).await, [elsewhere], "{declared:?}, deep in a tool");
    }
}

#[tokio::test]
async fn what_is_for_traces_is_in_no_snapshot_and_in_no_prompt() {
    let listens = handler("listens").run(|_: Value, ctx: Ctx| async move {
        ctx.emit().message("heard").await?;
        Ok(Value::Null)
    });
    let asks = generator::<Value>("asks").history(History::all());
    let whispers = generator::<Value>("whispers").user(|_, _| "Whisper.".to_owned());
    let chain = sequencer::<Value>("chain")
        .tap(whispers.emit_audience(Audience::Trace))
        .tap(says(Some(Audience::History)))
        .tap(listens)
        .then(as_json(asks.into_block()));
    let (facts, items) = emitted(chain).await;
    let shown: Vec<&str> = items.iter().map(|item| &*item.provenance.block_name).collect();
    assert_eq!(shown, ["listens", "asks"]);
    let said = completed(&facts);
    assert_eq!(said.len(), 4, "all are recorded: {said:?}");
    let Some(ItemBody::Message { content, .. }) = said.last().map(|item| &item.body) else {
        panic!("{said:?}")
    };
    assert_eq!(
        content.iter().map(|part| part.as_text()).collect::<String>(),
        "Say something.; heard"
    );
}
