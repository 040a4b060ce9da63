//! Pairs of families: roles, sugar for both at once, and ZooKeeper's lines.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::Parser;
use super::bounds::{ITEMS_MAX, WEIGHT_MAX};
use crate::error::ParseError;
use crate::expr::{Expr, Kind};
use crate::token::Token;

/// A server of a ZooKeeper line and its column.
type Server = (usize, Box<str>);
/// A group's column and its servers.
type Group = (usize, Vec<Server>);

/// What begins a line of a ZooKeeper configuration that says something about quorums.
const ZOOKEEPER: [&str; 3] = ["group.", "weight.", "server."];

/// Such lines.
#[derive(Default)]
struct Lines {
    groups: Vec<Group>,
    weights: Vec<(usize, Box<str>, u32)>,
    /// Those that vote.
    servers: Vec<Server>,
}

impl Parser {
    /// (elect, commit) of a whole text.
    pub(super) fn system(&mut self) -> Result<(Expr, Expr), ParseError> {
        if self.starts_role() {
            return self.roles();
        }
        if ZOOKEEPER.iter().any(|kind| self.starts_line(kind)) {
            let both = self.zookeeper()?;
            return Ok((both.clone(), both));
        }
        let column = self.column();
        let opens = *self.peek_after() == Token::Symbol("(");
        for form in ["flexible", "gifford", "two_threshold"] {
            if opens && self.is_word(form) {
                self.advance();
                return match form {
                    "flexible" => self.flexible(column),
                    "gifford" => self.gifford(column),
                    _ => self.two_threshold(column),
                };
            }
        }
        let both = self.expr()?;
        Ok((both.clone(), both))
    }

    fn starts_role(&self) -> bool {
        (self.is_word("elect") || self.is_word("commit"))
            && *self.peek_after() == Token::Symbol("=")
    }

    fn roles(&mut self) -> Result<(Expr, Expr), ParseError> {
        let (mut elect, mut commit) = (None, None);
        while self.starts_role() {
            let column = self.column();
            let (name, role) =
                if self.is_word("elect") { ("elect", &mut elect) } else { ("commit", &mut commit) };
            if role.is_some() {
                return Err(ParseError::new(column, format!("`{name}` is given twice")));
            }
            self.advance();
            self.expect("=")?;
            *role = Some(self.expr()?);
            if !self.eat(";") {
                break;
            }
        }
        match (elect, commit) {
            (Some(elect), Some(commit)) => Ok((elect, commit)),
            (None, _) => self.expected("`elect = ...`"),
            (_, None) => self.expected("`commit = ...`"),
        }
    }

    /// `(k; X, Y, ...)`: any k commit, any n-k+1 elect (Howard, Malkhi, Spiegelman 2016).
    fn flexible(&mut self, column: usize) -> Result<(Expr, Expr), ParseError> {
        let (commit, items) = self.number_and_list("the size of a commit set")?;
        let count = items.len() as u32;
        if commit == 0 || commit > count {
            let message = format!("a commit set of {count} has 1 to {count}, not {commit}");
            return Err(ParseError::new(column, message));
        }
        assert_eq!(items.len(), count as usize, "a text has few items");
        let elect = Expr::at_least(column, count - commit + 1, items.clone());
        Ok((elect, Expr::at_least(column, commit, items)))
    }

    /// `(r, w; X:2, Y:1, ...)`: reads hold r votes, writes w (Gifford 1979). Whether r + w and
    /// 2w pass the sum is not asked here: the check answers with two sets that miss each other.
    fn gifford(&mut self, column: usize) -> Result<(Expr, Expr), ParseError> {
        self.open("(")?;
        let read_at = self.column();
        let read = self.number("the votes of a read")?;
        self.expect(",")?;
        let write_at = self.column();
        let write = self.number("the votes of a write")?;
        self.expect(";")?;
        let (items, total) = self.votes()?;
        self.close(")")?;
        for (at, need) in [(read_at, read), (write_at, write)] {
            if need == 0 || need > total {
                let message = format!("the threshold is 1 to {total}, the sum of votes");
                return Err(ParseError::new(at, message));
            }
        }
        let sum = |need: u32| Expr::new(column, Kind::Sum { need, items: items.clone() });
        Ok((sum(read), sum(write)))
    }

    /// `(f; X, Y, ...)`: any 2f+1 move on, any n-f are final, n >= 5f+1 (one round of votes with
    /// Byzantine members, as Minimmit has it).
    fn two_threshold(&mut self, column: usize) -> Result<(Expr, Expr), ParseError> {
        let (faults, items) = self.number_and_list("the number of faulty members")?;
        let count = items.len() as u32;
        let least = faults.saturating_mul(5).saturating_add(1);
        if count < least {
            let message = format!("{faults} faulty members need at least {least}");
            return Err(ParseError::new(column, format!("{message} members, not {count}")));
        }
        let (moves_on, is_final) = (2 * faults + 1, count - faults);
        assert!(moves_on + is_final - count > faults, "they share one that does not lie");
        let elect = Expr::at_least(column, moves_on, items.clone());
        Ok((elect, Expr::at_least(column, is_final, items)))
    }

