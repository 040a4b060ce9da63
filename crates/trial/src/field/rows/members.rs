//! What members say of each other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use client::method;

use crate::cluster::free_ports;
use crate::field::stage::{READY_MAX, Seen, Stage, until};

/// A log that has not grown for so long holds what members say of themselves.
const QUIET: Duration = Duration::from_millis(700);

/// B3: the client URLs of a member that is down outlive the others' restarts.
pub fn client_urls_of_the_dead(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let mut members = stage.running(3, &[])?;
    let urls = vec![members[2].client_url()];
    let client = stage.client(&members[0]);
    // A member publishes its URLs a moment after it serves; then nothing more is written.
    let mut last = (0, Instant::now());
    until("all client URLs are listed and written down", READY_MAX, || {
        let written = client.status()?.raft_index;
        if written != last.0 {
            last = (written, Instant::now());
        }
        let listed = client.members()?;
        let all = listed.iter().all(|member| !member.client_ur_ls.is_empty());
        Ok((all && last.1.elapsed() > QUIET).then_some(()))
    })?;
    members[2].kill();
    for at in [0, 1] {
        members[at].terminate()?;
        members[at].start_ready()?;
    }
    for at in [0, 1] {
        let listed = stage.client(&members[at]).members()?;
        let dead = listed.iter().find(|member| member.name == "c").context("c is not listed")?;
        seen.must(
            dead.client_ur_ls == urls,
            format!("{} lists c with {:?}", members[at].name, dead.client_ur_ls),
        );
    }
    seen.did("both restarted, c is down".to_owned());
    Ok(())
}

/// B13: what was added is what was asked for.
pub fn added_as_asked(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let members = stage.running(3, &[])?;
    let client = stage.client(&members[0]);
    sorted("at bootstrap", &client.members()?, seen);
    let url = format!("http://127.0.0.1:{}", free_ports(1)?[0]);
    let added = add(stage, &members[0], &url, false)?;
    let member = added.member.context("the answer names no member")?;
    seen.did(format!("a voter is answered is_learner={}", member.is_learner));
    seen.must(!member.is_learner, "a voter was asked for, a learner is answered");
    sorted("in the answer", &added.members, seen);
    sorted("after it", &client.members()?, seen);
    Ok(())
}

/// etcd refuses to add before every member has been connected for five seconds.
fn add(
    stage: &Stage,
    at: &crate::field::member::Member,
    url: &str,
    is_learner: bool,
) -> Result<pb::MemberAddResponse> {
    const SETTLED_MAX: Duration = Duration::from_secs(15);
    let client = stage.client(at);
    let request = pb::MemberAddRequest { peer_ur_ls: vec![url.to_owned()], is_learner };
    until("a member is added", SETTLED_MAX, || {
        let added = client.call::<pb::MemberAddResponse>(method::cluster::MEMBER_ADD, &request);
        match added {
            Ok(added) => Ok(Some(added)),
            Err(why) => {
                ensure!(why.to_string().contains("unhealthy"), "member add: {why}");
                Ok(None)
            }
        }
    })
}

fn sorted(when: &str, members: &[pb::Member], seen: &mut Seen) {
    let ids: Vec<_> = members.iter().map(|member| member.id).collect();
    let what = ids.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>().join(" ");
    seen.must(ids.is_sorted(), format!("the list {when} is not in the order of ids: {what}"));
}
