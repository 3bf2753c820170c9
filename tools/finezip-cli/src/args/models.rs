//! `models`, and the model that is used where none is named.

use clap::{Args, Subcommand};

use super::VerbosityArguments;

/// The model used where none is named.
pub(crate) const DEFAULT_MODEL: &str = "smollm2-135m";

/// `models`.
#[derive(Args, Debug)]
pub(crate) struct ModelsArguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ModelsCommand,
}

/// What to do about models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Show the models known by name, and which are on this machine
    List {
        /// As JSON, one array with an object a model
        #[arg(long)]
        json: bool,
    },
    /// Fetch models into the cache and check their hashes
    Fetch {
        /// Names of `models list`
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// How much is said.
        #[command(flatten)]
        verbosity: VerbosityArguments,
    },
    /// Show where a model lies
    Path {
        /// A name of `models list`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Hash models on this machine and compare with what is known of them
    Verify {
        /// Names of `models list`, or paths; all in the cache where none is given
        #[arg(value_name = "NAME|PATH")]
        models: Vec<String>,
        /// How much is said.
        #[command(flatten)]
        verbosity: VerbosityArguments,
    },
}
