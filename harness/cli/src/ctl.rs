//! `tenure ctl`: queries and commands for a running store, over its admin listener.

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use std::io::Write;
use std::time::Duration;
use tenure_store::{Drains, SessionStatus, StoreStatus, WaiterStatus};

const AFTER: &str = "\
Name a session by its short id, as `ctl sessions` and the logs show it (# and eight digits; quote it in a shell), or
by its id: as text, or as hex: followed by its bytes in hexadecimal digits. Session ids are secrets like passwords,
so --reveal works only over loopback.

Exit codes: 0 done; 1 the session is not in memory (so no process holds it or waits for it), or no process holds it;
2 wrong usage, or no store answers at the address.";

/// Show the holders and waiters of a running store, or recall a session.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Ctl {
    /// Connect to the store's admin listener at this address.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "TENURE_ADMIN",
        hide_env_values = true,
        default_value = "127.0.0.1:7421"
    )]
    admin: String,
    /// Print the store's answer as JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    question: Question,
}

#[derive(clap::Subcommand)]
enum Question {
    /// Show the state of the store and its processes.
    Status,
    /// List the sessions in memory.
    Sessions {
        /// List only sessions that a process waits for.
        #[arg(long)]
        waiting: bool,
        /// List at most this many sessions. The store returns at most 10,000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Show full session ids instead of short ids. Works only over loopback.
        #[arg(long)]
        reveal: bool,
    },
    /// Show the holder of a session, and the processes that wait for it.
    Session {
        /// Show this session: its short id or its id.
        id: String,
        /// Show the full session id instead of the short id. Works only over loopback.
        #[arg(long)]
        reveal: bool,
    },
    /// Stop the store and free all sessions: recall all grants, wait for them at most for the setting stop_ms, and
    /// exit.
    Drain,
    /// Recall a session from its holder, as a waiting process would. After the setting recall_ms, the store revokes the
    /// grant.
    Recall {
        /// Recall this session: its short id or its id.
        id: String,
    },
}

/// Recalls a session through the admin listener at `admin`.
pub(crate) fn recall(admin: &str, id: &str) -> Result<()> {
    let question = Question::Recall { id: id.to_owned() };
    let ctl = Ctl {
        admin: admin.to_owned(),
        json: false,
        question,
    };
    let (code, body) = ctl.ask("POST", &format!("{}/recall", path(id)?))?;
    anyhow::ensure!(
        (200..300).contains(&code),
        "{admin} answered {code}: {}",
        clean(&body)
    );
    Ok(())
}

impl Ctl {
    /// Returns `Ok(false)` if the session is not in memory or not held.
    pub(crate) fn run(&self) -> Result<bool> {
        match &self.question {
            Question::Status => self.show("/status", status),
            Question::Sessions {
                waiting,
                limit,
                reveal,
            } => {
                let path = format!("/sessions?waiting={waiting}&limit={limit}&reveal={reveal}");
                self.show(&path, |found: &Vec<SessionStatus>| {
                    sessions(found, *waiting, *limit)
                })
            }
            Question::Session { id, reveal } => {
                self.show(&format!("{}?reveal={reveal}", path(id)?), session)
            }
            Question::Drain => {
                let (code, body) = self.ask("POST", "/drain")?;
                self.answer(code, &body, |body| self.words(body, drains))
            }
            Question::Recall { id } => {
                let (code, body) = self.ask("POST", &format!("{}/recall", path(id)?))?;
                let text = match self.json {
                    true => format!("{}\n", serde_json::json!({ "recalled": id })),
                    false => format!(
                        "recalled {id} from its holder; `tenure ctl session {id}` shows the current holder\n"
                    ),
                };
                let body = if code == 404 {
                    "not held by any process"
                } else {
                    &body
                };
                self.answer(code, body, |_| Ok(text))
            }
        }
    }

    fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        words: impl FnOnce(&T) -> String,
    ) -> Result<bool> {
        let (code, body) = self.ask("GET", path)?;
        self.answer(code, &body, |body| self.words(body, words))
    }

    fn words<T: DeserializeOwned>(
        &self,
        body: &str,
        words: impl FnOnce(&T) -> String,
    ) -> Result<String> {
        let parsed: T = serde_json::from_str(body).with_context(|| {
            format!(
                "cannot read the answer of {}: it is not a store of this version",
                self.admin
            )
        })?;
        Ok(match self.json {
            true => format!("{}\n", body.trim_end()),
            false => words(&parsed),
        })
    }

    fn answer(
        &self,
        code: u16,
        body: &str,
        text: impl FnOnce(&str) -> Result<String>,
    ) -> Result<bool> {
        match code {
            200..=299 => {
                std::io::stdout().write_all(text(body)?.as_bytes())?;
                Ok(true)
            }
            404 if body.starts_with("not ") => {
                eprintln!("tenure: {}", clean(body.trim_end()));
                Ok(false)
            }
            // In these cases, the body is the store's reason.
            403 | 409 | 421 => bail!("{} refused: {}", self.admin, clean(body.trim_end())),
            _ => {
                let body: String = body.chars().take(200).collect();
                bail!(
                    "{} is not a store's admin listener: it answered {code}: {}",
                    self.admin,
                    clean(body.trim_end())
                )
            }
        }
    }

    fn ask(&self, method: &str, path: &str) -> Result<(u16, String)> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None) // The loopback of a proxy is another machine's.
            .max_redirects(0)
            .build()
            .into();
        let address = format!("http://{}{path}", self.admin);
        let asked = match method {
            "POST" => agent.post(&address).send_empty(),
            _ => agent.get(&address).call(),
        };
        let mut answer = asked.map_err(|error| self.unreachable(&error))?;
        let body = answer.body_mut().with_config().limit(1 << 30);
        let body = body
            .read_to_string()
            .with_context(|| format!("cannot read the answer of {}: it ended early", self.admin))?;
        Ok((answer.status().as_u16(), body))
    }

    fn unreachable(&self, error: &ureq::Error) -> anyhow::Error {
        anyhow!(
            "no store answers at {}: {error}. Start a store with `tenure serve`, or set its admin address with \
             --admin or TENURE_ADMIN",
            self.admin
        )
    }
}

/// Returns the URL path of a session, with every special byte percent-encoded.
fn path(id: &str) -> Result<String> {
    let shown = match tenure_store::short(id) {
        Some(_) => id.to_owned(),
        None => {
            let parsed = tenure_store::parse(id);
            let parsed = parsed.map_err(|error| {
                anyhow!(
                    "'{id}' is no session's id: {error}; write text, hex: and bytes, or a short id such as #0123abcd"
                )
            })?;
            tenure_store::show(&parsed)
        }
    };
    let bytes = shown.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    Ok(format!("/sessions/{}", bytes.collect::<String>()))
}

fn status(status: &StoreStatus) -> String {
    let StoreStatus {
        epoch,
        connections,
        is_full,
        sessions,
        held,
        waiting,
        processes,
    } = status;
    let mut text = format!(
        "epoch {epoch}, connections {connections}, sessions in memory {sessions}, held {held}, waiting {waiting}\n"
    );
    if *is_full {
        text += "the disk is full: the store refuses new work until space is free\n";
    }
    if processes.is_empty() {
        return text + "no process has a lease\n";
    }
    let head = [
        "PROCESS",
        "INCARNATION",
        "CONNECTED",
        "LEASE ENDS IN",
        "SESSIONS",
    ];
    let rows = processes.iter().map(|process| {
        [
            clean(&process.process),
            process.incarnation.to_string(),
            if process.is_connected { "yes" } else { "no" }.to_owned(),
            span(process.lease_ms),
            process.sessions.to_string(),
        ]
    });
    text + "\n" + &columns(head, rows)
}

