//! Addresses: how they are written, and which are the same.

use super::ConfigError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};

/// `http://host:port`: where to listen, or where to reach somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    pub host: String,
    pub port: u16,
}

impl Url {
    /// Accepts `http://host:port` and an optional trailing slash. Any other scheme is refused
    /// by name: quietly serving plain text for `https` would be a security hole.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let bad = |why: &str| ConfigError(format!("URL {text:?}: {why}"));
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(bad("TLS is not supported yet, use http"));
            }
            Some((scheme, _)) => return Err(bad(&format!("scheme {scheme:?} is not supported"))),
            None => return Err(bad("must look like http://host:port")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(bad("must have no path"));
        }
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
        let port = port.parse().map_err(|_| bad("the port is not a number up to 65535"))?;
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(bad("an IPv6 address stands in brackets"));
        }
        Ok(Self { host: host.to_string(), port })
    }

    /// `host:port`, ready for a resolver.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The address that the host spells, in any way; none for a name.
    pub fn ip(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let bare = bare.unwrap_or(&self.host);
        // A zone says through which interface, not which address.
        let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
        let ip = bare.parse::<IpAddr>().ok().or_else(|| old_ipv4(bare).map(IpAddr::V4))?;
        Some(ip.to_canonical())
    }

    /// Means every address of a machine: one can listen there, and nobody can be sent there.
    pub fn is_wildcard(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// One spelling for all of the same address or name.
    pub fn canonical(&self) -> Self {
        let zone = self.host.contains('%');
        let host = match self.ip().filter(|_| !zone) {
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            Some(IpAddr::V4(ip)) => ip.to_string(),
            None => self.host.to_ascii_lowercase(),
        };
        Self { host, port: self.port }
    }
}

/// The spellings of old that resolvers still take: `127.1`, `0`, `0x7f000001`.
fn old_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &str| -> Option<u32> {
        if let Some(hex) = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
            return u32::from_str_radix(hex, 16).ok();
        }
        let radix = if part.len() > 1 && part.starts_with('0') { 8 } else { 10 };
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        u32::from_str_radix(part, radix).ok().filter(|_| digits)
    };
    let (last, first) = parts.split_last().filter(|(_, first)| first.len() < 4)?;
    let mut address: u32 = 0;
    for (at, part) in first.iter().enumerate() {
        address |= number(part).filter(|n| *n < 256)? << (24 - 8 * at);
    }
    let last = number(last)?;
    let room = u32::MAX.checked_shr(8 * u32::try_from(first.len()).ok()?)?;
    (last <= room).then(|| Ipv4Addr::from(address | last))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// A comma-separated list of URLs, at least one.
///
/// # Errors
/// The part that is none, within the whole value.
pub fn parse_urls(text: &str) -> Result<Vec<Url>, ConfigError> {
    let urls = text.split(',').map(|part| Url::parse(part.trim()));
    urls.collect::<Result<_, _>>().map_err(|error| {
        if text.contains(',') { ConfigError(format!("{text:?}: {error}")) } else { error }
    })
}

/// The address that a host spells in full; one with a zone does not say on which interface.
fn spelled(url: &Url) -> Option<IpAddr> {
    url.ip().filter(|_| !url.host.contains('%'))
}

/// All addresses of a host. Blocks.
pub fn resolve(url: &Url) -> Vec<IpAddr> {
    if url.ip().is_some() {
        return spelled(url).into_iter().collect();
    }
    let found = url.authority().to_socket_addrs();
    found.map_or(Vec::new(), |all| all.map(|at| at.ip().to_canonical()).collect())
}

