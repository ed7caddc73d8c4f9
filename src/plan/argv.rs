//! The program and arguments of a command: without shell syntax directly, as make does, else by the shell.
//!
//! Invariant: what is run directly means the same as what the shell would have made of it; in doubt the shell
//! gets the line, unchanged.

/// Characters that mean something to a shell outside quotes.
const SYNTAX: &str = "|&;<>()$`\\*?[]#~{}!^\n\r";

/// Characters that mean something to a shell inside double quotes.
const SYNTAX_IN_QUOTES: &str = "$`\\!";

/// Names that only a shell knows, or that mean something else to it than to `execve`.
const BUILTINS: [&str; 74] = [
    ".",
    ":",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "fc",
    "fg",
    "fi",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
];

/// What to execute for `command`. `shell` is the program and arguments that take a command line as their
/// last argument, such as `bash -c`.
pub fn argv(command: &str, shell: &[String]) -> Vec<String> {
    direct(command).unwrap_or_else(|| {
        let mut by_shell = shell.to_vec();
        by_shell.push(command.to_owned());
        by_shell
    })
}

/// The words of a command without shell syntax; `None` when it takes a shell.
fn direct(command: &str) -> Option<Vec<String>> {
    let command = command.strip_suffix('\n').unwrap_or(command);
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        end if end == c => break,
                        inner if c == '"' && SYNTAX_IN_QUOTES.contains(inner) => return None,
                        inner => word.push(inner),
                    }
                }
            }
            // Before the command, `NAME=value` is an assignment; some shells expand a leading `=`.
            '=' if words.is_empty() || word.is_none() => return None,
            syntax if SYNTAX.contains(syntax) => return None,
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    let name = words.first()?.as_str();
    let shell_only = name.is_empty() || BUILTINS.contains(&name);
    (!shell_only).then_some(words)
}

/// The command line that means exactly these words; one word alone is a command line already.
pub fn line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

/// One word for a shell, between quotes where it needs them.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./,:@%+".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: [(&str, &[&str]); 13] = [
        ("make test", &["make", "test"]),
        ("make test\n", &["make", "test"]),
        ("  make\t test  ", &["make", "test"]),
        ("echo 'a  b' \"c d\"", &["echo", "a  b", "c d"]),
        ("echo 'a$b|c'", &["echo", "a$b|c"]),
        ("echo a'b'\"c\"", &["echo", "abc"]),
        ("echo ''", &["echo", ""]),
        ("'my prog' x", &["my prog", "x"]),
        ("./run.sh -x --y:z a,b @c +d", &["./run.sh", "-x", "--y:z", "a,b", "@c", "+d"]),
        ("true", &["true"]),
        ("date +%s --utc=x", &["date", "+%s", "--utc=x"]),
        ("echo 'two\nlines'", &["echo", "two\nlines"]),
        ("printenv É", &["printenv", "É"]),
    ];

    #[test]
    fn only_plain_commands_are_run_directly() {
        let shell = ["bash".to_owned(), "-c".to_owned()];
        for (text, want) in DIRECT {
            assert_eq!(argv(text, &shell), want, "{text:?}");
        }
        let by_shell = [
            "",
            "   ",
            "# x",
            "a | b",
            "a && b",
            "a; b",
            "a &",
            "a > b",
            "a < b",
            "echo $X",
            "echo \"$X\"",
            "echo `a`",
            "echo \"`a`\"",
            "ls *",
            "ls ?",
            "ls [a]",
            "ls ~",
            "ls {a,b}",
            "A=1 b",
            "a =ls",
            "echo \\a",
            "echo \"a\\b\"",
            "(a)",
            "! a",
            "a\nb",
            "a # c",
            "echo 'a",
            "echo \"a",
            "cd src",
            "export A",
            "source x",
            ". x",
            "exit 0",
            "ulimit -n",
            "umask 022",
            "alias a",
            "set -e",
            "type a",
            "test -f a",
            "time a",
            "'' a",
            "a\n\n",
            "while",
            "wait",
            "a\r",
        ];
        for text in by_shell {
            assert_eq!(argv(text, &shell), ["bash", "-c", text], "{text:?}");
        }
    }

    #[test]
    fn words_are_quoted_so_that_they_stay_what_they_are() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(line(&words(&["a | b"])), "a | b");
        assert_eq!(line(&words(&["sh", "-c", "a | b"])), "sh -c 'a | b'");
        assert_eq!(line(&words(&["A=1", "b"])), "'A=1' b");
        assert_eq!(line(&words(&["echo", "it's", ""])), "echo 'it'\\''s' ''");
        let all = [
            "prog", "a b", "$X", "`x`", "*", "~", "#", "!", "a\\", "\"", "é", "a\nb", "=", "{a,b}",
            "",
        ];
        let line = line(&words(&all));
        assert_eq!(argv(&line, &[]), all, "{line}");
    }
}
