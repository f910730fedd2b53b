//! The adapter: the program that drives the judged library, with one JSON object per line.
//!
//! All output and actions of the adapter are recorded for the report. If the adapter breaks its protocol, for example
//! by malformed output, a second answer or an early exit, the case fails with a description.

use crate::end::{CaseEnd, Play};
use crate::hex::{hex, unhex};
use crate::process::Target;
use crate::trace::Trace;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenure_protocol::SessionId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// The most bytes of the adapter's standard error that are kept, from its end.
const STDERR_BYTES_MAX: usize = 4 << 10;
/// The most bytes of a line that are shown.
const SHOWN_BYTES_MAX: usize = 400;

/// An error answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) kind: String,
    pub(crate) cycle: Vec<SessionId>,
}

/// The answer to a command.
pub(crate) type Answer = Result<Map<String, Value>, Refused>;

/// A running adapter. See the [module](self).
#[derive(Debug)]
pub(crate) struct Adapter {
    child: Child,
    stdin: ChildStdin,
    heard: Arc<Heard>,
    /// The task that records standard error until it ends.
    stderr: JoinHandle<()>,
    trace: Trace,
    who: String,
    slack: Duration,
    last_id: u64,
}

/// The output received from the adapter.
#[derive(Debug, Default)]
struct Heard {
    all: Mutex<All>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct All {
    /// The commands without an answer, with their names.
    asked: BTreeMap<u64, &'static str>,
    answers: BTreeMap<u64, Answer>,
    taken: BTreeSet<u64>,
    /// The violation of the adapter protocol, if there was one.
    broken: Option<String>,
    has_ended: bool,
    stderr: Vec<u8>,
}

impl Adapter {
    /// Starts the adapter.
    pub(crate) async fn start(target: &Target, trace: &Trace, who: &str) -> Play<Self> {
        let mut child = target.command()?.spawn().map_err(|why| {
            CaseEnd::Unreachable(format!(
                "the adapter {} cannot be started: {why}; check its command",
                target.name()
            ))
        })?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let heard = Arc::new(Heard::default());
        let piped = || CaseEnd::fault("a pipe of the adapter is missing");
        tokio::spawn(listen(
            stdout.ok_or_else(piped)?,
            Arc::clone(&heard),
            trace.clone(),
            who.to_owned(),
        ));
        let stderr = keep_stderr(stderr.ok_or_else(piped)?, Arc::clone(&heard));
        let mut own = Self {
            child,
            stdin: stdin.ok_or_else(piped)?,
            heard,
            stderr: tokio::spawn(stderr),
            trace: trace.clone(),
            who: who.to_owned(),
            slack: target.slack(),
            last_id: 0,
        };
        let about = own.call("about", json!({})).await?;
        let version = about.as_ref().ok().and_then(|about| about.get("adapter"));
        if version != Some(&json!(1)) {
            return Err(CaseEnd::failed("an adapter of version 1", about));
        }
        Ok(own)
    }

    /// Sends a command and returns its number.
    pub(crate) async fn begin(&mut self, what: &'static str, with: Value) -> Play<u64> {
        self.last_id += 1;
        let id = self.last_id;
        let mut line = json!({"id": id, "do": what});
        if let (Some(line), Value::Object(with)) = (line.as_object_mut(), with) {
            line.extend(with);
        }
        self.heard.all().asked.insert(id, what);
        let mut text = line.to_string();
        self.trace.note(&self.who, '>', &[], shown(&text));
        text.push('\n');
        let written = async {
            self.stdin.write_all(text.as_bytes()).await?;
            self.stdin.flush().await
        };
        match timeout(self.slack, written).await {
            Ok(Ok(())) => Ok(id),
            Ok(Err(_)) => Err(self.ended().await),
            Err(_) => Err(CaseEnd::told(
                "the adapter reads its commands",
                "the adapter does not read them",
            )),
        }
    }

    /// Waits for the answer to a command.
    pub(crate) async fn answer(&mut self, id: u64) -> Play<Answer> {
        self.answer_after(id, 0).await
    }

