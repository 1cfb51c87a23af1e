//! Steps, done one after the other against a server. What comes of them is kept as JSON, which is all that matchers see.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use serde_json::Value;

use super::abandon::abandon;
use super::case::{Case, Pick, Repeat, Section, Step, Until};
use super::judge::{elements, judge};
use super::servers::Servers;
use super::stream::Reading;
use super::values::{Results, substituted, text_of};

/// Time between two calls that wait for something.
const AGAIN: Duration = Duration::from_millis(20);

/// What steps work with.
pub(crate) struct Place<'a> {
    section: &'a Section,
    pub(crate) servers: Arc<Servers>,
    pub(crate) http: reqwest::Client,
    pub(crate) results: Mutex<Results>,
    streams: Mutex<HashMap<String, Reading>>,
    /// Longest wait for anything.
    pub(crate) patience: Duration,
    /// Calls must succeed.
    is_given: bool,
}

/// Does what a case says, and gives what came of it. Nothing is waited for longer than `patience`.
pub(crate) async fn perform(
    section: &Section,
    case: &Case,
    servers: Arc<Servers>,
    patience: Duration,
) -> Result<Results, String> {
    let mut place = Place {
        section,
        servers,
        http: flowstate_tests::http::client(),
        results: Mutex::new(Results::new()),
        streams: Mutex::default(),
        patience,
        is_given: true,
    };
    let name = format!("c{}", case.check);
    place.keep(Some("case"), name.into());
    place.all(&case.given).await.map_err(|why| format!("given: {why}"))?;
    place.is_given = false;
    place.all(&case.when).await.map_err(|why| format!("when: {why}"))?;
    Ok(place.results.into_inner())
}

impl Place<'_> {
    fn all<'a>(&'a self, steps: &'a [Step]) -> BoxFuture<'a, Result<(), String>> {
        async move {
            for step in steps {
                self.step(step).await?;
            }
            Ok(())
        }
        .boxed()
    }

    async fn step(&self, step: &Step) -> Result<(), String> {
        match step {
            Step::Http(http) => {
                let answer = self.answer(http).await?;
                let status = answer["status"].as_u64().unwrap_or_default();
                if self.is_given && !(200..300).contains(&status) {
                    return Err(format!("{} {} gives {answer}", http.method, http.path));
                }
                self.keep(http.name.as_deref(), answer);
                Ok(())
            }
            Step::Stream(open) => {
                let stream = self.open(open).await?;
                let seen = stream.until(&self.filled(&open.until)?, self.patience).await?;
                self.keep(Some(&open.name), seen);
                Ok(())
            }
            Step::Open(open) => {
                let stream = self.open(open).await?;
                self.streams.lock().insert(open.name.clone(), stream);
                Ok(())
            }
            Step::Collect(collect) => {
                let taken = self.streams.lock().remove(&collect.stream);
                let stream = taken.ok_or_else(|| format!("{} is not open", collect.stream))?;
                let seen = stream.until(&self.filled(&collect.until)?, self.patience).await;
                self.streams.lock().insert(collect.stream.clone(), stream);
                self.keep(Some(&collect.name), seen?);
                Ok(())
            }
            Step::Leave(name) => match self.streams.lock().remove(name) {
                Some(_) => Ok(()),
                None => Err(format!("{name} is not open")),
            },
            Step::Together(branches) => {
                let all = join_all(branches.iter().map(|branch| self.all(branch))).await;
                all.into_iter().collect()
            }
            Step::Repeat(repeat) => self.repeat(repeat).await,
            Step::Restart(ending) => {
                let (process, ending) = (Arc::clone(&self.servers.whole), *ending);
                let restarted = tokio::task::spawn_blocking(move || process.restart(ending));
                restarted.await.map_err(|error| error.to_string())
            }
            Step::Await(wanted) => {
                let seen = async {
                    loop {
                        let answer = self.answer(&wanted.http).await?;
                        let name = wanted.http.name.as_deref().unwrap_or("awaited");
                        self.keep(Some(name), answer);
                        let results = self.results.lock().clone();
                        let judged = wanted.then.iter().try_for_each(|matcher| judge(matcher, &results));
                        if judged.is_ok() {
                            return Ok(());
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                };
                let seen = tokio::time::timeout(self.patience, seen).await;
                seen.unwrap_or_else(|_| Err(format!("{} never had what was waited for", wanted.http.path)))
            }
            Step::Abandon(http) => {
                let (path, body) = (self.path(&http.path)?, self.body(http)?.unwrap_or_default());
                let answer = abandon(&self.servers.whole.url(), &http.method, &path, &body).await?;
                self.keep(http.name.as_deref(), answer);
                Ok(())
            }
            Step::Pick(pick) => {
                let picked = self.picked(pick)?;
                self.keep(Some(&pick.name), picked);
                Ok(())
            }
            Step::PauseMs(time) => {
                tokio::time::sleep(Duration::from_millis(*time)).await;
                Ok(())
            }
            Step::Setup(name) => {
                let steps = self.section.setups.get(name);
                self.all(steps.ok_or_else(|| format!("there is no setup {name}"))?)
                    .await
            }
        }
    }

    fn picked(&self, pick: &Pick) -> Result<Value, String> {
        let results = self.results.lock();
        let elements = elements(&pick.from, &results)?;
        let first = elements
            .first()
            .ok_or_else(|| format!("nothing to pick: {:?}", pick.from))?;
        let place = text_of(&pick.from.at, &results, str::to_owned)?;
        let found = results[&first.result].pointer(&format!("{}{place}", first.element));
        found
            .cloned()
            .ok_or_else(|| format!("{} has no {place}", first.element))
    }

    async fn repeat(&self, repeat: &Repeat) -> Result<(), String> {
        let each = (0..repeat.count).map(|number| {
            let mut results = self.results.lock().clone();
            results.insert("n".into(), number.into());
            let place = Place {
                section: self.section,
                servers: Arc::clone(&self.servers),
                http: self.http.clone(),
                results: Mutex::new(results),
                streams: Mutex::default(),
                patience: self.patience,
                is_given: self.is_given,
            };
            async move {
                place.all(&repeat.steps).await?;
                Ok::<_, String>(Value::Object(place.results.into_inner()))
            }
        });
        let all = match repeat.together {
            true => join_all(each).await.into_iter().collect::<Result<Vec<_>, _>>()?,
            false => {
                let mut all = Vec::new();
                for one in each {
                    all.push(one.await?);
                }
                all
            }
        };
        self.keep(Some(&repeat.name), all.into());
        Ok(())
    }

    fn keep(&self, name: Option<&str>, result: Value) {
        if let Some(name) = name {
            self.results.lock().insert(name.to_owned(), result);
        }
    }

    fn filled(&self, until: &Until) -> Result<Until, String> {
        Ok(match until {
            Until::Sees(pattern) => Until::Sees(substituted(pattern, &self.results.lock())?),
            other => other.clone(),
        })
    }
}
