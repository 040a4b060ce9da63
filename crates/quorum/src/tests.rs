//! Property tests against a naive definition, tables from the literature, and the language.

mod families;
mod language;
mod limits;
mod naive;
mod properties;
mod reports;
mod sets;
mod tables;
mod words;

use crate::{Family, Names, NodeSet, System, SystemSpec};

/// Compiles a text with names in order of appearance.
fn family(text: &str) -> Family {
    let expr = crate::Expr::parse(text).unwrap();
    Family::compile(&expr, &expr.infer_names()).unwrap()
}

fn system(text: &str) -> System {
    let spec = SystemSpec::parse(text).unwrap();
    spec.compile_unchecked(&spec.infer_names()).unwrap()
}

fn letters(count: usize) -> Names {
    Names::in_order("abcdefghijklmnopqrstuvwxyz".chars().take(count).map(String::from))
}

fn subsets(count: usize) -> impl Iterator<Item = NodeSet> {
    (0..1u64 << count).map(NodeSet::from_bits)
}

use std::prelude::rust_2024::*;
