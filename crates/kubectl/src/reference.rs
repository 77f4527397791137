//! docs/kubectl-reference.md and the man pages in docs/man are what clap says of the command line:
//! `UPDATE_DOCS=1 cargo test -p sessionkill-kubectl` writes them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

const PAGE: &str = "../../docs/kubectl-reference.md";
const MAN: &str = "../../docs/man";

#[test]
fn the_reference_is_what_help_prints() {
    let mut page = "# kubectl sessionkill: reference\n\n\
        What `--help` prints, written by `UPDATE_DOCS=1 cargo test -p sessionkill-kubectl`. \
        [kubectl.md](kubectl.md) shows each command at work, and [man](man) has the same as man pages.\n"
        .to_owned();
    let mut root = command();
    root.build();
    write!(page, "\n```text\n{}```\n", help(&mut root)).unwrap();
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let text = help(command);
        write!(page, "\n## {}\n\n```text\n{text}```\n", command.get_name()).unwrap();
    }
    is_stored(&at(PAGE), &page);
}

#[test]
fn the_man_pages_are_those_of_the_commands() {
    let mut root = command();
    root.build();
    let mut names = vec!["kubectl-sessionkill.1".to_owned()];
    is_stored(&at(MAN).join(&names[0]), &man(&root));
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("kubectl-sessionkill-{}.1", command.get_name());
        is_stored(&at(MAN).join(&name), &man(command));
        names.push(name);
    }
    let stored = fs::read_dir(at(MAN)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(stored.into_iter().all(|name| names.contains(&name)), "docs/man has pages of no command");
}

/// The command line, as wide as a terminal.
fn command() -> Command {
    Cli::command().term_width(100)
}

fn help(command: &mut Command) -> String {
    let text = command.render_long_help().to_string();
    let lines = text.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect::<String>()
}

fn man(command: &Command) -> String {
    let mut page = vec![];
    // Without a date: the page changes with the command line alone.
    clap_mangen::Man::new(command.clone()).date("").render(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn is_stored(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(stored == text, "{} is old: run UPDATE_DOCS=1 cargo test -p sessionkill-kubectl", path.display());
}
