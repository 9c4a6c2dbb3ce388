//! The resources of the artifact server that clients may hold, and for how long.

use std::fs;
use std::time::Duration;

use flux_artifact::server::{Limits, listen, serve};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

const REQUEST: &[u8] = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
const SMALL: &[u8] = b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const SIZE: usize = 64 << 20;

struct Served {
    _folder: TempDir,
    address: String,
    _stop: oneshot::Sender<()>,
}

impl Served {
    async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("big"), vec![7; SIZE]).unwrap();
        fs::write(folder.path().join("small"), "small").unwrap();
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let root = folder.path().to_owned();
        tokio::spawn(serve(listener, root, limits, async {
            let _ = stopped.await;
        }));
        Self {
            _folder: folder,
            address,
            _stop: stop,
        }
    }

    /// A client with a small receive buffer.
    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(self.address.parse().unwrap()).await.unwrap()
    }

    async fn ask(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Requests the large file, reads its beginning, and leaves the rest.
async fn begin(stream: &mut TcpStream) {
    stream.write_all(REQUEST).await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}

/// Waits until the other side has closed the connection, without reading: then what is sent to it is refused.
async fn closed(stream: &TcpStream) {
    let refused = async {
        loop {
            match stream.try_write(b"x") {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    timeout(Duration::from_mins(1), refused)
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected() {
    let stall = Duration::from_millis(50);
    let limits = Limits {
        stall,
        ..Limits::default()
    };
    let served = Served::with(limits).await;
    let mut stalled = served.connect().await;
    begin(&mut stalled).await;
    closed(&stalled).await;
    // A client that reads gets all of it.
    let last = [&REQUEST[..REQUEST.len() - 2], b"Connection: close\r\n\r\n"].concat();
    assert!(served.ask(&last).await.len() > SIZE);
}

#[tokio::test]
async fn an_unfinished_request_is_disconnected() {
    let limits = Limits {
        header: Duration::from_millis(50),
        ..Limits::default()
    };
    let served = Served::with(limits).await;
    for part in [
        &b""[..],
        b"GET /small HT",
        b"GET /small HTTP/1.1\r\nHost: x\r\n",
    ] {
        let answer = timeout(Duration::from_mins(1), async {
            let mut stream = TcpStream::connect(&served.address).await.unwrap();
            stream.write_all(part).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        });
        assert_eq!(answer.await.expect("the connection is closed"), b"");
    }
    // The same for a kept-alive connection without further requests.
    let kept = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = timeout(Duration::from_mins(1), served.ask(kept));
    let answer = answer.await.expect("the connection is closed");
    assert!(answer.ends_with("\r\n\r\nsmall"), "{answer}");
}

#[tokio::test]
async fn the_least_active_of_too_many_connections_is_closed() {
    let limits = Limits {
        connections: 3,
        ..Limits::default()
    };
    let served = Served::with(limits).await;
    let (mut one, mut two, mut three) = (
        served.connect().await,
        served.connect().await,
        served.connect().await,
    );
    for stream in [&mut one, &mut two, &mut three] {
        begin(stream).await;
    }
    assert!(served.ask(SMALL).await.ends_with("small"));
    // One of the three had to be closed; a freed place is used again.
    let gone = async {
        tokio::select! { () = closed(&one) => {} () = closed(&two) => {} () = closed(&three) => {} }
    };
    gone.await;
    for _ in 0..10 {
        assert!(served.ask(SMALL).await.ends_with("small"));
    }
}

// SC-ART-052
#[tokio::test]
async fn too_many_ranges_get_the_whole_file() {
    let served = Served::with(Limits::default()).await;
    let with = |ranges: usize| {
        let list = vec!["0-0"; ranges].join(",");
        format!("GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes={list}\r\n\r\n")
    };
    let few = served.ask(with(64).as_bytes()).await;
    assert!(few.starts_with("HTTP/1.1 206 "), "{}", &few[..100]);
    let many = served.ask(with(65).as_bytes()).await;
    assert!(many.starts_with("HTTP/1.1 200 "), "{}", &many[..100]);
    assert!(many.len() > SIZE);
    let too_many = served.ask(with(40_000).as_bytes()).await;
    assert!(too_many.starts_with("HTTP/1.1 431 "), "{too_many}");
}

/// The resident memory of this process.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn idle_readers_cost_little_memory() {
    const READERS: u64 = 200;
    let limits = Limits {
        connections: READERS as usize,
        ..Limits::default()
    };
    let served = Served::with(limits).await;
    // One-time allocations are made before the measurement.
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = served.connect().await;
        begin(&mut reader).await;
        readers.push(reader);
    }
    let before = resident();
    for _ in 8..READERS {
        let mut reader = served.connect().await;
        begin(&mut reader).await;
        readers.push(reader);
    }
    let each = resident().saturating_sub(before) / (READERS - 8);
    println!("an idle reader costs {} KiB", each / 1024);
    assert!(each < 96 << 10, "{each} bytes for each reader");
}
