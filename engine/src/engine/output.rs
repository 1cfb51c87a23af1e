//! What a request gave: its last record says where that is stored.

use flowstate_log::{Log, SubStreamInfo};
use serde_json::Value;

use super::{Engine, RequestRef};
use crate::error::QueryError;
use crate::item::ItemBody;
use crate::projection::items;
use crate::record::{Fact, RequestCompleted, decode};

impl Engine {
    /// What a request gave; `None` if it has not completed.
    pub async fn output(&self, request: &RequestRef) -> Result<Option<Value>, QueryError> {
        let log = self.log();
        let sub = log.sub_stream_info(request.sub.stream, request.sub.id).await?;
        let last = log.read_positions(sub.stream, &[sub.last]).await?;
        match last.first().map(decode).transpose()? {
            Some(Fact::RequestCompleted(completed)) => stored(log, &sub, completed).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// The output that the last record of a request stands for.
pub(super) async fn stored(log: &Log, sub: &SubStreamInfo, completed: RequestCompleted) -> Result<Value, QueryError> {
    match (completed.same_as, completed.item) {
        (Some(number), _) => of_record(log, sub, number).await,
        (None, Some(item)) => of_item(log, sub, item).await,
        (None, None) => Ok(completed.output.unwrap_or_default()),
    }
}

async fn of_record(log: &Log, sub: &SubStreamInfo, number: u64) -> Result<Value, QueryError> {
    let records = log.follow_sub(sub, number.saturating_sub(1)).await?.page().await?;
    match records.first().map(decode).transpose()? {
        Some(Fact::BlockEnded(ended)) => Ok(ended.output.unwrap_or_default()),
        _ => Err(QueryError::Row {
            view: "output",
            message: format!("record {number} of the request has no output"),
        }),
    }
}

async fn of_item(log: &Log, sub: &SubStreamInfo, index: u32) -> Result<Value, QueryError> {
    let completed = items::read(log, sub.stream, |items| {
        let mut own = items.entries().iter().filter(|entry| entry.sub() == sub.id);
        own.find(|entry| entry.index == index).map(|entry| entry.completed)
    });
    let position = completed.await?.unwrap_or_default();
    let records = log.read_positions(sub.stream, &[position]).await?;
    let item = match records.first().map(decode).transpose()? {
        Some(Fact::ItemCompleted(completed)) => completed.item,
        _ => {
            let message = format!("item {index} of the request is not complete");
            return Err(QueryError::Row {
                view: "output",
                message,
            });
        }
    };
    let text = match &item.body {
        ItemBody::Message { content: parts, .. } | ItemBody::Reasoning { summary: parts } => {
            parts.iter().map(|part| part.as_text()).collect::<String>()
        }
        _ => String::new(),
    };
    Ok(Value::from(text))
}