fn sessions(found: &[SessionStatus], waiting: bool, limit: usize) -> String {
    if found.is_empty() {
        let none = match waiting {
            true => "no process waits for a session\n",
            false => "no session is in memory\n",
        };
        return none.to_owned();
    }
    let head = [
        "SESSION", "VERSION", "BYTES", "HOLDER", "RECALL", "WAITING", "LONGEST",
    ];
    let rows = found.iter().map(|session| {
        let holder = session.holder.as_ref();
        let longest = session.waiters.iter().map(|waiter| waiter.waited_ms).max();
        [
            clean(&session.session),
            or_dash(session.version.clone()),
            session.bytes.to_string(),
            or_dash(holder.map(|holder| clean(&holder.process))),
            or_dash(holder.and_then(|holder| holder.recall.clone())),
            session.waiters.len().to_string(),
            or_dash(longest.map(span)),
        ]
    });
    let mut text = columns(head, rows);
    if found.len() >= limit {
        text += &format!("only the first {limit} sessions are shown; raise --limit for more\n");
    }
    text
}

fn session(session: &SessionStatus) -> String {
    let mut rows = vec![
        ("session", clean(&session.session)),
        (
            "version",
            session
                .version
                .clone()
                .unwrap_or_else(|| "none: the session does not exist yet".to_owned()),
        ),
        (
            "attributes",
            format!("{}, {} bytes", session.attributes, session.bytes),
        ),
    ];
    match &session.holder {
        None => rows.push(("holder", "none".to_owned())),
        Some(holder) => {
            let who = format!("{}, token {}", clean(&holder.process), holder.token);
            rows.push(("holder", who));
            if let Some(reason) = &holder.recall {
                let then = holder.revoke_ms.map_or_else(String::new, |left| {
                    format!(
                        ", revoked in {} unless the holder gives it back",
                        span(left)
                    )
                });
                rows.push(("recall", format!("{reason}{then}")));
            }
            if let Some(inside) = holder.inside {
                rows.push(("busy", format!("{inside} threads hold locks in it")));
            }
        }
    }
    if let Some(left) = session.expires_ms {
        rows.push((
            "expires",
            format!("in {} unless a process uses it", span(left)),
        ));
    }
    for (place, waiter) in session.waiters.iter().enumerate() {
        let WaiterStatus {
            process,
            waited_ms,
            left_ms,
        } = waiter;
        let text = format!(
            "{}. {}, for {}, {} left",
            place + 1,
            clean(process),
            span(*waited_ms),
            span(*left_ms)
        );
        rows.push(("waits", text));
    }
    let lines = rows
        .iter()
        .map(|(what, text)| format!("{what:<12}{text}\n"));
    lines.collect()
}

fn drains(drains: &Drains) -> String {
    let Drains { held, stop_ms } = *drains;
    format!(
        "recalled {held} grants. The store stops when all are given back, at the latest in {}\n",
        span(stop_ms)
    )
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Formats a duration for people, with its two largest units.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1_000 / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// Escapes control characters, so that a name cannot send commands to the terminal.
fn clean(text: &str) -> String {
    let shown = text.chars().map(|c| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    shown.collect()
}

/// Formats a table whose columns are as wide as their widest cells.
fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = [head.map(str::to_owned)].into_iter().chain(rows).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|at| width(at).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:<width$}  "))
            .collect();
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_in_their_two_largest_units() {
        let shown = [0, 850, 1_250, 61_000, 3_720_000].map(span);
        assert_eq!(shown, ["0 ms", "850 ms", "1.2 s", "1 min 1 s", "1 h 2 min"]);
    }

    #[test]
    fn session_ids_are_percent_encoded_in_a_url() {
        let path = |id| path(id).expect("an id");
        assert_eq!(path("cart-1"), "/sessions/cart-1");
        assert_eq!(path("#0123abcd"), "/sessions/%230123abcd");
        assert_eq!(path("a/b?c#d%"), "/sessions/a%2Fb%3Fc%23d%25");
        assert_eq!(path(".."), "/sessions/%2E%2E");
        assert_eq!(path("hex:00ff"), "/sessions/hex%3A00ff");
        assert_eq!(path("ü"), "/sessions/hex%3Ac3bc");
        for wrong in ["", "hex:0", "hex:zz"] {
            assert!(super::path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn control_characters_in_names_are_escaped() {
        assert_eq!(clean("\u{1b}[2Jp1\n"), "\\u{1b}[2Jp1\\n");
    }
}
