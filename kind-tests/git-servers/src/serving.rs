//! A server's thread: HTTP/1.1 on a free port of 127.0.0.1, with or without TLS, until it is dropped.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Pair;

/// A port of 127.0.0.1 that listens, for servers whose responses contain their own address.
#[expect(missing_debug_implementations, reason = "the TLS acceptor has none")]
pub struct Listening {
    listener: std::net::TcpListener,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
}

impl Listening {
    /// Listens on a free port, with TLS if there is a certificate. Clients then need a certificate of `client_authority`
    /// (PEM), if there is one.
    ///
    /// # Panics
    /// If no port is free or the certificate is invalid.
    pub fn new(certificate: Option<&Pair>, client_authority: Option<&str>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a port");
        listener
            .set_nonblocking(true)
            .expect("non-blocking listener");
        let address = listener.local_addr().expect("local address");
        let acceptor = certificate.map(|pair| pair.acceptor(client_authority));
        Self {
            listener,
            address,
            acceptor,
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.acceptor {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Serves each request by `answer`, on a thread of its own.
    ///
    /// # Panics
    /// The thread panics if it cannot start its runtime.
    pub fn serve<F, R, B>(self, answer: F) -> Serving
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<B>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("start a runtime");
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(self, answer) => {}
                    _ = stopped => {}
                }
            });
        });
        Serving {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

/// The thread of a server; dropping it stops the server.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept<F, R, B>(listening: Listening, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = tokio::net::TcpListener::from_std(listening.listener).expect("listen");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, answer) = (listening.acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // A client may close its connection at any time.
            match acceptor {
                None => {
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                }
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    }
                }
            }
        });
    }
}
