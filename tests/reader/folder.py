"""The folder of a log as docs/FORMAT.md draws it: which files count, the manifest, the watermark, segments and blobs. Opened read-only."""

import json
import os
import struct
import zlib

import frames
from frames import Damaged
from runs import Run
from runs import name as run_name
from xxh3 import xxh3_64

try:
    import fcntl
except ImportError:
    fcntl = None

FORMAT = 2


class Refused(Exception):
    """The folder can't be read as it is, and that is no damage."""


class Segment:
    """A slot as the manifest lists it."""

    def __init__(self, entry):
        self.number, self.generation, self.bytes = entry["slot"], entry["generation"], entry["bytes"]
        self.recycled = entry.get("recycled", False)
        self.name = slot_name(self.number)


def slot_name(number):
    return f"slot-{number:06}"


class Folder:
    """What the manifest says, and the files that it names."""

    def __init__(self, path):
        inside = os.path.join(path, "log")
        self.path = inside if os.path.isfile(os.path.join(inside, "manifest")) else path
        if not os.path.isdir(self.path):
            raise Refused(f"{self.path} is not a folder")
        self._lock()
        try:
            data = self.read("manifest")
        except FileNotFoundError:
            if any(self.is_part(file) for file in self.names()):
                raise Damaged(f"{self.path} has parts of a log and no manifest") from None
            raise Refused(f"{self.path} has no manifest: it is not the folder of a log") from None
        if len(data) < 12 or data[:4] != b"FSm\x01":
            raise Damaged("the manifest is cut short, or is not one")
        length, crc = struct.unpack_from("<II", data, 4)
        text = data[12:12 + length]
        if len(text) != length or zlib.crc32(text) != crc:
            raise Damaged("the manifest does not match its checksum")
        try:
            self._take(json.loads(text))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise Damaged(f"the manifest can't be read ({error!r})") from None

    def _take(self, said):
        self.format = said["format"]
        if self.format not in (1, FORMAT):
            raise Refused(f"the log has format {self.format}; this reads formats 1 to {FORMAT}")
        self.store = bytes(said["store"])
        self.salt = self.store if self.format == 1 else bytes(said["salt"])
        self.segments = [Segment(entry) for entry in said["slots"]]
        self.free = {slot_name(entry["slot"]): entry["bytes"] for entry in said.get("free", [])}
        self.runs = said.get("runs", [])
        for entry in self.runs:
            entry["hash"] = bytes.fromhex(entry["hash"])
            entry["name"], entry["first"], entry["last"] = run_name(entry["run"]), entry["first"], entry["last"]
        commit, digest = said.get("origin", (0, "00" * 32))
        self.origin = commit, bytes.fromhex(digest)
        self.erasing = said.get("erasing", 0)

    def _lock(self):
        """A process that has the folder open changes it under a reader. The lock goes with this process."""
        try:
            self.lock = open(os.path.join(self.path, "lock"), "rb")
        except FileNotFoundError:
            return
        if fcntl:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                raise Refused(f"{self.path} is open in another process: close it, or read a backup") from None

    def names(self):
        return sorted(os.listdir(self.path))

    @staticmethod
    def is_part(file):
        return file == "watermark" or file.startswith(("slot-", "run-", "blob-"))

    def read(self, file):
        with open(os.path.join(self.path, file), "rb") as opened:
            return opened.read()

    def part(self, file):
        """The same of a file that must be there."""
        try:
            return self.read(file)
        except FileNotFoundError:
            raise Damaged(f"{file} is missing") from None

    def run(self, entry):
        data = self.part(entry["name"])
        run = Run(data, entry["run"])
        if (run.store, run.first, run.last, len(data)) != (self.store, entry["first"], entry["last"], entry["bytes"]):
            raise Damaged(f"{run.name} is not the run that the manifest lists")
        return run

    def watermark(self):
        """(commit, clean) of the newest mark; None in a store that has nothing yet."""
        data = b""
        try:
            data = self.read("watermark")
        except FileNotFoundError:
            if self.segments or self.runs:
                raise Damaged("the watermark is missing") from None
        marks = []
        for at in (0, 4096):
            mark = data[at:at + 49]
            if len(mark) == 49 and mark[:4] == b"FSw\x01" and mark[45:] == zlib.crc32(mark[:45]).to_bytes(4, "little"):
                marks.append(struct.unpack_from("<Q16sQQB", mark, 4))
        if not marks:
            if self.segments or self.runs:
                raise Damaged("neither slot of the watermark checks")
            return None
        _, store, _, commit, clean = max(marks)
        if store != self.store:
            raise Damaged("the watermark belongs to another store")
        return commit, clean == 1

    def address(self, principal, content):
        principal = principal.encode()
        return frames.sha256(self.salt, struct.pack("<Q", len(principal)), principal, content)


