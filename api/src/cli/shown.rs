//! Events as a command prints them: as lines of JSON, or as text that people read, with what is said on stdout and what is done on stderr.

use std::collections::HashMap;
use std::io::{Write, stderr, stdout};

use serde_json::Value;

use super::events::Event;
use super::failure::Failure;
use super::terminal::{self, plain};

/// Longest argument or message in a line for people.
const SHOWN_CHARS: usize = 200;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The events as they are.
    Json,
    /// What is answered.
    Answers,
    /// What is said, by whom.
    Talk,
}

/// Prints events in their order.
pub(super) struct Shown {
    form: Form,
    /// Messages that are open, and whether anything of them was printed.
    messages: HashMap<String, bool>,
    /// The message whose line was not ended.
    line: Option<String>,
}

impl Shown {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            messages: HashMap::new(),
            line: None,
        }
    }

    /// Prints an event.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if self.form == Form::Json {
            return print(&terminal::json(format!("{}\n", event.line), &stdout()));
        }
        let data = &event.data;
        let item = &data["item"];
        let kind = item["type"].as_str().unwrap_or_default();
        match (event.kind(), kind) {
            ("item.added", "message") => self.message(item, false),
            ("item.done", "message") => self.message(item, true),
            ("content.delta", _) => match data["itemId"].as_str() {
                Some(id) if self.messages.contains_key(id) => self.say(id, text_of(&data["delta"])),
                _ => Ok(()),
            },
            ("item.added", _) => self.tell(&added(kind, item)),
            ("item.done", "tool_output") if item["error"].is_object() => self.tell(&format!(
                "{} failed: {}",
                text_of(&item["toolCall"]["name"]),
                text_of(&item["error"]["message"])
            )),
            _ => match event.ends() {
                Some(_) => {
                    self.end_line()?;
                    self.tell(&format!(
                        "{} ({})",
                        text_of(&data["status"]),
                        text_of(&data["requestId"])
                    ))
                }
                None => Ok(()),
            },
        }
    }

    /// A message begins, or is whole.
    fn message(&mut self, item: &Value, is_whole: bool) -> Result<(), Failure> {
        let (id, role) = (text_of(&item["id"]), text_of(&item["role"]));
        if self.form == Form::Answers && role == "user" {
            return Ok(());
        }
        let said = self.messages.entry(id.to_owned()).or_insert(false);
        let is_said = *said;
        let parts = item["content"].as_array().into_iter().flatten();
        let text: String = parts.map(|part| text_of(&part["text"])).collect();
        if !is_said && !text.is_empty() {
            self.begin(id, role)?;
            self.say(id, &text)?;
        } else if !is_said && !is_whole && self.form == Form::Talk {
            self.begin(id, role)?;
        }
        if is_whole {
            self.messages.remove(id);
            if self.line.as_deref() == Some(id) {
                self.end_line()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: &str, role: &str) -> Result<(), Failure> {
        self.end_line()?;
        if self.form == Form::Talk {
            print(&format!("{role}: "))?;
            self.line = Some(id.to_owned());
        }
        Ok(())
    }

    fn say(&mut self, id: &str, text: &str) -> Result<(), Failure> {
        if self.line.as_deref() != Some(id) {
            self.end_line()?;
        }
        self.line = Some(id.to_owned());
        self.messages.insert(id.to_owned(), true);
        print(&plain(text))
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        match self.line.take() {
            Some(_) => print("\n"),
            None => Ok(()),
        }
    }

    /// Tells what is done, beside what is said.
    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        if !text.is_empty() {
            let line = plain(text).replace('\n', " ");
            let short: String = line.chars().take(SHOWN_CHARS).collect();
            // That nobody reads stderr is no reason to stop.
            let _ = writeln!(stderr(), "[{short}]");
        }
        Ok(())
    }
}

/// What there is to tell of an item that is no message.
fn added(kind: &str, item: &Value) -> String {
    let text = |name: &str| text_of(&item[name]);
    match kind {
        "tool_output" => {
            let call = &item["toolCall"];
            format!("{}({})", text_of(&call["name"]), text_of(&call["arguments"]))
        }
        "status" => text("message").to_owned(),
        "error" => format!("error {}: {}", text("code"), text("message")),
        "step_error" => format!("error {}: {}", text("code"), text("message")),
        "component" => format!("component {}", text("component")),
        "source" => text("url").to_owned(),
        _ => String::new(),
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn print(text: &str) -> Result<(), Failure> {
    terminal::print(text.as_bytes())
}
