//! What a cell is: everything that decides what is measured.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The coder that finezip-cli takes where none is named.
pub(crate) const USUAL_CODER: &str = "mixer-6";

/// What compresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Method {
    /// finezip-cli.
    Finezip(Finezip),
    /// finezip-cli with arithmetic coding, compressing only, to measure the model's distributions.
    Ideal(Finezip),
    /// A byte compressor that is linked in, such as `zstd-19`.
    Peer {
        /// Its name.
        name: String,
    },
    /// A program of the PATH.
    Command {
        /// Its name in the table of commands.
        name: String,
        /// The command lines.
        lines: CommandLines,
    },
}

/// Options of finezip-cli; `None` leaves the choice to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finezip {
    /// A name, a path, or `none`.
    pub(crate) model: String,
    /// An adapter: one that the grid makes, by its name there, or a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adapter: Option<String>,
    /// `exact` or `candle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
    /// `int8`, `int4` or `f32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<String>,
    /// `ac`, `mixer-2` to `mixer-9`, `rank-zlib` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coder: Option<String>,
    /// `rolling`, `chunk-reset` or `fixed-window`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<String>,
    /// Tokens the model sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<u64>,
    /// Lanes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<u64>,
    /// Bytes of text in a frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) frame_bytes: Option<u64>,
    /// Threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<u64>,
    /// More options of `compress`, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) options: Vec<String>,
}

impl Finezip {
    /// The options of `finezip-cli compress`.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--model".to_owned(), self.model.clone()];
        let mut add = |option: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.push(option.to_owned());
                arguments.push(value);
            }
        };
        add("--adapter", self.adapter.clone());
        add("--engine", self.engine.clone());
        add("--precision", self.precision.clone());
        add("--schedule", self.schedule.clone());
        add("--context", self.context.map(|tokens| tokens.to_string()));
        add("--batch", self.batch.map(|lanes| lanes.to_string()));
        add("--frame-size", self.frame_bytes.map(|bytes| bytes.to_string()));
        match self.coder.as_deref().map(|coder| coder.split_once('-').unwrap_or((coder, ""))) {
            None => {}
            Some(("mixer", level)) if !level.is_empty() => arguments.push(format!("-{level}")),
            Some(("rank", backend)) if !backend.is_empty() => {
                arguments.extend(["--coder", "rank", "--rank-backend", backend].map(Into::into));
            }
            Some((name, _)) => arguments.extend(["--coder", name].map(Into::into)),
        }
        arguments.extend(self.machine_arguments());
        arguments.extend(self.options.iter().cloned());
        arguments
    }

    /// The options that reading takes as well.
    pub(crate) fn machine_arguments(&self) -> Vec<String> {
        self.threads.map(|threads| format!("-T{threads}")).into_iter().collect()
    }

    /// The same distributions, whatever codes under them.
    pub(crate) fn distributions(&self) -> Self {
        Self { coder: Some("ac".into()), ..self.clone() }
    }

    /// The model's path, if it is named by one, so that its content is not said by its name.
    pub(crate) fn model_path(&self) -> Option<&str> {
        Some(self.model.as_str()).filter(|model| self.has_model() && is_path(model))
    }

    /// The same weights as an engine opens them, and whatever finezip-cli chooses beside.
    pub(crate) fn plain(&self) -> Self {
        let Self { model, adapter, engine, precision, .. } = self.clone();
        Self { model, adapter, engine, precision, ..Self::default() }
    }

    /// Whether every run makes the same archive, which candle does not promise.
    pub(crate) fn is_repeatable(&self) -> bool {
        let is_candle = |name: &String| name.ends_with("candle");
        !self.has_model() || !self.engine.iter().chain(&self.options).any(is_candle)
    }

    /// Whether a language model takes part.
    pub(crate) fn has_model(&self) -> bool {
        self.model != "none"
    }
}

/// Whether finezip-cli takes a model's text for a path: one that lies there.
pub(crate) fn is_path(model: &str) -> bool {
    Path::new(model).exists()
}

/// How a program of the PATH is called. In arguments, `{input}`, `{archive}`, `{output}` and
/// `{model}` become paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandLines {
    /// The program's names, of which the first on the PATH is taken.
    pub(crate) programs: Vec<String>,
    /// How it compresses.
    pub(crate) compress: CommandLine,
    /// How it decompresses.
    pub(crate) decompress: CommandLine,
    /// What the archive must be called, for programs that look at names.
    #[serde(default = "archive")]
    pub(crate) archive: String,
    /// The arguments that make it say its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<Vec<String>>,
    /// The finezip model whose file is `{model}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
}

fn archive() -> String {
    "archive".into()
}

impl CommandLines {
    /// Where the program lies, if the PATH has it.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        let folders = std::env::var_os("PATH")?;
        self.programs.iter().find_map(|program| {
            let mut places = std::env::split_paths(&folders).map(|folder| folder.join(program));
            places.find(|path| path.is_file())
        })
    }
}

/// One direction of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandLine {
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Whether what is read comes by standard input.
    #[serde(default)]
    pub(crate) stdin: bool,
    /// Whether what is written goes to standard output.
    #[serde(default)]
    pub(crate) stdout: bool,
}

