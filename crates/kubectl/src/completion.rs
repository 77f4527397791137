//! `completion`: what makes a shell complete commands, flags and names.

use std::ffi::OsString;

use clap_complete::engine::{CompletionCandidate, complete};
use clap_complete::env::{EnvCompleter, Shells};

use crate::errors::{Result, failure};
use crate::exit::Exit;
use crate::output::print;

/// The variable by which a shell asks this program for candidates.
pub const VARIABLE: &str = "COMPLETE";
/// What kubectl runs when a shell completes `kubectl sessionkill ...`: an executable of the name
/// `kubectl_complete-sessionkill`.
const FOR_KUBECTL: &str = "#!/bin/sh\nexec kubectl-sessionkill __complete \"$@\"\n";
/// The shell is not to offer files: a directive of cobra's protocol, which kubectl reads.
const NO_FILES: &str = ":4\n";

/// The flags of `completion`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// For which shell; or kubectl: print the executable kubectl_complete-sessionkill, which kubectl looks for in $PATH
    pub shell: Shell,
}

/// Whose completion.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// kubectl's own, in any shell.
    Kubectl,
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
    /// Elvish.
    Elvish,
    /// `PowerShell`.
    Powershell,
}

/// Prints the script.
pub fn run(flags: &Flags) -> Result<Exit> {
    let name = match flags.shell {
        Shell::Kubectl => {
            print(FOR_KUBECTL)?;
            return Ok(Exit::AllEnded);
        }
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let shells = Shells::builtins();
    let completer: &dyn EnvCompleter =
        shells.completer(name).ok_or_else(|| failure(format!("no completion for {name}")))?;
    let mut script = vec![];
    let program = "kubectl-sessionkill";
    completer
        .write_registration(VARIABLE, program, program, program, &mut script)
        .map_err(|error| failure(format!("no completion for {name}: {error}")))?;
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::AllEnded)
}

/// Prints candidates for the last of these words, as kubectl reads them.
pub fn candidates(command: &mut clap::Command, words: &[String]) -> Result<Exit> {
    let line: Vec<OsString> =
        std::iter::once("kubectl-sessionkill").chain(words.iter().map(String::as_str)).map(OsString::from).collect();
    let last = line.len() - 1;
    let found = complete(command, line, last, None).unwrap_or_default();
    // Flags only where one was begun, as kubectl does.
    let is_flag = words.last().is_some_and(|word| word.starts_with('-'));
    let is_shown = |candidate: &&CompletionCandidate| {
        let starts_like_one = candidate.get_value().to_string_lossy().starts_with('-');
        !candidate.is_hide_set() && (is_flag || !starts_like_one)
    };
    let visible = found.iter().filter(is_shown);
    let lines: Vec<String> = visible
        .map(|candidate| {
            let help = candidate.get_help().map(|help| format!("\t{help}")).unwrap_or_default();
            format!("{}{}\n", candidate.get_value().to_string_lossy(), help.lines().next().unwrap_or_default())
        })
        .collect();
    print(&(lines.concat() + NO_FILES))?;
    Ok(Exit::AllEnded)
}
