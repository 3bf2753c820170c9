//! A small HTTP server on this machine, which can break off, stall and refuse as real ones do.
//!
//! It is compiled into the tests of this crate and of the tool (`#[path]`).
// Each of the two uses its own part.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// First byte of the range asked for, and the last if it was named.
    pub(crate) range: Option<(u64, Option<u64>)>,
    /// How many bytes of a body it was sent.
    pub(crate) sent: u64,
}

/// What it gets.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What happens after so many bytes of the body.
    pub(crate) end: Option<(usize, End)>,
    /// Rests between each 16 KiB of the body.
    pub(crate) rest: Duration,
}

/// How a connection can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is closed.
    Close,
    /// Nothing comes any more.
    Stall,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        let (headers, body, rest) = (Vec::new(), Vec::new(), Duration::ZERO);
        Self { status, headers, body, end: None, rest }
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, bytes: &[u8]) -> Self {
        self.body = bytes.to_vec();
        self
    }

    pub(crate) fn end(mut self, after: usize, end: End) -> Self {
        self.end = Some((after, end));
        self
    }

    pub(crate) fn rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// A file, or the range of it that was asked for.
    pub(crate) fn file(bytes: &[u8], asked: &Asked) -> Self {
        let total = bytes.len() as u64;
        match asked.range {
            None => Self::new(200).body(bytes),
            Some((first, _)) if first >= total => {
                Self::new(416).header("Content-Range", format!("bytes */{total}"))
            }
            Some((first, last)) => {
                let last = last.unwrap_or(total - 1).min(total - 1);
                Self::new(206)
                    .header("Content-Range", format!("bytes {first}-{last}/{total}"))
                    .body(&bytes[first as usize..=last as usize])
            }
        }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(answer);
        let (all, stop) = (Arc::clone(&asked), Arc::clone(&stopped));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (answer, all, stop) =
                    (Arc::clone(&answer), Arc::clone(&all), Arc::clone(&stop));
                thread::spawn(move || {
                    // A client that goes away is what some tests are about.
                    let _ = stream.map(|stream| serve(stream, &*answer, &all, &stop));
                });
            }
        });
        Self { url, asked, stopped }
    }

    /// All that was asked so far, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What was asked for below a path.
    pub(crate) fn asked_for(&self, path: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path.starts_with(path)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn serve(
    stream: TcpStream,
    answer: &(impl Fn(&Asked) -> Reply + ?Sized),
    all: &Mutex<Vec<Asked>>,
    stopped: &AtomicBool,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut asked = Asked { path, range: None, sent: 0 };
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some((first, last)) =
            line.strip_prefix("range: bytes=").and_then(|range| range.split_once('-'))
        {
            asked.range = Some((first.parse().unwrap(), last.parse().ok()));
        }
    }
    let reply = answer(&asked);
    let number = {
        let mut all = all.lock().unwrap();
        all.push(asked);
        all.len() - 1
    };
    let mut stream = stream;
    let mut head = format!("HTTP/1.1 {} Reply\r\nConnection: close\r\n", reply.status);
    head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let until = reply.end.map_or(reply.body.len(), |(after, _)| after.min(reply.body.len()));
    for piece in reply.body[..until].chunks(16 << 10) {
        stream.write_all(piece)?;
        all.lock().unwrap()[number].sent += piece.len() as u64;
        if !reply.rest.is_zero() {
            thread::sleep(reply.rest);
        }
    }
    if matches!(reply.end, Some((_, End::Stall))) {
        while !stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
