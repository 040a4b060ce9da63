//! The expression language. Text may come from a peer's configuration, so nothing here panics
//! on any input and nesting, size and the number of names are bounded.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::expr::{Expr, Kind};
use crate::family::DEPTH_MAX;
use crate::token::{Token, tokens};
use crate::{NODES_MAX, SystemSpec};

/// Longest text that is parsed.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Brackets inside brackets.
const BRACKETS_MAX: usize = 16;
/// Compiled depth of a text; two joins may still be put on top.
const TEXT_DEPTH_MAX: usize = DEPTH_MAX - 6;
/// Items of one gate, and rows of one grid.
const ITEMS_MAX: usize = 256;
/// Tree nodes a grid or wall may expand to; each level repeats its members.
const SIZE_MAX: usize = 16 * 1024;
const WEIGHT_MAX: u32 = 1_000_000;
/// Sum of weights of one gate; far from overflow, as counters are 32 bits.
const WEIGHT_SUM_MAX: u32 = 1_000_000_000;

/// What is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// In characters, from 1; one past the end when the text stops too early.
    pub column: usize,
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }

    /// The text with a caret below the column, and the message.
    pub fn caret(&self, text: &str) -> String {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{line}\n{:>width$}\n{self}", "^", width = self.column.min(u16::MAX as usize))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl core::error::Error for ParseError {}

impl Expr {
    /// Parses one family.
    ///
    /// | text | quorum |
    /// |---|---|
    /// | `a`, `node-1`, `"any text"` | that member |
    /// | `X and Y`, `X or Y`, `(X)` | both; either; `and` binds tighter |
    /// | `2 of (X, Y, Z)`, `all of (..)`, `any of (..)` | that many of the items |
    /// | `majority(X, Y, Z)` | floor(n/2)+1 of the items |
    /// | `byzantine(f; X, Y, ..)` | ceil((n+f+1)/2) of the items |
    /// | `weighted{a:3, b:1} >= 3` | weights reach 3; without `>=`, more than half |
    /// | `zones(eu{a,b,c}, us{d,e,f})` | a majority of zones, each by its own majority |
    /// | `zones 1 of (eu{a,b,c}, ..)` | that many zones; zones may hold zones |
    /// | `grid(a b c / d e f)` | one full row and one member of each row |
    /// | `row(a b / c d)`, `cover(a b / c d)` | one full row; one member of each row |
    /// | `wall(a / b c / d e f)` | a full row and one member of each row below it |
    /// | `joint(X, Y)` | a quorum of each |
    pub fn parse(text: &str) -> Result<Expr, ParseError> {
        let mut parser = Parser::new(text)?;
        let expr = parser.expr()?;
        parser.end()?;
        Ok(expr)
    }
}

impl SystemSpec {
    /// Parses `EXPR` (both roles) or `elect = EXPR; commit = EXPR` (either order).
    pub fn parse(text: &str) -> Result<SystemSpec, ParseError> {
        let mut parser = Parser::new(text)?;
        let roles = parser.starts_role();
        let (elect, commit) = if roles {
            parser.roles()?
        } else {
            let both = parser.expr()?;
            (both.clone(), both)
        };
        parser.end()?;
        let spec = SystemSpec { elect, commit };
        if let Some(extra) = spec.names().get(NODES_MAX) {
            let message = format!("`{extra}` is one name too many: a system has at most 64");
            return Err(ParseError::new(1, message));
        }
        Ok(spec)
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    brackets: usize,
}

/// Items and the column of the first character of their construct.
type Rows = Vec<Vec<Expr>>;

impl Parser {
    fn new(text: &str) -> Result<Self, ParseError> {
        Ok(Self { tokens: tokens(text)?, at: 0, brackets: 0 })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn peek_after(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    fn column(&self) -> usize {
        self.tokens[self.at].1
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(w) if **w == *word)
    }

    fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        let token = self.tokens.get(self.at + ahead);
        matches!(token, Some((Token::Word(w), _)) if **w == *word)
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(s) if *s == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let yes = self.is_symbol(symbol);
        if yes {
            self.advance();
        }
        yes
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let yes = self.is_word(word);
        if yes {
            self.advance();
        }
        yes
    }

    fn expected<T>(&self, what: &str) -> Result<T, ParseError> {
        Err(ParseError::new(self.column(), format!("expected {what}, found {}", self.peek())))
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.eat(symbol) { Ok(()) } else { self.expected(&format!("`{symbol}`")) }
    }

    fn open(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.brackets == BRACKETS_MAX {
            let message = format!("brackets nest deeper than {BRACKETS_MAX}");
            return Err(ParseError::new(self.column(), message));
        }
        self.expect(symbol)?;
        self.brackets += 1;
        Ok(())
    }

    fn close(&mut self, symbol: &str) -> Result<(), ParseError> {
        self.expect(symbol)?;
        self.brackets -= 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), ParseError> {
        if *self.peek() == Token::End { Ok(()) } else { self.expected("the end") }
    }

    fn starts_role(&self) -> bool {
        (self.is_word("elect") || self.is_word("commit"))
            && *self.peek_after() == Token::Symbol("=")
    }

    fn roles(&mut self) -> Result<(Expr, Expr), ParseError> {
        let (mut elect, mut commit) = (None, None);
        while self.starts_role() {
            let column = self.column();
            let (name, role) = match self.is_word("elect") {
                true => ("elect", &mut elect),
                false => ("commit", &mut commit),
            };
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

    fn expr(&mut self) -> Result<Expr, ParseError> {
        let column = self.column();
        let expr = self.chain("or")?;
        if expr.depth() > TEXT_DEPTH_MAX {
            return Err(ParseError::new(column, "this nests too deeply"));
        }
        Ok(expr)
    }

    fn chain(&mut self, word: &str) -> Result<Expr, ParseError> {
        let column = self.column();
        let mut items = Vec::new();
        loop {
            items.push(if word == "or" { self.chain("and")? } else { self.primary()? });
            if !self.eat_word(word) {
                break;
            }
        }
        Ok(if word == "or" { Expr::any(column, items) } else { Expr::all(column, items) })
    }

    fn primary(&mut self) -> Result<Expr, ParseError> {
        let column = self.column();
        let word = match self.peek().clone() {
            Token::Quoted(name) => {
                self.advance();
                return Ok(Expr { column, kind: Kind::Name(name) });
            }
            Token::Symbol("(") => {
                self.open("(")?;
                let inner = self.expr()?;
                self.close(")")?;
                return Ok(inner);
            }
            Token::Word(word) => word,
            _ => return self.expected("a name or `(`"),
        };
        if matches!(&*word, "and" | "or" | "of") {
            return self.expected("a name or `(`");
        }
        let then = self.peek_after().clone();
        let is_of = matches!(&then, Token::Word(w) if **w == *"of");
        let zones_of = matches!(&then, Token::Word(_)) && self.is_word_at(2, "of");
        let opens = matches!(then, Token::Symbol("(" | "{"));
        self.advance();
        match &*word {
            _ if is_of => self.threshold(column, &word),
            "zones" if opens || zones_of => self.zones(column),
            _ if opens => self.call(column, &word),
            _ => Ok(Expr { column, kind: Kind::Name(word) }),
        }
    }

    /// `K of (...)`, the cursor on `of`.
    fn threshold(&mut self, column: usize, word: &str) -> Result<Expr, ParseError> {
        self.advance();
        self.open("(")?;
        let items = self.items()?;
        self.close(")")?;
        let need = self.need(column, word, items.len())?;
        Ok(Expr::at_least(column, need, items))
    }

    /// `all`, `any`, `majority` or a number, checked against how many items there are.
    fn need(&self, column: usize, word: &str, count: usize) -> Result<u32, ParseError> {
        let count = count as u32;
        let need = match word {
            "all" => count,
            "any" => 1,
            "majority" => count / 2 + 1,
            _ => word.parse().map_err(|_| {
                ParseError::new(column, format!("`{word}` is not a number, `all` or `any`"))
            })?,
        };
        if need == 0 {
            return Err(ParseError::new(column, "0 would make the empty set a quorum"));
        }
        if need > count {
            let message = format!("{need} of {count} can never be reached");
            return Err(ParseError::new(column, message));
        }
        Ok(need)
    }

    fn call(&mut self, column: usize, word: &str) -> Result<Expr, ParseError> {
        match word {
            "majority" => {
                self.open("(")?;
                let items = self.items()?;
                self.close(")")?;
                Ok(Expr::at_least(column, items.len() as u32 / 2 + 1, items))
            }
            "joint" => {
                self.open("(")?;
                let items = self.items()?;
                self.close(")")?;
                Ok(Expr::all(column, items))
            }
            "byzantine" => self.byzantine(column),
            "weighted" => self.weighted(column),
            "grid" | "row" | "cover" | "wall" => {
                let rows = self.rows()?;
                let size: usize = rows.iter().flatten().map(Expr::size).sum();
                if size.saturating_mul(rows.len() + 1) > SIZE_MAX {
                    return Err(ParseError::new(column, "this is too large when written out"));
                }
                Ok(arrange(column, word, rows))
            }
            _ => {
                let known = "majority, joint, byzantine, weighted, zones, grid, row, cover, wall";
                let message = format!("`{word}` is not a form; known: {known}");
                Err(ParseError::new(column, message))
            }
        }
    }

    fn items(&mut self) -> Result<Vec<Expr>, ParseError> {
        let mut items: Vec<Expr> = Vec::new();
        loop {
            let item = self.expr()?;
            once(&items, &item)?;
            items.push(item);
            if !self.eat(",") {
                return Ok(items);
            }
        }
    }

    fn byzantine(&mut self, column: usize) -> Result<Expr, ParseError> {
        self.open("(")?;
        let faults = self.number("the number of faulty members")?;
        self.expect(";")?;
        let items = self.items()?;
        self.close(")")?;
        let count = items.len() as u32;
        // n >= 3f+1 (Lamport, Shostak, Pease 1982); 2f+1 is a quorum only at n = 3f+1.
        if faults > count || count < 3 * faults + 1 {
            let message = format!("{faults} faulty members need at least {}", 3 * faults + 1);
            return Err(ParseError::new(column, format!("{message} members, not {count}")));
        }
        Ok(Expr::at_least(column, (count + faults + 1).div_ceil(2), items))
    }

    fn number(&mut self, what: &str) -> Result<u32, ParseError> {
        let Token::Word(word) = self.peek() else { return self.expected(what) };
        match word.parse() {
            Ok(n) if n <= WEIGHT_SUM_MAX => {
                self.advance();
                Ok(n)
            }
            _ => self.expected(what),
        }
    }

    fn weighted(&mut self, column: usize) -> Result<Expr, ParseError> {
        self.open("{")?;
        let mut items: Vec<(Expr, u32)> = Vec::new();
        let mut total = 0u32;
        loop {
            let item = self.expr()?;
            if items.len() >= ITEMS_MAX {
                return Err(ParseError::new(item.column, format!("more than {ITEMS_MAX} items")));
            }
            if items.iter().any(|(seen, _)| *seen == item) {
                return Err(ParseError::new(item.column, format!("`{item}` appears twice")));
            }
            self.expect(":")?;
            let at = self.column();
            let weight = self.number("a weight")?;
            if weight == 0 || weight > WEIGHT_MAX || total + weight > WEIGHT_SUM_MAX {
                let message = format!("a weight is 1 to {WEIGHT_MAX}");
                return Err(ParseError::new(at, message));
            }
            total += weight;
            items.push((item, weight));
            if !self.eat(",") {
                break;
            }
        }
        self.close("}")?;
        let at = self.column();
        let need = if self.eat(">=") { self.number("a threshold")? } else { total / 2 + 1 };
        if need == 0 || need > total {
            let message = format!("the threshold is 1 to {total}, the sum of weights");
            return Err(ParseError::new(at, message));
        }
        Ok(Expr { column, kind: Kind::Sum { need, items } })
    }

    /// `zones (...)` or `zones K of (...)`, the cursor after `zones`.
    fn zones(&mut self, column: usize) -> Result<Expr, ParseError> {
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
        Ok(Expr::at_least(column, need, zones))
    }

    /// `label{item, ...}`: a majority of its items, which may be zones themselves.
    fn zone(&mut self) -> Result<Expr, ParseError> {
        let column = self.column();
        if !matches!(self.peek(), Token::Word(_) | Token::Quoted(_)) {
            return self.expected("a zone such as `eu{a, b, c}`");
        }
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
        Ok(Expr::at_least(column, items.len() as u32 / 2 + 1, items))
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
                if rows.len() >= ITEMS_MAX {
                    let message = format!("more than {ITEMS_MAX} rows");
                    return Err(ParseError::new(self.column(), message));
                }
                rows.push(core::mem::take(&mut row));
            } else if !comma && self.is_symbol(")") {
                rows.push(row);
                self.close(")")?;
                return Ok(rows);
            }
        }
    }
}

/// An item listed twice would count twice: always a slip, so it is refused.
fn once(seen: &[Expr], item: &Expr) -> Result<(), ParseError> {
    if seen.len() >= ITEMS_MAX {
        return Err(ParseError::new(item.column, format!("more than {ITEMS_MAX} items")));
    }
    if seen.contains(item) {
        return Err(ParseError::new(item.column, format!("`{item}` appears twice")));
    }
    Ok(())
}

fn arrange(column: usize, form: &str, rows: Rows) -> Expr {
    let full = |row: &Vec<Expr>| Expr::all(column, row.clone());
    let one = |row: &Vec<Expr>| Expr::any(column, row.clone());
    match form {
        "row" => Expr::any(column, rows.iter().map(full).collect()),
        "cover" => Expr::all(column, rows.iter().map(one).collect()),
        "grid" => {
            let row = Expr::any(column, rows.iter().map(full).collect());
            let cover = Expr::all(column, rows.iter().map(one).collect());
            Expr::all(column, [row, cover].into())
        }
        _ => {
            // Crumbling wall (Peleg, Wool 1997): a full row and one of each row below it.
            let wall = (0..rows.len()).map(|top| {
                let mut parts = Vec::from([full(&rows[top])]);
                parts.extend(rows[top + 1..].iter().map(one));
                Expr::all(column, parts)
            });
            Expr::any(column, wall.collect())
        }
    }
}

impl core::str::FromStr for Expr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}
