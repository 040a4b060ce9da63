//! `quorate sim run --show`: the members, drawn again and again while the life goes on.

use sim::{Plan, Tracer, Verdict, World};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// Virtual time between two pictures.
const STEP_MS: u64 = 200;
/// Real time a picture stays, on a terminal.
const FRAME: Duration = Duration::from_millis(40);

/// Lives the plan slowly enough to be watched.
///
/// # Errors
/// A quorum system that is unsafe.
pub fn show(plan: &Plan) -> Result<Verdict, String> {
    let mut world = World::new(plan.clone(), Tracer::full())?;
    let terminal = std::io::stdout().is_terminal();
    let mut drawn = 0;
    while world.now < plan.life && world.violation().is_none() {
        let every = if terminal { STEP_MS } else { STEP_MS * 25 };
        world.wait(every.min((plan.life.0 - world.now.0) / 1_000_000 + 1));
        let lines = picture(&world);
        let mut out = std::io::stdout().lock();
        if terminal && drawn > 0 {
            let _ = write!(out, "\x1b[{drawn}A\x1b[J");
        }
        drawn = lines.len();
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
        if terminal {
            std::thread::sleep(FRAME);
        }
    }
    Ok(world.end())
}

fn picture(world: &World) -> Vec<String> {
    let (quorum, joint) = world.quorum();
    let to = joint.map_or(String::new(), |joint| format!(" to {joint}"));
    let mut lines = vec![format!("{:>7} ms  {quorum}{to}", world.now.0 / 1_000_000)];
    for node in 0..world.places() {
        let p = world.picture(node);
        let mark = if p.leads { '*' } else { ' ' };
        let bar = "#".repeat(usize::try_from(p.durable.0 % 40).unwrap_or(0));
        lines.push(format!(
            "{mark}{:<3} {:<14} {:<6} log {:<5} durable {:<5} commit {:<5} rev {:<5} {bar}",
            p.name,
            p.state.chars().take(14).collect::<String>(),
            p.ballot.to_string(),
            p.last.0,
            p.durable.0,
            p.commit.0,
            p.revision
        ));
    }
    lines.push(match world.acknowledged() {
        None => "  no leader".to_owned(),
        Some((last, acked, missing)) => {
            let names = |set: quorum::NodeSet| {
                let names: Vec<String> = set.iter().map(|slot| format!("n{}", slot + 1)).collect();
                names.join(" ")
            };
            if missing.is_empty() {
                format!("  entry {last}: on {}: a quorum", names(acked))
            } else {
                format!("  entry {last}: on {}; missing {}", names(acked), names(missing))
            }
        }
    });
    lines
}
