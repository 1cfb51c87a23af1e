//! What is written: one streamed token as JSON, 200 bytes in the mean, its text neither constant nor random.

use bytes::Bytes;

/// A sequence of numbers that looks random and is the same in every run.
pub struct Random(u64);

impl Random {
    /// One sequence per seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const SYLLABLES: [&str; 24] = [
    "an", "be", "co", "de", "er", "fi", "go", "ha", "in", "ju", "ke", "lo", "ma", "no", "or", "pe", "qu", "ri", "st",
    "te", "un", "ve", "wi", "yo",
];

/// Makes the tokens of one stream.
pub struct Tokens {
    words: Vec<String>,
    random: Random,
    stream: u64,
    item: u64,
    number: u64,
    at_ms: u64,
}

impl Tokens {
    /// Of this stream.
    pub fn new(stream: u64) -> Self {
        let mut random = Random::new(stream + 7);
        let words = (0..512)
            .map(|_| {
                let syllables = 1 + random.below(4);
                (0..syllables).map(|_| SYLLABLES[random.below(24) as usize]).collect()
            })
            .collect();
        Self {
            words,
            random,
            stream,
            item: 0,
            number: 0,
            at_ms: 1_763_662_800_000,
        }
    }
}

impl Iterator for Tokens {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.number.is_multiple_of(100) {
            self.item = self.random.below(u64::MAX);
        }
        self.number += 1;
        self.at_ms += self.random.below(40);
        let mut word = || &self.words[self.random.below(512) as usize];
        let text = format!("{} {} {} ", word(), word(), word());
        Some(Bytes::from(format!(
            "{{\"type\":\"content.delta\",\"requestId\":\"req_{:016x}\",\"itemId\":\"msg_{:016x}\",\"contentIndex\":0,\
             \"delta\":{{\"type\":\"text\",\"text\":\"{text}\"}},\"sequence_number\":{},\"ts\":{}}}",
            self.stream, self.item, self.number, self.at_ms
        )))
    }
}
