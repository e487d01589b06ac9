//! Codec 16, "lm block payload".

mod frequencies;
mod grammar;
mod lane;
mod mixture;
mod payload;
mod settings;
mod side;
mod symbols;
mod text;
mod values;

use super::streams::RangeDecoder;
use super::{Block, Prior, Refusal};
use frequencies::frequencies;
use lane::{Context, Windows};
use mixture::Mixture;
use payload::{Payload, Source};
use settings::{Format, Mask, Settings};
use symbols::Symbols;
use text::TextFormat;
use values::Values;

pub(super) fn decode(block: &Block<'_>, prior: &Prior<'_>) -> Result<Vec<u8>, Refusal> {
    let settings = Settings::read(prior.settings)?;
    let payload = Payload::read(block, &settings, prior)?;
    match (payload.source, settings.format) {
        (Source::Ids, Format::Text(format)) => {
            let has_length = payload.n_tokens.checked_mul(4) == Some(block.raw_len);
            if !has_length || !payload.side.is_empty() {
                return Err(Refusal::corrupt("token ids of another length, or with side information"));
            }
            let tokens = text_tokens(block, &payload, &settings, format, prior)?;
            Ok(tokens.into_iter().flat_map(u32::to_le_bytes).collect())
        }
        (Source::Bytes | Source::Grammar, Format::Text(format)) => {
            let values = settings.is_cut().then(|| Values::new(block, &settings));
            let n_bytes = values.as_ref().map_or(block.raw_len, Values::n_head_bytes);
            let limit = 4 * (block.raw_len + n_bytes.div_ceil(text::CHUNK_BYTES));
            if payload.n_tokens > limit {
                return Err(Refusal::corrupt("more tokens than a block has"));
            }
            let tokens = if payload.source == Source::Grammar {
                grammar_tokens(block, &payload, &settings, format, n_bytes, prior)?
            } else {
                text_tokens(block, &payload, &settings, format, prior)?
            };
            let bytes = side::bytes_of_tokens(format, n_bytes, &tokens, prior.model.token_bytes(), payload.side)?;
            match values {
                Some(values) => values.restore(&values.heads_of_bytes(&bytes), payload.rest),
                None => Ok(bytes),
            }
        }
        (Source::Symbols, Format::Symbols(_)) => {
            let values = Values::new(block, &settings);
            let heads = heads_by_symbols(block, &payload, &settings, &values, prior)?;
            values.restore(&heads, payload.rest)
        }
        _ => Err(Refusal::corrupt("a source that does not go with the format")),
    }
}

/// The tokens of sources 0 and 1.
fn text_tokens(
    block: &Block<'_>,
    payload: &Payload<'_>,
    settings: &Settings,
    format: TextFormat,
    prior: &Prior<'_>,
) -> Result<Vec<u32>, Refusal> {
    let ids: Vec<u32> = match settings.mask {
        Mask::None => {
            payload.check_n_symbols(0)?;
            with_extra_ids((0..prior.n_vocabulary).collect(), &payload.extra_ids)?
        }
        Mask::Alphabet | Mask::Grammar => {
            let alphabet = grammar::alphabet(format, prior);
            payload.check_n_symbols(alphabet.len())?;
            with_extra_ids(alphabet, &payload.extra_ids)?
        }
    };
    let windows = Windows::new(payload.n_tokens, block.n_lanes, settings, 1)?;
    let mut tokens = Vec::new();
    for (lane, bytes) in payload.lanes.iter().enumerate() {
        let mut decoder = RangeDecoder::new(bytes);
        let mut context = Context::new(&windows, prior.start_token);
        for _ in windows.tokens_of_lane(lane) {
            let frequencies = frequencies(&prior.model.weights(context.tokens(), &ids))?;
            let id = ids[decoder.symbol(&frequencies)?];
            context.push(id);
            tokens.push(id);
        }
        decoder.check_end()?;
    }
    Ok(tokens)
}

/// The alphabet and the extra ids together, ascending.
fn with_extra_ids(mut ids: Vec<u32>, extra: &[u32]) -> Result<Vec<u32>, Refusal> {
    if extra.iter().any(|id| ids.binary_search(id).is_ok()) {
        return Err(Refusal::corrupt("an extra id that is in the alphabet"));
    }
    ids.extend(extra);
    ids.sort_unstable();
    Ok(ids)
}

