//! Forms with a name: counts, weights and zones.

use alloc::format;
use alloc::vec::Vec;
use base::planted;

use super::Parser;
use super::bounds::{ITEMS_MAX, SIZE_MAX, WEIGHT_MAX, WEIGHT_SUM_MAX};
use super::once::once;
use super::shapes::{self, Rows};
use crate::error::ParseError;
use crate::expr::{Expr, Kind, Word};
use crate::token::Token;

const KNOWN: &str = "majority, weighted, zones, byzantine, masking, joint, dual, witness, grid, \
                     row, cover, column, cross, wall, wheel, triangle, tree, hqs, plane";
const WHOLE_SYSTEMS: [&str; 3] = ["flexible", "gifford", "two_threshold"];

impl Parser {
    /// `word(...)` or `word{...}`, the cursor after the word.
    pub(super) fn call(&mut self, column: usize, word: &str) -> Result<Expr, ParseError> {
        match word {
            "majority" => {
                let items = self.list()?;
                let count = items.len() as u32;
                let mut need = count / 2 + 1;
                if planted!(HalfIsEnough) {
                    need = count.div_ceil(2);
                }
                if planted!(FolkFormula) {
                    need = (count.div_ceil(2) + 1).min(count);
                }
                Ok(Expr::at_least(column, need, items))
            }
            "joint" => Ok(Expr::all(column, self.list()?)),
            "dual" => self.dual(column),
            "byzantine" => self.byzantine(column, 1),
            "masking" => self.byzantine(column, 2),
            "weighted" => self.weighted(column),
            _ if shapes::SHAPES.contains(&word) => {
                let rows = self.rows()?;
                let size: usize = rows.iter().flatten().map(Expr::size).sum();
                if size.saturating_mul(shapes::repeats(word, &rows)) > SIZE_MAX {
                    return Err(ParseError::new(column, "this is too large when written out"));
                }
                shapes::arrange(column, word, rows)
            }
            _ if WHOLE_SYSTEMS.contains(&word) => {
                let message = format!("`{word}` is a pair of families and stands alone");
                Err(ParseError::new(column, message))
            }
            _ => {
                let message = format!("`{word}` is not a form; known: {KNOWN}");
                Err(ParseError::new(column, message))
            }
        }
    }

    /// `(X, Y, ...)`.
    fn list(&mut self) -> Result<Vec<Expr>, ParseError> {
        self.open("(")?;
        let items = self.items()?;
        self.close(")")?;
        Ok(items)
    }

    /// `(N; X, Y, ...)`.
    pub(super) fn number_and_list(&mut self, what: &str) -> Result<(u32, Vec<Expr>), ParseError> {
        self.open("(")?;
        let number = self.number(what)?;
        self.expect(";")?;
        let items = self.items()?;
        self.close(")")?;
        Ok((number, items))
    }

    fn dual(&mut self, column: usize) -> Result<Expr, ParseError> {
        let mut items = self.list()?;
        if items.len() != 1 {
            return Err(ParseError::new(column, "the dual is of one family"));
        }
        Ok(items.remove(0).dual())
    }

    /// Any two quorums share `f + 1` members (`times` 1: data that proves itself) or `2f + 1`
    /// (`times` 2: faulty members may lie unseen). Malkhi, Reiter 1998, sections 3 and 4.
    fn byzantine(&mut self, column: usize, times: u32) -> Result<Expr, ParseError> {
        let (faults, items) = self.number_and_list("the number of faulty members")?;
        let count = items.len() as u32;
        let least = (times + 2).saturating_mul(faults).saturating_add(1);
        // 2f+1 is a quorum only at n = 3f+1.
        if count < least {
            let message = format!("{faults} faulty members need at least {least}");
            return Err(ParseError::new(column, format!("{message} members, not {count}")));
        }
        let need = (count + times * faults + 1).div_ceil(2);
        assert!(2 * need - count > times * faults, "any two share a member that does not lie");
        assert!(need <= count - faults, "those that do not lie are a quorum");
        Ok(Expr::at_least(column, need, items))
    }

