"""Runs as docs/FORMAT.md draws them: blocks, sections, the header transformation, and all that a run claims about itself."""

import json
import struct
import zlib

import frames
import lz4
from frames import Damaged
from xxh3 import xxh3_64

MAGIC = b"FSr\x01"
FORMAT = 3
HEAD = MAGIC + struct.pack("<HH", FORMAT, 0)
TRAILER = 24
BLOCK_HEAD = 20
RAW_BYTES_MAX = 64 << 20
SECTIONS = ("records", "streams", "commits", "stubs", "blobs", "index")
TAG_WHOLE, TAG_ERASED = 0, 1


def name(number):
    return f"run-{number:06}"


def put_together(apart):
    """The content of a block whose headers were set apart: a tag, a header and a body for each entry."""
    count = struct.unpack_from("<I", apart)[0]
    tags, at = apart[4:4 + count], 4 + count
    header = bytearray(apart[at:at + frames.HEADER_FRAME])
    at += frames.HEADER_FRAME
    columns = apart[at + 1:at + 1 + apart[at]]
    at += 1 + len(columns)
    steps = count - 1
    bodies = at + len(columns) * steps
    if count == 0 or len(columns) and max(columns) >= frames.HEADER_FRAME or bodies > len(apart):
        raise ValueError("the headers that were set apart are malformed")
    out = []
    for number in range(count):
        if number:
            for place, column in enumerate(columns):
                header[column] = header[column] + apart[at + place * steps + number - 1] & 255
        length = 32 if tags[number] == TAG_ERASED else frames.body_bytes(header) + 4
        if tags[number] > TAG_ERASED or bodies + length > len(apart):
            raise ValueError("the headers that were set apart are malformed")
        out += [tags[number:number + 1], bytes(header), apart[bodies:bodies + length]]
        bodies += length
    if bodies != len(apart):
        raise ValueError("more bodies than headers")
    return b"".join(out)


def unpack(data, at, end, what):
    """Content of the block at `at`, and where it ends."""
    if at + BLOCK_HEAD > end:
        raise Damaged(f"{what}: a block reaches beyond its section")
    stored_bytes, raw_bytes, form, checksum = struct.unpack_from("<IIIQ", data, at)
    stored = data[at + BLOCK_HEAD:at + BLOCK_HEAD + stored_bytes]
    stop = at + BLOCK_HEAD + stored_bytes
    if stop > end or raw_bytes > RAW_BYTES_MAX:
        raise Damaged(f"{what}: the block at offset {at} reaches beyond its section, or claims too much")
    if xxh3_64(data[at:at + 12] + stored) != checksum:
        raise Damaged(f"{what}: the checksum of the block at offset {at} does not hold")
    try:
        if form == 0 and stored_bytes == raw_bytes:
            raw = stored
        elif form == 1:
            raw = lz4.decompress(stored, raw_bytes)
        elif form == 2:
            raw = put_together(lz4.decompress(stored, raw_bytes))
        else:
            raise ValueError(f"its form {form} is not known")
    except (ValueError, IndexError, struct.error) as error:
        raise Damaged(f"{what}: the block at offset {at} can't be read: {error}") from None
    if not raw:
        raise Damaged(f"{what}: the block at offset {at} holds nothing")
    return raw, stop


