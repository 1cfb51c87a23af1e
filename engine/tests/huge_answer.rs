//! A huge answer of a model: it is told while it comes, and takes memory in proportion. A program of its own, because it measures
//! itself.

use flowstate_engine::model::{ModelEvent, Protocol, providers};
use futures_util::StreamExt;
use peak_alloc::PeakAlloc;

#[allow(dead_code)]
#[path = "providers/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "providers/support.rs"]
mod support;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Pieces of the answer, and bytes of each: 10 MB.
const PIECES: usize = 10_000;
const PIECE_BYTES: usize = 1_000;
/// What an answer may take, for each byte of it: the text, and what the adapter keeps of it until it is whole. OpenAI's Responses tell
/// the whole text four times again at the end.
fn bytes_per_byte_max(protocol: Protocol) -> usize {
    if protocol == Protocol::OpenAiResponses { 16 } else { 10 }
}

/// The recording of a short answer with many long pieces instead of its second one.
fn huge(protocol: Protocol) -> Vec<u8> {
    let recording = support::recording(protocol, "text");
    let between = if protocol == Protocol::Google {
        "\r\n\r\n"
    } else {
        "\n\n"
    };
    let (piece, long) = (" 👋🏽, 世", "x".repeat(PIECE_BYTES));
    let text = format!("Grüße{}界!", long.repeat(PIECES));
    let mut whole = Vec::new();
    for event in recording.split_inclusive(between) {
        if event.contains("Grüße 👋🏽, 世界!") {
            // Where the whole text is told again.
            whole.extend_from_slice(event.replace("Grüße 👋🏽, 世界!", &text).as_bytes());
        } else {
            let times = if event.contains(piece) { PIECES } else { 1 };
            whole.extend_from_slice(event.replace(piece, &long).repeat(times).as_bytes());
        }
    }
    whole
}

#[tokio::test]
async fn a_huge_answer_is_told_piece_by_piece_in_bounded_memory() {
    for protocol in support::PROTOCOLS {
        let server = server::Server::start([server::Reply::events(huge(protocol)).in_chunks_of(16 << 10)]).await;
        let model = providers::connect(&support::route(protocol, &server.url)).expect("a model");
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let mut answer = model.stream(support::question());
        let (mut bytes, mut pieces, mut ended) = (0, 0, false);
        while let Some(event) = answer.next().await {
            match event.expect("no failure") {
                ModelEvent::Text(text) => {
                    (bytes, pieces) = (bytes + text.len(), pieces + 1);
                }
                ModelEvent::End { .. } => ended = true,
                ModelEvent::Native(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(ended && pieces > PIECES, "{protocol:?}: {pieces} pieces");
        assert!(bytes >= PIECES * PIECE_BYTES, "{protocol:?}: {bytes} bytes");
        let taken = ALLOCATED.peak_usage().saturating_sub(before);
        println!("{protocol:?}: {} bytes for each byte", taken as f64 / bytes as f64);
        assert!(
            taken < bytes_per_byte_max(protocol) * bytes,
            "{protocol:?}: {taken} bytes for {bytes}"
        );
    }
}
