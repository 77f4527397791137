//! On a terminal people are asked.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use tokio::process::Child;

use crate::stage::{Stage, eventually, sessions};

/// A run of the plugin on a terminal of its own.
pub struct Screen {
    keys: File,
    shown: Arc<Mutex<String>>,
    child: Child,
    reader: JoinHandle<()>,
}

impl Screen {
    /// Starts it.
    pub async fn open(stage: &Stage, line: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, vec![]).unwrap();
        // Not for the operators that other tests start meanwhile: they would keep the terminal open.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal: OwnedFd = open(name, flags, Mode::empty()).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let mut command = stage.command(stage.ground.control_plane.kubeconfig(), line).await;
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // The last ends are those of the child: then what it printed is complete when they close.
        drop(command);
        drop(terminal);
        let keys = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, into) = (keys.try_clone().unwrap(), shown.clone());
        let reader = std::thread::spawn(move || {
            let mut part = [0; 1024];
            // It fails when the last end of the terminal is closed.
            while let Ok(read @ 1..) = screen.read(&mut part) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..read]));
            }
        });
        Self { keys, shown, child, reader }
    }

    /// Waits until it shows these words.
    pub async fn wait_for(&self, words: &str) {
        eventually(words, async || {
            let shown = self.shown.lock().unwrap().clone();
            if shown.contains(words) { Ok(()) } else { Err(shown) }
        })
        .await;
    }

    /// Types an answer once it is asked.
    pub async fn answer(&mut self, question: &str, answer: &str) {
        self.wait_for(question).await;
        self.keys.write_all(answer.as_bytes()).unwrap();
    }

    /// What it has shown so far.
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// All that it has shown, after its end.
    pub async fn all(&self) -> String {
        let is_at_end = async || if self.reader.is_finished() { Ok(()) } else { Err(self.shown()) };
        eventually("the end of the output", is_at_end).await;
        self.shown().replace('\r', "")
    }

    /// Its exit code, at its end.
    pub async fn code(&mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }
}

#[tokio::test]
async fn nothing_is_ended_before_somebody_says_yes() {
    let stage = Stage::ready("tty", sessions()).await;
    let mut screen = Screen::open(&stage, &["kill", "--user", "report"]).await;
    screen.answer("Why (", "INC-7\n").await;
    screen.answer("End 2 sessions? [y/N]", "\n").await;
    screen.wait_for("nothing was asked for").await;
    assert_eq!(screen.code().await, Some(1));
    assert!(stage.kills().is_empty() && stage.requests().await.is_empty());

    let mut screen = Screen::open(&stage, &["kill", "--user", "report", "--name", "inc-7"]).await;
    screen.answer("Why (", "INC-7\n").await;
    screen.answer("End 2 sessions? [y/N]", "y\n").await;
    screen.wait_for("2 of 2 sessions killed").await;
    assert_eq!(screen.code().await, Some(0));
    assert_eq!(stage.kills(), [(1, 1), (2, 1)]);
    assert_eq!(stage.request("inc-7").await.spec.reason.as_deref(), Some("INC-7"));
}

#[tokio::test]
async fn several_connections_are_offered_and_listed_without_a_terminal() {
    let stage = Stage::ready("tty-several", sessions()).await;
    let second = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection",
        "metadata": {"name": "other-ob", "namespace": "tty-several"},
        "spec": {"alibabaCloud": {
            "regionID": "cn-hangzhou", "endpoint": stage.arena.gateway.url(), "credentials": {"secretRef": {"name": "aliyun-ak"}},
        }},
    });
    stage.ground.control_plane.apply(&second.to_string()).await.unwrap();
    let said = stage.run(&["sessions"]).await;
    let words = "error: there are several connections: choose one with CONNECTION or --connection: other-ob, prod-ob\n";
    assert_eq!((said.code, said.stderr.as_str()), (1, words));
    let mut screen = Screen::open(&stage, &["sessions", "--user", "app"]).await;
    screen.answer("Which? [1-2]", "2\n").await;
    screen.wait_for("SESSION").await;
    assert_eq!(screen.code().await, Some(0));
    let said = stage.run(&["sessions", "other-ob"]).await;
    assert!(said.stderr.contains("name one with --instance"), "{said:?}");
}

#[tokio::test]
async fn ctrl_c_at_a_question_ends_nothing() {
    let stage = Stage::ready("tty-interrupt", sessions()).await;
    let mut screen = Screen::open(&stage, &["kill", "--user", "report", "--reason", "INC-8"]).await;
    screen.wait_for("End 2 sessions? [y/N]").await;
    let pid = rustix::process::Pid::from_raw(screen.child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(screen.code().await, Some(1));
    assert!(stage.kills().is_empty() && stage.requests().await.is_empty());
}
