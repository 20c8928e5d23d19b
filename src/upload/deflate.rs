//! zlib (RFC 1950) or gzip (RFC 1952) around deflate (RFC 1951): text goes in piece by piece, one bounded buffer comes out.

use alloc::vec::Vec;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

/// zlib level 2: hash chains of four and Huffman codes of the data's own. Level 1 of this library has fixed codes, which
/// cost a third more bytes for a fifth less time; level 3 saves 7 % and costs a third more time.
const LEVEL: i32 = 2;
/// Step in which the output grows, in bytes.
const OUTPUT_STEP_BYTES: usize = 32 * 1024;

/// A compressor with its output. Its state is allocated once, when it is made, and serves one stream after another.
pub struct Compressor {
    state: Deflate,
    /// Always filled to its length, so that it is zeroed once, not for each stream; the stream is the first `used` bytes.
    output: Vec<u8>,
    used: usize,
    output_bytes_max: usize,
}

/// What stands around the compressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapper {
    /// What HTTP calls `deflate`.
    Zlib,
    /// What HTTP calls `gzip`.
    Gzip,
}

/// The output would not fit its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Compressor {
    /// A compressor whose streams are at most `output_bytes_max` long.
    pub fn new(wrapper: Wrapper, output_bytes_max: usize) -> Self {
        const WINDOW_BITS: i32 = 15;
        let window_bits = match wrapper {
            Wrapper::Zlib => WINDOW_BITS,
            Wrapper::Gzip => WINDOW_BITS + 16, // the library's way to ask for it
        };
        let config = DeflateConfig { level: LEVEL, window_bits, ..DeflateConfig::default() };
        Compressor { state: Deflate::new_with_config(config), output: Vec::new(), used: 0, output_bytes_max }
    }

    /// Forgets what was fed and starts the next stream.
    pub fn reset(&mut self) {
        self.state.reset();
        self.used = 0;
    }

    /// Feeds text.
    pub fn feed(&mut self, mut text: &[u8]) -> Result<(), Overflow> {
        while !text.is_empty() {
            let (taken, _) = self.step(text, DeflateFlush::NoFlush)?;
            text = &text[taken..];
        }
        Ok(())
    }

    /// Ends the stream and gives all of it.
    pub fn finish(&mut self) -> Result<&[u8], Overflow> {
        while self.step(&[], DeflateFlush::Finish)?.1 != Status::StreamEnd {}
        Ok(&self.output[..self.used])
    }

    /// One call of the compressor, with room for output: how much it took and what it said.
    fn step(&mut self, text: &[u8], flush: DeflateFlush) -> Result<(usize, Status), Overflow> {
        if self.used == self.output.len() {
            self.grow()?;
        }
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self.state.compress(text, &mut self.output[self.used..], flush).map_err(|_| Overflow)?;
        // Both differences are lengths within slices.
        self.used += usize::try_from(self.state.total_out() - before_out).map_err(|_| Overflow)?;
        let taken = usize::try_from(self.state.total_in() - before_in).map_err(|_| Overflow)?;
        Ok((taken, status))
    }

    fn grow(&mut self) -> Result<(), Overflow> {
        let room = self.output_bytes_max - self.output.len();
        if room == 0 {
            return Err(Overflow);
        }
        let more = room.min(self.output.len().max(OUTPUT_STEP_BYTES));
        self.output.resize(self.output.len() + more, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(stream: &[u8], expected_bytes: usize) -> Vec<u8> {
        let mut text = alloc::vec![0; expected_bytes + 1];
        let mut state = zlib_rs::Inflate::new(true, 15);
        let status = state.decompress(stream, &mut text, zlib_rs::InflateFlush::Finish);
        assert_eq!(status, Ok(Status::StreamEnd));
        text.truncate(usize::try_from(state.total_out()).unwrap());
        text
    }

    /// Bytes that no compressor makes smaller (a linear congruential generator's high bytes).
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn one_compressor_serves_many_streams_and_each_is_whole() {
        let mut compressor = Compressor::new(Wrapper::Zlib, 1 << 20);
        for text in [noise(0), noise(1), noise(300_000), alloc::vec![b'a'; 300_000], noise(70_000)] {
            compressor.reset();
            for piece in text.chunks(777) {
                compressor.feed(piece).unwrap();
            }
            let stream = compressor.finish().unwrap();
            assert_eq!(stream[0], 0x78, "RFC 1950: deflate with a 32 KiB window");
            assert_eq!(inflate(stream, text.len()), text);
        }
    }

    #[test]
    fn a_gzip_stream_is_one_that_gzip_reads() {
        let mut compressor = Compressor::new(Wrapper::Gzip, 1 << 20);
        let text = noise(100_000);
        compressor.feed(&text).unwrap();
        let stream = compressor.finish().unwrap();
        assert_eq!(stream[..3], [0x1f, 0x8b, 8], "RFC 1952");
        let mut state = zlib_rs::Inflate::new(true, 31);
        let mut back = alloc::vec![0; text.len() + 1];
        let status = state.decompress(stream, &mut back, zlib_rs::InflateFlush::Finish);
        assert_eq!((status, &back[..text.len()]), (Ok(Status::StreamEnd), &text[..]));
    }

    #[test]
    fn output_above_its_bound_is_an_overflow_and_the_next_stream_is_whole() {
        let mut compressor = Compressor::new(Wrapper::Zlib, 100_000);
        let text = noise(200_000);
        let fed = compressor.feed(&text);
        assert!(fed.is_err() || compressor.finish().is_err());
        compressor.reset();
        compressor.feed(b"small").unwrap();
        assert_eq!(inflate(compressor.finish().unwrap(), 5), b"small");
    }
}