    fn weighted(&mut self, column: usize) -> Result<Expr, ParseError> {
        self.open("{")?;
        let (items, total) = self.votes()?;
        self.close("}")?;
        let at = self.column();
        let need = if self.eat(">=") { self.number("a threshold")? } else { total / 2 + 1 };
        if need == 0 || need > total {
            let message = format!("the threshold is 1 to {total}, the sum of weights");
            return Err(ParseError::new(at, message));
        }
        Ok(Expr::new(column, Kind::Sum { need, items }))
    }

    /// `X:3, Y:1, ...` and the sum of the weights.
    pub(super) fn votes(&mut self) -> Result<(Vec<(Expr, u32)>, u32), ParseError> {
        let (mut seen, mut weights) = (Vec::new(), Vec::new());
        let mut total = 0u32;
        loop {
            let item = self.expr()?;
            once(&seen, &item)?;
            self.expect(":")?;
            let at = self.column();
            let weight = self.number("a weight")?;
            if !(1..=WEIGHT_MAX).contains(&weight) {
                let message = format!("a weight is 1 to {WEIGHT_MAX}");
                return Err(ParseError::new(at, message));
            }
            total += weight;
            seen.push(item);
            weights.push(weight);
            if !self.eat(",") {
                assert_eq!(seen.len(), weights.len(), "every item has a weight");
                assert!(total as usize >= seen.len(), "every weight counts");
                assert!(total <= WEIGHT_SUM_MAX, "few items of bounded weight");
                return Ok((seen.into_iter().zip(weights).collect(), total));
            }
        }
    }

    /// `zones (...)` or `zones K of (...)`, the cursor after `zones`.
    pub(super) fn zones(&mut self, column: usize) -> Result<Expr, ParseError> {
        let at = self.column();
        let word = match self.peek().clone() {
            Token::Word(word) => {
                self.advance();
                if !self.eat_word("of") {
                    return self.expected("`of`");
                }
                word
            }
            _ => "majority".into(),
        };
        self.open("(")?;
        let mut zones: Vec<Expr> = Vec::new();
        loop {
            let zone = self.zone()?;
            once(&zones, &zone)?;
            zones.push(zone);
            if !self.eat(",") {
                break;
            }
        }
        self.close(")")?;
        let need = self.need(at, &word, zones.len())?;
        let many = zones.len() > 1;
        let zones = Expr::at_least(column, need, zones);
        Ok(if many { zones.called(Word::Zones) } else { zones })
    }

    /// `label{item, ...}`: a majority of its items, which may be zones themselves.
    fn zone(&mut self) -> Result<Expr, ParseError> {
        let column = self.column();
        let (Token::Word(label) | Token::Quoted(label)) = self.peek().clone() else {
            return self.expected("a zone such as `eu{a, b, c}`");
        };
        self.advance();
        self.open("{")?;
        let mut items: Vec<Expr> = Vec::new();
        loop {
            let nested = *self.peek_after() == Token::Symbol("{") && !self.is_word("weighted");
            let item = if nested { self.zone()? } else { self.expr()? };
            once(&items, &item)?;
            items.push(item);
            if !self.eat(",") {
                break;
            }
        }
        self.close("}")?;
        let zone = Expr::at_least(column, items.len() as u32 / 2 + 1, items);
        Ok(zone.called(Word::Zone(label)))
    }

    /// `(a b c / d e f)`: rows apart by `/`, members by spaces or commas.
    fn rows(&mut self) -> Result<Rows, ParseError> {
        self.open("(")?;
        let mut rows: Rows = Vec::new();
        let mut row: Vec<Expr> = Vec::new();
        loop {
            let item = self.primary()?;
            once(&row, &item)?;
            rows.iter().try_for_each(|earlier| once(earlier, &item))?;
            row.push(item);
            let comma = self.eat(",");
            if !comma && self.eat("/") {
                rows.push(core::mem::take(&mut row));
                if rows.len() >= ITEMS_MAX {
                    let message = format!("more than {ITEMS_MAX} rows");
                    return Err(ParseError::new(self.column(), message));
                }
            } else if !comma && self.is_symbol(")") {
                rows.push(row);
                self.close(")")?;
                assert!(rows.iter().all(|row| !row.is_empty()), "an item stands before each `/`");
                return Ok(rows);
            }
        }
    }
}
