//! `tenure backup`: copies a store's folder, while the store runs or not.

use crate::serve::refusal::of_engine;
use anyhow::{Result, anyhow};
use std::io::Write;
use std::path::PathBuf;
use tenure_checker::book::thousands;
use tenure_engine::EngineError;

const AFTER: &str = "\
The copy is whole: everything that was acknowledged before the command began is in it. It is a store's folder like any other.

To restore, stop the store and the processes that use it, move the old folder away, and copy the backup to its place with the
same command: tenure backup BACKUP FOLDER. What was acknowledged after the backup is not in it.

Exit codes: 0 copied, 1 the copy failed, and what is in TO is no backup, 2 usage: FROM is no store's folder, TO is not empty, or
one is inside the other.";

/// Copy a store's folder; the store may be running.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Backup {
    /// The store's folder.
    from: PathBuf,
    /// Where to copy it: an empty folder, or one that is not there yet.
    to: PathBuf,
    /// Print what was copied as JSON.
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// `Ok(false)`: the copy failed.
    pub(crate) fn run(&self) -> Result<bool> {
        let (from, to) = (self.from.display(), self.to.display());
        // Before anything is made in TO.
        if !self.from.is_dir() {
            return Err(anyhow!("{from} is no folder"));
        }
        let copied = match tenure_engine::backup(&self.from, &self.to) {
            Ok(copied) => copied,
            Err(
                error @ (EngineError::Foreign { .. }
                | EngineError::Newer { .. }
                | EngineError::Overlaps { .. }),
            ) => {
                return Err(anyhow!("{error}{}", of_engine(&error, &from.to_string())));
            }
            Err(error) => {
                eprintln!("tenure: {error}. What is in {to} is no backup: remove it");
                return Ok(false);
            }
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            let (segments, bytes) = (copied.segments, copied.bytes);
            let json = serde_json::json!({"from": self.from, "to": self.to, "segments": segments, "bytes": bytes});
            writeln!(out, "{json}")?;
        } else {
            let bytes = thousands(copied.bytes);
            let files = match copied.segments {
                1 => "1 segment".to_owned(),
                segments => format!("{segments} segments"),
            };
            writeln!(out, "copied {from} to {to}: {files}, {bytes} bytes")?;
        }
        Ok(true)
    }
}