impl Method {
    /// A short description, for people.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Peer { name } | Self::Command { name, .. } => name.clone(),
            Self::Ideal(finezip) => format!("ideal {}", finezip.label()),
            Self::Finezip(finezip) => finezip.label(),
        }
    }

    /// The label, with the whole paths of model and adapter where another method has the same without.
    pub(crate) fn label_among<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> String {
        let label = self.label();
        let is_double = |other: &Self| other.label() == label && other.places() != self.places();
        match self.configuration().filter(|_| others.into_iter().any(is_double)) {
            Some(Finezip { model, adapter: Some(adapter), .. }) => {
                format!("{label} ({model}, {adapter})")
            }
            Some(Finezip { model, .. }) => format!("{label} ({model})"),
            None => label,
        }
    }

    /// Names or paths of model and adapter.
    fn places(&self) -> Option<(&String, Option<&String>)> {
        self.configuration().map(|finezip| (&finezip.model, finezip.adapter.as_ref()))
    }

    /// Whether a table says the same of both.
    pub(crate) fn is_told_as(&self, other: &Self) -> bool {
        self.label() == other.label() && self.places() == other.places()
    }

    /// The model that it needs, by name or path, if there is one.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::Finezip(finezip) | Self::Ideal(finezip) => {
                finezip.has_model().then_some(finezip.model.as_str())
            }
            Self::Command { lines, .. } => lines.model.as_deref(),
            Self::Peer { .. } => None,
        }
    }

    /// The adapter that it needs, as the grid calls it, if there is one.
    pub(crate) fn adapter(&self) -> Option<&String> {
        self.configuration()?.adapter.as_ref()
    }

    /// The configuration of finezip, whatever is measured of it.
    pub(crate) fn configuration(&self) -> Option<&Finezip> {
        match self {
            Self::Finezip(finezip) | Self::Ideal(finezip) => Some(finezip),
            Self::Peer { .. } | Self::Command { .. } => None,
        }
    }

    /// The configuration of finezip, if it is that.
    pub(crate) fn finezip(&self) -> Option<&Finezip> {
        match self {
            Self::Finezip(finezip) => Some(finezip),
            _ => None,
        }
    }
}

impl Finezip {
    /// A short description: `finezip` and whatever is set.
    pub(crate) fn label(&self) -> String {
        let mut parts = vec!["finezip".to_owned(), self.model_label()];
        let mut add = |part: Option<String>| parts.extend(part);
        add(self.coder.clone());
        add(self.engine.clone().filter(|engine| engine != "exact"));
        add(self.precision.clone());
        add(self.schedule.clone());
        add(self.context.map(|tokens| format!("context {tokens}")));
        add(self.batch.map(|lanes| format!("batch {lanes}")));
        add(self.frame_bytes.map(|bytes| format!("frames of {bytes}")));
        add(self.threads.map(|threads| format!("-T{threads}")));
        parts.extend(self.options.iter().cloned());
        parts.join(" ")
    }

    /// The model and its adapter, without folders.
    pub(crate) fn model_label(&self) -> String {
        let last = |path: &str| {
            let path = path.trim_end_matches('/');
            // A run of finezip-finetune keeps its adapter in a folder of this name.
            let path = path.strip_suffix("/adapter").unwrap_or(path);
            path.rsplit('/').next().unwrap_or_default().to_owned()
        };
        match &self.adapter {
            Some(adapter) => format!("{} + {}", last(&self.model), last(adapter)),
            None => last(&self.model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_command_line() {
        let finezip = Finezip {
            model: "m".into(),
            coder: Some("rank-bzip2".into()),
            context: Some(7),
            threads: Some(2),
            options: vec!["--learn".into()],
            ..Finezip::default()
        };
        let joined = finezip.arguments().join(" ");
        assert_eq!(joined, "--model m --context 7 --coder rank --rank-backend bzip2 -T2 --learn");
        let level = Finezip { coder: Some("mixer-9".into()), ..Finezip::default() };
        assert_eq!(level.arguments(), ["--model", "", "-9"]);
        let usual = Finezip { coder: Some("mixer".into()), ..Finezip::default() };
        assert_eq!(usual.arguments(), ["--model", "", "--coder", "mixer"]);
        assert_eq!(finezip.distributions().coder.as_deref(), Some("ac"));
        assert!(finezip.is_repeatable());
        let candle = Finezip { engine: Some("candle".into()), ..finezip.clone() };
        assert!(!candle.is_repeatable());
        assert_eq!(finezip.plain().arguments(), ["--model", "m"]);
    }

    #[test]
    fn labels_name_what_is_set() {
        let finezip = Finezip {
            model: "/a/base.gguf".into(),
            adapter: Some("runs/law/adapter/".into()),
            engine: Some("candle".into()),
            batch: Some(8),
            ..Finezip::default()
        };
        assert_eq!(finezip.label(), "finezip base.gguf + law candle batch 8");
        let of =
            |model: &str| Method::Finezip(Finezip { model: model.into(), ..Finezip::default() });
        let all = [of("/a/base.gguf"), of("/b/base.gguf"), of("/a/other.gguf")];
        let labels = all.each_ref().map(|method| method.label_among(&all));
        let expected = [
            "finezip base.gguf (/a/base.gguf)",
            "finezip base.gguf (/b/base.gguf)",
            "finezip other.gguf",
        ];
        assert_eq!(labels, expected);
        // The engine is the one that is meant where none is named.
        let named = Method::Finezip(Finezip {
            model: "/a/base.gguf".into(),
            engine: Some("exact".into()),
            ..Finezip::default()
        });
        assert!(named.is_told_as(&all[0]) && !named.is_told_as(&all[1]));
        assert_eq!(named.label_among([&all[0], &all[2]]), "finezip base.gguf");
    }
}
