//! Directives, tags and anchors.

use super::{Scan, Scanner, Token, TokenData, TokenKind, fault, is_word};
use crate::error::{Layer, Mark};

impl<'i> Scanner<'i> {
    /// Reads `%YAML` and `%TAG` lines.
    pub(super) fn scan_directive(&mut self) -> Scan<Token<'i>> {
        let start = self.mark;
        self.advance();
        let name = self.take_word();
        if name.is_empty() {
            return self.error(start, "could not find expected directive name");
        }
        if !self.is_blank_or_end(0) {
            return self.error(start, "found unexpected non-alphabetical character");
        }
        let (kind, data) = match name {
            "YAML" => {
                self.skip_blanks();
                let major = self.scan_version_number(start)?;
                if self.byte(0) != b'.' {
                    return self.error(start, "did not find expected digit or '.' character");
                }
                self.advance();
                let minor = self.scan_version_number(start)?;
                (
                    TokenKind::VersionDirective,
                    TokenData::Version(major, minor),
                )
            }
            "TAG" => {
                self.skip_blanks();
                let handle = self.scan_tag_handle(true, start)?;
                if !self.is_blank(0) {
                    return self.error(start, "did not find expected whitespace");
                }
                self.skip_blanks();
                let prefix = self.scan_tag_uri("", start)?;
                if !self.is_blank_or_end(0) {
                    return self.error(start, "did not find expected whitespace or line break");
                }
                (
                    TokenKind::TagDirective,
                    TokenData::Pair(Box::new((handle, prefix))),
                )
            }
            _ => return self.error(start, "found unknown directive name"),
        };
        let end = self.mark;
        self.skip_blanks();
        if self.byte(0) == b'#' {
            self.skip_to_break();
        }
        if !self.is_break_or_end(0) {
            return self.error(start, "did not find expected comment or line break");
        }
        self.advance_line();
        Ok(Token {
            kind,
            data,
            start,
            end,
        })
    }

    fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.advance();
        }
    }

    fn take_word(&mut self) -> &'i str {
        let rest = self.text.as_bytes().get(self.mark.at()..).unwrap_or(&[]);
        let length = rest.iter().take_while(|b| is_word(**b)).count();
        self.advance_run(length)
    }

    fn scan_version_number(&mut self, start: Mark) -> Scan<i8> {
        let mut value = 0;
        let mut length = 0;
        while self.byte(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return self.error(start, "found extremely long version number");
            }
            value = value * 10 + (self.byte(0) - b'0') as i8;
            self.advance();
        }
        if length == 0 {
            return self.error(start, "did not find expected version number");
        }
        Ok(value)
    }

    /// Reads `&name` or `*name`.
    pub(super) fn scan_anchor(&mut self, alias: bool) -> Scan<Token<'i>> {
        let start = self.mark;
        self.advance();
        let name = self.take_word();
        let closed = self.is_blank_or_end(0)
            || matches!(
                self.byte(0),
                b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`'
            );
        if name.is_empty() || !closed {
            return self.error(
                start,
                "did not find expected alphabetic or numeric character",
            );
        }
        let kind = if alias {
            TokenKind::Alias
        } else {
            TokenKind::Anchor
        };
        Ok(Token {
            kind,
            data: TokenData::Name(name),
            start,
            end: self.mark,
        })
    }

    /// Reads `!`, `!suffix`, `!handle!suffix` or `!<uri>`.
    pub(super) fn scan_tag(&mut self) -> Scan<Token<'i>> {
        let start = self.mark;
        let (handle, suffix) = if self.byte(1) == b'<' {
            self.advance();
            self.advance();
            let suffix = self.scan_tag_uri("", start)?;
            if self.byte(0) != b'>' {
                return self.error(start, "did not find the expected '>'");
            }
            self.advance();
            (String::new(), suffix)
        } else {
            let handle = self.scan_tag_handle(false, start)?;
            if handle.len() > 1 && handle.ends_with('!') {
                let suffix = self.scan_tag_uri("", start)?;
                (handle, suffix)
            } else {
                let suffix = self.scan_tag_uri(&handle, start)?;
                if suffix.is_empty() {
                    (String::new(), "!".to_owned())
                } else {
                    ("!".to_owned(), suffix)
                }
            }
        };
        if !self.is_blank_or_end(0) {
            return self.error(start, "did not find expected whitespace or line break");
        }
        Ok(Token {
            kind: TokenKind::Tag,
            data: TokenData::Pair(Box::new((handle, suffix))),
            start,
            end: self.mark,
        })
    }

    fn scan_tag_handle(&mut self, directive: bool, start: Mark) -> Scan<String> {
        if self.byte(0) != b'!' {
            return self.error(start, "did not find expected '!'");
        }
        self.advance();
        let mut handle = String::from("!");
        handle.push_str(self.take_word());
        if self.byte(0) == b'!' {
            self.advance();
            handle.push('!');
        } else if directive && handle != "!" {
            return self.error(start, "did not find expected '!'");
        }
        Ok(handle)
    }

    /// Reads a tag's URI; `head` is a handle that turned out to be the beginning of it.
    fn scan_tag_uri(&mut self, head: &str, start: Mark) -> Scan<String> {
        let mut found = !head.is_empty();
        let mut uri = head.get(1..).unwrap_or("").to_owned();
        loop {
            match self.byte(0) {
                b'%' => uri.push(self.scan_uri_escape(start)?),
                byte if is_word(byte) || b";/?:@&=+$,.!~*'()[]".contains(&byte) => {
                    uri.push(char::from(byte));
                    self.advance();
                }
                _ => break,
            }
            found = true;
        }
        if found {
            Ok(uri)
        } else {
            self.error(start, "did not find expected tag URI")
        }
    }

    /// Reads the `%XX` octets of one character.
    fn scan_uri_escape(&mut self, start: Mark) -> Scan<char> {
        let mut octets = [0_u8; 4];
        let mut width = 1;
        let mut read = 0;
        while read < width {
            let digits = (hex(self.byte(1)), hex(self.byte(2)));
            let (b'%', (Some(high), Some(low))) = (self.byte(0), digits) else {
                return self.error(start, "did not find URI escaped octet");
            };
            let octet = (high << 4) | low;
            if read == 0 {
                width = match octet {
                    0..0x80 => 1,
                    0xC0..0xE0 => 2,
                    0xE0..0xF0 => 3,
                    0xF0..0xF8 => 4,
                    _ => return self.error(start, "found an incorrect leading UTF-8 octet"),
                };
            } else if octet & 0xC0 != 0x80 {
                return self.error(start, "found an incorrect trailing UTF-8 octet");
            }
            octets[read] = octet;
            read += 1;
            for _ in 0..3 {
                self.advance();
            }
        }
        match std::str::from_utf8(&octets[..width]).map(|text| text.chars().next()) {
            Ok(Some(c)) => Ok(c),
            _ => Err(fault(
                Layer::Scanner,
                "found an incorrect trailing UTF-8 octet",
                start,
                self.mark,
            )),
        }
    }
}

pub(super) fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}
