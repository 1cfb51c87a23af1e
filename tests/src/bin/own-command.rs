//! The command with flows of an application's own: one that tells what it does, one that says much, one that fails, and one that
//! ends when it is stopped. With `OWN_STORE` it keeps everything in that folder; with `OWN_SUBSCRIBER` diagnostics are its own.

use std::process::ExitCode;

use flowstate::engine::item::ToolCall;
use flowstate::prelude::*;
use serde_json::json;

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Name {
    #[schemars(length(min = 1))]
    name: String,
}

fn work() -> Result<Flow, FlowError> {
    let tell = handler("tell").run(|name: Name, ctx: Ctx| async move {
        ctx.emit().status("looking\naround").await?;
        let call = ToolCall {
            call_id: "c1".to_owned(),
            name: "find".to_owned(),
            arguments: "{\"what\":1}".to_owned(),
            generator: "tell".to_owned(),
        };
        ctx.emit().open_tool(call).await?.done(json!("found")).await?;
        let message = ctx.emit().open_message().await?;
        message.append(format!("Hello, {}", name.name)).await?;
        message.append("\u{1b}[2J!").await?;
        message.done().await?;
        Ok(())
    });
    let many = handler("many").run(|count: u32, ctx: Ctx| async move {
        for number in 0..count {
            ctx.emit().message(number.to_string()).await?;
        }
        Ok(())
    });
    let fail = handler("fail").run(|_: serde_json::Value, _ctx: Ctx| async move {
        Err::<(), _>(BlockError::new("no_luck", "there is no luck today"))
    });
    let wait = handler("wait").run(|_: serde_json::Value, ctx: Ctx| async move {
        ctx.emit().message("waiting").await?;
        std::future::pending::<()>().await;
        Ok(())
    });
    flow("work")
        .action("tell", action(tell))
        .action("many", action(many))
        .action("fail", action(fail))
        .action("wait", action(wait))
        .instance("default")
}

fn main() -> ExitCode {
    if std::env::var_os("OWN_SUBSCRIBER").is_some() {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    }
    flowstate::cli::main_with(|builder| {
        let builder = builder.flow(work()?).flow(flowstate::cli::hello_chat()?);
        Ok::<_, FlowError>(match std::env::var_os("OWN_STORE") {
            Some(folder) => builder.store(flowstate::lsm(folder)),
            None => builder,
        })
    })
}
