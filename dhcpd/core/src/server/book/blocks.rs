//! Short runs of bytes, in as little memory as they take: what entries hold that has no fixed length.
//!
//! An allocation each would cost every lease its allocator's overhead and a pointer of 16 bytes. Here a
//! block is named by 4 bytes, and stands in a chunk with others of about its length. It costs 2 bytes
//! for its length, rounded up to 8. A chunk that is empty again serves any length, so blocks that change
//! their length leave no holes that nobody else can use for ever.

use std::collections::BTreeSet;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// Blocks begin at multiples of this.
const UNIT_BYTES: usize = 8;

/// Units of a chunk.
const CHUNK_UNITS: usize = CHUNK_BYTES / UNIT_BYTES;

/// Up to so many bytes a block's place is rounded up to a whole unit, beyond it to a power of two.
const FINE_BYTES_MAX: usize = 512;

/// Bytes before a block that say how long it is.
const LENGTH_BYTES: usize = 2;

/// Bytes of a block at most; far beyond what a record can hold.
pub(super) const BLOCK_BYTES_MAX: usize = CHUNK_BYTES - LENGTH_BYTES;

/// Names a block, or none: then it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockId(u32);

impl BlockId {
    pub(super) const EMPTY: Self = Self(u32::MAX);
}

/// Places of one size.
#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    /// Bytes of each place.
    place_bytes: usize,
    /// Places in use.
    used: usize,
    /// Units at its front that were ever in use since it got this size.
    begun: usize,
    /// The first place of those that were given back, if any; each has the next one's unit in its
    /// first two bytes.
    free: Option<u16>,
}

impl Chunk {
    fn has_room(&self) -> bool {
        self.free.is_some() || (self.begun * UNIT_BYTES) + self.place_bytes <= CHUNK_BYTES
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    chunks: Vec<Chunk>,
    /// Chunks with room, by the size of their places.
    with_room: BTreeSet<(usize, usize)>,
    /// Chunks that nothing is in.
    empty: Vec<usize>,
}

/// Bytes of the place of a block.
fn place_bytes(length: usize) -> usize {
    let bytes = length + LENGTH_BYTES;
    if bytes <= FINE_BYTES_MAX {
        bytes.next_multiple_of(UNIT_BYTES)
    } else {
        bytes.next_power_of_two()
    }
}

/// What marks the last free place of a chunk: no place begins there.
const NO_UNIT: u16 = u16::MAX;

impl Blocks {
    /// What stands in a block.
    pub(super) fn get(&self, id: BlockId) -> &[u8] {
        if id == BlockId::EMPTY {
            return &[];
        }
        let (chunk, start) = Self::place(id);
        let bytes = &self.chunks[chunk].bytes[start..];
        let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        &bytes[LENGTH_BYTES..LENGTH_BYTES + length]
    }

    /// Puts other contents in place of a block's; what is beyond [`BLOCK_BYTES_MAX`] is cut off. The
    /// block may get another name.
    pub(super) fn replace(&mut self, id: BlockId, contents: &[u8]) -> BlockId {
        let contents = &contents[..contents.len().min(BLOCK_BYTES_MAX)];
        if id != BlockId::EMPTY && !contents.is_empty() {
            let (chunk, start) = Self::place(id);
            if self.chunks[chunk].place_bytes == place_bytes(contents.len()) {
                write(&mut self.chunks[chunk].bytes[start..], contents);
                return id;
            }
        }
        self.remove(id);
        if contents.is_empty() { BlockId::EMPTY } else { self.insert(contents) }
    }

    /// Lets a block go. Nothing may name it any more.
    pub(super) fn remove(&mut self, id: BlockId) {
        if id == BlockId::EMPTY {
            return;
        }
        let (index, start) = Self::place(id);
        let chunk = &mut self.chunks[index];
        let place = (chunk.place_bytes, index);
        chunk.used -= 1;
        if chunk.used == 0 {
            self.with_room.remove(&place);
            self.empty.push(index);
            return;
        }
        let next = chunk.free.unwrap_or(NO_UNIT);
        chunk.bytes[start..start + 2].copy_from_slice(&next.to_le_bytes());
        // A chunk has fewer units than a u16 has values.
        chunk.free = u16::try_from(start / UNIT_BYTES).ok();
        self.with_room.insert(place);
    }

