//! Which files may be removed: [`Disk::remove`] takes a proof that the name is one this product
//! gives. What anybody else has put into a data directory is never touched.

/// Behind the name of what was set aside: the number of the start that found it damaged.
pub const ASIDE: &str = ".damaged-";

/// How the files of one kind are named: `prefix`, groups of sixteen hexadecimal digits with `-`
/// between them, `suffix`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub prefix: &'static str,
    pub groups: usize,
    pub suffix: &'static str,
}

/// The segments of a journal.
pub const SEGMENT: Shape = Shape { prefix: "segment-", groups: 1, suffix: ".qj" };
/// Files made ahead for segments.
pub const SPARE: Shape = Shape { prefix: "spare-", groups: 1, suffix: ".qj" };

/// The name of a file of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours(String);

impl Ours {
    pub fn name(&self) -> &str {
        &self.0
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Shape {
    /// `name`, if it is exactly of this shape.
    pub fn own(&self, name: &str) -> Option<Ours> {
        let middle = name.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?;
        let groups: Vec<&str> =
            if middle.is_empty() { vec![] } else { middle.split('-').collect() };
        let hex = groups.iter().all(|group| group.len() == 16 && is_hex(group));
        (hex && groups.len() == self.groups).then(|| Ours(name.to_owned()))
    }

    /// `name`, if it is of a file of this shape that was set aside.
    pub fn aside(&self, name: &str) -> Option<Ours> {
        let (before, label) = name.split_once(ASIDE)?;
        (is_hex(label) && self.own(before).is_some()).then(|| Ours(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_ours() {
        let hex = "00000000000000af";
        let three = Shape { prefix: "checkpoint-", groups: 3, suffix: ".qc" };
        let whole = Shape { prefix: "repair", groups: 0, suffix: "" };
        assert!(SEGMENT.own(&format!("segment-{hex}.qj")).is_some());
        assert!(three.own(&format!("checkpoint-{hex}-{hex}-{hex}.qc")).is_some());
        assert!(whole.own("repair").is_some());
        assert!(SEGMENT.aside(&format!("segment-{hex}.qj.damaged-1f")).is_some());
        let strange = [
            "segment-+0000000000000af.qj".to_owned(),
            "segment-00000000000000AF.qj".to_owned(),
            "segment-af.qj".to_owned(),
            format!("segment-{hex}-{hex}.qj"),
            format!("segment-{hex}.qj.bak"),
            format!("my-segment-{hex}.qj"),
            "segment-.qj".to_owned(),
            String::new(),
        ];
        for name in strange {
            assert!(SEGMENT.own(&name).is_none(), "{name}");
            assert!(SEGMENT.aside(&format!("{name}.damaged-1")).is_none(), "{name}");
        }
        assert!(whole.own("repairs").is_none());
        for label in ["", "x", "1 ", "1.damaged-1"] {
            assert!(SEGMENT.aside(&format!("segment-{hex}.qj.damaged-{label}")).is_none());
        }
    }
}
