//! Edit scripts from what a tokenizer gives back to the true text.

use super::elements::FOREIGN;

/// How many elements ahead a place is sought from where both agree again.
const MAX_LOOKAHEAD: usize = 16;
/// How many elements must agree there.
const MIN_AGREEMENT: usize = 3;

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// Where in the true text, in characters from its beginning. Later edits begin where this one's insertion ends, or
    /// after that.
    pub(super) position: u64,
    /// Elements to leave out.
    pub(super) n_deleted: u64,
    /// Latin-1 characters to put in.
    pub(super) inserted: Vec<u8>,
}

/// Edits that turn `decoded` into `text` (Latin-1): the fewest if `decoded` is `text` less some characters.
pub(super) fn script(decoded: &[u16], text: &[u8]) -> Vec<Edit> {
    let mut edits = losses(decoded, text).unwrap_or_else(|| changes(decoded, text));
    edits.retain(|edit| edit.n_deleted > 0 || !edit.inserted.is_empty());
    edits
}

/// One edit for each character that is missing; `None` if something else than that has happened.
fn losses(decoded: &[u16], text: &[u8]) -> Option<Vec<Edit>> {
    let mut decoded = decoded.iter().peekable();
    let mut edits = Vec::new();
    for (position, &character) in text.iter().enumerate() {
        if decoded.next_if(|&&element| element == u16::from(character)).is_none() {
            edits.push(Edit { position: position as u64, n_deleted: 0, inserted: vec![character] });
        }
    }
    decoded.next().is_none().then_some(edits)
}

/// Edits found from left to right: at each difference the nearest place from where both agree for a while.
fn changes(mut decoded: &[u16], mut text: &[u8]) -> Vec<Edit> {
    let n_chars = text.len();
    let mut edits = Vec::new();
    loop {
        let n_equal = decoded.iter().zip(text).take_while(|&(&a, &b)| a == u16::from(b)).count();
        (decoded, text) = (&decoded[n_equal..], &text[n_equal..]);
        if decoded.is_empty() && text.is_empty() {
            return edits;
        }
        let (n_deleted, n_inserted) = next_agreement(decoded, text);
        let position = (n_chars - text.len()) as u64;
        edits.push(Edit { position, n_deleted: n_deleted as u64, inserted: text[..n_inserted].to_vec() });
        (decoded, text) = (&decoded[n_deleted..], &text[n_inserted..]);
    }
}

/// How much to leave out of both for the rest to agree.
fn next_agreement(decoded: &[u16], text: &[u8]) -> (usize, usize) {
    for n_skipped in 1..=MAX_LOOKAHEAD {
        for n_deleted in 0..=n_skipped {
            let n_inserted = n_skipped - n_deleted;
            let (Some(decoded), Some(text)) = (decoded.get(n_deleted..), text.get(n_inserted..)) else { continue };
            let n_compared = MIN_AGREEMENT.min(decoded.len().max(text.len()));
            let agrees = decoded.len() >= n_compared
                && text.len() >= n_compared
                && decoded.iter().zip(text).take(n_compared).all(|(&a, &b)| a == u16::from(b));
            if agrees {
                return (n_deleted, n_inserted);
            }
        }
    }
    (decoded.len().min(MAX_LOOKAHEAD), text.len().min(MAX_LOOKAHEAD))
}

/// The text that `script` makes of `decoded`, in Latin-1; `None` if it does not fit.
pub(super) fn apply(mut decoded: &[u16], script: &[Edit]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for edit in script {
        let n_kept = usize::try_from(edit.position).ok()?.checked_sub(text.len())?;
        let (kept, rest) = decoded.split_at_checked(n_kept)?;
        keep(kept, &mut text)?;
        decoded = rest.get(usize::try_from(edit.n_deleted).ok()?..)?;
        text.extend_from_slice(&edit.inserted);
    }
    keep(decoded, &mut text)?;
    Some(text)
}

fn keep(elements: &[u16], text: &mut Vec<u8>) -> Option<()> {
    for &element in elements {
        debug_assert!(element <= FOREIGN);
        text.push(u8::try_from(element).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elements(text: &[u8]) -> Vec<u16> {
        text.iter().map(|&byte| byte.into()).collect()
    }

    fn edit(position: u64, n_deleted: u64, inserted: &[u8]) -> Edit {
        Edit { position, n_deleted, inserted: inserted.to_vec() }
    }

    #[test]
    fn scripts() {
        let script = |decoded: &[u8], text: &[u8]| script(&elements(decoded), text);
        assert_eq!(script(b"abc", b"abc"), []);
        assert_eq!(script(b"abc", b"xabyyc"), [edit(0, 0, b"x"), edit(3, 0, b"y"), edit(4, 0, b"y")]);
        assert_eq!(script(b"", b"x"), [edit(0, 0, b"x")]);
        assert_eq!(script(b"abXcdef", b"abcdef"), [edit(2, 1, b"")]);
        assert_eq!(script(b"12345678", b"12x45678"), [edit(2, 1, b"x")]);
        assert_eq!(script(b"abc", b""), [edit(0, 3, b"")]);
        assert_eq!(script(b"abXc", b"abxxc"), [edit(2, 1, b"xx")]);
    }

    #[test]
    fn unfit_scripts() {
        let apply = |script: &[Edit]| apply(&elements(b"abc"), script);
        assert_eq!(apply(&[edit(2, 1, b"x")]).unwrap(), b"abx");
        assert_eq!(apply(&[edit(4, 0, b"x")]), None);
        assert_eq!(apply(&[edit(2, 2, b"x")]), None);
        assert_eq!(apply(&[edit(2, 0, b"x"), edit(2, 0, b"y")]), None);
        assert_eq!(apply(&[edit(u64::MAX, 0, b"x")]), None);
        assert_eq!(apply(&[edit(0, u64::MAX, b"x")]), None);
        assert_eq!(super::apply(&[FOREIGN], &[]), None);
    }

    proptest! {
        #[test]
        fn scripts_give_the_text(
            decoded in prop::collection::vec(prop_oneof![0x61_u16..0x64, Just(FOREIGN)], 0..60),
            text in prop::collection::vec(0x61_u8..0x64, 0..60),
        ) {
            prop_assert_eq!(apply(&decoded, &script(&decoded, &text)), Some(text));
        }
    }
}
