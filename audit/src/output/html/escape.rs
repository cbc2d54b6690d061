//! Texts that are others' choice, in HTML.

use std::fmt;

/// A text as HTML, in content and in quoted attributes. Characters that control something are written
/// out, those that turn the direction of writing too.
pub(super) struct Escaped<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::write(&mut Escaper(f), format_args!("{}", self.0))
    }
}

struct Escaper<'f, 'a>(&'f mut fmt::Formatter<'a>);

impl fmt::Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(special) {
            let (before, from) = rest.split_at(at);
            self.0.write_str(before)?;
            let mut chars = from.chars();
            match chars.next() {
                Some('&') => self.0.write_str("&amp;")?,
                Some('<') => self.0.write_str("&lt;")?,
                Some('>') => self.0.write_str("&gt;")?,
                Some('"') => self.0.write_str("&quot;")?,
                Some('\'') => self.0.write_str("&#39;")?,
                Some(other) => write!(self.0, "{}", other.escape_default())?,
                None => {}
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

fn special(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(c, '&' | '<' | '>' | '"' | '\'') || c.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out() {
        let table = [
            ("jane", "jane"),
            ("<script>", "&lt;script&gt;"),
            ("\"'&", "&quot;&#39;&amp;"),
            ("a\nb\0\u{202e}c", "a\\nb\\u{0}\\u{202e}c"),
            ("ü → 1", "ü → 1"),
        ];
        for (text, expected) in table {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }
}
