//! Gates by name: what runs waits at one until somebody opens it. They are those of this process.

use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::Mutex;
use tokio::sync::watch;

static GATES: LazyLock<Mutex<HashMap<String, watch::Sender<bool>>>> = LazyLock::new(Mutex::default);

fn gate(name: &str) -> watch::Receiver<bool> {
    let mut gates = GATES.lock();
    let gate = gates.entry(name.to_owned()).or_insert_with(|| watch::channel(false).0);
    gate.subscribe()
}

/// Returns when the gate is open.
pub(crate) async fn wait(name: &str) {
    // The sender is never dropped.
    let _ = gate(name).wait_for(|open| *open).await;
}

/// Opens it for good.
pub(crate) fn open(name: &str) {
    gate(name);
    if let Some(gate) = GATES.lock().get(name) {
        gate.send_replace(true);
    }
}
