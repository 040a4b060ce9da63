//! `quorate serve`: one member in the foreground until a signal.

use crate::{flags, log};
use front_etcd::Front;
use server::node::{End, Handle, Node, Phase, StartError};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until SIGTERM or SIGINT. Exit code 0 after an orderly stop, 1 after a failure or a second
/// signal, 2 for arguments that cannot be used.
pub fn run(args: &[String]) -> ExitCode {
    let parsed = match flags::parse(args, std::env::vars()) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("quorate serve: {error}\n(quorate serve --help lists the flags)");
            return ExitCode::from(2);
        }
    };
    if parsed.help {
        crate::out::put(format_args!("{}", flags::help()));
        return ExitCode::SUCCESS;
    }
    let level = match parsed.log_level() {
        Ok(level) => level,
        Err(error) => {
            eprintln!("quorate serve: {error}");
            return ExitCode::from(2);
        }
    };
    let (log, _printing) = log::printed(std::io::stderr());
    let dropped = log.error_counter();
    tracing_subscriber::fmt()
        .with_writer(log)
        .with_target(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .init();
    for warning in &parsed.warnings {
        tracing::warn!("{warning}");
    }
    let config = match parsed.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("quorate serve: {error}");
            return ExitCode::from(2);
        }
    };
    let handle = match Node::start(config, Front::service) {
        Ok(handle) => handle,
        Err(error) => {
            eprintln!("quorate serve: {error}");
            let unusable = matches!(error, StartError::Config(_));
            return if unusable { ExitCode::from(2) } else { ExitCode::FAILURE };
        }
    };
    let end = follow(handle);
    if dropped.dropped_lines() > 0 {
        let lines = dropped.dropped_lines();
        tracing::warn!("{lines} lines of this log were dropped: nobody read them in time");
    }
    match end {
        Ok(End::Stopped | End::Killed) => ExitCode::SUCCESS,
        Ok(End::Removed(text)) => {
            eprintln!("quorate serve: {text}; its data directory is of no more use");
            ExitCode::SUCCESS
        }
        Ok(End::Failed(text)) => {
            eprintln!("quorate serve: {text}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("quorate serve: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for readiness, a signal, or the member's own end.
fn follow(handle: Handle) -> std::io::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut phase = handle.phase();
    let client = handle.client_addr;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let life = async {
            let past_start = phase.wait_for(|phase| *phase != Phase::Starting).await;
            if past_start.is_ok_and(|phase| *phase == Phase::Ready) {
                eprintln!("ready to serve client requests on {client}");
            }
            // An error means the member's thread is gone, which is an end too.
            let _ = phase.wait_for(|phase| matches!(phase, Phase::Ended(_))).await;
        };
        tokio::select! {
            () = life => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("quorate serve: stopping");
        // Stopping waits for another leader and for clients to go elsewhere, `--stop-grace` at
        // most; who signals again does not want to wait. What is durable stays so, as after any
        // crash.
        let stopped = tokio::task::spawn_blocking(move || handle.stop());
        tokio::select! {
            end = stopped => end.map_err(std::io::Error::other),
            _ = terminate.recv() => impatient(),
            _ = interrupt.recv() => impatient(),
        }
    })
}

/// Ends the process at once.
fn impatient() -> ! {
    eprintln!("quorate serve: second signal, ending at once");
    std::process::exit(1);
}
