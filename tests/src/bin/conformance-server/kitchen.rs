//! The large flow: states in all scopes, resources, and actions that show one thing each.

use flowstate::engine::item::{Audience, Container};
use flowstate::engine::{ClientAccess, Collection, NoState, Resource, collection, resource};
use flowstate::prelude::*;
use serde_json::json;

use super::flows::say;
use super::gates;
use super::puppet::Piece;

/// What a session remembers.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Table {
    turns: u32,
    unit: String,
    secret: String,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            turns: 0,
            unit: "metric".into(),
            secret: String::new(),
        }
    }
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Guest {
    visits: u32,
    secret: String,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct House {
    theme: String,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Note {
    stars: u32,
}

fn everything() -> ClientAccess {
    ClientAccess::new()
        .read_content()
        .read_state()
        .create()
        .update()
        .delete()
}

fn notes() -> Resource<Note> {
    let render = |body: String, note: Note| format!("{body} ({})", note.stars);
    resource("notes")
        .client(ClientAccess::new().read_content())
        .render(render)
}

fn empty() -> Resource<Note> {
    resource("empty").client(ClientAccess::new().read_content())
}

fn locked() -> Resource<Note> {
    resource("locked").content("SECRET").client(ClientAccess::new())
}

fn files() -> Collection<Note> {
    collection("files", "files/**")
        .client(everything())
        .client_data(|note: &Note| json!({"stars": note.stars}))
}

fn sealed() -> Collection<Note> {
    collection("sealed", "sealed/*").client(ClientAccess::new())
}

fn letters() -> Collection<Note> {
    collection("letters", "letters/*").client(everything())
}

/// A question, and what the model is to answer if not the same words.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Ask {
    #[schemars(length(min = 1))]
    question: String,
    #[serde(default)]
    #[schemars(with = "serde_json::Value")]
    script: Vec<Vec<Piece>>,
}

impl Ask {
    fn told(&self) -> Result<String, BlockError> {
        match self.script.is_empty() {
            true => Ok(self.question.clone()),
            false => Ok(serde_json::to_string(&self.script)?),
        }
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Count {
    count: usize,
}

/// Waits at a gate between two pieces of a message.
fn wait() -> Block<String, ()> {
    handler("wait").run(|gate: String, ctx: Ctx| async move {
        let message = ctx.emit().open_message().await?;
        message.append("waiting, ").await?;
        gates::wait(&gate).await;
        message.append("done").await?;
        message.done().await?;
        Ok(())
    })
}

/// Writes to every state and to resources.
fn change() -> Block<String, ()> {
    handler("change").run(|theme: String, ctx: Ctx| async move {
        let table = ctx.session::<Table>();
        table.inc("turns", 1).await?;
        table.patch(json!({"secret": "SECRET"})).await?;
        ctx.user::<Guest>().inc("visits", 1).await?;
        ctx.user::<Guest>().patch(json!({"secret": "SECRET"})).await?;
        if let Some(house) = ctx.project::<House>() {
            house.patch(json!({"theme": theme})).await?;
        }
        let note = ctx.resource(&notes())?;
        note.state().inc("stars", 2).await?;
        note.write_content("soup").await?;
        ctx.collection(&files())?.get_or_create("made/here.md").await?;
        Ok(())
    })
}

/// Shows one of each item that is no message.
fn show() -> Block<String, ()> {
    handler("show").run(|_: String, ctx: Ctx| async move {
        ctx.emit().status("Looking up cook times").await?;
        let timer = ctx
            .emit()
            .keyed_component("countdown", "timer:main", json!({"left": 2}))
            .await?;
        timer.update(json!({"left": 1})).await?;
        let card = ctx.emit().container(Container::new("card")).await?;
        card.ctx().emit().message("inside").await?;
        card.ctx().emit().component("dot", json!({"inside": true})).await?;
        card.done().await?;
        ctx.emit().message("outside").await?;
        Ok(())
    })
}

/// Two generators that clients don't see, a message for models only, and one that is for all.
fn hidden() -> Block<String, String> {
    let speaks = |name: &str| generator::<String>(name).user(|text: &String, _ctx| text.clone());
    let model_only = handler("model-only").run(|text: String, ctx: Ctx| async move {
        ctx.emit().model_only("HIDDEN in a message").await?;
        Ok(text)
    });
    sequencer("hidden")
        .tap(speaks("trace").emit_audience(Audience::Trace))
        .tap(speaks("history").emit_audience(Audience::History))
        .then(model_only)
        .map(|_, _ctx| "shown at last".to_owned())
        .then(speaks("open"))
        .build()
}

fn fails() -> Block<String, String> {
    handler("fails").run(|message: String, _ctx: Ctx| async move { Err(BlockError::new("burnt", message)) })
}

fn actions(flow: flowstate::engine::FlowBuilder) -> flowstate::engine::FlowBuilder {
    let lookup = handler("lookup")
        .run(|food: String, _ctx: Ctx| async move { Ok(json!({"food": food, "kcal": 230})) })
        .describe("Looks food up.");
    let ask = generator("cook").user(|ask: &Ask, _ctx| ask.told()).tool(lookup);
    let big = handler("big").run(|count: Count, ctx: Ctx| async move {
        ctx.emit().message("x".repeat(count.count)).await?;
        Ok(())
    });
    let many = handler("many").run(|count: Count, ctx: Ctx| async move {
        for number in 0..count.count {
            match number % 5 {
                0 => ctx.emit().component("dot", json!({"number": number})).await?,
                _ => ctx.emit().message(format!("message {number}")).await?,
            }
        }
        Ok(())
    });
    let open = handler("open").run(|gate: String, _ctx: Ctx| async move {
        gates::open(&gate);
        Ok(())
    });
    let recover = sequencer("recover")
        .then(fails())
        .rescue([any_error().run(|_: Rescued, _: Ctx| async move { Ok("saved".to_owned()) })]);
    let beside = handler("beside").run(|gate: String, ctx: Ctx| async move {
        gates::wait(&gate).await;
        ctx.emit().message("washed up").await?;
        Ok(())
    });
    let background = sequencer::<String>("background").work(beside);
    flow.action("ask", action(ask).user_message(|ask: &Ask| ask.question.clone()))
        .action("say", action(say()))
        .action("wait", action(wait()))
        .action("open", action(open))
        .action("change", action(change()))
        .action("show", action(show()))
        .action("hidden", action(hidden()))
        .action("big", action(big))
        .action("many", action(many))
        .action("fail", action(fails()))
        .action("recover", action(recover))
        .action("background", action(background))
        .action(
            "stumble",
            action(say_nothing()).user_message(|_: &String| panic!("no words")),
        )
}

fn say_nothing() -> Block<String, String> {
    handler("nothing").run(|text: String, _ctx: Ctx| async move { Ok(text) })
}

pub(crate) fn kitchen() -> Result<Flow, FlowError> {
    let session = scope::<Table>()
        .resource(&notes())
        .resource(&empty())
        .resource(&locked())
        .resource(&files())
        .resource(&sealed())
        .expose("turns")
        .client_data("unit", |table: &Table| table.unit.clone());
    let user = scope::<Guest>()
        .resource(&letters())
        .client_data("visits", |guest: &Guest| guest.visits)
        .client_data("greeted", |guest: &Guest| guest.visits > 0);
    let project = scope::<House>().client_data("theme", |house: &House| house.theme.clone());
    actions(flow("kitchen"))
        .session(session)
        .user(user)
        .project(project)
        .request(scope::<NoState>())
        .instance("default")
}
