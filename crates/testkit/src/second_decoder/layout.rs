//! Where the two streams lie in the original, and the order of blocks (sections 1 and 5).

use super::Refusal;
use super::container::{BlockHead, Tensor};

/// Names of the streams, by their numbers.
pub(super) const STREAMS: [&str; 2] = ["skeleton", "data"];

/// Bytes that lie together in the original and in a stream.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// First byte in the stream.
    pub(super) in_stream: u64,
    /// First byte in the original.
    pub(super) in_original: u64,
    pub(super) len: u64,
    /// The tensor, in the data stream.
    pub(super) tensor: usize,
}

/// The runs of each stream, none of them empty.
#[derive(Default)]
pub(super) struct Layout([Vec<Run>; 2]);

impl Layout {
    pub(super) fn new(tensors: &[Tensor], original_len: u64) -> Self {
        let mut layout = Self::default();
        let mut end = 0;
        for (i, tensor) in tensors.iter().enumerate() {
            layout.push(0, i, end, tensor.offset - end);
            layout.push(1, i, tensor.offset, tensor.len);
            end = tensor.offset + tensor.len;
        }
        layout.push(0, tensors.len(), end, original_len - end);
        layout
    }

    fn push(&mut self, stream: usize, tensor: usize, in_original: u64, len: u64) {
        let in_stream = self.stream_len(stream);
        if len > 0 {
            self.0[stream].push(Run { in_stream, in_original, len, tensor });
        }
    }

    pub(super) fn stream_len(&self, stream: usize) -> u64 {
        self.0[stream].last().map_or(0, |run| run.in_stream + run.len)
    }

    /// The runs of `len` bytes of a stream from `start` on, cut at both ends.
    pub(super) fn runs(&self, stream: usize, start: u64, len: u64) -> impl Iterator<Item = Run> {
        let runs = &self.0[stream];
        let first = runs.partition_point(|run| run.in_stream + run.len <= start);
        let end = start.saturating_add(len);
        runs[first..].iter().take_while(move |run| run.in_stream < end).map(move |run| {
            let skipped = start.saturating_sub(run.in_stream);
            Run {
                in_stream: run.in_stream + skipped,
                in_original: run.in_original + skipped,
                len: run.len.min(end - run.in_stream) - skipped,
                tensor: run.tensor,
            }
        })
    }
}

/// Checks that blocks are in block order and without gaps.
pub(super) struct BlockOrder<'a> {
    layout: &'a Layout,
    /// Where the next block of each stream starts.
    next: [u64; 2],
    /// Where the block before starts in the original.
    last_original: Option<u64>,
}

impl<'a> BlockOrder<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        Self { layout, next: [0; 2], last_original: None }
    }

    pub(super) fn check(&mut self, head: &BlockHead) -> Result<(), Refusal> {
        let stream = usize::from(head.stream);
        let name = STREAMS[stream];
        let next = &mut self.next[stream];
        if head.stream_offset != *next {
            return Err(Refusal::corrupt(format!("a {name} block at {} and not at {next}", head.stream_offset)));
        }
        if head.raw_len > self.layout.stream_len(stream) - *next {
            return Err(Refusal::corrupt(format!("a {name} block ends behind its stream")));
        }
        let Some(run) = self.layout.runs(stream, *next, 1).next() else {
            return Err(Refusal::corrupt(format!("a {name} block of no byte")));
        };
        if self.last_original.is_some_and(|last| last >= run.in_original) {
            return Err(Refusal::corrupt("blocks are out of order"));
        }
        self.last_original = Some(run.in_original);
        *next += head.raw_len;
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), Refusal> {
        for (stream, name) in STREAMS.iter().enumerate() {
            let (there, needed) = (self.next[stream], self.layout.stream_len(stream));
            if there != needed {
                return Err(Refusal::corrupt(format!("blocks of {there} bytes for a {name} stream of {needed}")));
            }
        }
        Ok(())
    }
}

/// Puts the streams' bytes where they belong.
pub(super) fn join(layout: &Layout, streams: &[Vec<u8>; 2]) -> Result<Vec<u8>, Refusal> {
    let mut runs: Vec<(usize, Run)> =
        [0, 1].into_iter().flat_map(|stream| layout.0[stream].iter().map(move |&run| (stream, run))).collect();
    runs.sort_by_key(|(_, run)| run.in_original);
    let mut original = Vec::new();
    for (stream, run) in runs {
        let bytes = slice(&streams[stream], run.in_stream, run.len);
        original.extend_from_slice(bytes.ok_or_else(|| Refusal::corrupt("a stream is too short"))?);
    }
    Ok(original)
}

/// `len` bytes from `start` on, where they are there.
pub(super) fn slice(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let (start, len) = (usize::try_from(start).ok()?, usize::try_from(len).ok()?);
    bytes.get(start..)?.get(..len)
}
