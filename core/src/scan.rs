//! Walks over JSON without making anything of it. `None`: what stands there is no JSON, or unusual.

const DEEPEST: usize = 64;

pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    pub fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// This mark and the blanks behind it, if it stands here.
    pub fn mark(&mut self, mark: u8) -> bool {
        let here = self.peek() == Some(mark);
        if here {
            self.at += 1;
            self.blanks();
        }
        here
    }

    /// A string without escapes.
    pub fn plain_string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        self.string()?.then(|| &self.text[start..self.at - 1])
    }

    /// Tells every key of an object, which must handle its value.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.mark(b'{').then_some(())?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = self.plain_string()?;
            self.blanks();
            self.mark(b':').then_some(())?;
            member(self, key)?;
            self.blanks();
            if self.peek()? == b'}' {
                self.at += 1;
                return Some(());
            }
            self.mark(b',').then_some(())?;
        }
    }

    pub fn skip(&mut self) -> Option<()> {
        self.value(0)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' if depth < DEEPEST => self.object(|scanner, _| scanner.value(depth + 1)),
            b'[' if depth < DEEPEST => self.array(depth),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.mark(b'[');
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            self.blanks();
            if self.peek()? == b']' {
                self.at += 1;
                return Some(());
            }
            self.mark(b',').then_some(())?;
        }
    }

    /// Whether it is free of escapes. Keys with escapes, too, are left to others.
    fn string(&mut self) -> Option<bool> {
        let bytes = self.text.as_bytes();
        (self.peek()? == b'"').then_some(())?;
        self.at += 1;
        let mut plain = true;
        loop {
            self.at = next_special(bytes, self.at);
            match bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(plain);
                }
                b'\\' => {
                    plain = false;
                    self.escape()?;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        match rest.first()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = rest.get(1..5)?;
                let surrogate = matches!(digits, [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
                (digits.iter().all(u8::is_ascii_hexdigit) && !surrogate).then_some(())?;
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes()).then_some(())?;
        self.at += word.len();
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        self.skip_one(|byte| byte == b'-');
        if !self.skip_one(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.skip_one(|byte| byte == b'.') {
            self.digits()?;
        }
        if self.skip_one(|byte| matches!(byte, b'e' | b'E')) {
            self.skip_one(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        self.skip_one(|byte| byte.is_ascii_digit()).then_some(())?;
        while self.skip_one(|byte| byte.is_ascii_digit()) {}
        Some(())
    }

    fn skip_one(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let here = self.peek().is_some_and(wanted);
        self.at += usize::from(here);
        here
    }
}

/// Where the next special byte stands, or less than eight bytes before the end.
fn next_special(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    for eight in bytes[start..].chunks_exact(8) {
        let special = special(u64::from_le_bytes(eight.try_into().unwrap_or_default()));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// The lowest bit that is set lies in the first of these eight bytes that is a quote, a backslash or a control character; 0: none is.
fn special(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |value: u64| value.wrapping_sub(ONES) & !value;
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (zero(eight ^ (ONES * 0x22)) | zero(eight ^ (ONES * 0x5c)) | control) & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.skip().is_some() && scanner.at_end()
    }

    #[test]
    fn json_passes() {
        for text in [
            "0", "-0.5e+10", "12", "true", "false", "null", "[]", "{}", "[ 1 ,\t2 ]", r#"{"a" : {"b": [{}, []]}, "c": "d"}"#, r#""""#,
            r#""\"\\\/\b\f\n\r\t\u00e9 é 0123456789abcdef 你""#,
        ] {
            assert!(passes(text), "{text}");
        }
    }

    #[test]
    fn other_text_does_not() {
        for text in [
            "", "-", "01", "1.", ".5", "1e", "+1", "tru", "nul", "[1,]", "[,]", "[1 2]", "{", "}", "{]", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":1,}"#,
            r#"{a:1}"#, r#"""#, r#""\x""#, r#""\u12""#, "\"\u{1}\"", "\"01234567\u{1}\"", "\"\n\"", r#""\ud83d\ude00""#, "'a'",
        ] {
            assert!(!passes(text), "{text}");
        }
        assert!(!passes(&("[".repeat(100) + &"]".repeat(100))));
    }
}
