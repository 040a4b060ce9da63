//! URLs of peers, as they are compared and dialled.

use crate::config::Url;

/// In one spelling and order.
pub fn canonical(urls: &[String]) -> Vec<String> {
    let one = |url: &String| {
        Url::parse(url).map_or_else(|_| url.clone(), |url| url.canonical().to_string())
    };
    let mut urls: Vec<String> = urls.iter().map(one).collect();
    urls.sort();
    urls
}

/// `host:port` of each.
pub fn addresses(urls: &[String]) -> Vec<String> {
    urls.iter().filter_map(|url| Some(Url::parse(url).ok()?.authority())).collect()
}
