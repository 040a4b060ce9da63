//! `quorate member` and `quorate quorum set`: changes a running cluster, and follows the change.

use crate::out::say;
use anyhow::{Context as _, bail};
use api::quoratepb::{ChangeRequest, ChangeResponse, DescribeRequest};
use clap::{Args, Subcommand};
use client::{Channel, Failure, Outcome, authority};
use std::time::{Duration, Instant};

const CHANGE: &str = "/quoratepb.Cluster/Change";
const DESCRIBE: &str = "/quoratepb.Cluster/Describe";
const PAUSE: Duration = Duration::from_millis(200);
const CALL_MAX: Duration = Duration::from_secs(15);

/// Where the cluster is and how long to wait for it.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Members to ask, comma-separated; the first that answers is taken
    #[arg(long, default_value = "127.0.0.1:2379")]
    pub endpoints: String,
    /// Seconds to follow the change
    #[arg(long, default_value_t = 300)]
    pub wait: u64,
    /// Return as soon as the change is begun
    #[arg(long)]
    pub no_wait: bool,
}

/// Arguments of `quorate member`.
#[derive(Args, Clone, Debug)]
pub struct MemberArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Args, Clone, Debug)]
struct New {
    /// The new member's peer URLs, comma-separated
    #[arg(long)]
    peer_urls: String,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Members and the quorum in force
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Adds a member: it comes in as a learner and is promoted when it has caught up
    Add {
        name: String,
        #[command(flatten)]
        new: New,
        /// It stays a learner until it is promoted by hand
        #[arg(long)]
        learner: bool,
        /// The quorum the cluster is to have with it
        #[arg(long, default_value = "")]
        quorum: String,
        #[command(flatten)]
        target: Target,
    },
    /// Removes a member, by name or id
    Remove {
        member: String,
        #[arg(long, default_value = "")]
        quorum: String,
        #[command(flatten)]
        target: Target,
    },
    /// Makes a learner a voter, by name or id
    Promote {
        member: String,
        #[arg(long, default_value = "")]
        quorum: String,
        #[command(flatten)]
        target: Target,
    },
    /// Puts a new member in the place of an old one, in one step once the new one has caught up
    Replace {
        /// Name or id of the member that leaves
        old: String,
        /// Name of the new one
        name: String,
        #[command(flatten)]
        new: New,
        #[arg(long, default_value = "")]
        quorum: String,
        #[command(flatten)]
        target: Target,
    },
}

struct Session {
    channel: Channel,
    target: Target,
}

/// `quorate member ...`.
pub fn run(args: MemberArgs) -> anyhow::Result<()> {
    on_runtime(async {
        match args.what {
            What::List { target } => {
                let session = Session::open(target).await?;
                crate::out::put(format_args!("{}", table(&session.describe().await?)));
                Ok(())
            }
            What::Add { name, new, learner, quorum, target } => {
                let peer_urls = split(&new.peer_urls);
                let request = ChangeRequest { kind: 1, name, peer_urls, learner, quorum, id: 0 };
                Session::open(target).await?.change(request).await
            }
            What::Remove { member, quorum, target } => by_name(2, &member, quorum, target).await,
            What::Promote { member, quorum, target } => by_name(3, &member, quorum, target).await,
            What::Replace { old, name, new, quorum, target } => {
                let session = Session::open(target).await?;
                let id = session.id_of(&old).await?;
                let peer_urls = split(&new.peer_urls);
                let request =
                    ChangeRequest { kind: 4, id, name, peer_urls, quorum, learner: false };
                session.change(request).await
            }
        }
    })
}

/// `quorate quorum set EXPR`.
pub fn set_quorum(expr: String, target: Target) -> anyhow::Result<()> {
    on_runtime(async {
        let request = ChangeRequest { kind: 5, quorum: expr, ..ChangeRequest::default() };
        Session::open(target).await?.change(request).await
    })
}

/// Runs calls of one command.
pub fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

async fn by_name(kind: i32, member: &str, quorum: String, target: Target) -> anyhow::Result<()> {
    let session = Session::open(target).await?;
    let id = session.id_of(member).await?;
    session.change(ChangeRequest { kind, id, quorum, ..ChangeRequest::default() }).await
}

fn split(urls: &str) -> Vec<String> {
    urls.split(',').map(|url| url.trim().to_string()).collect()
}

fn said(failure: &Failure) -> String {
    match failure {
        Failure::Status(status) => status.text.to_string(),
        other => other.to_string(),
    }
}

/// A change that got no answer may be done, or be done yet: only a refusal is called one.
fn told(failure: &Failure) -> String {
    match failure.outcome() {
        Outcome::NotApplied => format!("refused: {}", said(failure)),
        _ => format!(
            "unknown: {}: the change may be done, or be done yet; look with `quorate member list` \
             before asking again",
            said(failure)
        ),
    }
}

