//! The tools that a model may call: blocks under names that every provider takes.

use std::sync::Arc;

use crate::block::Tool;
use crate::model::ToolSpec;

/// Longest name that every provider takes.
const NAME_CHARS_MAX: usize = 64;

/// The tools of one step, by the names that the model is told.
#[derive(Clone, Default)]
pub(super) struct Tools(Vec<(String, Tool)>);

impl Tools {
    /// Names them. The same block twice is there once; `Err` if two different ones have one name.
    pub(super) fn new(tools: impl IntoIterator<Item = Tool>) -> Result<Self, String> {
        let mut named: Vec<(String, Tool)> = Vec::new();
        for tool in tools {
            if named.iter().any(|(_, other)| other.is(&tool)) {
                continue;
            }
            if named.iter().any(|(_, other)| other.name() == tool.name()) {
                return Err(format!(
                    "two of its tools are named {:?}: rename one of them",
                    tool.name()
                ));
            }
            let alias = alias(tool.name());
            let taken = |alias: &str| named.iter().any(|(other, _)| other == alias);
            let free = match taken(&alias) {
                false => alias,
                true => (2..)
                    .map(|n: u32| numbered(&alias, n))
                    .find(|alias| !taken(alias))
                    .unwrap_or_default(),
            };
            named.push((free, tool));
        }
        Ok(Self(named))
    }

    /// These and more; the names of these stay.
    pub(super) fn with(&self, more: Vec<Tool>) -> Result<Self, String> {
        Self::new(self.0.iter().map(|(_, tool)| tool.clone()).chain(more))
    }

    pub(super) fn get(&self, alias: &str) -> Option<&Tool> {
        self.0.iter().find(|(name, _)| name == alias).map(|(_, tool)| tool)
    }

    /// What the model is told.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        let spec = |(name, tool): &(String, Tool)| ToolSpec {
            name: name.clone(),
            description: tool.description().to_owned(),
            parameters: tool.parameters().clone(),
        };
        self.0.iter().map(spec).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn blocks(&self) -> Vec<Arc<crate::block::BlockDef>> {
        self.0.iter().map(|(_, tool)| tool.block().clone()).collect()
    }
}

/// A name that every provider takes: letters, digits, `_` and `-`.
pub(super) fn alias(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
            c
        } else {
            '_'
        }
    };
    let alias: String = name.chars().take(NAME_CHARS_MAX).map(plain).collect();
    match alias.is_empty() {
        true => "_".into(),
        false => alias,
    }
}

fn numbered(alias: &str, number: u32) -> String {
    let suffix = format!("_{number}");
    let kept: String = alias.chars().take(NAME_CHARS_MAX - suffix.len()).collect();
    kept + &suffix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Ctx;
    use crate::prelude::*;

    fn tool(name: &str) -> Tool {
        let block = handler(name).run(|input: String, _: Ctx| async move { Ok(input) });
        block.tool().expect("a tool")
    }

    #[test]
    fn names_become_what_every_provider_takes_and_stay_apart() {
        let long = "x".repeat(80);
        let tools =
            Tools::new(["search docs", "search/docs", "söök", &long, &format!("{long}y")].map(tool)).expect("tools");
        let kept = "x".repeat(64);
        let numbered = format!("{}_2", "x".repeat(62));
        assert_eq!(
            tools.names(),
            ["search_docs", "search_docs_2", "s__k", &kept, &numbered]
        );
        assert_eq!(tools.get("search_docs_2").map(Tool::name), Some("search/docs"));
        assert!(tools.get("search docs").is_none());
    }

    #[test]
    fn the_same_block_twice_is_one_tool_and_two_of_a_name_are_refused() {
        let one = tool("look");
        let tools = Tools::new([one.clone(), one]).expect("tools");
        assert_eq!(tools.names(), ["look"]);
        let error = Tools::new([tool("look"), tool("look")]).err();
        assert!(error.is_some_and(|error| error.contains("\"look\"")));
    }
}
