//! What an operator may choose.

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The disk: what was committed survives the loss of power.
    #[default]
    Durable,
    /// The operating system: what was committed survives the end of the store, also by kill -9, but the loss of power or a
    /// crash of the system may take the last commits, in order, newest first.
    Buffered,
}

/// Settings of an [`Embedded`](super::Embedded) engine. They may differ from one opening of a folder to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a commit waits for.
    pub level: Level,
    /// A segment file that has reached this many bytes is followed by a new one; a batch is never split, so a file may be
    /// longer by one batch. Each segment is one open file. At most 1 GiB; more counts as that.
    pub segment_bytes: u64,
    /// A session whose attributes are spread over more than this many deltas is written whole again.
    pub deltas_max: usize,
    /// The log is compacted while it is longer than the live records' bytes times this, in percent, plus two segments. At
    /// least 110; less counts as that.
    pub log_percent_max: u64,
    /// A batch may take this many bytes. At most 1 GiB; more counts as that.
    pub batch_bytes_max: usize,
}

pub(crate) const GIB: u64 = 1 << 30;

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: Level::Durable,
            segment_bytes: 128 << 20,
            deltas_max: 16,
            log_percent_max: 200,
            batch_bytes_max: 256 << 20,
        }
    }
}

impl Settings {
    pub(crate) fn bounded(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.min(GIB);
        self.batch_bytes_max = self
            .batch_bytes_max
            .min(usize::try_from(GIB).unwrap_or(usize::MAX));
        self.log_percent_max = self.log_percent_max.max(110);
        self
    }
}
