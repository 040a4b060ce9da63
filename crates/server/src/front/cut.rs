//! What ends a stream from outside: no leader for too long, a state proven wrong, the client's
//! deadline, or its connection: it has too many streams, or the member stops.

use super::engine::{Engine, Failure};
use super::refusal;
use crate::grpc::{Metadata, Status, exceeded};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// Election timeouts without a leader after which streams that want one are cut; etcd's number
/// (`api/v3rpc/interceptor.go`, `maxNoLeaderCnt`).
const LEADERLESS_TIMEOUTS_MAX: u32 = 3;

/// Tells streams of what ends them.
pub(super) struct Cuts {
    /// Counts the times there was no leader for too long.
    leaderless: watch::Sender<u64>,
    /// This member's state was proven to differ from a quorum's; that does not pass.
    diverged: watch::Sender<bool>,
}

impl Cuts {
    pub(super) fn new() -> Self {
        Self { leaderless: watch::Sender::new(0), diverged: watch::Sender::new(false) }
    }

    /// Looks once every election timeout, until the engine's owner drops the task.
    pub(super) async fn monitor(self: Rc<Self>, engine: Rc<dyn Engine>, election: Duration) {
        let mut leaderless = 0;
        loop {
            tokio::time::sleep(election).await;
            let status = engine.status();
            leaderless = if status.leader == 0 { leaderless + 1 } else { 0 };
            if leaderless >= LEADERLESS_TIMEOUTS_MAX {
                self.leaderless.send_modify(|cuts| *cuts += 1);
            }
            if status.is_out_of_service() {
                self.diverged.send_replace(true);
            }
        }
    }

    /// Resolves when a stream opened now with `metadata` must end, with the reason; `ended` is its
    /// connection's. To be called when the stream is opened.
    pub(super) fn cut(
        &self,
        metadata: Metadata,
        engine: Rc<dyn Engine>,
        ended: impl Future<Output = Status> + 'static,
    ) -> impl Future<Output = Status> + 'static {
        let mut cuts = self.leaderless.subscribe();
        let mut diverged = self.diverged.subscribe();
        async move {
            // A sender that is gone means that the server ends, which ends the stream.
            let leaderless = async {
                if !metadata.has_leader || cuts.changed().await.is_err() {
                    pending::<()>().await;
                }
            };
            let wrong = async {
                if diverged.wait_for(|diverged| *diverged).await.is_err() {
                    pending::<()>().await;
                }
            };
            let late = async {
                match metadata.deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = leaderless => refusal::status(Failure::NoLeader(engine.why())),
                () = wrong => refusal::status(Failure::Corrupt),
                () = late => exceeded(),
                status = ended => status,
            }
        }
    }
}
