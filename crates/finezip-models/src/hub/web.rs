//! HTTP for the mirror: pages, and files that go on where they broke off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};
use url::Url;

use super::Progress;

/// Tries that may fail one after another without bringing anything new.
const TRIES: u32 = 4;

/// Rest before the second of such tries; each further one is as much longer.
const REST: Duration = Duration::from_millis(300);

/// An index page may have so many bytes.
const PAGE_LIMIT: u64 = 64 << 20;

/// What connections are made with.
#[derive(Clone, Debug, Default)]
pub(super) struct WebSettings {
    /// Certificates (PEM) to trust instead of the built-in ones.
    pub(super) certificates: Option<std::path::PathBuf>,
    /// A proxy's address; without one, what the environment says.
    pub(super) proxy: Option<String>,
}

/// A client.
#[derive(Debug)]
pub(super) struct Web {
    agent: Agent,
}

/// A page and the address it was found at in the end.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) address: Url,
    pub(super) content_type: String,
    pub(super) text: String,
}

/// Why a try ended.
enum Broken {
    /// Another may succeed.
    Passing(String),
    /// No other will.
    Final(String),
}

impl Web {
    /// A client that waits for an answer, and for each further piece of it, no longer than
    /// `patience`. Errors are for people.
    pub(super) fn new(settings: &WebSettings, patience: Duration) -> Result<Self, String> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience));
        if let Some(path) = &settings.certificates {
            let tls = TlsConfig::builder().root_certs(root_certificates(path)?).build();
            config = config.tls_config(tls);
        }
        if let Some(proxy) = &settings.proxy {
            let proxy = Proxy::new(proxy).map_err(|error| format!("the proxy: {error}"))?;
            config = config.proxy(Some(proxy));
        }
        Ok(Self { agent: config.build().into() })
    }

    /// Reads a page.
    pub(super) fn page(&self, address: &Url, accept: &str) -> Result<Page, String> {
        use ureq::ResponseExt;
        let failed = |error: ureq::Error| format!("{}: {error}", shown(address));
        let request = self.agent.get(address.as_str()).header("Accept", accept);
        let mut response = request.call().map_err(failed)?;
        if response.status() != 200 {
            return Err(format!("{} answered {}", shown(address), response.status()));
        }
        // Links are relative to where redirections led.
        let found_at = Url::parse(&response.get_uri().to_string());
        let content_type = header(&response, "Content-Type").unwrap_or_default().to_owned();
        let text = response.body_mut().with_config().limit(PAGE_LIMIT).read_to_string();
        Ok(Page {
            address: found_at.map_err(|error| error.to_string())?,
            content_type,
            text: text.map_err(failed)?,
        })
    }

    /// Brings a file of at most `limit` bytes to `target`, going on with what is there of it.
    pub(super) fn download(
        &self,
        address: &Url,
        target: &Path,
        limit: u64,
        progress: &mut dyn Progress,
    ) -> Result<(), String> {
        let (mut furthest, mut tries) = (length(target), 0);
        loop {
            match self.download_on(address, target, limit, progress) {
                Ok(()) => return Ok(()),
                Err(Broken::Final(why)) => return Err(why),
                Err(Broken::Passing(why)) => {
                    let reached = length(target);
                    tries = if reached > furthest { 1 } else { tries + 1 };
                    furthest = furthest.max(reached);
                    if tries >= TRIES {
                        return Err(format!("{why} ({reached} bytes are kept for the next time)"));
                    }
                    thread::sleep(REST * tries);
                }
            }
        }
    }

    fn download_on(
        &self,
        address: &Url,
        target: &Path,
        limit: u64,
        progress: &mut dyn Progress,
    ) -> Result<(), Broken> {
        let have = length(target);
        // Ranges count the bytes that are sent, so these must be the file's own.
        let mut request = self.agent.get(address.as_str()).header("Accept-Encoding", "identity");
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let response = request
            .call()
            .map_err(|error| Broken::Passing(format!("{}: {error}", shown(address))))?;
        let refused = |status| format!("{} answered {status}", shown(address));
        let (have, total) = match response.status().as_u16() {
            // Without the range: from the start again.
            200 => (0, number(header(&response, "Content-Length"))),
            206 => match content_range(&response) {
                Some((first, total)) if first == have => (have, total),
                _ => return Err(Broken::Final("a range was answered with another".into())),
            },
            416 if content_total(&response) == Some(have) => return Ok(()),
            416 => {
                // What is here is longer than the file: it is none of it.
                remove(target).map_err(|error| Broken::Final(error.to_string()))?;
                return Err(Broken::Passing(refused(response.status())));
            }
            408 | 429 | 500.. => return Err(Broken::Passing(refused(response.status()))),
            _ => return Err(Broken::Final(refused(response.status()))),
        };
        if total.is_some_and(|total| total > limit) {
            let found = total.unwrap_or_default();
            return Err(Broken::Final(format!("expected at most {limit} bytes, found {found}")));
        }
        let here = |error: io::Error| Broken::Final(format!("{}: {error}", target.display()));
        let file = if have > 0 {
            OpenOptions::new().append(true).open(target).map_err(here)?
        } else {
            File::create(target).map_err(here)?
        };
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let done =
            copy(body, file, have, total, limit, progress).map_err(|broken| match broken {
                Copying::There(why) => Broken::Passing(format!("{}: {why}", shown(address))),
                Copying::Here(error) => here(error),
            })?;
        match total {
            Some(total) if done < total => {
                Err(Broken::Passing(format!("it ended after {done} of {total} bytes")))
            }
            _ => Ok(()),
        }
    }
}

enum Copying {
    There(String),
    Here(io::Error),
}

/// Appends a body to a file that has `done` bytes; gives how many it has then.
fn copy(
    mut body: impl Read,
    mut file: File,
    mut done: u64,
    total: Option<u64>,
    limit: u64,
    progress: &mut dyn Progress,
) -> Result<u64, Copying> {
    let mut buffer = vec![0; 64 << 10];
    progress.bytes(done, total);
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copying::There(error.to_string())),
        };
        done += count as u64;
        if done > limit {
            return Err(Copying::There(format!("more than {limit} bytes")));
        }
        file.write_all(&buffer[..count]).map_err(Copying::Here)?;
        progress.bytes(done, total);
    }
    file.sync_all().map_err(Copying::Here)?;
    Ok(done)
}

/// The bytes of a file; 0 if it is not there.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// An address without the name and password that it may hold.
fn shown(address: &Url) -> String {
    let mut address = address.clone();
    // Addresses that cannot have them need nothing removed.
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.to_string()
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// First byte and total of `Content-Range: bytes 5-9/10` (RFC 9110, section 14.4).
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let range = header(response, "Content-Range")?.trim().strip_prefix("bytes ")?;
    let first = number(range.split('-').next())?;
    Some((first, content_total(response)))
}

fn content_total(response: &Response<Body>) -> Option<u64> {
    number(header(response, "Content-Range")?.rsplit('/').next())
}

fn root_certificates(path: &Path) -> Result<RootCerts, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let certificates: Vec<_> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    Ok(RootCerts::Specific(Arc::new(certificates)))
}
