//! The side information's format.
//!
//! Empty, if leading spaces are dropped as the text format has it by default, no characters are to be edited, and no
//! chunk's number of tokens needs saying. Else a byte of flags (bit 0: leading spaces are dropped; bit 1: a coded part
//! follows; the others 0), and then, by the adaptive coder of [`super::bits`]:
//!
//! 1. the number of chunks whose number of tokens is given; for each, how many chunks were skipped since the last
//!    such chunk, and the number of tokens;
//! 2. the number of edits; for each, how many places were skipped since the last edit's end, then a 0 bit and a
//!    character if one is inserted and nothing deleted, else a 1 bit, the number of deleted elements, the number of
//!    inserted characters, and these.
//!
//! Places count characters of the true text; every chunk has as many as a full chunk has characters, and one for its
//! end.

use std::iter::Peekable;

use super::bits::{Bit, BitCoder, BitDecoder, BitEncoder, Number, Symbol};
use super::edits::Edit;
use crate::{Error, Result};

const DROPS_PREFIX: u8 = 1;
const HAS_CODED_PART: u8 = 2;

/// Adaptive models of the coded part.
#[derive(Debug)]
struct Models {
    count: Number,
    chunk_gap: Number,
    n_tokens: Number,
    edit_gap: Number,
    is_general: Bit,
    n_deleted: Number,
    n_inserted: Number,
    character: Symbol<8>,
}

impl Models {
    fn new() -> Self {
        Self {
            count: Number::new(),
            chunk_gap: Number::new(),
            n_tokens: Number::new(),
            edit_gap: Number::new(),
            is_general: Bit::NEW,
            n_deleted: Number::new(),
            n_inserted: Number::new(),
            character: Symbol::new(),
        }
    }

    /// Codes an edit but for its place. The decoder ignores `edit`, and refuses more than `max_inserted` characters.
    fn edit(&mut self, coder: &mut impl BitCoder, edit: &Edit, max_inserted: u64) -> Result<Edit> {
        let is_general = edit.n_deleted != 0 || edit.inserted.len() != 1;
        let (mut n_deleted, mut n_inserted) = (0, 1);
        if coder.code(&mut self.is_general, is_general)? {
            n_deleted = self.n_deleted.code(coder, edit.n_deleted)?;
            n_inserted = self.n_inserted.code(coder, edit.inserted.len() as u64)?;
        }
        if n_inserted > max_inserted {
            return Err(Error::CorruptSide(format!("an edit inserts {n_inserted} characters, limit {max_inserted}")));
        }
        let mut inserted = Vec::new();
        for index in 0..n_inserted as usize {
            let character = edit.inserted.get(index).copied().unwrap_or_default();
            inserted.push(self.character.code(coder, character.into())? as u8);
        }
        Ok(Edit { position: edit.position, n_deleted, inserted })
    }
}

/// Collects side information.
#[derive(Debug)]
pub(super) struct SideWriter {
    default_drops_prefix: bool,
    drops_prefix: bool,
    chunk_places: u64,
    n_chunks: u64,
    /// Chunk and number of tokens.
    token_counts: Vec<(u64, u64)>,
    /// Positions count from the beginning of the first chunk, in places.
    edits: Vec<Edit>,
}

impl SideWriter {
    pub(super) fn new(default_drops_prefix: bool, drops_prefix: bool, chunk_places: u64) -> Self {
        Self {
            default_drops_prefix,
            drops_prefix,
            chunk_places,
            n_chunks: 0,
            token_counts: Vec::new(),
            edits: Vec::new(),
        }
    }

    /// The next chunk's number of tokens, if it is to be given, and edits.
    pub(super) fn push_chunk(&mut self, n_tokens: Option<u64>, script: &[Edit]) {
        self.token_counts.extend(n_tokens.map(|n_tokens| (self.n_chunks, n_tokens)));
        let start = self.n_chunks * self.chunk_places;
        self.edits.extend(script.iter().map(|edit| Edit { position: start + edit.position, ..edit.clone() }));
        self.n_chunks += 1;
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let has_coded_part = !self.token_counts.is_empty() || !self.edits.is_empty();
        if !has_coded_part && self.drops_prefix == self.default_drops_prefix {
            return Vec::new();
        }
        let drops_prefix = if self.drops_prefix { DROPS_PREFIX } else { 0 };
        if !has_coded_part {
            return vec![drops_prefix];
        }
        let mut encoder = BitEncoder::new(vec![drops_prefix | HAS_CODED_PART]);
        self.encode(&mut encoder).expect("only decoding can fail");
        encoder.finish()
    }

