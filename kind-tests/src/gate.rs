//! A loopback proxy to another server, which a test can block.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::failure::{Doing, Result};

/// How connections are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Connections break off, and new ones break off as soon as they are there: as with a server that is not there.
    Broken,
    /// Connections are accepted and stay, but nothing passes: as with a server that hangs. Opened again, what waited passes.
    Silent,
    /// As many bytes of each answer pass, and then nothing does.
    Bytes(usize),
}

/// Passes connections on to a server as long as it is open.
///
/// It lives in the async runtime of the test that starts it.
pub struct Gate {
    address: SocketAddr,
    way: watch::Sender<Way>,
    came: watch::Receiver<usize>,
    /// The most bytes of answers that passed on one connection.
    passed: watch::Receiver<usize>,
    server: tokio::task::JoinHandle<()>,
}

impl Gate {
    /// An open gate to `server`.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .doing("listen for a gate")?;
        let address = listener.local_addr()?;
        let (way, ways) = watch::channel(Way::Open);
        let (count, came) = watch::channel(0);
        let (most, passed) = watch::channel(0);
        let most = Arc::new(most);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                tokio::spawn(pass(client, server, ways.clone(), most.clone()));
            }
        });
        Ok(Self {
            address,
            way,
            came,
            passed,
            server,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes how connections are treated, existing ones included.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        *self.came.borrow()
    }

    /// Waits until this many more connections have come.
    pub async fn wait_for_connections(&self, more: usize) {
        let mut came = self.came.clone();
        let want = *came.borrow_and_update() + more;
        // The sender lives as long as the gate does.
        let _ = came.wait_for(|count| *count >= want).await;
    }

    /// Waits until this many bytes of answers have passed on one connection, those before included.
    pub async fn wait_for_bytes(&self, bytes: usize) {
        let mut passed = self.passed.clone();
        let _ = passed.wait_for(|most| *most >= bytes).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
        self.way.send_replace(Way::Broken);
    }
}

async fn pass(
    client: TcpStream,
    server: SocketAddr,
    ways: watch::Receiver<Way>,
    most: Arc<watch::Sender<usize>>,
) {
    let mut broken = ways.clone();
    let both = async {
        let server = TcpStream::connect(server).await?;
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let passed = Passed {
            here: AtomicUsize::new(0),
            most,
        };
        let up = copy(from_client, to_server, ways.clone(), None);
        let down = copy(from_server, to_client, ways, Some(passed));
        tokio::try_join!(up, down).map(drop)
    };
    tokio::select! {
        _ = both => {}
        // Dropped, both ends are closed.
        _ = broken.wait_for(|way| *way == Way::Broken) => {}
    }
}

/// The bytes that passed on one connection, and the most that passed on any.
struct Passed {
    here: AtomicUsize,
    most: Arc<watch::Sender<usize>>,
}

impl Passed {
    fn add(&self, count: usize) {
        let here = self.here.fetch_add(count, Ordering::Relaxed) + count;
        self.most.send_if_modified(|most| {
            let is_more = here > *most;
            *most = here.max(*most);
            is_more
        });
    }
}

/// Copies one way until its end; `passed` counts where the bytes count.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut ways: watch::Receiver<Way>,
    passed: Option<Passed>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let passes = |way: &Way| match (way, &passed) {
            (Way::Open, _) | (Way::Bytes(_), None) => true,
            (Way::Bytes(most), Some(passed)) => passed.here.load(Ordering::Relaxed) < *most,
            (Way::Silent | Way::Broken, _) => false,
        };
        if ways.wait_for(passes).await.is_err() {
            return Ok(());
        }
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        // It may have been closed while it waited for these bytes.
        if ways.wait_for(passes).await.is_err() {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
        if let Some(passed) = &passed {
            passed.add(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_gate_lets_through_what_its_mode_allows() {
        let gate = Gate::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(gate.address()).await.unwrap();
        assert_eq!(says(&mut stream, b"one").await.unwrap(), b"one");

        gate.set(Way::Silent);
        stream.write_all(b"two").await.unwrap();
        let mut answer = [0; 3];
        let early = tokio::time::timeout(
            std::time::Duration::from_millis(50),
            stream.read(&mut answer),
        );
        assert!(early.await.is_err(), "something passed");
        gate.set(Way::Open);
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"two");

        gate.set(Way::Broken);
        assert!(says(&mut stream, b"three").await.is_err());
        let mut late = TcpStream::connect(gate.address()).await.unwrap();
        assert!(says(&mut late, b"four").await.is_err());
        assert_eq!(gate.connections(), 2);
    }
}
