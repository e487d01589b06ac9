//! The two streams into which a file's bytes are sorted.

use std::fmt;

use crate::{BlockInfo, Error, Header};

/// Which of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// All bytes that belong to no tensor, concatenated in file order.
    Skeleton,
    /// The bytes of all tensors, concatenated in file order.
    Data,
}

impl Stream {
    /// The stream's number in the file.
    pub fn id(self) -> u8 {
        match self {
            Self::Skeleton => 0,
            Self::Data => 1,
        }
    }

    /// The other of the two.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Skeleton => Self::Data,
            Self::Data => Self::Skeleton,
        }
    }

    pub(crate) fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Skeleton),
            1 => Some(Self::Data),
            _ => None,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skeleton => "skeleton",
            Self::Data => "data",
        })
    }
}

/// Where the bytes of each stream lie in the original file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLayout {
    /// Non-empty tensors by place: skeleton bytes before them, data bytes before them.
    spans: Vec<(u64, u64)>,
    skeleton_len: u64,
    data_len: u64,
}

impl StreamLayout {
    /// The layout of a file with these tensors.
    ///
    /// # Errors
    /// [`Error::InvalidHeader`] if tensors are not sorted by offset, overlap, or reach past the end of the file.
    pub fn new(header: &Header) -> Result<Self, Error> {
        let invalid = |name: &str, what: &str| Error::InvalidHeader {
            what: format!("tensor \"{name}\" {what}; tensors are sorted by offset, disjoint and within the file"),
        };
        let (mut spans, mut data_len, mut covered_to) = (Vec::new(), 0, 0);
        for tensor in &header.tensors {
            if tensor.offset < covered_to {
                return Err(invalid(&tensor.name, "starts before the end of the one before it"));
            }
            covered_to = tensor
                .offset
                .checked_add(tensor.len)
                .filter(|&end| end <= header.original_len)
                .ok_or_else(|| invalid(&tensor.name, "ends after the end of the file"))?;
            if tensor.len > 0 {
                // Disjoint and sorted: the data bytes before an offset are at most as many as all bytes before it.
                spans.push((tensor.offset - data_len, data_len));
                data_len += tensor.len;
            }
        }
        Ok(Self { spans, skeleton_len: header.original_len - data_len, data_len })
    }

    /// Length of a stream, in bytes.
    pub fn len_bytes(&self, stream: Stream) -> u64 {
        match stream {
            Stream::Skeleton => self.skeleton_len,
            Stream::Data => self.data_len,
        }
    }

    /// Where in the original file a stream's byte lies; `None` if the stream is not that long.
    pub fn original_offset(&self, stream: Stream, stream_offset: u64) -> Option<u64> {
        if stream_offset >= self.len_bytes(stream) {
            return None;
        }
        Some(match stream {
            Stream::Data => {
                let after = self.spans.partition_point(|&(_, data)| data <= stream_offset);
                let (skeleton_before, _) = *self.spans.get(after.checked_sub(1)?)?;
                stream_offset + skeleton_before
            }
            Stream::Skeleton => {
                let after = self.spans.partition_point(|&(skeleton, _)| skeleton <= stream_offset);
                let data_before = self.spans.get(after).map_or(self.data_len, |&(_, data)| data);
                stream_offset + data_before
            }
        })
    }
}

/// Checks that blocks come in the one order that the format allows: each stream without gaps, and the next block always one
/// that starts after the block before it in the original file.
#[derive(Debug)]
pub(crate) struct BlockOrder {
    layout: StreamLayout,
    skeleton_done: u64,
    data_done: u64,
    /// Original offset of the last block's first byte.
    last_start: Option<u64>,
}

impl BlockOrder {
    pub(crate) fn new(layout: StreamLayout) -> Self {
        Self { layout, skeleton_done: 0, data_done: 0, last_start: None }
    }

    /// Where the stream's next block has to start.
    pub(crate) fn next_offset(&self, stream: Stream) -> u64 {
        match stream {
            Stream::Skeleton => self.skeleton_done,
            Stream::Data => self.data_done,
        }
    }

