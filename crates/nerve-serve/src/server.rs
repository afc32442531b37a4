//! The listener, its connections and their end.
//!
//! A few threads accept from the same socket, each with a runtime of its own: a connection stays on its thread.

use crate::log::Log;
use crate::options::{Limits, Options};
use crate::repository::Repository;
use crate::route;
use crate::watch::Counter;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Sleep;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It would answer anybody.
    #[error(
        "{0} can be reached from other machines: set a token, or say --insecure-no-auth if anybody may ask"
    )]
    Open(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {cause}; port 0 takes any that is free")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
}

/// What all connections share.
pub(crate) struct Shared {
    pub repository: Arc<Repository>,
    pub options: Options,
    pub log: Option<Log>,
    /// Set when the server is about to end.
    pub draining: AtomicBool,
    /// Connections that are open.
    pub connections: Counter,
    /// Requests under way.
    pub active: Counter,
    /// Answers by their status, up to 599.
    pub codes: Vec<Counter>,
}

/// How often drift is looked for, so that the log tells of it.
const LOOK: Duration = Duration::from_secs(5);

/// A server that listens.
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// How a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Connections end when they have answered what was asked.
    Draining,
    /// Connections are closed.
    Over,
}

impl Server {
    /// Listens; requests are answered once [`Server::run`] is called. `log` gets a line for each request.
    ///
    /// # Errors
    /// The address is in use; it is beyond the loopback and there is no token.
    pub fn bind(
        repository: Arc<Repository>,
        options: Options,
        log: Option<Log>,
    ) -> Result<Server, BindError> {
        let address = options.address;
        if !address.ip().is_loopback() && options.token.is_none() && !options.open {
            return Err(BindError::Open(address));
        }
        let listen = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            io::Result::Ok((listener, address))
        };
        let (listener, address) =
            listen().map_err(|cause| BindError::Address { address, cause })?;
        let shared = Shared {
            repository,
            options,
            log,
            draining: AtomicBool::new(false),
            connections: Counter::default(),
            active: Counter::default(),
            codes: (0..600).map(|_| Counter::default()).collect(),
        };
        Ok(Server { listener, address, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stopped` says so, and then what is under way. Gives whether all of it could be answered in time.
    ///
    /// # Errors
    /// The system gives no threads or takes the socket away.
    pub fn run(self, mut stopped: impl FnMut() -> bool) -> io::Result<bool> {
        let (phase, _) = watch::channel(Phase::Serving);
        let mut threads = Vec::new();
        for _ in 0..self.shared.options.threads.max(1) {
            let (shared, phase) = (self.shared.clone(), phase.subscribe());
            let listener = self.listener.try_clone()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(4)
                .build()?;
            let serve = move || runtime.block_on(accept(listener, shared, phase));
            threads.push(std::thread::Builder::new().name("nerve-serve".into()).spawn(serve)?);
        }
        let mut looked = Instant::now();
        while !stopped() {
            std::thread::sleep(Duration::from_millis(10));
            if looked.elapsed() > LOOK {
                self.shared.repository.look_at_drift();
                looked = Instant::now();
            }
        }
        self.shared.draining.store(true, Ordering::SeqCst);
        let _ = phase.send(Phase::Draining);
        let drained = self.drain();
        let _ = phase.send(Phase::Over);
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a thread of the server failed"))??;
        }
        Ok(drained)
    }

    /// Waits until nothing is under way; what is being written gets a moment more.
    fn drain(&self) -> bool {
        let begun = Instant::now();
        let mut quiet = Instant::now();
        while begun.elapsed() < self.shared.options.limits.drain_time {
            if self.shared.active.get() > 0 {
                quiet = Instant::now();
            }
            let silent = quiet.elapsed();
            if silent > Duration::from_millis(300)
                || (self.shared.connections.get() == 0 && silent > Duration::from_millis(50))
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

async fn accept(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let next = {
            let mut over = pin!(phase.wait_for(|phase| *phase == Phase::Over));
            let mut next = pin!(listener.accept());
            poll_fn(|cx| match over.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => next.as_mut().poll(cx).map(Some),
            })
            .await
        };
        match next {
            None => return Ok(()),
            Some(Ok((stream, _))) => {
                let room = shared.connections.get() < shared.options.limits.connections as u64;
                match room {
                    true => drop(tokio::spawn(connection(stream, shared.clone(), phase.clone()))),
                    // Encrypted it would cost as much as an answer.
                    false if shared.options.tls.is_some() => {}
                    false => turn_away(&stream),
                }
            }
            // No file descriptors are left, or the client was faster: others may have better luck in a moment.
            Some(Err(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Says in one piece that there are too many connections.
fn turn_away(stream: &TcpStream) {
    const BODY: &str = "{\"error\":\"too many connections are open\"}";
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let _ = stream.try_write(text.as_bytes());
}

/// Counts up, and down when it is dropped.
pub(crate) struct Counted<'c>(&'c Counter);

impl<'c> Counted<'c> {
    pub(crate) fn new(counter: &'c Counter) -> Counted<'c> {
        counter.add(1);
        Counted(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.less(1);
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, phase: watch::Receiver<Phase>) {
    let _open = Counted::new(&shared.connections);
    let _ = stream.set_nodelay(true);
    let Some(tls) = &shared.options.tls else {
        return talk(TokioIo::new(stream), &shared, phase).await;
    };
    let patience = shared.options.limits.head_time;
    // Who speaks no TLS, or takes too long about it, has gone.
    if let Ok(Ok(stream)) = tokio::time::timeout(patience, tls.accept(stream)).await {
        talk(TokioIo::new(stream), &shared, phase).await;
    }
}

async fn talk(
    stream: impl hyper::rt::Read + hyper::rt::Write + Unpin,
    shared: &Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
) {
    let Limits { head, fields, head_time, write_time, .. } = shared.options.limits;
    let answered = service_fn(|request: hyper::Request<Incoming>| {
        let shared = shared.clone();
        async move { Ok::<_, std::convert::Infallible>(route::answer(&shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(head.max(8192))
        .max_headers(fields)
        .serve_connection(Timed::new(stream, write_time), answered);
    let mut connection = pin!(connection);
    // One that comes while the server drains asks for its health: it is answered, and closed by its answer.
    let mut asked = *phase.borrow() != Phase::Serving;
    let mut draining =
        pin!(async move { phase.wait_for(|phase| *phase != Phase::Serving).await.is_ok() });
    let done = poll_fn(|cx| {
        if !asked && draining.as_mut().poll(cx).is_ready() {
            asked = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    // A client that broke off or spoke another protocol has been answered or has gone.
    let _ = done.await;
}

/// A stream that gives up when the other side does not take what is written.
struct Timed<T> {
    stream: T,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Timed<T> {
    fn new(stream: T, patience: Duration) -> Timed<T> {
        Timed { stream, patience, waiting: None }
    }

    fn bounded<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: hyper::rt::Read + Unpin> hyper::rt::Read for Timed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<T: hyper::rt::Write + Unpin> hyper::rt::Write for Timed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, closed)
    }
}
