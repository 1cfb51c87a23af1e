//! The trace: what ran, as items that only those are sent who ask for it and may. What everybody else is sent does not change by it.

mod support;

use std::time::Duration;

use axum::Router;
use flowstate::engine::Retry;
use flowstate::engine::model::{Reply, ScriptedModel, Usage};
use flowstate::prelude::*;
use serde_json::{Value, json};

use support::{asked, call, frames, send, serving};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Query {
    q: String,
}

fn flow_of_all() -> Flow {
    let look = handler("look").run(|query: Query, _: Ctx| async move { Ok(format!("found {}", query.q)) });
    let ask = generator("ask")
        .prompt("Be brief.")
        .user(|input: &String, _| input.clone())
        .tool(look);
    let skip = handler("skip").run(|input: String, _: Ctx| async move { Ok(input) });
    let mode = router("mode")
        .route("ask", ask)
        .route("skip", skip)
        .decide(|input: &String, _, (ask, skip)| if input == "boom" { skip } else { ask });
    let shout = handler("shout").run(|input: String, ctx: Ctx| async move {
        match input == "boom" {
            true if ctx.attempt_number() == 0 => Err(BlockError::new("busy", "later").retryable(true)),
            true => {
                let cause = BlockError::new("inner", "the cause");
                Err(BlockError::new("boom", "it broke")
                    .with_details(json!({"n": 1}))
                    .caused_by(cause))
            }
            false => Ok(input.to_uppercase()),
        }
    });
    let retry = Retry::attempts(2).base_delay(Duration::from_millis(1));
    let pipe = sequencer("pipe").then(mode).then(shout.retry(retry));
    flow("f")
        .action("go", action(pipe))
        .instance("default")
        .expect("a flow")
}

async fn serve(trace_access: bool) -> Router {
    let replies = [
        Reply::new()
            .tool("look", json!({"q": "tea"}))
            .usage(Usage::new(100, 20)),
        Reply::text("It is tea.").usage(Usage::new(150, 5)),
    ];
    let server = serving(flow_of_all()).model(ScriptedModel::script(replies).named("script/one"));
    let server = match trace_access {
        true => server.trace_access(),
        false => server,
    };
    server.build().expect("a server").router().expect("routes")
}

async fn run(router: &Router, request: &str, input: &str) {
    let body = json!({"userId": "u", "requestId": request, "sessionId": "s", "input": input});
    let posted = asked(router, "POST", "/api/flows/f/s/actions/go", Some(body)).await;
    assert_eq!(posted.0, 202);
    bytes(router, &format!("/api/flows/f/requests/{request}/stream")).await;
}

async fn bytes(router: &Router, path: &str) -> String {
    let (status, _, told) = send(router, call("GET", path, &[], "")).await;
    assert_eq!(status.as_u16(), 200, "{path}");
    String::from_utf8(told.to_vec()).expect("text")
}

fn data(told: &str) -> Vec<Value> {
    frames(told.as_bytes()).into_iter().map(|(_, data)| data).collect()
}

/// What differs from run to run is taken out; times must be there and fit.
fn stable(mut item: Value) -> Value {
    let fields = item.as_object_mut().expect("an item");
    let id = fields.remove("id").expect("an id");
    assert!(id.as_str().is_some_and(|id| id.starts_with("trace_")), "{id}");
    let ts = fields.remove("ts").expect("a time");
    if let Some(started) = fields.remove("startedAt") {
        assert_eq!(started, ts);
        if let Some(completed) = fields.remove("completedAt") {
            let took = completed.as_i64().expect("a time") - started.as_i64().expect("a time");
            assert_eq!(fields.remove("duration"), Some(json!(took)));
        }
    }
    item
}

/// The last that was told of each block, by the path of its instance.
fn done(told: &[Value], place: &str) -> Value {
    let at = json!(place);
    let of = told
        .iter()
        .filter(|data| data["type"] == "item.done" && data["item"]["blockInstanceId"] == at);
    let items: Vec<_> = of.map(|data| data["item"].clone()).collect();
    let [item] = &items[..] else {
        panic!("{place}: {items:?}")
    };
    stable(item.clone())
}

