//! `tenure backup`: copies the folder of a store, which may be running.

use crate::serve::refusal::of_engine;
use anyhow::{Result, anyhow};
use std::io::Write;
use std::path::PathBuf;
use tenure_checker::book::thousands;
use tenure_engine::EngineError;

const AFTER: &str = "\
The copy is complete: it contains everything that was acknowledged before the command began. The copy is a store's
folder like any other.

To restore a backup, stop the store and its processes, move the old folder away, and copy the backup to its place
with the same command: tenure backup BACKUP FOLDER. Writes that were acknowledged after the backup are not in it.

Exit codes: 0 copied; 1 the copy failed, and the content of TO is no backup; 2 wrong usage: FROM is no folder of a
store, TO is not empty, or one folder is inside the other.";

/// Copy the folder of a store, which may be running.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Backup {
    /// Copy this folder of a store.
    from: PathBuf,
    /// Copy to this folder, which must be empty or missing.
    to: PathBuf,
    /// Print a summary of the copy as JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Returns `Ok(false)` if the copy failed after it had begun.
    pub(crate) fn run(&self) -> Result<bool> {
        let (from, to) = (self.from.display(), self.to.display());
        // Checked before anything is created in TO.
        if !self.from.is_dir() {
            return Err(anyhow!("cannot back up {from}: it is not a folder"));
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
                eprintln!(
                    "tenure: {error}. The copy is incomplete: remove {to} and run the backup again"
                );
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
