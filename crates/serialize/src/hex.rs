//! Hexadecimal digits.

/// The two digits of every byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// A block's text is built here before it is checked to be UTF-8 and appended.
const BLOCK_CHARS: usize = 1024;
/// The longest separator.
const MAX_SEPARATOR_CHARS: usize = 2;

/// Appends the digits of `chunk`, with `separator` between groups of `N` bytes.
pub(crate) fn encode_groups<const N: usize>(chunk: &[u8], separator: &str, text: &mut String) {
    match *separator.as_bytes() {
        [] => encode_separated::<N, 0>(chunk, [], text),
        [a] => encode_separated::<N, 1>(chunk, [a], text),
        [a, b] => encode_separated::<N, 2>(chunk, [a, b], text),
        _ => unreachable!("separators have at most {MAX_SEPARATOR_CHARS} characters"),
    }
}

/// [`encode_groups`] with all lengths known to the compiler.
fn encode_separated<const N: usize, const S: usize>(chunk: &[u8], separator: [u8; S], text: &mut String) {
    let mut buffer = [0; BLOCK_CHARS];
    let group_chars = 2 * N + S;
    for (index, block) in chunk.chunks(BLOCK_CHARS / group_chars * N).enumerate() {
        if index > 0 {
            push(text, &separator);
        }
        // A separator follows every group; the block's last is cut off.
        let mut n_chars = 0;
        let (groups, rest) = block.as_chunks::<N>();
        for (group, out) in groups.iter().zip(buffer.chunks_exact_mut(group_chars)) {
            let (digits, after) = out.split_at_mut(2 * N);
            for (byte, pair) in group.iter().zip(digits.as_chunks_mut::<2>().0) {
                *pair = PAIRS[usize::from(*byte)];
            }
            after.copy_from_slice(&separator);
            n_chars += group_chars;
        }
        if rest.is_empty() {
            n_chars -= S;
        }
        for (byte, pair) in rest.iter().zip(buffer[n_chars..].as_chunks_mut::<2>().0) {
            *pair = PAIRS[usize::from(*byte)];
        }
        push(text, &buffer[..n_chars + 2 * rest.len()]);
    }
}

fn push(text: &mut String, ascii: &[u8]) {
    text.push_str(std::str::from_utf8(ascii).expect("digits and separators are ASCII"));
}

/// What [`VALUES`] has for a byte that is no digit: above every digit's value.
const NO_DIGIT: u8 = 0x10;
/// The value of every digit.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut digit = b'0';
    while digit <= b'9' {
        values[digit as usize] = digit - b'0';
        digit += 1;
    }
    let mut digit = b'a';
    while digit <= b'f' {
        values[digit as usize] = digit - b'a' + 10;
        digit += 1;
    }
    values
};

/// The inverse of [`encode_groups`] for a text of the right length for `n_bytes` bytes; `None` if any character is
/// wrong.
pub(crate) fn decode_groups<const N: usize>(text: &[u8], separator: &str, n_bytes: usize) -> Option<Vec<u8>> {
    match *separator.as_bytes() {
        [] => decode_separated::<N, 0>(text, [], n_bytes),
        [a] => decode_separated::<N, 1>(text, [a], n_bytes),
        [a, b] => decode_separated::<N, 2>(text, [a, b], n_bytes),
        _ => unreachable!("separators have at most {MAX_SEPARATOR_CHARS} characters"),
    }
}

/// [`decode_groups`] with all lengths known to the compiler.
fn decode_separated<const N: usize, const S: usize>(
    text: &[u8],
    separator: [u8; S],
    n_bytes: usize,
) -> Option<Vec<u8>> {
    // Without separators there are no groups.
    let n_separators = if S == 0 { 0 } else { n_bytes.saturating_sub(1) / N };
    let (separated, last) = text.split_at_checked(n_separators * (2 * N + S))?;
    let mut bytes = vec![0; n_bytes];
    let (groups, last_group) = bytes.split_at_mut(n_separators * N);
    // Collects what is wrong, so that there is no branch at each character.
    let mut wrong = 0;
    for (piece, group) in separated.chunks_exact(2 * N + S).zip(groups.as_chunks_mut::<N>().0) {
        let (digits, after) = piece.split_at(2 * N);
        wrong |= decode_digits(digits, group);
        wrong |= after.iter().zip(separator).fold(0, |wrong, (found, expected)| wrong | u64::from(found ^ expected));
    }
    wrong |= decode_digits(last, last_group);
    (wrong == 0).then_some(bytes)
}

/// Decodes pairs of digits; the result is not 0 if any is no digit.
fn decode_digits(digits: &[u8], bytes: &mut [u8]) -> u64 {
    let mut wrong = 0;
    let (words, rest) = digits.as_chunks::<8>();
    let (fours, rest_bytes) = bytes.as_chunks_mut::<4>();
    for (word, four) in words.iter().zip(fours) {
        let (decoded, found) = decode_word(*word);
        *four = decoded;
        wrong |= found;
    }
    if !rest.is_empty() {
        // Digits that are missing are zeros, which decode to bytes that nobody takes.
        let mut word = [b'0'; 8];
        word[..rest.len()].copy_from_slice(rest);
        let (decoded, found) = decode_word(word);
        for (to, from) in rest_bytes.iter_mut().zip(decoded) {
            *to = from;
        }
        wrong |= found;
    }
    wrong
}

/// Eight digits at once, each in its own byte of a word. The second
/// result is not 0 if any is no digit.
#[inline]
fn decode_word(digits: [u8; 8]) -> ([u8; 4], u64) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(digits);
    // Letters have bit 6, and a = 0x61 stands for 10. No byte of a sum or product below exceeds 255.
    let values = (word & (0x0f * EACH)) + (word >> 6 & EACH) * 9;
    // Only the sixteen digits are what their value is written as.
    let is_letter = (values + 6 * EACH) >> 4 & EACH;
    let written = values + u64::from(b'0') * EACH + is_letter * u64::from(b'a' - b'0' - 10);
    let wrong = (values & (0xf0 * EACH)) | (word ^ written);
    // The first of each pair is the upper half; then the four bytes move together.
    let pairs = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let pairs = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (((pairs | pairs >> 16) as u32).to_le_bytes(), wrong)
}

/// The value of a lower-case hexadecimal digit.
pub(crate) fn digit_value(digit: char) -> Option<u8> {
    u8::try_from(digit).ok().map(|byte| VALUES[usize::from(byte)]).filter(|&value| value < NO_DIGIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_agree_with_the_table_on_every_byte_at_every_place() {
        for place in 0..8 {
            for byte in 0..=255 {
                let mut digits = *b"0f9a1e5c";
                digits[place] = byte;
                let (bytes, wrong) = decode_word(digits);
                let values = digits.map(|digit| VALUES[usize::from(digit)]);
                assert_eq!(wrong == 0, values[place] != NO_DIGIT, "{byte:#x} at {place}");
                if wrong == 0 {
                    assert_eq!(bytes, [0, 2, 4, 6].map(|at| values[at] << 4 | values[at + 1]));
                }
            }
        }
    }

    #[test]
    fn one_wrong_byte_is_not_made_good_by_others() {
        assert_ne!(decode_word(*b"oooooooo").1, 0);
        assert_ne!(decode_word([0x4f, 0x6f, 0x30, 0x30, 0xb0, 0xe1, 0x30, 0x30]).1, 0);
    }
}
