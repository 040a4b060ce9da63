//! Members come and go by etcd's calls, each asked for until the list of members shows it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use api::etcdserverpb as pb;
use client::{Channel, Failure, method};

use crate::cluster::Cluster;

/// How long a change may take while nothing hurts the cluster.
const CHANGE_MAX: Duration = Duration::from_secs(30);
const CALL_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What the list of members is to say of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Added,
    /// Added before, and no learner any more: members promote a newcomer by themselves.
    Votes,
    Removed,
}

impl Wanted {
    fn holds(self, member: Option<&pb::Member>) -> bool {
        match self {
            Self::Added => member.is_some(),
            Self::Votes => member.is_some_and(|member| !member.is_learner),
            Self::Removed => member.is_none(),
        }
    }
}

/// Asks those of `sound` in turn for a change of the member that its peers reach at `url`, until
/// the list shows it: an answer that was lost may have been a yes.
///
/// # Errors
/// It is not done in time: why the last call failed.
pub async fn until(wanted: Wanted, cluster: &Cluster, sound: &[usize], url: &str) -> Result<()> {
    let deadline = Instant::now() + CHANGE_MAX;
    let channels: Vec<_> = sound.iter().map(|&at| Channel::new(&cluster.endpoint(at))).collect();
    for channel in channels.iter().cycle() {
        let failed = match list(channel).await {
            Ok(members) => {
                let member = members.iter().find(|m| m.peer_ur_ls.iter().any(|u| u == url));
                if wanted.holds(member) {
                    return Ok(());
                }
                ask(wanted, channel, member, url).await.err()
            }
            Err(failure) => Some(failure),
        };
        ensure!(Instant::now() < deadline, "{url}, wanted {wanted:?}: {failed:?}");
        tokio::time::sleep(PAUSE).await;
    }
    bail!("nobody to ask")
}

async fn ask(
    wanted: Wanted,
    channel: &Channel,
    member: Option<&pb::Member>,
    url: &str,
) -> Result<(), Failure> {
    match wanted {
        Wanted::Added => {
            let (peer_ur_ls, is_learner) = (vec![url.to_owned()], false);
            let request = pb::MemberAddRequest { peer_ur_ls, is_learner };
            let answer: Result<pb::MemberAddResponse, _> =
                channel.call_within(CALL_MAX, method::cluster::MEMBER_ADD, &request).await;
            answer.map(drop)
        }
        Wanted::Removed => {
            let request = pb::MemberRemoveRequest { id: member.map_or(0, |member| member.id) };
            let answer: Result<pb::MemberRemoveResponse, _> =
                channel.call_within(CALL_MAX, method::cluster::MEMBER_REMOVE, &request).await;
            answer.map(drop)
        }
        Wanted::Votes => Ok(()),
    }
}

async fn list(channel: &Channel) -> Result<Vec<pb::Member>, Failure> {
    let request = pb::MemberListRequest { linearizable: true };
    let answer: pb::MemberListResponse =
        channel.call_within(CALL_MAX, method::cluster::MEMBER_LIST, &request).await?;
    Ok(answer.members)
}

/// Asks the member that leads to hand over to another one.
///
/// # Errors
/// One of the two does not answer, or refuses.
pub async fn hand_over(cluster: &Cluster, from: usize, to: usize) -> Result<()> {
    let heir = Channel::new(&cluster.endpoint(to));
    let request = pb::StatusRequest::default();
    let status: pb::StatusResponse =
        heir.call_within(CALL_MAX, method::maintenance::STATUS, &request).await?;
    let target_id = status.header.context("no header")?.member_id;
    let request = pb::MoveLeaderRequest { target_id };
    let leader = Channel::new(&cluster.endpoint(from));
    let _: pb::MoveLeaderResponse =
        leader.call_within(CALL_MAX, method::maintenance::MOVE_LEADER, &request).await?;
    Ok(())
}
