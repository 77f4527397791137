//! The verdict of GitOps tools on objects. Argo CD: a health script in its own interpreter, with the libraries that
//! Argo CD opens. Flux and Helm: kstatus, their own library. The program is in `testbed/gitops`.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Deserializer, Value};

use crate::go;

/// The verdict of both on one object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `InProgress`, `Current`, `Failed`, `Terminating`, `NotFound` or `Unknown`.
    pub kstatus: String,
    /// The message, for people.
    pub kstatus_message: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    #[serde(rename = "argoCD")]
    pub argo_cd: String,
    /// The message, for people.
    #[serde(rename = "argoCDMessage")]
    pub argo_cd_message: String,
}

/// The verdict on each of `objects`, in their order, with this health script. If the script fails on an object, the
/// error names it. The first call on a machine builds the program, which takes a minute or two. Blocks.
pub fn judge(health_script: &Path, objects: &[Value]) -> anyhow::Result<Vec<Verdict>> {
    let program = go::build(&go::module("gitops"), "gitops", "gitops")?;
    let mut lines = vec![];
    for object in objects {
        writeln!(lines, "{object}")?;
    }
    let mut child = Command::new(program)
        .arg(health_script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run the program of testbed/gitops")?;
    let mut stdin = child.stdin.take().context("it has no standard input")?;
    // Write from another thread, as the program may answer before it has read everything.
    let writing = std::thread::spawn(move || stdin.write_all(&lines));
    let output = child.wait_with_output()?;
    // Ignore the error: a program that fails early does not read its input, and its error output says why.
    let _ = writing.join();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "testbed/gitops: {}", errors.trim());
    let verdicts = Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<Vec<Verdict>, _>>()?;
    ensure!(verdicts.len() == objects.len(), "{} verdicts on {} objects", verdicts.len(), objects.len());
    Ok(verdicts)
}