    /// As [`Adapter::answer`], with `after_ms` more time.
    pub(crate) async fn answer_after(&mut self, id: u64, after_ms: u64) -> Play<Answer> {
        let until = Instant::now() + Duration::from_millis(after_ms) + self.slack;
        loop {
            let heard = Arc::clone(&self.heard);
            let changed = heard.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let what = {
                let mut all = self.heard.all();
                if let Some(broken) = &all.broken {
                    return Err(CaseEnd::told("one answer to each command", broken.clone()));
                }
                if let Some(answer) = all.answers.remove(&id) {
                    return known(answer, all.asked.remove(&id).unwrap_or_default());
                }
                if all.has_ended {
                    None
                } else {
                    all.asked.get(&id).copied()
                }
            };
            let Some(what) = what else {
                return Err(self.ended().await);
            };
            if timeout_at(until, changed).await.is_err() {
                return Err(CaseEnd::told(
                    format!("an answer to command {id}, `{what}`"),
                    "none",
                ));
            }
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn call(&mut self, what: &'static str, with: Value) -> Play<Answer> {
        let id = self.begin(what, with).await?;
        self.answer(id).await
    }

    /// Returns whether a command was answered. Fails if the adapter has broken its protocol.
    pub(crate) fn has_answered(&self, id: u64) -> Play<bool> {
        let all = self.heard.all();
        match &all.broken {
            Some(broken) => Err(CaseEnd::told("one answer to each command", broken.clone())),
            None => Ok(all.answers.contains_key(&id)),
        }
    }

    /// Returns the failure for an adapter that has exited too early.
    async fn ended(&mut self) -> CaseEnd {
        const SOON: Duration = Duration::from_secs(1);
        let status = timeout(SOON, self.child.wait()).await;
        // The last output may still be in the pipe. If another program has the pipe open, that output is not waited
        // for.
        let _ = timeout(SOON, &mut self.stderr).await;
        let status = match status {
            Ok(Ok(status)) => status.to_string(),
            _ => "the adapter closed its output".to_owned(),
        };
        CaseEnd::told(
            "an adapter that runs until its input ends",
            format!("{status}; its standard error: {}", self.stderr()),
        )
    }

    fn stderr(&self) -> String {
        let all = self.heard.all();
        String::from_utf8_lossy(&all.stderr).trim().to_owned()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let _ = self.child.start_kill(); // The exit status is not judged.
        let stderr = self.stderr();
        if !stderr.is_empty() {
            self.trace
                .did(&self.who, format!("on its standard error: {stderr}"));
        }
    }
}

impl Heard {
    fn all(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    /// Returns the adapter's command with pipes.
    pub(crate) fn command(&self) -> Play<Command> {
        let (program, arguments) = self
            .command
            .split_first()
            .ok_or_else(|| CaseEnd::Unreachable("no command".to_owned()))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// Skips the case if the adapter does not support the command.
fn known(answer: Answer, what: &str) -> Play<Answer> {
    match answer {
        Err(Refused { kind, .. }) if kind == "unsupported" => Err(CaseEnd::Skipped(format!(
            "the adapter does not support `{what}`"
        ))),
        answer => Ok(answer),
    }
}

async fn listen(stdout: ChildStdout, heard: Arc<Heard>, trace: Trace, who: String) {
    let mut lines = BufReader::new(stdout).lines();
    loop {
        let line = lines.next_line().await;
        let mut all = heard.all();
        match line {
            Ok(Some(line)) => {
                trace.note(&who, '<', &[], shown(&line));
                if let Err(why) = take(&line, &mut all) {
                    all.broken
                        .get_or_insert_with(|| format!("{why}: {}", shown(&line)));
                }
            }
            Ok(None) => all.has_ended = true,
            Err(why) => {
                all.broken
                    .get_or_insert_with(|| format!("its output is not UTF-8 text: {why}"));
                all.has_ended = true;
            }
        }
        let has_ended = all.has_ended;
        drop(all);
        heard.changed.notify_waiters();
        if has_ended {
            return;
        }
    }
}

/// Processes a line of the adapter's output.
fn take(line: &str, all: &mut All) -> Result<(), String> {
    let value: Value =
        serde_json::from_str(line).map_err(|why| format!("the line is not JSON ({why})"))?;
    if value.get("event").is_some() {
        return Ok(()); // A line without these keys is only for readers of the trace.
    }
    let id = value.get("id").and_then(Value::as_u64);
    let id = id.ok_or("the answer has no `id`")?;
    let answer = match (value.get("ok"), value.get("error")) {
        (Some(Value::Object(ok)), None) => Ok(ok.clone()),
        (None, Some(error)) => Err(refused(error)?),
        _ => return Err("the answer has neither `ok` nor `error`, or both".to_owned()),
    };
    if !all.asked.contains_key(&id) || !all.taken.insert(id) {
        return Err("the answer repeats an earlier one, or belongs to no command".to_owned());
    }
    all.answers.insert(id, answer);
    Ok(())
}

fn refused(error: &Value) -> Result<Refused, String> {
    let kind = error.get("kind").and_then(Value::as_str);
    let cycle = match error.get("cycle") {
        None | Some(Value::Null) => &Vec::new(),
        Some(Value::Array(cycle)) => cycle,
        Some(_) => return Err("`cycle` is not a list".to_owned()),
    };
    let session = |id: &Value| SessionId::new(unhex(id.as_str()?)?).ok();
    let cycle: Option<Vec<SessionId>> = cycle.iter().map(session).collect();
    Ok(Refused {
        kind: kind.ok_or("the error has no `kind`")?.to_owned(),
        cycle: cycle.ok_or("`cycle` has an entry that is not a session")?,
    })
}

async fn keep_stderr(mut stderr: ChildStderr, heard: Arc<Heard>) {
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let mut all = heard.all();
        all.stderr.extend_from_slice(&piece[..read]);
        let over = all.stderr.len().saturating_sub(STDERR_BYTES_MAX);
        all.stderr.drain(..over);
    }
}

fn shown(line: &str) -> String {
    let end = line.floor_char_boundary(SHOWN_BYTES_MAX);
    if end < line.len() {
        format!("{}…", &line[..end])
    } else {
        line.to_owned()
    }
}

/// Returns bytes in the encoding of the adapter protocol.
pub(crate) fn name(bytes: impl AsRef<[u8]>) -> Value {
    hex(bytes.as_ref()).into()
}