class Tail:
    """Reads segments in order, commit by commit, from a known tip on; afterwards says what stands behind the last commit."""

    def __init__(self, folder, tip):
        self.folder, (self.number, self.hash) = folder, tip
        self.where = None
        self.why = None
        self.proof = 0

    def commits(self):
        """(where, commit, records) of every commit that follows the one before it."""
        generation = 0
        for segment in self.folder.segments:
            data = self.folder.part(segment.name)
            if len(data) != segment.bytes:
                raise Damaged(f"{segment.name} has {len(data)} bytes, not {segment.bytes}")
            if segment.generation <= generation:
                raise Damaged("the manifest's segments are out of order")
            generation = segment.generation
            at = 0
            why = None
            while self.where is None:
                where = f"{segment.name} at offset {at}"
                commit, found, why = self._next(segment, data, at, where)
                if commit is None:
                    break
                self.number, self.hash = commit.number, commit.hash
                yield where, commit, found
                at += commit.bytes
            self._behind(segment, data, at, why)

    def _mine(self, segment, commit):
        return commit.store == self.folder.store and commit.generation == segment.generation

    def _next(self, segment, data, at, where):
        """The next commit and its records, or why there is none. What no torn write can leave behind is damage at once."""
        commit = frames.commit_head(data, at)
        number = self.number + 1
        if commit is None:
            return None, None, f"the header of commit {number} does not check"
        if not self._mine(segment, commit):
            return None, None, f"a commit of another store or of an earlier use stands where commit {number} belongs"
        if commit.number != number:
            return None, None, f"commit {commit.number} stands where commit {number} belongs"
        body = data[at + commit.head_bytes:at + commit.head_bytes + commit.body_bytes]
        covered = commit.records_digest != frames.ZERO
        try:
            if len(body) != commit.body_bytes:
                raise Damaged(f"{where}: commit {number} reaches beyond its segment")
            # Where the chain covers the records it says more than this hash, and faster.
            if not covered and xxh3_64(body) != commit.body_hash:
                raise Damaged(f"{where}: the records of commit {number} are not those that were written")
            found = self._records(commit, body, where)
        except Damaged as error:
            if len(body) == commit.body_bytes and xxh3_64(body) == commit.body_hash:
                raise
            return None, None, str(error)
        if commit.previous != self.hash:
            raise Damaged(f"{where}: commit {number} does not link to commit {number - 1}: "
                          "what comes before it was altered or replaced, or it was")
        return commit, found, None

    @staticmethod
    def _records(commit, data, where):
        at, end, found = 0, len(data), []
        while at < end:
            try:
                record = frames.record(data, at, end)
            except Damaged as error:
                raise Damaged(f"{where}: {error}") from None
            if (record.commit, record.index) != (commit.number, len(found)):
                raise Damaged(f"{where}: {record} says that it is record {record.index} of commit {record.commit}, "
                              f"and stands as record {len(found)} of commit {commit.number}")
            found.append(record)
            at += record.frame_bytes
        if len(found) != commit.records:
            raise Damaged(f"{where}: commit {commit.number} has {len(found)} records, not {commit.records}")
        digest = frames.sha256(*(record.digest for record in found))
        if commit.records_digest not in (frames.ZERO, digest):
            raise Damaged(f"{where}: commit {commit.number} does not match its records, one was altered or replaced: "
                          + ", ".join(map(str, found[:5])))
        return found

    def _behind(self, segment, data, at, why):
        """What stands behind the last commit: nothing, bytes of an earlier use, a torn tail, or evidence of damage."""
        rest = data[at:]
        begun = any(rest) if not segment.recycled else any(rest[:frames.TERMINATOR])
        place = rest.find(b"FSc")
        while place >= 0:
            commit = frames.commit_head(rest, place) if place % frames.ALIGN == 0 else None
            if commit and self._mine(segment, commit) and commit.number > self.number and place + commit.bytes <= len(rest):
                begun, self.proof = True, max(self.proof, commit.durable_through)
            place = rest.find(b"FSc", place + 1)
        if begun and self.where is None:
            self.where, self.why = f"{segment.name} at offset {at}", why
