//! One store, and what is done to it word by word.

use super::{parse, show};
use base::codec::Get;
use base::{ClusterTime, LogIndex};
use mvcc::{AlarmAction, AlarmKind, Command, KeyRange, Limits, Store, View};

pub struct Shell {
    store: Store,
    index: LogIndex,
    now: ClusterTime,
    kept: Option<View>,
}

impl Default for Shell {
    fn default() -> Self {
        let store = Store::new(Limits::default());
        Self { store, index: LogIndex::ZERO, now: ClusterTime::ZERO, kept: None }
    }
}

impl Shell {
    /// What one command answers.
    pub fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
        if let Some(command) = entry(words[0], &words[1..], rest) {
            return self.apply(&command);
        }
        match words[0] {
            "idle" => (0..parse::number(words[1])).for_each(|_| {
                self.index = self.index.next();
                self.store.advance(self.index, self.now);
            }),
            "fill" => {
                for n in 0..parse::number(words[2]) {
                    let key = format!("{}{n:04}", words[1]);
                    self.apply(&Command::Put(parse::put(&[&key, words[3]])));
                }
            }
            "time" => self.now.0 += parse::number(words[1]) as u64 * 1_000_000_000,
            "quota" | "ops-max" => {
                let mut limits = self.store.limits();
                match words[0] {
                    "quota" => limits.quota_bytes = parse::number(words[1]) as u64,
                    _ => limits.max_txn_ops = parse::number(words[1]) as usize,
                }
                let records = self.store.checkpoint_records();
                self.store = Store::restore(limits, records).expect("its own records");
            }
            "view" => self.kept = Some(self.store.view()),
            "old" => return look(self.kept.as_ref().expect("a view was kept"), rest, self.now),
            "restore" => self.restore(),
            "read-txn" => {
                let answer =
                    self.store.view().read_txn(&parse::txn(rest), self.store.limits().max_txn_ops);
                return answer.map_or_else(show::refusal, |answer| show::txn(&answer));
            }
            _ => return look(&self.store, line, self.now),
        }
        Vec::new()
    }

    /// As the log carries it: what is applied was decoded from its bytes.
    fn apply(&mut self, command: &Command) -> Vec<String> {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let mut get = Get::new(&bytes);
        let command = Command::decode(&mut get).expect("it was just encoded");
        get.finish().expect("all of it");
        self.index = self.index.next();
        let applied = self.store.apply(self.index, self.now, &command);
        applied.result.map_or_else(show::refusal, |answer| show::response(&answer))
    }

    /// A member that starts from a checkpoint goes on as if it had been there all the time.
    fn restore(&mut self) {
        let records = self.store.checkpoint_records().collect::<Vec<_>>();
        let restored = Store::restore(self.store.limits(), records).expect("its own checkpoint");
        let hashes = |store: &Store| (store.chain_hash(), store.content_hash());
        assert_eq!(hashes(&restored), hashes(&self.store));
        self.store = restored;
    }
}

/// The entry of the log that a line stands for, if it is one.
fn entry(word: &str, words: &[&str], rest: &str) -> Option<Command> {
    let number = |at: usize| parse::number(words[at]);
    Some(match word {
        "put" => Command::Put(parse::put(words)),
        "del" => Command::Delete(parse::delete(words)),
        "txn" => Command::Txn(parse::txn(rest)),
        "compact" => Command::Compact { revision: number(0) },
        "grant" => Command::LeaseGrant { id: number(0), ttl: number(1) },
        "revoke" => Command::LeaseRevoke { id: number(0), renewal: None },
        "expire" => Command::LeaseRevoke { id: number(0), renewal: Some(number(1) as u64) },
        "renew" => Command::LeaseRenew { ids: words.iter().map(|w| parse::number(w)).collect() },
        "alarm" => alarm(words),
        _ => return None,
    })
}

fn alarm(words: &[&str]) -> Command {
    let action = match words[0] {
        "get" => AlarmAction::Get,
        "arm" => AlarmAction::Activate,
        "disarm" => AlarmAction::Deactivate,
        other => panic!("alarm {other:?}?"),
    };
    let kind = match words[2] {
        "any" => AlarmKind::None,
        "no-space" => AlarmKind::NoSpace,
        "corrupt" => AlarmKind::Corrupt,
        other => panic!("alarm of kind {other:?}?"),
    };
    Command::Alarm { action, member: parse::number(words[1]) as u64, kind }
}

/// A read, which changes nothing and is no entry of the log.
fn look(view: &View, line: &str, now: ClusterTime) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[0] {
        "get" => {
            let answer = view.read(&parse::range(&words[1..]));
            answer.map_or_else(show::refusal, |answer| show::range(&answer))
        }
        "history" => history(view, &words[1..]),
        "ttl" => match view.lease_ttl(parse::number(words[1]), now) {
            None => vec!["not known".to_string()],
            Some(ttl) => {
                let keys = view.lease_keys_page(parse::number(words[1]), None, usize::MAX);
                let keys: Vec<String> = keys.iter().map(show::blob).collect();
                vec![format!(
                    "{} of {} s left, keys [{}]",
                    ttl.remaining,
                    ttl.granted,
                    keys.join(" ")
                )]
            }
        },
        "leases" => vec![format!("{:?}", view.leases_page(None, usize::MAX))],
        "due" => {
            let due = view.lease_expired(now, 100);
            due.iter().map(|(id, renewal)| format!("lease {id}, renewal {renewal}")).collect()
        }
        "hash-kv" => {
            let revision = words.get(1).map_or(0, |word| parse::number(word));
            let told = |hash: mvcc::HashKv| vec![format!("{hash:?}")];
            view.hash_kv(revision).map_or_else(show::refusal, told)
        }
        "status" => {
            let mut lines = vec![format!(
                "revision {}, compacted {}, {} bytes, entry {}",
                view.revision(),
                view.compact_revision(),
                view.size_bytes(),
                view.applied_index()
            )];
            lines.extend(view.alarms().iter().map(show::alarm));
            lines
        }
        other => panic!("what is {other:?}?"),
    }
}

/// What a watcher is sent, from a revision on.
fn history(view: &View, words: &[&str]) -> Vec<String> {
    let (mut end, mut max) = ("-", usize::MAX);
    for word in &words[2..] {
        match word.strip_prefix("max=") {
            Some(n) => max = parse::number(n) as usize,
            None => end = word,
        }
    }
    let range = KeyRange::new(parse::text(words[1]), parse::text(end));
    match view.history_page(parse::number(words[0]), &range, max, usize::MAX) {
        Err(error) => show::refusal(error),
        Ok(page) => {
            let wanted = |changes: &mvcc::Changes| {
                let events = changes.matching(&range).cloned().collect();
                show::changes(&mvcc::Changes { revision: changes.revision, events }, view)
            };
            let mut lines: Vec<String> =
                page.changes.iter().flat_map(|changes| wanted(changes)).collect();
            lines.push(format!("next {}", page.next));
            lines
        }
    }
}
