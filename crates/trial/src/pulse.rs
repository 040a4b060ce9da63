//! `pulse`: what everybody else notices while one client asks the leader for much.
//!
//! Three members as processes. A put every 50 ms and a lease go through a follower, while a row
//! works at the leader; beside them a timer that asks nobody tells how late this machine is. Every
//! row has a cluster of its own, that was loaded and is quiet again. Rows are in [`rows`], bars in
//! [`verdict`]; see `docs/performance.md` for what the table means.

mod apart;
mod drain;
mod figures;
mod fill;
mod probe;
mod report;
mod rows;
mod stage;
mod table;
mod tally;
mod verdict;
mod vitals;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::{Program, cpu_of};
use apart::Readers;
use probe::Probe;
use report::{Line, apart_table, main_table, notes};
use rows::{QUIET, Row, Work, chosen};
use stage::{MEMBERS, Plan, Stage};
use table::Table;
use verdict::{Apart, Bars, MEMORY_BYTES_MAX, Measured, PUT_MAX, QUIET_FACTOR, ms};
use vitals::{CANCELLED_WINDOW, machine_busy, spent};

/// The probe runs alone for so long, which is also when the leader's idle use is measured.
const WARM_UP: Duration = Duration::from_secs(3);
/// Looked at after a row's work: what it left behind is part of it.
const TAIL: Duration = Duration::from_secs(1);

/// Who stands beside quorate.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Etcd,
    None,
}

/// Arguments of the trial.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Columns: `longest`, `p99`, `p99.9`: ms that puts through a follower took; `terms`: changes of
leader; `MiB`: peak memory of the leader above what it had before the row; `CPU after`: ms of CPU of
the leader from 100 to 600 ms after a cancel, idle use taken off; `control`: how late a timer of the
trial that asks nobody was at worst, in ms; `others`: cores that something else kept busy. A miss
that the control explains is called doubtful.

  cargo xtask pulse                          every row, quorate and etcd (half an hour)
  cargo xtask pulse --rows 1a,6 --peer none  two rows of quorate alone
  cargo xtask pulse --scale 0.1 --quiet-s 10 --row-s 3   while developing
  cargo xtask pulse --before old/quorate     an older build between the two
Exit code 1 when a row could not be set up; a missed bar is told in the table only.")]
pub struct Args {
    /// Rows to play, by name or number
    #[arg(long, value_delimiter = ',', value_name = "ROW,..")]
    rows: Vec<String>,
    /// Print what each row does, play nothing
    #[arg(long)]
    list: bool,
    /// An older build to play, too
    #[arg(long, value_name = "BINARY")]
    before: Option<PathBuf>,
    /// The other system to play
    #[arg(long, value_enum, default_value = "etcd")]
    peer: Peer,
    /// Share of the keys, watchers and requests of each row
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Seconds of the quiet run, the reference of the bars
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    quiet_s: u16,
    /// Least seconds of a row, whose work is begun again until then where it can be
    #[arg(long, default_value_t = 10)]
    row_s: u16,
    /// Print the tables as Markdown
    #[arg(long)]
    markdown: bool,
}

