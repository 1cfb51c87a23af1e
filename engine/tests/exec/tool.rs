//! Any block as a tool: its description, and calls that are checked.

use flowstate_engine::prelude::*;
use serde_json::{Value, json};

use crate::support::{add, run};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Query {
    text: String,
    #[serde(default)]
    limit: u8,
}

fn search() -> Block<Query, String> {
    let search =
        handler("search").run(|query: Query, _ctx| async move { Ok(format!("{} x{}", query.text, query.limit)) });
    search.describe("Finds documents.")
}

#[test]
fn a_tool_has_name_description_and_schema() {
    let tool = search().tool().expect("a tool");
    assert_eq!((tool.name(), tool.description()), ("search", "Finds documents."));
    assert_eq!(tool.parameters()["properties"]["text"]["type"], "string");
    let wrapped = add(1).tool().expect("a tool");
    assert_eq!(wrapped.parameters()["properties"]["input"]["type"], "integer");
    assert_eq!(wrapped.parameters()["required"], json!(["input"]));
}

#[tokio::test]
async fn a_call_is_checked_before_the_block_sees_it() {
    let caller = |tool: Result<flowstate_engine::Tool, String>, arguments: Value| {
        let tool = tool.expect("a tool");
        handler("caller").run(move |(): (), ctx: Ctx| {
            let (tool, arguments) = (tool.clone(), arguments.clone());
            async move { tool.call("call_1", arguments, &ctx).await }
        })
    };
    let ran = run(caller(search().tool(), json!({"text": "tea"})), ()).await;
    assert_eq!(ran.output(), &json!("tea x0"), "defaults are filled in");
    assert_eq!(ran.trace()[1], "root/tool.search[call_1]: completed");
    let ran = run(caller(search().tool(), json!({"limit": "many"})), ()).await;
    assert_eq!(ran.error().code(), "validation_error");
    let details = ran.error().details().expect("problems").to_string();
    assert!(
        details.contains("\"limit\"") && details.contains("\"text\""),
        "{details}"
    );
    assert_eq!(
        run(caller(add(1).tool(), json!({"input": 4})), ()).await.output(),
        &json!(5)
    );
    for wrong in [
        json!(4),
        json!({}),
        json!({"input": "four"}),
        json!({"input": 4, "more": 1}),
    ] {
        assert_eq!(
            run(caller(add(1).tool(), wrong.clone()), ()).await.error().code(),
            "validation_error",
            "{wrong}"
        );
    }
}
