//! The sound is stored once, whatever its size and whoever describes it, and goes with its session.

use bytes::Bytes;
use flowstate_engine::Media;
use flowstate_engine::item::ContentPart;
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, decode};
use flowstate_engine::voice::{VoiceProviders, wav_duration};
use flowstate_log::Options;
use flowstate_log::disk::Disk;
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::verbs::Trim;

use super::support::*;

/// Sound that is found in no other place: 16 bytes that tell what it is, then so many.
fn noise(seed: u8, bytes: usize) -> Bytes {
    let mut state = u64::from(seed) + 1;
    let noise = (0..bytes).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    noise.collect::<Vec<u8>>().into()
}

fn voice() -> Voice {
    Voice::sounding([("Small.", noise(1, 3_000)), ("Large.", noise(2, 700_000))])
}

async fn ran(disk: &MemoryDisk) -> Engine {
    let (mouth, voice) = (Mouth::default().says("Small. Large."), voice());
    let builder = builder(spoken(asks(), &voice), &mouth);
    let engine = builder.open(on_disk(disk)).await.expect("an engine");
    submit(&engine).await;
    facts(&engine).await;
    engine
}

#[tokio::test]
async fn small_and_large_sounds_are_on_the_disk_once() {
    let disk = MemoryDisk::new();
    let engine = ran(&disk).await;
    let [small, large] = [noise(1, 3_000), noise(2, 700_000)];
    let shown = messages(&engine).await;
    let expected = [
        ("Small.".to_owned(), small.clone()),
        ("Large.".to_owned(), large.clone()),
    ];
    assert_eq!(audio(&shown[0]), expected);
    for sound in [&small, &large] {
        for place in [100, sound.len() - 40] {
            assert_eq!(
                occurrences(&disk, &sound[place..place + 32]),
                1,
                "at {place} of {}",
                sound.len()
            );
        }
    }
    let blobs = disk.list().expect("a list");
    let blobs = blobs.iter().filter(|name| name.starts_with("blob-")).count();
    assert_eq!(blobs, 1, "the large one is a file of its own");
    // The rest of what the request has is little.
    let records = records(&engine).await;
    let rest = records.iter().filter(|record| !record.payload.is_empty());
    let rest: usize = rest
        .filter(|record| !matches!(decode(record), Ok(Fact::MediaStored(_))))
        .map(|record| record.payload.len())
        .sum();
    assert!(rest < 8_000, "{rest} bytes");
}

async fn records(engine: &Engine) -> Vec<flowstate_log::record::Record> {
    let stream = request(engine, "r").await.sub.stream;
    let (mut all, mut from) = (Vec::new(), 1);
    loop {
        let some = engine.log().read(stream, from, 1_000).await.expect("records");
        let Some(last) = some.last() else { return all };
        from = last.position + 1;
        all.extend(some);
    }
}

/// Wherever a reader begins, each record that describes a part comes with its bytes.
#[tokio::test]
async fn every_record_that_describes_a_part_is_read_with_its_bytes() {
    let disk = MemoryDisk::new();
    let engine = ran(&disk).await;
    let request = request(&engine, "r").await.sub;
    let records: Vec<_> = records(&engine)
        .await
        .into_iter()
        .filter(|record| record.sub.is_some())
        .collect();
    let mut parts = 0;
    let mut one: Media = engine.media(&request);
    for record in &records {
        let (_, number) = record.sub.expect("of the request");
        let mut alone = engine.media(&request);
        let (mut together, mut fact) = (decode(record).expect("a fact"), decode(record).expect("a fact"));
        one.fill(number, &mut together).await.expect("readable");
        alone.fill(number, &mut fact).await.expect("readable");
        assert_eq!(together, fact, "record {number}");
        let content: Vec<_> = match fact {
            Fact::ContentAdded(added) => vec![added.content],
            Fact::ContentDone(done) => vec![done.content],
            Fact::ItemCompleted(completed) => match completed.item.body {
                flowstate_engine::item::ItemBody::Message { content, .. } => content,
                _ => vec![],
            },
            _ => vec![],
        };
        for part in content {
            if let ContentPart::OutputAudio { audio, transcript, .. } = part {
                let expected = match transcript.as_deref() {
                    Some("Small.") => noise(1, 3_000),
                    _ => noise(2, 700_000),
                };
                assert_eq!(base64(&audio), expected, "record {number}");
                parts += 1;
            }
        }
    }
    assert_eq!(parts, 6, "added, done and in the final item, twice");
}

#[tokio::test]
async fn the_sound_goes_with_its_session() {
    let disk = MemoryDisk::new();
    let engine = ran(&disk).await;
    let stream = request(&engine, "r").await.sub.stream;
    engine.log().delete(stream).await.expect("deleted");
    let segments = engine.log().segments().expect("segments");
    segments.cluster().await.expect("clustered");
    assert_eq!(occurrences(&disk, &noise(2, 700_000)[100..132]), 0, "the large one");
    let blobs = disk.list().expect("a list");
    assert!(blobs.iter().all(|name| !name.starts_with("blob-")), "{blobs:?}");
}

#[tokio::test]
async fn what_was_given_up_of_a_message_is_empty() {
    let disk = MemoryDisk::new();
    let engine = ran(&disk).await;
    let request = request(&engine, "r").await.sub;
    let of_item = |record: &flowstate_log::record::Record| matches!(decode(record), Ok(Fact::ItemCompleted(_)));
    let records = records(&engine).await;
    let last = records.iter().rfind(|record| of_item(record)).expect("the message");
    let trim = engine.log().trim(request.stream, Trim::Before(last.position)).await;
    assert_eq!(trim.expect("trimmed"), last.position);
    let shown = messages(&engine).await;
    let nothing = Bytes::new();
    assert_eq!(
        audio(&shown[0]),
        [("Small.".to_owned(), nothing.clone()), ("Large.".to_owned(), nothing)]
    );
}

/// What an hour of speech costs beside the sound itself.
#[tokio::test]
async fn a_second_of_speech_takes_little_more_than_its_sound() {
    let text = "A sentence of a usual length, as assistants write them. ".repeat(40);
    let mouth = Mouth::default().says(&text);
    let flow = flow("f")
        .action("a", action(asks()))
        .voice(VoiceConfig::tts("scripted"));
    let flow = flow.instance("i").expect("a flow");
    let builder = builder(flow, &mouth).voice(VoiceProviders::scripted());
    let engine = builder.open(Options::in_memory()).await.expect("an engine");
    submit(&engine).await;
    facts(&engine).await;
    let shown = messages(&engine).await;
    let sounds: Vec<_> = audio(&shown[0]).into_iter().map(|(_, sound)| sound).collect();
    assert_eq!(sounds.len(), 40);
    let seconds: f64 = sounds.iter().filter_map(|sound| wav_duration(sound)).sum();
    let sound: usize = sounds.iter().map(Bytes::len).sum();
    /// Of a record beside its payload.
    const RECORD_BYTES: usize = 110;
    let is_text = |fact: &Fact| matches!(fact, Fact::ContentDelta(_));
    let stored: usize = records(&engine)
        .await
        .iter()
        .filter(|record| decode(record).is_ok_and(|fact| !is_text(&fact)))
        .map(|record| record.payload.len() + RECORD_BYTES)
        .sum();
    let (of_sound, all) = (sound as f64 / seconds, stored as f64 / seconds);
    println!("{of_sound:.0} bytes of sound a second, {all:.0} stored");
    assert!(
        all < of_sound * 1.03,
        "{of_sound:.0} bytes of sound a second, {all:.0} stored"
    );
}
