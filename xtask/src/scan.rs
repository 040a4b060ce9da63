//! Reads one Rust file far enough for the style rules: code without comments and strings, which
//! lines are tests, and where functions begin and end. A scanner, not a parser.

/// One file, line by line.
pub struct Scanned {
    /// Each line with comments and the insides of literals removed.
    pub code: Vec<String>,
    /// Whether each line belongs to an item behind `#[cfg(test)]` or `#[test]`.
    pub test: Vec<bool>,
    /// Every function with a body: name, first line (from 0) and number of lines.
    pub functions: Vec<(String, usize, usize)>,
}

enum Mode {
    Code,
    Block(u32),
    Text,
    Raw(usize),
}

pub fn scan(source: &str) -> Scanned {
    let code: Vec<String> = blank(source).split('\n').map(str::to_owned).collect();
    let test = mark_tests(&code);
    let functions = find_functions(&code);
    Scanned { code, test, functions }
}

/// The source with comments, strings and character literals removed; line breaks stay.
fn blank(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut mode = Mode::Code;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        if c == '\n' {
            out.push(c);
        }
        match mode {
            Mode::Code => at += code_step(&chars, at, &mut mode, &mut out),
            Mode::Block(depth) => {
                if c == '*' && next == Some('/') {
                    mode = if depth == 1 { Mode::Code } else { Mode::Block(depth - 1) };
                    at += 1;
                } else if c == '/' && next == Some('*') {
                    mode = Mode::Block(depth + 1);
                    at += 1;
                }
            }
            Mode::Text => match c {
                '\\' if next != Some('\n') => at += 1,
                '"' => mode = Mode::Code,
                _ => {}
            },
            Mode::Raw(hashes) => {
                let closing = (1..=hashes).all(|n| chars.get(at + n) == Some(&'#'));
                if c == '"' && closing {
                    at += hashes;
                    mode = Mode::Code;
                }
            }
        }
        at += 1;
    }
    out
}

/// One step outside literals; returns how many characters beyond this one are consumed.
fn code_step(chars: &[char], at: usize, mode: &mut Mode, out: &mut String) -> usize {
    let c = chars[at];
    let next = chars.get(at + 1).copied();
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match c {
        '\n' => 0,
        '/' if next == Some('/') => {
            chars[at..].iter().take_while(|c| **c != '\n').count().saturating_sub(1)
        }
        '/' if next == Some('*') => {
            *mode = Mode::Block(1);
            1
        }
        '"' => {
            *mode = Mode::Text;
            0
        }
        'r' if (!in_word || chars[at - 1] == 'b') && matches!(next, Some('"' | '#')) => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if chars.get(at + 1 + hashes) == Some(&'"') {
                *mode = Mode::Raw(hashes);
                return hashes + 1;
            }
            out.push(c);
            0
        }
        '\'' if next == Some('\\') => {
            let rest = chars.get(at + 3..).unwrap_or(&[]);
            rest.iter().take_while(|c| **c != '\'' && **c != '\n').count() + 3
        }
        '\'' if chars.get(at + 2) == Some(&'\'') => 2,
        _ => {
            out.push(c);
            0
        }
    }
}

fn mark_tests(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    for (at, line) in code.iter().enumerate() {
        let line = line.trim();
        let gated = line.starts_with("#[cfg(test)]") || line.starts_with("#[test]");
        if gated && !test[at] {
            let end = item_end(code, at);
            test[at..=end].fill(true);
        }
    }
    test
}

/// The last line of the item that begins at `from`: its closing brace, or its semicolon.
fn item_end(code: &[String], from: usize) -> usize {
    let (mut depth, mut brackets) = (0i32, 0i32);
    for (at, line) in code.iter().enumerate().skip(from) {
        for c in line.chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth <= 0 {
                        return at;
                    }
                }
                ';' if depth == 0 && brackets == 0 => return at,
                _ => {}
            }
        }
    }
    code.len().saturating_sub(1)
}

fn find_functions(code: &[String]) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for (at, line) in code.iter().enumerate() {
        let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        let Some(keyword) = words.iter().position(|word| *word == "fn") else { continue };
        let Some(name) = words.get(keyword + 1).filter(|name| !name.is_empty()) else { continue };
        let begins = words[..keyword].iter().all(|word| {
            ["", "pub", "crate", "super", "const", "async", "in", "self"].contains(word)
        });
        if begins {
            functions.push(((*name).to_owned(), at, item_end(code, at) - at + 1));
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        let text = "let a = \"x // {\"; // .unwrap()\nlet b = r#\"{\"#; let c = '{'; 'l: loop {}";
        let code = scan(text).code;
        assert_eq!(code[0].trim(), "let a = ;");
        assert_eq!(code[1].trim(), "let b = ; let c = ; 'l: loop {}");
        assert_eq!(scan("a /* { /* } */ \n */ b").code.concat().trim(), "a  b");
        assert_eq!(scan("('\\n', '\\'', \"\\\"\", b)").code[0], "(, , , b)");
    }

    #[test]
    fn an_item_behind_cfg_test_is_test_code_to_its_end() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}";
        assert_eq!(scan(text).test, [false, true, true, true, true, false]);
        assert_eq!(scan("#[cfg(test)]\nmod tests;\nfn c() {}").test, [true, true, false]);
    }

    #[test]
    fn functions_are_measured_from_signature_to_closing_brace() {
        let text = "pub(crate) fn a(\n  b: [u8; 2],\n) {\n  if c {\n  }\n}\nfn d();";
        let functions = scan(text).functions;
        assert_eq!(functions, [("a".to_owned(), 0, 6), ("d".to_owned(), 6, 1)]);
    }
}
