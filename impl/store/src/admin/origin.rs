//! Rejects requests to the admin listener that a foreign web page has caused.
//!
//! A page of a foreign origin can make a browser on the operator's machine send requests to loopback. A page whose host
//! name later resolves to loopback (DNS rebinding) can even read the responses. A request that names a foreign origin
//! is therefore refused, as is a request for a host name that does not belong to this listener. Browsers send both
//! headers. Requests of tools that send neither are accepted.

use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderMap, ORIGIN};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The host names of the listener, in addition to `localhost` and IP addresses.
pub(super) type Names = Arc<[String]>;

/// Refuses a request that a foreign page may have caused.
pub(super) async fn check(State(names): State<Names>, request: Request, next: Next) -> Response {
    match refusal(request.uri(), request.headers(), &names) {
        None => next.run(request).await,
        Some((status, why)) => {
            tracing::warn!(%status, "a request to the admin listener was refused: {why}");
            (status, format!("{why}\n")).into_response()
        }
    }
}

fn refusal(uri: &Uri, headers: &HeaderMap, names: &[String]) -> Option<(StatusCode, &'static str)> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => hosts.next().map(|host| host.as_bytes()),
    };
    let is_own = |host: &[u8]| std::str::from_utf8(host).is_ok_and(|host| is_own(host, names));
    if headers.get_all(HOST).iter().count() > 1 || !host.is_none_or(is_own) {
        let why = "the Host header does not name this listener: use its address, or add the name to admin_hosts";
        return Some((StatusCode::MISDIRECTED_REQUEST, why));
    }
    let is_same = |origin: &[u8]| {
        let own = origin.strip_prefix(b"http://");
        own.is_some_and(|own| host.is_some_and(|host| own.eq_ignore_ascii_case(host)))
    };
    let mut origins = headers.get_all(ORIGIN).iter();
    if !origins.all(|origin| is_same(origin.as_bytes())) {
        let why = "the Origin header names another origin: pages of other origins may not use this listener";
        return Some((StatusCode::FORBIDDEN, why));
    }
    None
}

/// Returns whether a host, with or without a port, belongs to this listener.
fn is_own(host: &str, names: &[String]) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map(|(address, _)| address);
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn status(headers: &[(HeaderName, &str)]) -> Option<u16> {
        let names = ["store.example".to_owned()];
        let own = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a header")));
        let own: HeaderMap = own.fold(HeaderMap::new(), |mut all, (name, value)| {
            all.append(name, value);
            all
        });
        let refused = refusal(&Uri::from_static("/sessions"), &own, &names);
        refused.map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_addresses_and_configured_names_are_accepted_as_hosts() {
        for own in [
            "127.0.0.1:7421",
            "127.0.0.1",
            "[::1]:7421",
            "[::1]",
            "10.1.2.3:7421",
            "localhost:7421",
            "LOCALHOST",
            "localhost.:7421",
            "store.example:7421",
            "Store.Example.",
        ] {
            assert_eq!(status(&[(HOST, own)]), None, "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:7421",
            "127.0.0.1.evil.example",
            "localhost.evil.example:7421",
            "store.example.evil.example",
            "[evil]:7421",
            "[::1",
            "",
        ] {
            assert_eq!(status(&[(HOST, foreign)]), Some(421), "{foreign}");
        }
        assert_eq!(
            status(&[]),
            None,
            "a request without a host is accepted, because every browser sends one"
        );
        let two = [(HOST, "127.0.0.1"), (HOST, "evil.example")];
        assert_eq!(status(&two), Some(421));
    }

    #[test]
    fn only_the_host_itself_is_accepted_as_origin() {
        let from = |origin| status(&[(HOST, "127.0.0.1:7421"), (ORIGIN, origin)]);
        assert_eq!(from("http://127.0.0.1:7421"), None);
        for foreign in [
            "http://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:80",
            "https://127.0.0.1:7421",
            "http://127.0.0.1:7421.evil.example",
            "null",
            "",
        ] {
            assert_eq!(from(foreign), Some(403), "{foreign}");
        }
        assert_eq!(status(&[(ORIGIN, "http://127.0.0.1")]), Some(403));
    }
}
