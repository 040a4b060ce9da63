//! Steps and answers short enough to be read.

/// Values that a field has when nobody set it.
const DEFAULTS: [&str; 6] = ["0", "false", "b\"\"", "\"\"", "[]", "None"];

/// A `Debug` text without the fields that have their default value.
pub fn brief(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(": ") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        let name = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |x| x + 1);
        let is_unset = |value: &&&str| {
            after.strip_prefix(**value).is_some_and(|x| x.starts_with(',') || x.starts_with(" }"))
        };
        match DEFAULTS.iter().find(is_unset) {
            Some(value) => {
                out.push_str(&before[..name]);
                rest = &after[value.len()..];
                rest = rest.strip_prefix(", ").unwrap_or(rest);
            }
            None => {
                out.push_str(&rest[..at + 2]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Where two texts part: the first line that differs of each.
pub fn part<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let (mut a, mut b) = (a.lines(), b.lines());
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) if a == b => {}
            (a, b) => return (a.unwrap_or("(no more)"), b.unwrap_or("(no more)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_nobody_set_are_left_out() {
        let text =
            "Put(P { key: b\"a: \", value: b\"\", lease: 0, prev_kv: true, x: 10, y: None })";
        assert_eq!(brief(text), "Put(P { key: b\"a: \", prev_kv: true, x: 10,  })");
        assert_eq!(brief("Leases"), "Leases");
    }

    #[test]
    fn two_texts_part_at_their_first_different_line() {
        assert_eq!(part("a\nb\nc", "a\nB\nc"), ("b", "B"));
        assert_eq!(part("a", "a\nb"), ("(no more)", "b"));
    }
}
