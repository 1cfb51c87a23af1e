//! Reading the fields of a body one by one, so that every problem is told. Fields that are not known are left alone.

use serde_json::{Map, Value};

use super::json::type_name;
use super::problem::Problem;

/// A body's fields, and what was wrong with those that were read.
pub(crate) struct Fields {
    fields: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Fields {
    pub(crate) fn new(fields: Map<String, Value>) -> Self {
        Self {
            fields,
            problems: Vec::new(),
        }
    }

    /// The field as it is.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name)
    }

    /// A text, trimmed; `None` if it is not there, null, or no text.
    pub(crate) fn given_text(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(other) => {
                self.refuse(name, &format!("must be a string, not {}", type_name(&other)));
                None
            }
        }
    }

    /// A text, trimmed; an empty one is not there.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.given_text(name).filter(|text| !text.is_empty())
    }

    /// An object; anything else is not there.
    pub(crate) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name) {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// An object; `None` if it is not there, null, or no object.
    pub(crate) fn given_object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name) {
            None | Some(Value::Null) => None,
            Some(Value::Object(object)) => Some(object),
            Some(other) => {
                self.refuse(name, &format!("must be an object, not {}", type_name(&other)));
                None
            }
        }
    }

    /// `projectId`, or its other name `orgId`.
    pub(crate) fn project(&mut self) -> Option<String> {
        let (project, org) = (self.text("projectId"), self.text("orgId"));
        if let (Some(project), Some(org)) = (&project, &org)
            && project != org
        {
            self.refuse(
                "orgId",
                "differs from projectId: it is another name for it, send one of them",
            );
        }
        project.or(org)
    }

    /// `userId`, which has to be there if it is `required`.
    pub(crate) fn user(&mut self, required: bool) -> Option<String> {
        let problems = self.problems.len();
        let user = self.text("userId");
        if required && user.is_none() && self.problems.len() == problems {
            self.refuse("userId", "is required: send who asks, as a string");
        }
        user
    }

    pub(crate) fn refuse(&mut self, path: &str, message: &str) {
        self.problems.push(Problem::new(path, message));
    }

    /// What was read, unless something was wrong with it.
    pub(crate) fn finish<T>(self, read: T) -> Result<T, Vec<Problem>> {
        match self.problems.is_empty() {
            true => Ok(read),
            false => Err(self.problems),
        }
    }
}
