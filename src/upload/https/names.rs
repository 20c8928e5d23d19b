//! From a name to addresses.

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::sync::Arc;
use std::net::ToSocketAddrs;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::line::{Route, target};
use super::{Hop, HttpsError};

/// Finds the addresses of the first hop: the proxy's if there is one, else the server's. In place, by the C library, without
/// a time limit of its own: a thread would be the price of one, and the upload child has a deadline from outside.
#[derive(Debug)]
pub(super) struct FirstHop {
    pub route: Arc<Route>,
}

impl Resolver for FirstHop {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let server = target(uri)?;
        let proxy = self.route.proxy_to(server.0);
        let (host, port) = proxy.map_or(server, |proxy| (proxy.host.as_str(), proxy.port));
        let hop = Hop { name: host.to_owned(), is_proxy: proxy.is_some() };
        let found = match (host, port).to_socket_addrs() {
            Ok(found) => found,
            Err(error) => return Err(HttpsError::NameNotFound { hop, cause: error.to_string() }.into()),
        };
        let mut addresses = self.empty();
        found.take(ADDRESSES_MAX).for_each(|address| addresses.push(address));
        if addresses.is_empty() {
            return Err(HttpsError::NameNotFound { hop, cause: "no address".to_owned() }.into());
        }
        Ok(addresses)
    }
}

/// What [`ResolvedSocketAddrs`] holds.
const ADDRESSES_MAX: usize = 16;
