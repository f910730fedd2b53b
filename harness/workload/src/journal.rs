//! The journal: the observations and actions of threads, one per line. Each line is appended in one write, so that a
//! killed process loses at most the line that it was about to write.

use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::str::FromStr;

/// An event of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The thread has the lock, sees this value, and is about to write the next one.
    Saw(u64),
    /// The store has acknowledged this value.
    Did(u64),
    /// The whole session was read, and the sum of its counters differs from its count.
    Differs(u64, u64),
    /// The token of the grant was smaller than that of an earlier writer (rule 9).
    OldToken,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The session.
    pub session: String,
    /// The counter in the session.
    pub counter: String,
    /// The event.
    pub event: Event,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.session, self.counter)?;
        match self.event {
            Event::Saw(value) => write!(f, "saw {value}"),
            Event::Did(value) => write!(f, "did {value}"),
            Event::Differs(sum, count) => write!(f, "differs {sum} {count}"),
            Event::OldToken => write!(f, "old-token"),
        }
    }
}

impl FromStr for Line {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| -> Result<u64> {
            let word = words.get(at).context("a number is missing in the line")?;
            word.parse()
                .with_context(|| format!("{word:?} is not a number"))
        };
        let [session, counter, what, ..] = words[..] else {
            bail!("{line:?} is not a valid line of a journal");
        };
        let event = match what {
            "saw" => Event::Saw(number(3)?),
            "did" => Event::Did(number(3)?),
            "differs" => Event::Differs(number(3)?, number(4)?),
            "old-token" => Event::OldToken,
            other => bail!("{other:?} is not the name of an event"),
        };
        Ok(Self {
            session: session.to_owned(),
            counter: counter.to_owned(),
            event,
        })
    }
}

/// A journal open for writing.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens a journal for appending.
    ///
    /// # Errors
    /// An error if the file cannot be opened.
    pub fn append(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| {
            format!("cannot open the journal {} for writing", path.display())
        })?))
    }

    /// Appends a line atomically. All threads may call this.
    ///
    /// # Errors
    /// An error if the line cannot be written.
    pub fn note(&self, line: &Line) -> Result<()> {
        let text = format!("{line}\n");
        (&self.0)
            .write_all(text.as_bytes())
            .context("cannot append a line to the journal")
    }
}

/// Reads a journal. An incomplete last line is ignored.
///
/// # Errors
/// An error if the file cannot be read, or is not a journal.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = Vec::new();
    let mut reader = BufReader::new(file);
    let mut text = String::new();
    while reader.read_line(&mut text)? > 0 {
        if let Some(line) = text.strip_suffix('\n') {
            lines.push(line.parse()?);
        }
        text.clear();
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_last_line_is_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let line = |event| Line {
            session: "s".to_owned(),
            counter: "n:p.1".to_owned(),
            event,
        };
        let journal = Journal::append(&path).expect("opened");
        let all = [
            Event::Saw(3),
            Event::Did(4),
            Event::Differs(1, 2),
            Event::OldToken,
        ]
        .map(line);
        for line in &all {
            journal.note(line).expect("written");
        }
        (&journal.0).write_all(b"s n:p.1 did 1").expect("written");
        assert_eq!(read(&path).expect("read"), all);
    }
}
