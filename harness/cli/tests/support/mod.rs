//! Stores that are started as an operator starts them, and a scripted process.

#![allow(dead_code)] // Each test file uses only some of these items.

use bytes::{Buf, BytesMut};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tenure_protocol::message::{AcquireRequest, GrantRef, Granted, Release, WaitMode};
use tenure_protocol::{
    Incarnation, Link, ProcessId, Request, SessionId, Time, ToProcess, ToStore, Token, Version,
};
use tenure_wire::{Decoder, FrameLimits, FromProcess, FromStore, Opening, Outgoing};

/// The time limit of every wait, far longer than any step takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a command for the binary, without the environment variables that it would read.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TENURE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn tenure(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Asserts the exit code, and that standard error contains all of `parts`.
pub(crate) fn assert_ends(output: &Output, code: i32, says: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in says {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

/// A running store, which is killed when this value is dropped.
pub(crate) struct Store {
    child: Child,
    /// The log. `None` after the test has closed it.
    log: Option<BufReader<ChildStderr>>,
    pub(crate) ports: PathBuf,
    pub(crate) listen: String,
    pub(crate) admin: String,
    pub(crate) epoch: u64,
}

impl Store {
    /// Starts a store in `folder`, and waits until it is ready.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(folder, arguments, |_| {})
    }

    pub(crate) fn spawn(
        folder: &Path,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let ports = folder.join("ports.json");
        let data = folder.join("data");
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.arg("--data").arg(&data);
        command.arg("--port-file").arg(&ports).args(arguments);
        prepare(&mut command);
        // Removes the port file of a killed store.
        let _ = fs::remove_file(&ports);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut store = Self {
            child,
            log: Some(log),
            ports,
            listen: String::new(),
            admin: String::new(),
            epoch: 0,
        };
        let ready = store.wait_for_ports();
        let text = |key: &str| ready[key].as_str().expect("an address").to_owned();
        (store.listen, store.admin) = (text("listen"), text("admin"));
        store.epoch = ready["epoch"].as_u64().expect("a number");
        assert_eq!(ready["pid"].as_u64(), Some(u64::from(store.child.id())));
        store
    }

    fn wait_for_ports(&mut self) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = fs::read_to_string(&self.ports) {
                return serde_json::from_str(&text).expect("the port file is written atomically");
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "{ended:?}: {}", self.rest());
            assert!(Instant::now() < until, "not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the remaining log of a store that has ended.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        let log = self.log.as_mut().expect("the log is open");
        log.read_to_string(&mut rest).expect("text");
        rest
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Reads the log up to a line that contains this text.
    pub(crate) fn logged(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let log = self.log.as_mut().expect("the log is open");
            let length = log.read_line(&mut line).expect("text");
            assert!(length > 0, "the log has ended without {part:?}");
        }
        line
    }

    /// Waits for the end of the store. Returns its exit status and the rest of its log.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let rest = self.rest();
        (self.child.wait().expect("a child"), rest)
    }

    /// Closes the reading end of the log, as a closed terminal does.
    pub(crate) fn close_log(&mut self) {
        self.log = None;
    }

    /// Waits for the end of a store whose log is not read.
    pub(crate) fn ended_unread(mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(
                Instant::now() < until,
                "the store did not end within the time limit"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Output {
        tenure(&[&["ctl", "--admin", &self.admin], arguments].concat())
    }

    /// Returns the answer of `tenure ctl --json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ctl(&[&["--json"], arguments].concat());
        assert_ends(&output, 0, &[]);
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }

    /// Returns the answer of the admin listener to a GET request, with its head.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).expect("it listens");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scripted process.
pub(crate) struct Player {
    stream: TcpStream,
    bytes: BytesMut,
    decoder: Decoder<FromStore>,
}

impl Player {
    /// Connects, and waits until the store accepts the process.
    pub(crate) fn connect(store: &Store, name: &'static str) -> Self {
        Self::open(store, name, 1, vec![])
    }

    /// Connects for the second time, after a lost connection.
    pub(crate) fn reconnect(store: &Store, name: &'static str, holds: Vec<GrantRef>) -> Self {
        Self::open(store, name, 2, holds)
    }

    fn open(store: &Store, name: &'static str, number: u64, holds: Vec<GrantRef>) -> Self {
        let stream = TcpStream::connect(&store.listen).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut player = Self {
            stream,
            bytes: BytesMut::new(),
            decoder: Decoder::new(FrameLimits::default()),
        };
        player.push(&FromProcess::Hello(Opening {
            process: ProcessId::from_static(name),
            link: Link {
                incarnation: Incarnation(1),
                number,
            },
            minor_max: 0,
            sent: Time(1),
            holds,
            waits: vec![],
        }));
        assert!(matches!(player.next(), ToProcess::Welcome { .. }));
        player
    }

    fn push(&mut self, item: &FromProcess) {
        let mut out = Outgoing::new();
        out.push(item, &FrameLimits::default()).expect("it fits");
        let bytes = out.copy_to_bytes(out.remaining());
        self.stream.write_all(&bytes).expect("it reads");
    }

    pub(crate) fn say(&mut self, message: ToStore) {
        self.push(&FromProcess::Message(message));
    }

    pub(crate) fn next(&mut self) -> ToProcess {
        loop {
            match self.decoder.decode(&mut self.bytes).expect("frames") {
                Some(FromStore::Message(message)) => return message,
                Some(other) => panic!("the store must send a message, not {other:?}"),
                None => {}
            }
            let mut read = [0; 4096];
            let length = self.stream.read(&mut read).expect("an answer");
            assert!(length > 0, "the store closed the connection");
            self.bytes.extend_from_slice(&read[..length]);
        }
    }

    pub(crate) fn ask_for(&mut self, session: &SessionId) {
        self.ask_as(session, 1);
    }

    fn ask_as(&mut self, session: &SessionId, request: u64) {
        self.say(ToStore::Acquire(AcquireRequest {
            session: session.clone(),
            request: Request(request),
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: None,
            existing: false,
        }));
    }

    /// Reads until the store closes the connection. Returns the received messages.
    pub(crate) fn until_closed(&mut self) -> Vec<ToProcess> {
        let mut said = Vec::new();
        loop {
            match self.decoder.decode(&mut self.bytes).expect("frames") {
                Some(FromStore::Message(message)) => said.push(message),
                Some(FromStore::Fault(_)) => return said,
                None => {
                    let mut read = [0; 4096];
                    let length = self.stream.read(&mut read).expect("an end");
                    assert!(
                        length > 0,
                        "the store closed the connection without a fault"
                    );
                    self.bytes.extend_from_slice(&read[..length]);
                }
            }
        }
    }

    /// Gives a session back unchanged, and waits until the store has accepted it.
    pub(crate) fn release(&mut self, session: &SessionId, token: Token, base: Version) {
        self.say(ToStore::Release(Release {
            session: session.clone(),
            token,
            base,
            delta: [].into_iter().collect(),
            requeue: None,
            idle_ms: 0,
        }));
        while !matches!(self.next(), ToProcess::Released { .. }) {}
    }

    /// Requests a session, and waits until it is granted.
    pub(crate) fn acquire(&mut self, session: &SessionId) -> (Token, Version) {
        self.acquire_as(session, 1)
    }

    /// Requests a session as [`Player::acquire`] does, with a given request number.
    pub(crate) fn acquire_as(&mut self, session: &SessionId, request: u64) -> (Token, Version) {
        self.ask_as(session, request);
        loop {
            if let ToProcess::Granted(Granted { token, version, .. }) = self.next() {
                return (token, version);
            }
        }
    }
}
