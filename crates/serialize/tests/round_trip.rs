//! Any bytes come back in every format and group size, and every piece of a text is known to the grammar.

use lmgc_serialize::{BytesPerGroup, CHUNK_BYTES, Format, Serializer};
use proptest::prelude::*;

fn all_serializers() -> impl Iterator<Item = Serializer> {
    Format::ALL
        .into_iter()
        .flat_map(|format| BytesPerGroup::ALL.into_iter().map(move |group| Serializer::new(format, group)))
}

proptest! {
    #[test]
    fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..=3 * CHUNK_BYTES)) {
        for serializer in all_serializers() {
            let text = serializer.serialize(&bytes);
            prop_assert_eq!(text.chars().count(), serializer.n_chars(bytes.len()));
            prop_assert_eq!(serializer.deserialize(&text).unwrap(), &bytes[..]);
        }
    }

    #[test]
    fn pieces_fit_the_grammar(
        bytes in prop::collection::vec(any::<u8>(), 1..40),
        start in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
    ) {
        for serializer in all_serializers() {
            let text = serializer.serialize(&bytes).into_bytes();
            let (start, end) = (start.index(text.len()), end.index(text.len() + 1));
            prop_assert!(serializer.can_contain(&text[start.min(end)..end]));
            prop_assert!(serializer.can_begin_with(&text[..end]));
        }
    }

    #[test]
    fn what_is_accepted_is_canonical(text in "([0-9a-f]{2}[ ,;x]{0,2}|[\\x00-\\xffł]{1,3}){0,6}") {
        for serializer in all_serializers() {
            if let Ok(bytes) = serializer.deserialize(&text) {
                prop_assert_eq!(serializer.serialize(&bytes), &text[..]);
            }
        }
    }
}

#[test]
fn truncation_gives_an_error_or_a_shorter_chunk() {
    for serializer in all_serializers() {
        let bytes: Vec<u8> = (0..=255).step_by(5).collect();
        let text = serializer.serialize(&bytes);
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            if let Ok(shorter) = serializer.deserialize(&text[..end]) {
                assert!(shorter.len() < bytes.len() && bytes.starts_with(&shorter));
            }
        }
    }
}
