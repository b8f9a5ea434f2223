//! `sekisho completions`, `sekisho man`, `sekisho schema`.
use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::args::{Args, CompletionsArgs, Shell};
use super::say::{self, Failure};
use crate::admin::api::document;
use crate::config;

pub(super) fn completions(words: &CompletionsArgs) -> ExitCode {
    use clap_complete::Shell as For;
    let shell = match words.shell {
        Shell::Bash => For::Bash,
        Shell::Elvish => For::Elvish,
        Shell::Fish => For::Fish,
        Shell::PowerShell => For::PowerShell,
        Shell::Zsh => For::Zsh,
    };
    clap_complete::generate(shell, &mut Args::command(), "sekisho", &mut io::stdout().lock());
    ExitCode::SUCCESS
}

pub(super) fn man() -> Result<ExitCode, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page).map_err(Failure::new)?;
    for verb in Args::command().get_subcommands() {
        let name = format!("sekisho-{}", verb.get_name());
        clap_mangen::Man::new(verb.clone().name(name)).render(&mut page).map_err(Failure::new)?;
    }
    say::out(String::from_utf8_lossy(&page));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn openapi() -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(&document()).map_err(Failure::new)?;
    say::out(text);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn schema() -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(&config::schema()).map_err(Failure::new)?;
    say::out(text);
    Ok(ExitCode::SUCCESS)
}
