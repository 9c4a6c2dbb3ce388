//! Which addresses count as public, and that nothing else is connected to.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::str::FromStr;

use super::*;

/// Resolves every name to one address.
struct To(IpAddr);

impl Resolve for To {
    fn resolve(&self, _: Name) -> Resolving {
        let found = SocketAddr::new(self.0, 0);
        Box::pin(async move { Ok(Box::new(std::iter::once(found)) as Addrs) })
    }
}

/// Two listeners at one port: the first, at 127.0.0.2, has its queue full and leaves new connections without an answer.
fn silent_and_open() -> (TcpListener, Vec<TcpStream>, TcpListener) {
    loop {
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap().into_std().unwrap();
        let address = silent.local_addr().unwrap();
        let Ok(open) = TcpListener::bind(("127.0.0.1", address.port())) else {
            continue;
        };
        open.set_nonblocking(true).unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue = std::iter::from_fn(connect).collect();
        return (silent, queue, open);
    }
}

/// A name whose first lookup is public may lead to the network's own hosts in the next one.
#[tokio::test]
async fn a_connection_that_takes_too_long_is_not_looked_into_at_hosts_that_are_not_public() {
    let (silent, _queue, open) = silent_and_open();
    let port = silent.local_addr().unwrap().port();
    let url = Url::parse(&format!("http://localhost:{port}/a.json")).unwrap();
    let options = ClientOptions {
        proxy: Proxy::None,
        connect_timeout: Duration::from_millis(200),
        ..ClientOptions::default()
    };
    let to_silent = Arc::new(To("127.0.0.2".parse().unwrap()));
    let client = options.build_resolving(to_silent).unwrap();
    for allow_private in [false, true] {
        let fetch = PublicFetch {
            allow_private,
            ..PublicFetch::default()
        };
        let error = fetch.send(&client, &url).await.unwrap_err();
        let text = format!("Get \"{url}\": dial tcp localhost:{port}: i/o timeout");
        assert_eq!(error.to_string(), text, "{allow_private}");
        let asked = open.accept().map_err(|error| error.kind());
        match asked {
            Ok(_) => assert!(allow_private),
            Err(kind) => assert!(!allow_private && kind == ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn private_addresses_are_not_public() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.0.1",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2002:808:808::1",
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
    ] {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

#[tokio::test]
async fn link_local_addresses_are_out_of_reach() {
    for (address, refused) in [
        ("169.254.169.254", true),
        ("[fe80::1]", true),
        ("[fd00:ec2::254]", true),
        ("[::ffff:169.254.169.254]", true),
        ("0.0.0.0", true),
        ("224.0.0.1", true),
        ("10.0.0.1", false),
        ("127.0.0.1", false),
        ("[fd00::1]", false),
    ] {
        let url = Url::parse(&format!("http://{address}/x")).unwrap();
        let options = ClientOptions {
            refuse_link_local: true,
            ..ClientOptions::default()
        };
        assert_eq!(options.allows(&url), !refused, "{address}");
        assert!(ClientOptions::default().allows(&url));
        let found = IpAddr::from_str(address.trim_matches(['[', ']'])).unwrap();
        let resolved = RoutedResolver(To(found)).resolve("x".parse().unwrap());
        assert_eq!(resolved.await.is_err(), refused, "{address}");
    }
}