    fn encode(&self, coder: &mut BitEncoder) -> Result<()> {
        let mut models = Models::new();
        models.count.code(coder, self.token_counts.len() as u64)?;
        let mut next_chunk = 0;
        for &(chunk, n_tokens) in &self.token_counts {
            models.chunk_gap.code(coder, chunk - next_chunk)?;
            models.n_tokens.code(coder, n_tokens)?;
            next_chunk = chunk + 1;
        }
        models.count.code(coder, self.edits.len() as u64)?;
        let mut next_place = 0;
        for edit in &self.edits {
            models.edit_gap.code(coder, edit.position - next_place)?;
            models.edit(coder, edit, u64::MAX)?;
            next_place = edit.position + edit.inserted.len() as u64;
        }
        Ok(())
    }
}

/// Gives side information chunk by chunk. Decodes edits as they are needed, so that hostile input costs no more memory
/// than the chunks it makes.
#[derive(Debug)]
pub(super) struct SideReader<'a> {
    drops_prefix: bool,
    chunk_places: u64,
    n_chunks_read: u64,
    token_counts: Peekable<std::vec::IntoIter<(u64, u64)>>,
    /// Absent if nothing is coded.
    coded: Option<(BitDecoder<'a>, Box<Models>)>,
    n_edits_left: u64,
    /// Place, counted from the beginning of the first chunk.
    next_edit: Option<Edit>,
}

impl<'a> SideReader<'a> {
    pub(super) fn new(default_drops_prefix: bool, chunk_places: u64, side: &'a [u8]) -> Result<Self> {
        let mut reader = Self {
            drops_prefix: default_drops_prefix,
            chunk_places,
            n_chunks_read: 0,
            token_counts: Vec::new().into_iter().peekable(),
            coded: None,
            n_edits_left: 0,
            next_edit: None,
        };
        let Some((&flags, rest)) = side.split_first() else { return Ok(reader) };
        if flags & !(DROPS_PREFIX | HAS_CODED_PART) != 0 {
            return Err(Error::CorruptSide(format!("flags {flags:#04x} are not defined")));
        }
        reader.drops_prefix = flags & DROPS_PREFIX != 0;
        if flags & HAS_CODED_PART != 0 {
            reader.start_coded_part(rest)?;
        } else if !rest.is_empty() {
            return Err(Error::CorruptSide(format!("{} bytes follow where none are announced", rest.len())));
        }
        Ok(reader)
    }

    fn start_coded_part(&mut self, bytes: &'a [u8]) -> Result<()> {
        let mut decoder = BitDecoder::new(bytes);
        let mut models = Box::new(Models::new());
        let n_token_counts = models.count.code(&mut decoder, 0)?;
        let mut token_counts = Vec::new();
        let mut next_chunk = 0_u64;
        for _ in 0..n_token_counts {
            let chunk = next_chunk
                .checked_add(models.chunk_gap.code(&mut decoder, 0)?)
                .ok_or_else(|| Error::CorruptSide("a chunk's index overflows".to_owned()))?;
            token_counts.push((chunk, models.n_tokens.code(&mut decoder, 0)?));
            next_chunk = chunk.saturating_add(1);
        }
        self.token_counts = token_counts.into_iter().peekable();
        self.n_edits_left = models.count.code(&mut decoder, 0)?;
        self.coded = Some((decoder, models));
        self.read_edit(0)
    }

    pub(super) fn drops_prefix(&self) -> bool {
        self.drops_prefix
    }

    /// The next chunk's number of tokens, if given, and edits.
    pub(super) fn next_chunk(&mut self) -> Result<(Option<u64>, Vec<Edit>)> {
        let overflow = || Error::CorruptSide("a place overflows".to_owned());
        let chunk = self.n_chunks_read;
        self.n_chunks_read += 1;
        let n_tokens = self.token_counts.next_if(|&(counted, _)| counted == chunk).map(|(_, n_tokens)| n_tokens);
        let start = chunk.checked_mul(self.chunk_places).ok_or_else(overflow)?;
        let end = start.checked_add(self.chunk_places).ok_or_else(overflow)?;
        let mut script = Vec::new();
        while let Some(mut edit) = self.next_edit.take_if(|edit| edit.position < end) {
            let next_place = edit.position.checked_add(edit.inserted.len() as u64).ok_or_else(overflow)?;
            edit.position -= start;
            script.push(edit);
            self.read_edit(next_place)?;
        }
        Ok((n_tokens, script))
    }

