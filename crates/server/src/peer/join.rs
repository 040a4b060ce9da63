//! A newcomer asks the running members who it is. One question, one answer, one connection.

use super::frame::{self, Kind};
use super::limits;
use crate::config::{Config, ConfigError, Url, resolve};
use bytes::BytesMut;
use member::Born;
use member::join::{Ask, No, decode_answer};
use std::io::{self, Write as _};
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// How long a newcomer goes on asking while nobody knows it, or nobody answers.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

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
pub fn ask(config: &Config, addresses: &[String], birth: u64) -> Result<Born, ConfigError> {
    let asks: Vec<Ask> =
        spellings(config).into_iter().map(|peer_urls| Ask { peer_urls, birth }).collect();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut last = String::new();
        for (address, ask) in addresses.iter().flat_map(|at| asks.iter().map(move |ask| (at, ask)))
        {
            match ask_one(address, ask) {
                Ok(Ok(born)) => {
                    tracing::info!("{address} knows us as member {:x}", born.member.0);
                    return Ok(born);
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

fn ask_one(address: &str, ask: &Ask) -> io::Result<Result<Born, No>> {
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