class Run:
    """A run whose ends were checked; what is in its sections is checked as it is read."""

    def __init__(self, data, number):
        self.data, self.name = data, name(number)
        if len(data) < len(HEAD) + TRAILER or data[:len(HEAD)] != HEAD:
            raise self.damaged(0, "the file does not begin as a run of format 3 does")
        offset, length, zero, crc, magic = struct.unpack_from("<QIII4s", data, len(data) - TRAILER)
        trailer = len(data) - TRAILER
        if magic != MAGIC or zero or crc != zlib.crc32(data[trailer:trailer + 16]):
            raise self.damaged(trailer, "the file does not end as a run does: it is cut short, or altered")
        if offset + length != trailer:
            raise self.damaged(trailer, "the footer is not where the trailer says")
        raw, end = unpack(data, offset, trailer, self.name)
        try:
            self.footer = json.loads(raw)
            self.sections = {key: self.footer["sections"][key] for key in SECTIONS}
            self.store = bytes.fromhex(self.footer["store"])
            form, claimed = self.footer["format"], self.footer["run"]
            self.first, self.last = self.footer["first_commit"], self.footer["last_commit"]
            self.counts = tuple(self.footer[key] for key in ("records", "streams", "raw_bytes"))
            at = len(HEAD)
            for key in SECTIONS:
                section = self.sections[key]
                if section["offset"] != at:
                    raise self.damaged(offset, f"the section {key} is not where the one before it ends")
                at += section["bytes"]
        except (ValueError, KeyError, TypeError) as error:
            raise self.damaged(offset, f"the footer can't be read ({error!r})") from None
        if (form, claimed, at, end) != (FORMAT, number, offset, trailer):
            raise self.damaged(offset, "the footer is of another run or format, or the sections do not fill the file")

    def damaged(self, offset, what):
        return Damaged(f"{self.name} at offset {offset}: {what}")

    def blocks(self, section):
        """Offset, length with head, and content of each block."""
        place = self.sections[section]
        at, end, count = place["offset"], place["offset"] + place["bytes"], 0
        while at < end:
            raw, stop = unpack(self.data, at, end, self.name)
            yield at, stop - at, raw
            at, count = stop, count + 1
        if count != place["blocks"]:
            raise self.damaged(at, f"the section {section} has {count} blocks, not {place['blocks']}")

    def entries(self, section, entry):
        """Fixed entries of a section: the block's offset, and the unpacked entry."""
        for offset, _, raw in self.blocks(section):
            if len(raw) % entry.size:
                raise self.damaged(offset, "an entry is longer than its block")
            for fields in entry.iter_unpack(raw):
                yield offset, fields

    def records(self, on_block=None):
        """Every record, with the offset of its block."""
        for number, (offset, length, raw) in enumerate(self.blocks("records")):
            at = 0
            while at < len(raw):
                if raw[at] > TAG_ERASED:
                    raise self.damaged(offset, f"a record has the tag {raw[at]}, which is not known")
                try:
                    record = frames.record(raw, at + 1, len(raw), erased=raw[at] == TAG_ERASED)
                except Damaged as error:
                    raise self.damaged(offset, str(error)) from None
                if at == 0 and on_block:
                    on_block(number, (record.stream, record.position, offset, length))
                yield offset, record
                at += 1 + record.frame_bytes

    def commits(self):
        """Every commit's header."""
        expected = self.first
        for offset, _, raw in self.blocks("commits"):
            at = 0
            while at < len(raw):
                length = int.from_bytes(raw[at:at + 2], "little")
                commit = frames.commit_head(raw[at + 2:at + 2 + length])
                if commit is None or commit.head_bytes != length:
                    raise self.damaged(offset, f"the header of commit {expected} does not check")
                if commit.number != expected:
                    raise self.damaged(offset, f"commit {commit.number} stands where commit {expected} belongs")
                yield offset, commit
                at, expected = at + 2 + length, expected + 1
        if expected != self.last + 1:
            raise self.damaged(self.sections["commits"]["offset"], f"commit {expected} is missing")

    def stubs(self):
        """(commit, index, digest) of every record that was dropped."""
        before = None
        for offset, stub in self.entries("stubs", struct.Struct("<QI32s")):
            if before and before >= stub[:2]:
                raise self.damaged(offset, "the stubs are out of order")
            before = stub[:2]
            yield offset, stub

    def spans(self):
        """(stream, first, last, records, block, snapshot) of every stream."""
        return self.entries("streams", struct.Struct("<16sQQQIQ"))

    def checked_records(self):
        """Every record, and at the end everything that spans, blobs, index and footer say about them."""
        spans, blobs, places, block = {}, [], [], [0]

        def on_block(number, place):
            block[0] = number
            places.append(place)

        before, count, raw_bytes = None, 0, 0
        for offset, record in self.records(on_block):
            key = record.stream, record.position
            if before and before >= key:
                raise self.damaged(offset, f"{record} is out of order")
            if not self.first <= record.commit <= self.last:
                raise self.damaged(offset, f"{record} is of commit {record.commit}, which is not in this run")
            before, count, raw_bytes = key, count + 1, raw_bytes + record.frame_bytes
            span = spans.setdefault(record.stream, [record.position, 0, 0, block[0], 0])
            span[1], span[2] = record.position, span[2] + 1
            if record.kind == frames.STREAM_TRIMMED:
                span[4] = record.position
            if "blob" in record.extras:
                blobs.append((record.extras["blob"][0], *key))
            yield offset, record
        if (count, len(spans), raw_bytes) != self.counts:
            raise self.damaged(len(self.data), "the footer counts other records, streams or bytes than there are")
        at = self.sections["streams"]["offset"]
        stated, last_block = [], None
        for offset, span in self.spans():
            if offset != last_block:
                last_block = offset
                places.append((span[0], 0, offset, self._block_bytes(offset)))
            stated.append((span[0], list(span[1:])))
        if stated != sorted(spans.items()):
            raise self.damaged(at, "the section on streams does not say what is in the records")
        at = self.sections["blobs"]["offset"]
        if sorted(blob for _, blob in self.entries("blobs", struct.Struct("<32s16sQ"))) != sorted(blobs):
            raise self.damaged(at, "the section on blobs does not say what is in the records")
        at = self.sections["index"]["offset"]
        if [place for _, place in self.entries("index", struct.Struct("<16sQQI"))] != places:
            raise self.damaged(at, "the index does not list the blocks that there are")

    def _block_bytes(self, offset):
        return BLOCK_HEAD + struct.unpack_from("<I", self.data, offset)[0]
