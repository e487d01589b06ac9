//! The part of Python's literal syntax that array headers use.

/// How deep literals may nest; structured types nest a few levels.
const MAX_DEPTH: u32 = 32;

/// A Python literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Int(u64),
    Bool(bool),
    Tuple(Vec<Literal>),
    List(Vec<Literal>),
    /// Pairs as written; keys are strings.
    Dict(Vec<(String, Literal)>),
}

impl Literal {
    /// Reads a whole text; `None` if it is anything but one literal between spaces.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut parser = Parser { rest: text };
        let literal = parser.literal(0)?;
        parser.skip_spaces();
        parser.rest.is_empty().then_some(literal)
    }
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Takes this token if it comes next.
    fn take(&mut self, token: &[u8]) -> Option<()> {
        self.skip_spaces();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn literal(&mut self, depth: u32) -> Option<Literal> {
        if depth == MAX_DEPTH {
            return None;
        }
        self.skip_spaces();
        match *self.rest.first()? {
            b'{' => self.dict(depth),
            b'(' => {
                self.take(b"(")?;
                let (elements, has_comma) = self.elements(b")", depth)?;
                // `(x)` is x itself.
                match <[Literal; 1]>::try_from(elements) {
                    Ok([only]) if !has_comma => Some(only),
                    Ok(only) => Some(Literal::Tuple(only.into())),
                    Err(elements) => Some(Literal::Tuple(elements)),
                }
            }
            b'[' => {
                self.take(b"[")?;
                Some(Literal::List(self.elements(b"]", depth)?.0))
            }
            b'\'' | b'"' => self.text().map(Literal::Text),
            b'0'..=b'9' => self.int().map(Literal::Int),
            _ if self.take(b"True").is_some() => Some(Literal::Bool(true)),
            _ if self.take(b"False").is_some() => Some(Literal::Bool(false)),
            _ => None,
        }
    }

    /// Elements up to the closing bracket, and whether a comma came right before it.
    fn elements(&mut self, close: &[u8], depth: u32) -> Option<(Vec<Literal>, bool)> {
        let mut elements = Vec::new();
        let mut has_comma = false;
        while self.take(close).is_none() {
            if !elements.is_empty() && !has_comma {
                return None;
            }
            elements.push(self.literal(depth + 1)?);
            has_comma = self.take(b",").is_some();
        }
        Some((elements, has_comma))
    }

    fn dict(&mut self, depth: u32) -> Option<Literal> {
        self.take(b"{")?;
        let mut pairs = Vec::new();
        let mut has_comma = true;
        while self.take(b"}").is_none() {
            if !has_comma {
                return None;
            }
            self.skip_spaces();
            let key = self.text()?;
            self.take(b":")?;
            pairs.push((key, self.literal(depth + 1)?));
            has_comma = self.take(b",").is_some();
        }
        Some(Literal::Dict(pairs))
    }

    /// A string in either kind of quotes. Escapes are refused: no type string needs them.
    fn text(&mut self) -> Option<String> {
        let (&quote, rest) = self.rest.split_first()?;
        if !matches!(quote, b'\'' | b'"') {
            return None;
        }
        let len = rest.iter().position(|&byte| byte == quote)?;
        let (text, rest) = rest.split_at_checked(len)?;
        if text.contains(&b'\\') {
            return None;
        }
        self.rest = rest.get(1..)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Digits, with the `L` that Python 2 put behind long ones.
    fn int(&mut self) -> Option<u64> {
        let n_digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(n_digits)?;
        self.rest = rest.strip_prefix(b"L").unwrap_or(rest);
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        use Literal::{Bool, Dict, Int, List, Text, Tuple};
        for (text, expected) in [
            ("()", Tuple(vec![])),
            ("(3)", Int(3)),
            ("( 3L , )", Tuple(vec![Int(3)])),
            ("(3, 4)", Tuple(vec![Int(3), Int(4)])),
            ("[('a', '<f4')]", List(vec![Tuple(vec![Text("a".into()), Text("<f4".into())])])),
            ("{\"k\": True, 'l': False,}\n", Dict(vec![("k".into(), Bool(true)), ("l".into(), Bool(false))])),
        ] {
            assert_eq!(Literal::parse(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "(", "(,)", "(1 2)", "(1,,2)", "{1: 2}", "{'a'}", "'a", "'a\\'b'", "-1", "1 2", "None", "{,}"]
        {
            assert_eq!(Literal::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Literal::parse(nested(MAX_DEPTH as usize).as_bytes()).is_some());
        assert!(Literal::parse(nested(MAX_DEPTH as usize + 1).as_bytes()).is_none());
        assert!(Literal::parse(nested(1 << 20).as_bytes()).is_none());
    }
}
