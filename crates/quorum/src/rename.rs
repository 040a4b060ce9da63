//! Names in a quorum text, written and replaced. Whoever keeps such texts does it with these.

use crate::spelling::write_name;
use crate::system::SystemSpec;
use crate::token::{Token, tokens, unquoted};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `name` as a quorum text has it: in quotes where the language needs them.
pub fn quoted(name: &str) -> String {
    let mut out = String::new();
    write_name(&mut out, name).expect("a string takes everything");
    out
}

/// `majority(..)` of these members, as a text.
pub fn majority_text<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| quoted(name.as_ref())).collect();
    alloc::format!("majority({})", names.join(", "))
}

/// `text` with the member `old` called `new`; everything else stays as it was written. A text
/// that cannot be read, or does not name `old`, stays whole.
pub fn renamed(text: &str, old: &str, new: &str) -> String {
    rewritten(text, &[old], |_| quoted(new))
}

/// `text` with each of these members as `witness(..)`, those that are one already too. A text
/// that cannot be read, or names none of them, stays whole.
pub fn marked(text: &str, witnesses: &[&str]) -> String {
    rewritten(text, witnesses, |name| alloc::format!("witness({})", quoted(name)))
}

/// `text` with something else in the place of some members.
fn rewritten(text: &str, members: &[&str], new: impl Fn(&str) -> String) -> String {
    let Ok(spec) = SystemSpec::parse(text) else { return text.to_string() };
    let named: Vec<&str> = members.iter().copied().filter(|m| spec.names().contains(m)).collect();
    let tokens = tokens(text).expect("what was parsed has tokens");
    let mut out = String::new();
    let mut rest = text.chars();
    let mut column = 1;
    for (at, (token, start)) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &tokens[at].0);
        let after = tokens.get(at + 1).map(|next| &next.0);
        let Some(name) = named.iter().find(|name| is_member(token, name, before, after)) else {
            continue;
        };
        assert!(*start >= column, "tokens follow each other");
        out.extend(rest.by_ref().take(start - column));
        let len = match token {
            Token::Quoted(_) => 1 + unquoted(&mut rest.clone().skip(1), *start).map_or(0, |n| n.1),
            _ => name.chars().count(),
        };
        rest.by_ref().take(len).for_each(drop);
        column = start + len;
        out.push_str(&new(name));
    }
    out.push_str(rest.as_str());
    out
}

/// Whether a token is the member `name`, not a word of the language spelled like it.
fn is_member(token: &Token, name: &str, before: Option<&Token>, after: Option<&Token>) -> bool {
    let count_of = |after: &Token| matches!(after, Token::Word(word) if &**word == "of");
    match token {
        Token::Quoted(word) => &**word == name,
        Token::Word(word) if &**word == name => {
            let number = matches!(before, Some(Token::Symbol(":" | ">=")));
            let other = matches!(after, Some(Token::Symbol("(" | "{" | "=")));
            !number && !other && !after.is_some_and(count_of)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn only_the_member_is_renamed_and_all_else_stays_as_written() {
        let cases = [
            ("majority(a,  b, c)", "b", "x", "majority(a,  x, c)"),
            ("majority(a, \"b\", ab)", "b", "x", "majority(a, x, ab)"),
            ("weighted{a:2, 2:1, c:1} >= 2", "2", "x", "weighted{a:2, x:1, c:1} >= 2"),
            ("2 of (1, 2, 3)", "2", "x", "2 of (1, x, 3)"),
            ("grid(row b / c d)", "row", "x", "grid(x b / c d)"),
            (
                "elect = row(row b / c d); commit = cover(row b / c d)",
                "row",
                "x",
                "elect = row(x b / c d); commit = cover(x b / c d)",
            ),
            ("zones(a{a, b}, c{c}, d{d})", "a", "x", "zones(a{x, b}, c{c}, d{d})"),
            ("2 of (a, b, witness(c))", "c", "two words", "2 of (a, b, witness(\"two words\"))"),
            ("majority(\"a\\\"b\", c, d)", "a\"b", "of", "majority(\"of\", c, d)"),
            ("(é and b) or c", "b", "ü", "(é and ü) or c"),
        ];
        for (text, old, new, expected) in cases {
            let before = SystemSpec::parse(text).expect(text);
            let after = renamed(text, old, new);
            assert_eq!(after, expected);
            let names = SystemSpec::parse(&after).expect(&after);
            let mapped = before.names().into_iter().map(|n| if n == old { new } else { n });
            assert!(mapped.eq(names.names()), "{text}");
        }
    }

    #[test]
    fn members_are_marked_wherever_they_stand() {
        let cases = [
            ("majority(a, b, c)", "majority(a, witness(b), c)"),
            ("elect = b or (a and c); commit = 2 of (a,\"b\", c)", {
                "elect = witness(b) or (a and c); commit = 2 of (a,witness(b), c)"
            }),
            ("zones(b{b, a}, c{c})", "zones(b{witness(b), a}, c{c})"),
            ("majority(a, c, d)", "majority(a, c, d)"),
            ("majority(b", "majority(b"),
        ];
        for (text, expected) in cases {
            assert_eq!(marked(text, &["b", "x"]), expected);
        }
        let both = marked("majority(a, b, c)", &["a", "c"]);
        assert_eq!(SystemSpec::parse(&both).unwrap().witnesses(), ["a", "c"]);
    }

    #[test]
    fn a_majority_is_written_with_its_names_quoted() {
        assert_eq!(majority_text(["a", "b c", "of"]), "majority(a, \"b c\", \"of\")");
        let spec = SystemSpec::parse(&majority_text(["a", "b", "c"])).unwrap();
        assert_eq!(spec.elect, crate::Expr::majority(["a", "b", "c"]));
    }

    #[test]
    fn a_text_that_does_not_name_the_member_stays() {
        for text in ["majority(a, b, c)", "no quorum (", "a and (b"] {
            assert_eq!(renamed(text, "x", "y"), text);
        }
        assert_eq!(renamed("2 of (a, b, c)", "2", "y"), "2 of (a, b, c)");
    }

    #[test]
    fn a_quoted_name_is_read_as_the_name() {
        let words = "and or of all any row cover grid zones wall wheel plane tree hqs witness \
                     majority weighted joint elect commit 2 0 2x";
        let odd = ["a", "a b", "\"", "\\", "a\\\"b", "é", "a.b@c-d_e", "(", "x:1"];
        for name in words.split_whitespace().chain(odd) {
            for text in [format!("majority({}, y, z)", quoted(name)), quoted(name)] {
                let spec = SystemSpec::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
                assert_eq!(spec.names()[0], name, "{text}");
            }
        }
    }
}