    fn insert(&mut self, contents: &[u8]) -> BlockId {
        let place_bytes = place_bytes(contents.len());
        let with_room = self.with_room.range((place_bytes, 0)..=(place_bytes, usize::MAX)).next();
        let index = match with_room {
            Some((_, index)) => *index,
            None => self.begin_chunk(place_bytes),
        };
        let chunk = &mut self.chunks[index];
        let unit = if let Some(unit) = chunk.free {
            let start = usize::from(unit) * UNIT_BYTES;
            let next = u16::from_le_bytes([chunk.bytes[start], chunk.bytes[start + 1]]);
            chunk.free = (next != NO_UNIT).then_some(next);
            usize::from(unit)
        } else {
            let unit = chunk.begun;
            chunk.begun += place_bytes / UNIT_BYTES;
            unit
        };
        chunk.used += 1;
        if !chunk.has_room() {
            self.with_room.remove(&(place_bytes, index));
        }
        write(&mut chunk.bytes[unit * UNIT_BYTES..], contents);
        // 32 GiB of blocks: there are fewer addresses that can be leased.
        BlockId(u32::try_from(index * CHUNK_UNITS + unit).unwrap_or(u32::MAX - 1))
    }

    /// A chunk for places of this size, with room.
    fn begin_chunk(&mut self, place_bytes: usize) -> usize {
        let index = if let Some(index) = self.empty.pop() {
            let chunk = &mut self.chunks[index];
            (chunk.place_bytes, chunk.begun, chunk.free) = (place_bytes, 0, None);
            index
        } else {
            let bytes = vec![0; CHUNK_BYTES].into();
            self.chunks.push(Chunk { bytes, place_bytes, used: 0, begun: 0, free: None });
            self.chunks.len() - 1
        };
        self.with_room.insert((place_bytes, index));
        index
    }

    /// The chunk that a block stands in, and where.
    fn place(id: BlockId) -> (usize, usize) {
        let unit = id.0 as usize;
        (unit / CHUNK_UNITS, unit % CHUNK_UNITS * UNIT_BYTES)
    }
}

/// Writes a block where there is room for it.
fn write(place: &mut [u8], contents: &[u8]) {
    // At most BLOCK_BYTES_MAX.
    let length = u16::try_from(contents.len()).unwrap_or(u16::MAX);
    place[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    place[LENGTH_BYTES..LENGTH_BYTES + contents.len()].copy_from_slice(contents);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn contents() -> impl Strategy<Value = Vec<u8>> {
        let length =
            prop_oneof![8 => 0..80_usize, 2 => 400..1200_usize, 1 => Just(BLOCK_BYTES_MAX)];
        (length, any::<u8>()).prop_map(|(length, byte)| vec![byte; length])
    }

    proptest! {
        #[test]
        fn every_block_keeps_what_was_put_into_it(
            changes in prop::collection::vec((0..40_u8, contents()), 1..300)
        ) {
            let mut blocks = Blocks::default();
            let mut expected: BTreeMap<u8, (BlockId, Vec<u8>)> = BTreeMap::new();
            for (name, contents) in changes {
                let before = expected.get(&name).map_or(BlockId::EMPTY, |(id, _)| *id);
                let id = blocks.replace(before, &contents);
                expected.insert(name, (id, contents));
                for (id, contents) in expected.values() {
                    prop_assert_eq!(blocks.get(*id), &contents[..]);
                }
            }
            for (id, _) in expected.values() {
                blocks.remove(*id);
            }
            prop_assert!(blocks.with_room.is_empty());
            prop_assert_eq!(blocks.empty.len(), blocks.chunks.len());
        }
    }

    #[test]
    fn blocks_that_grow_and_shrink_take_no_more_chunks_than_the_longest_need() {
        let mut blocks = Blocks::default();
        let mut ids = vec![BlockId::EMPTY; 4000];
        for length in (1..200).chain((1..200).rev()) {
            for id in &mut ids {
                *id = blocks.replace(*id, &vec![7; length]);
            }
        }
        // While all of them go from one size to the next, both sizes need chunks.
        let needed = (4000 * 208_usize).div_ceil(CHUNK_BYTES);
        assert!(blocks.chunks.len() <= 2 * needed + 2, "{} chunks", blocks.chunks.len());
    }

    #[test]
    fn what_is_too_long_is_cut_off() {
        let mut blocks = Blocks::default();
        let id = blocks.replace(BlockId::EMPTY, &vec![1; BLOCK_BYTES_MAX + 1]);
        assert_eq!(blocks.get(id).len(), BLOCK_BYTES_MAX);
    }
}