/// Whether two lists name the same places, in any order and spelling; names are looked up only
/// where the spelling alone does not tell (etcd's `netutil.URLStringsEqual`).
pub fn same_urls(a: &[Url], b: &[Url], mut lookup: impl FnMut(&Url) -> Vec<IpAddr>) -> bool {
    let sorted = |urls: &[Url]| {
        let mut urls: Vec<Url> = urls.iter().map(Url::canonical).collect();
        urls.sort_by(|a, b| (a.port, &a.host).cmp(&(b.port, &b.host)));
        urls
    };
    let (a, mut b) = (sorted(a), sorted(b));
    if a == b {
        return true;
    }
    // No name changes a port, and what an interface's zone is cannot be looked up.
    if !a.iter().map(|url| url.port).eq(b.iter().map(|url| url.port)) {
        return false;
    }
    a.iter().all(|one| {
        let mut of_one = None;
        let at = b.iter().position(|other| {
            let addresses: &Vec<IpAddr> = of_one.get_or_insert_with(|| lookup(one));
            one == other
                || (one.port == other.port && lookup(other).iter().any(|ip| addresses.contains(ip)))
        });
        at.map(|at| b.remove(at)).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn urls(text: &str) -> Vec<Url> {
        parse_urls(text).expect("URLs")
    }

    fn book(url: &Url) -> Vec<IpAddr> {
        match &url.host[..] {
            "host" => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
            _ => spelled(url).into_iter().collect(),
        }
    }

    #[test]
    fn one_address_in_different_spellings_is_one() {
        let same = [
            ("http://[0:0:0:0:0:0:0:1]:1", "http://[::1]:1"),
            ("http://[2001:DB8::0:1]:1", "http://[2001:db8:0::1]:1"),
            ("http://[::ffff:127.0.0.1]:1", "http://127.0.0.1:1"),
            ("http://127.1:1", "http://127.0.0.1:1"),
            ("http://Host:1", "http://hOST:1/"),
            ("http://host:1", "http://127.0.0.1:1"),
            ("http://[::1]:1", "http://host:1"),
            ("http://a:1,http://b:2", "http://b:2,http://a:1"),
            ("http://127.0.0.1:1,http://[::1]:2", "http://host:2,http://host:1"),
        ];
        for (a, b) in same {
            assert!(same_urls(&urls(a), &urls(b), book), "{a} is {b}");
        }
        let other = [
            ("http://host:1", "http://127.0.0.1:2"),
            ("http://host:1", "http://127.0.0.2:1"),
            ("http://host:1", "http://host:1,http://host:1"),
            ("http://a:1", "http://b:1"),
            ("http://[fe80::1%a]:1", "http://[fe80::1%b]:1"),
        ];
        for (a, b) in other {
            assert!(!same_urls(&urls(a), &urls(b), book), "{a} is not {b}");
        }
    }

    #[test]
    fn a_wildcard_is_one_in_any_spelling() {
        let hosts = ["0.0.0.0", "[::]", "[0::0]", "[::ffff:0.0.0.0]", "[0:0:0:0:0:0:0:0]", "0"];
        for host in hosts.into_iter().chain(["0.0", "0x0", "00.0.0.0", "[::%eth0]"]) {
            assert!(urls(&format!("http://{host}:1"))[0].is_wildcard(), "{host}");
        }
        for host in ["127.0.0.1", "[::1]", "zero", "0.0.0.1", "0.0.0.0.0", "1", "0.host"] {
            assert!(!urls(&format!("http://{host}:1"))[0].is_wildcard(), "{host}");
        }
    }

    #[test]
    fn a_bad_url_is_shown_within_the_whole_value() {
        let error = parse_urls("http://h:1,htp://i:2").expect_err("bad").0;
        assert!(error.contains("http://h:1,htp://i:2") && error.contains("\"htp\""), "{error}");
        assert!(Url::parse("http://::1:5").expect_err("bare").0.contains("brackets"));
    }

    #[test]
    fn https_is_refused_and_not_served_in_plain_text() {
        let error = Url::parse("https://h:1").expect_err("refused");
        assert!(error.0.contains("TLS"), "{error}");
        assert!(Url::parse("h:1").is_err());
        assert_eq!(Url::parse("http://h:1/").expect("parses").to_string(), "http://h:1");
    }
}
