//! From a life with a violation to a shorter story of it: fewer members, fewer faults, a quieter
//! world, fewer operations and clients. Every step is a life of its own that still breaks the same
//! rule.

use crate::knobs::Still;
use crate::life::{Verdict, run};
use crate::plan::{Plan, Wishes};

/// What is left, and the wishes that replay it.
#[derive(Clone, Debug)]
pub struct Minimised {
    pub wishes: Wishes,
    pub plan: Plan,
    pub verdict: Verdict,
    /// Lives it took.
    pub lives: u32,
}

struct Search {
    seed: u64,
    profile: crate::Profile,
    rule: &'static str,
    best: Wishes,
    lives: u32,
    lives_max: u32,
}

impl Search {
    /// Whether these wishes still break the rule; if so they are the best so far.
    fn keeps(&mut self, wishes: Wishes) -> bool {
        if self.lives >= self.lives_max {
            return false;
        }
        self.lives += 1;
        let Ok(plan) = Plan::new(self.seed, self.profile, &wishes) else { return false };
        let broken = run(&plan, false).ok().and_then(|verdict| verdict.violation);
        let same = broken.is_some_and(|violation| violation.rule == self.rule);
        if same {
            self.best = wishes;
        }
        same
    }

    /// The fewest members that will do; a text or a family says by itself how many there are.
    fn nodes(&mut self, plan: &Plan) {
        if self.best.quorum.is_some() || self.best.nodes.is_some() {
            return;
        }
        let fewer = |nodes| Wishes { nodes: Some(nodes), ..self.best.clone() };
        let smaller: Vec<Wishes> = (1..plan.nodes).map(fewer).collect();
        smaller.into_iter().any(|wishes| self.keeps(wishes));
    }

    /// Delta debugging over the planned faults (Zeller and Hildebrandt, TSE 2002).
    fn faults(&mut self, count: usize) {
        let mut kept: Vec<usize> = (0..count).collect();
        let mut piece = count.div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < kept.len() {
                let mut fewer = kept.clone();
                fewer.drain(at..kept.len().min(at + piece));
                let wishes = Wishes { faults: Some(fewer.clone()), ..self.best.clone() };
                if self.keeps(wishes) { kept = fewer } else { at += piece }
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
    }

    fn still(&mut self) {
        for still in Still::ALL {
            let mut wishes = self.best.clone();
            wishes.still.push(*still);
            self.keeps(wishes);
        }
    }

    fn ops(&mut self, plan: &Plan) {
        self.fewer(plan.ops, |wishes, ops| wishes.ops = Some(ops));
        let clients = |wishes: &mut Wishes, n| wishes.clients = u16::try_from(n).ok();
        self.fewer(u32::from(plan.clients), clients);
    }

    /// As few of something as will do: by halves, then by smaller steps where half is too much.
    fn fewer(&mut self, count: u32, set: impl Fn(&mut Wishes, u32)) {
        let (mut count, mut step) = (count, count / 2);
        while step > 0 {
            let mut wishes = self.best.clone();
            set(&mut wishes, count - step);
            if count > step && self.keeps(wishes) {
                count -= step;
                step = step.min(count / 2);
            } else {
                step /= 2;
            }
        }
    }
}

/// Shortens a life that breaks a rule, in at most `lives_max` lives.
///
/// # Errors
/// The life is clean, or makes no plan.
pub fn minimise(plan: &Plan, wishes: &Wishes, lives_max: u32) -> Result<Minimised, String> {
    let first = run(plan, false)?;
    let violation = first.violation.ok_or("the life is clean")?;
    let mut search = Search {
        seed: plan.seed,
        profile: plan.profile,
        rule: violation.rule,
        best: wishes.clone(),
        lives: 0,
        lives_max,
    };
    search.nodes(plan);
    if wishes.faults.is_none() {
        let planned = Plan::new(plan.seed, plan.profile, &search.best)?.faults.len();
        search.faults(planned);
    }
    search.still();
    search.ops(plan);
    let plan = Plan::new(plan.seed, plan.profile, &search.best)?;
    let verdict = run(&plan, true)?;
    Ok(Minimised { wishes: search.best, plan, verdict, lives: search.lives })
}
