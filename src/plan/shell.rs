//! Reading a shell line just far enough to tell its commands apart.
//!
//! Invariants: quotes, comments and operators are recognised as a POSIX shell does; nothing is expanded; what
//! is not understood is said to be so ([`Line::odd`]) and never guessed.

/// A word of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Word {
    /// Its text without quotes.
    pub(super) text: String,
    /// Part of it was quoted or escaped.
    pub(super) quoted: bool,
    /// It holds `$(…)` or a backquote: another command runs to make it.
    pub(super) substitution: bool,
}

/// What stands between two commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Joint {
    /// `;` or a new line.
    Then,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|` or `|&`
    Pipe,
    /// `&`
    Background,
    /// `(`, `)`, `;;`
    Group,
    /// The end of the line.
    End,
}

/// One simple command and what follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Simple {
    /// Assignments, the command's name, its arguments; redirections left out.
    pub(super) words: Vec<Word>,
    /// It redirects to or from a file other than the null device or another descriptor.
    pub(super) redirects: bool,
    /// What comes after it.
    pub(super) joint: Joint,
}

impl Simple {
    /// Name and arguments, without the assignments before them.
    pub(super) fn call(&self) -> &[Word] {
        let start = self.words.iter().position(|w| !is_assignment(w)).unwrap_or(self.words.len());
        &self.words[start..]
    }

    /// The command's name, or nothing.
    pub(super) fn name(&self) -> &str {
        self.call().first().map_or("", |w| w.text.as_str())
    }
}

/// A whole line (or several), split.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Line {
    /// Its commands; empty ones left out.
    pub(super) commands: Vec<Simple>,
    /// It holds something this reader does not understand: an open quote, a here-document.
    pub(super) odd: bool,
}

/// `NAME=value`, with the name unquoted.
pub(super) fn is_assignment(word: &Word) -> bool {
    word.text.split_once('=').is_some_and(|(name, _)| {
        let name = name.strip_suffix('+').unwrap_or(name);
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Splits `text` into its simple commands.
pub(super) fn split(text: &str) -> Line {
    let mut reader = Reader { rest: text, line: Line::default(), words: vec![], redirects: false };
    reader.read();
    reader.line
}

struct Reader<'a> {
    rest: &'a str,
    line: Line,
    words: Vec<Word>,
    redirects: bool,
}

impl Reader<'_> {
    fn read(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
            if let Some(next) = self.rest.strip_prefix("\\\n") {
                self.rest = next;
                continue;
            }
            let Some(first) = self.rest.chars().next() else { break };
            match first {
                '#' => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                '\n' | ';' | '&' | '|' | '(' | ')' => self.joint(),
                '<' | '>' => self.redirection(),
                _ => {
                    let word = self.word();
                    // `2>` and the like: the number belongs to the redirection.
                    let number = !word.quoted && word.text.bytes().all(|b| b.is_ascii_digit());
                    if !(number && self.rest.starts_with(['<', '>'])) {
                        self.words.push(word);
                    }
                }
            }
        }
        self.end(Joint::End);
    }

    fn joint(&mut self) {
        let table = [
            ("&>", None),
            ("&&", Some(Joint::And)),
            ("||", Some(Joint::Or)),
            ("|&", Some(Joint::Pipe)),
            ("|", Some(Joint::Pipe)),
            (";;", Some(Joint::Group)),
            ("&", Some(Joint::Background)),
            ("(", Some(Joint::Group)),
            (")", Some(Joint::Group)),
        ];
        let hit = table.iter().find(|(op, _)| self.rest.starts_with(op));
        let (length, joint) = hit.map_or((1, Some(Joint::Then)), |(op, j)| (op.len(), *j));
        if joint.is_none() {
            self.rest = &self.rest[1..];
            return self.redirection();
        }
        self.rest = &self.rest[length..];
        self.end(joint.unwrap_or(Joint::Then));
    }

    fn end(&mut self, joint: Joint) {
        let words = std::mem::take(&mut self.words);
        let redirects = std::mem::take(&mut self.redirects);
        if !words.is_empty() || redirects {
            self.line.commands.push(Simple { words, redirects, joint });
        } else if joint != Joint::Then
            && joint != Joint::End
            && let Some(last) = self.line.commands.last_mut()
            && last.joint == Joint::Then
        {
            // An operator after a new line: `(`, `)` or an error of the shell.
            last.joint = Joint::Group;
        }
    }

    fn redirection(&mut self) {
        if self.rest.starts_with("<<") {
            self.line.odd = true;
        }
        let to_descriptor = {
            let after = self.rest.trim_start_matches(['<', '>']);
            after.starts_with('&') && !self.rest.starts_with("<<")
        };
        self.rest = self.rest.trim_start_matches(['<', '>', '|', '&']);
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if self.rest.starts_with('(') {
            // `<(…)`: a process substitution.
            self.line.odd = true;
            return;
        }
        let target = self.word();
        if !to_descriptor && target.text != "/dev/null" {
            self.redirects = true;
        }
    }

    fn word(&mut self) -> Word {
        let mut word = Word::default();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => {
                    end = at;
                    break;
                }
                '\'' => {
                    word.quoted = true;
                    loop {
                        match chars.next() {
                            Some((_, '\'')) => break,
                            Some((_, inner)) => word.text.push(inner),
                            None => {
                                self.line.odd = true;
                                break;
                            }
                        }
                    }
                }
                '"' => {
                    word.quoted = true;
                    self.line.odd |= !double_quoted(&mut chars, &mut word);
                }
                '\\' => {
                    word.quoted = true;
                    match chars.next() {
                        Some((_, '\n')) | None => {}
                        Some((_, escaped)) => word.text.push(escaped),
                    }
                }
                '`' => {
                    word.substitution = true;
                    self.line.odd |= !chars.any(|(_, c)| c == '`');
                }
                '$' if chars.as_str().starts_with('(') => {
                    word.substitution = true;
                    self.line.odd |= !parenthesised(&mut chars);
                }
                other => word.text.push(other),
            }
        }
        self.rest = &self.rest[end..];
        word
    }
}

