//! Storage under kills, failing calls, lost files and a full disk, judged by what its drivers were told (`flowstate_tests::store`).

mod buffered;
mod failing_calls;
mod file_loss;
mod flips;
mod full_disk;
mod kill;
mod planted;
mod support;
mod white_box;
