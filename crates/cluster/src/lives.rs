//! Whose directory takes part (`docs/design/births.md`).

use crate::Configuration;
use base::{Life, NodeId};

impl Configuration {
    /// Whether `id` takes part with the directory of `life`.
    pub fn names(&self, id: NodeId, life: Life) -> bool {
        let named = self.life_of(id);
        named != Life::UNKNOWN && named.birth == life.birth
    }

    /// Writes down lives that are news: of members that have none yet if `unknown`, and later
    /// starts of the same directories. True when there were any.
    pub fn record(&mut self, lives: &[(NodeId, Life)], unknown: bool) -> bool {
        let mut news = false;
        for member in &mut self.members {
            let said = lives.iter().find(|(id, _)| *id == member.id);
            let Some((_, life)) = said.filter(|(_, life)| *life != Life::UNKNOWN) else { continue };
            let first = unknown && member.life == Life::UNKNOWN;
            // Of two starts of one number the one that was met first stays.
            let later = member.life.is_before(*life) && !life.is_before(member.life);
            let same = member.life.birth == life.birth;
            assert!(!later || same, "a later start is of the same directory");
            if first || later {
                member.life = *life;
                news = true;
            }
        }
        news
    }
}
