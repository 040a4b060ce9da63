//! Families drawn as rows, trees and planes, written out as gates.

use alloc::format;
use alloc::vec::Vec;

use crate::error::ParseError;
use crate::expr::{Expr, Word};

/// Items in rows.
pub(super) type Rows = Vec<Vec<Expr>>;

pub(super) const SHAPES: [&str; 11] = [
    "grid", "row", "cover", "column", "cross", "wall", "wheel", "triangle", "tree", "hqs", "plane",
];

/// Members, and a perfect difference set modulo their number (Singer 1938): every difference
/// but 0 occurs once, so any two shifts of the set share exactly one member.
const PLANES: [(usize, &[usize]); 5] = [
    (7, &[0, 1, 3]),
    (13, &[0, 1, 3, 9]),
    (21, &[0, 1, 4, 14, 16]),
    (31, &[0, 1, 3, 8, 12, 18]),
    (57, &[0, 1, 3, 13, 32, 36, 43, 52]),
];

/// How often an item may stand in what [`arrange`] makes, to bound its size beforehand.
pub(super) fn repeats(form: &str, rows: &Rows) -> usize {
    match form {
        "plane" => 10,
        // 256 items make 22 rows.
        "triangle" => 24,
        "tree" | "hqs" | "column" | "cross" => 4,
        _ => rows.len() + 1,
    }
}

/// The gates of a shape. Errors point at the row that does not fit.
pub(super) fn arrange(column: usize, form: &str, mut rows: Rows) -> Result<Expr, ParseError> {
    assert!(!rows.is_empty() && !rows[0].is_empty(), "the first row has the first item");
    match form {
        "row" => Ok(rows_of(column, &rows, "row")),
        "cover" => Ok(cover(column, &rows)),
        "grid" => {
            Ok(Expr::all(column, [rows_of(column, &rows, "row"), cover(column, &rows)].into()))
        }
        "column" => Ok(rows_of(column, &columns(rows)?, "column")),
        "cross" => {
            // Maekawa 1985: a full row and a full column.
            let row = rows_of(column, &rows, "row");
            Ok(Expr::all(column, [row, rows_of(column, &columns(rows)?, "column")].into()))
        }
        "wall" => Ok(wall(column, &rows)),
        "wheel" => {
            let mut rim = flat(rows);
            if rim.len() < 3 {
                return Err(ParseError::new(column, "a wheel is a hub and a rim of two or more"));
            }
            let hub = Vec::from([rim.remove(0)]);
            Ok(wall(column, &Vec::from([hub, rim])).called(Word::Wheel))
        }
        "triangle" => {
            rows = shaped(column, rows, form, "1, 2, 3, ..", |row| row + 1)?;
            Ok(wall(column, &rows))
        }
        "tree" => {
            rows = shaped(column, rows, form, "1, 2, 4, ..", |row| 1 << row.min(16))?;
            let tree = tree(column, &rows, 0, 0);
            Ok(if rows.len() > 1 { tree.called(Word::Tree) } else { tree })
        }
        "hqs" => hqs(column, rows),
        _ => plane(column, rows),
    }
}

fn flat(rows: Rows) -> Vec<Expr> {
    rows.into_iter().flatten().collect()
}

fn rows_of(column: usize, rows: &Rows, noun: &'static str) -> Expr {
    let any = Expr::any(column, rows.iter().map(|row| Expr::all(column, row.clone())).collect());
    if rows.len() > 1 { any.called(Word::Whole(noun)) } else { any }
}

fn cover(column: usize, rows: &Rows) -> Expr {
    let all = Expr::all(column, rows.iter().map(|row| Expr::any(column, row.clone())).collect());
    if rows.len() > 1 { all.called(Word::Each("row")) } else { all }
}

