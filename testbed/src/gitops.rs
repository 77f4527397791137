//! What GitOps tools make of objects: Argo CD by a health script, in its own interpreter and with no more libraries than it
//! opens; Flux and Helm by kstatus, their own library. The program is in `testbed/gitops`.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Deserializer, Value};

use crate::go;

/// What both make of one object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `InProgress`, `Current`, `Failed`, `Terminating`, `NotFound` or `Unknown`.
    pub kstatus: String,
    /// Why, for people.
    pub kstatus_message: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    #[serde(rename = "argoCD")]
    pub argo_cd: String,
    /// Why, for people.
    #[serde(rename = "argoCDMessage")]
    pub argo_cd_message: String,
}

/// The verdict on each of `objects`, in their order, with this health script. An error names the object that a script fails
/// on. The first call on a machine builds the program, which takes a minute or two. Blocks.
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
    // It may answer before it has read all: whoever writes must not keep it from being read.
    let writing = std::thread::spawn(move || stdin.write_all(&lines));
    let output = child.wait_with_output()?;
    // A program that fails early does not read its input; its error output says why.
    let _ = writing.join();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "testbed/gitops: {}", errors.trim());
    let verdicts = Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<Vec<Verdict>, _>>()?;
    ensure!(verdicts.len() == objects.len(), "{} verdicts on {} objects", verdicts.len(), objects.len());
    Ok(verdicts)
}
