//! Templates: text to tokens. The lexical grammar is that of Go's text/template (package text/template/parse).

use super::Fault;

/// What a token is. Words that mean something in actions are `Word`s with that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside actions.
    Text,
    /// `{{`
    Left,
    /// `}}`
    Right,
    /// Blanks between operands: they matter, `a .B` isn't `a.B`.
    Space,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`, which separates the variables of `range`.
    Comma,
    /// `.`
    Dot,
    /// `.Name`
    Field,
    /// `$` or `$name`
    Variable,
    /// A name of a function.
    Name,
    /// A keyword: `if`, `end`, …
    Keyword,
    /// `nil`
    Nil,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A character constant with its quotes.
    Char,
    /// A quoted string with its quotes.
    Quoted,
    /// A raw string with its quotes.
    Raw,
    /// The end of the text.
    End,
}

/// A token: what, its text, and the byte where it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    pub(super) at: usize,
}

const KEYWORDS: &[&str] =
    &["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// The tokens up to the end, or up to the first fault.
pub(super) fn tokens(text: &str) -> (Vec<Token<'_>>, Option<Fault>) {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let fault = lexer.run().err();
    (lexer.tokens, fault)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token<'t>>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn emit(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { kind, text: &self.text[start..self.at], at: start });
    }

    fn run(&mut self) -> Result<(), Fault> {
        let mut trim = false;
        while let Some(found) = self.rest().find("{{") {
            let start = self.at;
            let mut before = &self.rest()[..found];
            let after = &self.rest()[found + 2..];
            let trims_before = after.starts_with('-') && after[1..].starts_with(is_blank);
            let skipped = if trim { before.len() - before.trim_start_matches(is_blank).len() } else { 0 };
            before = &before[skipped..];
            if trims_before {
                before = before.trim_end_matches(is_blank);
            }
            if !before.is_empty() {
                self.tokens.push(Token { kind: Kind::Text, text: before, at: start + skipped });
            }
            self.at += found;
            let left = self.at;
            self.at += 2;
            let inside = if trims_before { &after[2..] } else { after };
            if inside.starts_with("/*") {
                self.at = self.text.len() - inside.len();
                trim = self.comment(left)?;
                continue;
            }
            self.emit(Kind::Left, left);
            self.at = self.text.len() - inside.len();
            trim = self.action(left)?;
        }
        let mut rest = self.rest();
        if trim {
            rest = rest.trim_start_matches(is_blank);
        }
        self.at = self.text.len() - rest.len();
        if !rest.is_empty() {
            self.tokens.push(Token { kind: Kind::Text, text: rest, at: self.at });
            self.at = self.text.len();
        }
        self.emit(Kind::End, self.at);
        Ok(())
    }

    /// A comment and its closing braces; whether they trim what follows.
    fn comment(&mut self, start: usize) -> Result<bool, Fault> {
        let body = &self.rest()[2..];
        let end = body.find("*/").ok_or_else(|| Fault::new(start, "the comment isn't closed"))?;
        self.at += 2 + end + 2;
        let trim = self.closing().ok_or_else(|| Fault::new(self.at, "a comment must fill its braces"))?;
        self.at += if trim { 4 } else { 2 };
        Ok(trim)
    }

    /// Whether closing braces are next, and if so whether they trim.
    fn closing(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some(false);
        }
        (rest.starts_with(is_blank) && rest[1..].starts_with("-}}")).then_some(true)
    }

    /// What is between the braces, with the closing ones; whether they trim.
    fn action(&mut self, left: usize) -> Result<bool, Fault> {
        let mut depth = 0usize;
        loop {
            let start = self.at;
            if let Some(trim) = self.closing() {
                if depth > 0 {
                    return Err(Fault::new(start, "a ( isn't closed"));
                }
                self.at += if trim { 4 } else { 2 };
                self.emit(Kind::Right, start);
                return Ok(trim);
            }
            let Some(c) = self.peek() else { return Err(Fault::new(left, "the {{ isn't closed")) };
            if is_blank(c) {
                // The blank of ` -}}` belongs to the braces.
                while self.peek().is_some_and(is_blank) && self.closing().is_none() {
                    self.at += 1;
                }
                if self.at > start {
                    self.emit(Kind::Space, start);
                }
                continue;
            }
            self.at += c.len_utf8();
            match c {
                '=' => self.emit(Kind::Assign, start),
                ':' => {
                    if self.peek() != Some('=') {
                        return Err(Fault::new(start, "a : needs a ="));
                    }
                    self.at += 1;
                    self.emit(Kind::Declare, start);
                }
                '|' => self.emit(Kind::Pipe, start),
                '(' => {
                    depth += 1;
                    self.emit(Kind::Open, start);
                }
                ')' => {
                    depth = depth.checked_sub(1).ok_or_else(|| Fault::new(start, "a ) without its ("))?;
                    self.emit(Kind::Close, start);
                }
                ',' => self.emit(Kind::Comma, start),
                '"' => self.quoted(start, '"', Kind::Quoted)?,
                '\'' => self.quoted(start, '\'', Kind::Char)?,
                '`' => {
                    let end = self.rest().find('`');
                    self.at += end.ok_or_else(|| Fault::new(start, "the ` isn't closed"))? + 1;
                    self.emit(Kind::Raw, start);
                }
                '$' => self.name(start, Kind::Variable)?,
                '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                    self.name(start, Kind::Field)?;
                }
                '.' | '+' | '-' | '0'..='9' => self.number(start)?,
                c if is_word(c) => self.name(start, Kind::Name)?,
                c => return Err(Fault::new(start, format!("{c:?} has no meaning here"))),
            }
        }
    }

    /// The rest of a name, a field or a variable.
    fn name(&mut self, start: usize, kind: Kind) -> Result<(), Fault> {
        let rest = self.rest();
        self.at += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if let Some(c) = self.peek()
            && !(is_blank(c) || ".,|:)(".contains(c) || self.rest().starts_with("}}"))
        {
            return Err(Fault::new(self.at, format!("{c:?} can't follow a name")));
        }
        let kind = match (kind, &self.text[start..self.at]) {
            (Kind::Field, ".") => Kind::Dot,
            (Kind::Name, "true" | "false") => Kind::Bool,
            (Kind::Name, "nil") => Kind::Nil,
            (Kind::Name, word) if KEYWORDS.contains(&word) => Kind::Keyword,
            (kind, _) => kind,
        };
        self.emit(kind, start);
        Ok(())
    }

    /// The rest of a string or character; what it means is decided later.
    fn quoted(&mut self, start: usize, quote: char, kind: Kind) -> Result<(), Fault> {
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices() {
            if c == '\n' {
                break;
            }
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                self.at += offset + 1;
                self.emit(kind, start);
                return Ok(());
            }
        }
        Err(Fault::new(start, format!("the {quote} isn't closed")))
    }

    /// A number, by its shape only.
    fn number(&mut self, start: usize) -> Result<(), Fault> {
        self.at = start;
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        while self.accept(digits) {}
        if self.accept(".") {
            while self.accept(digits) {}
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            while self.accept("0123456789_") {}
        }
        // Go has imaginary numbers; no flag of a compiler needs one.
        if self.peek().is_some_and(|c| is_word(c) || c == '+' || c == '-') {
            return Err(Fault::new(start, "that is no number"));
        }
        self.emit(Kind::Number, start);
        Ok(())
    }

    fn accept(&mut self, set: &str) -> bool {
        match self.peek() {
            Some(c) if set.contains(c) => {
                self.at += c.len_utf8();
                true
            }
            _ => false,
        }
    }
}

/// The blanks of templates.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// What names are made of: letters, digits and `_`.
fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
