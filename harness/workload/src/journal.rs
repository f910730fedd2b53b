//! What a thread saw and did, a line each, appended in one write: a process that is killed loses at most the line that it was
//! about to write.

use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::str::FromStr;

/// What happened to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The thread has the lock and sees this value; it goes on to write one more.
    Saw(u64),
    /// The store has acknowledged this value.
    Did(u64),
    /// The session as a whole was seen, and does not add up: the sum of the counters, and the count.
    Differs(u64, u64),
    /// The grant's token was smaller than one that had written before. Rule 9.
    OldToken,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which session.
    pub session: String,
    /// Which counter in it.
    pub counter: String,
    /// What happened.
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
            let word = words.get(at).context("a number is missing")?;
            word.parse()
                .with_context(|| format!("{word:?} is not a number"))
        };
        let [session, counter, what, ..] = words[..] else {
            bail!("{line:?} is not a line of a journal");
        };
        let event = match what {
            "saw" => Event::Saw(number(3)?),
            "did" => Event::Did(number(3)?),
            "differs" => Event::Differs(number(3)?, number(4)?),
            "old-token" => Event::OldToken,
            other => bail!("{other:?} is no event"),
        };
        Ok(Self {
            session: session.to_owned(),
            counter: counter.to_owned(),
            event,
        })
    }
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens it, to go on behind what is there.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn append(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| {
            format!("cannot write {}", path.display())
        })?))
    }

    /// Writes a line, whole or not at all. Any thread may.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, line: &Line) -> Result<()> {
        let text = format!("{line}\n");
        (&self.0)
            .write_all(text.as_bytes())
            .context("cannot write the journal")
    }
}

/// Reads a journal. A last line without an end was never written.
///
/// # Errors
/// When it cannot be read, or is not a journal.
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
    fn a_torn_last_line_was_never_written() {
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
