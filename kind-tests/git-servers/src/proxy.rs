//! Forward proxies: HTTP (`CONNECT` and absolute-form requests) and SOCKS5.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;

/// A proxy on loopback that records its clients' destinations; stopped on drop.
pub struct Proxy {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stopping: AtomicBool,
    credentials: Option<(String, String)>,
    destinations: Mutex<Vec<String>>,
    names: Mutex<HashMap<String, SocketAddr>>,
}

impl Proxy {
    /// An HTTP proxy, with basic authentication if credentials (user, password) are given.
    pub fn http(credentials: Option<(&str, &str)>) -> Self {
        Self::start("http", credentials, http)
    }

    /// A SOCKS5 proxy, with user name and password if credentials are given.
    pub fn socks5(credentials: Option<(&str, &str)>) -> Self {
        Self::start("socks5", credentials, socks5)
    }

    fn start(
        scheme: &'static str,
        credentials: Option<(&str, &str)>,
        serve: fn(TcpStream, &State) -> std::io::Result<()>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = listener.local_addr().expect("local address");
        let credentials =
            credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let state = Arc::new(State {
            credentials,
            ..State::default()
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // A client that closes its connection only ends its own thread.
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            address,
            scheme,
            state,
            thread: Some(thread),
        }
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Connects clients that request `destination` (`host:port`) to this address, as if only the proxy could resolve
    /// the name.
    pub fn resolve(&self, destination: &str, address: SocketAddr) {
        let mut names = self.state.names.lock().expect("names");
        names.insert(destination.to_owned(), address);
    }

    /// Clears the recorded destinations.
    pub fn clear_destinations(&self) {
        self.state
            .destinations
            .lock()
            .expect("destinations")
            .clear();
    }

    /// The destinations (`host:port`) that clients requested, except rejected ones.
    pub fn destinations(&self) -> Vec<String> {
        self.state
            .destinations
            .lock()
            .expect("destinations")
            .clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn connect(&self, destination: &str) -> std::io::Result<TcpStream> {
        let known = self.names.lock().expect("names").get(destination).copied();
        match known {
            Some(address) => TcpStream::connect(address),
            None => TcpStream::connect(destination),
        }
    }

    fn went_to(&self, destination: &str) {
        self.destinations
            .lock()
            .expect("destinations")
            .push(destination.to_owned());
    }
}

fn http(client: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut client = client;
    let words: Vec<&str> = lines
        .first()
        .map(|line| line.split(' ').collect())
        .unwrap_or_default();
    let [method, target, version] = words[..] else {
        return Ok(());
    };
    if let Some((user, password)) = &state.credentials {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let wanted = format!("proxy-authorization: basic {}", encoded.to_lowercase());
        if !lines.iter().any(|line| line.to_lowercase() == wanted) {
            return client.write_all(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
            );
        }
    }
    if method == "CONNECT" {
        state.went_to(target);
        let server = state.connect(target)?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        return splice(client, server, reader.buffer());
    }
    let Some((authority, path)) = target
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    let authority = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    state.went_to(&authority);
    let mut server = state.connect(&authority)?;
    let mut head = format!("{method} /{path} {version}\r\nConnection: close\r\n");
    for line in &lines[1..] {
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        if !matches!(
            name.as_str(),
            "connection" | "proxy-connection" | "proxy-authorization" | "keep-alive"
        ) {
            head.push_str(line);
            head.push_str("\r\n");
        }
    }
    server.write_all((head + "\r\n").as_bytes())?;
    splice(client, server, reader.buffer())
}

fn socks5(mut client: TcpStream, state: &State) -> std::io::Result<()> {
    let mut byte = || -> std::io::Result<u8> {
        let mut one = [0];
        client.read_exact(&mut one).map(|()| one[0])
    };
    let (_version, count) = (byte()?, byte()?);
    let methods = (0..count).map(|_| byte()).collect::<Result<Vec<_>, _>>()?;
    let wanted = if state.credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        return client.write_all(&[5, 0xff]);
    }
    client.write_all(&[5, wanted])?;
    let text = |client: &mut TcpStream| -> std::io::Result<String> {
        let mut length = [0];
        client.read_exact(&mut length)?;
        let mut text = vec![0; usize::from(length[0])];
        client.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    if let Some(credentials) = &state.credentials {
        client.read_exact(&mut [0])?;
        let given = (text(&mut client)?, text(&mut client)?);
        let good = given == *credentials;
        client.write_all(&[1, u8::from(!good)])?;
        if !good {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request)?;
    let host = if request[3] == 1 {
        let mut address = [0; 4];
        client.read_exact(&mut address)?;
        Ipv4Addr::from(address).to_string()
    } else {
        text(&mut client)?
    };
    let mut port = [0; 2];
    client.read_exact(&mut port)?;
    let destination = format!("{host}:{}", u16::from_be_bytes(port));
    state.went_to(&destination);
    let server = state.connect(&destination)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    splice(client, server, &[])
}

/// Copies in both directions until both ends are done; `early` is what the client has already sent.
fn splice(client: TcpStream, mut server: TcpStream, early: &[u8]) -> std::io::Result<()> {
    server.write_all(early)?;
    let (mut from_client, mut to_client) = (client.try_clone()?, client);
    let mut from_server = server.try_clone()?;
    let up = std::thread::spawn(move || {
        let copied = std::io::copy(&mut from_client, &mut server);
        let _ = server.shutdown(std::net::Shutdown::Write);
        copied
    });
    let copied = std::io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(std::net::Shutdown::Both);
    let _ = up.join();
    copied.map(|_| ())
}
