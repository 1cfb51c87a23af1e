//! What a run knows of a state: what is visible, and what the run itself appended that is not visible yet.
//! Operations change it in place; it is copied from the view only after somebody else changed the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::op::Fields;
use crate::projection::state::Shown;
use crate::record::StateChanged;

/// See the module.
#[derive(Default)]
pub(crate) struct Overlay {
    /// What is visible, with what is pending applied to it.
    fields: Fields,
    /// What the fields were last compared with: version and number of records.
    visible: Option<(u64, u64)>,
    /// The run's own records that are not visible yet, by position.
    pending: BTreeMap<u64, Arc<StateChanged>>,
    /// The last pending one, if it was appended under a version: nobody else's record is before it that `fields` lacks.
    exact: Option<u64>,
    /// Pending ones were applied in another order than that of their positions.
    disordered: bool,
    /// Own operations that are on their way and have no position yet.
    on_their_way: usize,
}

/// At so many pending records what is visible is looked at again, whatever is on its way.
const PENDING_MAX: usize = 1_024;

impl Overlay {
    /// The state, without the fields that only the flow's default has.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Position of the last record that it reflects.
    pub(crate) fn version(&self) -> u64 {
        let visible = self.visible.map_or(0, |(version, _)| version);
        self.pending
            .last_key_value()
            .map_or(visible, |(last, _)| visible.max(*last))
    }

    /// The version that it is exactly the state of; `None` if others may have appended between the run's own records.
    pub(crate) fn exact(&self) -> Option<u64> {
        match self.pending.is_empty() {
            true => self.visible.map(|(version, _)| version),
            false => self.exact,
        }
    }

    /// Whether an operation that commutes may go on from what is known. While others of the run are on their way, what became visible
    /// can't be told from what somebody else did, and would be copied each time.
    pub(crate) fn is_close(&self) -> bool {
        self.on_their_way > 0 && self.visible.is_some() && self.pending.len() < PENDING_MAX
    }

    /// One more operation is on its way.
    pub(crate) fn departs(&mut self) {
        self.on_their_way += 1;
    }

    /// One is not any more: it has its position, or nobody waits for that.
    pub(crate) fn arrives(&mut self) {
        self.on_their_way -= 1;
    }

    /// There is no stream to look at. If more was seen before, it was looked for too early, and others saw more meanwhile.
    pub(crate) fn begin(&mut self) {
        if self.visible.is_none() {
            self.catch_up(Shown::NOTHING);
        }
    }

    /// Takes in what is visible now.
    pub(crate) fn catch_up(&mut self, shown: Shown<'_>) {
        let now = (shown.version, shown.count);
        if self.visible == Some(now) {
            return;
        }
        let rest = self.pending.split_off(&(shown.version + 1));
        let own = std::mem::replace(&mut self.pending, rest).len() as u64;
        let known = self.visible.map(|(_, count)| count + own);
        if known != Some(shown.count) || self.disordered {
            self.fields = shown.fields.cloned().unwrap_or_default();
            self.disordered = false;
            for change in self.pending.values() {
                // The fold skips what can't be applied, too.
                let _ = change.apply_to(&mut self.fields);
            }
        }
        self.visible = Some(now);
    }

    /// Takes in a record of the run that was sequenced at `position`; `under` a version, or commuting.
    pub(crate) fn wrote(&mut self, position: u64, change: Arc<StateChanged>, under: bool) {
        if self.visible.is_some_and(|(version, _)| position <= version) {
            // It became visible meanwhile, and was counted as somebody else's.
            return;
        }
        let last = position > self.version();
        self.disordered |= !last;
        self.exact = (under && last).then_some(position);
        let _ = change.apply_to(&mut self.fields);
        self.pending.insert(position, change);
    }

    /// Takes in a record of a state that only this run has, in the order in which they are queued.
    pub(crate) fn queued(&mut self, change: &StateChanged) {
        let _ = change.apply_to(&mut self.fields);
    }

