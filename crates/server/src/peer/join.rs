//! A newcomer asks the running members who it is. One question, one answer, one connection.

use super::frame::{self, Kind};
use super::hello::PROTOCOL;
use super::limits;
use crate::bootstrap::Bootstrap;
use crate::config::{Config, ConfigError, Url, resolve};
use base::NodeId;
use base::codec::{DecodeError, Get, Put};
use base::limits::URLS_MAX;
use bytes::BytesMut;
use cluster::Configuration;
use std::io::{self, Write as _};
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// How long a newcomer goes on asking while nobody knows it, or nobody answers.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

/// The question: whose peer URLs are these?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub peer_urls: Vec<String>,
    /// The birth of the directory that is to be made.
    pub birth: u64,
}

/// Why a newcomer is not told who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// Another member, or this one a little later, may know.
    NotYet(String),
    Never(String),
}

/// What a newcomer begins its life with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    pub cluster: u64,
    pub member: NodeId,
    /// The bootstrap configuration.
    pub config: Configuration,
}

impl Ask {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(PROTOCOL);
        out.put_u64(self.birth);
        out.put_u32(self.peer_urls.len() as u32);
        self.peer_urls.iter().for_each(|url| out.put_bytes(url.as_bytes()));
    }

    /// # Errors
    /// Bytes that are no question of this protocol version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        let protocol = get.u32()?;
        if protocol != PROTOCOL {
            let value = u64::from(protocol);
            return Err(DecodeError::Unknown { what: "protocol version", value });
        }
        let birth = get.u64()?;
        let count = get.u32()?;
        if count as usize > URLS_MAX {
            return Err(DecodeError::Invalid { what: "number of peer URLs" });
        }
        let urls = (0..count).map(|_| Ok(get.str()?.to_string()));
        let peer_urls = urls.collect::<Result<_, DecodeError>>()?;
        get.finish()?;
        Ok(Self { peer_urls, birth })
    }
}

/// The answer's payload.
pub fn encode_answer(answer: &Result<Introduction, No>, out: &mut Vec<u8>) {
    match answer {
        Ok(introduction) => {
            out.put_u8(1);
            out.put_u64(introduction.cluster);
            out.put_u64(introduction.member.0);
            out.put_bytes(&introduction.config.encode());
        }
        Err(no) => {
            let (kind, text) = match no {
                No::NotYet(text) => (2, text),
                No::Never(text) => (3, text),
            };
            out.put_u8(kind);
            out.put_bytes(text.as_bytes());
        }
    }
}

/// The inverse of [`encode_answer`].
pub fn decode_answer(bytes: &[u8]) -> Result<Result<Introduction, No>, DecodeError> {
    let mut get = Get::new(bytes);
    let answer = match get.u8()? {
        1 => Ok(Introduction {
            cluster: get.u64()?,
            member: NodeId(get.u64()?),
            config: Configuration::decode(get.bytes()?)?,
        }),
        2 => Err(No::NotYet(get.str()?.to_string())),
        3 => Err(No::Never(get.str()?.to_string())),
        n => return Err(DecodeError::Unknown { what: "answer", value: u64::from(n) }),
    };
    get.finish()?;
    Ok(answer)
}

/// Where the other members of `--initial-cluster` listen for peers.
///
/// # Errors
/// There are none.
pub fn others(config: &Config) -> Result<Vec<String>, ConfigError> {
    let said: Vec<Url> = config.advertise_peer_urls.iter().map(Url::canonical).collect();
    let own = |urls: &[Url]| urls.iter().any(|url| said.contains(&url.canonical()));
    let others = config.initial_cluster.iter();
    let others = others.filter(|m| m.name != config.name && !own(&m.peer_urls));
    let addresses: Vec<String> = others.flat_map(|m| &m.peer_urls).map(Url::authority).collect();
    if addresses.is_empty() {
        return Err(ConfigError(
            "--initial-cluster-state=existing: --initial-cluster must name the running members"
                .into(),
        ));
    }
    Ok(addresses)
}