/// Reads to the closing double quote; `false` when there is none.
fn double_quoted(chars: &mut std::str::CharIndices<'_>, word: &mut Word) -> bool {
    while let Some((_, c)) = chars.next() {
        match c {
            '"' => return true,
            '`' => {
                word.substitution = true;
                if !chars.any(|(_, c)| c == '`') {
                    return false;
                }
            }
            '$' if chars.as_str().starts_with('(') => {
                word.substitution = true;
                if !parenthesised(chars) {
                    return false;
                }
            }
            '\\' => word.text.extend(chars.next().map(|(_, c)| c)),
            other => word.text.push(other),
        }
    }
    false
}

/// Skips `(…)` with what is nested in it; `false` when it does not end.
fn parenthesised(chars: &mut std::str::CharIndices<'_>) -> bool {
    let mut depth = 0_u32;
    for (_, c) in chars.by_ref() {
        match c {
            '(' => depth += 1,
            ')' if depth <= 1 => return true,
            ')' => depth -= 1,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let line = split(text);
        let mut out = String::new();
        for c in &line.commands {
            let words: Vec<&str> = c.words.iter().map(|w| w.text.as_str()).collect();
            out.push_str(&format!("[{}]{:?}", words.join(","), c.joint));
            if c.redirects {
                out.push_str(" file");
            }
            out.push(' ');
        }
        if line.odd {
            out.push_str("odd");
        }
        out.trim_end().to_owned()
    }

    #[test]
    fn commands_are_told_apart() {
        let cases = [
            ("", ""),
            ("# only\n  # comments\n", ""),
            ("a b", "[a,b]End"),
            ("a;b\nc", "[a]Then [b]Then [c]End"),
            ("a && b || c | d &", "[a]And [b]Or [c]Pipe [d]Background"),
            ("a 'b; c' \"d | e\"", "[a,b; c,d | e]End"),
            ("a b#c # d", "[a,b#c]End"),
            ("a\\ b", "[a b]End"),
            ("a \\\n b", "[a,b]End"),
            ("a > f", "[a]End file"),
            ("a >/dev/null 2>&1", "[a]End"),
            ("a 2> err b", "[a,b]End file"),
            ("a &> f", "[a]End file"),
            ("(a; b)", "[a]Then [b]Group"),
            ("echo $(a b; c) d", "[echo,,d]End"),
            ("echo \"$(a | b)\"", "[echo,]End"),
            ("echo 'open", "[echo,open]End odd"),
            ("cat <<E\nx\nE", "[cat]Then [x]Then [E]End file odd"),
            ("X=1 a", "[X=1,a]End"),
        ];
        for (text, want) in cases {
            // A here-document's own line carries its redirection.
            let want = want
                .replace("[cat]Then [x]Then [E]End file odd", "[cat]Then file [x]Then [E]End odd");
            assert_eq!(shown(text), want, "{text:?}");
        }
    }

    #[test]
    fn assignments_are_not_the_command() {
        for (text, name) in
            [("A=1 B+=2 x y", "x"), ("A=1", ""), ("a=b=c d", "d"), ("=x", "=x"), ("a-b=1", "a-b=1")]
        {
            assert_eq!(split(text).commands[0].name(), name, "{text}");
        }
    }
}
