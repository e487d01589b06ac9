//! The two streams of a file: which of its bytes belong to tensors, and reading and writing them in place.

use std::io::{Read, Seek, SeekFrom, Write};

use lmgc_container::{Header, Stream};

use crate::{Error, Piece};

/// A run of a stream's bytes that lie together in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stream: Stream,
    pub(crate) stream_offset: u64,
    pub(crate) file_offset: u64,
    pub(crate) len: u64,
    /// Index of the tensor, for data.
    pub(crate) tensor: Option<usize>,
}

/// All runs of a file, in file order.
#[derive(Clone, Debug)]
pub(crate) struct StreamMap {
    runs: Vec<Run>,
    /// The runs of each stream, as indices of `runs`: skeleton, data.
    by_stream: [Vec<usize>; 2],
}

impl StreamMap {
    /// The map of a file whose tensors are sorted and disjoint, as the container's header guarantees.
    pub(crate) fn new(header: &Header) -> Self {
        let (mut runs, mut skeleton, mut data, mut covered_to) = (Vec::new(), 0, 0, 0);
        let mut push_skeleton = |runs: &mut Vec<Run>, from: u64, to: u64| {
            if to > from {
                let stream = Stream::Skeleton;
                runs.push(Run { stream, stream_offset: skeleton, file_offset: from, len: to - from, tensor: None });
                skeleton += to - from;
            }
        };
        for (i, tensor) in header.tensors.iter().enumerate().filter(|(_, tensor)| tensor.len > 0) {
            push_skeleton(&mut runs, covered_to, tensor.offset);
            let (stream, file_offset, len) = (Stream::Data, tensor.offset, tensor.len);
            runs.push(Run { stream, stream_offset: data, file_offset, len, tensor: Some(i) });
            data += len;
            covered_to = file_offset + len;
        }
        push_skeleton(&mut runs, covered_to, header.original_len);
        let mut by_stream = [Vec::new(), Vec::new()];
        for (i, run) in runs.iter().enumerate() {
            by_stream[usize::from(run.stream.id())].push(i);
        }
        Self { runs, by_stream }
    }

    /// All runs, in file order.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Length of a stream.
    pub(crate) fn stream_len(&self, stream: Stream) -> u64 {
        let last = self.of_stream(stream).last().and_then(|&i| self.runs.get(i));
        last.map_or(0, |run| run.stream_offset + run.len)
    }

    fn of_stream(&self, stream: Stream) -> &[usize] {
        &self.by_stream[usize::from(stream.id())]
    }

    /// The runs that hold bytes `start..start + len` of a stream, cut to that range.
    pub(crate) fn slice(&self, stream: Stream, start: u64, len: u64) -> impl Iterator<Item = Run> + '_ {
        let end = start.saturating_add(len);
        let of_stream = self.of_stream(stream);
        // Stream offsets ascend within each stream, and file offsets overall.
        let before = of_stream.partition_point(|&i| self.runs[i].stream_offset + self.runs[i].len <= start);
        of_stream[before..].iter().map(|&i| self.runs[i]).take_while(move |run| run.stream_offset < end).map(
            move |run| {
                let from = start.max(run.stream_offset);
                let to = end.min(run.stream_offset + run.len);
                Run {
                    stream_offset: from,
                    file_offset: run.file_offset + (from - run.stream_offset),
                    len: to - from,
                    ..run
                }
            },
        )
    }

    /// The tensors' parts of a stretch of the data stream.
    pub(crate) fn pieces<'h>(&self, header: &'h Header, stream: Stream, start: u64, len: u64) -> Vec<Piece<'h>> {
        self.slice(stream, start, len)
            .filter_map(|run| {
                let tensor = header.tensors.get(run.tensor?)?;
                let start = run.file_offset - tensor.offset;
                Some(Piece { shape: &tensor.shape, start, len: usize::try_from(run.len).ok()?, reference: None })
            })
            .collect()
    }

    /// Reads a stretch of a stream from the original file.
    pub(crate) fn read<R: Read + Seek>(
        &self,
        input: &mut R,
        stream: Stream,
        start: u64,
        len: u64,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for run in self.slice(stream, start, len) {
            input.seek(SeekFrom::Start(run.file_offset))?;
            input.by_ref().take(run.len).read_to_end(&mut bytes)?;
        }
        if bytes.len() as u64 != len {
            return Err(Error::InputChanged);
        }
        Ok(bytes)
    }

    /// Writes a stretch of a stream to where it belongs in the file.
    pub(crate) fn write<W: Write + Seek>(
        &self,
        output: &mut W,
        stream: Stream,
        start: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let mut rest = bytes;
        for run in self.slice(stream, start, bytes.len() as u64) {
            let (head, tail) = rest.split_at(run.len as usize);
            output.seek(SeekFrom::Start(run.file_offset))?;
            output.write_all(head)?;
            rest = tail;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;

    use lmgc_container::TensorEntry;

    use super::*;

    #[test]
    fn streams_are_read_and_written_in_place() {
        let tensor =
            |offset, len| TensorEntry { name: String::new(), dtype: "U8".into(), shape: vec![len], offset, len };
        let header = Header {
            settings: BTreeMap::new(),
            file_format: "raw".into(),
            original_len: 20,
            tensors: vec![tensor(3, 4), tensor(7, 0), tensor(7, 2), tensor(15, 5)],
            model: None,
        };
        let map = StreamMap::new(&header);
        let original: Vec<u8> = (0..20).collect();
        let mut input = Cursor::new(&original);
        assert_eq!(map.read(&mut input, Stream::Data, 2, 6).unwrap(), [5, 6, 7, 8, 15, 16]);
        assert_eq!(map.read(&mut input, Stream::Skeleton, 1, 5).unwrap(), [1, 2, 9, 10, 11]);
        assert!(matches!(map.read(&mut input, Stream::Data, 8, 6), Err(Error::InputChanged)));
        let mut output = Cursor::new(vec![0xff; 20]);
        for (stream, len) in [(Stream::Data, 11), (Stream::Skeleton, 9)] {
            let bytes = map.read(&mut input, stream, 0, len).unwrap();
            map.write(&mut output, stream, 0, &bytes[..5]).unwrap();
            map.write(&mut output, stream, 5, &bytes[5..]).unwrap();
        }
        assert_eq!(output.into_inner(), original);
    }
}