/// Rows to columns; rows must be of one length.
fn columns(rows: Rows) -> Result<Rows, ParseError> {
    let width = rows[0].len();
    if let Some(row) = rows.iter().find(|row| row.len() != width) {
        let message = format!("this row has {} items, the first has {width}", row.len());
        return Err(ParseError::new(row[0].column, message));
    }
    Ok((0..width).map(|at| rows.iter().map(|row| row[at].clone()).collect()).collect())
}

/// Crumbling wall (Peleg, Wool 1997): a full row and one of each row below it.
fn wall(column: usize, rows: &Rows) -> Expr {
    let from = |top: usize| {
        let mut parts = Vec::from([Expr::all(column, rows[top].clone())]);
        parts.extend(rows[top + 1..].iter().map(|row| Expr::any(column, row.clone())));
        Expr::all(column, parts)
    };
    let any = Expr::any(column, (0..rows.len()).map(from).collect());
    if rows.len() > 1 { any.called(Word::Wall) } else { any }
}

/// Rows of the lengths that `width` gives. One row alone may hold them all, in order.
fn shaped(
    column: usize,
    rows: Rows,
    form: &str,
    wanted: &str,
    width: fn(usize) -> usize,
) -> Result<Rows, ParseError> {
    if rows.len() > 1 {
        for (at, row) in rows.iter().enumerate() {
            if row.len() != width(at) {
                let message = format!("row {} of a {form} has {} items", at + 1, width(at));
                return Err(ParseError::new(row[0].column, message));
            }
        }
        return Ok(rows);
    }
    let mut items = flat(rows);
    let (count, mut out) = (items.len(), Rows::new());
    while !items.is_empty() {
        if items.len() < width(out.len()) {
            let message = format!("a {form} has rows of {wanted} items, which is not {count}");
            return Err(ParseError::new(column, message));
        }
        let rest = items.split_off(width(out.len()));
        out.push(core::mem::replace(&mut items, rest));
    }
    Ok(out)
}

/// Agrawal, El Abbadi 1991: the root and a quorum of one subtree, or a quorum of both.
fn tree(column: usize, rows: &Rows, depth: usize, at: usize) -> Expr {
    assert!(rows[depth].len() == 1 << depth && at < 1 << depth, "a level has twice as many");
    let root = rows[depth][at].clone();
    if depth + 1 == rows.len() {
        return root;
    }
    let below = [tree(column, rows, depth + 1, 2 * at), tree(column, rows, depth + 1, 2 * at + 1)];
    let [left, right] = below;
    Expr::at_least(column, 2, [root, left, right].into())
}

/// Hierarchical quorum consensus (Kumar 1991): two of three, of two of three, and so on.
fn hqs(column: usize, rows: Rows) -> Result<Expr, ParseError> {
    let mut items = flat(rows);
    let (count, mut groups) = (items.len(), 0);
    while items.len() > 1 {
        if !items.len().is_multiple_of(3) {
            let message = format!("hqs has 3, 9 or 27 items, not {count}");
            return Err(ParseError::new(column, message));
        }
        let triples = items.chunks(3).map(|triple| Expr::at_least(column, 2, triple.to_vec()));
        items = triples.collect();
        groups += 1;
    }
    let root = items.remove(0);
    Ok(if groups > 1 { root.called(Word::Groups) } else { root })
}

/// The lines of a finite projective plane (Maekawa 1985).
fn plane(column: usize, rows: Rows) -> Result<Expr, ParseError> {
    let items = flat(rows);
    let count = items.len();
    let Some((_, shifts)) = PLANES.iter().find(|(size, _)| *size == count) else {
        let message = format!("a plane has 7, 13, 21, 31 or 57 items, not {count}");
        return Err(ParseError::new(column, message));
    };
    let points = shifts.len();
    assert_eq!(points * (points - 1) + 1, count, "every difference but 0 occurs once");
    let line = |start: usize| {
        let points = shifts.iter().map(|shift| items[(start + shift) % count].clone());
        Expr::all(column, points.collect())
    };
    Ok(Expr::any(column, (0..count).map(line).collect()).called(Word::Whole("line")))
}
