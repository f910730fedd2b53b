//! How bytes stand in a segment: a header, then batches of entries. Nothing here knows what an entry says.
//!
//! ```text
//! segment  = header batch*
//! header   = "tenure\0\n" format:u32 number:u32 epoch:u64 salt:u64 oldest:u32 previous_bytes:u32 crc:u32
//! batch    = magic:u32 body_bytes:u32 offset:u32 synced:u32 crc:u32 entry*
//! entry    = payload_bytes:u32 crc:u32 payload
//! ```
//! Numbers are little-endian. Every checksum is a CRC-32 that begins with the segment's salt, which is drawn at random: what
//! was once written elsewhere, and what an attribute's value says, is never taken for a batch. A batch's checksum covers
//! all of it; an entry has its own, so that it can be read alone.

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"tenure\0\n";
const BATCH_MAGIC: [u8; 4] = *b"\xB5tnr";

/// The length of a segment's header, in bytes.
pub(crate) const HEADER_BYTES: usize = 44;
const BATCH_HEADER_BYTES: usize = 20;
/// What stands before an entry's payload, in bytes.
pub(crate) const ENTRY_HEADER_BYTES: usize = 8;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its number: one more than that of the segment before it.
    pub(crate) number: u32,
    /// The claim under which it was begun.
    pub(crate) epoch: u64,
    /// Where its checksums begin.
    pub(crate) salt: u64,
    /// The number of the oldest segment that was needed when it was begun.
    pub(crate) oldest: u32,
    /// How long the segment before it is, in bytes. What stands behind that is void.
    pub(crate) previous_bytes: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn checksum(salt: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(SEGMENT_MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.salt.to_le_bytes());
        bytes.extend(self.oldest.to_le_bytes());
        bytes.extend(self.previous_bytes.to_le_bytes());
        bytes.extend(checksum(0, &[&bytes]).to_le_bytes());
        bytes
    }

    /// The header at the beginning of a segment; `None` when that is none of this format.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let covered = bytes.get(..HEADER_BYTES - 4)?;
        let is_whole = covered.starts_with(SEGMENT_MAGIC)
            && u32_at(bytes, 8)? == FORMAT
            && u32_at(bytes, HEADER_BYTES - 4)? == checksum(0, &[covered]);
        if !is_whole {
            return None;
        }
        Some(Self {
            number: u32_at(bytes, 12)?,
            epoch: u64_at(bytes, 16)?,
            salt: u64_at(bytes, 24)?,
            oldest: u32_at(bytes, 32)?,
            previous_bytes: u32_at(bytes, 36)?,
        })
    }
}

/// A batch that is being written: entries are added, then it is sealed for its place.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    /// Forgets the last batch, and its memory when that was uncommonly large.
    pub(crate) fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        self.bytes.resize(BATCH_HEADER_BYTES, 0);
    }

    /// Adds an entry with what `write` adds as its payload.
    pub(crate) fn entry(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.resize(start + ENTRY_HEADER_BYTES, 0);
        write(&mut self.bytes);
        let payload = self.bytes.len() - start - ENTRY_HEADER_BYTES;
        self.bytes[start..start + 4].copy_from_slice(&length(payload).to_le_bytes());
    }

    /// How many bytes it takes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is to be written, once it is sealed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a reader will see when this is written at `offset`.
    pub(crate) fn batch(&self, offset: usize) -> Batch<'_> {
        Batch {
            end: offset + self.bytes.len(),
            synced: offset,
            offset,
            body: &self.bytes[BATCH_HEADER_BYTES..],
        }
    }

    /// Makes it the batch for `offset` of the segment with `salt`, of which everything before `synced` is known to be durable.
    pub(crate) fn seal(&mut self, salt: u64, offset: u32, synced: u32) {
        let mut at = BATCH_HEADER_BYTES;
        while let Some(payload_bytes) = u32_at(&self.bytes, at) {
            let payload = at + ENTRY_HEADER_BYTES;
            let end = payload + payload_bytes as usize;
            let crc = checksum(salt, &[&self.bytes[payload..end]]);
            self.bytes[at + 4..payload].copy_from_slice(&crc.to_le_bytes());
            at = end;
        }
        let body_bytes = length(self.bytes.len() - BATCH_HEADER_BYTES);
        self.bytes[..4].copy_from_slice(&BATCH_MAGIC);
        self.bytes[4..8].copy_from_slice(&body_bytes.to_le_bytes());
        self.bytes[8..12].copy_from_slice(&offset.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&synced.to_le_bytes());
        let crc = checksum(
            salt,
            &[&self.bytes[..16], &self.bytes[BATCH_HEADER_BYTES..]],
        );
        self.bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a batch has at most 1 GiB")
}

/// A whole batch in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    /// The first byte behind it.
    pub(crate) end: usize,
    /// Everything before this was durable when it was written.
    pub(crate) synced: usize,
    offset: usize,
    body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at `offset` of a segment; `None` when there is no whole one.
    pub(crate) fn decode(segment: &'a [u8], offset: usize, salt: u64) -> Option<Self> {
        let bytes = segment.get(offset..)?;
        if !bytes.starts_with(&BATCH_MAGIC) || u32_at(bytes, 8)? as usize != offset {
            return None;
        }
        let end = BATCH_HEADER_BYTES.checked_add(u32_at(bytes, 4)? as usize)?;
        let body = bytes.get(BATCH_HEADER_BYTES..end)?;
        if checksum(salt, &[&bytes[..16], body]) != u32_at(bytes, 16)? {
            return None;
        }
        Some(Self {
            end: offset + end,
            synced: u32_at(bytes, 12)? as usize,
            offset,
            body,
        })
    }

    /// The payloads of its entries and where each begins. `None` ends an iteration over what is not entries; the
    /// checksum of the batch says that there is no such thing.
    pub(crate) fn entries(self) -> impl Iterator<Item = Option<(usize, &'a [u8])>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= self.body.len() {
                return None;
            }
            let entry = u32_at(self.body, at).and_then(|bytes| {
                let payload = at + ENTRY_HEADER_BYTES;
                let end = payload.checked_add(bytes as usize)?;
                Some((payload, self.body.get(payload..end)?))
            });
            at = entry.map_or(self.body.len(), |(payload, bytes)| payload + bytes.len());
            Some(entry.map(|(payload, bytes)| (self.offset + BATCH_HEADER_BYTES + payload, bytes)))
        })
    }
}

/// The payload of an entry that was read alone, with its header; `None` when it is not what was written.
pub(crate) fn payload(entry: &[u8], salt: u64) -> Option<&[u8]> {
    let payload = entry.get(ENTRY_HEADER_BYTES..)?;
    let is_whole = u32_at(entry, 0)? as usize == payload.len()
        && u32_at(entry, 4)? == checksum(salt, &[payload]);
    is_whole.then_some(payload)
}

/// Where the next possible batch header at or behind `from` is.
pub(crate) fn next_magic(segment: &[u8], from: usize) -> Option<usize> {
    let rest = segment.get(from..)?;
    rest.windows(BATCH_MAGIC.len())
        .position(|window| window == BATCH_MAGIC)
        .map(|at| from + at)
}
