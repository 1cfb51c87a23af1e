//! What building a flow reports, and what a flow describes.

use super::*;
use crate::block::{generator, handler};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::flow::action;
use crate::scope::scope;

fn echo() -> Action<String> {
    action(|input: String, _: Ctx| async move { Ok(input) })
}

#[test]
fn building_lists_every_problem_at_once() {
    let unnamed = handler(" ").run(|input: String, _ctx| async move { Ok::<_, BlockError>(input) });
    let error = flow("sessions")
        .action("a", action(unnamed))
        .action("a", echo())
        .action("b/c", action(generator::<String>("mute")))
        .session(
            scope::<u32>()
                .client_data("n", |n: &u32| *n)
                .client_data("n", |n: &u32| *n),
        )
        .instance("")
        .expect_err("many problems");
    let text = error.to_string();
    for part in [
        "reserved",
        "no name",
        "twice",
        "slash",
        ".user(..)",
        "must be an object",
        "\"n\"",
        "instance id",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn a_flow_describes_its_actions_in_order() {
    let flow = flow("f")
        .action("z", echo())
        .action("a", echo())
        .instance("i")
        .expect("a flow");
    let description = flow.describe();
    let names: Vec<&str> = description.actions.iter().map(|action| action.name.as_str()).collect();
    assert_eq!(names, ["z", "a"]);
    assert_eq!(description.actions[0].input_schema["type"], "string");
}
