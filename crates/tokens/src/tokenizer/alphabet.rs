//! Which tokens can occur in texts of a format.

use lmgc_serialize::Serializer;

use super::table::Table;

pub(super) fn legal_alphabet(table: &Table, dummy_prefix: bool, serializer: &Serializer) -> Vec<u32> {
    let is_legal = |piece: &[u8]| match piece {
        [] => false,
        // A dummy space alone is left out by the tokenizer, so it must be followed by something.
        [b' ', rest @ ..] if dummy_prefix && !rest.is_empty() && serializer.can_begin_with(rest) => true,
        _ => serializer.can_contain(piece),
    };
    table.iter().zip(0..).filter(|(piece, _)| is_legal(piece)).map(|(_, id)| id).collect()
}