    /// Takes a block, or says why it cannot come next.
    pub(crate) fn accept(&mut self, block: &BlockInfo) -> Result<(), &'static str> {
        if block.stream_offset != self.next_offset(block.stream) {
            return Err("its stream goes on elsewhere");
        }
        let [start, other] = [block.stream, block.stream.other()]
            .map(|stream| self.layout.original_offset(stream, self.next_offset(stream)));
        // Its block would have to come before this one. Who writes as blocks come never writes far behind what is there.
        if other.is_some_and(|other| start.is_some_and(|start| other < start)) {
            return Err("bytes before it in the original file are missing");
        }
        self.accept_later(block)
    }

    /// As [`accept`](Self::accept), but blocks before it may be missing.
    pub(crate) fn accept_later(&mut self, block: &BlockInfo) -> Result<(), &'static str> {
        if block.stream_offset < self.next_offset(block.stream) {
            return Err("its stream has come further");
        }
        let left = self.layout.len_bytes(block.stream).saturating_sub(block.stream_offset);
        if block.raw_len == 0 {
            return Err("a block holds at least one byte");
        }
        if block.raw_len > left {
            return Err("its stream is not that long");
        }
        let start = self.layout.original_offset(block.stream, block.stream_offset);
        if start <= self.last_start {
            return Err("blocks are sorted by where their first byte lies in the original file");
        }
        self.last_start = start;
        match block.stream {
            Stream::Skeleton => self.skeleton_done = block.stream_offset + block.raw_len,
            Stream::Data => self.data_done = block.stream_offset + block.raw_len,
        }
        Ok(())
    }

    /// A stream whose blocks do not reach its end: the stream, where they end, where it ends.
    pub(crate) fn incomplete(&self) -> Option<(Stream, u64, u64)> {
        [Stream::Skeleton, Stream::Data]
            .map(|stream| (stream, self.next_offset(stream), self.layout.len_bytes(stream)))
            .into_iter()
            .find(|&(_, done, len)| done < len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TensorEntry;

    fn header(original_len: u64, spans: &[(u64, u64)]) -> Header {
        let tensors = spans.iter().map(|&(offset, len)| TensorEntry {
            name: String::new(),
            dtype: "U8".to_owned(),
            shape: vec![len],
            offset,
            len,
        });
        Header {
            settings: Default::default(),
            file_format: "raw".to_owned(),
            original_len,
            tensors: tensors.collect(),
            model: None,
        }
    }

    #[test]
    fn every_byte_belongs_to_one_stream() {
        for spans in [
            &[][..],
            &[(0, 20)],
            &[(0, 5)],
            &[(15, 5)],
            &[(3, 4), (7, 2), (8 + 1, 0), (12, 3)],
            &[(0, 0), (0, 3), (3, 0), (3, 3), (20, 0)],
        ] {
            let layout = StreamLayout::new(&header(20, spans)).unwrap();
            let is_data = |byte| spans.iter().any(|&(offset, len)| (offset..offset + len).contains(&byte));
            for (stream, wanted) in [(Stream::Data, true), (Stream::Skeleton, false)] {
                let bytes: Vec<u64> = (0..20).filter(|&byte| is_data(byte) == wanted).collect();
                assert_eq!(layout.len_bytes(stream), bytes.len() as u64);
                for (stream_offset, &byte) in (0..).zip(&bytes) {
                    assert_eq!(layout.original_offset(stream, stream_offset), Some(byte), "{spans:?} {stream}");
                }
                assert_eq!(layout.original_offset(stream, bytes.len() as u64), None);
            }
        }
    }

    #[test]
    fn bad_tensor_tables_are_refused() {
        for spans in [&[(0, 5), (4, 2)][..], &[(5, 2), (0, 5)], &[(9, 2)], &[(u64::MAX, 2)], &[(11, 0)]] {
            assert!(matches!(StreamLayout::new(&header(10, spans)), Err(Error::InvalidHeader { .. })), "{spans:?}");
        }
    }

    #[test]
    fn blocks_follow_the_original() {
        let block = |stream, stream_offset, raw_len| BlockInfo {
            stream,
            codec: 0,
            stream_offset,
            raw_len,
            n_lanes: 0,
            payload_len: 0,
            payload_crc32c: 0,
            file_offset: 0,
        };
        // Skeleton 0..3 and 13..20, data 3..13.
        let order = || BlockOrder::new(StreamLayout::new(&header(20, &[(3, 10)])).unwrap());
        let (skeleton, data) = (Stream::Skeleton, Stream::Data);

        let mut whole = order();
        assert_eq!(whole.incomplete(), Some((skeleton, 0, 10)));
        whole.accept(&block(skeleton, 0, 2)).unwrap();
        whole.accept(&block(skeleton, 2, 3)).unwrap();
        whole.accept(&block(data, 0, 10)).unwrap();
        assert!(whole.accept(&block(data, 10, 1)).is_err(), "past the end");
        assert_eq!(whole.incomplete(), Some((skeleton, 5, 10)));
        whole.accept(&block(skeleton, 5, 5)).unwrap();
        assert_eq!(whole.incomplete(), None);

        let mut late = order();
        assert!(late.accept(&block(skeleton, 1, 2)).is_err(), "gap");
        assert!(late.accept(&block(skeleton, 0, 0)).is_err(), "empty");
        assert!(late.accept(&block(skeleton, 0, 11)).is_err(), "too long");
        late.accept(&block(skeleton, 0, 5)).unwrap();
        late.accept(&block(data, 0, 10)).unwrap();
        late.accept(&block(skeleton, 5, 5)).unwrap();

        let mut disorderly = order();
        assert!(disorderly.accept(&block(data, 0, 10)).is_err(), "the skeleton before it is missing");
        disorderly.accept_later(&block(data, 0, 10)).unwrap();
        assert!(disorderly.accept(&block(skeleton, 0, 10)).is_err(), "starts before the data");
    }
}