/// Plays the rows on every program and prints the tables.
///
/// # Errors
/// A binary is missing, a name that is no row, or a row that could not be set up.
pub fn run(quorate: &Path, args: &Args) -> Result<()> {
    let rows = chosen(&args.rows)?;
    if args.list {
        rows.iter().for_each(|row| println!("{:3} {}", row.name, row.what));
        return Ok(());
    }
    ensure!(args.scale > 0.0 && args.scale <= 1.0, "--scale: above 0, at most 1");
    let mut programs = vec![("quorate", Program::Quorate(quorate.to_owned()))];
    programs.extend(args.before.clone().map(|path| ("before", Program::Quorate(path))));
    programs.extend((args.peer == Peer::Etcd).then_some(("etcd", Program::Etcd)));
    for (name, program) in &programs {
        program.command().with_context(|| (*name).to_owned())?;
    }
    let plan = Plan {
        scale: args.scale,
        quiet: Duration::from_secs(args.quiet_s.into()),
        row: Duration::from_secs(args.row_s.into()),
    };
    let lines = play(&rows, &programs, plan)?;
    print(&lines, args)?;
    let failed: Vec<String> = lines
        .iter()
        .filter(|line| line.seen.is_err())
        .map(|line| format!("{} of {}", line.row, line.program))
        .collect();
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

/// The quiet run of every program, then each row on every program. Without its reference a
/// program cannot be judged: that ends the run.
fn play(rows: &[&Row], programs: &[(&str, Program)], plan: Plan) -> Result<Vec<Line>> {
    let (mut lines, mut bars) = (Vec::new(), Vec::new());
    for (name, program) in programs {
        eprintln!("quiet, {name}");
        let seen = measure(program, &QUIET, plan).with_context(|| format!("quiet run, {name}"))?;
        ensure!(
            seen.puts.failed == 0 && seen.puts.count > 0,
            "{name}: {} of {} puts of the quiet run failed: nothing to compare with",
            seen.puts.failed,
            seen.puts.count
        );
        bars.push(Bars { quiet_p999: seen.puts.p999 });
        let program = (*name).to_owned();
        note(&mut lines, Line { row: QUIET.name, program, bars: None, seen: Ok(seen) });
    }
    for row in rows {
        for ((name, program), bars) in programs.iter().zip(&bars) {
            eprintln!("{}, {name}: {}", row.name, row.what);
            let seen = measure(program, row, plan).map_err(|why| format!("{why:#}"));
            let (program, bars) = ((*name).to_owned(), Some(*bars));
            note(&mut lines, Line { row: row.name, program, bars, seen });
        }
    }
    Ok(lines)
}

/// Keeps a line, and shows it at once: a run is long, and may be stopped.
fn note(lines: &mut Vec<Line>, line: Line) {
    lines.push(line);
    let new = &lines[lines.len() - 1..];
    eprint!("{}", main_table(new).plain());
    let apart = apart_table(new);
    if !apart.is_empty() {
        eprint!("{}", apart.plain());
    }
    eprintln!("{}", notes(new).plain());
}

/// One row on one program.
fn measure(program: &Program, row: &Row, plan: Plan) -> Result<Measured> {
    let mut stage = Stage::start(program, plan)?;
    let known = (row.load)(&stage).context("load")?;
    stage.settle()?;
    let probe = Probe::start(&stage.follower())?;
    let readers = row.apart.then(|| Readers::start(&stage.cluster.endpoints())).transpose()?;
    let vitals = stage.vitals()?;
    let (idle_from, idle) = (Instant::now(), vitals.cpu()?);
    std::thread::sleep(WARM_UP);
    let idle = spent(&idle, &vitals.cpu()?)
        .mul_f64(CANCELLED_WINDOW.as_secs_f64() / idle_from.elapsed().as_secs_f64());
    let office = stage.office()?;
    let resident = vitals.resident_bytes()?;
    vitals.reset_peak()?;
    let busy = Busy::now(&stage)?;

    let from = Instant::now();
    // Whatever becomes of its own requests, what the others saw meanwhile is true.
    let work = (row.work)(&stage, known).unwrap_or_else(|why| {
        let note = format!("failed: {why:#}");
        Work { wrong: Some(note.clone()), note, ..Work::default() }
    });
    std::thread::sleep(TAIL);
    let until = Instant::now();

    let others_cores = busy.others_since(&stage)?;
    let peak = vitals.peak_bytes().context("the leader has ended")?;
    let terms = office.changes_until(stage.office()?);
    let reads = readers.map(|readers| readers.finish(stage.leader, from, until)).transpose()?;
    let seen = probe.finish(from, until)?;
    let apart = reads.zip(work.entry);
    Ok(Measured {
        puts: seen.puts,
        lease: seen.lease,
        terms,
        memory_bytes: peak.saturating_sub(resident),
        cancelled_cpu: work.cancelled_cpu.map(|used| used.saturating_sub(idle)),
        apart: apart.map(|((health, gets), (keys, took))| Apart { keys, took, health, gets }),
        control: seen.control,
        others_cores,
        note: work.note,
        wrong: work.wrong,
    })
}

/// What the machine, the members and this process had used at a moment.
struct Busy {
    at: Instant,
    machine: Duration,
    ours: Duration,
}

impl Busy {
    fn now(stage: &Stage) -> Result<Self> {
        let ours = stage.cluster.cpu_used()? + cpu_of("self")?;
        Ok(Self { at: Instant::now(), machine: machine_busy()?, ours })
    }

    /// Cores that were busy since with something else.
    fn others_since(&self, stage: &Stage) -> Result<f64> {
        let now = Self::now(stage)?;
        let machine = now.machine.saturating_sub(self.machine);
        let others = machine.saturating_sub(now.ours.saturating_sub(self.ours));
        Ok(others.as_secs_f64() / (now.at - self.at).as_secs_f64())
    }
}

fn print(lines: &[Line], args: &Args) -> Result<()> {
    let text = |table: Table| if args.markdown { table.markdown() } else { table.plain() };
    let cores = std::thread::available_parallelism()?;
    println!(
        "pulse: {MEMBERS} members, {cores} cores, scale {}; a put every {} ms and a lease of {} s \
         through a follower; fsync on",
        args.scale,
        probe::EVERY.as_millis(),
        verdict::LEASE_TTL.as_secs()
    );
    for line in lines {
        if let (None, Ok(seen)) = (&line.bars, &line.seen) {
            let bars = Bars { quiet_p999: seen.puts.p999 };
            println!(
                "{}: quiet p99.9 {} ms of {} puts; bar for a put {} ms ({QUIET_FACTOR} times, at \
                 most {}), memory +{} MiB",
                line.program,
                ms(seen.puts.p999),
                seen.puts.count,
                ms(bars.put_max()),
                PUT_MAX.as_millis(),
                MEMORY_BYTES_MAX >> 20
            );
        }
    }
    println!("\n{}", text(main_table(lines)));
    let apart = apart_table(lines);
    if !apart.is_empty() {
        println!("longest while one entry is applied, ms\n\n{}", text(apart));
    }
    println!("{}", text(notes(lines)));
    Ok(())
}
