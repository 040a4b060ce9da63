//! Random safe systems of a family, for lives and for changes while they go on.

use base::Prng;
use cluster::BallotRule;
use quorum::{Names, Protocol, SystemSpec};

macro_rules! groups {
    ($($(#[$doc:meta])* $group:ident $text:literal $sizes:expr,)*) => {
        /// A family of systems that lives can be drawn from.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Group { $($(#[$doc])* $group,)* }

        impl Group {
            pub const ALL: &[Group] = &[$(Group::$group,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Group::$group => $text,)* }
            }

            /// Numbers of members it has systems for.
            pub const fn sizes(self) -> &'static [usize] {
                match self { $(Group::$group => &$sizes,)* }
            }
        }
    };
}

groups! {
    Majority "majority" [3, 4, 5, 6, 7, 9],
    /// Commit sets of some size, elect sets of what is left and one more.
    Flexible "flexible" [3, 4, 5, 6, 7, 8, 9],
    Weighted "weighted" [3, 4, 5, 6, 7, 8, 9],
    Grid "grid" [4, 6, 8, 9],
    Tree "tree" [3, 7],
    Hqs "hqs" [3, 9],
    Zones "zones" [4, 5, 6, 7, 8, 9],
    Wall "wall" [3, 4, 5, 6, 7, 8, 9],
    Wheel "wheel" [3, 4, 5, 6, 7],
    Plane "plane" [7, 13],
    /// Any of those above.
    All "all" [3, 4, 5, 6, 7, 8, 9],
    /// Any of those above, with fewer than half of the members witnesses, and at least one.
    Witness "witness" [3, 4, 5, 6, 7, 9],
}

/// Draws of one text before a plain majority is taken.
const ATTEMPTS_MAX: u32 = 12;

impl Group {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|group| group.name() == text)
    }
}

fn is_safe(text: &str, names: &[String], rule: BallotRule) -> bool {
    let protocol = match rule {
        BallotRule::SharedTerms => Protocol::RaftSharedTerms,
        BallotRule::TermAndNode => Protocol::RaftTermAndNode,
    };
    let spec = SystemSpec::parse(text);
    spec.is_ok_and(|spec| spec.compile_for(&Names::in_order(names), protocol).is_ok())
}

/// A safe system of the group over these members; a majority where it has none of that size.
pub fn draw(group: Group, names: &[String], rule: BallotRule, random: &mut Prng) -> String {
    if group == Group::Witness {
        let count = 1 + random.below((names.len() as u64 - 1) / 2) as usize;
        let witnesses = &shuffled(names, random)[..count];
        return draw_marked(names, witnesses, rule, random);
    }
    let groups = Group::ALL.iter().filter(|g| !matches!(g, Group::All | Group::Witness));
    let fits = |group: &&Group| group.sizes().contains(&names.len());
    for _ in 0..ATTEMPTS_MAX {
        let mut group = group;
        if group == Group::All {
            let fitting: Vec<&Group> = groups.clone().filter(fits).collect();
            let Some(last) = fitting.len().checked_sub(1) else { break };
            group = *fitting[random.below(last as u64 + 1) as usize];
        }
        if !group.sizes().contains(&names.len()) {
            break;
        }
        let text = one(group, &shuffled(names, random), random);
        if is_safe(&text, names, rule) {
            return text;
        }
    }
    quorum::majority_text(names)
}

/// A safe system over these members that calls those among them witnesses.
pub fn draw_marked(
    names: &[String],
    witnesses: &[String],
    rule: BallotRule,
    random: &mut Prng,
) -> String {
    let witnesses: Vec<&str> = witnesses.iter().map(String::as_str).collect();
    for _ in 0..ATTEMPTS_MAX {
        let group = if random.below(2) == 0 { Group::Majority } else { Group::All };
        let text = quorum::marked(&draw(group, names, rule, random), &witnesses);
        if is_safe(&text, names, rule) {
            return text;
        }
    }
    quorum::marked(&quorum::majority_text(names), &witnesses)
}

fn shuffled(names: &[String], random: &mut Prng) -> Vec<String> {
    let mut names = names.to_vec();
    for at in (1..names.len()).rev() {
        names.swap(at, random.below(at as u64 + 1) as usize);
    }
    names
}

