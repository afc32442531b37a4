//! A server that only reads and answers a fixed text, with a thread for each connection: what the machine and the client
//! take of a time that `nerve-load` measures.
//!
//! ```text
//! nerve-echo 127.0.0.1:8000
//! ```

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_string());
    for stream in TcpListener::bind(&address)?.incoming() {
        let stream = stream?;
        // A connection that ends is no failure of the server.
        std::thread::spawn(move || drop(answer(stream)));
    }
    Ok(())
}

/// `nerve-load` writes a request at once and waits for its answer, so what is read is a request.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = vec![0; 64 * 1024];
    while stream.read(&mut request)? > 0 {
        stream.write_all(ANSWER)?;
    }
    Ok(())
}