    fn starts_line(&self, prefix: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.starts_with(prefix))
            && *self.peek_after() == Token::Symbol("=")
    }

    /// ZooKeeper's hierarchical quorums: a majority of the groups that weigh anything, each by
    /// a majority of its weight; without groups a majority of the weight. A server without a
    /// weight weighs 1, one that weighs 0 or observes has no vote.
    fn zookeeper(&mut self) -> Result<Expr, ParseError> {
        let start = self.column();
        let mut lines = Lines::default();
        while self.zookeeper_line(&mut lines)? {}
        let Lines { mut groups, mut weights, servers } = lines;
        if groups.is_empty() {
            let weighed = || weights.iter().map(|(column, server, _)| (*column, server.clone()));
            let all = if servers.is_empty() { weighed().collect() } else { servers };
            groups.push((start, all));
        }
        for (column, server, _) in &weights {
            if !groups.iter().any(|(_, all)| all.iter().any(|(_, known)| known == server)) {
                return Err(ParseError::new(*column, format!("`{server}` is in no group")));
            }
        }
        let mut weight = |server: &str| {
            let at = weights.iter().position(|(_, other, _)| **other == *server);
            at.map_or(1, |at| weights.swap_remove(at).2)
        };
        let gates = groups.into_iter().filter_map(|(column, servers)| {
            let items = servers.into_iter().filter_map(|(column, server)| {
                let weight = weight(&server);
                (weight > 0).then_some((Expr::new(column, Kind::Name(server)), weight))
            });
            Expr::most_weight(column, items.collect())
        });
        let gates: Vec<Expr> = gates.collect();
        if gates.is_empty() {
            return Err(ParseError::new(start, "no group weighs anything"));
        }
        Ok(Expr::at_least(start, gates.len() as u32 / 2 + 1, gates))
    }

    /// One `KEY.N=..`; false when no more follows.
    fn zookeeper_line(&mut self, lines: &mut Lines) -> Result<bool, ParseError> {
        let column = self.column();
        let Token::Word(key) = self.peek().clone() else { return Ok(false) };
        let Some((kind, id)) =
            ZOOKEEPER.iter().find_map(|kind| Some((*kind, key.strip_prefix(kind)?)))
        else {
            return Ok(false);
        };
        self.advance();
        self.expect("=")?;
        let twice = |what: &str| ParseError::new(column, format!("{what} `{id}` is given twice"));
        if id.is_empty() {
            return Err(ParseError::new(column, "a number follows the dot"));
        }
        match kind {
            "group." => lines.groups.push((column, self.servers(&lines.groups)?)),
            "weight." => {
                if lines.weights.iter().any(|(_, other, _)| **other == *id) {
                    return Err(twice("the weight of"));
                }
                let at = self.column();
                let weight = self.number("a weight")?;
                if weight > WEIGHT_MAX {
                    return Err(ParseError::new(at, format!("a weight is 0 to {WEIGHT_MAX}")));
                }
                lines.weights.push((column, id.into(), weight));
            }
            _ => {
                if lines.servers.iter().any(|(_, other)| **other == *id) {
                    return Err(twice("server"));
                }
                // The address says one thing about quorums: whether the server votes.
                let mut votes = true;
                while *self.peek() != Token::End && !ZOOKEEPER.iter().any(|k| self.starts_line(k)) {
                    votes &= !self.is_word("observer");
                    self.advance();
                }
                if votes {
                    lines.servers.push((column, id.into()));
                }
            }
        }
        Ok(true)
    }

    /// `1:2:3`, with the column of each; a server is in one group.
    fn servers(&mut self, groups: &[Group]) -> Result<Vec<Server>, ParseError> {
        let mut servers: Vec<Server> = Vec::new();
        loop {
            let column = self.column();
            let Token::Word(server) = self.peek().clone() else {
                return self.expected("a server's number");
            };
            self.advance();
            let earlier = groups.iter().flat_map(|(_, all)| all).chain(&servers);
            if earlier.clone().any(|(_, other)| *other == server) {
                let message = format!("server `{server}` appears twice");
                return Err(ParseError::new(column, message));
            }
            if earlier.count() >= ITEMS_MAX {
                return Err(ParseError::new(column, "too many servers"));
            }
            servers.push((column, server));
            if !self.eat(":") {
                return Ok(servers);
            }
        }
    }
}