/// How the cluster may have been told this member's peer URLs: as advertised, as its own entry of
/// `--initial-cluster` has them, and as the addresses behind their names.
fn spellings(config: &Config) -> Vec<Vec<String>> {
    let texts = |urls: &[Url]| {
        let mut texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    };
    let mut all = vec![texts(&config.advertise_peer_urls)];
    let own = config.initial_cluster.iter().find(|m| m.name == config.name);
    let lists = [Some(&config.advertise_peer_urls), own.map(|m| &m.peer_urls)];
    for urls in lists.into_iter().flatten() {
        let mut meant = urls.clone();
        for url in &mut meant {
            let mut found = resolve(url);
            found.sort_by_key(IpAddr::is_ipv6);
            url.host = match found.first() {
                Some(IpAddr::V6(ip)) => format!("[{ip}]"),
                Some(IpAddr::V4(ip)) => ip.to_string(),
                None => continue,
            };
        }
        all.extend([texts(urls), texts(&meant)]);
    }
    let mut known = std::collections::BTreeSet::new();
    all.retain(|list| known.insert(list.clone()));
    all
}

/// Asks the other members, at `addresses`, until one knows this one. Blocks.
///
/// # Errors
/// Nobody who knows it for [`PATIENCE`], or a refusal that stays one.
pub fn ask(config: &Config, addresses: &[String], birth: u64) -> Result<Bootstrap, ConfigError> {
    let asks: Vec<Ask> =
        spellings(config).into_iter().map(|peer_urls| Ask { peer_urls, birth }).collect();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut last = String::new();
        for (address, ask) in addresses.iter().flat_map(|at| asks.iter().map(move |ask| (at, ask)))
        {
            match ask_one(address, ask) {
                Ok(Ok(Introduction { cluster, member, config })) => {
                    tracing::info!("{address} knows us as member {:x}", member.0);
                    return Ok(Bootstrap { cluster, member, config });
                }
                Ok(Err(No::Never(text))) => return Err(ConfigError(text)),
                // The first spelling is the one to name.
                Ok(Err(No::NotYet(_))) if ask != &asks[0] => {}
                Ok(Err(No::NotYet(text))) => last = format!("{address}: {text}"),
                Err(error) if last.is_empty() => last = format!("{address}: {error}"),
                Err(_) => {}
            }
        }
        if Instant::now() >= until {
            return Err(ConfigError(format!("cannot join the cluster: {last}")));
        }
        std::thread::sleep(PAUSE);
    }
}

fn ask_one(address: &str, ask: &Ask) -> io::Result<Result<Introduction, No>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let connect = |addr| TcpStream::connect_timeout(&addr, limits::HANDSHAKE_MAX).ok();
    let stream = address.to_socket_addrs()?.find_map(connect);
    let mut stream = stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
    stream.set_read_timeout(Some(limits::HANDSHAKE_MAX))?;
    stream.set_write_timeout(Some(limits::HANDSHAKE_MAX))?;
    let mut out = Vec::new();
    frame::encode(Kind::Ask, &mut out, |out| ask.encode(out));
    stream.write_all(&out)?;
    match frame::read_blocking(&mut stream, &mut BytesMut::new())? {
        (Kind::Answer, body) => decode_answer(&body).map_err(|error| invalid(error.to_string())),
        (Kind::Refuse, body) => Err(invalid(String::from_utf8_lossy(&body).into_owned())),
        (kind, _) => Err(invalid(format!("unexpected {kind:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_and_answers_survive_their_encoding() {
        let ask = Ask { peer_urls: vec!["http://h:1".to_string()], birth: 9 };
        let mut bytes = Vec::new();
        ask.encode(&mut bytes);
        assert_eq!(Ask::decode(&bytes), Ok(ask));
        for answer in [Err(No::NotYet("a".into())), Err(No::Never("b".into()))] {
            let mut bytes = Vec::new();
            encode_answer(&answer, &mut bytes);
            assert_eq!(decode_answer(&bytes), Ok(answer));
        }
        assert!(decode_answer(b"\x09").is_err());
    }
}
