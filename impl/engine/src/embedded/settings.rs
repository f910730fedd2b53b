//! The settings of the embedded engine.

/// The durability that a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// A commit waits for the disk. It survives a loss of power.
    #[default]
    Durable,
    /// A commit waits only for the operating system. It survives the end of the store, also by kill -9. A loss of power
    /// or a crash of the system may lose the newest commits. The lost commits are always the last ones in order.
    Buffered,
}

/// The settings of an [`Embedded`](super::Embedded) engine. They may change from one opening of a folder to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The durability that a commit waits for.
    pub level: Level,
    /// The length in bytes after which a new segment file is begun. A batch is never split, so a file may be longer by
    /// one batch. Each segment is one open file. Values above 1 GiB count as 1 GiB.
    pub segment_bytes: u64,
    /// The most deltas of one session's attributes. Above this number the session is written whole again.
    pub deltas_max: usize,
    /// The log length at which compaction begins, in percent of the live records' bytes, plus two segments. Values
    /// below 110 count as 110.
    pub log_percent_max: u64,
    /// The most bytes of one batch. Values above 1 GiB count as 1 GiB.
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
