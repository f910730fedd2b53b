//! The framing of a segment: a header, then batches of entries. This module treats payloads as opaque bytes.
//!
//! ```text
//! segment  = header batch*
//! header   = "tenure\0\n" format:u32 number:u32 epoch:u64 salt:u64 oldest:u32 previous_bytes:u32 crc:u32
//! batch    = magic:u32 body_bytes:u32 offset:u32 synced:u32 crc:u32 entry*
//! entry    = payload_bytes:u32 crc:u32 payload
//! ```
//! Numbers are little-endian. Every checksum is a CRC-32 seeded with the segment's random salt. Stale bytes of another
//! file, or bytes in an attribute's value, are therefore never taken for a batch. The checksum of a batch covers the
//! whole batch. Each entry also has a checksum, so that it can be read alone.

/// The format number that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"tenure\0\n";
const BATCH_MAGIC: [u8; 4] = *b"\xB5tnr";

/// The length of a segment's header, in bytes.
pub(crate) const HEADER_BYTES: usize = 44;
const BATCH_HEADER_BYTES: usize = 20;
/// The length of an entry's header before its payload, in bytes.
pub(crate) const ENTRY_HEADER_BYTES: usize = 8;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The segment's number, one more than that of the previous segment.
    pub(crate) number: u32,
    /// The epoch of the claim under which the segment was begun.
    pub(crate) epoch: u64,
    /// The seed of the segment's checksums.
    pub(crate) salt: u64,
    /// The number of the oldest segment that was needed when this segment was begun.
    pub(crate) oldest: u32,
    /// The length of the previous segment, in bytes. Bytes behind that length are void.
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

    /// Decodes the header at the beginning of a segment, or returns `None` if it is not a valid header of this format.
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

/// A batch under construction. Entries are added, then the batch is sealed for its position.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    /// Clears the draft. Its memory is also released if the last batch was unusually large.
    pub(crate) fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        self.bytes.resize(BATCH_HEADER_BYTES, 0);
    }

    /// Adds an entry, whose payload `write` appends.
    pub(crate) fn entry(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.resize(start + ENTRY_HEADER_BYTES, 0);
        write(&mut self.bytes);
        let payload = self.bytes.len() - start - ENTRY_HEADER_BYTES;
        self.bytes[start..start + 4].copy_from_slice(&length(payload).to_le_bytes());
    }

    /// Returns the length of the batch in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes to write. The draft must be sealed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the batch as a reader will decode it once it is written at `offset`.
    pub(crate) fn batch(&self, offset: usize) -> Batch<'_> {
        Batch {
            end: offset + self.bytes.len(),
            synced: offset,
            offset,
            body: &self.bytes[BATCH_HEADER_BYTES..],
        }
    }

    /// Fills in lengths and checksums for position `offset` of the segment with `salt`. All bytes before `synced` are
    /// known to be durable.
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
    u32::try_from(bytes).expect("check_length and the settings bound a batch to 1 GiB")
}

/// A whole, valid batch in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    /// The position of the first byte behind the batch.
    pub(crate) end: usize,
    /// The position before which all bytes were durable when the batch was written.
    pub(crate) synced: usize,
    offset: usize,
    body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Decodes the batch at `offset` of a segment, or returns `None` if there is no whole batch.
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

    /// Returns the payload and position of each entry. An item `None` reports bytes that are no entry and ends the
    /// iteration. The checksum of the batch excludes this case unless the writer had a bug.
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

/// Returns the payload of an entry that was read alone with its header, or `None` if the checksum does not match.
pub(crate) fn payload(entry: &[u8], salt: u64) -> Option<&[u8]> {
    let payload = entry.get(ENTRY_HEADER_BYTES..)?;
    let is_whole = u32_at(entry, 0)? as usize == payload.len()
        && u32_at(entry, 4)? == checksum(salt, &[payload]);
    is_whole.then_some(payload)
}

/// Returns the position of the next possible batch header at or behind `from`.
pub(crate) fn next_magic(segment: &[u8], from: usize) -> Option<usize> {
    let rest = segment.get(from..)?;
    rest.windows(BATCH_MAGIC.len())
        .position(|window| window == BATCH_MAGIC)
        .map(|at| from + at)
}