/// The tokens of source 2: only those get probability that can come next.
fn grammar_tokens(
    block: &Block<'_>,
    payload: &Payload<'_>,
    settings: &Settings,
    format: TextFormat,
    n_bytes: usize,
    prior: &Prior<'_>,
) -> Result<Vec<u32>, Refusal> {
    let is_right =
        settings.mask == Mask::Grammar && format.is_hex && payload.side.is_empty() && payload.extra_ids.is_empty();
    if !is_right {
        return Err(Refusal::corrupt("source 2 where it cannot be"));
    }
    let alphabet = grammar::alphabet(format, prior);
    payload.check_n_symbols(alphabet.len())?;
    let next = grammar::Next::new(format, n_bytes, &alphabet, prior.model.token_bytes());
    let windows = Windows::new(payload.n_tokens, block.n_lanes, settings, 1)?;
    let mut tokens = Vec::new();
    let mut place = 0;
    for (lane, bytes) in payload.lanes.iter().enumerate() {
        let mut decoder = RangeDecoder::new(bytes);
        let mut context = Context::new(&windows, prior.start_token);
        let end = payload.lane_characters.get(lane).map_or(next.n_characters(), |n| place + n);
        for _ in windows.tokens_of_lane(lane) {
            let (ids, lengths): (Vec<u32>, Vec<usize>) = next.at(place).unzip();
            let frequencies = frequencies(&prior.model.weights(context.tokens(), &ids))?;
            let symbol = decoder.symbol(&frequencies)?;
            place += lengths[symbol];
            context.push(ids[symbol]);
            tokens.push(ids[symbol]);
        }
        decoder.check_end()?;
        if place != end {
            return Err(Refusal::corrupt("a lane that ends at another place of the text"));
        }
    }
    Ok(tokens)
}

/// The heads of all values, of source 3.
fn heads_by_symbols(
    block: &Block<'_>,
    payload: &Payload<'_>,
    settings: &Settings,
    values: &Values,
    prior: &Prior<'_>,
) -> Result<Vec<u64>, Refusal> {
    let n_places = values.symbols_per_value();
    if !payload.extra_ids.is_empty() || values.n.checked_mul(n_places) != Some(payload.n_tokens) {
        return Err(Refusal::corrupt("another number of tokens than the values need"));
    }
    let symbols = Symbols::new(values, payload.side, prior)?;
    payload.check_n_symbols(symbols.len())?;
    let windows = Windows::new(payload.n_tokens, block.n_lanes, settings, n_places)?;
    let ids = symbols.ids();
    let mut heads = Vec::new();
    for (lane, bytes) in payload.lanes.iter().enumerate() {
        let mut context = Context::new(&windows, prior.start_token);
        let mut coder = if settings.mix {
            Coder::Mixture(Box::new(Mixture::new(bytes, values, &symbols, block.pieces)))
        } else {
            Coder::Frequencies(RangeDecoder::new(bytes))
        };
        for _ in 0..windows.tokens_of_lane(lane).len() / n_places {
            let mut head = 0;
            for place in 0..n_places {
                let weights = prior.model.weights(context.tokens(), &ids);
                let entry = match &mut coder {
                    Coder::Mixture(mixture) => mixture.symbol(place, head, &weights)?,
                    Coder::Frequencies(decoder) => decoder.symbol(&frequencies(&weights)?)?,
                };
                let (id, symbol) = symbols.entry(entry);
                context.push(id);
                head = head << values.symbol_bits() | symbol;
            }
            if let Coder::Mixture(mixture) = &mut coder {
                mixture.end_value(head);
            }
            heads.push(head);
        }
        match coder {
            Coder::Mixture(mixture) => mixture.finish()?,
            Coder::Frequencies(decoder) => decoder.check_end()?,
        }
    }
    Ok(heads)
}

/// How a lane's symbols are coded.
enum Coder<'a> {
    Mixture(Box<Mixture<'a>>),
    Frequencies(RangeDecoder<'a>),
}
