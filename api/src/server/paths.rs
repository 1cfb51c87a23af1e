//! A router that knows the templates of its paths, which axum's own does not tell.

use axum::Router;
use axum::routing::MethodRouter;

/// Routes, and their paths in the order in which they were added.
pub(crate) struct Paths<S> {
    router: Router<S>,
    templates: Vec<String>,
}

impl<S: Clone + Send + Sync + 'static> Paths<S> {
    pub(crate) fn new() -> Self {
        Self {
            router: Router::new(),
            templates: Vec::new(),
        }
    }

    /// As [`Router::route`].
    pub(crate) fn route(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.templates.push(path.to_owned());
        self.router = self.router.route(path, methods);
        self
    }

    /// As [`Router::nest`].
    pub(crate) fn nest(mut self, prefix: &str, inner: Self) -> Self {
        let inside = inner.templates.iter().map(|template| match template.as_str() {
            "/" => prefix.to_owned(),
            template => format!("{prefix}{template}"),
        });
        self.templates.extend(inside);
        self.router = self.router.nest(prefix, inner.router);
        self
    }

    /// As [`Router::merge`].
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.templates.extend(other.templates);
        self.router = self.router.merge(other.router);
        self
    }

    pub(crate) fn router(self) -> Router<S> {
        self.router
    }

    pub(crate) fn templates(self) -> Vec<String> {
        self.templates
    }
}
