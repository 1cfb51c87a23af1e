//! Which model is asked for: none in particular, one, or several in order.

use std::fmt;
use std::sync::Arc;

use super::{Model, ModelRef};

/// Which model is asked for: a name, a model, or a list of them of which the first one that answers is taken. Its `Default` asks for
/// the default model.
///
/// ```
/// use flowstate_engine::model::ModelChoice;
///
/// let one = ModelChoice::from("openai/gpt-5-mini");
/// let several = ModelChoice::from(["anthropic/claude-sonnet-5-5", "openai/gpt-5-mini"]);
/// assert_eq!(one.to_string(), "openai/gpt-5-mini");
/// assert_eq!(several.to_string(), "anthropic/claude-sonnet-5-5, openai/gpt-5-mini");
/// assert!(ModelChoice::default().is_default());
/// ```
#[derive(Clone, Default)]
pub struct ModelChoice(pub(super) Option<Vec<Asked>>);

/// One model that is asked for.
#[derive(Clone)]
pub(super) enum Asked {
    Name(String),
    Model(Arc<dyn Model>),
}

impl ModelChoice {
    /// Whether it asks for no model in particular.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }

    /// The names in it, in order; a model that was given has its own.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(|asked| match asked {
            Asked::Name(name) => name.as_str(),
            Asked::Model(model) => model.name(),
        })
    }

    /// The names in it that are looked up, in order.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().filter_map(|asked| match asked {
            Asked::Name(name) => Some(name.as_str()),
            Asked::Model(_) => None,
        })
    }

    fn one(asked: Asked) -> Self {
        Self(Some(vec![asked]))
    }
}

/// The names, separated by commas; `(default)` for none.
impl fmt::Display for ModelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_default() {
            return f.write_str("(default)");
        }
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for ModelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelChoice({self})")
    }
}

impl From<&str> for ModelChoice {
    fn from(name: &str) -> Self {
        Self::one(Asked::Name(name.to_owned()))
    }
}

impl From<String> for ModelChoice {
    fn from(name: String) -> Self {
        Self::one(Asked::Name(name))
    }
}

impl From<ModelRef> for ModelChoice {
    fn from(name: ModelRef) -> Self {
        Self::one(Asked::Name(name.to_string()))
    }
}

/// This model itself; it need not be known by name.
impl From<Arc<dyn Model>> for ModelChoice {
    fn from(model: Arc<dyn Model>) -> Self {
        Self::one(Asked::Model(model))
    }
}

/// In this order. An entry that asks for the default model, or for none, adds nothing.
impl<C: Into<ModelChoice>> FromIterator<C> for ModelChoice {
    fn from_iter<L: IntoIterator<Item = C>>(list: L) -> Self {
        let each = list.into_iter().map(Into::into);
        Self(Some(
            each.flat_map(|choice: ModelChoice| choice.0.unwrap_or_default())
                .collect(),
        ))
    }
}

impl<C: Into<ModelChoice>> From<Vec<C>> for ModelChoice {
    fn from(list: Vec<C>) -> Self {
        list.into_iter().collect()
    }
}

impl<C: Into<ModelChoice>, const N: usize> From<[C; N]> for ModelChoice {
    fn from(list: [C; N]) -> Self {
        list.into_iter().collect()
    }
}

/// The model of this name, or the default one.
impl From<Option<&str>> for ModelChoice {
    fn from(name: Option<&str>) -> Self {
        name.map(Self::from).unwrap_or_default()
    }
}
