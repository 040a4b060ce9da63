//! The lines of a run, as its tables.

use super::table::Table;
use super::verdict::{Bars, Measured, mib, ms};

/// One row on one program, or why it was not measured.
pub struct Line {
    pub row: &'static str,
    pub program: String,
    /// Absent in the quiet run, which the bars come from.
    pub bars: Option<Bars>,
    pub seen: Result<Measured, String>,
}

impl Line {
    /// What to say of it in a word or more.
    pub fn verdict(&self) -> String {
        match (&self.seen, &self.bars) {
            (Err(_), _) => "NOT MEASURED".to_owned(),
            (Ok(_), None) => "reference".to_owned(),
            (Ok(seen), Some(bars)) => match bars.missed(seen) {
                missed if missed.is_empty() => "holds".to_owned(),
                missed => format!("MISSED: {}", missed.join("; ")),
            },
        }
    }
}

const HEAD: [&str; 13] = [
    "row",
    "program",
    "lease",
    "puts",
    "p99",
    "p99.9",
    "longest",
    "terms",
    "MiB",
    "CPU after",
    "control",
    "others",
    "verdict",
];

/// Everything that was measured of every row.
pub fn main_table(lines: &[Line]) -> Table {
    let mut table = Table::new(3, &HEAD);
    for line in lines {
        let mut cells = vec![line.row.to_owned(), line.program.clone()];
        match &line.seen {
            Ok(seen) => cells.extend([
                lease(seen),
                seen.puts.count.to_string(),
                ms(seen.puts.p99),
                ms(seen.puts.p999),
                ms(seen.puts.longest),
                format!("+{}", seen.terms),
                format!("+{}", mib(seen.memory_bytes)),
                seen.cancelled_cpu.map_or_else(|| "-".to_owned(), ms),
                ms(seen.control),
                format!("{:.2}", seen.others_cores),
            ]),
            Err(_) => cells.resize(HEAD.len() - 1, "-".to_owned()),
        }
        cells.push(line.verdict());
        table.push(cells);
    }
    table
}

fn lease(seen: &Measured) -> String {
    let word = if seen.lease.expired.is_some() { "lost" } else { "held" };
    format!("{word}, {} ms", seen.lease.unconfirmed.as_millis())
}

/// The rows where one long entry is applied: what else waits for it.
pub fn apart_table(lines: &[Line]) -> Table {
    let mut table = Table::new(
        2,
        &[
            "row",
            "program",
            "took",
            "put",
            "health leader",
            "others",
            "get leader",
            "others",
            "asked",
        ],
    );
    for line in lines {
        let Ok(seen) = &line.seen else { continue };
        let Some(apart) = &seen.apart else { continue };
        let (health, gets) = (apart.health, apart.gets);
        let series = [health.leader, health.others, gets.leader, gets.others];
        let mut cells = vec![line.row.to_owned(), line.program.clone(), ms(apart.took)];
        cells.push(ms(seen.puts.longest));
        cells.extend(series.map(|series| ms(series.longest)));
        let failed: usize = series.iter().map(|series| series.failed).sum();
        let asked: usize = series.iter().map(|series| series.count).sum();
        cells.push(format!("{asked}, {failed} failed"));
        table.push(cells);
    }
    table
}

/// What each row did, and why one was not measured.
pub fn notes(lines: &[Line]) -> Table {
    let mut table = Table::new(2, &["row", "program", "what was done"]);
    for line in lines {
        let text = match &line.seen {
            Ok(seen) => seen.note.clone(),
            Err(why) => format!("NOT MEASURED: {}", why.replace('\n', " / ")),
        };
        table.push(vec![line.row.to_owned(), line.program.clone(), text]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pulse::figures::Figures;
    use crate::pulse::verdict::{Apart, Lease, Reads};

    fn line(row: &'static str, bars: bool, seen: Result<Measured, String>) -> Line {
        let bars = bars.then_some(Bars { quiet_p999: Duration::from_millis(10) });
        Line { row, program: "quorate".to_owned(), bars, seen }
    }

    fn measured() -> Measured {
        let longest = Duration::from_micros(12_340);
        Measured {
            puts: Figures { count: 200, longest, ..Figures::default() },
            lease: Lease { expired: None, unconfirmed: Duration::from_millis(1_002) },
            terms: 0,
            memory_bytes: (3 << 20) - 1,
            cancelled_cpu: Some(Duration::from_millis(4)),
            apart: None,
            control: Duration::from_millis(1),
            others_cores: 0.25,
            note: "24 ranges".to_owned(),
            wrong: None,
        }
    }

    #[test]
    fn what_was_not_measured_has_no_numbers_but_its_reason() {
        let lines = [line("1a", true, Err("no\nleader".to_owned()))];
        let text = main_table(&lines).plain();
        assert!(text.ends_with("NOT MEASURED\n"), "{text}");
        let cells: Vec<&str> = text.lines().last().expect("a row").split_whitespace().collect();
        assert_eq!(cells[2..12], ["-"; 10]);
        assert!(notes(&lines).plain().contains("NOT MEASURED: no / leader"));
        assert!(apart_table(&lines).is_empty());
    }

    #[test]
    fn the_quiet_run_is_the_reference_and_any_other_row_is_judged() {
        let wrong = Measured { wrong: Some("2 of 8 failed".to_owned()), ..measured() };
        let lines = [
            line("quiet", false, Ok(measured())),
            line("6", true, Ok(measured())),
            line("2", true, Ok(wrong)),
        ];
        let verdicts: Vec<String> = lines.iter().map(Line::verdict).collect();
        assert_eq!(verdicts, ["reference", "holds", "MISSED: 2 of 8 failed"]);
        let text = main_table(&lines).plain();
        let row = text.lines().nth(2).expect("a row of text");
        let cells: Vec<&str> = row.split_whitespace().collect();
        let wanted = [
            "6", "quorate", "held,", "1002", "ms", "200", "0.0", "0.0", "12.3", "+0", "+3", "4.0",
            "1.0", "0.25", "holds",
        ];
        assert_eq!(cells, wanted);
    }

    #[test]
    fn a_row_with_a_long_entry_has_a_line_of_its_own() {
        let one = Figures { count: 10, failed: 1, ..Figures::default() };
        let reads = Reads { leader: one, others: one };
        let (keys, took) = (1_000, Duration::from_millis(250));
        let apart = Apart { keys, took, health: reads, gets: reads };
        let lines = [
            line("8", true, Ok(Measured { apart: Some(apart), ..measured() })),
            line("1a", true, Ok(measured())),
        ];
        let text = apart_table(&lines).plain();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("8    quorate   250  12.3"), "{text}");
        assert!(text.ends_with("40, 4 failed\n"), "{text}");
    }
}
