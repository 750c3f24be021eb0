//! Writes the manual pages and shell completions of all programs into a folder: `tributary-pages FOLDER`. They are made
//! from the commands themselves, so that they say what the programs do. It is no part of the programs, which stay small.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

/// What a program's page says beyond what its commands say of themselves, in the language of manual pages.
struct Program {
    command: Command,
    more: &'static str,
}

fn programs() -> [Program; 3] {
    [
        Program { command: agent::cli::Cli::command(), more: include_str!("agent.roff") },
        Program { command: gateway::cli::Cli::command(), more: include_str!("gateway.roff") },
        Program { command: certs::cli::Arguments::command(), more: include_str!("certs.roff") },
    ]
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("say where to: tributary-pages FOLDER")?;
    write_all(&folder)
}

/// Pages into `man1`; completions into `bash`, `zsh` and `fish`, each with the name that its shell looks for.
fn write_all(folder: &Path) -> anyhow::Result<()> {
    for Program { command, more } in programs() {
        let pages = folder.join("man1");
        fs::create_dir_all(&pages).with_context(|| format!("make {}", pages.display()))?;
        let mut whole = command.clone().disable_help_subcommand(true);
        whole.build();
        write_pages(&whole, more, &pages)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            write_completion(command.clone(), shell, folder)?;
        }
    }
    Ok(())
}

/// The page of `command`, and those of the commands below it.
fn write_pages(command: &Command, more: &str, folder: &Path) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, "", folder)?;
    }
    let page = Man::new(command.clone()).manual("Tributary");
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text).context("render a page")?;
    text.extend_from_slice(more.as_bytes());
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

fn write_completion(mut command: Command, shell: Shell, folder: &Path) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    let file = match shell {
        Shell::Zsh => format!("_{name}"),
        Shell::Fish => format!("{name}.fish"),
        _ => name.clone(),
    };
    let folder = folder.join(shell.to_string());
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    fs::write(folder.join(&file), text).with_context(|| format!("write {file}"))
}

#[cfg(test)]
mod tests;
