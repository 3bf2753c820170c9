//! A model hub on this machine that serves one small model under a name of the catalog.

use std::process::Command;
use std::time::Duration;

use crate::http_server::{Reply, Server};
use crate::processes::Folder;

/// A name of the catalog whose hash is not pinned, so that any content will do.
pub(crate) const MODEL_NAME: &str = "smollm2-360m";

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The server.
pub(crate) struct Hub {
    server: Server,
    model: Vec<u8>,
}

impl Hub {
    /// Serves `model`, slowly enough to be killed meanwhile.
    pub(crate) fn start(model: Vec<u8>) -> Self {
        let served = model.clone();
        let server = Server::start(move |asked| {
            Reply::file(&served, asked)
                .header("X-Repo-Commit", COMMIT)
                .header("ETag", "\"of-the-one-model\"")
                .rest(Duration::from_millis(1))
        });
        Self { server, model }
    }

    /// What it serves.
    pub(crate) fn model(&self) -> &[u8] {
        &self.model
    }

    /// How often the file itself was asked for, from its start.
    pub(crate) fn downloads(&self) -> usize {
        let whole = |range: Option<(u64, Option<u64>)>| range != Some((0, Some(0)));
        self.server.asked().iter().filter(|asked| whole(asked.range)).count()
    }

    /// A command that knows no other hub, and no cache but the folder's.
    pub(crate) fn environment(&self, mut command: Command, folder: &Folder) -> Command {
        command
            .env("HF_HOME", folder.file("cache/hub"))
            .env("HF_ENDPOINT", &self.server.url)
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("HF_TOKEN");
        command
    }
}
