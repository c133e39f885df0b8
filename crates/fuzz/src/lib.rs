//! Feeds parsers with spoilt input for a bounded time. For tests only.
//!
//! A [`Target`] starts from honest inputs (the corpus) and spoils copies of them: bits, numbers at the edge, pieces cut out, repeated,
//! or taken from another input, words of the format. Inputs on which the parser goes further than on those before are kept and spoilt again:
//! the test says how far that was, for it knows what the parser found.
//!
//! Each round is told by one number, the seed. `RKT_FUZZ_SEED` repeats a run, `RKT_FUZZ_SECONDS` sets the time for each target
//! (default: half a second, so that unit tests stay quick). An input that makes a parser panic, or think for seconds, is written to a file.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a parser may take for one input.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of one input.
const LONGEST: usize = 256 << 10;
/// Inputs that are kept.
const KEPT: usize = 4096;

/// What tells one error from another: its text without most of what it quotes of the input.
pub fn shape(error: impl std::fmt::Display) -> String {
    error.to_string().chars().filter(char::is_ascii_alphabetic).take(120).collect()
}

/// Something to be fed.
#[derive(Debug)]
pub struct Target<'a> {
    name: &'a str,
    corpus: Vec<Vec<u8>>,
    words: &'a [&'a str],
    repair: Option<fn(&mut [u8])>,
}

impl<'a> Target<'a> {
    /// A target that starts from these inputs.
    pub fn new<I: AsRef<[u8]>>(name: &'a str, corpus: impl IntoIterator<Item = I>) -> Self {
        let corpus = corpus.into_iter().map(|input| input.as_ref().to_vec()).collect();
        Self { name, corpus, words: &[], repair: None }
    }

    /// Words that mean something to the parser.
    #[must_use]
    pub fn words(mut self, words: &'a [&'a str]) -> Self {
        self.words = words;
        self
    }

    /// Makes right again what would end every parse at once: checksums.
    #[must_use]
    pub fn repair(mut self, repair: fn(&mut [u8])) -> Self {
        self.repair = Some(repair);
        self
    }

    /// Feeds `parse` until the time is over. What it returns tells inputs apart that lead to different places: an
    /// error's text, what was found.
    ///
    /// # Panics
    /// When `parse` does, or takes too long.
    pub fn run<T: Hash>(mut self, mut parse: impl FnMut(&[u8]) -> T) {
        let seconds: f64 = number("RKT_FUZZ_SECONDS").unwrap_or(0.5);
        let seed: u64 = number("RKT_FUZZ_SEED").unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |since| u64::from(since.subsec_nanos()) | 1)
        });
        let mut random = Random(seed.max(1));
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let mut places = HashSet::new();
        let mut rounds = 0_u64;
        for input in self.corpus.clone() {
            places.insert(self.feed(&input, seed, &mut parse));
        }
        while Instant::now() < end {
            rounds += 1;
            let mut input = self.pick(&mut random).to_vec();
            for _ in 0..=random.below(4) {
                self.spoil(&mut input, &mut random);
            }
            input.truncate(LONGEST);
            if let Some(repair) = self.repair {
                repair(&mut input);
            }
            let place = self.feed(&input, seed, &mut parse);
            if places.insert(place) && self.corpus.len() < KEPT {
                self.corpus.push(input);
            }
        }
        println!("{}: seed {seed}, {rounds} inputs, {} places", self.name, places.len());
    }

    fn feed<T: Hash>(&self, input: &[u8], seed: u64, parse: &mut impl FnMut(&[u8]) -> T) -> u64 {
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| parse(input)));
        let slow = start.elapsed() > PATIENCE;
        match result {
            Ok(place) if !slow => {
                let mut hasher = DefaultHasher::new();
                place.hash(&mut hasher);
                hasher.finish()
            }
            result => {
                let path = self.keep(input);
                let what = if result.is_ok() { "takes too long for" } else { "panics on" };
                panic!("{} {what} {} (RKT_FUZZ_SEED={seed})", self.name, path.display());
            }
        }
    }

    fn keep(&self, input: &[u8]) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("fuzz-{}-{}", self.name.replace(' ', "-"), std::process::id()));
        let _ = std::fs::write(&path, input);
        path
    }

    fn pick(&self, random: &mut Random) -> &[u8] {
        // Half of the time one of the newest, which went further.
        let from = if random.below(2) == 0 { self.corpus.len().saturating_sub(32) } else { 0 };
        &self.corpus[from + random.below(self.corpus.len() - from)]
    }

    fn spoil(&self, input: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(input.len() + 1);
        let end = at + random.below((input.len() - at).min(64) + 1);
        match random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => {
                input[at] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'7', b'/', b'"', b'.'][random.below(10)];
            }
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            4 => {
                let other = &self.corpus[random.below(self.corpus.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(512)).min(other.len())].to_vec();
                input.splice(at..end, piece);
            }
            5 | 6 if !self.words.is_empty() => {
                let word = self.words[random.below(self.words.len())].as_bytes();
                let end = if random.below(2) == 0 { at } else { (at + word.len()).min(input.len()) };
                input.splice(at..end, word.iter().copied());
            }
            7 => {
                const NUMBERS: [&str; 10] = [
                    "0",
                    "-1",
                    "1e9",
                    "65536",
                    "4294967295",
                    "18446744073709551616",
                    "9223372036854775808",
                    "7777777",
                    "0.5",
                    "1e999",
                ];
                input.splice(at..end.min(at + 8), NUMBERS[random.below(10)].bytes());
            }
            8 => {
                let block = at / 512 * 512;
                let piece = input[block..(block + 512).min(input.len())].to_vec();
                input.splice(block..block, piece);
            }
            _ => input.truncate(at),
        }
    }
}

fn number<N: std::str::FromStr>(variable: &str) -> Option<N> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Numbers that look random, the same for the same seed (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parser that gives up only deep inside: blind spoiling would need 2^24 tries.
    #[test]
    fn what_goes_further_is_followed() {
        let found = catch_unwind(AssertUnwindSafe(|| {
            Target::new("a parser with a fault", [b"x"]).words(&["a", "b", "c"]).run(|input| {
                let depth = input.iter().zip(b"abc").take_while(|(a, b)| a == b).count();
                assert!(depth < 3, "found");
                depth
            });
        }));
        assert!(found.is_err());
    }
}