/// One text of the group, safe for some ballot rule or for none.
fn one(group: Group, names: &[String], r: &mut Prng) -> String {
    let n = names.len() as u64;
    let list = names.join(", ");
    match group {
        Group::Majority if r.below(4) == 0 => format!("{} of ({list})", n - r.below(n.div_ceil(2))),
        Group::Majority | Group::All | Group::Witness => format!("majority({list})"),
        Group::Flexible => {
            let commit = 1 + r.below(n);
            let elect = (n - commit + 1) + r.below(commit);
            match r.below(3) {
                0 => format!("flexible({commit}; {list})"),
                _ => format!("elect = {elect} of ({list}); commit = {commit} of ({list})"),
            }
        }
        Group::Weighted => weighted(names, r),
        Group::Grid => grid(names, r),
        Group::Tree => format!("tree({})", names.join(" ")),
        Group::Hqs => format!("hqs({})", rows(names, &[3; 3][..names.len() / 3])),
        Group::Plane => format!("plane({})", names.join(" ")),
        Group::Wheel => format!("wheel({list})"),
        Group::Zones => zones(names, r),
        Group::Wall => {
            let mut widths = Vec::new();
            let mut left = names.len();
            while left > 0 {
                let width = 1 + r.below(left.min(3) as u64) as usize;
                widths.push(width);
                left -= width;
            }
            format!("wall({})", rows(names, &widths))
        }
    }
}

/// Members in rows of these widths.
fn rows(names: &[String], widths: &[usize]) -> String {
    let mut at = 0;
    let rows = widths.iter().map(|width| {
        at += width;
        names[at - width..at].join(" ")
    });
    rows.collect::<Vec<_>>().join(" / ")
}

fn weighted(names: &[String], r: &mut Prng) -> String {
    let mut total = 0;
    let votes: Vec<String> = names
        .iter()
        .map(|name| {
            let weight = 1 + r.below(4);
            total += weight;
            format!("{name}:{weight}")
        })
        .collect();
    let votes = votes.join(", ");
    let write = total.div_ceil(2) + r.below(total.div_ceil(2));
    let read = (total - write + 1) + r.below(write);
    match r.below(3) {
        0 => format!("gifford({read}, {write}; {votes})"),
        1 => format!(
            "elect = weighted{{{votes}}} >= {read}; commit = weighted{{{votes}}} >= {write}"
        ),
        _ => format!("weighted{{{votes}}}"),
    }
}

fn grid(names: &[String], r: &mut Prng) -> String {
    let n = names.len();
    let widths: Vec<usize> = (2..n).filter(|w| n.is_multiple_of(*w)).collect();
    let width = widths[r.below(widths.len() as u64) as usize];
    let m = rows(names, &vec![width; n / width]);
    match r.below(6) {
        0 => format!("grid({m})"),
        1 => format!("cross({m})"),
        2 => format!("elect = cover({m}); commit = row({m})"),
        3 => format!("elect = row({m}); commit = cover({m})"),
        4 => format!("elect = grid({m}); commit = row({m})"),
        _ => format!("elect = grid({m}); commit = cover({m})"),
    }
}

fn zones(names: &[String], r: &mut Prng) -> String {
    let count = if names.len() >= 6 { 2 + r.below(2) as usize } else { 2 };
    let labels = ["eu", "us", "ap"];
    let zone = |z: usize| {
        let inside: Vec<&str> = names.iter().skip(z).step_by(count).map(String::as_str).collect();
        format!("{}{{{}}}", labels[z], inside.join(", "))
    };
    let list = (0..count).map(zone).collect::<Vec<_>>().join(", ");
    let commit = 1 + r.below(count as u64);
    let elect = count as u64 - commit + 1;
    match r.below(3) {
        0 => format!("elect = zones {elect} of ({list}); commit = zones {commit} of ({list})"),
        1 => format!("zones {count} of ({list})"),
        _ => format!("zones({list})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_gives_safe_systems_of_its_own_at_each_of_its_sizes() {
        let mut random = Prng::new(7);
        for group in Group::ALL {
            assert_eq!(Group::parse(group.name()), Some(*group));
            for size in group.sizes() {
                let names: Vec<String> = (0..*size).map(crate::plan::name).collect();
                for rule in [BallotRule::SharedTerms, BallotRule::TermAndNode] {
                    let texts: Vec<String> =
                        (0..40).map(|_| draw(*group, &names, rule, &mut random)).collect();
                    assert!(texts.iter().all(|text| is_safe(text, &names, rule)));
                    if *group == Group::Witness {
                        assert!(texts.iter().all(|text| text.contains("witness(")), "{texts:?}");
                    }
                    let plain = texts.iter().filter(|t| t.starts_with("majority(")).count();
                    let own = *group == Group::Majority || plain < 30;
                    assert!(own, "{} of {size}: {texts:?}", group.name());
                }
            }
        }
    }

    #[test]
    fn a_size_without_a_system_gets_a_majority() {
        let names: Vec<String> = (0..5).map(crate::plan::name).collect();
        let text = draw(Group::Plane, &names, BallotRule::SharedTerms, &mut Prng::new(1));
        assert_eq!(text, "majority(n1, n2, n3, n4, n5)");
    }
}
