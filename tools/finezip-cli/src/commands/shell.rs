//! `completions` and `man`: what a package of the tool ships beside it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Arguments;
use crate::exit::{Code, Outcome};

/// Writes the completions of a shell to stdout.
pub(crate) fn completions(shell: Shell) -> Outcome<Code> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "finezip-cli", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Code::Done)
}

/// Writes the manual page to stdout, or the pages of all commands to a folder.
pub(crate) fn man(out_dir: Option<&Path>) -> Outcome<Code> {
    let command = Arguments::command();
    match out_dir {
        Some(folder) => {
            fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            io::stdout().lock().write_all(&page)?;
        }
    }
    Ok(Code::Done)
}
