//! The container of a sequencer or router: an item that groups what is shown inside of it.

use std::sync::Arc;

use super::router::Router;
use super::sequencer::Sequencer;
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::item::Container;
use crate::value::{Data, Val};

/// Makes the container of one execution from its input.
pub(super) type Opens = Arc<dyn Fn(&Val, &Ctx) -> Result<Container, BlockError> + Send + Sync>;

fn opens<I: Data>(container: impl Fn(&I, &Ctx) -> Container + Send + Sync + 'static) -> Opens {
    Arc::new(move |input, ctx| Ok(container(input.get::<I>()?, ctx)))
}

fn fixed(component: String, label: String) -> Opens {
    let container = Container::new(component).label(label);
    Arc::new(move |_, _| Ok(container.clone()))
}

fn declare(place: &mut Option<Opens>, opens: Opens, problems: &mut Vec<String>) {
    if place.replace(opens).is_some() {
        problems.push("its container is declared twice".into());
    }
}

impl<I: Data, Cur, E> Sequencer<I, Cur, E> {
    /// Groups what each execution of this sequencer shows, tools and background work of its steps included, by an item that is
    /// shown as `component`. The item comes before them, they say that it owns them, and it is closed when the sequencer ends:
    /// as `failed` with the error if that failed, as `incomplete` if it was stopped.
    ///
    /// ```
    /// # use flowstate_engine::prelude::*;
    /// # let search = handler("search").run(|text: String, _| async move { Ok(text) });
    /// let research = sequencer::<String>("research").container("pipeline-view", "Research").then(search);
    /// # let _: Block<String, String> = research.build();
    /// ```
    pub fn container(mut self, component: impl Into<String>, label: impl Into<String>) -> Self {
        let opens = fixed(component.into(), label.into());
        declare(&mut self.container, opens, &mut self.problems);
        self
    }

    /// The same, with a container that is made from the input.
    ///
    /// ```
    /// # use flowstate_engine::item::Container;
    /// # use flowstate_engine::prelude::*;
    /// # let search = handler("search").run(|text: String, _| async move { Ok(text) });
    /// let research = sequencer::<String>("research")
    ///     .container_with(|topic, _ctx| Container::new("pipeline-view").label(format!("On {topic}")))
    ///     .then(search);
    /// # let _: Block<String, String> = research.build();
    /// ```
    pub fn container_with(mut self, container: impl Fn(&I, &Ctx) -> Container + Send + Sync + 'static) -> Self {
        declare(&mut self.container, opens::<I>(container), &mut self.problems);
        self
    }
}

impl<I: Data, O, C> Router<I, O, C> {
    /// Groups what its routes show: see [`Sequencer::container`].
    pub fn container(mut self, component: impl Into<String>, label: impl Into<String>) -> Self {
        let opens = fixed(component.into(), label.into());
        declare(&mut self.container, opens, &mut self.problems);
        self
    }

    /// The same, with a container that is made from the input.
    pub fn container_with(mut self, container: impl Fn(&I, &Ctx) -> Container + Send + Sync + 'static) -> Self {
        declare(&mut self.container, opens::<I>(container), &mut self.problems);
        self
    }
}