    /// Reads the next edit, if there is one, which lies at `next_place` or later.
    fn read_edit(&mut self, next_place: u64) -> Result<()> {
        let Some((decoder, models)) = &mut self.coded else { return Ok(()) };
        if self.n_edits_left == 0 {
            return Ok(());
        }
        self.n_edits_left -= 1;
        let position = next_place
            .checked_add(models.edit_gap.code(decoder, 0)?)
            .ok_or_else(|| Error::CorruptSide("a place overflows".to_owned()))?;
        let unknown = Edit { position, n_deleted: 0, inserted: Vec::new() };
        self.next_edit = Some(models.edit(decoder, &unknown, self.chunk_places)?);
        Ok(())
    }

    /// Checks that all has been used.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.token_counts.next().is_some() || self.next_edit.is_some() {
            return Err(Error::CorruptSide("it goes on behind the last chunk".to_owned()));
        }
        self.coded.map_or(Ok(()), |(decoder, _)| decoder.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNK_PLACES: u64 = 513;

    type Chunk = (Option<u64>, Vec<Edit>);

    fn edit(position: u64, n_deleted: u64, inserted: &[u8]) -> Edit {
        Edit { position, n_deleted, inserted: inserted.to_vec() }
    }

    fn write(drops_prefix: bool, chunks: &[Chunk]) -> Vec<u8> {
        let mut writer = SideWriter::new(false, drops_prefix, CHUNK_PLACES);
        for (n_tokens, script) in chunks {
            writer.push_chunk(*n_tokens, script);
        }
        writer.finish()
    }

    fn read(side: &[u8], n_chunks: usize) -> Result<(bool, Vec<Chunk>)> {
        let mut reader = SideReader::new(false, CHUNK_PLACES, side)?;
        let chunks = (0..n_chunks).map(|_| reader.next_chunk()).collect::<Result<_>>()?;
        let drops_prefix = reader.drops_prefix();
        reader.finish().map(|()| (drops_prefix, chunks))
    }

    #[test]
    fn bytes_are_pinned() {
        let nothing = [(None, vec![])];
        assert!(write(false, &nothing).is_empty());
        assert_eq!(write(true, &nothing), [1]);
        let chunks = [
            (None, vec![edit(7, 0, &[4]), edit(100, 0, &[0x1d])]),
            (Some(300), vec![]),
            (Some(0), vec![edit(0, 0, &[4]), edit(512, 3, b"abc")]),
        ];
        let side = write(true, &chunks);
        assert_eq!(read(&side, 3).unwrap(), (true, chunks.to_vec()));
        let pinned =
            [3, 251, 125, 247, 210, 255, 255, 190, 185, 75, 43, 122, 62, 159, 39, 131, 95, 41, 110, 100, 42, 245];
        assert_eq!(side, pinned, "existing files hold such bytes");
        assert!(read(&side, 2).is_err(), "something is left over");
    }

    #[test]
    fn extreme_numbers() {
        let chunks = [(Some(Number::MAX), vec![edit(512, Number::MAX, &[0; 512])]), (Some(7), vec![])];
        assert_eq!(read(&write(false, &chunks), 2).unwrap(), (false, chunks.to_vec()));
        let too_long = [(None, vec![edit(0, 0, &[0; 514])])];
        assert!(read(&write(false, &too_long), 1).is_err());
    }

    #[test]
    fn too_few_bytes() {
        for end in 0..3 {
            let side = &[HAS_CODED_PART, 0, 0][..end];
            assert_eq!(read(side, 1).is_ok(), end == 0, "{end}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            drops_prefix: bool,
            chunks in prop::collection::vec(
                (
                    prop::option::weighted(0.2, 0..2000_u64),
                    prop::collection::vec((0..60_u64, 0..3_u64, prop::collection::vec(any::<u8>(), 1..4)), 0..6),
                ),
                0..20,
            ),
        ) {
            let chunks: Vec<Chunk> = chunks.into_iter().map(|(n_tokens, gaps)| {
                let mut position = 0;
                let script = gaps.into_iter().map(|(gap, n_deleted, inserted)| {
                    let edit = Edit { position: position + gap, n_deleted, inserted };
                    position = edit.position + edit.inserted.len() as u64;
                    edit
                });
                (n_tokens, script.collect())
            }).collect();
            prop_assert_eq!(read(&write(drops_prefix, &chunks), chunks.len()).unwrap(), (drops_prefix, chunks));
        }

        #[test]
        fn any_bytes_are_read_or_refused(side in prop::collection::vec(any::<u8>(), 0..200), n_chunks in 0..40_usize) {
            if let Ok((_, chunks)) = read(&side, n_chunks) {
                prop_assert_eq!(chunks.len(), n_chunks);
            }
        }
    }
}
