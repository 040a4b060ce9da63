//! The expression language: operators, members and roles. Text may come from a peer's
//! configuration, so nothing here panics on any input and nesting, size and the number of names
//! are bounded.

use alloc::format;
use alloc::vec::Vec;

use crate::error::ParseError;
use crate::expr::{Expr, Kind};
use crate::token::{Token, tokens};
use crate::{NODES_MAX, SystemSpec};

mod bounds;
mod forms;
mod once;
mod roles;
mod shapes;

use bounds::{BRACKETS_MAX, TEXT_DEPTH_MAX, TEXT_SIZE_MAX, WEIGHT_SUM_MAX};
use once::once;

impl Expr {
    /// Parses one family. Members and items may be any of these texts again; rows and lists of
    /// the shapes below the line take spaces or commas.
    ///
    /// | text | quorum |
    /// |---|---|
    /// | `a`, `node-1`, `"any text"` | that member |
    /// | `witness(a)` | that member, which votes but keeps no data |
    /// | `X and Y`, `X or Y`, `(X)` | both; either; `and` binds tighter |
    /// | `2 of (X, Y, Z)`, `all of (..)`, `any of (..)` | that many of the items |
    /// | `majority(X, Y, Z)` | floor(n/2)+1 of the items |
    /// | `byzantine(f; X, Y, ..)` | ceil((n+f+1)/2) of the items: any two share f+1 |
    /// | `masking(f; X, Y, ..)` | ceil((n+2f+1)/2) of the items: any two share 2f+1 |
    /// | `weighted{a:3, b:1} >= 3` | weights reach 3; without `>=`, more than half |
    /// | `zones(eu{a,b,c}, us{d,e,f})` | a majority of zones, each by its own majority |
    /// | `zones 1 of (eu{a,b,c}, ..)` | that many zones; zones may hold zones |
    /// | `joint(X, Y)` | a quorum of each |
    /// | `dual(X)` | every set that meets every quorum of X |
    /// | ------ | |
    /// | `grid(a b c / d e f)` | one full row and one member of each row |
    /// | `row(a b / c d)`, `cover(a b / c d)` | one full row; one member of each row |
    /// | `column(a b / c d)`, `cross(a b / c d)` | one full column; a full row and column |
    /// | `wall(a / b c / d e f)` | a full row and one member of each row below it |
    /// | `wheel(hub, a, b, c)` | the hub and one of the rim, or the whole rim |
    /// | `triangle(a / b c / d e f)` | a wall with rows of 1, 2, 3, .. |
    /// | `tree(a / b c / d e f g)` | a path to a leaf; a lost node by both its subtrees |
    /// | `hqs(a b c / d e f / g h i)` | two of three, of two of three, .. |
    /// | `plane(a b c d e f g)` | a line of the projective plane of 7, 13, 21, 31 or 57 |
    ///
    /// # Errors
    /// The first thing that is no such text, with its column; one that is too long or too deep.
    pub fn parse(text: &str) -> Result<Expr, ParseError> {
        let mut parser = Parser::new(text)?;
        let expr = parser.expr()?;
        parser.end()?;
        Ok(expr)
    }
}

impl SystemSpec {
    /// Parses a pair of families.
    ///
    /// | text | elect | commit |
    /// |---|---|---|
    /// | `EXPR` | EXPR | EXPR |
    /// | `elect = EXPR; commit = EXPR` (either order) | the one | the other |
    /// | `flexible(k; a, b, ..)` | any n-k+1 | any k |
    /// | `gifford(r, w; a:2, b:1, ..)` | r votes | w votes |
    /// | `two_threshold(f; a, b, ..)` | any 2f+1 | any n-f, n >= 5f+1 |
    /// | ZooKeeper's `group.1=1:2:3`, `weight.1=2` | most groups by most weight | the same |
    ///
    /// # Errors
    /// As [`Expr::parse`]; more than 64 names.
    pub fn parse(text: &str) -> Result<SystemSpec, ParseError> {
        let mut parser = Parser::new(text)?;
        let (elect, commit) = parser.system()?;
        parser.end()?;
        assert_eq!(parser.brackets, 0, "a text closes what it opens");
        let spec = SystemSpec { elect, commit };
        if let Some(extra) = spec.names().get(NODES_MAX) {
            let message =
                format!("`{extra}` is one name too many: a system has at most {NODES_MAX}");
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

impl Parser {
    fn new(text: &str) -> Result<Self, ParseError> {
        let tokens = tokens(text)?;
        assert!(matches!(tokens.last(), Some((Token::End, _))), "a cursor never leaves the text");
        Ok(Self { tokens, at: 0, brackets: 0 })
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
        assert!(*self.peek() != Token::End, "only what was read is passed");
        self.at += 1;
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
        assert!(self.brackets > 0, "only what was opened is closed");
        self.expect(symbol)?;
        self.brackets -= 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), ParseError> {
        if *self.peek() == Token::End { Ok(()) } else { self.expected("the end") }
    }

    fn expr(&mut self) -> Result<Expr, ParseError> {
        let (column, brackets) = (self.column(), self.brackets);
        let expr = self.chain("or")?;
        assert_eq!(self.brackets, brackets, "an expression closes what it opens");
        if expr.depth() > TEXT_DEPTH_MAX {
            return Err(ParseError::new(column, "this nests too deeply"));
        }
        if expr.size() > TEXT_SIZE_MAX {
            return Err(ParseError::new(column, "this is too large when written out"));
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
                return Ok(Expr::new(column, Kind::Name(name)));
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
            "witness" if opens => self.witness(),
            _ if opens => self.call(column, &word),
            _ => Ok(Expr::new(column, Kind::Name(word))),
        }
    }

    /// `witness(NAME)`, the cursor after `witness`.
    fn witness(&mut self) -> Result<Expr, ParseError> {
        self.open("(")?;
        let column = self.column();
        let (Token::Word(name) | Token::Quoted(name)) = self.peek().clone() else {
            return self.expected("a name");
        };
        self.advance();
        self.close(")")?;
        Ok(Expr::new(column, Kind::Witness(name)))
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
        assert!((1..=count).contains(&need), "every threshold can be reached, none by nobody");
        Ok(need)
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
}