#[tokio::test]
async fn a_trace_tells_of_every_block_call_and_choice() {
    let router = serve(true).await;
    run(&router, "r", "tea?").await;
    let told = data(&bytes(&router, "/api/flows/f/requests/r/stream?include=trace").await);
    let id_of = |place: &str| {
        let added = told.iter().find(|data| data["item"]["blockInstanceId"] == place);
        added.expect("an item")["item"]["id"].clone()
    };
    let message = told
        .iter()
        .find(|data| data["item"]["content"][0]["text"] == "It is tea.");
    let message = message.expect("a message")["item"]["id"].clone();
    let block = |name: &str, kind: &str, place: &str, parent: Option<&str>, index: u32, more: Value| {
        let mut item = json!({
            "type": "block_trace", "status": "completed", "requestId": "r", "itemIndex": index, "agentType": "trace",
            "itemVisibility": {"client": false, "history": false},
            "provenance": {"blockName": name, "blockInstanceId": format!("r:{place}:0"), "phase": "main",
                "blockDefinitionId": format!("f/go/{place}"), "attempt": 0},
            "blockName": name, "blockKind": kind, "blockInstanceId": format!("r:{place}:0"),
        });
        if let Some(parent) = parent {
            item["provenance"]["parentBlockInstanceId"] = json!(format!("r:{parent}:0"));
        }
        let (fields, more) = (
            item.as_object_mut().expect("an item"),
            more.as_object().expect("fields"),
        );
        fields.extend(more.clone());
        item
    };
    let index = |place: &str| {
        let id = id_of(place);
        let number = id.as_str().and_then(|id| id.rsplit('_').next());
        number.and_then(|number| number.parse().ok()).expect("a number")
    };
    let (root, mode, ask) = ("root", "root/then[0]", "root/then[0]/route.ask");
    let (look, shout) = ("root/then[0]/route.ask/tool.look[0.0]", "root/then[1]");
    let at = |place: &str| format!("r:{place}:0");
    let of_message = json!({"output": {"kind": "ref", "sourceItemId": message}});
    let generator = json!({
        "generator": {"model": "script/one", "tools": ["look"], "prompt": "Be brief.", "user": "tea?"},
        "model": "script/one",
        "modelUsage": {"model": "script/one", "promptTokens": 250, "completionTokens": 25, "totalTokens": 275},
        "output": of_message["output"],
    });
    let called = json!({
        "toolCall": {"callId": "call-1-1", "name": "look", "arguments": "{\"q\":\"tea\"}", "generatorBlock": "ask"},
        "output": {"kind": "inline", "value": "found tea"},
    });
    let shouted = json!({"output": {"kind": "inline", "value": "IT IS TEA."}});
    let whole = json!({
        "input": {"source": {"kind": "inline", "value": "tea?"}},
        "output": {"kind": "ref", "sourceItemId": id_of(&at(shout))},
    });
    for (name, kind, place, parent, more) in [
        ("pipe", "sequencer", root, None, whole),
        ("mode", "router", mode, Some(root), of_message),
        ("ask", "generator", ask, Some(mode), generator.clone()),
        ("look", "handler", look, Some(ask), called),
        ("shout", "handler", shout, Some(root), shouted),
    ] {
        let expected = block(name, kind, place, parent, index(&at(place)), more);
        assert_eq!(done(&told, &at(place)), expected, "{place}");
        let of = told.iter().filter(|data| data["item"]["blockInstanceId"] == at(place));
        let events: Vec<_> = of
            .map(|data| json!([data["type"], data["item"]["status"], data["item"]["id"]]))
            .collect();
        let id = id_of(&at(place));
        assert_eq!(
            events,
            [
                json!(["item.added", "in_progress", id]),
                json!(["item.done", "completed", id])
            ]
        );
    }
    let updates: Vec<_> = told.iter().filter(|data| data["type"] == "item.updated").collect();
    assert_eq!(updates.len(), 4, "two calls and two answers: {updates:?}");
    assert!(updates.iter().all(|data| data["itemId"] == id_of(&at(ask))));
    let patches: Vec<_> = updates.iter().map(|data| &data["patch"]).collect();
    assert_eq!(
        patches[0],
        &json!({"generator": generator["generator"], "model": "script/one"})
    );
    let used = json!({"model": "script/one", "promptTokens": 100, "completionTokens": 20, "totalTokens": 120});
    assert_eq!(patches[1], &json!({"model": "script/one", "modelUsage": used}));
    assert_eq!(patches[2], &json!({"model": "script/one"}));
    assert_eq!(
        patches[3],
        &json!({"model": "script/one", "modelUsage": generator["modelUsage"]})
    );
    let chosen: Vec<_> = told
        .iter()
        .filter(|data| data["item"]["type"] == "router_decision")
        .collect();
    let [chosen] = &chosen[..] else { panic!("{chosen:?}") };
    assert_eq!(chosen["type"], "item.added");
    let item = stable(chosen["item"].clone());
    assert_eq!(
        (&item["routerName"], &item["selectedRoute"], &item["status"]),
        (&json!("mode"), &json!("ask"), &json!("completed"))
    );
    assert_eq!(item["provenance"]["blockInstanceId"], at(mode));
}

#[tokio::test]
async fn a_trace_tells_of_attempts_and_of_why_they_failed() {
    let router = serve(true).await;
    run(&router, "r", "boom").await;
    let told = data(&bytes(&router, "/api/flows/f/requests/r/stream?item_types=block_trace").await);
    let first = done(&told, "r:root/then[1]:0");
    assert_eq!(
        (&first["status"], &first["error"]["code"]),
        (&json!("failed"), &json!("busy"))
    );
    assert!(first["retryInMs"].is_u64(), "{first}");
    let second = done(&told, "r:root/then[1]:1");
    assert_eq!(second["provenance"]["attempt"], 1);
    assert_eq!(second.get("retryInMs"), None);
    let error = &second["error"];
    assert_eq!((&error["code"], &error["details"]), (&json!("boom"), &json!({"n": 1})));
    assert_eq!(error["cause"]["message"], "the cause");
    assert_eq!(done(&told, "r:root:0")["status"], "failed");
    let default = bytes(&router, "/api/flows/f/requests/r/stream").await;
    assert!(!default.contains("the cause"), "{default}");
}

