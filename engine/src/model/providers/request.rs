//! What is asked, as the adapter puts it.

use rig_core::completion::{CompletionRequest, ToolDefinition};
use rig_core::message::ToolName;
use serde_json::{Map, Value, json};

use super::super::{ModelRequest, OutputSchema, Route, ToolSpec};
use super::native::Format;
use super::{messages, search};

/// The request for the model at the end of this route, or why it can't be made.
pub(super) fn encode(route: &Route, format: Format, request: ModelRequest) -> Result<CompletionRequest, String> {
    let messages = messages::encode(route.protocol, format, request.messages)?;
    let tools = request.tools.into_iter().map(tool).collect::<Result<_, _>>()?;
    let mut raw = options(route, request.provider_options)?;
    let mut hosted: Vec<Value> = request.provider_tools.into_iter().map(|tool| tool.tool).collect();
    hosted.extend(request.search.and_then(|wish| search::tool(route.protocol, &wish)));
    if !hosted.is_empty() {
        match raw.entry("tools").or_insert_with(|| json!([])) {
            Value::Array(tools) => tools.append(&mut hosted),
            _ => {
                return Err(format!(
                    "the options of {:?} have tools that are no list",
                    route.provider
                ));
            }
        }
    }
    let mut asked = CompletionRequest::from(messages)
        .tools(tools)
        .max_tokens(request.tokens_max.map(u64::from))
        .accept_unknown_finish_reasons(true);
    asked.output_schema = request.output.map(schema).transpose()?;
    asked.additional_params = (!raw.is_empty()).then_some(Value::Object(raw));
    Ok(asked)
}

fn tool(tool: ToolSpec) -> Result<ToolDefinition, String> {
    let name = ToolName::new(tool.name).map_err(|error| error.to_string())?;
    Ok(ToolDefinition::new(name, tool.description, tool.parameters))
}

/// The options that are meant for the route's provider.
fn options(route: &Route, mut options: Map<String, Value>) -> Result<Map<String, Value>, String> {
    match options.remove(&route.provider) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(options)) => Ok(options),
        Some(_) => Err(format!("the options of {:?} are no object", route.provider)),
    }
}

/// Providers know a shape by its title.
fn schema(output: OutputSchema) -> Result<schemars::Schema, String> {
    let mut schema =
        schemars::Schema::try_from(output.schema).map_err(|error| format!("the shape of the answer: {error}"))?;
    schema.insert("title".to_owned(), Value::from(output.name));
    Ok(schema)
}
