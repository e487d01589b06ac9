//! The payload of a language-model block. Layout: `docs/format.md`, "lm block payload".

use lmgc_container::fields::{Fields, put_varint};

use crate::Error;

/// What the tokens are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Bytes, serialised as text in chunks.
    Bytes,
    /// Little-endian u32 token ids.
    TokenIds,
    /// Bytes, and their tokens keep to the format's grammar.
    BytesByGrammar,
    /// Symbols of values.
    Symbols,
}

/// A parsed payload; everything has been checked against the payload's own length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    pub(crate) source: Source,
    /// What does not pass through the model, where values are cut; not with token ids.
    pub(crate) rest: Option<&'a [u8]>,
    pub(crate) n_tokens: usize,
    /// Size of the format's alphabet, 0 where none is used: a check that both sides mean the same symbols.
    pub(crate) n_legal: usize,
    /// What the tokenizer loses or changes (crate `lmgc-tokens`); the table of exponents, for symbols.
    pub(crate) side: &'a [u8],
    /// Token ids beyond the format's alphabet, strictly ascending.
    pub(crate) extra_ids: Vec<u32>,
    /// The characters of text before each lane, for tokens that keep to the grammar; else empty.
    pub(crate) places: Vec<u64>,
    /// One range-coder stream a lane.
    pub(crate) lanes: Vec<&'a [u8]>,
}

impl<'a> Payload<'a> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![match self.source {
            Source::Bytes => 0,
            Source::TokenIds => 1,
            Source::BytesByGrammar => 2,
            Source::Symbols => 3,
        }];
        if let Some(rest) = self.rest {
            put_varint(&mut out, rest.len() as u64);
            out.extend(rest);
        }
        put_varint(&mut out, self.n_tokens as u64);
        put_varint(&mut out, self.n_legal as u64);
        put_varint(&mut out, self.side.len() as u64);
        out.extend(self.side);
        put_varint(&mut out, self.extra_ids.len() as u64);
        let mut next = 0;
        for &id in &self.extra_ids {
            put_varint(&mut out, u64::from(id - next));
            next = id + 1;
        }
        // The first lane begins at 0.
        for pair in self.places.windows(2) {
            put_varint(&mut out, pair[1] - pair[0]);
        }
        // The last lane ends with the payload.
        for lane in self.lanes.iter().take(self.lanes.len().saturating_sub(1)) {
            put_varint(&mut out, lane.len() as u64);
        }
        self.lanes.iter().for_each(|lane| out.extend(*lane));
        out
    }

    /// `is_cut`: whether the settings cut values.
    pub(crate) fn parse(bytes: &'a [u8], n_lanes: u16, is_cut: bool) -> Result<Self, Error> {
        Self::parse_fields(bytes, n_lanes, is_cut).map_err(|error| match error {
            Error::Container(field) => Error::corrupt_block(format!("lm payload: {field}")),
            other => other,
        })
    }

    fn parse_fields(bytes: &'a [u8], n_lanes: u16, is_cut: bool) -> Result<Self, Error> {
        let mut fields = Fields::new(bytes, 0);
        let source = match fields.u8("lm source")? {
            0 => Source::Bytes,
            1 => Source::TokenIds,
            2 => Source::BytesByGrammar,
            3 => Source::Symbols,
            other => return Err(Error::corrupt_block(format!("lm source {other} is not known"))),
        };
        let rest = if is_cut && source != Source::TokenIds {
            let len = fields.varint("length of the values' rest")?;
            Some(fields.bytes(len, "values' rest")?)
        } else {
            None
        };
        let narrow = |value| {
            usize::try_from(value).map_err(|_| Error::corrupt_block("a number of tokens is beyond this machine"))
        };
        let n_tokens = narrow(fields.varint("number of tokens")?)?;
        let n_legal = narrow(fields.varint("size of the alphabet")?)?;
        let side_len = fields.varint("length of the token exceptions")?;
        let side = fields.bytes(side_len, "token exceptions")?;
        let n_extra = fields.varint("number of extra tokens")?;
        let (mut extra_ids, mut next) = (Vec::new(), 0u32);
        for _ in 0..n_extra {
            let gap = fields.varint("extra token")?;
            let id = u32::try_from(gap).ok().and_then(|gap| next.checked_add(gap)).filter(|&id| id < u32::MAX);
            let id = id.ok_or_else(|| Error::corrupt_block("an extra token's id is too large"))?;
            extra_ids.push(id);
            next = id + 1;
        }
        let mut places = Vec::new();
        if source == Source::BytesByGrammar && n_lanes > 0 {
            places.push(0u64);
            for _ in 1..n_lanes {
                let n_chars = fields.varint("characters of a lane")?;
                let place = places.last().and_then(|place| place.checked_add(n_chars));
                places.push(place.ok_or_else(|| Error::corrupt_block("a lane begins beyond all texts"))?);
            }
        }
        let mut lane_lens = Vec::new();
        for _ in 1..n_lanes {
            lane_lens.push(fields.varint("length of a lane")?);
        }
        let mut lanes = Vec::new();
        for len in lane_lens {
            lanes.push(fields.bytes(len, "lane")?);
        }
        let last = fields.rest();
        if n_lanes > 0 {
            lanes.push(last);
        } else if !last.is_empty() {
            return Err(Error::corrupt_block("bytes follow an lm payload without lanes"));
        }
        Ok(Self { source, rest, n_tokens, n_legal, side, extra_ids, places, lanes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Payload<'static> {
        Payload {
            source: Source::Bytes,
            rest: None,
            n_tokens: 300,
            n_legal: 187,
            side: b"side",
            extra_ids: vec![0, 5, 6, 70_000],
            places: vec![],
            lanes: vec![b"one", b"", b"three"],
        }
    }

    #[test]
    fn round_trip() {
        let bytes = example().to_bytes();
        assert_eq!(Payload::parse(&bytes, 3, false).unwrap(), example());
        let by_grammar = Payload {
            source: Source::BytesByGrammar,
            extra_ids: vec![],
            side: b"",
            places: vec![0, 1000, 1001],
            ..example()
        };
        assert_eq!(Payload::parse(&by_grammar.to_bytes(), 3, false).unwrap(), by_grammar);
        let symbols = Payload { source: Source::Symbols, rest: Some(b"rest"), extra_ids: vec![], ..example() };
        assert_eq!(Payload::parse(&symbols.to_bytes(), 3, true).unwrap(), symbols);
        let empty = Payload {
            source: Source::TokenIds,
            rest: None,
            n_tokens: 0,
            n_legal: 0,
            side: b"",
            extra_ids: vec![],
            places: vec![],
            lanes: vec![],
        };
        assert_eq!(Payload::parse(&empty.to_bytes(), 0, true).unwrap(), empty);
    }

    #[test]
    fn damage_is_an_error_or_another_payload_but_never_a_panic() {
        let bytes = example().to_bytes();
        for len in 0..bytes.len() {
            // Cutting the last lane short is not visible here; the lanes' decoders see it.
            if let Ok(payload) = Payload::parse(&bytes[..len], 3, false) {
                assert_eq!(payload.lanes[..2], example().lanes[..2]);
            }
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(payload) = Payload::parse(&damaged, 3, false) {
                assert_ne!(payload, example());
            }
        }
    }
}