#[tokio::test]
async fn who_does_not_ask_for_the_trace_is_sent_what_they_were_sent() {
    let router = serve(true).await;
    run(&router, "r", "tea?").await;
    let (default, traced) = (
        bytes(&router, "/api/flows/f/requests/r/stream").await,
        bytes(&router, "/api/flows/f/requests/r/stream?include=trace").await,
    );
    let mut traced = traced.split_inclusive("\n\n").collect::<Vec<_>>();
    for frame in default.split_inclusive("\n\n") {
        let at = traced
            .iter()
            .position(|traced| *traced == frame)
            .unwrap_or_else(|| panic!("{frame}"));
        traced.remove(at);
    }
    assert!(
        traced
            .iter()
            .all(|frame| frame.contains("trace_") || frame.contains("\"client\":false")),
        "{traced:?}"
    );
    for word in ["block_trace", "router_decision", "item.updated", "trace_"] {
        assert!(!default.contains(word), "{word}");
        assert!(traced.iter().any(|frame| frame.contains(word)), "{word}");
    }
    let index = data(&default).into_iter().filter(|data| data["type"] == "item.added");
    let index: Vec<_> = index.map(|data| data["item"]["itemIndex"].as_u64()).collect();
    assert_eq!(
        index,
        (0..index.len() as u64).map(Some).collect::<Vec<_>>(),
        "traces take no place among items"
    );
}

#[tokio::test]
async fn a_trace_is_the_same_from_any_cursor_and_however_it_is_asked_for() {
    let router = serve(true).await;
    for (request, input) in [("r", "tea?"), ("later", "boom")] {
        run(&router, request, input).await;
        let whole = bytes(
            &router,
            &format!("/api/flows/f/requests/{request}/stream?include=trace"),
        )
        .await;
        let last = data(&whole).last().expect("events")["sequence_number"]
            .as_u64()
            .expect("a number");
        for after in 0..last {
            let path = format!("/api/flows/f/requests/{request}/stream?unfiltered=true&starting_after={after}");
            let rest = bytes(&router, &path).await;
            assert!(whole.ends_with(&rest), "behind {after}");
            let first = data(&rest)[0]["sequence_number"].as_u64().expect("a number");
            let expected = data(&whole)
                .iter()
                .filter_map(|data| data["sequence_number"].as_u64())
                .find(|n| *n > after);
            assert_eq!(Some(first), expected);
            let path = format!("/api/flows/f/requests/{request}/events?include=trace&starting_after={after}");
            let polled = asked(&router, "GET", &path, None).await.1;
            let polled: Vec<_> = polled["events"]
                .as_array()
                .expect("events")
                .iter()
                .map(|event| event["data"].clone())
                .collect();
            assert_eq!(polled, data(&rest), "behind {after}");
        }
    }
    let session = "/api/flows/sessions/s/events?include=trace";
    let all = asked(&router, "GET", session, None).await.1["events"].take();
    let all = all.as_array().expect("events");
    let expected: Vec<_> = {
        let (one, two) = (
            bytes(&router, "/api/flows/f/requests/r/stream?include=trace").await,
            bytes(&router, "/api/flows/f/requests/later/stream?include=trace").await,
        );
        data(&one).into_iter().chain(data(&two)).collect()
    };
    assert_eq!(
        all.iter().map(|event| event["data"].clone()).collect::<Vec<_>>(),
        expected
    );
    for (at, event) in all.iter().enumerate().take(all.len() - 1) {
        let id = event["id"].as_str().expect("an id");
        let request = call("GET", session, &[("last-event-id", id)], "");
        let rest: Value = serde_json::from_slice(&send(&router, request).await.2).expect("JSON");
        assert_eq!(
            rest["events"].as_array().expect("events")[..],
            all[at + 1..],
            "behind {id}"
        );
    }
}

#[tokio::test]
async fn without_the_setting_nobody_is_shown_a_trace() {
    let router = serve(false).await;
    run(&router, "r", "tea?").await;
    for what in ["stream", "events"] {
        for query in [
            "include=trace",
            "unfiltered=true",
            "item_types=block_trace",
            "item_types=message,router_decision",
        ] {
            for of in ["f/requests/r", "sessions/s"] {
                let path = format!("/api/flows/{of}/{what}?{query}");
                let (status, told) = asked(&router, "GET", &path, None).await;
                assert_eq!((status, &told["code"]), (403, &json!("trace_denied")), "{path}");
            }
        }
    }
}
