//! The contract of a log as functions; every implementation runs them. They panic where the contract is broken.
//! What one of them leaves in the log does not disturb the others, and [`contents`] tells whether two logs show the same.

mod appends;
mod forks;
mod reads;
mod retention;
mod support;
mod views;

use std::sync::Arc;

pub use support::{Contents, contents};

use crate::handle::Log;
use crate::view::View;

/// The views that a log must be opened with to run the contract.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(support::Texts)]
}

/// Runs the whole contract. `open` opens the store, which is empty the first time, and the same one each time after. Payloads go up to
/// 20 KiB; other bounds may be small.
pub async fn run(mut open: impl FnMut() -> Log) {
    let log = open();
    appends::conditions_are_decided_on_what_is_sequenced_before(&log).await;
    appends::a_refused_append_leaves_nothing(&log).await;
    appends::malformed_appends_are_refused(&log).await;
    appends::an_append_to_several_streams_is_one(&log).await;
    appends::a_key_makes_an_append_repeatable(&log).await;
    appends::appends_keep_their_order_and_are_answered_when_visible(&log).await;
    appends::one_of_those_who_race_wins(&log).await;
    appends::sub_streams_are_numbered_and_named(&log).await;
    reads::records_read_back_as_appended(&log).await;
    reads::ranges_end_where_the_stream_does(&log).await;
    reads::followers_are_woken_and_resume(&log).await;
    reads::a_resume_of_a_sub_stream_reads_little_more_than_it_needs(&log).await;
    reads::a_sub_stream_can_be_waited_for(&log).await;
    reads::lists_are_paged_by_name_and_by_activity(&log).await;
    reads::the_order_of_everything_is_paged_and_filtered(&log).await;
    views::folds_and_index_rows_reflect_what_was_acknowledged(&log).await;
    views::a_fold_that_fails_fails_alone(&log).await;
    retention::trimmed_records_are_gone_and_what_they_made_is_not(&log).await;
    retention::a_deleted_stream_is_gone_and_its_name_free(&log).await;
    retention::a_deleted_stream_repeats_no_answer(&log).await;
    retention::erased_payloads_are_gone_everywhere(&log).await;
    forks::a_fork_goes_on_from_what_it_shares(&log).await;
    forks::a_fork_outlives_its_parent(&log).await;
    forks::a_fork_of_a_trimmed_stream_knows_its_past(&log).await;
    forks::a_fork_begins_where_the_past_is_known(&log).await;
    let before = contents(&log).await;
    log.close().await;
    appends::a_closed_log_refuses_appends_and_is_read(&log).await;
    same(&log, &before).await;
    drop(log);

    let log = open();
    same(&log, &before).await;
    reads::a_place_beyond_a_list_is_its_end(&log).await;
    appends::what_was_answered_is_known_after_a_reopen(&log).await;
    retention::what_was_given_up_stays_given_up(&log).await;
    let before = contents(&log).await;
    // Without a word, as a process that ends in peace does.
    drop(log);
    let log = open();
    same(&log, &before).await;
    log.close().await;
}

/// A log shows what it showed before.
async fn same(log: &Log, before: &Contents) {
    assert_eq!(before.difference(&contents(log).await), None);
}
