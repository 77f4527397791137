//! A Git repository for GitOps tools: git's own `http-backend` behind an HTTP server on loopback.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command};
use tokio_util::task::AbortOnDropHandle;

use crate::process::missing_tool;

const BRANCH: &str = "main";
/// The repository's path below the server's root.
const NAME: &str = "session-kills.git";
/// The most bytes of a client's request, which holds names of commits.
const LARGEST_REQUEST: usize = 1 << 20;
/// Variables of this machine's user that would lead git to another repository.
const VARIABLES: [&str; 3] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"];

/// A repository with the branch `main`, and its server. The server ends when this value is dropped.
pub struct Repository {
    store: PathBuf,
    files: PathBuf,
    url: String,
    _serving: AbortOnDropHandle<()>,
}

impl Repository {
    /// An empty repository below `directory`, served on a free port.
    pub async fn serve(directory: &Path) -> anyhow::Result<Self> {
        let (store, files) = (directory.join("served").join(NAME), directory.join("files"));
        fs::create_dir_all(&files).with_context(|| format!("cannot create {}", files.display()))?;
        let mut create = git();
        create.args(["init", "--quiet", "--bare", "--initial-branch", BRANCH]).arg(&store);
        succeeded(output_of(create, &[]).await?)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1")?;
        let url = format!("http://{}/{NAME}", listener.local_addr()?);
        let router = Router::new().fallback(answer).with_state(directory.join("served"));
        let serving = tokio::spawn(async move {
            // It ends with this value only.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { store, files, url, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Its URL, for all users of this machine.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes an object to a file, to be committed next. It is JSON, which is valid YAML.
    pub fn put(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        let file = self.files.join(path);
        let folder = file.parent().context("no path of a file")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(&file, format!("{object:#}\n")).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Removes a file, to be committed next.
    pub fn remove(&self, path: &str) -> anyhow::Result<()> {
        fs::remove_file(self.files.join(path)).with_context(|| format!("cannot remove {path}"))
    }

    /// Commits all changes, and returns the commit's name.
    pub async fn commit(&self, message: &str) -> anyhow::Result<String> {
        self.run(&["add", "--all", "."]).await?;
        self.run(&["commit", "--quiet", "--message", message]).await?;
        Ok(self.run(&["rev-parse", "HEAD"]).await?.trim().into())
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = git();
        command
            .args(["-c", "user.name=testbed", "-c", "user.email=testbed@example.com"])
            .arg("--git-dir")
            .arg(&self.store)
            .arg("--work-tree")
            .arg(&self.files)
            .args(arguments)
            .current_dir(&self.files);
        let said = succeeded(output_of(command, &[]).await?)?;
        Ok(String::from_utf8(said)?)
    }
}

/// git, independent of the configuration of this machine's user.
fn git() -> Command {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").kill_on_drop(true);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

async fn output_of(mut command: Command, input: &[u8]) -> anyhow::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| missing_tool(error, "git", "git"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Ignore the error: a git that fails early does not read its input, and its error output says why.
        let _ = stdin.write_all(input).await;
    }
    Ok(child.wait_with_output().await?)
}

fn succeeded(output: Output) -> anyhow::Result<Vec<u8>> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git failed ({}): {}", output.status, errors.trim());
    Ok(output.stdout)
}

async fn answer(State(root): State<PathBuf>, request: Request) -> Response {
    match backend(&root, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

/// One run of git's CGI program.
async fn backend(root: &Path, request: Request) -> anyhow::Result<Response> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_REQUEST).await?;
    let mut command = git();
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string());
    let variables = [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ];
    for (header, variable) in variables {
        if let Some(value) = head.headers.get(header) {
            command.env(variable, value.to_str()?);
        }
    }
    response(&succeeded(output_of(command, &body).await?)?)
}

/// The output of a CGI program: headers, one of which may be the status, and the body.
fn response(written: &[u8]) -> anyhow::Result<Response> {
    const END: &[u8] = b"\r\n\r\n";
    let end = written.windows(END.len()).position(|bytes| bytes == END).context("git's answer has no headers")?;
    let mut response = Response::new(Body::from(written[end + END.len()..].to_vec()));
    for line in std::str::from_utf8(&written[..end])?.lines() {
        let (name, value) = line.split_once(": ").with_context(|| format!("not a header: {line}"))?;
        if name == "Status" {
            let code = value.split_whitespace().next().unwrap_or_default();
            *response.status_mut() = code.parse()?;
        } else {
            response.headers_mut().append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scratch;

    async fn cloned(url: &str, to: &Path) -> anyhow::Result<()> {
        let mut clone = git();
        clone.args(["clone", "--quiet", url]).arg(to).env("LC_ALL", "C");
        succeeded(output_of(clone, &[]).await?).map(drop)
    }

    #[tokio::test]
    async fn what_was_committed_is_fetched_and_what_was_removed_is_gone() {
        let directory = scratch::directory().unwrap();
        let repository = Repository::serve(directory.path()).await.unwrap();
        let object = json!({"kind": "SessionKill"});
        repository.put("a/b.yaml", &object).unwrap();
        repository.put("c.yaml", &object).unwrap();
        let first = repository.commit("add two").await.unwrap();
        assert_eq!(first.len(), 40);
        let clone = directory.path().join("first");
        cloned(repository.url(), &clone).await.unwrap();
        let read = fs::read_to_string(clone.join("a/b.yaml")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), object);

        repository.remove("c.yaml").unwrap();
        assert_ne!(repository.commit("remove one").await.unwrap(), first);
        let clone = directory.path().join("second");
        cloned(repository.url(), &clone).await.unwrap();
        assert!(clone.join("a/b.yaml").is_file() && !clone.join("c.yaml").exists());
    }

    #[tokio::test]
    async fn another_repository_is_not_there() {
        let directory = scratch::directory().unwrap();
        let repository = Repository::serve(directory.path()).await.unwrap();
        let other = repository.url().replace("session-kills", "other");
        let refused = cloned(&other, &directory.path().join("clone")).await.unwrap_err();
        assert!(refused.to_string().contains("not found"), "{refused}");
    }
}
