//! What ends a stream from outside: no leader for too long, or the client's deadline.

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

/// Tells streams when there has been no leader for too long.
pub(super) struct Leaderless {
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
}

impl Leaderless {
    pub(super) fn new() -> Self {
        Self { cuts: watch::Sender::new(0) }
    }

    /// Looks once every election timeout, until the engine's owner drops the task.
    pub(super) async fn monitor(self: Rc<Self>, engine: Rc<dyn Engine>, election: Duration) {
        let mut leaderless = 0;
        loop {
            tokio::time::sleep(election).await;
            leaderless = if engine.status().leader == 0 { leaderless + 1 } else { 0 };
            if leaderless >= LEADERLESS_TIMEOUTS_MAX {
                self.cuts.send_modify(|cuts| *cuts += 1);
            }
        }
    }

    /// Resolves when a stream opened now with `metadata` must end, with the reason. To be called
    /// when the stream is opened.
    pub(super) fn cut(
        &self,
        metadata: Metadata,
        engine: Rc<dyn Engine>,
    ) -> impl Future<Output = Status> + use<> {
        let mut cuts = self.cuts.subscribe();
        async move {
            let leaderless = async {
                // A sender that is gone means that the server ends, which ends the stream.
                if !metadata.has_leader || cuts.changed().await.is_err() {
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
                () = late => exceeded(),
            }
        }
    }
}
