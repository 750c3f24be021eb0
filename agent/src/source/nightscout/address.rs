//! A site's address, which machine stands behind it, and whether that one may be asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;

use super::problem::Problem;
use crate::source::BadSetting;

/// A site's URL. It says whose site it is, so it prints without its content.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct SiteUrl(String);

impl fmt::Debug for SiteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteUrl(redacted)")
    }
}

/// A URL, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Whether it is asked over TLS.
    pub(super) secure: bool,
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the `Host` header has it.
    pub(super) authority: String,
    /// What stands before `/api`, without a slash at its end.
    base: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(redacted)")
    }
}

/// Scheme, host and port.
struct Origin {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
}

impl Origin {
    /// A URL's origin, and what follows it.
    fn split(url: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = url.split_once("://")?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = !host.is_empty() && (authority.starts_with('[') || host.bytes().all(is_of_name));
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => {
                if secure {
                    443
                } else {
                    80
                }
            }
            None => return None,
            Some(digits) => {
                digits.parse().ok().filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))?
            }
        };
        let is_good = is_host && path.bytes().all(is_of_path);
        is_good.then(|| (Self { secure, host: host.to_owned(), port, authority: authority.to_owned() }, path))
    }
}

/// Whether a path or a query may have that byte: a line's end or a space would begin something else.
fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

impl SiteUrl {
    /// Fails, without repeating it, on what is no plain address of a site.
    pub(super) fn address(&self) -> Result<Address, BadSetting> {
        let bad = |problem: &str| BadSetting::new("url", problem);
        if self.0.contains('@') {
            return Err(bad("has a user or a secret in it; put the secret into a file, see `api_secret_file`"));
        }
        if self.0.contains(['?', '#']) {
            return Err(bad(
                "has a query in it; put the token into a file, see `token_file`, and end the URL before `?`",
            ));
        }
        let wrong = || bad("is no address such as https://my-site.example");
        let (origin, path) = Origin::split(&self.0).ok_or_else(wrong)?;
        let base = path.trim_end_matches('/');
        // People copy what an uploader wants to have.
        let base =
            ["/api/v1", "/api/v2", "/api/v3", "/api"].iter().find_map(|end| base.strip_suffix(end)).unwrap_or(base);
        let Origin { secure, host, port, authority } = origin;
        Ok(Address { secure, host, port, authority, base: base.to_owned() })
    }
}

impl Address {
    /// The path and query of an endpoint such as `/api/v3/version`.
    pub(super) fn path(&self, endpoint: &str) -> String {
        format!("{}{endpoint}", self.base)
    }

    /// Where a redirect from here leads, as path and query, if that is here too.
    pub(super) fn redirected(&self, location: &str) -> Option<String> {
        if location.starts_with('/') && !location.starts_with("//") && location.bytes().all(is_of_path) {
            return Some(location.to_owned());
        }
        let (there, path) = Origin::split(location)?;
        let same_host = there.host.eq_ignore_ascii_case(&self.host);
        let is_here = same_host && there.secure == self.secure && there.port == self.port;
        is_here.then(|| if path.is_empty() { "/".to_owned() } else { path.to_owned() })
    }

    /// The machines behind the name. What is answered was checked, and is what is to be connected to: a name that means
    /// another machine a moment later changes nothing.
    pub(super) async fn resolve(&self, allow_private: bool) -> Result<Vec<SocketAddr>, Problem> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|error| Problem::Connect(error.to_string()))?.collect();
        if found.is_empty() {
            return Err(Problem::Connect("the name has no address".into()));
        }
        let may: Vec<SocketAddr> = found.into_iter().filter(|one| allow_private || is_public(one.ip())).collect();
        if may.is_empty() { Err(Problem::Private) } else { Ok(may) }
    }
}

/// Whether an address is one of the public Internet (IANA special-purpose address registries, RFC 6890).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, _, _) | (224.., _, _) => true, // this network, private, loopback; multicast, reserved, broadcast
        (100, 64..=127, _) => true,                   // shared by customers of one provider
        (169, 254, _) | (192, 168, _) | (172, 16..=31, _) => true,
        (192, 0, 0 | 2) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => true, // protocols, benchmarks, examples
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        (0, 0) if [c, d, e] == [0, 0, 0] && (f == 0xffff || f == 0) => f == 0xffff && v4(g, h), // loopback, mapped
        (0x64, 0xff9b) => [c, d, e, f] == [0, 0, 0, 0] && v4(g, h),                             // translated to IPv4
        (0x2002, _) => v4(b, c),                                                                // tunnelled in IPv4
        (0x2001, 0 | 0xdb8) => false,                                                           // tunnelled, examples
        _ => a & 0xe000 == 0x2000, // all that is given out as public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, BadSetting> {
        SiteUrl(url.into()).address()
    }

    #[test]
    fn a_site_is_taken_as_people_copy_it() {
        for url in ["https://a.example", "https://a.example/", "https://a.example/api/v1/", "https://a.example:443/api"]
        {
            let address = address(url).unwrap();
            assert_eq!((address.secure, address.host.as_str(), address.port), (true, "a.example", 443), "{url}");
            assert_eq!(address.path("/api/v3/version"), "/api/v3/version");
        }
        let here = address("http://[::1]:8080/ns/").unwrap();
        assert_eq!((here.secure, here.host.as_str(), here.port), (false, "::1", 8080));
        assert_eq!(here.path("/api/v1/x?y"), "/ns/api/v1/x?y");
        assert_eq!(here.authority, "[::1]:8080");
    }

    #[test]
    fn a_bad_url_is_refused_without_being_repeated() {
        for (url, says) in [
            ("a.example", "such as"),
            ("ftp://a.example", "such as"),
            ("https://", "such as"),
            ("https://a.example:0", "such as"),
            ("https://a.example:+1", "such as"),
            ("https://a.example:70000", "such as"),
            ("https://[::1", "such as"),
            ("https://[x]", "such as"),
            ("https://a.example/a b", "such as"),
            ("https://a.example\r\nx: y", "such as"),
            ("https://hidden@a.example/api/v1/", "api_secret_file"),
            ("https://a.example/?token=hidden", "token_file"),
        ] {
            let error = address(url).unwrap_err();
            assert!(error.field == "url" && error.problem.contains(says), "{url}: {error}");
            assert!(!error.problem.contains("hidden") && !error.problem.contains("a.example"), "{error}");
        }
        assert!(!format!("{:?}", SiteUrl("https://a.example".into())).contains("a.example"));
    }

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "169.253.1.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001:0:7f00:1::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn a_redirect_is_followed_to_the_same_place_only() {
        let here = address("https://a.example").unwrap();
        for (location, to) in [
            ("/b?c", Some("/b?c")),
            ("https://A.example/b", Some("/b")),
            ("https://a.example:443/b", Some("/b")),
            ("http://a.example/b", None),
            ("https://a.example:8443/b", None),
            ("https://b.example/b", None),
            ("//b.example/b", None),
            ("javascript:x", None),
            ("", None),
        ] {
            assert_eq!(here.redirected(location).as_deref(), to, "{location}");
        }
    }

    #[tokio::test]
    async fn a_name_that_means_this_machine_is_refused_unless_it_is_allowed() {
        let here = address("http://localhost:80").unwrap();
        assert_eq!(here.resolve(false).await, Err(Problem::Private));
        assert!(!here.resolve(true).await.unwrap().is_empty());
    }
}
