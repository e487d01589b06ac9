//! Numbers as text.

/// With so many decimals; absurdly large numbers in short.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if value.abs() < 1e9 { format!("{value:.decimals$}") } else { format!("{value:.2e}") }
}

/// Megabytes a second, in three digits or more.
pub(crate) fn speed(mb_per_s: f64) -> String {
    let decimals = match mb_per_s {
        value if value < 0.01 => 5,
        value if value < 1.0 => 3,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    fixed(mb_per_s, decimals)
}

/// Digits in groups of three, with a narrow space between them.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!((fixed(1.005, 1), fixed(1e300, 2)), ("1.0".to_owned(), "1.00e300".to_owned()));
        assert_eq!([0.00071, 0.0512, 3.1234, 31.416, 314.16].map(speed), ["0.00071", "0.051", "3.12", "31.4", "314"]);
        assert_eq!(
            [0, 999, 8192, 12_345, 1_234_567].map(count),
            ["0", "999", "8192", "12\u{202f}345", "1\u{202f}234\u{202f}567"]
        );
    }
}