impl Session {
    async fn open(target: Target) -> anyhow::Result<Self> {
        let mut last = String::new();
        for endpoint in target.endpoints.split(',') {
            let address = authority(endpoint.trim()).map_err(anyhow::Error::msg)?;
            let channel = Channel::new(&address);
            match tokio::time::timeout(Duration::from_secs(5), channel.connect()).await {
                Ok(Ok(())) => return Ok(Self { channel, target }),
                Ok(Err(failure)) => last = format!("{endpoint}: {failure}"),
                Err(_) => last = format!("{endpoint}: no connection within 5 s"),
            }
        }
        bail!("no member answers: {last}")
    }

    async fn describe(&self) -> anyhow::Result<ChangeResponse> {
        let answer = self.channel.call_within(CALL_MAX, DESCRIBE, &DescribeRequest {}).await;
        answer.map_err(|failure| anyhow::anyhow!("{}", said(&failure)))
    }

    /// A name or a hexadecimal id.
    async fn id_of(&self, text: &str) -> anyhow::Result<u64> {
        let state = self.describe().await?;
        let by_name = state.members.iter().find(|m| m.name == text);
        let id = by_name.map(|m| m.id).or_else(|| u64::from_str_radix(text, 16).ok());
        let names: Vec<&str> = state.members.iter().map(|m| m.name.as_str()).collect();
        id.with_context(|| format!("no member is called {text:?}; there are {}", names.join(", ")))
    }

    /// Asks for the change and follows it to its end.
    async fn change(&self, request: ChangeRequest) -> anyhow::Result<()> {
        let answer = self.channel.call_within(CALL_MAX, CHANGE, &request).await;
        let state: ChangeResponse =
            answer.map_err(|failure| anyhow::anyhow!("{}", told(&failure)))?;
        let waits = !request.learner && matches!(request.kind, 1 | 4);
        if !waits {
            crate::out::put(format_args!("{}", table(&state)));
            return Ok(());
        }
        let (id, urls) = (state.id, request.peer_urls.join(","));
        say!("member {} ({id:x}) is in as a learner; start it with", request.name);
        let initial: Vec<String> = state
            .members
            .iter()
            .filter(|m| !m.name.is_empty())
            .flat_map(|m| m.peer_ur_ls.iter().map(|url| format!("{}={url}", m.name)))
            .collect();
        say!(
            "  quorate serve --name {} --initial-cluster-state existing \\\n    \
             --listen-peer-urls {urls} --initial-advertise-peer-urls {urls} \\\n    \
             --initial-cluster {}\n\
             (and its own --data-dir, --listen-client-urls and --advertise-client-urls)",
            request.name,
            initial.join(",")
        );
        if self.target.no_wait {
            return Ok(());
        }
        self.follow(id).await
    }

    async fn follow(&self, id: u64) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(self.target.wait);
        let mut last = String::new();
        while Instant::now() < until {
            let state = self.describe().await?;
            let member = state.members.iter().find(|m| m.id == id);
            let member = member.context("it was called off: the member was removed")?;
            let stage = match (member.is_learner, state.joint.is_empty()) {
                (true, _) if member.client_ur_ls.is_empty() => "waiting for it to start".into(),
                (true, _) => "catching up".to_string(),
                (false, false) => format!("both decide: {} and {}", state.quorum, state.joint),
                (false, true) => {
                    crate::out::put(format_args!("{}", table(&state)));
                    return Ok(());
                }
            };
            if stage != last {
                say!("{stage}");
                last = stage;
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("not done after {} s ({last}); it goes on by itself", self.target.wait)
    }
}

fn table(state: &ChangeResponse) -> String {
    let mut text = String::new();
    for m in &state.members {
        let role = if m.is_learner { "learner" } else { "voter" };
        let name = if m.name.is_empty() { "(not started)" } else { &m.name };
        let (peers, clients) = (m.peer_ur_ls.join(","), m.client_ur_ls.join(","));
        text += &format!("{:016x}  {name:<16} {role:<8} {peers}  {clients}\n", m.id);
    }
    text += &format!("quorum: {}\n", state.quorum);
    if !state.joint.is_empty() {
        text += &format!("moving to: {}\n", state.joint);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Status;

    #[test]
    fn only_a_change_that_is_not_applied_is_called_refused() {
        let status = |outcome: &str| {
            let details = vec![("outcome".to_string(), outcome.to_string())];
            Failure::Status(Status { code: 14, text: "why".into(), details })
        };
        assert_eq!(told(&status("not-applied")), "refused: why");
        for failure in [status("unknown"), Failure::Timeout, Failure::Broken("cut".into())] {
            assert!(told(&failure).starts_with("unknown: "), "{failure:?}");
        }
    }
}
