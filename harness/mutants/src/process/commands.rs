//! The suite's commands and the process's answers, as lines of JSON.

use serde_json::{Map, Value, json};
use std::io::{self, Write};
use tenure_conformance::process::refusal_kind;
use tenure_protocol::attributes::Value as Bytes;
use tenure_protocol::message::Refusal;
use tenure_protocol::process::{Names, Poison};
use tenure_protocol::{AttributeName, SessionId, Token, Version};

/// One line of the suite: a command with its number.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) id: Option<u64>,
    pub(super) what: String,
    line: Map<String, Value>,
}

impl Command {
    pub(super) fn parse(line: &str) -> io::Result<Self> {
        let line: Map<String, Value> = serde_json::from_str(line)?;
        Ok(Self {
            id: line.get("id").and_then(Value::as_u64),
            what: line
                .get("do")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            line,
        })
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.line.get(key).and_then(Value::as_u64)
    }

    pub(super) fn setting(&self, key: &str) -> Option<u64> {
        self.line.get("settings")?.get(key)?.as_u64()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.line.get(key).and_then(Value::as_str)
    }

    pub(super) fn is(&self, key: &str) -> bool {
        self.line.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn bytes(&self, key: &str) -> Option<Bytes> {
        bytes(self.text(key)?)
    }

    pub(super) fn session(&self, key: &str) -> Option<SessionId> {
        SessionId::new(self.bytes(key)?).ok()
    }

    pub(super) fn attribute(&self) -> Option<AttributeName> {
        AttributeName::new(self.bytes("attribute")?).ok()
    }

    /// Returns the names in the order in which they are locked.
    pub(super) fn names(&self) -> Option<Names> {
        let Some(Value::Array(all)) = self.line.get("attributes") else {
            return Some(Names::All);
        };
        let names = all
            .iter()
            .map(|name| AttributeName::new(bytes(name.as_str()?)?).ok());
        let mut names: Vec<AttributeName> = names.collect::<Option<_>>()?;
        names.sort();
        Some(match names.len() {
            1 => Names::One(names.swap_remove(0)),
            _ => Names::Many(names),
        })
    }
}

fn bytes(hex: &str) -> Option<Bytes> {
    let pairs = (0..hex.len()).step_by(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect();
    Some(bytes?.into())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn put(line: &Value) {
    let mut out = io::stdout().lock();
    // If the suite is gone, the end of its commands also ends this program.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

pub(super) fn done(id: u64, ok: Value) {
    put(&json!({"id": id, "ok": ok}));
}

pub(super) fn refuse(id: u64, kind: &str, text: &str) {
    put(&json!({"id": id, "error": {"kind": kind, "cycle": [], "text": text}}));
}

pub(super) fn refused(id: u64, why: &Refusal) {
    let kind = refusal_kind(why);
    let cycle: Vec<String> = match why {
        Refusal::Deadlock { cycle } => cycle.iter().map(|id| hex(id.as_bytes())).collect(),
        _ => Vec::new(),
    };
    put(&json!({"id": id, "error": {"kind": kind, "cycle": cycle, "text": kind}}));
}

pub(super) fn lost(id: u64, why: Poison) {
    let kind = match why {
        Poison::LeaseLost => "lease-lost",
        Poison::Revoked => "revoked",
        Poison::Late => "late",
        Poison::Superseded => "superseded",
    };
    refuse(id, kind, "the grant was lost");
}

pub(super) fn token(Token(stamp): Token) -> Value {
    json!([stamp.epoch, stamp.sequence])
}

pub(super) fn version(Version(stamp): Version) -> Value {
    json!([stamp.epoch, stamp.sequence])
}
