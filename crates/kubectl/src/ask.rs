//! Questions on the terminal. Without a terminal nothing is asked.

use std::io::{IsTerminal as _, Write as _};

use crate::errors::{Result, failure};
use crate::interrupt::{Interrupt, interrupted};

/// Whether somebody can be asked.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The answer to a question, without its line's end. Ctrl-C and the end of the input are a failure.
pub async fn line(question: &str, interrupt: &mut Interrupt) -> Result<String> {
    let mut screen = std::io::stderr();
    let _ = write!(screen, "{question}").and_then(|()| screen.flush());
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|read| (read > 0).then_some(line))
    });
    let answer = interrupt.or(async { read.await.map_err(|error| failure(error.to_string())) }).await;
    match answer {
        Ok(Ok(Some(line))) => Ok(line.trim().to_owned()),
        other => {
            let _ = writeln!(screen);
            other.and(Err(interrupted()))
        }
    }
}

/// Whether the answer is yes. Anything but y or yes means no.
pub async fn yes(question: &str, interrupt: &mut Interrupt) -> Result<bool> {
    let answer = line(&format!("{question} [y/N] "), interrupt).await?;
    Ok(["y", "yes"].contains(&answer.to_lowercase().as_str()))
}

/// The chosen one of several: a numbered question on a terminal, else a failure that lists them and names the `flag`.
pub async fn one_of(what: &str, flag: &str, options: &[String], interrupt: &mut Interrupt) -> Result<usize> {
    if !is_terminal() {
        return Err(failure(format!("there are several {what}: choose one with {flag}: {}", options.join(", "))));
    }
    let list: Vec<_> = options.iter().enumerate().map(|(at, option)| format!("  {}  {option}\n", at + 1)).collect();
    let question = format!("There are several {what}:\n{}Which? [1-{}] ", list.concat(), options.len());
    loop {
        let answer = line(&question, interrupt).await?;
        let by_number = answer.parse::<usize>().ok().filter(|number| (1..=options.len()).contains(number));
        let by_name = || options.iter().position(|option| *option == answer);
        if let Some(at) = by_number.map(|number| number - 1).or_else(by_name) {
            return Ok(at);
        }
    }
}