    /// The same record has its position.
    pub(crate) fn sequenced(&mut self, position: u64) {
        let (version, _) = self.visible.unwrap_or_default();
        self.visible = Some((version.max(position), 0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scope::StateOp;

    fn inc(by: u64) -> Arc<StateChanged> {
        let op = StateOp::Inc(Fields::from_iter([("n".to_owned(), by.into())]));
        Arc::new(StateChanged {
            op,
            ..StateChanged::default()
        })
    }

    fn shown(fields: &Fields, version: u64, count: u64) -> Shown<'_> {
        Shown {
            fields: Some(fields),
            version,
            count,
        }
    }

    fn fields(n: u64) -> Fields {
        Fields::from_iter([("n".to_owned(), n.into())])
    }

    #[test]
    fn own_writes_are_seen_before_they_are_visible_and_counted_once_after() {
        let mut overlay = Overlay::default();
        overlay.catch_up(shown(&fields(1), 3, 1));
        overlay.wrote(5, inc(10), false);
        assert_eq!(
            (overlay.fields(), overlay.version(), overlay.exact()),
            (&fields(11), 5, None)
        );
        // Somebody else's 100 at 4 becomes visible first, then the own one.
        overlay.catch_up(shown(&fields(101), 4, 2));
        assert_eq!((overlay.fields(), overlay.exact()), (&fields(111), None));
        overlay.catch_up(shown(&fields(111), 5, 3));
        assert_eq!((overlay.fields(), overlay.exact()), (&fields(111), Some(5)));
    }

    #[test]
    fn who_looked_for_a_stream_too_early_takes_nothing_away() {
        let mut overlay = Overlay::default();
        overlay.begin();
        overlay.wrote(1, inc(1), false);
        overlay.begin();
        assert_eq!(overlay.fields(), &fields(1));
        overlay.catch_up(shown(&fields(1), 1, 1));
        overlay.begin();
        assert_eq!((overlay.fields(), overlay.version()), (&fields(1), 1));
    }

    #[test]
    fn only_own_writes_becoming_visible_copies_nothing() {
        let mut overlay = Overlay::default();
        overlay.catch_up(shown(&fields(1), 1, 1));
        overlay.wrote(2, inc(1), false);
        // What is visible is not looked at: its number of records says that there is nothing new.
        overlay.catch_up(shown(&fields(99), 2, 2));
        assert_eq!(overlay.fields(), &fields(2));
        overlay.catch_up(shown(&fields(5), 3, 3));
        assert_eq!(overlay.fields(), &fields(5));
    }

    #[test]
    fn a_write_that_is_visible_before_its_position_is_known_is_not_applied_twice() {
        let mut overlay = Overlay::default();
        overlay.catch_up(shown(&fields(1), 1, 1));
        overlay.catch_up(shown(&fields(2), 2, 2));
        overlay.wrote(2, inc(1), false);
        assert_eq!((overlay.fields(), overlay.exact()), (&fields(2), Some(2)));
    }

    #[test]
    fn writes_heard_of_in_another_order_are_put_right() {
        let push = |value: u64| {
            let op = json!({"push": {"field": "l", "value": value}});
            Arc::new(StateChanged {
                op: serde_json::from_value(op).expect("an operation"),
                ..StateChanged::default()
            })
        };
        let empty = Fields::new();
        let mut overlay = Overlay::default();
        overlay.catch_up(shown(&empty, 1, 1));
        overlay.wrote(3, push(3), false);
        overlay.wrote(2, push(2), false);
        let seen = Fields::from_iter([("l".to_owned(), json!([2]))]);
        overlay.catch_up(shown(&seen, 2, 2));
        assert_eq!(overlay.fields()["l"], json!([2, 3]));
    }

    #[test]
    fn what_is_visible_is_not_looked_at_while_own_operations_are_on_their_way_but_in_time() {
        let mut overlay = Overlay::default();
        overlay.departs();
        assert!(!overlay.is_close(), "nothing is known yet");
        overlay.catch_up(shown(&fields(1), 1, 1));
        assert!(overlay.is_close());
        for position in 2..2 + PENDING_MAX as u64 {
            assert!(overlay.is_close());
            overlay.wrote(position, inc(1), false);
        }
        assert!(!overlay.is_close(), "what is pending has a bound");
        overlay.arrives();
        overlay.catch_up(shown(&fields(1_025), 1_025, 1_025));
        assert!(!overlay.is_close(), "nothing is on its way");
        assert_eq!(overlay.fields(), &fields(1_025));
    }
}
